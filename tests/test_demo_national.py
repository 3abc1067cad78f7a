"""The national demo: its figures by hand, and the whole job on the smallest country."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.demo.national import (
    ROBUST,
    NationalDemo,
    PhotoScore,
    run_national_demo,
)
from geoloc.errors import UsageError
from geoloc.evaluation.regions import RegionScore

SCORES = (
    PhotoScore("a.jpg", RegionScore(True, 3, 40, 0.1), RegionScore(False, 9, 40, 0.2), 12.34567),
    PhotoScore("b.jpg", RegionScore(False, None, 40, 0.3), RegionScore(False, None, 40, 0.1), None),
)


def test_the_figures_are_those_of_the_photos() -> None:
    told = NationalDemo(500, 12.3456, SCORES, (), Path("x")).to_json()
    assert told == {
        "points": 500,
        "build_seconds": 12.35,
        "photos": [
            {
                "photo": "a.jpg", "truth_region_good": True, "truth_region_rank": 3, "regions": 40,
                "zoomed_percentile": 12.3457, "robust_region_good": False, "robust_region_rank": 9,
            },
            {
                "photo": "b.jpg", "truth_region_good": False, "truth_region_rank": None,
                "regions": 40, "zoomed_percentile": None, "robust_region_good": False,
                "robust_region_rank": None,
            },
        ],
        "truth_in_good": 0.5,
        "good_share": 0.2,
        "robust": {"truth_in_good": 0.0, "good_share": 0.15},
    }  # fmt: skip


def test_without_photos_there_are_no_figures() -> None:
    told = NationalDemo(5, 1.0, (), ("a.jpg: no picture",), Path("x")).to_json()
    assert told["truth_in_good"] is None and told["robust"]["good_share"] is None


@pytest.mark.parametrize("options", [["--km", "0"], ["--km", "4000"], ["--points", "0"]])
def test_impossible_countries_are_invalid_usage(options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "n"
    result = CliRunner().invoke(app, ["demo", "--national", "--out", str(out), *options])
    error = result.exception
    assert isinstance(error, UsageError) or result.exit_code == 2
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_job_on_a_small_country(tmp_path: Path) -> None:
    out = tmp_path / "n"
    demo = run_national_demo(
        out, seed=7, km=12.0, photos=2, points=40, region_m=4000.0, zoom_km=0.3
    )
    told = json.loads((out / "demo.json").read_text())
    assert told == demo.to_json() and told["points"] == 40
    assert [one["photo"] for one in told["photos"]] == ["0001.jpg", "0002.jpg"]
    for one in told["photos"]:
        assert 1 <= one["truth_region_rank"] <= one["regions"]
        assert 0 < one["zoomed_percentile"] <= 100
        assert (out / "answers" / one["photo"][:-4] / "map.png").stat().st_size > 10_000
    ranks = [one.plain.rank for one in demo.photos] + [one.robust.rank for one in demo.photos]
    assert np.isfinite(np.array(ranks, float)).all() and ROBUST.value == "nearest"
    assert any((out / "zoom").glob("*/cube.zarr"))
    zoomed = [p for p in out.rglob("query.json") if "parent" in json.loads(p.read_text())]
    assert len(zoomed) == 1
