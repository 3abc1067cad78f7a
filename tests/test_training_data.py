"""Chips in memory and in files are the same; the digest is that of what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoloc.errors import PhotoError
from geoloc.pairs.stored import Stored
from geoloc.training import data as data_module
from geoloc.training.data import StoredChips, assemble, open_chips


def chips(folder: Path, count: int) -> list[Stored]:
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [Stored(folder / f"{number}.png") for number in range(count)]


def test_what_does_not_fit_into_memory_is_read_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = chips(tmp_path, 7)
    kept = open_chips(images, 16)
    monkeypatch.setattr(data_module, "IN_MEMORY", 3000)
    read = open_chips(images, 16)
    assert isinstance(read, StoredChips) and not isinstance(kept, StoredChips)
    rows = np.array([5, 0, 5, 2])
    assert kept[rows].shape == (4, 3, 16, 16)
    assert np.array_equal(kept[rows], read[rows])
    assert np.array_equal(kept[2:5], read[2:5])


def test_another_content_is_another_digest(tmp_path: Path) -> None:
    images = chips(tmp_path, 3)
    before = StoredChips(images, 16).digest(), open_chips(images, 16).digest()
    assert StoredChips(images, 16).digest() == before[0]
    assert StoredChips(images, 18).digest() != before[0]
    images[1].path.write_bytes(images[2].path.read_bytes())
    assert StoredChips(images, 16).digest() != before[0]
    assert open_chips(images, 16).digest() != before[1]


def test_rows_of_a_group_share_their_photos(tmp_path: Path) -> None:
    a, b, c = chips(tmp_path, 3)
    targets = np.arange(8, dtype=np.float32).reshape(4, 2)
    made = assemble([(a, "farm", 3), (b, "farm", 1), (c, "", 0), (a, "farm", 1)], targets, 8)
    assert len(made.chips) == 3
    assert [rows.tolist() for rows in made.photos_of] == [[1, 3], [1, 3], [0]]
    assert made.groups.tolist() == [0, 0, 1]
    assert made.middle(np.array([2, 0])).tolist() == [[0, 1], [4, 5]]


def test_a_chip_that_is_no_image_is_named(tmp_path: Path) -> None:
    images = chips(tmp_path, 2)
    images[1].path.write_text("<html>")
    with pytest.raises(PhotoError, match=r"1\.png"):
        open_chips(images, 8)
