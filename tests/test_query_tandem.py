"""Two models asked together: where each is wrong in its own way, together they are right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from geoloc.domain import Grid
from geoloc.encoders import open_ground
from geoloc.errors import UsageError
from geoloc.models import load_model
from geoloc.photos import read_photo
from geoloc.query.tandem import (
    TANDEM,
    TANDEM_BANK,
    distance_maps,
    evaluate_tandem,
    open_tandem,
    search_tandem,
)
from tests.cubes import grid_of, write_cube
from tests.encoder_models import CLASSES, imagery, tiny_model

NY, NX = 40, 50
PHOTOS = 24
ERROR = 0.6  # of a model's own vectors at the true cells, in units of their spread


@dataclass(frozen=True)
class World:
    folder: Path
    cubes: tuple[str, str]
    cells: tuple[tuple[int, int], ...]
    grid: Grid

    @property
    def photos(self) -> list[Path]:
        return [self.folder / f"{number:02}.png" for number in range(PHOTOS)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Photos of cells whose vectors two models know with errors of their own."""
    folder = tmp_path_factory.mktemp("tandem")
    for number in range(PHOTOS):
        pixels = imagery(40, 60, number)
        shade = np.clip(pixels * (0.4 + number / PHOTOS), 0, 255).astype(np.uint8)
        Image.fromarray(shade.transpose(1, 2, 0)).save(folder / f"{number:02}.png")
    rng = np.random.default_rng(2)
    cells = tuple((int(rng.integers(NY)), int(rng.integers(NX))) for _ in range(PHOTOS))
    grid, cubes = grid_of(NY, NX), []
    for seed, name in enumerate(("one", "two")):
        model = tiny_model(folder / "models" / name, preferred_gsd=1.0 + seed / 10)
        pixels = [read_photo(folder / f"{n:02}.png").pixels for n in range(PHOTOS)]
        vectors = open_ground(model, "cpu").encode(pixels)
        own = np.random.default_rng(10 + seed)
        spread = vectors.std(axis=0)
        features = vectors.mean(axis=0) + own.normal(0, 1, (NY, NX, len(CLASSES))) * spread
        for vector, cell in zip(vectors, cells, strict=True):
            features[cell] = vector + ERROR * own.normal(0, 1, len(CLASSES)) * spread
        write_cube(
            folder / f"{name}.zarr", features.astype(np.float32), classes=CLASSES,
            model_name=name, model_digest=model.digest,
        )  # fmt: skip
        cubes.append(str(folder / f"{name}.zarr"))
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    lines = ["file,lon,lat"]
    for number, (row, col) in enumerate(cells):
        lon, lat = to_degrees.transform(grid.x[col], grid.y[row])
        lines.append(f"{number:02}.png,{lon:.7f},{lat:.7f}")
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")
    return World(folder, (cubes[0], cubes[1]), cells, grid)


@pytest.fixture(autouse=True)
def store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(world.folder / "models"))


def test_together_they_are_better_than_the_better_one_alone(world: World) -> None:
    tandem = open_tandem(world.cubes, world.photos[:8])
    found = evaluate_tandem(tandem, world.folder / "truth.csv")
    told = found.to_json()
    assert found.photos == PHOTOS and set(found.methods) == {
        *(m.name for m in tandem.members), TANDEM, TANDEM_BANK
    }  # fmt: skip
    alone = min(found.methods[m.name]["mean_percentile"].value for m in tandem.members)
    assert found.methods[TANDEM]["mean_percentile"].value < alone
    assert found.gains[TANDEM].value == pytest.approx(
        alone - found.methods[TANDEM]["mean_percentile"].value
    )
    assert told["gains"][TANDEM]["ci"][0] > 0


def test_an_answer_shows_what_each_model_says(world: World, tmp_path: Path) -> None:
    tandem = open_tandem(world.cubes)
    answers, failures = search_tandem(tandem, world.photos[:2], tmp_path / "out", top=3)
    assert failures == {} and [one.photo for one in answers] == ["00.png", "01.png"]
    first = answers[0].places[0]
    assert answers[0].folder is not None
    record = json.loads((answers[0].folder / "tandem.json").read_text())
    points = json.loads((answers[0].folder / "candidates.geojson").read_text())
    assert record["candidates"][0] == first.to_json() and len(points["features"]) == 3
    assert record["calibration"] == "places" and set(record["models"]) == set(first.models)
    for member in tandem.members:
        model = load_model(world.folder / "models" / member.cube.model_name)
        pixels = read_photo(world.photos[0]).pixels
        (values,) = distance_maps(member.cube, open_ground(model, "cpu").encode([pixels]))
        row, col = divmod(int(_cell(world, first.lon, first.lat)), NX)
        value = values[row * NX + col]
        said = first.models[member.name]
        assert said["distance"] == pytest.approx(float(value), rel=1e-3, abs=1e-3)
        assert said["percentile"] == pytest.approx(100 * (values <= value).mean(), abs=1e-3)
        z = (value - values.mean(dtype=float)) / values.std(dtype=float)
        assert said["score"] == pytest.approx(z, abs=1e-3)
    assert first.score == pytest.approx(
        np.mean([s["score"] for s in first.models.values()]), abs=1e-3
    )


def test_an_answer_takes_the_place_of_its_own_alone(world: World, tmp_path: Path) -> None:
    out, first = tmp_path / "out", world.photos[0]
    query = out / "00" / "candidates.geojson"  # as an answer to a query has it
    query.parent.mkdir(parents=True)
    query.write_text("of a query")
    (query.parent / "query.json").write_text("{}")
    other = tmp_path / "b" / "00-2.png"  # whose name is that of the other's second folder
    other.parent.mkdir()
    other.write_bytes(world.photos[1].read_bytes())
    tandem = open_tandem(world.cubes)
    for _ in range(2):  # asked again, each goes to where it was
        answers, _ = search_tandem(tandem, [first, other], out, top=2)
        folders = [one.folder.name for one in answers if one.folder is not None]
        assert folders == ["00-2", "00-2-2"] and query.read_text() == "of a query"
        for one in answers:
            assert one.folder is not None
            record = json.loads((one.folder / "tandem.json").read_text())
            assert record["photo"]["sha256"] == one.sha256
    answers, _ = search_tandem(open_tandem(world.cubes[::-1]), [first], out, top=2)
    assert [one.folder for one in answers] == [out / "00-2"]  # the same models, in another order


def _cell(world: World, lon: float, lat: float) -> int:
    to_grid = Transformer.from_crs(4326, world.grid.crs, always_xy=True)
    index = world.grid.index(*to_grid.transform(lon, lat))
    assert index is not None
    return index[0] * NX + index[1]


def test_what_is_no_tandem_is_one_line(world: World, tmp_path: Path) -> None:
    one, two = world.cubes
    other = np.random.default_rng(0).normal(0, 1, (NY, NX + 1, len(CLASSES))).astype(np.float32)
    digest = load_model(world.folder / "models" / "one").digest
    shifted = write_cube(
        tmp_path / "s.zarr", other, classes=CLASSES, model_name="one", model_digest=digest
    )
    for cubes, bank, word in (
        ((one,), (), "at least two"),
        ((one, one), (), "twice"),
        ((one, shifted.url), (), "not of the same places"),
        ((one, two), world.photos[:3], "at least 8"),
    ):
        with pytest.raises(UsageError, match=word) as told:
            open_tandem(cubes, bank)
        assert "\n" not in str(told.value)
    (tmp_path / "truth.csv").write_text("file,lon,lat\nnone.png,0,0\n")
    with pytest.raises(UsageError):
        evaluate_tandem(open_tandem(world.cubes), tmp_path / "truth.csv")
