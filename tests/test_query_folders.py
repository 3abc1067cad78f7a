"""One answer never takes the place of another: whose a folder is, and what new ones are called."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.bulk import run_bulk
from geoloc.errors import OutputError
from geoloc.models import load_model
from geoloc.query import query_photos, search_scene
from geoloc.query.folders import Folders, cube_key, cubes_key, picture_key, question_key
from geoloc.report import write_report
from geoloc.report.placing import PART
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, tiny_model
from tests.media import save
from tests.report_sample import sample

DECOMPOSED = unicodedata.normalize("NFD", "Київ")


def asked(sha256: str = "a" * 64, *, cube: str = "/c.zarr", **told: Any) -> str:
    """The key of a question about one photo."""
    parameters = {"top": 20, "scene": told.pop("scene", None), "epoch": told.pop("epoch", None)}
    photos = [{"sha256": sha256, **told}]
    return question_key({"photos": photos, "parameters": parameters, "cube": {"cube": cube}})


def test_what_makes_the_same_question() -> None:
    same = asked(crop=[1, 2, 30, 40], rotate=0)
    assert same == asked(crop=[1.0, 2.0, 30.0, 40.0], rotate=0.0, exif={"time": "x"}, file="b.jpg")
    others = [
        asked(), asked("b" * 64), asked(crop=[1, 2, 30, 41]), asked(crop=[1, 2, 30, 40], rotate=90),
        asked(frame={"time": 1.0, "sha256": "c" * 64}), asked(scene="beach"),
        asked(cube="/d.zarr"), asked(epoch="g0001"),
    ]  # fmt: skip
    assert len({same, *others}) == 9
    two = [{"sha256": letter * 64} for letter in "ab"]
    record = {"parameters": {"top": 1}, "cube": {"cube": "/c.zarr"}}
    assert question_key({**record, "photos": two}) == question_key({**record, "photos": two[::-1]})


def test_a_cube_is_the_same_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["c.zarr", "./c.zarr", str(tmp_path / "c.zarr"), (tmp_path / "c.zarr").as_uri()]
    assert len({cube_key(name) for name in names}) == 1
    assert cube_key("s3://bucket/c.zarr/") == cube_key("s3://bucket/c.zarr") != cube_key("c.zarr")
    assert cubes_key(["c.zarr"]) == cube_key("c.zarr")
    assert cubes_key(["b.zarr", "a.zarr"]) == cubes_key(["./a.zarr", "b.zarr"]) != cubes_key(names)


def claimed(out: Path, name: str, key: str, fill: str | None = None) -> str:
    """The name that a call of its own gets, and what it leaves there."""
    with Folders(out).claim(name, key) as folder:
        if fill is not None:
            (folder / "note.txt").write_text(fill)
        return folder.name


def write(folder: Path, content: bytes = b"x", name: str = "query.json") -> None:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("query.json", b"{"), ("query.json", b"[]"), ("query.json", b'{"format": "other/1"}'),
        ("query.json", b"\xff\xfe"), ("query.json", b'{"format": "geoloc-query/1"}'),
        ("notes.txt", b"mine"), ("heatmap.tif", b"of a GIS"), (".hidden", b""),
    ],
)  # fmt: skip
def test_what_is_not_an_answer_to_it_is_left_alone(
    tmp_path: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "geoloc")
    write(tmp_path / "photo", content, name)
    assert claimed(tmp_path, "photo", asked()) == "photo-2"
    assert f"this one goes to {tmp_path / 'photo-2'}" in caplog.text
    assert [p.name for p in (tmp_path / "photo").iterdir()] == [name]
    assert (tmp_path / "photo" / name).read_bytes() == content
    assert not (tmp_path / "photo-2").exists()  # nothing was written: nothing stays


@pytest.mark.parametrize(
    ("there", "name"),
    [("photo", "PHOTO"), ("Straße", "STRASSE"), ("Київ", DECOMPOSED), (DECOMPOSED, "київ")],
)
def test_names_that_some_file_systems_take_for_one(tmp_path: Path, there: str, name: str) -> None:
    write(tmp_path / there)
    assert claimed(tmp_path, name, asked()) == f"{name}-2"


def test_a_file_or_a_link_to_nothing_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "photo").write_text("a file")
    (tmp_path / "photo-2").symlink_to(tmp_path / "nowhere")
    assert claimed(tmp_path, "photo", asked()) == "photo-3"
    assert not (tmp_path / "nowhere").exists()
    assert (tmp_path / "photo").read_text() == "a file"


def test_an_empty_or_unfinished_folder_is_free(tmp_path: Path) -> None:
    (tmp_path / "photo").mkdir()
    assert claimed(tmp_path, "photo", asked()) == "photo"
    write(tmp_path / "torn" / PART, name="heatmap.tif")  # killed while it was written
    assert claimed(tmp_path, "torn", asked()) == "torn"


HOLD = """
import pathlib, sys
from geoloc.query.folders import Folders
with Folders(pathlib.Path(sys.argv[1])).claim("photo", sys.argv[2]):
    print("held", flush=True)
    if told := sys.stdin.read():
        pathlib.Path(sys.argv[1], "photo", "query.json").write_text(told)
"""
WRITE = json.dumps(
    {
        "format": "geoloc-query/1", "title": "x", "photos": [
            {"file": "a.jpg", "path": "/a.jpg", "sha256": "a" * 64}
        ],
        "parameters": {"top": 1, "radius": 1.0, "within": None},
        "model": {"name": "m"}, "cube": {"cube": "/c.zarr", "generation": "g0001"},
        "grid": {}, "imagery": [], "vector": {}, "candidates": [],
        "summary": {"cells": 1, "cells_known": 1, "distance_quantiles": {}},
    }
)  # fmt: skip
"""An answer to `asked`."""


@pytest.mark.parametrize(("question", "name"), [(asked(), "photo"), (asked("b" * 64), "photo-2")])
def test_who_comes_second_waits_and_then_looks_what_it_is(
    tmp_path: Path, question: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "geoloc")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), asked()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other, ThreadPoolExecutor(1) as pool:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        second = pool.submit(claimed, tmp_path, "photo", question)
        while "waiting for it" not in caplog.text:
            assert not second.done(), second.result()
        assert not second.done()
        other.communicate(WRITE)
        assert second.result() == name
    assert other.returncode == 0


def test_whose_folder_was_removed_meanwhile_makes_its_own(tmp_path: Path) -> None:
    """Who held it wrote nothing: the folder that was waited for is none any more."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), asked()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other, ThreadPoolExecutor(2) as pool:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        waiting = [pool.submit(claimed, tmp_path, "photo", asked(), "mine") for _ in range(2)]
        other.communicate("")
        assert sorted(one.result() for one in waiting) == ["photo", "photo-2"]
    assert (tmp_path / "photo" / "note.txt").read_text() == "mine"


def test_names_of_one_call_differ(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    names = []
    for name in ("photo", "Photo", "photo"):
        with folders.claim(name, asked()) as folder:
            (folder / "x").write_text("x")
            names.append(folder.name)
    assert names == ["photo", "Photo-2", "photo-3"]


def test_what_cannot_be_written_leaves_the_answer_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(sample(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(
        "geoloc.report.vector.write_geojson", lambda *_: (tmp_path / "no" / "x").write_text("x")
    )
    with pytest.raises(OutputError):
        write_report(sample(title="other"), tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before
    monkeypatch.undo()
    write_report(sample(title="other"), tmp_path)
    assert json.loads((tmp_path / "query.json").read_text())["title"] == "other"
    assert {path.name for path in tmp_path.iterdir()} == before.keys()


# --- whole calls ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cubes of one model, and photos: ``a/IMG_1.jpg``, ``b/IMG_1.jpg``, ``beach.jpg``."""
    folder = tmp_path_factory.mktemp("home")
    digest = tiny_model(folder / "models" / "tiny").digest
    for number in (1, 2):
        features = np.random.default_rng(number).normal(0, 2, (6, 9, len(CLASSES)))
        write_cube(
            folder / f"{number}.zarr", features.astype(np.float32), classes=CLASSES,
            model_digest=digest,
        )  # fmt: skip
    for seed, name in enumerate(("a/IMG_1.jpg", "b/IMG_1.jpg", "beach.jpg"), start=1):
        save(folder / name, seed)
    assert load_model(folder / "models" / "tiny").digest == digest
    return folder


@pytest.fixture(autouse=True)
def models(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(home / "models"))


def asked_with(out: Path) -> dict[str, list[str]]:
    """Folder by folder, whose answer it holds: the digests of its photos, or its scene."""
    found = {}
    for path in sorted(out.rglob("query.json")):
        record = json.loads(path.read_text())
        photos = sorted(photo["sha256"][:8] for photo in record["photos"])
        found[path.parent.relative_to(out).as_posix()] = photos or [record["parameters"]["scene"]]
    return found


def digests(answers: Any) -> list[str]:
    return [result.photos[0].sha256[:8] for result in answers.results]


def test_photos_and_scenes_of_one_name_have_their_own_answers(home: Path, tmp_path: Path) -> None:
    cube, beach = home / "1.zarr", home / "beach.jpg"
    photo = query_photos(cube, [beach], tmp_path, top=2)
    scene = search_scene(cube, "beach", tmp_path, top=2)
    assert (photo.results[0].folder, scene.folder) == (tmp_path / "beach", tmp_path / "beach-2")
    assert scene.to_json()["folder"] == str(tmp_path / "beach-2")
    there = {"beach": digests(photo), "beach-2": ["beach"]}
    assert asked_with(tmp_path) == there
    again = query_photos(cube, [beach], tmp_path, top=1, weights={"indoor": 2})
    assert again.results[0].folder == tmp_path / "beach"
    assert search_scene(cube, "beach", tmp_path, top=1).folder == tmp_path / "beach-2"
    assert asked_with(tmp_path) == there
    record = json.loads((tmp_path / "beach" / "query.json").read_text())
    assert (record["parameters"]["top"], len(record["candidates"])) == (1, 1)


def test_photos_of_one_name_in_several_calls(home: Path, tmp_path: Path) -> None:
    cube, (a, b) = home / "1.zarr", (home / "a" / "IMG_1.jpg", home / "b" / "IMG_1.jpg")
    first, second = (query_photos(cube, [path], tmp_path, top=1) for path in (a, b))
    there = {"IMG_1": digests(first), "IMG_1-2": digests(second)}
    assert asked_with(tmp_path) == there
    both = query_photos(cube, [b, a], tmp_path, top=1)
    assert [result.folder.name for result in both.results if result.folder] == ["IMG_1-2", "IMG_1"]
    assert asked_with(tmp_path) == there
    query_photos(cube, [a], tmp_path, top=1, crops=[(0, 0, 40, 40)])
    query_photos(cube, [a], tmp_path, top=1, rotate=90)
    query_photos(home / "2.zarr", [a], tmp_path, top=1)
    query_photos(cube, [a], tmp_path, top=1, epoch="g0001")
    assert len(asked_with(tmp_path)) == 6
    assert asked_with(tmp_path).items() >= there.items()


def test_fused_answers_of_other_photos(home: Path, tmp_path: Path) -> None:
    cube = home / "1.zarr"
    a, b, c = home / "a" / "IMG_1.jpg", home / "b" / "IMG_1.jpg", home / "beach.jpg"
    for photos in ([a, b], [b, c], [b, a]):
        query_photos(cube, photos, tmp_path, top=1, fuse=True)
    assert list(asked_with(tmp_path)) == ["fused", "fused-2"]
    assert [len(photos) for photos in asked_with(tmp_path).values()] == [2, 2]


def test_a_folder_of_bulk_answers_and_single_ones(home: Path, tmp_path: Path) -> None:
    cube, media, out = home / "1.zarr", tmp_path / "in", tmp_path / "out"
    for name, source in (("items.jpg", "a/IMG_1.jpg"), ("IMG_1.jpg", "b/IMG_1.jpg")):
        save(media / name, 1)
        shutil.copy(home / source, media / name)
    report = run_bulk(cube, media, out, top=1)
    assert report.folders == {"IMG_1.jpg": "items/IMG_1", "items.jpg": "items/items"}
    there = asked_with(out)
    single = query_photos(cube, [media / "items.jpg"], out, top=1)
    assert single.results[0].folder == out / "items-2"
    query_photos(cube, [home / "a" / "IMG_1.jpg"], out / "items", top=1)
    assert asked_with(out) == {
        **there,
        "items-2": digests(single),
        "items/IMG_1-2": digests(single),
    }
    with pytest.raises(OutputError, match=r"holds the answers of cube .*1\.zarr: choose another"):
        run_bulk(home / "2.zarr", media, out, top=1)


def test_bulk_answers_leave_alone_what_is_there(home: Path, tmp_path: Path) -> None:
    cube, media, out = home / "1.zarr", tmp_path / "in", tmp_path / "out"
    save(media / "IMG_1.jpg", 1)
    shutil.copy(home / "a" / "IMG_1.jpg", media / "IMG_1.jpg")
    other = query_photos(cube, [home / "b" / "IMG_1.jpg"], out / "items", top=1)
    own = run_bulk(cube, media, out, top=1)
    assert own.folders == {"IMG_1.jpg": "items/IMG_1-2"}
    assert asked_with(out)["items/IMG_1"] == digests(other)
    (out / "progress.sqlite").unlink()  # what is advised where it is damaged
    again = run_bulk(cube, media, out, top=1)
    assert again.folders == own.folders
    assert len(asked_with(out)) == 2
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("my page")
    with pytest.raises(OutputError, match=r"index\.html, which was not written by a bulk run"):
        run_bulk(cube, media, tmp_path / "site", top=1)
    assert (tmp_path / "site" / "index.html").read_text() == "my page"


def test_pictures_are_known_by_what_was_looked_at() -> None:
    frame = {"frame": {"time": 2.0, "sha256": "f" * 64}}
    assert picture_key({"sha256": "a", **frame}) != picture_key({"sha256": "a"})
