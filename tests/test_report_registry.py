"""A new output is a file and a line: it is written, recorded, checked and shared."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from geoloc.query import search_scene
from geoloc.report import QueryResult
from geoloc.report.outputs import RECORD, faults_of_outputs
from geoloc.report.registry import OUTPUTS, open_writer
from geoloc.report.views import Views
from geoloc.sharing import share
from tests.cubes import write_cube


def write_places(result: QueryResult, path: Path, views: Views) -> None:
    """The output of this test: a line for each candidate."""
    lines = [f"{c.rank} {c.row} {c.col} {bool(views.chips)}" for c in result.candidates]
    path.write_text("\n".join(lines))


def test_every_output_has_a_writer() -> None:
    assert all(callable(open_writer(name)) for name in OUTPUTS)


def test_a_new_output_is_in_the_answer_and_in_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OUTPUTS, "places.txt", f"{__name__}:write_places")
    features = np.zeros((30, 50, 2), np.float32)
    features[11, 37, 1] = 9
    write_cube(tmp_path / "cube.zarr", features, classes=("beach", "airfield"))
    result = search_scene(tmp_path / "cube.zarr", "airfield", tmp_path / "out", top=3)
    assert result.folder is not None
    written = result.folder / "places.txt"
    assert written.read_text().splitlines()[0] == "1 11 37 False"
    record = json.loads((result.folder / RECORD).read_text())
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert record["outputs"]["places.txt"] == digest
    assert set(record["outputs"]) == set(OUTPUTS)
    assert list(faults_of_outputs(result.folder, record)) == []
    copy = share([result.folder], tmp_path / "copy").answers[0]
    assert copy["outputs"]["places.txt"] == digest
    written.write_text("changed")
    assert any("places.txt" in fault for fault in faults_of_outputs(result.folder, record))
