"""The page and the files of an answer of several models, with what each of them says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import rasterio

from geoloc.report import write_report
from geoloc.report.evidence import TANDEM_FORMAT, evidence
from geoloc.report.html import write_page
from geoloc.report.views import render_views
from tests.conftest import OfflinePage
from tests.report_sample import NASTY, in_tandem


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, result = tmp_path_factory.mktemp("page") / "report.html", in_tandem()
    write_page(result, path, render_views(result, None))
    return path


@pytest.fixture
def page(offline_page: OfflinePage, page_file: Path) -> Any:
    shown = offline_page.open(page_file)
    shown.wait_for_selector("#map[data-ready=yes]")
    return shown


def test_the_page_shows_each_models_own_rank_and_weight(
    page: Any, offline_page: OfflinePage
) -> None:
    table = page.inner_text("#models")
    assert "25 %" in table.replace("\u202f", " ") and "75 %" in table.replace("\u202f", " ")
    assert NASTY in table and page.locator("#models b").count() == 0
    first, second = (page.inner_text(f"#candidate-{rank} .models") for rank in (1, 2))
    assert "landuse: rank 1 of" in first and f"{NASTY}: rank 5,000 of" in first
    assert f"{NASTY}: nothing known there" in second
    assert "score -3.500" in page.inner_text("#candidate-1")
    assert "distance" not in page.inner_text("#candidate-1").replace("squared distance", "")
    assert "What model landuse sees" in page.inner_text("#answer")
    assert "unrelated photos" in page.inner_text(".read")
    assert offline_page.complaints == [] and offline_page.outside == []


def test_the_heat_of_each_model_can_be_seen(page: Any, offline_page: OfflinePage) -> None:
    choices = page.locator("#heat-of option").all_inner_texts()
    assert choices == ["all models together", "landuse alone", f"{NASTY} alone"]
    seen = []
    for number in range(3):
        page.select_option("#heat-of", str(number))
        page.evaluate("new Promise(then => setTimeout(then, 100))")
        seen.append(page.eval_on_selector("#heat", "e => e.toDataURL()"))
    assert len(set(seen)) == 3
    page.select_option("#heat-of", "0")
    page.evaluate("new Promise(then => setTimeout(then, 100))")
    assert page.eval_on_selector("#heat", "e => e.toDataURL()") == seen[0]
    assert offline_page.complaints == []


def test_the_files_have_scores_and_no_distances(tmp_path: Path) -> None:
    result = in_tandem()
    write_report(result, tmp_path)
    (first, *_) = json.loads((tmp_path / "candidates.geojson").read_text())["features"]
    told = first["properties"]
    assert told["score"] == -3.5 and "distance" not in told
    assert told["models"][NASTY] == {
        "rank": 5000, "percentile": 41.5, "distance": 3.25, "score": -0.1, "weight": 0.75,
    }  # fmt: skip
    with (tmp_path / "candidates.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["score"]) == -3.5 and "distance" not in rows[0]
    assert rows[0]["rank_landuse"] == "1" and rows[1]["percentile_landuse"] == "0.1"
    assert not any(name.startswith(("=", "+", "-", "@")) for name in rows[0])
    with rasterio.open(tmp_path / "heatmap.tif") as raster:
        assert raster.descriptions == ("score",) and raster.read(1)[20, 100] < 0
    assert "score -3.500" in (tmp_path / "candidates.kml").read_text()
    assert "landuse: rank 1" in (tmp_path / "candidates.kml").read_text()


def test_the_record_is_of_a_format_of_its_own() -> None:
    record = evidence(in_tandem())
    assert record["format"] == TANDEM_FORMAT and record["match"] is None
    part = record["tandem"]
    assert part["calibration"] == "bank" and part["bank"][0]["sha256"] == "ef" * 32
    assert [one["weight"] for one in part["models"]] == [0.25, 0.75]
    assert part["models"][1]["vector"]["highway"] == pytest.approx(9.1)
    told = in_tandem().to_json()["tandem"]
    assert "vector" not in told["models"][0]  # for people's scripts: the record has it
    json.dumps(record, allow_nan=False)
