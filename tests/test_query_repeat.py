"""Recorded answers asked again: of chats, videos, clusters and crops, of cubes that moved on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geoloc.bulk import run_bulk
from geoloc.cli import app
from geoloc.cube import prune_generations
from geoloc.errors import CubeError, GeolocError, ModelError, UsageError
from geoloc.models import load_model
from geoloc.query import query_photos, repeat_query
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, tiny_model
from tests.media import message, picture, save, shot, video, write_export


@dataclass(frozen=True)
class Place:
    """A model in the store and a cube of random features."""

    cube: Path
    digest: str

    def build(self, seed: int, generation: str) -> None:
        """Another generation, as after a refresh."""
        features = np.random.default_rng(seed).normal(0, 2, (15, 22, len(CLASSES)))
        write_cube(
            self.cube,
            features.astype(np.float32),
            classes=CLASSES,
            model_digest=self.digest,
            generation=generation,
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    tiny_model(tmp_path / "models" / "tiny")
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "models"))
    made = Place(tmp_path / "cube.zarr", load_model("tiny").digest)
    made.build(3, "g0001")
    return made


def record_of(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_text())
    assert isinstance(record, dict)
    return record


def write_camera_photos(folder: Path) -> None:
    """Two photos that are alike, a minute apart by the camera's clock, with a place claimed."""
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[271] = "camera"  # Pillow leaves out what has no tag of its own
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 10:00:00"  # when it was taken
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 24.0, 0.0), 3: "E", 4: (30.0, 30.0, 0.0)})
    first = picture(1)
    Image.fromarray(first).save(folder / "a.png", exif=exif)
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 10:01:00"
    Image.fromarray(first[:, ::-1]).save(folder / "b.png", exif=exif)


def test_a_frame_of_a_chat_is_repeated_and_says_where_it_is_from(
    place: Place, tmp_path: Path
) -> None:
    chat = tmp_path / "chat"
    video(chat / "video_files" / "v.mp4", [*shot(11, 12), *shot(12, 12)])
    told = message(3, file="video_files/v.mp4", media_type="video_file", mime_type="video/mp4")
    export = write_export(chat, [told])
    run_bulk(place.cube, chat, tmp_path / "out", top=3, radius=20)
    records = sorted((tmp_path / "out" / "items").glob("*/query.json"))
    assert len(records) == 2
    photo = record_of(records[1])["photos"][0]
    assert photo["frame"]["time"] == pytest.approx(1.2, abs=0.21)
    assert len(photo["sha256"]) == len(photo["frame"]["sha256"]) == 64
    (source,) = photo["messages"]
    assert (source["export"], source["chat"], source["id"]) == (str(export), "Watch", 3)
    assert source["date"] == "2025-06-15T15:06:40+00:00"
    assert all(repeat_query(path).same for path in records)
    shutil.move(chat, tmp_path / "elsewhere")
    assert repeat_query(records[1], media=tmp_path / "elsewhere").same


def test_a_cluster_is_repeated(place: Place, tmp_path: Path) -> None:
    write_camera_photos(tmp_path / "in")
    report = run_bulk(place.cube, tmp_path / "in", tmp_path / "out", top=3, radius=20)
    assert report.clusters == 1
    (path,) = (tmp_path / "out" / "clusters").glob("*/query.json")
    record = record_of(path)
    assert [photo["file"] for photo in record["photos"]] == ["a.png", "b.png"]
    assert record["photos"][0]["exif"] == {
        "time": "2024-05-06T10:00:00", "gps": {"lon": 30.5, "lat": 50.4},
    }  # fmt: skip
    claimed = (30.5, 50.4)
    assert all((c["lon"], c["lat"]) != pytest.approx(claimed) for c in record["candidates"])
    assert repeat_query(path).same
    assert (path.parent / "heatmap.tif").is_file()


def test_a_place_that_a_file_claims_changes_no_answer(place: Place, tmp_path: Path) -> None:
    """The same pixels with and without it: every distance and candidate is the same."""
    write_camera_photos(tmp_path / "in")
    with Image.open(tmp_path / "in" / "a.png") as image:
        image.info.clear()
        Image.fromarray(np.asarray(image)).save(tmp_path / "plain.png")
    answers = [
        query_photos(place.cube, [path], tmp_path / path.stem, top=3).results[0]
        for path in (tmp_path / "in" / "a.png", tmp_path / "plain.png")
    ]
    assert "gps" in answers[0].photos[0].exif
    assert answers[1].photos[0].exif == {}
    np.testing.assert_array_equal(answers[0].heatmap, answers[1].heatmap)
    assert answers[0].candidates == answers[1].candidates


def test_the_recorded_generation_is_asked_until_it_is_pruned(place: Place, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.jpg", 5)
    paths = {}
    for generation, epoch in (("g0001", None), ("g0002", None), ("g0003", "g0001")):
        if generation != "g0001":
            place.build(int(generation[-1]), generation)
        out = tmp_path / f"{generation} {epoch}"
        query_photos(
            place.cube, [photo], out, top=3, radius=20, epoch=epoch, crops=[(5, 5, 60, 60)]
        )
        (paths[generation],) = out.glob("*/query.json")
    used = [record_of(path)["cube"]["generation"] for path in paths.values()]
    assert used == ["g0001", "g0002", "g0001"]  # the last one asked for an older generation
    assert all(repeat_query(path).exact for path in paths.values())
    places = [[c["lon"] for c in record_of(path)["candidates"]] for path in paths.values()]
    assert places[0] == places[2] != places[1]

    prune_generations(place.cube, 2)
    assert repeat_query(paths["g0002"]).exact
    with pytest.raises(CubeError, match=r"no longer has generation g0001.*pruned.*g0002, g0003"):
        repeat_query(paths["g0001"])
    done = CliRunner().invoke(app, ["repeat", str(paths["g0001"])])
    assert isinstance(done.exception, GeolocError)


def test_a_cube_built_anew_under_the_same_name_is_told(place: Place, tmp_path: Path) -> None:
    query_photos(place.cube, [save(tmp_path / "a.jpg", 5)], tmp_path / "out", top=3, radius=20)
    path = tmp_path / "out" / "a" / "query.json"
    record = record_of(path)
    record["cube"]["created"] = "2020-01-01T00:00:00+00:00"
    path.write_text(json.dumps(record))
    assert repeat_query(path).exact
    assert "was created 2020-01-01" in "\n".join(repeat_query(path).lines())
    shutil.rmtree(place.cube)
    place.build(9, "g0001")
    assert not repeat_query(path).same


def answered(place: Place, tmp_path: Path, name: str = "a.jpg") -> Path:
    """The record of an answer to one photo."""
    photo = save(tmp_path / "in" / name, 5)
    query_photos(place.cube, [photo], tmp_path / "out", top=3, radius=20)
    (path,) = (tmp_path / "out").glob("*/query.json")
    return path


def altered(path: Path, value: Any, *keys: str | int) -> Path:
    """The record with another value at ``keys``, beside the true one."""
    record = part = record_of(path)
    for key in keys[:-1]:
        part = part[key]  # type: ignore[index]
    part[keys[-1]] = value  # type: ignore[index]
    other = path.with_name("altered.json")
    other.write_text(json.dumps(record))
    return other


def test_an_answer_of_another_model_is_not_repeated_by_this_one(
    place: Place, tmp_path: Path
) -> None:
    path = answered(place, tmp_path)
    assert repeat_query(altered(path, "/nowhere", "model", "path")).exact  # found by its digest
    with pytest.raises(ModelError, match=r"\(000000000000\).*not installed.*geoloc models import"):
        repeat_query(altered(path, "0" * 64, "model", "digest"))


@pytest.mark.parametrize(
    ("keys", "value"),
    [(("imagery",), [{"id": "x", "date": "2020-01-01", "candidates": [1]}]),
     (("grid", "step"), 11.0), (("cube", "model"), "other"),
     (("cube", "model_digest"), "0" * 64), (("summary", "cells_known"), 7),
     (("summary", "distance_quantiles", "0.5"), 99.0)],
)  # fmt: skip
def test_other_evidence_is_told_by_its_name(
    place: Place, tmp_path: Path, keys: tuple[str, ...], value: object
) -> None:
    path = altered(answered(place, tmp_path), value, *keys)
    repetition = repeat_query(path)
    assert not (repetition.exact or repetition.same)
    name = ".".join(keys[:1] if keys[0] == "grid" else keys[:2])
    assert any(line.startswith(name) for line in repetition.differences)
    assert CliRunner().invoke(app, ["repeat", str(path)]).exit_code == 1


def test_another_vector_is_more_than_rounding(place: Place, tmp_path: Path) -> None:
    path = answered(place, tmp_path)
    vector = record_of(path)["vector"]
    name, value = next(iter(vector.items()))
    close = repeat_query(altered(path, value * (1 + 1e-6) + 1e-7, "vector", name))
    assert (close.exact, close.same) == (False, True)
    far = repeat_query(altered(path, value + max(map(abs, vector.values())) / 100, "vector", name))
    assert not far.same
    assert "vector differs by more than rounding" in far.differences


def test_a_percentile_that_was_edited_is_no_rounding(place: Place, tmp_path: Path) -> None:
    path = answered(place, tmp_path)
    first, *others = record_of(path)["candidates"]
    near, far = ({**first, "percentile": first["percentile"] + by} for by in (0.01, 1.5))
    close = repeat_query(altered(path, [near, *others], "candidates"))
    assert (close.exact, close.same) == (False, True)
    edited = repeat_query(altered(path, [far, *others], "candidates"))
    assert not edited.same
    assert any(one.startswith("candidates.1.percentile is not") for one in edited.differences)
    many = [{**one, "percentile": 99.0, "made_up": 1} for one in (first, *others)]
    match = {**record_of(path)["match"], "closer": 7.0}
    lines = repeat_query(altered(altered(path, many, "candidates"), match, "match")).differences
    assert [line.split(" ")[0] for line in lines[:3]] == [
        f"candidates.{rank}.percentile" for rank in (1, 2, 3)
    ]
    assert lines[3] == "numbers of the answer that are not as recorded either: 1"


def test_how_close_the_match_is_cannot_be_edited(place: Place, tmp_path: Path) -> None:
    path = answered(place, tmp_path)
    match = record_of(path)["match"]
    name = next(name for name, value in match.items() if isinstance(value, float))
    assert not repeat_query(altered(path, 10**400, "match", name)).same
    edited = repeat_query(altered(path, match[name] + 0.3, "match", name))
    assert not edited.same
    assert any(one.startswith(f"match.{name} is not") for one in edited.differences)


@pytest.mark.parametrize("name", ["photo[1].jpg", "a*b?.jpg", "a\udcff.jpg", r"a\udcff.jpg"])
def test_moved_originals_are_found_by_their_very_names(
    place: Place, tmp_path: Path, name: str
) -> None:
    path = answered(place, tmp_path, name)
    assert repeat_query(path).exact
    moved = shutil.move(tmp_path / "in", tmp_path / "moved")
    save(moved / "photo1.jpg", 6)
    assert repeat_query(path, media=moved).exact
    with pytest.raises(UsageError, match=r"nowhere is not a folder"):
        repeat_query(path, media=tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"is not below --media"):
        repeat_query(path, media=tmp_path / "out")


@pytest.mark.parametrize(
    ("keys", "value"),
    [(("candidates",), 5), (("candidates", 0), None), (("candidates", 0, "distance"), "x"),
     (("photos",), []), (("photos", 0, "path"), "a\x00b"), (("photos", 0, "crop"), [1, 2]),
     (("photos", 0, "frame"), {"time": "x"}), (("parameters",), None),
     (("parameters", "top"), 0), (("parameters", "radius"), float("nan")), (("cube",), "x"),
     (("model",), []), (("vector",), {"a": "b"}), (("summary",), {}), (("grid",), None),
     (("imagery",), 3), (("title",), None), (("versions",), [])],
)  # fmt: skip
def test_a_damaged_record_is_refused_in_one_line(
    place: Place, tmp_path: Path, keys: tuple[str | int, ...], value: object
) -> None:
    path = altered(answered(place, tmp_path), value, *keys)
    with pytest.raises(UsageError, match="is damaged") as caught:
        repeat_query(path)
    assert "\n" not in str(caught.value)
    assert str(keys[0]) in str(caught.value)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"format": "geoloc-query/1"}', "{}", "\x00"])
def test_what_is_no_record_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "query.json"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        repeat_query(path)
    assert "\n" not in str(caught.value)
