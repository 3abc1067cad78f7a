"""Two models asked together: where each is wrong in its own way, together they are right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer

from geoloc.encoders import open_ground
from geoloc.encoders.ground import GroundEncoder
from geoloc.errors import AreaError, GeolocError, ModelError, UsageError
from geoloc.models import load_model
from geoloc.photos import read_photo
from geoloc.progress import Progress
from geoloc.query import answer_photos, query_photos, zoom_answer
from geoloc.query.comparison import compare
from geoloc.query.confirmed import confirm, read_confirmed
from geoloc.query.repeat import repeat_query
from geoloc.query.tandem import (
    TANDEM,
    TANDEM_BANK,
    distance_maps,
    evaluate_tandem,
    open_tandem,
    search_tandem,
)
from geoloc.query.tandem.members import names_of
from geoloc.query.zoom import ZoomOptions
from geoloc.report import QueryResult
from geoloc.sharing import share
from tests.cubes import write_cube
from tests.encoder_models import CLASSES
from tests.shared_answers import holders
from tests.tandem_place import NX, NY, PHOTOS, World, write_world
from tests.test_cli import Run, run

__all__ = ["run"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("tandem"))


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


def test_one_command_says_whether_they_are_better(world: World, tmp_path: Path, run: Run) -> None:
    area, truth = banked(world, tmp_path, world.photos[8:18]), world.folder / "truth.csv"
    done = run("evaluate", area, truth, "--json")
    tandem = open_tandem(world.cubes, world.photos[8:18], weights=[1, 2])
    told, expected = json.loads(done.out), evaluate_tandem(tandem, truth).to_json()
    assert done.code == 0 and list(told["methods"]) == ["one", "two", TANDEM, TANDEM_BANK]
    assert [*told["methods"].values()] == json.loads(json.dumps([*expected["methods"].values()]))
    assert told["gains"] == json.loads(json.dumps(expected["gains"]))
    assert set(told["gains"]) == {TANDEM, TANDEM_BANK}
    for option in (("--strata", truth), ("--out", tmp_path / "out"), ("--fuse", "2")):
        refused = run("evaluate", area, truth, *option)
        assert refused.code == 2 and "cannot go with an area of several models" in refused.err
    assert not (tmp_path / "out").exists()


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
        assert said["rank"] == (values <= value).sum() and said["weight"] == 0.5
    assert first.score == pytest.approx(
        np.mean([s["score"] for s in first.models.values()]), abs=1e-3
    )


def test_regions_are_evaluated_by_each_model_and_by_all(
    world: World, tmp_path: Path, run: Run
) -> None:
    area, truth = banked(world, tmp_path, world.photos[8:18]), world.folder / "few.csv"
    head, *rows = (world.folder / "truth.csv").read_text().splitlines()
    truth.write_text("\n".join([head, *rows[:6]]) + "\n")
    done = run("evaluate", area, truth, "--regions", "70", "--json")
    told = json.loads(done.out)
    assert done.code == 0 and [*told["regions"]] == ["minimum", "quantile", "nearest"]
    for ranking, compared in told["regions"].items():
        figures = compared["methods"]
        assert [*figures] == ["one", "two", TANDEM, TANDEM_BANK]
        for name, model in (("one", "one"), (TANDEM_BANK, None)):
            good = regions_answered(area, truth, ranking, model)
            assert figures[name]["truth_in_good"]["value"] == pytest.approx(good, abs=1e-3)
        shares = {
            name: 100 * (1 - one["area_under_recall"]["value"]) for name, one in figures.items()
        }
        better = compared["better_alone"]
        assert shares[better] == min(shares["one"], shares["two"])
        for name in (TANDEM, TANDEM_BANK):
            gain = compared["gains"][name]["value"]
            assert gain == pytest.approx(shares[better] - shares[name], abs=0.02)
    shown = run("evaluate", area, truth, "--regions", "70")
    assert shown.code == 0 and "6 photos, true regions by nearest" in shown.out


def regions_answered(area: Path, truth: Path, ranking: str, model: str | None) -> float:
    """The percentage of photos whose true region is good, by their answers."""
    rows = [line.split(",") for line in truth.read_text().splitlines()[1:]]
    answers = answer_photos(
        area,
        [truth.parent / file for file, _, _ in rows],
        regions=70, ranking=ranking, model=model,
        truth={file: (float(lat), float(lon)) for file, lon, lat in rows},
    )  # fmt: skip
    good = [(one.told_truth() or {})["region_good"] for one in answers.results]
    assert len(good) == len(rows) and {*map(type, good)} == {bool}
    return 100 * float(np.mean(good))


def test_the_stage_that_is_told_is_under_way(world: World, tmp_path: Path) -> None:
    told: list[tuple[str, float, int]] = []

    def stages(stage: str) -> Progress:
        return lambda done, total: told.append((stage, done, total))

    area = banked(world, tmp_path, world.photos[:8])
    query_photos(area, world.photos[20:21], tmp_path / "out", progress=stages)
    order = list(dict.fromkeys(stage for stage, _, _ in told))
    assert order[:3] == ["reading the bank", "comparing the bank with the places",
                         "reading the photos"]  # fmt: skip
    assert [stage for stage, _, _ in told] == sorted((s for s, _, _ in told), key=order.index)
    for stage in order[:2]:
        shares = [done / total for one, done, total in told if one == stage]
        assert shares == sorted(shares) and shares[-1] == 1
        assert 0 < shares[0] <= 0.5  # one of two models, at most


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
    with pytest.raises(UsageError, match=r"none\.png"):
        evaluate_tandem(open_tandem(world.cubes), tmp_path / "truth.csv")


def test_photos_that_could_not_be_ranked_are_named(world: World, tmp_path: Path, run: Run) -> None:
    """Not left out silently: figures of fewer photos than were given are other figures."""
    rows = (world.folder / "truth.csv").read_text().splitlines()
    file, *_ = rows[1].split(",")
    for photo in world.photos:
        (tmp_path / photo.name).symlink_to(photo)
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join([rows[0], f"{file},2.5,48.5", *rows[2:]]))
    found = evaluate_tandem(open_tandem(world.cubes), truth)
    assert found.photos == PHOTOS - 1
    assert found.skipped == (f"{file}: its place lies outside the cubes",)
    done = run("tandem", "--cube", world.cubes[0], "--cube", world.cubes[1], "--truth", truth)
    assert done.code == 0 and f"left out: {file}" in done.err


def answered(area: Path, photo: Path, out: Path, **options: Any) -> QueryResult:
    found = query_photos(area, [photo], out, **options)
    assert found.failures == {}
    return found.results[0]


def maps_of(photo: Path, cubes: tuple[str, ...]) -> list[NDArray[np.float64]]:
    """Distances ``(y, x)`` by each model, as a query of that alone has them."""
    tandem = open_tandem(cubes)
    _, vectors, _ = tandem.read([photo])
    return [own.reshape(NY, NX).astype(float) for own in tandem.distances(vectors, 0)]


def test_an_area_of_several_models_is_answered_by_all(world: World, tmp_path: Path) -> None:
    area, photo = world.area(tmp_path), world.photos[3]
    found = answered(area, photo, tmp_path / "out", top=5, truth=_truth(world, 3))
    one, two = maps_of(photo, world.cubes)
    scores = [(m - m.mean()) / m.std() for m in (one, two)]
    together = (scores[0] + 2 * scores[1]) / 3  # the weights of the file
    np.testing.assert_allclose(found.heatmap[:], together, atol=1e-5)
    best = found.candidates[0]
    assert together[best.row, best.col] == together.min() and found.measure == "score"
    part = found.tandem
    assert part is not None and [round(m.share, 6) for m in part.models] == [0.333333, 0.666667]
    for own, model in zip((one, two), part.models, strict=True):
        said = model.said[1]
        assert said.rank == (own <= own[best.row, best.col]).sum()
        assert said.percentile == pytest.approx(100 * said.rank / own.size)
        row, col = world.cells[3]
        placed = model.alone.told_truth()
        assert placed and placed["percentile"] == pytest.approx(
            100 * (own <= own[row, col]).sum() / own.size
        )
    assert found.folder is not None
    names = {path.name for path in found.folder.iterdir()}
    assert {"report.html", "query.json", "tandem.json", "candidates.csv"} <= names
    rasters = sorted(name for name in names if name.startswith("heatmap_") and "color" not in name)
    with rasterio.open(found.folder / rasters[0]) as raster:
        assert raster.descriptions == ("distance",)
        assert any(np.allclose(raster.read(1), own, atol=1e-5) for own in (one, two))
    assert any("no bank" in note for note in found.notes)


@pytest.mark.parametrize("ranking", ["minimum", "nearest"])
def test_regions_are_ranked_by_the_scores_of_all(
    world: World, tmp_path: Path, ranking: str
) -> None:
    found = answered(
        world.area(tmp_path), world.photos[3], tmp_path / "out", regions=130.0, ranking=ranking
    )  # regions are no whole number of cells wide
    scores = [(m - m.mean()) / m.std() for m in maps_of(world.photos[3], world.cubes)]
    together = (scores[0] + 2 * scores[1]) / 3
    regions, grid = found.regions, world.grid
    assert regions is not None and found.folder is not None
    x, y = np.meshgrid(grid.x, grid.y)
    region = regions.layout.index(np.stack([x.ravel(), y.ravel()], axis=1))
    smallest = {int(r): np.sort(together.ravel()[region == r]) for r in np.unique(region)}
    assert len(smallest) > 9 and min(map(len, smallest.values())) > 1
    usual = round(together.size / len(smallest) / 5)
    by = {r: v[0] if ranking == "minimum" else v[:usual].mean() for r, v in smallest.items()}
    order = sorted(by, key=lambda r: by[r])
    assert regions.order.tolist() == order
    low, high = by[order[0]], by[order[-1]]
    good = [r for r in order if by[r] <= low + 0.1 * (high - low)]
    assert regions.best_good.tolist() == good and low < 0
    told = json.loads((found.folder / "query.json").read_text())["regions"]
    assert told["good"] == len(good) and [one["region"] for one in told["good_regions"]] == good
    first = told["good_regions"][0]
    assert "distance" not in first and first["score"] == pytest.approx(low, abs=1e-4)
    assert first["best_score"] == pytest.approx(smallest[order[0]][0], abs=1e-4)
    assert first["second"] == pytest.approx(smallest[order[0]][1], abs=1e-4)
    at = _cell(world, first["lon"], first["lat"])
    assert together.ravel()[at] == smallest[order[0]][0] and region[at] == order[0]
    with rasterio.open(found.folder / "regions.tif") as raster:
        assert raster.descriptions[0] == "best_score" and raster.descriptions[5] == "score"
        np.testing.assert_allclose(
            raster.read(1).ravel()[order], [smallest[r][0] for r in order], atol=1e-4
        )
    page = (found.folder / "regions.html").read_text()
    words = {"minimum": "smallest score", "nearest": "mean of the nearest places"}
    assert words[ranking] in page and "where its score is within the best tenth" in page
    assert repeat_query(found.folder / "query.json").same


def test_one_of_the_models_can_be_asked_alone(world: World, tmp_path: Path) -> None:
    area = world.area(tmp_path)
    found = answered(area, world.photos[0], tmp_path / "out", model="two")
    assert found.tandem is None and found.model["digest"] == world.models[1].digest
    np.testing.assert_allclose(
        found.heatmap[:], maps_of(world.photos[0], world.cubes)[1], atol=1e-5
    )
    words = "several models.*none is three: choose one of them, as --model one"
    with pytest.raises(AreaError, match=words) as told:
        query_photos(area, world.photos[:1], tmp_path / "x", model="three")
    assert "\n" not in str(told.value)


def banked(world: World, folder: Path, photos: list[Path]) -> Path:
    (folder / "bank").mkdir()
    for photo in photos:
        shutil.copy(photo, folder / "bank")
    return world.area(folder, bank="bank")


def test_the_bank_of_the_area_calibrates(world: World, tmp_path: Path) -> None:
    area, photo = banked(world, tmp_path, world.photos[8:18]), world.photos[2]
    (tmp_path / "bank" / "torn.png").write_bytes(world.photos[0].read_bytes()[:99])
    found = answered(area, photo, tmp_path / "out", top=3)
    tandem = open_tandem(world.cubes)
    expected = np.zeros((NY, NX))
    for number, weight in ((0, 1 / 3), (1, 2 / 3)):
        _, vectors, _ = tandem.read([*world.photos[8:18], photo])
        maps = distance_maps(tandem.members[number].cube, vectors[number]).astype(float)
        bank, own = maps[:-1], maps[-1]
        spread = np.sqrt(bank.var(axis=0, ddof=1).mean())
        expected += (weight * (own - bank.mean(axis=0)) / spread).reshape(NY, NX)
    np.testing.assert_allclose(found.heatmap[:], expected, atol=1e-4)
    part = found.tandem
    assert part is not None and part.calibration == "bank" and len(part.bank) == 10
    assert any("10 unrelated ones" in note for note in found.notes)
    assert any("One photo of the bank could not be read" in note for note in found.notes)
    assert not any("itself is among them" in note for note in found.notes)
    again = answered(area, world.photos[9], tmp_path / "out", top=3)
    assert any("itself is among them" in note for note in again.notes)


@pytest.mark.parametrize(("photos", "words"), [(0, "no photos"), (7, "at least 8")])
def test_a_bank_that_tells_nothing_is_one_line(
    world: World, tmp_path: Path, photos: int, words: str
) -> None:
    area = banked(world, tmp_path, world.photos[:photos])
    with pytest.raises(UsageError, match=words) as told:
        query_photos(area, world.photos[9:10], tmp_path / "out")
    assert "\n" not in str(told.value)


def test_a_bank_that_cannot_be_read_says_why(world: World, tmp_path: Path) -> None:
    area = banked(world, tmp_path, world.photos[:9])
    for path in sorted((tmp_path / "bank").iterdir())[:2]:
        path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(UsageError, match=r"2 of 9 photos of the bank cannot be read.*00\.png"):
        query_photos(area, world.photos[9:10], tmp_path / "out")


def test_places_that_one_model_does_not_know_are_counted(world: World, tmp_path: Path) -> None:
    features = world.features[1].copy()
    features[:7, :9] = np.nan  # what the second model could not encode
    model = world.models[1]
    write_cube(
        tmp_path / "holes.zarr", features, classes=CLASSES, model_name="two",
        model_digest=model.digest,
    )  # fmt: skip
    models = [str(world.models[0].path), {"model": str(model.path), "cube": "holes.zarr"}]
    area = world.area(tmp_path, models=[{"model": models[0], "cube": world.cubes[0]}, models[1]])
    found = answered(area, world.photos[0], tmp_path / "out")
    assert np.isnan(found.heatmap[:7, :9]).all() and found.known == NY * NX - 63
    (reason,) = found.lacking
    assert found.lacking[reason] == 63 and "nothing in the cube of model" in reason
    assert found.tandem is not None
    assert [one.alone.known for one in found.tandem.models] == [NY * NX, NY * NX - 63]
    weighed = answered(
        world.area(tmp_path, models=[
            {"model": models[0], "cube": world.cubes[0]}, {**models[1], "weight": 0},
        ]), world.photos[0], tmp_path / "other",
    )  # fmt: skip
    assert weighed.known == NY * NX and weighed.lacking == {}  # without weight it has no veto


def test_what_one_model_alone_can_do_is_refused(world: World, tmp_path: Path) -> None:
    area = world.area(tmp_path)
    same = [{"model": str(world.models[0].path), "cube": world.cubes[0]},
            {"model": "one", "cube": str(tmp_path / "copy.zarr")}]  # fmt: skip
    shutil.copytree(world.cubes[0], tmp_path / "copy.zarr")
    twice = world.area(tmp_path, models=same).rename(tmp_path / "twice.yaml")
    area = world.area(tmp_path)
    for asked, options, words in (
        (area, {"regions": 100.0, "ranking": "corrected"}, "--ranking corrected"),
        (area, {"ranking": "nearest"}, "add --regions M"),
        (area, {"generation": "g0001"}, "--date"),
        (area, {"feedback": True}, "--feedback out"),
        (twice, {}, "named twice"),
    ):
        with pytest.raises(UsageError, match=words) as told:
            query_photos(asked, world.photos[:1], tmp_path / "out", **options)
        assert "\n" not in str(told.value)
    (missing := tmp_path / "missing").mkdir()
    models = [{"model": str(world.models[0].path), "cube": world.cubes[0]}, "two"]
    with pytest.raises(GeolocError, match=r"cube-two\.zarr does not exist"):
        query_photos(world.area(missing, models=models), world.photos[:1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_vector_that_is_no_number_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = GroundEncoder.encode

    def odd(encoder: GroundEncoder, pixels: Any) -> Any:
        vectors = real(encoder, pixels)
        vectors[-1, -1] = np.nan if encoder.model.digest == world.models[1].digest else 0
        return vectors

    monkeypatch.setattr(GroundEncoder, "encode", odd)
    message = r"model tiny gives no numbers for photo 01\.png: its ground network is damaged"
    (area := tmp_path / "area").mkdir()
    for work in (
        lambda: query_photos(world.area(area), world.photos[:2], tmp_path / "out"),
        lambda: open_tandem(world.cubes).read(world.photos[:2]),
    ):
        with pytest.raises(ModelError, match=message):
            work()
    assert list((tmp_path / "out").iterdir()) == []


def test_an_answer_of_several_models_is_repeated(world: World, tmp_path: Path) -> None:
    area = banked(world, tmp_path, world.photos[8:17])
    found = answered(area, world.photos[1], tmp_path / "out", top=4)
    assert found.folder is not None
    record = found.folder / "query.json"
    outcome = repeat_query(record)
    assert outcome.same, outcome.differences
    told = json.loads(record.read_text())
    told["tandem"]["models"][0]["weight"] = 0.9
    (tmp_path / "altered.json").write_text(json.dumps(told))
    assert not repeat_query(tmp_path / "altered.json").same
    for change in (
        lambda tandem: tandem.update(calibration="places"),
        lambda tandem: tandem["models"][1]["candidates"][0].update(lon=30.0),
        lambda tandem: tandem["models"][1]["candidates"][0].update(distance=1.0),
    ):
        told = json.loads(record.read_text())
        change(told["tandem"])
        assert not compare(told, json.loads(record.read_text())).same
    for path in (
        ("candidates", 0, "percentile"), ("candidates", 0, "score"),
        ("candidates", 1, "models", "one", "percentile"),
        ("candidates", 1, "models", "two", "rank"),
        ("tandem", "models", 1, "candidates", 0, "percentile"),
    ):  # fmt: skip
        told = part = json.loads(record.read_text())
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] += 7.0
        assert not compare(told, json.loads(record.read_text())).same, path
    told["tandem"]["bank"][0]["file"] = 5
    (tmp_path / "altered.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match=r"tandem\.bank\.0\.file"):
        repeat_query(tmp_path / "altered.json", media=tmp_path)
    (tmp_path / "bank" / "10.png").write_bytes(world.photos[0].read_bytes())
    with pytest.raises(UsageError, match="has changed since"):
        repeat_query(record)


def test_an_answer_is_repeated_wherever_its_cubes_are_named(world: World, tmp_path: Path) -> None:
    one, two = ({"model": str(model.path), "cube": cube} for model, cube in
                zip(world.models, world.cubes, strict=True))  # fmt: skip
    area = world.area(tmp_path, models=[{**one, "weight": 0}, two])
    found = answered(area, world.photos[1], tmp_path / "out", top=4)
    assert found.folder is not None and found.tandem is not None
    assert [model.name for model in found.tandem.models] == ["two", "one"]  # weight 0 is last
    record = found.folder / "query.json"
    outcome = repeat_query(record, cube=area)
    assert outcome.same, outcome.differences
    third = {"model": str(world.models[0].path), "cube": str(tmp_path / "copy.zarr")}
    shutil.copytree(world.cubes[0], tmp_path / "copy.zarr")
    (other := tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="names no cube of model two"):
        repeat_query(record, cube=world.area(other, models=[one, {**third, "model": "two"}]))


def test_a_heatmap_of_a_model_takes_no_other_file_s_place(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.models[0].path, tmp_path / "colors")
    models = [
        {"model": str(tmp_path / "colors"), "cube": world.cubes[0]},
        {"model": str(world.models[1].path), "cube": world.cubes[1]},
    ]
    found = answered(world.area(tmp_path, models=models), world.photos[1], tmp_path / "out")
    assert found.folder is not None and found.tandem is not None
    with rasterio.open(found.folder / "heatmap_colors.tif") as raster:
        assert raster.dtypes == ("uint8",)
    with rasterio.open(found.folder / "heatmap_colors-2.tif") as raster:
        own = found.tandem.models[0].alone.heatmap[:]
        np.testing.assert_allclose(raster.read(1), own, atol=1e-5)


def test_weights_are_any_sequence(world: World) -> None:
    assert open_tandem(world.cubes, weights=np.array([1.0, 3.0])).weights == (0.25, 0.75)
    odd: Any = ["a", "b"]
    for weights, words in (([], "do not fit 2 models"), (odd, "are no numbers")):
        with pytest.raises(UsageError, match=words):
            open_tandem(world.cubes, weights=weights)


def test_a_confirmed_place_is_kept_for_each_model(world: World, tmp_path: Path) -> None:
    found = answered(world.area(tmp_path), world.photos[4], tmp_path / "out", top=3)
    lat, lon = _truth(world, 4)
    assert found.folder is not None
    kept = confirm(found.folder / "query.json", f"{lat},{lon}", file=tmp_path / "kept.jsonl")
    stored = read_confirmed(tmp_path / "kept.jsonl")
    assert kept.new and kept.models == 2 and not kept.warnings
    assert [one.cube.model for one in stored] == [model.digest for model in world.models]
    assert all(one.cell == world.cells[4] for one in stored)
    for one, model in zip(stored, world.models, strict=True):
        (vector,) = open_ground(model, "cpu").encode([read_photo(world.photos[4]).pixels])
        np.testing.assert_allclose(one.vector, vector, rtol=1e-3, atol=1e-3)
    again = confirm(found.folder / "query.json", f"{lat},{lon}", file=tmp_path / "kept.jsonl")
    assert not again.new and len(read_confirmed(tmp_path / "kept.jsonl")) == 2


def test_an_answer_of_several_models_is_shared(world: World, tmp_path: Path) -> None:
    area = banked(world, tmp_path, world.photos[8:17])
    found = answered(area, world.photos[4], tmp_path / "out", top=3)
    assert found.folder is not None
    share([found.folder], tmp_path / "shared")
    copy, names = tmp_path / "shared" / "answer-1", [path.name for path in found.folder.iterdir()]
    assert sorted(path.name for path in copy.iterdir()) == sorted(names)
    for name in ("heatmap.tif", "heatmap_one.tif", "heatmap_two.tif", "candidates.csv"):
        assert (copy / name).read_bytes() == (found.folder / name).read_bytes()
    told, record = (json.loads((one / "query.json").read_text()) for one in (copy, found.folder))
    assert told["candidates"] == record["candidates"] and told["areas"] == record["areas"]
    assert [one["candidates"] for one in told["tandem"]["models"]] == [
        one["candidates"] for one in record["tandem"]["models"]
    ]
    assert len(told["tandem"]["bank"]) == 9
    private = [str(tmp_path), *(one["sha256"] for one in record["tandem"]["bank"])]
    assert [holders(tmp_path / "shared", one) for one in private] == [[]] * len(private)
    with pytest.raises(UsageError, match="is a shared copy of an answer"):
        zoom_answer(copy, 1, ZoomOptions(km=0.2))


def test_answers_of_one_and_of_several_models_lie_side_by_side(
    world: World, tmp_path: Path
) -> None:
    area, out = world.area(tmp_path), tmp_path / "out"
    for _ in range(2):
        alone = answered(area, world.photos[0], out, model="one", top=2)
        both = answered(area, world.photos[0], out, top=2)
        assert alone.folder == out / "00" and both.folder == out / "00-2"


def test_names_of_models_are_told_apart() -> None:
    models: Any = [
        SimpleNamespace(name=name, digest=digit * 64)
        for name, digit in (("mine", "a"), ("mine", "b"), (TANDEM, "c"), ("other", "d"))
    ]
    named = names_of([model.name for model in models], models)
    digests = [digit * 12 for digit in "abc"]
    assert named == [f"mine-{digests[0]}", f"mine-{digests[1]}", f"tandem-{digests[2]}", "other"]


def _truth(world: World, number: int) -> tuple[float, float]:
    row, col = world.cells[number]
    to_degrees = Transformer.from_crs(world.grid.crs, 4326, always_xy=True)
    lon, lat = to_degrees.transform(world.grid.x[col], world.grid.y[row])
    return lat, lon
