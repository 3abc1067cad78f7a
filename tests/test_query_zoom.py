"""From a place of an answer down to the cells around it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyproj import Transformer
from typer.testing import CliRunner

from geoloc.area import load_area
from geoloc.bulk import run_bulk
from geoloc.cli import app
from geoloc.cube import Cube
from geoloc.errors import CubeError, GeolocError, ImageryError, SpecMismatchError, UsageError
from geoloc.jobs.build import build_cube
from geoloc.models import load_model
from geoloc.models.calibration import Calibration, Level, write_calibration
from geoloc.models.spec import DenseSpec, OverheadSpec
from geoloc.points import PointSet, writing_points
from geoloc.query import query_photos, repeat_query, search_scene
from geoloc.query.neighbourhood import Spot, spot_of, square_around, step_for
from geoloc.sharing import Options, read_rounding, share
from tests.answered_place import Answered, read, zoom
from tests.cubes import write_cube
from tests.small_place import LEFT, TOP, SmallPlace, write_place

TRUTH = (50.505, 30.21)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = write_place(tmp_path_factory.mktemp("zoom") / "here", ny=40, nx=50)
    build_cube(load_area(place.area))
    query_photos(
        place.area, place.photos[:1], place.folder / "answers",
        top=5, radius=200.0, weights={"indoor": 0.5}, truth=TRUTH,
    )  # fmt: skip
    search_scene(place.area, Cube.open(place.cube).features.names[3], place.folder / "scenes")
    return place.folder


@pytest.fixture
def asked(made: Path) -> Answered:
    return Answered(SmallPlace(made))


def test_the_neighbourhood_is_asked_the_same_photo(asked: Answered, tmp_path: Path) -> None:
    result = zoom(asked.answer, out=tmp_path / "out", cache=tmp_path / "cache")
    parent, record = asked.record(), read(result.folder or Path())
    place = next(c for c in parent["candidates"] if c["rank"] == 2)
    # in its own zone, which is not that of the parent's neighbours
    assert record["grid"]["crs"] == "EPSG:32636" and record["grid"]["shape"] == [20, 20]
    left, bottom, right, top = record["grid"]["bounds"]
    x, y = Transformer.from_crs(4326, 32636, always_xy=True).transform(place["lon"], place["lat"])
    assert abs((left + right) / 2 - x) <= 16 and abs((bottom + top) / 2 - y) <= 16
    # the same photo, model and options
    assert record["vector"] == parent["vector"]
    assert record["model"]["digest"] == parent["model"]["digest"]
    for key in ("top", "radius", "weights"):
        assert record["parameters"][key] == parent["parameters"][key], key
    assert (record["truth"]["lat"], record["truth"]["lon"]) == TRUTH
    assert record["parent"] == {
        "record": str(asked.answer / "query.json"),
        "sha256": hashlib.sha256((asked.answer / "query.json").read_bytes()).hexdigest(),
        "title": "street_1.jpg", "kind": "candidate", "rank": 2,
        "lon": place["lon"], "lat": place["lat"], "km": 0.64,
    }  # fmt: skip


def test_a_neighbourhood_states_no_share_to_be_searched(tmp_path: Path) -> None:
    place = write_place(tmp_path / "here", ny=40, nx=50)
    build_cube(load_area(place.area))
    model = load_model(load_area(place.area).model)
    write_calibration(
        model,
        Calibration(
            model=model.digest, photos=9, places=9, source="nowhere", levels={80: Level(share=0.1)}
        ),
    )
    (parent,) = query_photos(place.area, place.photos[:1], tmp_path / "answers").results
    assert parent.calibrated is not None and parent.folder is not None
    found = zoom(parent.folder, rank=1)
    assert found.calibrated is None and found.folder is not None
    assert read(found.folder)["calibration"] is None


def test_its_page_links_back_to_the_answer(asked: Answered) -> None:
    result = zoom(asked.answer)
    assert result.folder == asked.place.folder / "answers/zoom/street_1 candidate 2 0.64 km"
    page = (result.folder / "report.html").read_text()
    assert '<a href="../../street_1/report.html">street_1.jpg</a>' in page
    assert (result.folder / "../../street_1/report.html").is_file()
    assert "0.64 km wide, of candidate 2 of" in page
    assert 'id="parent"' not in (asked.answer / "report.html").read_text()


def test_the_answer_to_a_photo_named_zoom_is_left_alone(asked: Answered, tmp_path: Path) -> None:
    shutil.copytree(asked.answer, tmp_path / "answers" / "zoom")
    result = zoom(tmp_path / "answers" / "zoom")
    assert result.folder == tmp_path / "answers" / "zoom-2" / "zoom candidate 2 0.64 km"
    assert read(tmp_path / "answers" / "zoom") == asked.record()


def test_no_rounding_hides_a_neighbourhood(asked: Answered, tmp_path: Path) -> None:
    """The candidate lies in the middle of the area, whose bounds a copy has."""
    result = zoom(asked.answer, out=tmp_path / "out", cache=tmp_path / "cache")
    assert result.folder is not None
    with pytest.raises(UsageError, match=r"is the neighbourhood of a place.*--round cannot"):
        share([result.folder], tmp_path / "copy", Options(rounding=read_rounding("100m")))
    assert not (tmp_path / "copy").exists()
    share([result.folder], tmp_path / "copy")


def test_what_was_built_is_not_built_again(asked: Answered, tmp_path: Path) -> None:
    first = zoom(asked.answer, out=tmp_path / "out", cache=tmp_path / "cache")
    (cube,) = (tmp_path / "cache").glob("*/cube.zarr")
    before = {
        p: p.stat().st_mtime_ns
        for p in cube.rglob("*")
        if p.is_file() and "c/" in str(p.relative_to(cube))
    }
    again = zoom(asked.answer, out=tmp_path / "out", cache=tmp_path / "cache")
    assert before and {path: path.stat().st_mtime_ns for path in before} == before
    assert again.folder == first.folder and again.candidates == first.candidates
    assert [path.name for path in (tmp_path / "out").iterdir()] == [first.folder.name]  # type: ignore[union-attr]
    zoom(asked.answer, rank=1, out=tmp_path / "out", cache=tmp_path / "cache")
    zoom(asked.answer, step=16 * 4.0, out=tmp_path / "out", cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_the_new_answer_can_be_repeated_and_be_a_parent(asked: Answered, tmp_path: Path) -> None:
    result = zoom(asked.answer, out=tmp_path / "out")
    assert result.folder is not None
    assert repeat_query(result.folder / "query.json").exact
    deeper = zoom(result.folder, rank=1, km=0.32, out=tmp_path / "deeper")
    assert deeper.parent is not None and deeper.parent.record == result.folder / "query.json"
    assert deeper.grid.shape == (10, 10)


def test_a_scene_is_searched_for_around_its_place(asked: Answered, tmp_path: Path) -> None:
    result = zoom(asked.scene, rank=1, out=tmp_path / "out", cube=asked.place.area)
    assert not result.photos and result.parent is not None
    assert result.parameters["scene"] == read(asked.scene)["parameters"]["scene"]
    assert read(result.folder or Path())["parent"]["rank"] == 1
    place = read(asked.scene)["candidates"][0]
    x, y = Transformer.from_crs(4326, 32636, always_xy=True).transform(place["lon"], place["lat"])
    assert result.grid.index(x, y) in [(9, 9), (9, 10), (10, 9), (10, 10)]  # in the middle


def test_a_region_is_a_place_too(asked: Answered, tmp_path: Path) -> None:
    copy = tmp_path / "street_1"
    shutil.copytree(asked.answer, copy)
    record = asked.record()
    lon, lat = record["candidates"][3]["lon"], record["candidates"][3]["lat"]
    record["regions"] = {"good_regions": [{"rank": 1, "lon": lon, "lat": lat, "good": True}]}
    (copy / "query.json").write_text(json.dumps(record))
    result = zoom(copy, rank=1, region=True, out=tmp_path / "out")
    assert result.parent is not None and result.parent.kind == "region"
    assert (result.parent.lon, result.parent.lat) == (lon, lat)
    with pytest.raises(UsageError, match=r"--rank 2: the answer has no such region: .* 1 to 1"):
        zoom(copy, rank=2, region=True)


def test_from_points_of_a_country_down_to_cells(asked: Answered, tmp_path: Path) -> None:
    """The best point of a region becomes the middle of a heatmap."""
    inside = asked.place.folder
    to_degrees = Transformer.from_crs(32636, 4326, always_xy=True)
    xy = np.array([(LEFT + 200 + 90 * k, TOP - 250 - 60 * k) for k in range(12)])
    sample = PointSet(
        np.column_stack(to_degrees.transform(*xy.T)), np.arange(12),
        {"way_id": np.arange(12), "highway": np.array([""] * 12)}, "ab",
    )  # fmt: skip
    with writing_points(tmp_path / "points.parquet", {"sequence": "ab"}) as write:
        write(sample)
    facts = yaml.safe_load(asked.place.area.read_text())
    named = {"name": "nation", "points": "points.parquet", "cube": "nation.zarr"}
    kept = {
        **named,
        "model": facts["model"],
        "imagery": {"kind": "geotiff", "paths": [str(inside / "tile.tif")]},
    }
    area = tmp_path / "nation.yaml"
    area.write_text(yaml.safe_dump(kept))
    build_cube(load_area(area))
    (answer,) = query_photos(
        area, asked.place.photos[:1], tmp_path / "out", regions=500.0, ranking="corrected"
    ).results
    assert answer.of_points and answer.folder is not None
    best, second = answer.candidates[:2]
    result = zoom(answer.folder, rank=2)
    assert result.folder == tmp_path / "out" / "zoom" / "street_1 candidate 2 0.64 km"
    assert not result.of_points and result.regions is None and result.step == 32
    assert result.parent is not None
    assert result.parent.lon == pytest.approx(second.lon, abs=1e-6)
    assert result.parent.lat == pytest.approx(second.lat, abs=1e-6)
    assert np.array_equal(result.vector, answer.vector)
    region = zoom(answer.folder, rank=1, region=True)
    assert region.parent is not None
    assert region.parent.lon == pytest.approx(best.lon, abs=1e-6)
    assert len(list((tmp_path / "zoom").iterdir())) == 2
    assert repeat_query(result.folder / "query.json").exact


def changed(asked: Answered, tmp_path: Path, **parts: Any) -> Path:
    """A copy of the answer whose record says something else."""
    copy = tmp_path / "street_1"
    shutil.copytree(asked.answer, copy)
    (copy / "query.json").write_text(json.dumps(asked.record() | parts))
    return copy


def test_bad_input_is_refused_in_one_line_before_any_work(asked: Answered, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    photo = asked.record()["photos"][0]
    cube = asked.record()["cube"]
    gone = {**photo, "path": str(tmp_path / "gone.jpg")}
    other = {**photo, "sha256": "0" * 64}
    cases: list[tuple[type[GeolocError], str, dict[str, Any], dict[str, Any]]] = [
        (UsageError, "--rank 9: the answer has no such candidate: they go from 1 to 5", {},
         {"rank": 9}),
        (UsageError, "has no such candidate: it has none", {"candidates": []}, {}),
        (UsageError, "the answer has no regions", {}, {"region": True}),
        (UsageError, "--km 0: write how wide", {}, {"km": 0}),
        (UsageError, "--km nan", {}, {"km": float("nan")}),
        (UsageError, "--km 101", {}, {"km": 101}),
        (UsageError, "--km 0.01 is less than a cell of 32 m", {}, {"km": 0.01}),
        (UsageError, "--step 0: write the distance", {}, {"step": 0.0}),
        (UsageError, "gone.jpg is no longer there: give its folder with --media",
         {"photos": [gone]}, {}),
        (UsageError, "has changed since", {"photos": [other]}, {}),
        (UsageError, "neither photos nor a scene", {"photos": []}, {}),
        (CubeError, "does not exist|cannot be", {"cube": {**cube, "cube": "/nowhere/c.zarr"}}, {}),
        (UsageError, "which is not on this disk",
         {"cube": {**cube, "cube": "s3://else/c.zarr"}}, {}),
        (UsageError, "does not exist", {}, {"cube": tmp_path / "area.yaml"}),
        (SpecMismatchError, "is of model tiny",
         {"cube": {**cube, "model_digest": "1" * 64}}, {}),
    ]  # fmt: skip
    for number, (kind, words, parts, options) in enumerate(cases):
        answer = changed(asked, tmp_path / str(number), **parts) if parts else asked.answer
        with pytest.raises(kind, match=words) as caught:
            zoom(answer, **{"cache": cache, "out": tmp_path / "out", **options})
        assert "\n" not in str(caught.value)
    assert not cache.exists() and not (tmp_path / "out").exists()


def test_an_area_that_was_moved_is_named(asked: Answered, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(asked.place.folder, moved)
    cube = asked.record()["cube"]
    answer = changed(asked, tmp_path, cube={**cube, "cube": str(tmp_path / "gone" / "cube.zarr")})
    with pytest.raises(CubeError):
        zoom(answer)
    result = zoom(answer, cube=moved / "area.yaml")
    assert result.candidates
    assert list((moved / "zoom").iterdir())  # beside the cube that was named


@pytest.mark.parametrize(
    ("imagery", "words"),
    [
        ({"kind": "geotiff", "paths": ["http://127.0.0.1:9/t.tif"]}, "may come from anyone"),
        ({}, "does not say which imagery it is from: name its area file with --cube"),
    ],
)
def test_imagery_that_only_a_cube_names_is_not_asked_for(
    asked: Answered, tmp_path: Path, imagery: dict[str, Any], words: str
) -> None:
    """A record may be a stranger's, and so may be the cube that it names."""
    cube = Cube.open(asked.place.cube)
    features = np.zeros((*cube.grid.shape, cube.features.dim), np.float32)
    features[0] = 1
    url, digest = tmp_path / "c.zarr", cube.model_digest
    write_cube(url, features, grid=cube.grid, model_digest=digest, imagery=imagery)
    answer = changed(asked, tmp_path, cube={**asked.record()["cube"], "cube": str(url)})
    with pytest.raises(CubeError, match=words):
        zoom(answer)
    assert zoom(answer, cube=asked.place.area, cache=tmp_path / "cache").candidates


def test_photos_of_a_sensitive_area_stay_hidden(asked: Answered, tmp_path: Path) -> None:
    area = asked.place.folder / "sensitive.yaml"
    area.write_text(asked.place.area.read_text() + "sensitive: true\n")
    assert zoom(asked.answer, out=tmp_path / "a", cube=area).sensitive
    assert not zoom(asked.answer, out=tmp_path / "b", cube=area, sensitive=False).sensitive
    assert zoom(asked.answer, out=tmp_path / "c", usually_hidden=True).sensitive
    assert not zoom(asked.answer, out=tmp_path / "d").sensitive


def test_the_answers_of_a_bulk_run_are_asked_again(asked: Answered, tmp_path: Path) -> None:
    run_bulk(asked.place.area, asked.place.folder / "photos", tmp_path / "bulk")
    command = ["zoom", str(tmp_path / "bulk"), "--rank", "1", "--km", "0.5", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["out"] == str(tmp_path / "bulk" / "zoom")
    folders = {Path(result["folder"]).name for result in told["results"]}
    assert folders == {f"street_{k} candidate 1 0.5 km" for k in (1, 2)}
    page = (tmp_path / "bulk/zoom/street_2 candidate 1 0.5 km/report.html").read_text()
    assert "../../items/street_2/report.html" in page
    one = CliRunner().invoke(app, [*command, "--photo", "street_2.jpg"])
    assert [r["title"] for r in json.loads(one.stdout)["results"]] == ["street_2.jpg"]
    none = CliRunner().invoke(app, [*command, "--photo", "other.jpg"])
    assert isinstance(none.exception, UsageError)
    assert "has no answer to a photo of that name" in str(none.exception)
    # one of two fails: the other is answered
    (asked.place.folder / "photos" / "street_2.jpg").rename(tmp_path / "kept.jpg")
    part = CliRunner().invoke(app, command)
    (tmp_path / "kept.jpg").rename(asked.place.folder / "photos" / "street_2.jpg")
    assert isinstance(part.exception, GeolocError)
    assert "1 of 2 answers could not be asked again: street_2: " in str(part.exception)
    assert len(json.loads(part.stdout)["results"]) == 1


def test_fused_photos_are_asked_again_together(asked: Answered, tmp_path: Path) -> None:
    photos = asked.place.photos
    (answer,) = query_photos(asked.place.area, photos, tmp_path / "out", fuse=True).results
    assert answer.folder is not None
    result = zoom(answer.folder, rank=1, km=0.5)
    assert [one.file for one in result.photos] == [photo.name for photo in photos]
    np.testing.assert_allclose(result.vector, answer.vector, rtol=1e-5, atol=1e-4)
    assert result.folder is not None and result.folder.parent == tmp_path / "out" / "zoom"
    page = (result.folder / "report.html").read_text()
    assert f"../../{answer.folder.name}/report.html" in page


def test_imagery_that_is_gone_is_one_line(asked: Answered, tmp_path: Path) -> None:
    tile = asked.place.folder / "tile.tif"
    tile.rename(tmp_path / "kept.tif")
    try:
        with pytest.raises(ImageryError, match=r"tile\.tif") as gone:
            zoom(asked.answer, rank=3, out=tmp_path / "out", cache=tmp_path / "cache")
    finally:
        (tmp_path / "kept.tif").rename(tile)
    assert "\n" not in str(gone.value) and not list((tmp_path / "out").iterdir())


def spec(dense: DenseSpec | None, patch_px: int = 224, gsd: float = 0.5) -> OverheadSpec:
    return OverheadSpec(
        format="torchvision", arch="densenet161", weights="w.safetensors", patch_px=patch_px,
        gsd=(gsd / 2, gsd * 2), preferred_gsd=gsd, dense=dense,
        methods=("dense", "patch") if dense else ("patch",),
    )  # fmt: skip


def test_the_step_is_what_the_model_serves() -> None:
    dense = DenseSpec(stride=16, pool_px=192)
    assert step_for(spec(dense)) == 10  # 8 m are between its vectors
    assert step_for(spec(dense, gsd=2.0)) == 16
    assert step_for(spec(None)) == 28
    assert step_for(spec(dense), parent=5) == 5 and step_for(spec(dense), parent=50) == 10


@pytest.mark.parametrize(
    ("lon", "lat", "crs"),
    [(30.5, 50.4, "EPSG:32636"), (29.9, 50.4, "EPSG:32635"), (151.2, -33.9, "EPSG:32756"),
     (179.99, -17, "EPSG:32760"), (-179.99, -17, "EPSG:32701")],
)  # fmt: skip
def test_a_square_lies_in_the_zone_of_its_place(lon: float, lat: float, crs: str) -> None:
    found, (left, bottom, right, top) = square_around(lon, lat, 6, 16)
    assert found == crs
    assert right - left == top - bottom == 6000 + 0  # 375 cells
    assert left % 16 == 0 and bottom % 16 == 0
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    assert abs((left + right) / 2 - x) <= 16 and abs((bottom + top) / 2 - y) <= 16


def test_places_of_damaged_records_are_refused() -> None:
    assert spot_of({"candidates": [{"rank": 1, "lon": 2, "lat": 3}]}, 1) == Spot(
        "candidate", 1, 2.0, 3.0
    )
    damaged = {"regions": {"good_regions": [{"rank": 1, "lon": None}]}}
    with pytest.raises(UsageError, match="the record is damaged"):
        spot_of(damaged, 1, region=True)
