"""Images in archives are read where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import PhotoError
from geoloc.pairs import Pair, read_pairs, write_pairs
from geoloc.pairs.sharding import shard_pairs
from geoloc.pairs.shards import read_shards
from geoloc.pairs.stored import Stored, find_stored_pairs, first_copies, stored_pairs
from tests.pair_files import picture, write_pair_images
from tests.training_pairs import place_pairs


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    pairs = read_pairs(place_pairs(tmp_path / "places", 5, 2))
    shard_pairs(pairs, tmp_path / "shards", per_shard=3)
    return tmp_path / "shards"


def test_they_are_those_that_are_streamed(shards: Path) -> None:
    found, streamed = list(find_stored_pairs(shards)), list(read_shards(shards))
    assert len(found) == len(streamed) == 9
    for pair, sample in zip(found, streamed, strict=True):
        assert np.array_equal(pair.ground.pixels(), sample.ground)
        assert np.array_equal(pair.overhead.pixels(), sample.overhead)
        assert (pair.split, pair.group) == (sample.split, sample.group)


def test_an_archive_that_is_cut_later_is_noticed(shards: Path) -> None:
    last = list(find_stored_pairs(sorted(shards.glob("*.tar"))[0]))[-1].overhead
    data = last.path.read_bytes()
    last.path.write_bytes(data[: last.offset + last.size - 1])
    with pytest.raises(PhotoError, match="ends early"):
        last.read()
    with pytest.raises(PhotoError, match="cannot be read"):
        Stored(shards / "gone.png").read()


@pytest.mark.parametrize("kind", ["file", "shards"])
def test_copies_of_an_image_are_one(tmp_path: Path, kind: str) -> None:
    """Two photos of a place: its chip is in the shard twice, or was copied by hand."""
    pairs = list(write_pair_images(tmp_path))
    other, copy = tmp_path / "other.jpg", tmp_path / "copy.png"
    picture(7).save(other)
    assert pairs[0].overhead is not None
    copy.write_bytes(pairs[0].overhead.read_bytes())
    path = write_pairs([*pairs, Pair(other, copy, pairs[0].lonlat)], tmp_path / "more.csv")
    if kind == "shards":
        shard_pairs(read_pairs(path), tmp_path / "shards", per_shard=2)
        path = tmp_path / "shards"
    found = stored_pairs(path)
    assert len(found) == 7 and len({pair.ground for pair in found}) == 7
    assert len({pair.overhead for pair in found}) == 6
    assert len({pair.overhead.sha256() for pair in found}) == 6


def test_what_cannot_be_read_is_no_copy(tmp_path: Path) -> None:
    first, second = Stored(tmp_path / "gone"), Stored(tmp_path / "gone too")
    assert first_copies([first, second, first]) == {first: first, second: second}
