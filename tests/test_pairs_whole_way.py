"""From the raw tree of a published set to shards and back: what training sees is the tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.pairs import read_pairs
from geoloc.pairs.shards import read_shards
from geoloc.photos import read_photo

from .published_sets import write_cvusa, write_cvusa_subset, write_gtcrossview, write_witw

WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cvusa": ("cvusa", write_cvusa),
    "subset": ("cvusa", write_cvusa_subset),
    "witw": ("witw", write_witw),
    "gtcrossview": ("gtcrossview", write_gtcrossview),
}


def run(*words: object) -> None:
    done = CliRunner().invoke(app, ["pairs", *map(str, words)])
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize("kind", list(WRITERS))
@pytest.mark.parametrize("layout", ["webdataset", "plain"])
def test_from_a_raw_tree_to_shards_and_back(tmp_path: Path, kind: str, layout: str) -> None:
    name, write = WRITERS[kind]
    root, table, shards = tmp_path / "raw", tmp_path / "pairs.csv", tmp_path / "shards"
    root.mkdir()
    write(root)
    run("import", name, root, "--out", table)
    run("check", table, "--out", tmp_path / "check")
    run("shard", table, "--out", shards, "--layout", layout, "--per-shard", 2)
    run("check", shards)
    pairs = read_pairs(table)
    samples = list(read_shards(shards))
    assert len(samples) == len(pairs) == len({sample.key for sample in samples})

    def by(split: str, lonlat: object, ground: np.ndarray) -> tuple[object, ...]:
        return split, lonlat, ground.tobytes()

    found = {by(s.split, s.lonlat, s.ground): s.overhead.tobytes() for s in samples}
    for pair in pairs:
        assert pair.overhead is not None
        key = by(pair.split, pair.lonlat, read_photo(pair.photo).pixels)
        assert found[key] == read_photo(pair.overhead).pixels.tobytes()
