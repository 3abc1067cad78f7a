"""The chat export: its shape, its files, and that everything in it resolves."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from geoloc.sandbox.telegram import NOT_INCLUDED, write_telegram
from tests.test_sandbox_photos import Hamlet

SMALL = (320, 240)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat") / "telegram"
    told: list[tuple[float, int]] = []
    path = write_telegram(
        Hamlet(), folder, seed=1, size=SMALL, progress=lambda *now: told.append(now)
    )
    assert path == folder / "result.json"
    assert told == [(n, 4) for n in range(5)]  # three photos and a video
    return folder


def messages(export: Path) -> list[dict[str, Any]]:
    chat = json.loads((export / "result.json").read_text(encoding="utf-8"))
    assert {"name", "type", "id", "messages"} == set(chat)
    return list(chat["messages"])


def test_it_holds_what_a_reader_must_bear(export: Path) -> None:
    chat = messages(export)
    assert [message["id"] for message in chat] == list(range(1, len(chat) + 1))
    assert {message["type"] for message in chat} == {"message", "service"}
    assert {type(message["text"]) for message in chat} == {str, list}
    assert any(message.get("photo") == NOT_INCLUDED for message in chat)
    assert any(message.get("file") == NOT_INCLUDED for message in chat)
    assert sum("location_information" in message for message in chat) == 1
    assert all(message["date_unixtime"].isdigit() for message in chat)


def test_every_file_named_is_there_and_no_other(export: Path) -> None:
    named = {message[key] for message in messages(export)
             for key in ("photo", "file", "thumbnail")
             if message.get(key, NOT_INCLUDED) != NOT_INCLUDED}  # fmt: skip
    there = {path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()}
    assert named == there - {"result.json", "truth.csv"}
    for message in messages(export):
        if message.get("photo", NOT_INCLUDED) != NOT_INCLUDED:
            with Image.open(export / message["photo"]) as image:
                assert image.size == (message["width"], message["height"])
                assert not image.getexif()
    with (export / "truth.csv").open(encoding="utf-8") as file:
        assert {row["file"] for row in csv.DictReader(file)} <= named


def test_one_picture_is_posted_twice_in_other_bytes(export: Path) -> None:
    names = [m["photo"] for m in messages(export) if m.get("photo", NOT_INCLUDED) != NOT_INCLUDED]
    first, again = export / names[0], export / names[-1]
    assert first.read_bytes() != again.read_bytes()
    small = [np.asarray(Image.open(path).convert("L").resize((32, 32)), float)
             for path in (first, again)]  # fmt: skip
    assert np.abs(small[0] - small[1]).mean() < 4


def test_the_video_plays_and_moves(export: Path) -> None:
    message = next(m for m in messages(export) if m.get("mime_type") == "video/mp4"
                   and m["file"] != NOT_INCLUDED)  # fmt: skip
    with av.open(str(export / message["file"])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        seconds = container.duration / 1e6
    assert frames[0].shape == (270, 480, 3)
    assert 3 <= seconds <= 4.5
    assert message["duration_seconds"] == pytest.approx(seconds, abs=1)
    assert frames[0].mean() < 16 < frames[-1].mean()
    assert np.abs(frames[8].astype(int) - frames[-1].astype(int)).mean() > 3


def test_it_is_repeatable(export: Path, tmp_path: Path) -> None:
    write_telegram(Hamlet(), tmp_path, seed=1, size=SMALL)
    for path in export.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(export)).read_bytes() == path.read_bytes()
