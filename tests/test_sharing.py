"""Copies of answers for others: what stays, what goes, and that they come whole or not at all."""

from __future__ import annotations

import hashlib
import html
import json
import os
import shutil
import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from geoloc.bulk import run_bulk
from geoloc.cli import app
from geoloc.errors import GeolocError, OutputError, UsageError
from geoloc.query import query_photos, search_scene
from geoloc.query.anew import ASKED_ANEW
from geoloc.query.repeat import repeat_query
from geoloc.query.session import unmeasured
from geoloc.sharing import Options, read_keep, read_rounding, share
from tests.bulk_place import Place
from tests.media import save
from tests.report_sample import CLASSES, sample
from tests.shared_answers import (
    MARKS,
    blob,
    edit_record,
    forget_digests,
    holders,
    pictures,
    telling,
    write_telling,
)

FILES = {
    "query.json", "heatmap.tif", "heatmap.qml", "heatmap_colors.tif", "heatmap.png",
    "candidates.geojson", "candidates.csv", "candidates.kml", "candidates.kmz", "report.html",
}  # fmt: skip


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_telling(tmp_path_factory.mktemp("answers") / "a")


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "query.json").read_text(encoding="utf-8"))
    return found


def test_what_was_found_and_how_stays_the_same(answer: Path, tmp_path: Path) -> None:
    share([answer], tmp_path / "out")
    before, after = record(answer), record(tmp_path / "out" / "answer-1")
    assert {path.name for path in (tmp_path / "out" / "answer-1").iterdir()} == FILES
    for key in ("vector", "candidates", "areas", "grid", "places", "match"):
        assert after[key] == before[key], key
    assert after["summary"] == before["summary"]
    same = after["original"]["outputs"]
    assert same.items() <= before["outputs"].items()
    assert {"heatmap.tif", "heatmap.qml", "candidates.csv"} <= same.keys()
    assert after["photos"][0]["sha256"] == before["photos"][0]["sha256"]
    assert after["model"]["digest"] == before["model"]["digest"]
    assert after["cube"]["generation"] == "g0001"
    assert after["parameters"]["within_sha256"] == "12" * 32
    assert after["versions"]["geoloc"] == before["versions"]["geoloc"]
    for name in ("heatmap.tif", "heatmap.qml", "candidates.csv"):
        assert (tmp_path / "out" / "answer-1" / name).read_bytes() == (answer / name).read_bytes()


def test_it_proves_which_record_it_is_of(answer: Path, tmp_path: Path) -> None:
    shared = share([answer], tmp_path / "out")
    digest = hashlib.sha256((answer / "query.json").read_bytes()).hexdigest()
    after = record(tmp_path / "out" / "answer-1")
    assert after["original"]["sha256"] == digest == shared.answers[0]["original_sha256"]
    for name, told in after["outputs"].items():
        content = (tmp_path / "out" / "answer-1" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == told
    assert set(after["outputs"]) == FILES - {"query.json"}
    for name in ("SHARED.md", "shared.json", "answer-1/report.html"):
        assert digest in (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_it_says_what_was_left_out_and_what_was_kept(answer: Path, tmp_path: Path) -> None:
    share([answer], tmp_path / "out", Options(frozenset({"time"}), "omitted", None, False))
    told = json.loads((tmp_path / "out" / "shared.json").read_text())
    assert told["kept"] == ["time"]
    assert set(told["removed"]) == {"captions", "senders", "chat", "gps", "names", "paths", "truth"}
    assert (told["photo"], told["imagery"], told["rounded_to_m"]) == ("omitted", False, None)
    page = (tmp_path / "out" / "SHARED.md").read_text(encoding="utf-8")
    assert "Left out: texts of messages (3)." in page
    assert "Kept on request: times that files or messages claim." in page
    assert "Photos were left out of every file." in page


@pytest.mark.parametrize(
    ("word", "mark"), [(word, MARKS[word]) for word in ("captions", "senders", "chat", "names")]
)
def test_what_is_named_stays(answer: Path, tmp_path: Path, word: str, mark: str) -> None:
    share([answer], tmp_path / "out", Options(frozenset({word})))
    assert "answer-1/query.json" in holders(tmp_path / "out", mark)
    assert "answer-1/report.html" in holders(tmp_path / "out", mark)
    others = [m for w, m in MARKS.items() if w != word]
    assert [holders(tmp_path / "out", one) for one in others] == [[]] * len(others)


def test_notes_stay_without_names_and_paths(answer: Path, tmp_path: Path) -> None:
    share([answer], tmp_path / "out")
    notes = record(tmp_path / "out" / "answer-1")["notes"]
    assert "photo-1.jpg has only 80 x 60 px: too few." in notes
    assert "The report shows no base map." in notes
    assert len(notes) == 3


def test_a_note_that_is_no_known_sentence_is_missed(tmp_path: Path) -> None:
    """It may name anybody, so it stays; but its reader has to know that there is more."""
    notes = ("Olena says that this is the bridge.", "2 of 9 blocks of this cube are not built yet: "
             "nothing can be found there.")  # fmt: skip
    share([write_telling(tmp_path / "a", imagery=False, notes=notes)], tmp_path / "out")
    told = record(tmp_path / "out" / "answer-1")["notes"]
    assert told[0] == notes[1]
    assert "A note of the original cannot be shared: ask for it before you rely on this." in told
    assert holders(tmp_path / "out", "Olena says") == []


def test_a_photo_that_two_answers_name_otherwise_keeps_the_name_of_each(tmp_path: Path) -> None:
    """The same bytes under two names: with its own record, each copy says what its answer said."""
    named = [replace(telling().photos[0], path=Path("/x") / name) for name in ("a1.jpg", "b2.jpg")]
    folders = [write_telling(tmp_path / shown.path.stem, False, photos=(shown,)) for shown in named]
    share(folders, tmp_path / "out", Options(frozenset({"names"})))
    told = [record(tmp_path / "out" / f"answer-{n}") for n in (1, 2)]
    assert [one["photos"][0]["file"] for one in told] == ["a1.jpg", "b2.jpg"]
    assert [one["title"] for one in told] == ["a1.jpg", "b2.jpg"]


def test_one_photo_has_one_name_in_all_answers(tmp_path: Path) -> None:
    one, other = telling().photos[0], replace(telling().photos[0], sha256="ba" * 32)
    folders = [
        write_telling(tmp_path / name, imagery=False, photos=photos)
        for name, photos in (("a", (one,)), ("b", (other, one)), ("c", (one,)))
    ]
    share(folders, tmp_path / "out")
    names = [[p["file"] for p in record(tmp_path / "out" / f"answer-{n}")["photos"]]
             for n in (1, 2, 3)]  # fmt: skip
    assert names == [["photo-1.jpg"], ["photo-2.jpg", "photo-1.jpg"], ["photo-1.jpg"]]


@pytest.mark.parametrize(("photo", "found"), [("blurred", 1), ("shown", 1), ("omitted", 0)])
def test_the_photo_is_hidden_shown_or_gone(tmp_path: Path, photo: Any, found: int) -> None:
    """By its colour in every picture of every file."""
    green = replace(telling().photos[0], pixels=blob((20, 240, 60)))
    folder = write_telling(tmp_path / "a", imagery=False, photos=(green,))
    share([folder], tmp_path / "out", Options(photo=photo))
    seen = 0
    for picture in pictures(tmp_path / "out").values():
        near = abs(np.asarray(picture.convert("RGB"), int) - (20, 240, 60)).max(axis=2) < 12
        seen += int(near.mean() > 0.5)
    assert seen == found
    page = (tmp_path / "out" / "answer-1" / "report.html").read_text(encoding="utf-8")
    assert ('<details class="sensitive">' in page) == (photo == "blurred")
    assert ("The picture is not in this copy." in page) == (photo == "omitted")


def test_imagery_can_be_left_out(answer: Path, tmp_path: Path) -> None:
    share([answer], tmp_path / "with")
    share([answer], tmp_path / "without", Options(imagery=False))
    counts = [len(pictures(tmp_path / name)) for name in ("with", "without")]
    assert counts[0] > counts[1] == 4  # photo, still heatmap of the page, heatmap.png, kmz
    assert "Imagery was left out" in (tmp_path / "without/answer-1/report.html").read_text()


def test_a_rounded_copy_is_coarse_and_says_so(answer: Path, tmp_path: Path) -> None:
    share([answer], tmp_path / "out", Options(rounding=read_rounding("300m")))
    folder = tmp_path / "out" / "answer-1"
    after, before = record(folder), record(answer)
    with (
        rasterio.open(folder / "heatmap.tif") as raster,
        rasterio.open(answer / "heatmap.tif") as r,
    ):
        assert raster.res == (300, 300)
        small, whole = raster.read(1), r.read(1)
    naive = [[np.nanmin(whole[y : y + 30, x : x + 30]) for x in range(0, 140, 30)]
             for y in range(0, 90, 30)]  # fmt: skip
    np.testing.assert_array_equal(small, np.array(naive, np.float32))
    for a, b in zip(after["candidates"], before["candidates"], strict=True):
        assert [a[key] for key in ("rank", "distance", "percentile")] == [
            b[key] for key in ("rank", "distance", "percentile")
        ]
        assert abs(a["lat"] - b["lat"]) < 0.003
        assert round(a["lat"], 3) == a["lat"] != b["lat"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "cells\n    of 10 m" in page  # what was searched, not the copy's squares
    assert "Coordinates are rounded to 300 m." in page
    assert after["summary"]["cells_asked"] == before["summary"]["cells_asked"]


def test_a_true_place_ranks_as_it_did_though_its_square_ranks_better(tmp_path: Path) -> None:
    folder = write_telling(tmp_path / "a", imagery=False)
    options = Options(frozenset({"truth"}), rounding=read_rounding("300m"))
    share([folder], tmp_path / "out", options)
    before, after = record(folder), record(tmp_path / "out" / "answer-1")
    assert after["truth"]["percentile"] == before["truth"]["percentile"]
    assert after["truth"]["lat"] == round(after["truth"]["lat"], 3) != before["truth"]["lat"]


@pytest.mark.parametrize(
    ("text", "metres"), [("0.01", 1113.2), ("1km", 1000), ("500 m", 500), (".5°", 55660)]
)
def test_sizes_as_people_write_them(text: str, metres: float) -> None:
    found = read_rounding(text)
    assert found is not None
    assert found.metres == pytest.approx(metres)


@pytest.mark.parametrize("text", ["", "0", "-1", "1 mile", "nan", "1e9", "2000km", "1,5km"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--round"):
        read_rounding(text)


@pytest.mark.parametrize("text", ["101m", "1400m"])
def test_the_finest_and_the_coarsest_rounding(tmp_path: Path, text: str) -> None:
    folder = write_telling(tmp_path / "a", imagery=False)
    share([folder], tmp_path / "out", Options(rounding=read_rounding(text)))
    assert len(record(tmp_path / "out" / "answer-1")["candidates"]) == 3


def test_regions_that_are_left_out_are_named(place: Place, tmp_path: Path) -> None:
    photo = save(tmp_path / "p.jpg", 1)
    (answer,) = query_photos(place.cube, [photo], tmp_path / "a", regions=500).results
    assert answer.folder is not None and (answer.folder / "regions.tif").exists()
    share([answer.folder], tmp_path / "out", Options())
    assert "regions, their maps and their files" in (tmp_path / "out" / "SHARED.md").read_text()
    assert not list((tmp_path / "out").rglob("regions*"))


def test_unknown_words_are_refused() -> None:
    assert read_keep(["gps, time", "names"]) == {"gps", "time", "names"}
    assert read_keep(["paths"]) == {"paths", "names"}  # a path ends in a name
    with pytest.raises(UsageError, match="--keep all is unknown: choose from captions, senders"):
        Options(read_keep(["all"]))
    with pytest.raises(UsageError, match="--photo sharp"):
        Options(photo="sharp")  # type: ignore[arg-type]


def test_nothing_that_is_there_is_touched(answer: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "out/mine.txt", "link"):
        with pytest.raises(OutputError, match="exists already"):
            share([answer], tmp_path / name)
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "out"]


def test_an_empty_folder_may_be_filled(answer: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    share([answer], tmp_path / "out")
    assert (tmp_path / "out" / "SHARED.md").is_file()


def test_copies_are_as_the_umask_says(answer: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        share([answer], tmp_path / "out")
    finally:
        os.umask(before)
    found = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")}
    assert found == {0o755, 0o644}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_all_or_nothing(answer: Path, tmp_path: Path) -> None:
    """The second answer is damaged: the first is not left there."""
    bad = write_telling(tmp_path / "bad", imagery=False)
    (bad / "heatmap.tif").write_bytes(b"II*\0")
    with pytest.raises(UsageError, match=r"heatmap\.tif"):
        share([answer, bad], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_files_of_two_answers_are_no_answer(answer: Path, tmp_path: Path) -> None:
    heat = sample().heatmap.copy()
    heat[5, 8] += 1
    other = write_telling(tmp_path / "other", imagery=False, heatmap=heat)
    (other / "heatmap.tif").write_bytes((answer / "heatmap.tif").read_bytes())
    with pytest.raises(UsageError, match=r"heatmap\.tif is not the file that was written with"):
        share([other], tmp_path / "out")
    forget_digests(other)
    with pytest.raises(UsageError, match="is not the one recorded"):
        share([other], tmp_path / "out")


@pytest.mark.parametrize("what", ["nowhere", "empty", "text"])
def test_what_is_no_answer_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x")
    with pytest.raises(UsageError, match="has no answer"):
        share([tmp_path / what], tmp_path / "out")


def test_a_copy_can_be_neither_repeated_nor_shared(answer: Path, tmp_path: Path) -> None:
    share([answer], tmp_path / "out", Options(rounding=read_rounding("1km")))
    digest = hashlib.sha256((answer / "query.json").read_bytes()).hexdigest()
    for again in (
        lambda: repeat_query(tmp_path / "out" / "answer-1" / "query.json"),
        lambda: share([tmp_path / "out"], tmp_path / "second"),
    ):
        with pytest.raises(UsageError, match="is a shared copy of an answer") as refused:
            again()
        assert "lacks where the originals, the cube and the model are, the vector" in str(
            refused.value
        )
        assert digest in str(refused.value)


def test_a_rounding_that_rounds_nothing_is_refused(answer: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no coarser than the cells of \d+ m"):
        share([answer], tmp_path / "out", Options(rounding=read_rounding("1m")))
    assert not (tmp_path / "out").exists()


def test_a_rounding_that_is_wider_than_the_area_is_refused(answer: Path, tmp_path: Path) -> None:
    """The copy has the bounds of the area, so that it would not hide what it says it hides."""
    with pytest.raises(UsageError, match=r"--round 2 km is more than the width .*, 1400 m"):
        share([answer], tmp_path / "out", Options(rounding=read_rounding("2km")))
    assert not (tmp_path / "out").exists()


def test_that_nothing_is_known_of_how_much_to_search_stays(answer: Path, tmp_path: Path) -> None:
    shutil.copytree(answer, tmp_path / "a")
    name = record(answer)["model"]["name"]
    edit_record(tmp_path / "a", notes=[unmeasured(name), unmeasured("Olena's")])
    share([tmp_path / "a"], tmp_path / "out", Options())
    first, *others = record(tmp_path / "out" / "answer-1")["notes"]
    assert first == unmeasured(name)
    assert "A note of the original cannot be shared: ask for it before you rely on this." in others


def test_that_photos_asked_twice_stays(answer: Path, tmp_path: Path) -> None:
    """A reader who does not know takes the distances for the photo's own."""
    shutil.copytree(answer, tmp_path / "a")
    parameters = {**record(answer)["parameters"], "feedback": True}
    edit_record(tmp_path / "a", notes=[ASKED_ANEW], parameters=parameters)
    share([tmp_path / "a"], tmp_path / "out")
    told = record(tmp_path / "out" / "answer-1")
    assert told["parameters"]["feedback"] is True and told["notes"][0] == ASKED_ANEW
    assert len(told["notes"]) == 2 and "copy made for sharing" in told["notes"][1]
    assert "asked twice (feedback)" in (tmp_path / "out" / "answer-1" / "report.html").read_text()


def test_a_bulk_run_is_shared_whole(place: Place, tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / "in" / f"QX{number}.jpg", number)
    save(tmp_path / "in" / "below" / "QX3.jpg", 1)
    run_bulk(place.cube, tmp_path / "in", tmp_path / "bulk")
    count = len(list((tmp_path / "bulk").glob("*/*/query.json")))
    share([tmp_path / "bulk"], tmp_path / "with-paths", Options(read_keep(["paths"])))
    told = [record(folder)["photos"][0] for folder in (tmp_path / "with-paths").glob("answer-*")]
    names = {copy["file"] for photo in told for copy in photo.get("copies", [])}
    assert {"QX1.jpg", "below/QX3.jpg"} <= names
    shared = share([tmp_path / "bulk"], tmp_path / "out")
    assert len(shared.answers) == count >= 2
    assert holders(tmp_path / "out", "QX1") == []
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    for copy in shared.answers:
        assert f'<a href="{copy["folder"]}/report.html">' in page
        (best, *_) = record(tmp_path / "out" / copy["folder"])["candidates"]
        assert f"{best['lat']:.6f}, {best['lon']:.6f}" in page
    assert "default-src 'none'" in html.unescape(page) and "<script" not in page
    assert "QX1.jpg" in (tmp_path / "with-paths" / "index.html").read_text(encoding="utf-8")


def test_answers_of_queries_are_shared(place: Place, tmp_path: Path) -> None:
    """Of a photo and of a scene class; by the folder that holds both, each once."""
    out = tmp_path / "answers"
    query_photos(place.cube, [save(tmp_path / "QX.jpg", 1)], out)
    search_scene(place.cube, "beach", out)
    shared = share([out, out / "QX", out / "beach" / "query.json"], tmp_path / "out")
    assert sorted(one["title"] for one in shared.answers) == ["beach", "photo-1.jpg"]
    scene = share([out / "beach"], tmp_path / "scene")
    assert not [line for line in scene.statement.lines() if line.startswith("Photos")]
    names = {
        entry.filename
        for one in shared.answers
        for entry in zipfile.ZipFile(tmp_path / "out" / one["folder"] / "candidates.kmz").infolist()
    }
    assert names == {"doc.kml", "heatmap.png"}


def test_an_older_answer_without_places_is_shared(answer: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in answer.iterdir():
        (old / path.name).write_bytes(path.read_bytes())
    told = record(answer)
    for key in ("places", "truth", "match", "outputs"):
        told.pop(key)
    (old / "query.json").write_text(json.dumps(told))
    share([old], tmp_path / "out")
    assert record(tmp_path / "out" / "answer-1")["candidates"] == told["candidates"]


def test_an_older_answer_without_its_report_is_shared_without_pictures(tmp_path: Path) -> None:
    folder = write_telling(tmp_path / "a")
    (folder / "report.html").unlink()
    with pytest.raises(UsageError, match=r"report\.html is missing"):
        share([folder], tmp_path / "out")
    forget_digests(folder)
    share([folder], tmp_path / "out")
    assert len(pictures(tmp_path / "out")) == 3


def test_cells_that_were_not_searched_are_counted_alike(tmp_path: Path) -> None:
    asked = np.isfinite(sample().heatmap)
    asked[80:, :10] = True  # asked for, and missing
    folder = write_telling(
        tmp_path / "a", imagery=False, asked=asked, lacking={"without imagery": 100}
    )
    share([folder], tmp_path / "out")
    before, after = record(folder), record(tmp_path / "out" / "answer-1")
    assert after["summary"] == before["summary"]
    texts = [(path / "report.html").read_text() for path in (folder, tmp_path / "out" / "answer-1")]
    lacking = [text.split('"lacking":"')[1].split('"')[0] for text in texts]
    assert lacking[0] == lacking[1]


def test_the_command_says_what_it_did(answer: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["share", str(answer), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "Left out: texts of messages (3)." in done.output
    assert "They are NOT gone" in done.output
    told = CliRunner().invoke(
        app,
        ["share", str(answer), "--out", str(tmp_path / "b"), "--round", "1km", "--json",
         "--keep", "time,gps", "--photo", "omitted", "--no-imagery"],
    )  # fmt: skip
    assert json.loads(told.stdout)["kept"] == ["gps", "time"]
    assert json.loads(told.stdout)["rounded_to_m"] == 1000


def test_scenes_keep_their_numbers(answer: Path, tmp_path: Path) -> None:
    """How strongly both show a scene stands in the page alone, and is read from there."""
    share([answer], tmp_path / "out")
    page = (tmp_path / "out" / "answer-1" / "report.html").read_text(encoding="utf-8")
    assert 'title="photo +9.1, place +8.6">highway' in page
    assert set(record(tmp_path / "out" / "answer-1")["vector"]) == set(CLASSES)


def test_a_refusal_is_an_error_of_the_work() -> None:
    assert GeolocError.exit_code == 1
