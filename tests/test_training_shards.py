"""Images in archives are read where they lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import PhotoError
from geoloc.pairs import read_pairs
from geoloc.pairs.sharding import shard_pairs
from geoloc.pairs.shards import read_shards
from geoloc.training.shards import Stored, find_stored_pairs
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
