"""From a place that several models found together down to the cells around it, by all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from geoloc.area import load_areas
from geoloc.bulk.zoom import zoom_answers
from geoloc.cube import Cube
from geoloc.encoders import open_ground
from geoloc.errors import ModelError, UsageError
from geoloc.jobs.build import build_cube
from geoloc.models import load_model
from geoloc.photos import read_photo
from geoloc.query import ZoomOptions, query_photos, repeat_query, search_scene
from geoloc.query.tandem import distance_maps
from geoloc.report import QueryResult
from geoloc.sharing import share
from tests.answered_place import Answered, read, zoom
from tests.encoder_models import dense_section, imagery, tiny_model
from tests.scene_place import naive_scores
from tests.small_place import SmallPlace, write_place

TRUTH = (50.505, 30.21)
STEP = 40  # of the place; the first model alone serves 32, the second 40
WEIGHTS = (1, 3)


def write_bank(folder: Path) -> None:
    folder.mkdir()
    for number in range(8):
        shade = np.clip(imagery(40, 60, 20 + number) * (0.3 + number / 8), 0, 255)
        Image.fromarray(np.moveaxis(shade.astype(np.uint8), 0, -1)).save(folder / f"b{number}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = write_place(tmp_path_factory.mktemp("zoom") / "here", ny=16, nx=22, step=STEP)
    other = tiny_model(
        place.folder / "models" / "other", gsd=(1.0, 6.0), preferred_gsd=5.0,
        **dense_section(pool_px=64),
    )  # fmt: skip
    write_bank(place.folder / "bank")
    values = yaml.safe_load(place.area.read_text())
    first, second = ({"model": path, "weight": weight} for path, weight in
                     zip((values.pop("model"), str(other.path)), WEIGHTS, strict=True))  # fmt: skip
    place.area.write_text(yaml.safe_dump({**values, "models": [first, second], "bank": "bank"}))
    for part in load_areas(place.area).parts:
        build_cube(part)
    query_photos(
        place.area, place.photos[:1], place.folder / "answers", top=3, radius=200.0, truth=TRUTH
    )
    return place.folder


@pytest.fixture
def asked(made: Path) -> Answered:
    return Answered(SmallPlace(made))


def naive(result: QueryResult, photo: Path, bank: list[Path]) -> np.ndarray[Any, Any]:
    """The scores of all cells, from the cubes that the answer names."""
    assert result.tandem is not None
    total = np.zeros(result.grid.shape)
    for part, weight in zip(result.tandem.models, WEIGHTS, strict=True):
        cube, model = Cube.open(part.alone.cube["cube"]), load_model(part.alone.model["path"])
        pixels = [read_photo(path).pixels for path in (photo, *bank)]
        maps = distance_maps(cube, open_ground(model, "cpu").encode(pixels)).astype(float)
        own, usual = maps[0], maps[1:]
        spread = np.sqrt(np.nanmean(usual.var(axis=0, ddof=1)))
        total += weight * ((own - usual.mean(axis=0)) / spread).reshape(result.grid.shape)
    return total / sum(WEIGHTS)


def test_the_neighbourhood_is_asked_of_all_models(asked: Answered, tmp_path: Path) -> None:
    result = zoom(asked.answer, out=tmp_path / "out", cache=tmp_path / "cache")
    parent, record = asked.record(), read(result.folder)
    place = next(c for c in parent["candidates"] if c["rank"] == 2)
    assert result.grid.shape == (16, 16) and result.step == STEP  # what both models serve
    assert len(list((tmp_path / "cache").iterdir())) == 2
    np.testing.assert_allclose(
        result.heatmap[:], naive(result, asked.place.photos[0], asked.bank), atol=1e-3
    )
    best = result.candidates[0]
    assert best.distance == pytest.approx(np.nanmin(result.heatmap[:]))
    # the same photo, models, weights and bank
    told, was = record["tandem"], parent["tandem"]
    assert told["bank"] == was["bank"] and told["calibration"] == "bank"
    for now, before in zip(told["models"], was["models"], strict=True):
        assert (now["name"], now["weight"]) == (before["name"], before["weight"])
        assert now["model"] == before["model"]
        assert now["vector"] == pytest.approx(before["vector"], rel=1e-4, abs=1e-4)
        assert now["cube"]["cube"].startswith(str(tmp_path / "cache"))
        assert (now["truth"]["lat"], now["truth"]["lon"]) == TRUTH
    assert record["parameters"]["top"] == 3 and record["parameters"]["radius"] == 200
    assert {key: record["parent"][key] for key in ("kind", "rank", "lon", "lat", "km")} == {
        "kind": "candidate", "rank": 2, "lon": place["lon"], "lat": place["lat"], "km": 0.64,
    }  # fmt: skip
    assert repeat_query((result.folder or Path()) / "query.json").same


def test_the_neighbourhood_is_asked_the_same_scene(asked: Answered, tmp_path: Path) -> None:
    scene = search_scene(asked.place.area, "bridge", tmp_path / "scenes", top=3, radius=200.0)
    result = zoom(scene.folder or Path(), out=tmp_path / "out", cache=tmp_path / "cache")
    assert result.tandem is not None and result.tandem.bank == () and not result.photos
    maps = [np.asarray(part.alone.heatmap[:], float) for part in result.tandem.models]
    assert all(str(tmp_path / "cache") in part.alone.cube["cube"] for part in result.tandem.models)
    shares = [float(weight) for weight in WEIGHTS]
    np.testing.assert_allclose(result.heatmap[:], naive_scores(maps, shares), atol=1e-3)
    told, was = read(result.folder), read(scene.folder)
    for now, before in zip(told["tandem"]["models"], was["tandem"]["models"], strict=True):
        assert {key: now[key] for key in ("name", "weight", "scene", "model")} == {
            key: before[key] for key in ("name", "weight", "scene", "model")
        }
    assert repeat_query((result.folder or Path()) / "query.json").exact


def test_asked_again_it_takes_its_own_place_and_builds_nothing(
    asked: Answered, tmp_path: Path
) -> None:
    first = zoom(asked.answer)
    assert first.folder == asked.place.folder / "answers/zoom/street_1 candidate 2 0.64 km"
    page = (first.folder / "report.html").read_text()
    assert '<a href="../../street_1/report.html">street_1.jpg</a>' in page
    assert "0.64 km wide, of candidate 2 of" in page and "Several models" in page
    cubes = sorted((asked.place.folder / "zoom").glob("*/cube.zarr"))
    before = {p: p.stat().st_mtime_ns for c in cubes for p in c.rglob("c/*") if p.is_file()}
    (again,) = zoom_answers(
        asked.place.folder / "answers" / "street_1", 2, ZoomOptions(0.64), "street_1.jpg"
    ).results
    assert len(cubes) == 2 and before
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.folder == first.folder and again.candidates == first.candidates
    share([first.folder], tmp_path / "shared")  # and what it found can be passed on
    assert "parent" not in read(tmp_path / "shared" / "answer-1")
    deeper = zoom(first.folder, 1, 0.32, out=tmp_path / "deeper")
    assert deeper.parent is not None and deeper.parent.record == first.folder / "query.json"
    assert deeper.tandem is not None and deeper.grid.shape == (8, 8)


def changed(asked: Answered, tmp_path: Path, **parts: Any) -> Path:
    """A copy of the answer whose record says something else of its models."""
    copy, record = tmp_path / "street_1", asked.record()
    shutil.copytree(asked.answer, copy)
    record["tandem"] |= parts
    (copy / "query.json").write_text(json.dumps(record))
    return copy


def test_cubes_that_were_moved_are_named_by_their_area(asked: Answered, tmp_path: Path) -> None:
    models = asked.record()["tandem"]["models"]
    for number, one in enumerate(models):
        one["cube"]["cube"] = str(tmp_path / f"gone-{number}.zarr")
    answer = changed(asked, tmp_path, models=models)
    values = yaml.safe_load(asked.place.area.read_text())
    turned = asked.place.folder / "turned.yaml"  # in another order, with other weights
    turned.write_text(yaml.safe_dump({**values, "models": values["models"][::-1]}))
    result = zoom(answer, cube=turned, cache=tmp_path / "cache", out=tmp_path / "out")
    np.testing.assert_allclose(
        result.heatmap[:], naive(result, asked.place.photos[0], asked.bank), atol=1e-3
    )
    one = models[0]["cube"]["cube"]
    with pytest.raises(UsageError, match="give --cube the area file that names them all"):
        zoom(answer, cube=one, cache=tmp_path / "cache")


def test_what_cannot_be_is_refused_before_any_work(asked: Answered, tmp_path: Path) -> None:
    cache, bank = tmp_path / "cache", asked.record()["tandem"]["bank"]
    gone = [*bank[:-1], {**bank[-1], "path": str(tmp_path / "gone.png")}]
    other = [*bank[:-1], {**bank[-1], "sha256": "0" * 64}]
    models = asked.record()["tandem"]["models"]
    lost = {**models[1]["model"], "digest": "1" * 64, "path": None}
    for number, (parts, options, words) in enumerate((
        ({"bank": gone}, {}, r"gone\.png is no longer there: give its folder with --media"),
        ({"bank": other}, {}, "has changed since"),
        ({}, {"km": 100.0, "step": 10.0}, "the neighbourhood has 100,000,000 places"),
        ({"models": [models[0], {**models[1], "model": lost}]}, {}, "is not at None"),
        ({}, {"rank": 9}, "--rank 9: the answer has no such candidate"),
    )):  # fmt: skip
        (folder := tmp_path / str(number)).mkdir()
        answer = changed(asked, folder, **parts)
        with pytest.raises((UsageError, ModelError), match=words) as told:
            zoom(answer, **{"cache": cache, "out": tmp_path / "out", **options})
        assert "\n" not in str(told.value)
    assert not cache.exists() and not (tmp_path / "out").exists()


def test_photos_of_a_sensitive_area_stay_hidden(asked: Answered, tmp_path: Path) -> None:
    area = asked.place.folder / "sensitive.yaml"
    area.write_text(asked.place.area.read_text() + "sensitive: true\n")
    options = {"km": 0.16, "cache": tmp_path / "cache", "cube": area}
    assert zoom(asked.answer, out=tmp_path / "a", **options).sensitive
    assert not zoom(asked.answer, out=tmp_path / "b", sensitive=False, **options).sensitive
