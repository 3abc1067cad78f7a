"""All pairs of pictures that are the same: as many as when each is compared with each."""

from __future__ import annotations

import numpy as np
from PIL import Image

from geoloc.photos.likeness import SAME_BITS, SAME_COLOR, Signature, same_pictures

from .pair_files import picture


def test_none_is_missed_and_none_invented() -> None:
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 255, (150, 32), dtype=np.uint8)
    colors = rng.integers(0, 255, (150, 192), dtype=np.uint8)
    for n in range(60):  # up to 30 bits of a copy differ, spread over all of them
        bits = np.unpackbits(hashes[n])
        bits[rng.choice(256, n // 2, replace=False)] ^= 1
        hashes[90 + n], colors[90 + n] = np.packbits(bits), colors[n]
    colors[95] = 255 - colors[95]
    hashes[80], colors[80] = hashes[7], colors[7]
    expected = set()
    for i in range(150):
        for j in range(i + 1, 150):
            bits_apart = int(np.bitwise_count(hashes[i] ^ hashes[j]).sum())
            apart = np.abs(colors[i].astype(int) - colors[j]).mean()
            if bits_apart <= SAME_BITS and apart <= SAME_COLOR:
                expected.add((i, j))
    found = set(map(tuple, same_pictures(hashes, colors).tolist()))
    assert found <= expected
    assert expected - found <= {(80, 97)}  # the copy of a copy: paired with the first alone
    assert len(expected) > 45


def test_compression_and_scaling_change_nothing_another_picture_does() -> None:
    images = [picture(n, 96, 80) for n in range(5)]
    images.append(images[2].resize((60, 50), Image.Resampling.BILINEAR))
    signatures = [Signature.of(np.asarray(image)) for image in images]
    hashes = np.stack([s.hash for s in signatures])
    colors = np.stack([s.color.reshape(-1) for s in signatures])
    assert same_pictures(hashes, colors).tolist() == [[2, 5]]


def test_thousands_of_one_picture_cost_no_square() -> None:
    hashes = np.zeros((20_000, 32), np.uint8)
    assert len(same_pictures(hashes, np.zeros((20_000, 192), np.uint8))) == 19_999
