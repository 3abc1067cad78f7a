"""Whole folders put to a small cube: chats, videos, duplicates, broken files, reruns."""

from __future__ import annotations

import csv
import ctypes
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from geoloc.bulk import BulkReport, run_bulk
from geoloc.bulk import search as search_module
from geoloc.bulk.media import find_media, kind_of
from geoloc.bulk.pictures import Cluster, Picture, propose_clusters, same_place
from geoloc.cli import app
from geoloc.errors import GeolocError, OutputError, UsageError
from geoloc.photos.likeness import Seen, Signature
from geoloc.query import query_photos, repeat_query
from tests.bulk_place import Place
from tests.encoder_models import CLASSES
from tests.media import BROKEN, message, picture, save, shot, video, write_export
from tests.small_place import write_place

NOT_INCLUDED = "(File not included. Change data exporting settings to download.)"


@pytest.fixture
def plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record alone of each answer: the pictures of 200 reports take a minute to draw."""
    from geoloc.report.evidence import write_evidence

    def write(result: Any, out: Path, *_: Any, **__: Any) -> Path:
        out.mkdir(parents=True, exist_ok=True)
        write_evidence(result, out / "query.json")
        return out

    monkeypatch.setattr(search_module, "write_report", write)


def write_chat(folder: Path) -> Path:
    """A chat with a photo, the same again (smaller), a video, and what cannot be had."""
    save(folder / "photos" / "photo_1.jpg", 1, quality=90)
    Image.fromarray(picture(1)).resize((80, 60)).save(folder / "photos" / "photo_2.jpg", quality=60)
    video(folder / "video_files" / "v.mp4", [*shot(11, 12), *shot(12, 12)])
    save(folder / "video_files" / "v.mp4_thumb.jpg", 99)
    write_export(folder, [
        message(1, photo="photos/photo_1.jpg", text=["at the ", {"type": "bold", "text": "bridge"}],
                date_unixtime="1750000000"),
        message(2, photo="photos/photo_2.jpg", **{"from": "Taras"}),
        message(3, file="video_files/v.mp4", thumbnail="video_files/v.mp4_thumb.jpg",
                media_type="video_file", mime_type="video/mp4"),
        message(4, photo=NOT_INCLUDED), message(5, photo="../../outside.jpg"),
        message(6, location_information={"latitude": 50.45, "longitude": 30.52}),
    ])  # fmt: skip
    return folder


def failures_of(out: Path) -> dict[str, str]:
    with (out / "failures.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def stamps(out: Path) -> dict[str, int]:
    return {
        str(p.relative_to(out)): p.stat().st_mtime_ns
        for p in out.rglob("*")
        if p.is_file() and "sqlite" not in p.name
    }


def test_a_chat_is_answered_with_its_evidence(place: Place, tmp_path: Path) -> None:
    chat, out = write_chat(tmp_path / "chat"), tmp_path / "out"
    save(chat / "more" / "photo_1.png", 4)
    shutil.copy(chat / "more" / "photo_1.png", chat / "more" / "copy.png")
    before = originals(chat)
    report = run_bulk(place.cube, chat, out, top=3, radius=20)
    assert originals(chat) == before
    assert (report.pictures, report.duplicates, report.kept) == (4, 2, 0)
    assert report.answered == report.pictures + report.clusters
    assert set(failures_of(out)) == {f"result.json: message {n} of Watch" for n in (4, 5)}
    record = json.loads((out / "items" / "photo_1" / "query.json").read_text())
    (told,) = record["photos"]
    assert [m["text"] for m in told["messages"] if "text" in m] == ["at the bridge"]
    assert [m["from"] for m in told["messages"]] == ["Olena", "Taras"]
    assert len(told["sha256"]) == len(told["pixels_sha256"]) == 64
    frames = sorted(p.name for p in (out / "items").iterdir() if p.name.startswith("v "))
    assert frames[0] == "v 0.00 s"
    shown = json.loads((out / "items" / frames[1] / "query.json").read_text())["photos"][0]
    assert shown["frame"]["time"] == pytest.approx(1.2, abs=0.21)
    assert shown["messages"][0]["id"] == 3
    rows = pq.read_table(out / "results.parquet").to_pylist()
    assert {r["file"]: r["how"] for r in rows if r["file"].endswith("png")} == {
        "more/copy.png": "original", "more/photo_1.png": "same bytes",
    }  # fmt: skip
    assert [r["how"] for r in rows if r["file"] == "photos/photo_2.jpg"] == ["looks the same"]
    assert all(len(r["vector"]) == len(CLASSES) for r in rows)
    frame = geopandas.read_file(out / "results.geojson")
    assert frame.crs.to_epsg() == 4326
    sent = frame[frame["kind"] == "sent in chat"]
    assert [(point.x, point.y) for point in sent.geometry] == [(30.52, 50.45)]
    best = frame[(frame["kind"] == "item") & (frame["rank"] == 1)]
    assert len(best) == report.pictures
    assert sorted(best.geometry.x) == sorted({r["item"]: r["lon"] for r in rows}.values())


def test_a_rerun_does_nothing_and_new_files_are_added(place: Place, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "in" / "answers"
    for seed in (1, 2):
        save(folder / f"{seed}.jpg", seed)
    assert run_bulk(place.cube, folder, out, top=2).answered == 2
    before = stamps(out)
    again = run_bulk(place.cube, folder, out, top=2)
    assert (again.answered, again.kept, again.files) == (0, 2, 2)
    assert stamps(out) == before
    save(folder / "sub" / "3.jpg", 3)
    more = run_bulk(place.cube, folder, out, top=2)
    assert (more.answered, more.kept) == (1, 2)
    assert stamps(out)["items/1/query.json"] == before["items/1/query.json"]
    other = run_bulk(place.cube, folder, out, top=1)
    assert other.answered == 3  # another question, the same vectors
    assert not any("asked twice" in note for note in other.notes)
    anew = run_bulk(place.cube, folder, out, top=1, feedback=True)
    assert anew.answered == 3 and "asked twice (feedback)" in anew.notes[-1]
    assert anew.notes[-1] in anew.index.read_text()
    assert run_bulk(place.cube, folder, out, top=1).answered == 3
    shutil.rmtree(out / "items" / "2")
    lost = run_bulk(place.cube, folder, out, top=1)
    assert (lost.failures, lost.answered) == ({}, 1)


@pytest.mark.parametrize("size", [0, 300])
def test_torn_files_of_an_answer_are_made_again(place: Place, tmp_path: Path, size: int) -> None:
    save(tmp_path / "in" / "a.jpg", 1)
    out = tmp_path / "out"
    run_bulk(place.cube, tmp_path / "in", out, top=1)
    for path in (out / "items" / "a").iterdir():
        path.write_bytes(path.read_bytes()[:size])
    (out / "items" / "a" / "query.json").unlink()
    report = run_bulk(place.cube, tmp_path / "in", out, top=1)
    assert (report.answered, report.failures) == (1, {})
    with Image.open(out / "items" / "a" / "photo.jpg") as preview:
        assert preview.size == (96, 72)


def test_an_interrupted_run_goes_on(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for seed in range(5):
        save(folder / f"{seed}.jpg", seed)
    real = search_module.write_report

    def stop(*args: Any, **options: Any) -> Path:
        if args[1].name == "2":
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(search_module, "write_report", stop)
    with pytest.raises(KeyboardInterrupt):
        run_bulk(place.cube, folder, out, top=1)
    monkeypatch.setattr(search_module, "write_report", real)
    report = run_bulk(place.cube, folder, out, top=1)
    assert (report.kept, report.answered) == (2, 3)


GOOD = ("jpg", "png", "webp", "tif", "bmp", "heic", "avif", "gif", "jpeg", "mp4", "mov", "webm",
        "mkv", "jpg", "png", "webp")  # fmt: skip


def write_good(path: Path, seed: int) -> None:
    if path.suffix in (".mp4", ".mov", ".webm", ".mkv"):
        codec = "libvpx" if path.suffix == ".webm" else "mpeg4"
        video(path, shot(1000 + seed, 4), codec=codec)
    else:
        save(path, seed)


GOOD_FILES = 3 * len(GOOD)


def write_mixture(folder: Path) -> set[str]:
    """108 files of which 60 are broken, in thirty ways; the names of the broken ones."""
    for n in range(GOOD_FILES):
        write_good(folder / f"good {n % 5}" / f"{n:03d}.{GOOD[n % len(GOOD)]}", n)
    (folder / "good 1" / "001.png").rename(folder / "good 1" / "001.jpg")  # a wrong name
    bad = set()
    for part, (name, (write, _)) in itertools.product(("bad", "more/bad"), BROKEN.items()):
        (folder / part).mkdir(parents=True, exist_ok=True)
        write(folder / part / name)
        bad.add(f"{part}/{name}")
    return bad


KILLED = """
import os, signal, sys, threading
from geoloc.bulk import search
from geoloc.cli import main
real, left, lock = search.write_report, [int(sys.argv.pop(1))], threading.Lock()
def killed(*args, **options):
    with lock:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)
search.write_report = killed
main()
"""


def command(*args: object, program: Sequence[str] = ("-m", "geoloc")) -> subprocess.Popen[str]:
    """The command line as a user without rights over others' files runs it."""
    libc = ctypes.CDLL(None)

    def give_up_rights() -> None:
        for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; prctl 24: PR_CAPBSET_DROP
            libc.prctl(24, right, 0, 0, 0)

    return subprocess.Popen(
        [sys.executable, *program, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=give_up_rights,
    )


def succeed(*args: object) -> str:
    """What a run of the command printed, of whatever kind."""
    process = command(*args)
    printed, told = process.communicate(timeout=1800)
    assert process.returncode == 0, told
    assert "Traceback" not in printed + told
    return printed or told


def originals(folder: Path) -> dict[str, tuple[str, int]]:
    """SHA-256 and time of change of every file."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_a_chat_and_a_hundred_files_by_the_command(tmp_path: Path) -> None:
    """All good ones are answered, all bad ones are told, whatever is killed in between."""
    folder, out = tmp_path / "in", tmp_path / "out"
    area = write_place(tmp_path / "world", ny=40, nx=45, step=16).area
    write_chat(folder / "chat")
    succeed("cube", "build", area)
    bad = write_mixture(folder)
    write_export(folder / "other chat", [])
    (folder / "other chat" / "result.json").write_text('{"messages": [')
    before = originals(folder)

    killed = command(25, "bulk", area, folder, "--out", out, program=("-c", KILLED))
    _, said = killed.communicate(timeout=900)
    assert killed.returncode == -signal.SIGKILL, said
    told = json.loads(succeed("bulk", area, folder, "--out", out, "--json"))

    assert 8 <= told["kept"] < 25  # up to 16 are written, or wait to be recorded, at a time
    failed = failures_of(out)
    assert bad <= set(failed)
    for name in bad:
        assert BROKEN[name.rpartition("/")[2]][1] in failed[name], (name, failed[name])
        assert len(failed[name]) > 10
    rest = {name: reason for name, reason in failed.items() if name not in bad}
    assert sorted(name.partition(" of ")[0] for name in rest) == [
        "chat/result.json: message 4", "chat/result.json: message 5", "other chat/result.json",
    ]  # fmt: skip
    assert not any("Error" in reason or "\n" in reason for reason in failed.values())
    table = pq.read_table(out / "results.parquet").to_pylist()
    media = {path.relative_to(folder).as_posix() for path in folder.glob("good */*")}
    media |= {path.relative_to(folder).as_posix() for path in folder.glob("chat/*/*.[jm]p[g4]")}
    media = {name for name in media if not name.endswith("_thumb.jpg")}
    assert {row["file"] for row in table} == media
    assert len(media) == GOOD_FILES + 3
    for row in table:
        answer = (out / row["report"]).parent
        assert {p.name for p in answer.iterdir()} == {
            "candidates.csv", "candidates.geojson", "candidates.kml", "candidates.kmz",
            "heatmap.png", "heatmap.qml", "heatmap.tif", "heatmap_colors.tif", "photo.jpg",
            "query.json", "report.html", "heatmap-small.png", "thumb.jpg",
        }  # fmt: skip
    assert originals(folder) == before

    marks = stamps(out)
    assert "nothing new" in succeed("bulk", area, folder, "--out", out)
    assert stamps(out) == marks
    frame = sorted(out.glob("items/v */query.json"))[-1]
    record = json.loads(frame.read_text())["photos"][0]
    assert (record["frame"]["time"] > 0, record["messages"][0]["chat"]) == (True, "Watch")
    assert "reproduced" in succeed("repeat", frame)


def test_the_command_line_tells_how_it_went(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "a.jpg", 1)
    (folder / "b.jpg").write_text("no photo")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "out.jpg").symlink_to("/etc/hostname")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    args = ["bulk", str(place.cube), str(folder), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["answered"], sorted(told["failures"])) == (
        1, ["b.jpg", "gone.jpg", "out.jpg", "pipe.jpg"],
    )  # fmt: skip
    (folder / "a.jpg").unlink()
    done = CliRunner().invoke(app, [*args[:4], str(tmp_path / "none")])
    assert isinstance(done.exception, GeolocError)
    assert "none of 3 files" in str(done.exception)
    assert (tmp_path / "none" / "failures.csv").is_file()
    for empty in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(UsageError):
            run_bulk(place.cube, empty, tmp_path / "out")
        (tmp_path / "empty").mkdir(exist_ok=True)


def test_two_runs_do_not_meet(place: Place, tmp_path: Path) -> None:
    from geoloc.bulk.store import Store

    save(tmp_path / "in" / "a.jpg", 1)
    (tmp_path / "out").mkdir()
    busy = Store(tmp_path / "out", "other", "any")
    with pytest.raises(OutputError, match="another bulk run"):
        run_bulk(place.cube, tmp_path / "in", tmp_path / "out")
    busy.close()
    progress = tmp_path / "out" / "progress.sqlite"
    with progress.open("rb") as begun:  # and has not come to the database yet
        fcntl.flock(begun, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another bulk run"):
            run_bulk(place.cube, tmp_path / "in", tmp_path / "out")
    progress.write_bytes(b"no database" * 200)
    with pytest.raises(OutputError, match="damaged"):
        run_bulk(place.cube, tmp_path / "in", tmp_path / "out")


def test_kinds_are_told_by_name_and_by_content(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", 1).rename(tmp_path / "no_suffix")
    video(tmp_path / "v.mp4", shot(1, 3)).rename(tmp_path / "v.bin")
    (tmp_path / "t.txt").write_text("x")
    (tmp_path / ".hidden.jpg").write_text("x")
    assert kind_of(tmp_path / "no_suffix") == "photo"
    assert kind_of(tmp_path / "v.bin") == "video"
    found = find_media(tmp_path)
    assert ([m.name for m in found.media], found.ignored) == (["no_suffix", "v.bin"], 2)


def test_the_same_picture_is_known_again_and_others_are_not() -> None:
    seen = Seen()
    for seed in range(100):
        signature = Signature.of(picture(seed))
        assert seen.find(signature) is None
        seen.add(seed, signature)
    image = Image.fromarray(picture(42)).resize((61, 47))
    assert seen.find(Signature.of(np.asarray(image))) == 42
    black, white = (np.full((50, 60, 3), level, np.uint8) for level in (0, 255))
    seen.add(100, Signature.of(black))
    assert seen.find(Signature.of(white)) is None


def pictures() -> Iterator[Picture]:
    a, b = np.random.default_rng(1).normal(0, 3, (2, 30)).astype(np.float32)
    near = a + np.float32(0.1)
    views = [Signature.of(picture(seed)) for seed in range(9)]
    yield Picture(0, a, views[0], video="v", second=1)
    yield Picture(1, near, views[1], video="v", second=9)
    yield Picture(2, near, views[2], video="v", second=90)  # much later
    yield Picture(3, b, views[3], video="v", second=5)  # another scene
    yield Picture(4, a, views[4], taken=1000)
    yield Picture(5, a, views[5], taken=1500)
    yield Picture(6, a, views[6], posted=("chat", 1000))
    yield Picture(7, a, views[7], posted=("other", 1000))
    yield Picture(8, a, views[7], posted=("third", 9000))


def test_clusters_are_near_in_time_and_alike() -> None:
    clusters = propose_clusters(list(pictures()))
    assert [c.members for c in clusters] == [(0, 1), (4, 5), (7, 8)]
    assert clusters[0].reasons == ("frames of one video within 20 s",)
    assert clusters[2].reasons == ("alike in composition",)


def many_pictures(count: int) -> list[Picture]:
    """Scenes, videos, cameras and senders that repeat, some vectors without any contrast."""
    rng = np.random.default_rng(5)
    scenes = rng.normal(0, 3, (count // 9, 30))
    views = rng.integers(0, 256, (count // 3, 32), dtype=np.uint8)
    color, found = np.zeros((8, 8, 3), np.uint8), []
    for n in range(count):
        vector = scenes[rng.integers(len(scenes))] + rng.normal(0, 1, 30) * (n % 50 > 0)
        told: dict[str, Any] = [
            {"video": f"v{rng.integers(9)}", "second": float(rng.uniform(0, 90))},
            {"taken": float(rng.uniform(0, 9000))},
            {"posted": (f"chat {rng.integers(4)}", float(rng.uniform(0, 9000)))},
            {},
        ][rng.integers(4)]
        noise = np.packbits(rng.random(256) < 0.15)
        view = Signature(views[rng.integers(len(views))] ^ noise, color)
        vector = vector if n % 40 else np.full(30, 2.5)
        found.append(Picture(n, vector.astype(np.float32), view, **told))
    return found


def plain_clusters(pictures: list[Picture]) -> list[Cluster]:
    """Every picture compared with every leader before it."""
    led: list[tuple[Picture, list[int], dict[str, None]]] = []
    for one in pictures:
        for leader, members, reasons in led:
            if reason := same_place(leader, one):
                members.append(one.number)
                reasons[reason] = None
                break
        else:
            led.append((one, [one.number], {}))
    return [Cluster(tuple(members), tuple(reasons)) for _, members, reasons in led if reasons]


def test_clusters_are_those_of_the_plain_comparison() -> None:
    pictures = many_pictures(700)
    clusters = propose_clusters(pictures)
    assert clusters == plain_clusters(pictures)
    assert len({reason for cluster in clusters for reason in cluster.reasons}) == 4
    assert propose_clusters([]) == []


@pytest.mark.usefixtures("plain_report")
def test_many_passes_give_what_one_gives(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6):
        save(tmp_path / "in" / f"{seed}.jpg", seed)

    def run(name: str) -> tuple[BulkReport, list[Any]]:
        report = run_bulk(place.cube, tmp_path / "in", tmp_path / name, top=3, radius=20)
        table = pq.read_table(tmp_path / name / "results.parquet")
        return report, table.column("distance").to_pylist()

    one, distances = run("one")
    monkeypatch.setattr(search_module, "PASS_PHOTOS", 2)
    many, others = run("many")
    assert one.answered == many.answered
    assert distances == pytest.approx(others, rel=1e-5)


def test_an_answer_is_repeated(place: Place, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for seed in range(5):
        save(folder / f"{seed}.jpg", seed)
    video(folder / "v.mp4", [*shot(11, 12), *shot(12, 12)])
    run_bulk(place.cube, folder, out, top=3, radius=20)
    records = sorted(out.rglob("query.json"))
    assert len(records) >= 7
    for record in records:
        repetition = repeat_query(record)
        assert repetition.same, (record, repetition)
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="--media"):
        repeat_query(records[0])
    assert repeat_query(records[0], media=moved).same
    save(moved / "0.jpg", 77)
    with pytest.raises(UsageError, match="SHA-256"):
        repeat_query(out / "items" / "0" / "query.json", media=moved)


def test_a_query_of_crops_is_repeated_exactly(place: Place, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.jpg", 5)
    answers = query_photos(
        place.cube, [photo], tmp_path / "out", top=3, radius=20,
        crops=[(0, 0, 50, 40), (20, 10, 90, 70)], rotate=-7.5,
    )  # fmt: skip
    assert [r.title for r in answers.results] == [
        "a.jpg · crop 0,0,50,40", "a.jpg · crop 20,10,90,70",
    ]  # fmt: skip
    path = tmp_path / "out" / "a crop 0,0,50,40" / "query.json"
    told = json.loads(path.read_text())["photos"][0]
    assert (told["crop"], told["rotate"]) == ([0, 0, 50, 40], -7.5)
    assert repeat_query(path).same
    whole = query_photos(place.cube, [photo], tmp_path / "whole", top=3)
    assert repeat_query(tmp_path / "whole" / "a" / "query.json").exact
    assert not np.allclose(whole.results[0].vector, answers.results[0].vector)
    record = json.loads(path.read_text())
    record["candidates"][0]["lon"] += 1
    path.write_text(json.dumps(record))
    done = CliRunner().invoke(app, ["repeat", str(path)])
    assert done.exit_code == 1
    assert not repeat_query(path).same
    with pytest.raises(UsageError, match="is outside"):
        query_photos(place.cube, [photo], tmp_path / "x", crops=[(0, 0, 5000, 10)])


def test_odd_names_and_messages_stop_nothing(place: Place, tmp_path: Path) -> None:
    folder, out, half = tmp_path / "in", tmp_path / "out", "\ud800"
    names = [os.fsdecode(name) for name in (b"a\xff.jpg", b"a\xfe.jpg", rb"a\udcff.jpg")]
    for seed, name in enumerate([*names, "ok.jpg", "漢" * 83 + ".jpg"]):
        save(folder / "a.jpg", seed).rename(folder / name)
    video(folder / "v.mp4", shot(11, 12)).rename(folder / ("漢" * 83 + ".mp4"))
    (folder / os.fsdecode(b"bad\xff.jpg")).write_text("no photo")
    save(folder / "p.jpg", 9)
    (folder / "result.json").write_text(json.dumps({"name": half, "messages": [
        message(2**70, photo="p.jpg", text=half),
        message(-1, text=half, location_information={"latitude": 50.4, "longitude": 30.5}),
    ]}))  # fmt: skip
    report = run_bulk(place.cube, folder, out, top=2, radius=20)
    assert (report.pictures, report.unanswered) == (7, 0)
    assert list(report.failures) == [r"bad\udcff.jpg"]
    rows = {row["file"]: row for row in pq.read_table(out / "results.parquet").to_pylist()}
    assert {r"a\udcff.jpg", r"a\udcfe.jpg", r"a\u005cudcff.jpg"} <= rows.keys()
    assert (rows["p.jpg"]["message_id"], rows["p.jpg"]["text"]) == (0, r"\ud800")
    assert "sent in chat" in (out / "results.geojson").read_text(encoding="utf-8")
    assert r"a\udcff.jpg" in (out / "index.html").read_text(encoding="utf-8")
    again = run_bulk(place.cube, folder, out, top=2, radius=20)
    assert (again.answered, again.kept) == (0, report.answered)
    records = sorted(out.rglob("query.json"))
    assert len(records) == report.answered
    assert all(repeat_query(record).same for record in records)
    shutil.rmtree(out / "items")  # previews are made again from the originals
    assert run_bulk(place.cube, folder, out, top=2, radius=20).answered == report.answered


def test_a_query_of_odd_names_is_answered(place: Place, tmp_path: Path) -> None:
    names = [os.fsdecode(b"a\xff.jpg"), os.fsdecode(b"a\xfe.jpg"), "漢" * 83 + ".jpg"]
    photos = [save(tmp_path / "a.jpg", n).rename(tmp_path / name) for n, name in enumerate(names)]
    bad = tmp_path / os.fsdecode(b"bad\xff.jpg")
    bad.write_text("no photo")
    args = ["--out", str(tmp_path / "out"), "--crop", "10,10,90,60", "--json"]
    with pytest.raises(GeolocError, match="not a photo"):
        CliRunner().invoke(
            app, ["query", str(place.cube), *map(str, [*photos, bad]), *args],
            catch_exceptions=False,
        )  # fmt: skip
    records = sorted((tmp_path / "out").glob("*/query.json"))
    assert len(records) == 3
    told = [json.loads(record.read_text(encoding="utf-8"))["photos"][0] for record in records]
    assert {one["file"] for one in told} == {r"a\udcff.jpg", r"a\udcfe.jpg", names[2]}
    assert all(repeat_query(record).same for record in records)


def test_a_picture_that_cannot_be_written_costs_only_itself(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        save(tmp_path / "in" / f"{seed}.jpg", seed)
    real = search_module.write_report

    def fail(*args: Any, **options: Any) -> Path:
        if args[1].name == "1":
            "\ud800".encode()
        return real(*args, **options)

    monkeypatch.setattr(search_module, "write_report", fail)
    report = run_bulk(place.cube, tmp_path / "in", tmp_path / "out", top=1)
    assert (report.answered, report.unanswered) == (2, 1)
    assert "surrogates not allowed" in report.failures["items/1"]


def test_answers_are_not_asked_about(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for seed in (1, 2):
        save(folder / f"{seed}.jpg", seed)
    (tmp_path / "link").symlink_to(folder)
    for same in (folder, folder / ".", tmp_path / "link"):
        with pytest.raises(UsageError, match="give --out beside it or in a folder of its own"):
            run_bulk(place.cube, folder, same, top=1)
    assert sorted(p.name for p in folder.iterdir()) == ["1.jpg", "2.jpg"]
    assert run_bulk(place.cube, folder, folder / "a", top=1).files == 2
    assert run_bulk(place.cube, folder, folder / "sub" / "b", top=1).files == 2
    save(folder / "a" / "items" / "new.jpg", 3)
    assert [m.name for m in find_media(folder).media] == ["1.jpg", "2.jpg"]
    # what is named itself is looked through, but for the answers in it
    save(folder / "a" / "4.jpg", 4)
    assert [m.name for m in find_media(folder / "a").media] == ["4.jpg"]


def test_originals_beside_the_answers_of_another_run_are_asked_about(
    place: Place, tmp_path: Path
) -> None:
    save(tmp_path / "evidence" / "photos" / "a.jpg", 1)
    save(tmp_path / "evidence" / "items" / "photos" / "b.jpg", 2)  # before there were answers
    run_bulk(place.cube, tmp_path / "evidence" / "photos", tmp_path / "evidence", top=1)
    query_photos(place.cube, [tmp_path / "evidence/photos/a.jpg"], tmp_path / "one by one", top=1)
    found = find_media(tmp_path)
    assert [m.name for m in found.media] == ["evidence/photos/a.jpg"]


def test_a_folder_that_may_not_be_read_is_told(place: Place, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.jpg", 1)
    closed = {tmp_path / "in" / f"closed {mode:o}": mode for mode in (0o000, 0o444)}
    for folder, mode in closed.items():
        save(folder / "b.jpg", 2)
        folder.chmod(mode)
    try:
        told = json.loads(
            succeed("bulk", place.cube, tmp_path / "in", "--out", tmp_path / "out", "--json")
        )
    finally:
        for folder in closed:
            folder.chmod(0o755)
    assert (told["answered"], told["unanswered"]) == (1, 0)
    for folder in closed:
        assert any(name.startswith(folder.name) for name in failures_of(tmp_path / "out"))


def test_links_to_folders_are_told(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.jpg", 1)
    save(tmp_path / "in" / "b.jpg", 2)
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    found = find_media(tmp_path / "in")
    assert [m.name for m in found.media] == ["b.jpg"]
    assert "link to a folder" in found.failures["linked"]


def test_what_a_chat_brought_is_found_though_hidden(tmp_path: Path) -> None:
    names = ["photos/.hidden.jpg", ".photos/a.jpg", "photos/b.jpg"]
    for seed, name in enumerate(names):
        save(tmp_path / name, seed)
    save(tmp_path / ".photos" / "nobody's.jpg", 7)
    save(tmp_path / "photos" / ".nobody's.jpg", 8)
    write_export(tmp_path, [message(n, photo=name) for n, name in enumerate(names)])
    found = find_media(tmp_path)
    assert {m.name: m.messages[0].id for m in found.media} == {n: i for i, n in enumerate(names)}
    assert (found.ignored, found.failures) == (2, {})  # result.json and the hidden one


def test_stickers_and_sound_are_no_places(tmp_path: Path) -> None:
    for seed, name in enumerate(["stickers/st.webp", "files/sent.jpg", "stickers/both.webp"]):
        save(tmp_path / name, seed)
    video(tmp_path / "voice_messages" / "v.mp4", shot(1, 3))
    write_export(tmp_path, [
        message(1, file="stickers/st.webp", media_type="sticker", mime_type="image/webp"),
        message(2, file="voice_messages/v.mp4", media_type="voice_message"),
        message(3, file="files/sent.jpg", mime_type="application/octet-stream"),
        message(4, file="stickers/both.webp", media_type="sticker", mime_type="image/webp"),
        message(5, photo="stickers/both.webp"),
    ])  # fmt: skip
    found = find_media(tmp_path)
    assert [m.name for m in found.media] == ["files/sent.jpg", "stickers/both.webp"]
    assert found.failures == {}


def test_a_missing_answer_fails_the_command(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for seed in (1, 2):
        save(tmp_path / "in" / f"{seed}.jpg", seed)
    args = ["bulk", str(place.cube), str(tmp_path / "in"), "--out", str(out), "--json"]
    assert CliRunner().invoke(app, args).exit_code == 0
    (out / "items" / "1" / "query.json").unlink()
    (out / "items" / "1" / "query.json").mkdir()
    done = CliRunner().invoke(app, args)
    told = json.loads(done.stdout)
    assert (told["kept"], told["unanswered"], list(told["failures"])) == (1, 1, ["items/1"])
    assert isinstance(done.exception, GeolocError)
    assert "1 of 2 answers are missing" in str(done.exception)
    assert (out / "index.html").is_file()
    (out / "items" / "1" / "query.json").rmdir()
    done = CliRunner().invoke(app, args)
    assert (done.exit_code, json.loads(done.stdout)["unanswered"]) == (0, 0)
