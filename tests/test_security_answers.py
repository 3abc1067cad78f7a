"""Answers that are not whole: mixed, changed, written at once by several, killed at any step.

Each test does what an accident or an attacker would; an answer is whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from geoloc.bulk import run_bulk
from geoloc.cli import app
from geoloc.errors import UsageError
from geoloc.query import query_photos, repeat_query
from geoloc.report import html, write_report
from geoloc.report import write as write_module
from geoloc.report.outputs import RECORD, faults_of_outputs, output_digests
from geoloc.report.placing import PART
from tests.bulk_place import Place
from tests.media import save
from tests.report_sample import sample

OUTPUTS = {
    "heatmap.tif", "heatmap.qml", "heatmap_colors.tif", "heatmap.png", "candidates.geojson",
    "candidates.csv", "candidates.kml", "candidates.kmz", "report.html",
}  # fmt: skip


def record_of(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / RECORD).read_text())
    return told


def distances(folder: Path) -> Any:
    with rasterio.open(folder / "heatmap.tif") as raster:
        return raster.read(1)


def is_whole(folder: Path) -> bool:
    """By a computation of its own: each file that the record names has the digest it names."""
    named = record_of(folder)["outputs"]
    there = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in named}
    return named == there and set(named) >= OUTPUTS


@pytest.fixture
def answer(place: Place, tmp_path: Path) -> Path:
    """The folder of an answer, whose photo is beside it."""
    save(tmp_path / "a.jpg", 1)
    query_photos(place.cube, [tmp_path / "a.jpg"], tmp_path / "out", top=3)
    return tmp_path / "out" / "a"


# --- what a record says of its files ------------------------------------------------------


def test_a_record_names_the_digest_of_every_file(answer: Path) -> None:
    assert set(record_of(answer)["outputs"]) == OUTPUTS
    assert is_whole(answer)
    assert output_digests(answer) == record_of(answer)["outputs"]
    found = repeat_query(answer / RECORD)
    assert (found.exact, found.differences) == (True, ())


def test_an_old_record_beside_a_new_heatmap_is_not_reproduced(
    answer: Path, place: Place, tmp_path: Path
) -> None:
    """As it is left where a run is killed that writes over an answer in place."""
    old = (answer / RECORD).read_bytes()
    query_photos(place.cube, [tmp_path / "a.jpg"], tmp_path / "out", top=3, weights={"indoor": 3})
    assert is_whole(answer)
    (answer / RECORD).write_bytes(old)
    found = repeat_query(answer / RECORD)
    assert (found.exact, found.same) == (False, False)
    assert "heatmap.tif is not the file that was written with this record" in found.differences
    done = CliRunner().invoke(app, ["repeat", str(answer / RECORD)])
    assert done.exit_code == 1
    assert "NOT reproduced" in done.output
    assert "reproduced exactly" not in done.output
    assert "heatmap.tif" in done.output


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [(Path.unlink, "is missing"), (_cut, "is not the file"), (_flip, "is not the file"),
     (_folder, "is no file"), (_pipe, "is no file")],
)  # fmt: skip
def test_every_file_is_compared(tmp_path: Path, damage: Any, told: str) -> None:
    write_report(sample(), tmp_path / "whole")
    record = record_of(tmp_path / "whole")
    assert list(faults_of_outputs(tmp_path / "whole", record)) == []
    for name in sorted(OUTPUTS):
        copy = tmp_path / name
        shutil.copytree(tmp_path / "whole", copy)
        damage(copy / name)
        (fault,) = faults_of_outputs(copy, record)
        assert fault.startswith(f"{name} {told}")


def test_what_a_gis_leaves_beside_an_answer_is_no_fault(answer: Path) -> None:
    for name in ("heatmap.tif.aux.xml", "map.qgz", "notes.txt"):
        (answer / name).write_text("mine")
    assert repeat_query(answer / RECORD).exact
    assert (answer / "notes.txt").read_text() == "mine"


def test_a_record_of_an_older_geoloc_is_repeated_and_says_what_is_not_known(answer: Path) -> None:
    record = record_of(answer)
    del record["outputs"]
    (answer / RECORD).write_text(json.dumps(record))
    found = repeat_query(answer / RECORD)
    assert found.exact
    assert "older geoloc" in found.differences[0]
    assert "not compared" in found.differences[0]


def test_a_record_alone_is_repeated_and_says_so(answer: Path, tmp_path: Path) -> None:
    shutil.copy(answer / RECORD, tmp_path / RECORD)
    found = repeat_query(tmp_path / RECORD)
    assert found.exact
    assert "no files beside it: they were not compared" in found.differences[0]


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/hostname", "x/y", "", "a\\b", "\0"])
def test_a_strangers_record_points_to_no_file_elsewhere(answer: Path, name: str) -> None:
    record = record_of(answer)
    record["outputs"] = {name: "0" * 64}
    (answer / RECORD).write_text(json.dumps(record))
    with pytest.raises(UsageError, match="is damaged"):
        repeat_query(answer / RECORD)


# --- bulk runs keep only what is whole ----------------------------------------------------


@pytest.fixture
def bulk(place: Place, tmp_path: Path) -> Path:
    """A bulk run of four photos, which has ended."""
    for seed in range(4):
        save(tmp_path / "in" / f"{seed}.jpg", seed)
    assert run_bulk(place.cube, tmp_path / "in", tmp_path / "out", top=2).answered == 4
    return tmp_path / "out"


def test_a_bulk_run_answers_again_what_is_mixed_and_keeps_the_rest(
    bulk: Path, place: Place, tmp_path: Path
) -> None:
    items = bulk / "items"
    whole = (items / "3" / RECORD).read_bytes()
    right = distances(items / "0")
    shutil.copy(items / "1" / "heatmap.tif", items / "0" / "heatmap.tif")
    shutil.copy(items / "2" / "heatmap-small.png", items / "1" / "heatmap-small.png")
    (items / "2" / "candidates.csv").unlink()
    again = run_bulk(place.cube, tmp_path / "in", bulk, top=2)
    assert (again.answered, again.kept, again.failures) == (3, 1, {})
    assert all(is_whole(items / str(number)) for number in range(4))
    np.testing.assert_allclose(distances(items / "0"), right, rtol=1e-4)
    assert (items / "3" / RECORD).read_bytes() == whole
    last = run_bulk(place.cube, tmp_path / "in", bulk, top=2)
    assert (last.answered, last.kept) == (0, 4)


def test_a_folder_that_is_a_link_to_another_answer_replaces_it_not(
    bulk: Path, place: Place, tmp_path: Path
) -> None:
    items = bulk / "items"
    kept = (items / "1" / RECORD).read_bytes()
    shutil.rmtree(items / "0")
    (items / "0").symlink_to(items / "1")
    again = run_bulk(place.cube, tmp_path / "in", bulk, top=2)
    assert (again.answered, again.kept, again.failures) == (1, 3, {})
    assert not (items / "0").is_symlink()
    assert (items / "1" / RECORD).read_bytes() == kept
    assert record_of(items / "0")["photos"][0]["file"] == "0.jpg"


def test_a_picture_of_another_item_is_not_shown(bulk: Path, place: Place, tmp_path: Path) -> None:
    """Its preview was exchanged: the answer that is written again shows the original."""
    items = bulk / "items"
    own = (items / "0" / "photo.jpg").read_bytes()
    shutil.copy(items / "1" / "photo.jpg", items / "0" / "photo.jpg")
    (items / "0" / "report.html").unlink()
    assert run_bulk(place.cube, tmp_path / "in", bulk, top=2).failures == {}
    assert (items / "0" / "photo.jpg").read_bytes() == own


def test_a_bulk_run_answers_again_what_is_whole_and_another_answer(
    bulk: Path, place: Place, tmp_path: Path
) -> None:
    """An answer of other parameters took the place of the one that the list is of."""
    query_photos(place.cube, [tmp_path / "in" / "2.jpg"], bulk / "items", top=1)
    assert is_whole(bulk / "items" / "2")
    again = run_bulk(place.cube, tmp_path / "in", bulk, top=2)
    assert (again.answered, again.kept) == (1, 3)
    assert len(record_of(bulk / "items" / "2")["candidates"]) == 2


def test_what_a_gis_leaves_makes_a_bulk_run_answer_nothing_again(
    bulk: Path, place: Place, tmp_path: Path
) -> None:
    (bulk / "items" / "1" / "heatmap.tif.aux.xml").write_text("<PAMDataset/>")
    assert run_bulk(place.cube, tmp_path / "in", bulk, top=2).kept == 4


# --- killed and interrupted while files are moved -----------------------------------------


KILLED = """
import os, pathlib, sys
from geoloc.report import write, write_report
from tests.report_sample import sample
write.place = lambda *_: False  # as on a file system that cannot exchange two folders
out, steps, number = pathlib.Path(sys.argv[1]), int(sys.argv[2]), 0
def dying(real):
    def step(*args, **options):
        global number
        number += 1
        if number > steps:
            os.kill(os.getpid(), 9)
        return real(*args, **options)
    return step
for name in ("replace", "unlink", "rmdir"):
    setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))
write_report(sample(title="new"), out)
"""


@pytest.mark.parametrize("step", [0, 4, 8, 14])
def test_killed_at_any_step_an_answer_is_whole_or_not_there(tmp_path: Path, step: int) -> None:
    out = tmp_path / "a"
    write_report(sample(title="old"), out)
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), str(step)], check=False)
    assert done.returncode == -signal.SIGKILL
    if (out / RECORD).exists():
        assert is_whole(out)
        assert record_of(out)["title"] in ("old", "new")
    write_report(sample(title="third"), out)
    assert is_whole(out)
    assert record_of(out)["title"] == "third"
    assert not (out / PART).exists()


@pytest.mark.parametrize("step", range(1, 11))
def test_an_interruption_between_two_files_finishes_the_moving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    write_report(sample(title="old"), tmp_path)
    real, moved = Path.replace, list[str]()

    def replace(self: Path, target: Path) -> Path:
        if self.parent.name == PART:
            moved.append(self.name)
            if len(moved) == step:
                raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(write_module, "place", lambda *_: False)  # file by file
    with pytest.raises(KeyboardInterrupt):
        write_report(sample(title="new"), tmp_path)
    assert is_whole(tmp_path)
    assert record_of(tmp_path)["title"] == "new"
    assert not (tmp_path / PART).exists()


def test_what_fails_while_it_is_written_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(html, "write_page", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(sample(), tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").rglob("*")] == [PART]  # which is empty


# --- several at once ----------------------------------------------------------------------


AT_ONCE = """
import sys
from geoloc.query import query_photos
cube, photo, out, top = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2):
    (answer,) = query_photos(cube, [photo], out, top=int(top)).results
    print(answer.folder.name, flush=True)
"""


def at_once(commands: list[list[str]], code: str = AT_ONCE) -> Iterator[list[str]]:
    """Processes that begin together, once all of them are ready; the lines that each told."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for command in commands
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        yield told.split()


def test_three_queries_at_once_into_one_folder_do_not_mix(place: Place, tmp_path: Path) -> None:
    """One photo with other parameters is one question: each takes the place of the one before."""
    save(tmp_path / "a.jpg", 1)
    told = list(
        at_once(
            [
                [str(place.cube), str(tmp_path / "a.jpg"), str(tmp_path / "out"), str(top)]
                for top in (1, 2, 3)
            ]
        )
    )
    assert told == [["a", "a"]] * 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    answer = tmp_path / "out" / "a"
    assert is_whole(answer)
    record = record_of(answer)
    places = json.loads((answer / "candidates.geojson").read_text())["features"]
    assert record["parameters"]["top"] == len(record["candidates"]) == len(places)


OTHERS = """
import dataclasses, pathlib, sys
from geoloc.query.folders import Folders, question_key
from geoloc.report import write_report
from geoloc.report.evidence import evidence
from tests.report_sample import photo, sample
out, digest = pathlib.Path(sys.argv[1]), sys.argv[2]
asked = sample(
    title=digest, photos=(dataclasses.replace(photo("a.jpg"), sha256=digest),),
    cube={"name": "x", "cube": "/c.zarr", "generation": "g0001"},
    parameters={"top": 3, "within": None, "radius": 1.0},
)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    with Folders(out).claim("IMG_1", question_key(evidence(asked))) as folder:
        write_report(asked, folder)
        print(folder.name, flush=True)
"""


def test_photos_of_one_name_at_once_have_their_own_folders(tmp_path: Path) -> None:
    digests = [letter * 64 for letter in "abc"]
    told = list(at_once([[str(tmp_path), digest] for digest in digests], OTHERS))
    assert [len(set(names)) for names in told] == [1, 1, 1]  # the same at each call
    assert {names[0] for names in told} == {"IMG_1", "IMG_1-2", "IMG_1-3"}
    for digest, (name, *_) in zip(digests, told, strict=True):
        assert is_whole(tmp_path / name)
        assert record_of(tmp_path / name)["photos"][0]["sha256"] == digest
        assert record_of(tmp_path / name)["title"] == digest


BULK = """
import sys
from geoloc.bulk import run_bulk
from geoloc.errors import OutputError
cube, folder, out = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
try:
    print("answered", run_bulk(cube, folder, out, top=1).answered)
except OutputError as error:
    print("refused", error)
"""


def test_two_bulk_runs_at_once_into_one_folder(place: Place, tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / "in" / f"{seed}.jpg", seed)
    command = [sys.executable, "-c", BULK, str(place.cube), str(tmp_path / "in")]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, str(tmp_path / "out")], **pipes) for _ in range(2)]
    for process in running:
        assert process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for process in running:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    told = sorted(process.communicate(timeout=300)[0].strip() for process in running)
    assert told[0] == "answered 3"
    # the second was refused, or came when the first had ended
    assert told[1] == "answered 0" or (
        told[1].startswith("refused") and "another bulk run is writing there" in told[1]
    )
    assert all(is_whole(path) for path in (tmp_path / "out" / "items").iterdir())
