"""Copies of answers of points: regions and their best points, exact or rounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Geod
from typer.testing import CliRunner

from geoloc.bulk import run_bulk
from geoloc.candidates.regions import RankedRegions
from geoloc.cli import app
from geoloc.domain import Grid, Points, Regions
from geoloc.errors import UsageError
from geoloc.query import query_photos
from geoloc.report.region_files import lonlat_outlines, write_region_geojson
from geoloc.report.registry import OUTPUTS, REGION_OUTPUTS
from geoloc.search import RegionMin
from geoloc.sharing import Options, read_rounding, share
from geoloc.sharing.regions import read_regions
from tests.point_place import Country, make_country
from tests.report_sample import sample
from tests.shared_answers import holders, pictures, unpacked

FILES = {
    "query.json", "report.html", *REGION_OUTPUTS,
    *(name for name in OUTPUTS if name.startswith("candidates.")),
}  # fmt: skip
TRUTH = (48.9123456, 31.5123456)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Country, Path]]:
    """A country whose map is named, and an answer."""
    country = make_country(tmp_path_factory.mktemp("qountry"), 900)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOLOC_MODELS", str(country.folder / "models"))
        out = tmp_path_factory.mktemp("qanswers")
        (result,) = query_photos(country.area, [country.photo], out, top=7, truth=TRUTH).results
        assert result.folder is not None
        yield country, result.folder


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "query.json").read_text(encoding="utf-8"))
    return found


def features(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "regions.geojson").read_text())["features"]
    return found


def test_what_was_found_stays_the_same(made: tuple[Country, Path], tmp_path: Path) -> None:
    _, answer = made
    share([answer], tmp_path / "out", Options())
    copy = tmp_path / "out" / "answer-1"
    assert {path.name for path in copy.iterdir()} == FILES
    before, after = record(answer), record(copy)
    for told in (*before["candidates"], *after["candidates"]):
        del told["links"]  # of fewer digits, rounded once more
    for key in ("vector", "candidates", "regions", "large_places", "grid", "places", "match"):
        assert after[key] == before[key], key
    assert after["summary"] == before["summary"] and after["truth"] is None
    with rasterio.open(answer / "regions.tif") as old, rasterio.open(copy / "regions.tif") as new:
        np.testing.assert_array_equal(old.read(), new.read())
        assert old.descriptions == new.descriptions
    for one, other in zip(features(answer), features(copy), strict=True):
        assert one["properties"] == other["properties"]
        shapes = [shapely.geometry.shape(part["geometry"]) for part in (one, other)]
        assert shapely.hausdorff_distance(*shapes) < 5e-5  # edges are cut up anew: a few m
    assert (copy / "map.png").stat().st_size > 10_000
    page = (copy / "report.html").read_text()
    assert page.count('class="card candidate"') == (answer / "report.html").read_text().count(
        'class="card candidate"'
    )
    told = (tmp_path / "out" / "SHARED.md").read_text()
    assert "Kept: regions with their distances" in told and "border, provinces" in told


def test_nothing_of_the_photo_and_the_machine_is_left(
    made: tuple[Country, Path], tmp_path: Path
) -> None:
    country, answer = made
    share([answer], tmp_path / "out", Options(photo="omitted"))
    digits = [f"{value:.4f}" for value in TRUTH]
    for text in ("photo.png", str(country.folder), country.folder.name):
        assert holders(answer, text) and holders(tmp_path / "out", text) == [], text
    for text in digits:
        assert holders(answer, text) and holders(tmp_path / "out", text) == [], text
    assert "&lt;i&gt;West" not in (tmp_path / "out/answer-1/report.html").read_text()  # a province
    large = [image for image in pictures(tmp_path / "out").values() if image.size == (80, 60)]
    assert large == []


def test_rounded_points_lie_in_the_middle_of_parts_of_their_regions(
    made: tuple[Country, Path], tmp_path: Path
) -> None:
    _, answer = made
    share([answer], tmp_path / "out", Options(rounding=read_rounding("2km")))
    copy = tmp_path / "out" / "answer-1"
    before, after = record(answer), record(copy)
    assert after["vector"] is None and after["places"] == {}
    rows = [(before["candidates"], after["candidates"]),
            (before["regions"]["good_regions"], after["regions"]["good_regions"])]  # fmt: skip
    for old, new in rows:
        for one, other in zip(old, new, strict=True):
            assert (one["rank"], one["distance"]) == (other["rank"], other["distance"])
            moved = Geod(ellps="WGS84").inv(one["lon"], one["lat"], other["lon"], other["lat"])[2]
            assert 0 < moved < 2100 / 2**0.5 + 1500  # and what the decimals leave out
    originals = [f["properties"] for f in features(answer) if f["properties"]["rank"]]
    for data in unpacked(copy).values():
        for one in originals:
            digits = [f"{one[key]:.6f}"[:-1].encode() for key in ("lon", "lat")]
            assert not all(value in data for value in digits)
    points = geopandas.read_file(copy / "regions.gpkg", layer="best_points")
    exact = {(one["lon"], one["lat"]) for one in originals}
    for point in points.geometry:
        assert (round(point.x, 2), round(point.y, 2)) == (point.x, point.y)
        assert (point.x, point.y) not in exact


def test_squares_are_parts_of_regions(made: tuple[Country, Path], tmp_path: Path) -> None:
    """Of a square that reaches into two regions the part in one of them would be told."""
    from geoloc.sharing.rounding import Squares

    regions = Grid("EPSG:32636", 300_000.0, 5_600_000.0, 25_000.0, 3, 4)
    for text in ("7km", "25km", "13km", "300m"):
        rounding = read_rounding(text)
        assert rounding is not None
        fine = Squares.within(regions, rounding).grid
        assert fine.bounds == pytest.approx(regions.bounds) and fine.step >= rounding.metres
        assert (regions.step / fine.step) == round(regions.step / fine.step)
    _, answer = made
    with pytest.raises(UsageError, match=r"--round 26 km is coarser than the regions of 25000 m"):
        share([answer], tmp_path / "out", Options(rounding=read_rounding("26km")))
    assert not (tmp_path / "out").exists()


def test_a_kept_truth_is_rounded_alike(made: tuple[Country, Path], tmp_path: Path) -> None:
    _, answer = made
    options = Options(frozenset({"truth"}), rounding=read_rounding("5km"))
    share([answer], tmp_path / "out", options)
    old, new = record(answer)["truth"], record(tmp_path / "out" / "answer-1")["truth"]
    for key in ("percentile", "region_rank", "region_good"):
        assert new[key] == old[key], key
    assert 0 < abs(new["lat"] - TRUTH[0]) < 0.05


def test_a_bulk_run_over_points_is_shared(
    made: tuple[Country, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    country, _ = made
    monkeypatch.setenv("GEOLOC_MODELS", str(country.folder / "models"))
    (tmp_path / "in").mkdir()
    for name in ("q1.png", "q2.png"):
        (tmp_path / "in" / name).write_bytes(country.photo.read_bytes() + name.encode())
    run_bulk(country.area, tmp_path / "in", tmp_path / "run")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["share", str(tmp_path / "run"), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["answers"]
    assert told and all({p.name for p in (out / one["folder"]).iterdir()} == FILES for one in told)
    assert holders(out, "q1.png") == []


def test_damaged_regions_are_refused(made: tuple[Country, Path], tmp_path: Path) -> None:
    _, answer = made
    grid = Grid("EPSG:32636", 0.0, 0.0, 25_000.0, 2, 2)
    (tmp_path / "regions.geojson").write_text('{"features": [{"properties": {"region": 9}}]}')
    with pytest.raises(UsageError, match=r"regions.geojson is damaged"):
        read_regions(tmp_path, record(answer), grid)
    with pytest.raises(UsageError, match=r"regions.geojson cannot be read"):
        read_regions(tmp_path / "no", record(answer), grid)


def test_outlines_at_180_degrees_are_read_in_one_piece(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    lon = (rng.uniform(176, 184, 200) + 180) % 360 - 180
    points = Points("EPSG:4326", np.stack([lon, rng.uniform(-20, -15, 200)], axis=1))
    layout = Regions.of(points, 50_000)
    found = RegionMin.of(layout, 1)
    for chunk in points.chunks():
        found.add(chunk, rng.normal(9, 1, (1, *chunk.shape)).astype(np.float32))
    ranked = RankedRegions.of(found.result()[0], points)
    write_region_geojson(sample(regions=ranked), tmp_path / "regions.geojson")
    told = {"regions": ranked.to_json()}
    again = read_regions(tmp_path, told, layout.grid)
    np.testing.assert_array_equal(again.rank, ranked.rank)
    np.testing.assert_array_equal(again.minima.best, ranked.minima.best)
    np.testing.assert_allclose(again.xy, ranked.xy, atol=0.05)
    numbers = np.flatnonzero(layout.is_region)
    for one, other in zip(layout.outline(numbers), again.layout.outline(numbers), strict=True):
        assert shapely.hausdorff_distance(one, other) < 1000 and other.geom_type == "Polygon"
        assert other.area == pytest.approx(one.area, rel=1e-4)
    for one, other in zip(lonlat_outlines(layout), lonlat_outlines(again.layout), strict=True):
        assert other.area == pytest.approx(one.area, rel=1e-3)
    assert again.to_json() == ranked.to_json()
