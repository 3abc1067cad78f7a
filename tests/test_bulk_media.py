"""What a folder holds: kinds by content, and what is left out is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geoloc.bulk import run_bulk
from geoloc.bulk.media import find_media, kind_of, left_out_line
from geoloc.cli import app
from tests.bulk_place import Place
from tests.media import message, save, shot, video, write_export

TYPESCRIPT = "export const gravity: number = 9.81; // Ґ\n" * 200


def test_camcorder_files_are_videos_whatever_they_are_called(tmp_path: Path) -> None:
    stream = video(tmp_path / "v.ts", shot(1, 8), codec="mpeg2video")
    other = video(tmp_path / "w.avi", shot(2, 8))
    names = ["00001.MTS", "00002.m2ts", "MOV001.MOD", "M2U00001.TOD", "noname", "x.dat"]
    for name in names:
        shutil.copy(stream, tmp_path / name)
    shutil.copy(other, tmp_path / "clip.bin")
    found = {m.name: m.kind for m in find_media(tmp_path).media}
    assert found == dict.fromkeys([*names, "v.ts", "w.avi", "clip.bin"], "video")


@pytest.mark.parametrize("name", ["app.ts", "module.mts", "fortran.mod", "empty.ts"])
def test_source_text_is_no_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("" if "empty" in name else TYPESCRIPT, encoding="utf-8")
    found = find_media(tmp_path)
    assert (found.media, found.failures, found.left_out) == ([], {}, {Path(name).suffix: 1})


def test_a_damaged_stream_is_told_as_a_video(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_bytes(bytes(range(256)) * 20)
    assert kind_of(tmp_path / "a.ts") == "video"


def test_photos_that_cannot_be_read_are_told_by_name(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "a.jpg", 1)
    (folder / "photo.jxl").write_bytes(b"\xff\x0a" + bytes(200))
    (folder / "named wrong.jpg").write_bytes(b"\xff\x0a" + bytes(200))
    (folder / "IMG_1.CR3").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200))
    (folder / "IMG_2.NEF").write_bytes(b"MM\x00*" + bytes(300))
    (folder / "chat.zip").write_bytes(b"PK\x03\x04" + bytes(300))
    report = run_bulk(place.cube, folder, tmp_path / "out", top=1)
    assert report.answered == 1
    assert list(report.failures) == [
        "IMG_1.CR3", "IMG_2.NEF", "chat.zip", "named wrong.jpg", "photo.jxl",
    ]  # fmt: skip
    assert "unpack it here" in report.failures["chat.zip"]
    failures = (tmp_path / "out" / "failures.csv").read_text()
    assert all(name in failures for name in report.failures)


def test_what_is_left_out_is_told_without_json(place: Place, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    save(folder / "photos" / "a.jpg", 1)
    save(folder / "stickers" / "s.webp", 2)
    for name in ("a.txt", "b.TXT", "c.pdf", "Makefile", ".DS_Store"):
        (folder / name).write_text("x")
    write_export(folder, [message(1, photo="photos/a.jpg"),
                          message(2, file="stickers/s.webp", media_type="sticker")])  # fmt: skip
    args = ["bulk", str(place.cube), str(folder), "--out", str(out)]
    line = (
        "6 other files left out (.txt 2, .pdf 1, hidden 1, no suffix 1, "
        "stickers, sound and thumbnails of chats 1)"
    )
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert line in " ".join(done.output.split())
    assert line in (out / "index.html").read_text()
    done = CliRunner().invoke(app, [*args, "--json"])
    assert done.exit_code == 0, (done.exception, done.output)
    told = json.loads(done.stdout)
    assert told["left_out"] == {
        ".txt": 2, ".pdf": 1, "hidden": 1, "no suffix": 1,
        "stickers, sound and thumbnails of chats": 1,
    }  # fmt: skip
    assert told["notes"] == [line]


def test_that_nothing_is_left_out_is_told_too() -> None:
    assert left_out_line({}) == "no other files: nothing is left out"
    assert left_out_line({".aae": 1}) == "1 other file left out (.aae 1)"


def test_a_chat_under_another_name_is_told(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.jpg", 1)
    write_export(tmp_path, [message(1, photo="photos/a.jpg")])
    (tmp_path / "result.json").rename(tmp_path / "result (1).json")
    (tmp_path / "settings.json").write_text(json.dumps({"type": "x", "messages of": []}))
    found = find_media(tmp_path)
    (reason,) = found.failures.values()
    assert reason == "seems to be a chat under another name: call it result.json, beside its files"
    assert list(found.failures) == ["result (1).json"] and found.left_out == {".json": 2}
    (tmp_path / "result (1).json").rename(tmp_path / "result.json")
    assert find_media(tmp_path).failures == {}
