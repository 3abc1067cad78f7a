"""Questions put to a small cube in which the answers are planted."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

from geoloc.encoders import open_ground
from geoloc.errors import (
    AreaError,
    ClusterError,
    CubeError,
    ModelError,
    OutputError,
    SpecMismatchError,
    UnknownClassError,
    UsageError,
)
from geoloc.models import load_model
from geoloc.photos import read_photo
from geoloc.query import (
    answer_photos,
    describe_photos,
    describe_place,
    open_cube,
    query_photos,
    search_scene,
)
from geoloc.query.session import class_weights, file_digest
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, imagery, tiny_model
from tests.media import picture

NY, NX = 24, 36
PLANTED = {"a": (5, 30), "b": (19, 7)}


@dataclass(frozen=True)
class Place:
    """A folder with a model in the store, two photos, a cube and its area file."""

    folder: Path
    vectors: dict[str, NDArray[np.float32]]

    @property
    def cube(self) -> Path:
        return self.folder / "cube.zarr"

    @property
    def area(self) -> Path:
        return self.folder / "area.yaml"

    def photo(self, name: str) -> Path:
        return self.folder / f"{name}.jpg"


def _photos(folder: Path) -> None:
    for seed, name in enumerate(PLANTED):
        pixels = np.moveaxis(imagery(70, 110, seed), 0, -1)
        image = Image.fromarray(pixels if seed else 255 - pixels // 3)
        image.save(folder / f"{name}.jpg", quality=95)


def _imagery(folder: Path) -> None:
    pixels = imagery(NY * 5, NX * 5)
    with rasterio.open(
        folder / "tile.tif", "w", driver="GTiff", width=NX * 5, height=NY * 5, count=3,
        dtype="uint8", crs="EPSG:32636", transform=Affine(2, 0, 300_000, 0, -2, 5_600_000),
    ) as raster:  # fmt: skip
        raster.write(pixels)
    (folder / "area.yaml").write_text(
        "name: testville\ncrs: EPSG:32636\nmodel: tiny\ncube: cube.zarr\n"
        f"bounds: [300000, {5_600_000 - NY * 10}, {300_000 + NX * 10}, 5600000]\n"
        "imagery: {kind: geotiff, paths: [tile.tif]}\n"
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Random features, but the photos' own vectors at the planted cells."""
    folder = tmp_path_factory.mktemp("place")
    tiny_model(folder / "models" / "tiny")
    _photos(folder)
    _imagery(folder)
    model = load_model(folder / "models" / "tiny")
    pixels = [read_photo(folder / f"{name}.jpg").pixels for name in PLANTED]
    vectors = dict(zip(PLANTED, open_ground(model, "cpu").encode(pixels), strict=True))
    features = np.random.default_rng(3).normal(0, 1, (NY, NX, len(CLASSES))).astype(np.float32)
    features += 4 * vectors["a"].std() * np.sign(features)
    for name, cell in PLANTED.items():
        features[cell] = vectors[name]
    features[0, 0] = np.nan
    write_cube(folder / "cube.zarr", features, classes=CLASSES, model_digest=model.digest)
    return Place(folder, vectors)


@pytest.fixture(autouse=True)
def store(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(place.folder / "models"))


def test_each_photo_finds_its_planted_cell(place: Place, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    answers = query_photos(
        place.area,
        [place.photo("a"), place.photo("b")],
        tmp_path / "out",
        top=4,
        radius=30,
        progress=lambda stage: lambda *now: steps.append((stage, *now)),
    )
    assert answers.failures == {}
    assert steps == [
        (stage, done, total)
        for stage, total in (
            ("reading the photos", 2), ("searching the cube", 1), ("ranking the places", 2),
        )
        for done in range(1, total + 1)
    ]  # fmt: skip
    for result, (name, cell) in zip(answers.results, PLANTED.items(), strict=True):
        best = result.candidates[0]
        assert (best.row, best.col) == cell
        assert len(result.candidates) == 4
        assert (tmp_path / "out" / name / "report.html").is_file()
        with rasterio.open(tmp_path / "out" / name / "heatmap.tif") as raster:
            assert np.nanargmin(raster.read(1)) == cell[0] * NX + cell[1]
    record = json.loads((tmp_path / "out" / "b" / "query.json").read_text())
    assert record["model"]["digest"] == open_cube(place.cube).model_digest
    assert record["parameters"]["radius"] == 30
    assert record["cube"]["generation"] == "g0001"
    assert list(record["vector"].values()) == pytest.approx(place.vectors["b"].tolist(), rel=1e-4)


def test_imagery_of_the_area_is_on_the_page(place: Place, tmp_path: Path) -> None:
    cube = shutil.copytree(place.cube, tmp_path / "cube.zarr")
    shutil.rmtree(cube / ".overview", ignore_errors=True)
    query_photos(cube, [place.photo("a")], tmp_path / "bare", top=2)
    page = (tmp_path / "bare" / "a" / "report.html").read_text()
    assert 'id="base"' not in page  # this cube's own record of its imagery is empty
    assert "No imagery was available" in page
    query_photos(place.area, [place.photo("a")], tmp_path, top=2)
    assert 'id="base"' in (tmp_path / "a" / "report.html").read_text()


def test_a_bad_photo_does_not_stop_the_others(place: Place, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    answers = query_photos(place.cube, [bad, place.photo("a")], tmp_path / "out", top=1)
    assert list(answers.failures) == [str(bad)]
    assert "\n" not in answers.failures[str(bad)]
    assert [r.title for r in answers.results] == ["a.jpg"]
    none = query_photos(place.cube, [bad], tmp_path / "none", top=1)
    assert (none.results, len(none.failures)) == ([], 1)


def test_the_evidence_tells_where_a_photo_comes_from(place: Place, tmp_path: Path) -> None:
    told = {"fetched_from": "host/a.jpg", "fetched_at": "2026-11-26T04:00:00+00:00"}
    photos = [place.photo("a"), place.photo("b")]
    query_photos(place.cube, photos, tmp_path, top=1, origins={str(photos[0]): told})
    first, second = (
        json.loads((tmp_path / name / "query.json").read_text())["photos"][0] for name in "ab"
    )
    assert first == {**first, **told}
    assert not second.keys() & told.keys()
    page = (tmp_path / "a" / "report.html").read_text()
    assert "<dt>fetched from</dt><dd>host/a.jpg at 2026-11-26T04:00:00+00:00</dd>" in page


def test_what_has_to_be_known_of_a_photo_reaches_the_answer(place: Place, tmp_path: Path) -> None:
    Image.fromarray(picture(1, 20, 30)).save(tmp_path / "small.png")
    Image.fromarray(picture(1, 200, 300)).save(tmp_path / "large.png")
    asked = [tmp_path / "small.png", tmp_path / "large.png"]
    small, large = query_photos(place.cube, asked, tmp_path / "out", top=1).results
    note, uncalibrated = small.notes
    assert "small.png has only 30 x 20 px" in note and large.notes == (uncalibrated,)
    assert "--calibrate" in uncalibrated
    assert small.to_json()["notes"] == [note, uncalibrated]
    folder = tmp_path / "out" / "small"
    assert json.loads((folder / "query.json").read_text())["notes"] == [note, uncalibrated]
    assert note in (folder / "report.html").read_text()
    (fused,) = query_photos(place.cube, asked, tmp_path / "fused", top=1, fuse=True).results
    assert fused.notes == (note, uncalibrated)


def test_fused_photos_make_one_answer(place: Place, tmp_path: Path) -> None:
    photos = [place.photo("a"), place.photo("b")]
    answers = query_photos(place.cube, photos, tmp_path, top=3, fuse=True)
    assert len(answers.results) == 1
    mean = (place.vectors["a"] + place.vectors["b"]) / 2
    np.testing.assert_allclose(answers.results[0].vector, mean, rtol=1e-4)
    page = (tmp_path / "fused" / "report.html").read_text()
    assert "2 photos of one place" in page
    assert page.count('<figure class="photo">') == 2


def test_only_the_polygon_is_searched(place: Place, tmp_path: Path) -> None:
    back = Transformer.from_crs(32636, 4326, always_xy=True)
    west = [(300_000, 5_600_000), (300_180, 5_600_000), (300_180, 5_599_700), (300_000, 5_599_700)]
    ring = [list(back.transform(x, y)) for x, y in [*west, west[0]]]
    polygon = tmp_path / "west.geojson"
    polygon.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    answers = query_photos(
        place.cube, [place.photo("a")], tmp_path / "out", top=20, within=polygon, radius=20
    )
    assert {c.col < 18 for c in answers.results[0].candidates} == {True}
    assert np.isnan(answers.results[0].heatmap[:, 20:]).all()
    geopandas.read_file(polygon).to_file(tmp_path / "a.gpkg", layer="west")
    layer = Path(f"{tmp_path / 'a.gpkg'}|layername=west")
    again = query_photos(
        place.cube, [place.photo("a")], tmp_path / "layer", top=20, within=layer, radius=20
    )
    assert again.results[0].candidates == answers.results[0].candidates
    told = json.loads((tmp_path / "layer" / "a" / "query.json").read_text())
    assert told["parameters"]["within_sha256"] == file_digest(tmp_path / "a.gpkg")


def test_a_cluster_gives_the_same_answers(place: Place, scheduler: str) -> None:
    photos = [place.photo("a"), place.photo("b")]
    here = answer_photos(place.cube, photos, top=3)
    there = answer_photos(place.cube, photos, top=3, cluster=scheduler)
    for one, other in zip(here.results, there.results, strict=True):
        assert one.heatmap[:].tobytes() == other.heatmap[:].tobytes()
        assert one.candidates == other.candidates


def test_a_cluster_that_is_not_there_is_refused_before_any_work(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoloc.executors.workers._CONNECT_SECONDS", 0.5)
    photo = place.photo("a")
    with pytest.raises(UsageError, match="--cluster nonsense: say auto"):
        query_photos(place.cube, [photo], tmp_path / "out", cluster="nonsense")
    with pytest.raises(ClusterError, match="cannot be reached"):
        query_photos(place.cube, [photo], tmp_path / "out", cluster="tcp://127.0.0.1:1")
    assert not list(tmp_path.rglob("query.json"))


def test_a_scene_is_found_without_a_photo(tmp_path: Path) -> None:
    logits = np.random.default_rng(5).normal(0, 2, (9, 14, len(CLASSES))).astype(np.float32)
    logits[6, 11, CLASSES.index("beach")] += 12
    logits[3, 2] += 20  # every scene loud: none of them is seen clearly
    write_cube(tmp_path / "c.zarr", logits, classes=CLASSES)
    result = search_scene(tmp_path / "c.zarr", "Beach", tmp_path / "out", top=3, radius=20)
    best = result.candidates[0]
    assert (best.row, best.col) == (6, 11)
    assert result.places[1][0][0] == "beach"
    assert result.to_json()["scenes"][0]["scene"] == "beach"
    page = (tmp_path / "out" / "beach" / "report.html").read_text()
    assert "What was searched for" in page
    assert "probability" in page
    assert "surprise" not in page


def test_what_cannot_be_asked_is_refused_in_one_line(place: Place, tmp_path: Path) -> None:
    photo, out = place.photo("a"), tmp_path / "out"
    with pytest.raises(UnknownClassError, match="beach"):
        search_scene(place.cube, "beech", out)
    with pytest.raises(UsageError, match="does not exist"):
        query_photos(place.cube, [tmp_path / "nowhere.jpg"], out)
    with pytest.raises(CubeError):
        query_photos(tmp_path / "no.zarr", [photo], out)
    with pytest.raises(AreaError):
        query_photos(tmp_path / "no.yaml", [photo], out)
    with pytest.raises(UnknownClassError):
        query_photos(place.cube, [photo], out, weights={"beeach": 2})
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        query_photos(place.cube, [photo], tmp_path / "file")


def test_a_cube_of_another_model_is_refused(place: Place, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", preferred_gsd=1.5)
    with pytest.raises(SpecMismatchError, match="was built by model tiny"):
        query_photos(place.cube, [place.photo("a")], tmp_path / "out", model=other.path)


def test_the_model_is_found_by_its_digest(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = np.random.default_rng(0).normal(size=(4, 5, len(CLASSES))).astype(np.float32)
    digest = load_model("tiny").digest
    write_cube(
        tmp_path / "c.zarr", features, classes=CLASSES, model_digest=digest, model_name="was-tiny"
    )
    assert query_photos(tmp_path / "c.zarr", [place.photo("a")], tmp_path / "out").results
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "empty"))
    with pytest.raises(ModelError, match="is not installed"):
        query_photos(tmp_path / "c.zarr", [place.photo("a")], tmp_path / "out")


def test_describing_photos_and_places_agrees_at_a_planted_cell(place: Place) -> None:
    cube = open_cube(place.cube)
    row, col = PLANTED["a"]
    back = Transformer.from_crs(cube.grid.crs, 4326, always_xy=True)
    there = describe_place(place.cube, back.transform(*cube.grid.center(row, col)), top=2)
    photo = describe_photos([place.photo("a")], "tiny", top=2)[str(place.photo("a"))]
    assert [name for name, _ in there] == [name for name, _ in photo]
    assert [share for _, share in there] == pytest.approx([s for _, s in photo], abs=0.05)
    with pytest.raises(CubeError, match="no imagery"):
        describe_place(place.cube, back.transform(*cube.grid.center(0, 0)))
    with pytest.raises(UsageError, match="outside"):
        describe_place(place.cube, (0.0, 0.0))


def test_weights_by_class_and_by_group() -> None:
    weights = class_weights({"manmade": 0.5, "Bridge": 3}, CLASSES)
    assert weights is not None
    assert weights[CLASSES.index("bridge")] == 3
    assert weights[CLASSES.index("airfield")] == 0.5
    assert class_weights({}, CLASSES) is None
