"""Regions of an answer, over a cube of points and over a grid: found, written, asked again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image

from geoloc.area import Area, GeotiffImagery, MapFiles, read_border
from geoloc.bulk import run_bulk
from geoloc.cube import Cube
from geoloc.domain import Grid, Regions
from geoloc.errors import AreaError, UsageError
from geoloc.evaluation.regions import RegionScore
from geoloc.query import (
    QueryOptions,
    QueryResults,
    answer_photos,
    evaluate_truth,
    query_photos,
    repeat_query,
    search_scene,
)
from geoloc.query.coverage import point_coverage
from geoloc.query.regional import layout_of
from geoloc.query.session import QuerySession
from geoloc.query.target import Target
from geoloc.ranking import Ranking
from geoloc.report.outputs import RECORD, faults_of_outputs
from geoloc.report.registry import OUTPUTS, REGION_OUTPUTS
from geoloc.search import Query, scan
from tests.cubes import write_cube
from tests.encoder_models import CLASSES
from tests.point_place import Country, make_country, make_map, write_point_cube

F32 = Any


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Country:
    return make_country(tmp_path_factory.mktemp("country"))


@pytest.fixture
def country(made: Country, monkeypatch: pytest.MonkeyPatch) -> Country:
    monkeypatch.setenv("GEOLOC_MODELS", str(made.folder / "models"))
    return made


@pytest.fixture(scope="module")
def answers(made: Country, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryResults]:
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOLOC_MODELS", str(made.folder / "models"))
        yield query_photos(made.cube, [made.photo], out, top=7, truth=(48.9, 31.5))


def area_with(map_files: MapFiles | None, **changes: Any) -> Area:
    """An area file's content as far as regions read it."""
    area = Area(
        name="Tinyland", crs="EPSG:32636", bounds=(300_000, 5_300_000, 400_000, 5_400_000),
        geometry=None, step=10, imagery=GeotiffImagery(paths=["x.tif"]), model="tiny",
        cube="cube.zarr", sensitive=None, map=map_files,
    )  # fmt: skip
    return area.model_copy(update=changes)


def distances(cube: Cube, vector: F32) -> F32:
    found = np.full(cube.domain.size, np.nan, np.float32)
    for chunk, values in scan(cube, Query(vector)):
        found[chunk.slices] = values[0]
    return found


def test_a_cube_of_points_is_answered_by_regions_of_25_km(answers: QueryResults) -> None:
    (result,) = answers.results
    assert answers.failures == {} and result.folder is not None
    assert {path.name for path in result.folder.iterdir()} == {
        *(name for name in OUTPUTS if name.startswith("candidates.")), *REGION_OUTPUTS,
        "report.html", RECORD,
    }  # fmt: skip
    record = json.loads((result.folder / RECORD).read_text())
    assert list(faults_of_outputs(result.folder, record)) == []
    assert (record["parameters"]["regions"], record["regions"]["size"]) == (25_000, 25_000)
    assert record["summary"]["cells"] == 1500 and record["summary"]["cells_known"] == 1462
    assert record["summary"]["unsearched_reasons"] == {
        "no imagery, or too little of it around the cell": 38
    }
    assert record["large_places"] is None and len(record["candidates"]) == 7
    assert record["truth"]["region_rank"] > 0 and record["truth"]["region_good"] in (True, False)
    assert 0 < record["truth"]["percentile"] <= 100


def test_its_candidates_are_the_best_points_of_the_best_regions(
    answers: QueryResults, country: Country
) -> None:
    (result,) = answers.results
    cube = Cube.open(country.cube)
    answered = distances(cube, [result.vector])
    assert result.regions is not None
    region = result.regions.layout.index(cube.domain.centres(np.arange(cube.domain.size)))
    best = sorted(
        (float(np.nanmin(answered[region == r])), r)
        for r in set(region.tolist())
        if np.isfinite(answered[region == r]).any()
    )
    assert len(best) == len(result.regions.order)
    for candidate, (distance, number) in zip(result.candidates, best, strict=False):
        assert candidate.distance == distance
        assert candidate.row * result.grid.nx + candidate.col == number
        assert answered[candidate.point] == distance
        assert (candidate.lon, candidate.lat) == pytest.approx(
            tuple(cube.domain.centres(np.array([candidate.point]))[0])
        )
        assert candidate.explanation and result.places[candidate.rank]
    assert result.areas[0].km2 == pytest.approx(625)


@pytest.mark.usefixtures("country")
def test_the_answer_can_be_repeated(answers: QueryResults, tmp_path: Path) -> None:
    folder = answers.results[0].folder
    assert folder is not None
    copy = shutil.copytree(folder, tmp_path / "photo")
    assert repeat_query(copy / RECORD).exact
    (copy / "regions.tif").write_bytes(b"no")
    assert not repeat_query(copy / RECORD).same


def _moved(regions: dict[str, Any]) -> None:
    regions["good_regions"][0]["lat"] += 0.002


def _farther(regions: dict[str, Any]) -> None:
    regions["good_regions"][0]["distance"] *= 1.01


def _nearly(regions: dict[str, Any]) -> None:
    regions["good_regions"][0]["distance"] *= 1 + 1e-6


def _fewer(regions: dict[str, Any]) -> None:
    del regions["good_regions"][-1]


def _none(regions: dict[str, Any]) -> None:
    regions["good_regions"] = ["no region"]


def _no_list(regions: dict[str, Any]) -> None:
    regions["good_regions"] = 5


def _no_number(regions: dict[str, Any]) -> None:
    regions["good_regions"][0]["score"] = "low"


def _huge(regions: dict[str, Any]) -> None:
    regions["good_regions"][0]["score"] = 10**400


def _other_rule(regions: dict[str, Any]) -> None:
    regions["good"] += 1


@pytest.mark.usefixtures("country")
@pytest.mark.parametrize(
    "change", [_moved, _farther, _nearly, _fewer, _none, _no_list, _no_number, _huge, _other_rule]
)
def test_changed_regions_are_not_reproduced(
    answers: QueryResults, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    """'geoloc zoom --region' goes by them."""
    folder = answers.results[0].folder
    assert folder is not None
    record = json.loads((folder / RECORD).read_text())
    change(record["regions"])
    (tmp_path / RECORD).write_text(json.dumps(record))
    found = repeat_query(tmp_path / RECORD)
    assert not found.exact
    assert found.same is (change is _nearly)
    told = "not the same to the last bit: regions" if found.same else "regions are not as recorded"
    assert any(line.startswith(told) for line in found.differences)


def test_scenes_bulk_and_fused_photos_have_regions_too(country: Country, tmp_path: Path) -> None:
    found = search_scene(country.cube, "beach", tmp_path / "s", regions=80_000)
    assert found.regions is not None and found.regions.layout.size == 80_000
    assert found.match is not None and found.match.probability is not None
    both = answer_photos(country.cube, [country.photo, country.photo], fuse=True, regions=60_000)
    assert len(both.results) == 1 and both.results[0].regions is not None
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(country.photo.read_bytes())
    report = run_bulk(country.cube, tmp_path / "in", tmp_path / "bulk", ranking="corrected")
    report.raise_if_unanswered()
    assert report.answered == 1
    record = json.loads((tmp_path / "bulk/items/a" / RECORD).read_text())
    assert record["regions"]["ranking"] == "corrected"
    assert run_bulk(country.cube, tmp_path / "in", tmp_path / "bulk", ranking="corrected").kept == 1
    assert "1,500 points" in report.index.read_text()


def test_regions_end_at_the_border_and_large_places_are_told(
    country: Country, tmp_path: Path
) -> None:
    result = search_scene(country.area, "beach", tmp_path, places_above=10_000)
    assert result.regions is not None and result.recall is not None
    layout, told = result.regions.layout, result.recall
    assert {*told.found, *told.missed} == {"Alpha & <b>Co</b>", "Beta"} and told.elsewhere == 1
    assert result.regions.minima.outside > 100 and layout.polygon is not None
    assert any("lie outside the border" in note for note in result.notes)
    assert 0 < layout.is_region.sum() < layout.count
    assert result.parameters["border"] == str(country.border)
    assert len(result.parameters["border_sha256"]) == 64
    assert result.folder is not None and repeat_query(result.folder / RECORD).exact
    page = (result.folder / "report.html").read_text()
    assert "Alpha &amp; &lt;b&gt;Co&lt;/b&gt;" in page and "Large places in good regions" in page
    record = json.loads((result.folder / RECORD).read_text())
    assert record["large_places"] == told.to_json()


def test_a_polygon_and_missing_blocks_are_counted_in_points(
    country: Country, tmp_path: Path
) -> None:
    whole = Cube.open(country.cube)
    features = whole.features.decode(whole.read(slice(None)))
    assert not isinstance(whole.domain, Grid)
    cube = write_point_cube(tmp_path / "c.zarr", whole.domain, features, missing=(0, 3))  # type: ignore[arg-type]
    box = [[[30, 48], [33, 48], [33, 50], [30, 50], [30, 48]]]
    shape = {"type": "Polygon", "coordinates": box}
    (tmp_path / "p.geojson").write_text(json.dumps(shape))
    result = search_scene(cube.url, "beach", tmp_path / "out", within=tmp_path / "p.geojson")
    xy = whole.domain.centres(np.arange(1500))
    inside, unbuilt = xy[:, 0] < 33, np.isin(np.arange(1500) // 256, (0, 3))
    assert result.cells_asked == inside.sum()
    assert result.lacking["not built yet"] == (inside & unbuilt).sum()
    known = np.isfinite(features[:, 0]) & inside & ~unbuilt
    assert result.known == known.sum() == result.cells_asked - result.unsearched


def test_points_outside_of_the_cubes_own_polygon_lack_nothing(
    country: Country, tmp_path: Path
) -> None:
    whole = Cube.open(country.cube)
    features, xy = (
        whole.features.decode(whole.read(slice(None))),
        whole.domain.centres(np.arange(whole.domain.size)),
    )
    inside = (xy[:, 0] < 33) & (xy[:, 1] < 50)
    features[~inside] = np.nan
    digest = "ab" * 32
    cube = write_point_cube(tmp_path / "c.zarr", whole.domain, features, polygon=digest)  # type: ignore[arg-type]
    known, box = int(np.isfinite(features[:, 0]).sum()), shapely.box(0, 0, 33, 50)
    lacking = int(inside.sum()) - known
    asked, reasons = point_coverage(cube, known, box, None)
    assert asked == inside.sum() and sum(reasons.values()) == lacking
    asked, reasons = point_coverage(cube, known, None, None)
    assert asked == len(xy) and sum(reasons.values()) == len(xy) - known
    assert all(reason.startswith("outside of the area's polygon, or") for reason in reasons)
    west = shapely.box(0, 0, 31, 90)
    part = inside & (xy[:, 0] < 31)
    asked, _ = point_coverage(cube, int(np.isfinite(features[part, 0]).sum()), box, west)
    assert asked == part.sum()


def grid_cube(folder: Path) -> Path:
    rng = np.random.default_rng(5)
    features = rng.normal(0, 2, (40, 70, len(CLASSES))).astype(np.float32)
    features[30:, :20] = np.nan
    write_cube(folder / "cube.zarr", features, classes=CLASSES)
    return folder / "cube.zarr"


def test_a_grid_keeps_its_files_and_gets_those_of_regions(tmp_path: Path) -> None:
    cube = grid_cube(tmp_path)
    plain = search_scene(cube, "bridge", tmp_path / "plain")
    both = search_scene(cube, "bridge", tmp_path / "both", regions=100)
    assert plain.folder is not None and both.folder is not None and plain.regions is None
    names = {path.name for path in both.folder.iterdir()}
    assert names == {*OUTPUTS, *REGION_OUTPUTS, "regions.html", RECORD}
    assert plain.candidates == both.candidates
    np.testing.assert_array_equal(plain.heatmap[:], both.heatmap[:])
    with rasterio.open(both.folder / "regions.tif") as file:
        best = file.read(1)
    pooled = np.full((4, 7), np.nan, np.float32)
    for row, col in np.ndindex(4, 7):
        cells = both.heatmap[row * 10 : row * 10 + 10, col * 10 : col * 10 + 10]
        if np.isfinite(cells).any():
            pooled[row, col] = np.nanmin(cells)
    np.testing.assert_array_equal(best, pooled)
    assert repeat_query(both.folder / RECORD).exact


def test_what_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    cube = grid_cube(tmp_path)
    for size, words in ((5, "smaller than a cell"), (float("inf"), "finite")):
        with pytest.raises(UsageError, match=words):
            search_scene(cube, "bridge", tmp_path / "out", regions=size)
    with pytest.raises(UsageError, match="--ranking corrected ranks regions: add --regions"):
        search_scene(cube, "bridge", tmp_path / "out", ranking="corrected")
    assert not (tmp_path / "out").exists()
    one = search_scene(cube, "bridge", tmp_path / "out", regions=90_000)
    assert one.regions is not None and one.regions.to_json()["good"] == 1
    opened = Cube.open(cube)
    elsewhere = make_map(tmp_path / "map")  # 200 km off
    with pytest.raises(UsageError, match="the border does not meet the area"):
        QuerySession.of(Target(opened, area_with(elsewhere)), QueryOptions(regions=100))
    broken = elsewhere.model_copy(update={"border": tmp_path / "none.geojson"})
    with pytest.raises(AreaError, match=r"map\.border: .* does not exist"):
        QuerySession.of(Target(opened, area_with(broken)), QueryOptions(regions=100))
    QuerySession.of(Target(opened, area_with(broken)), QueryOptions())  # not asked for


def test_a_changed_border_is_not_repeated(country: Country, tmp_path: Path) -> None:
    files = make_map(tmp_path / "map")
    target = Target(Cube.open(country.cube), area_with(files))
    session = QuerySession.of(target, QueryOptions(scene="beach"))
    from geoloc.query.folders import Folders
    from geoloc.query.run import answer_scene
    from geoloc.query.searcher import ModelSearcher

    result = answer_scene(ModelSearcher(session, None), folders=Folders(tmp_path / "out"))
    assert result.folder is not None and repeat_query(result.folder / RECORD).exact
    border = tmp_path / "map" / "border.geojson"
    border.write_text(border.read_text().replace("33.8", "33.7"))
    with pytest.raises(UsageError, match="has changed since: restore it"):
        repeat_query(result.folder / RECORD)


def test_places_that_lie_nowhere_near_are_told(country: Country, tmp_path: Path) -> None:
    text = "name,population,lat,lon\nSwapped,900000,31,48.5\n"
    (tmp_path / "p.csv").write_text(text)
    files = MapFiles(border=None, provinces=None, places=tmp_path / "p.csv", water=None,
                     forest=None)  # fmt: skip
    session = QuerySession.of(
        Target(Cube.open(country.cube), area_with(files)), QueryOptions(scene="beach")
    )
    ranked = session.search_scene()
    result = session.answer(replace(_item(session), photos=()), ranked)
    assert "No named place lies in any region: check the columns lat and lon." in result.notes


def _item(session: QuerySession) -> Any:
    from geoloc.query.session import QueryItem

    vector = session.target.cube.features.named_vector(["beach"])
    return QueryItem("beach", "beach", (), vector)


def test_polygons_between_the_points_are_refused(country: Country, tmp_path: Path) -> None:
    west, south = Cube.open(country.cube).domain.centres(np.array([0]))[0] + 1e-5
    ring = [[west, south], [west + 1e-6, south], [west, south + 1e-6], [west, south]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    (tmp_path / "tiny.geojson").write_text(json.dumps(shape))
    with pytest.raises(UsageError, match="no point of the cube lies inside of the polygon"):
        search_scene(country.cube, "beach", tmp_path / "out", within=tmp_path / "tiny.geojson")
    files = make_map(tmp_path / "map").model_copy(update={"border": tmp_path / "tiny.geojson"})
    target = Target(Cube.open(country.cube), area_with(files))
    with pytest.raises(UsageError, match="no point of the cube lies inside of the border"):
        QuerySession.of(target, QueryOptions())


def test_a_border_around_the_earth_clips_a_grid_and_is_refused_for_points(
    country: Country, tmp_path: Path
) -> None:
    shape = {"type": "Polygon", "coordinates": [
        [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}  # fmt: skip
    (tmp_path / "world.geojson").write_text(json.dumps(shape))
    files = make_map(tmp_path / "map").model_copy(update={"border": tmp_path / "world.geojson"})
    with pytest.raises(UsageError, match="reaches so far around the Earth"):
        QuerySession.of(Target(Cube.open(country.cube), area_with(files)), QueryOptions())
    cube = Cube.open(grid_cube(tmp_path))
    layout = layout_of(cube, 300, read_border(tmp_path / "world.geojson"))
    xy = cube.grid.centres(np.arange(cube.grid.size))
    np.testing.assert_array_equal(layout.index(xy), Regions.of(cube.grid, 300).index(xy))


def test_true_regions_are_evaluated_as_the_answers_rank_them(
    country: Country, tmp_path: Path
) -> None:
    """Of three photos, the last of which was taken abroad; in each way there is to rank."""
    names, places = ("a.png", "b.png", "c.png"), ((48.9, 31.5), (48.3, 32.9), (60.0, 10.0))
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    rows = [f"{name},{lat},{lon},field" for name, (lat, lon) in zip(names, places, strict=True)]
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(["file,lat,lon,scene", *rows]))
    found = evaluate_truth(country.area, truth, regions=50_000.0)
    for ranking in Ranking:
        answers = answer_photos(
            country.area, [tmp_path / name for name in names], regions=50_000.0, ranking=ranking
        )
        for score, answer in zip(found.scores, answers.results, strict=True):
            assert score.truth is not None and answer.regions is not None
            expected = RegionScore.of(answer.regions, score.truth)
            abroad = score.photo == "c.png"
            assert score.regions.get(ranking) == (None if abroad else expected)
            assert not abroad or expected.rank is None
    told = found.to_json()
    assert set(told["regions"]) == {one.value for one in Ranking}
    assert told["regions_scene"]["field"]["photos"]["value"] == 2
    assert "regions" in told["photos"][1] and "regions" not in told["photos"][2]
    assert found.items()[0]["minimum_region_rank"] == found.scores[0].regions["minimum"].rank
    json.dumps(told, allow_nan=False)


def test_photos_of_one_place_are_evaluated_as_their_fused_answer(
    country: Country, tmp_path: Path
) -> None:
    rows = ["file,lat,lon"]
    for number, name in enumerate(("a.png", "b.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        rows.append(f"{name},48.9,31.5")
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(rows))
    found = evaluate_truth(country.area, truth, fuse=[2])
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    (answer,) = answer_photos(country.area, paths, fuse=True).results
    (score,) = found.fused[2]
    assert score.truth is not None and answer.regions is not None
    assert score.regions["minimum"] == RegionScore.of(answer.regions, score.truth)
    assert found.fused[1][0].placement == found.scores[0].placement
    told = found.to_json()
    assert set(told["fused"]) == {"1 photo", "2 photos"}
    assert "2 photos, nearest" in told["regions_fused"]
    with pytest.raises(UsageError, match="has 3 photos to fuse"):
        evaluate_truth(country.area, truth, fuse=[3])
