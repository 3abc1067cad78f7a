"""Exports as Telegram Desktop writes them, and as somebody might forge them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoloc.bulk.media import Found, find_media
from geoloc.errors import UsageError
from geoloc.telegram import is_export, read_export
from tests.media import message, save, write_export

NOT_INCLUDED = "(File not included. Change data exporting settings to download.)"


def test_messages_and_their_files(tmp_path: Path) -> None:
    photo = save(tmp_path / "photos" / "photo_1@x.jpg", 1)
    save(tmp_path / "video_files" / "v.mp4_thumb.jpg", 2)
    (tmp_path / "video_files" / "v.mp4").write_bytes(b"x")
    write_export(tmp_path, [
        {"id": 1, "type": "service", "action": "edit_photo", "text": "", "photo": "photos/no.jpg"},
        message(2, text="hello"),
        message(3, photo="photos/photo_1@x.jpg", forwarded_from="Taras",
                text=["Seen ", {"type": "bold", "text": "here"}, "!"],
                location_information={"latitude": 50.4, "longitude": 30.5}),
        message(4, file="video_files/v.mp4", thumbnail="video_files/v.mp4_thumb.jpg",
                media_type="video_file", mime_type="video/mp4"),
        message(5, file="stickers/s.webp", media_type="sticker", mime_type="image/webp"),
        message(6, file="files/a.pdf", mime_type="application/pdf"),
    ])  # fmt: skip
    assert is_export(tmp_path)
    export = read_export(tmp_path)
    assert [a.path.name for a in export.attachments] == ["photo_1@x.jpg", "v.mp4"]
    first = export.attachments[0]
    assert first.path == photo.resolve()
    assert first.message.to_json() == {
        "chat": "Watch", "id": 3, "date": "2025-06-15T15:06:40+00:00", "from": "Olena",
        "text": "Seen here!", "place": {"lon": 30.5, "lat": 50.4}, "forwarded_from": "Taras",
        "export": str(tmp_path.resolve() / "result.json"),
    }  # fmt: skip
    assert [m.id for m in export.places] == [3]
    assert {p.name for p in export.thumbnails} == {"v.mp4_thumb.jpg"}
    assert export.failures == {}


def test_a_full_export_has_many_chats(tmp_path: Path) -> None:
    save(tmp_path / "chats" / "a.jpg", 1)
    chats = [{"name": n, "messages": [message(7, photo="chats/a.jpg")]} for n in ("A", "B")]
    lists = {"chats": {"list": chats}, "left_chats": {"list": [{"name": "C", "messages": []}]}}
    (tmp_path / "result.json").write_text(json.dumps({"about": "x", **lists}))
    assert [a.message.chat for a in read_export(tmp_path).attachments] == ["A", "B"]


@pytest.mark.parametrize(
    "named",
    ["../secret.jpg", "/etc/passwd", "photos/../../secret.jpg", "C:\\x.jpg", "..\\secret.jpg",
     "link.jpg", "a\x00b.jpg", "//host/x.jpg"],
)  # fmt: skip
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "chat"
    folder.mkdir()
    save(tmp_path / "secret.jpg", 1)
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    write_export(folder, [message(1, photo=named)])
    export = read_export(folder)
    assert export.attachments == ()
    assert "is outside" in export.failures["result.json: message 1 of Watch"]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    write_export(tmp_path, [
        message(1, photo=NOT_INCLUDED), message(2, photo="photos/gone.jpg"),
        message(3, photo="x" * 5000 + ".jpg"), message(4, photo=""),
    ])  # fmt: skip
    failures = read_export(tmp_path).failures
    reasons = list(failures.values())
    assert "does not include" in reasons[0]
    assert "is missing" in reasons[1]
    assert len(failures) == 4
    assert all(len(reason) < 400 for reason in reasons)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"messages": 3}', '{"chats": {}}', "[" * 100_000, "\x00"]
)
def test_what_is_no_export_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        read_export(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{"id": "x"}, {"date_unixtime": "nan"}, {"date_unixtime": "9" * 40}, {"from": 3}, {"text": 5},
     {"text": [None, {"text": 4}, "a"]}, {"location_information": []},
     {"location_information": {"latitude": 99, "longitude": 0}},
     {"location_information": {"latitude": "nan", "longitude": 0}}],
)  # fmt: skip
def test_odd_fields_cost_only_themselves(tmp_path: Path, fields: dict[str, Any]) -> None:
    save(tmp_path / "a.jpg", 1)
    write_export(tmp_path, [message(1, photo="a.jpg", **fields), "no message", 7])
    (attachment,) = read_export(tmp_path).attachments
    assert attachment.message.place is None


@pytest.mark.parametrize(
    ("date", "second", "told"),
    [("2025-06-01T12:00:00", "1748772000", "2025-06-01T10:00:00+00:00"),
     ("2025-06-01T12:00:00", None, "2025-06-01T12:00:00"),
     ("2025-06-01T12:00:00", "1748772000000", "2025-06-01T12:00:00"),  # in ms
     ("0000-00-00", None, None), ("1970-01-01T02:00:00", "0", None),
     ("01.06.2025 12:00:00", None, None), (7, None, None)],
)  # fmt: skip
def test_what_is_no_date_is_not_claimed_as_one(
    tmp_path: Path, date: Any, second: str | None, told: str | None
) -> None:
    save(tmp_path / "a.jpg", 1)
    write_export(tmp_path, [message(1, photo="a.jpg", date=date, date_unixtime=second)])
    export = read_export(tmp_path)
    (attachment,) = export.attachments
    assert attachment.message.date == told
    assert any("(date 1" in note for note in export.notes) == (told is None)


def test_edits_are_told_as_they_may_replace_the_file(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", 1)
    edit = {"edited": "2025-06-01T12:00:00", "edited_unixtime": "1748772000"}
    write_export(tmp_path, [message(1, photo="a.jpg", **edit), message(2, photo="a.jpg")])
    told = [a.message.to_json() for a in read_export(tmp_path).attachments]
    assert [one.get("edited") for one in told] == ["2025-06-01T10:00:00+00:00", None]


def test_half_characters_and_huge_numbers_cost_only_themselves(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", 1)
    half = "\ud800"
    told = {"text": [f"x{half}", {"text": half}], "from": half, "forwarded_from": half}
    odd = {"date_unixtime": None, "date": half}
    (tmp_path / "result.json").write_text(json.dumps({"name": f"Watch {half}", "messages": [
        message(2**70, photo="a.jpg", **(told | odd)), message(-1, photo=f"photos/{half}.jpg"),
    ]}))  # fmt: skip
    export = read_export(tmp_path)
    (attachment,) = export.attachments
    assert attachment.message.id == 0
    assert attachment.message.chat == r"Watch \ud800"
    assert attachment.message.text == r"x\ud800\ud800"
    json.dumps(attachment.message.to_json(), ensure_ascii=False).encode()
    ((name, reason),) = export.failures.items()
    assert (name, r"photos/\ud800.jpg" in reason) == (
        r"result.json: message -1 of Watch \ud800",
        True,
    )


def test_stories_portraits_and_documents_are_evidence(tmp_path: Path) -> None:
    names = ["files/a.jpg", "files/b", "stories/s.jpg", "profile_pictures/p.jpg", "photos/g.jpg"]
    for seed, name in enumerate(names):
        save(tmp_path / "x.jpg", seed).rename(_made(tmp_path / name))
    (tmp_path / "files" / "c.pdf").write_text("%PDF")
    when = {"date": "2025-06-01T13:00:00", "date_unixtime": "1748772000"}
    service = {"id": 4, "type": "service", "actor": "Taras", "action": "edit_group_photo", **when}
    sentence = "(Photo not included. Change data exporting settings to download.)"
    told = {
        "personal_information": {"first_name": "Olena", "last_name": "K."},
        "stories": [{"media": "stories/s.jpg", **when}, {"media": sentence, **when}],
        "profile_pictures": [{"photo": "profile_pictures/p.jpg", **when}],
        "chats": {"list": [{"name": "g", "messages": [
            message(1, file="files/a.jpg", mime_type="application/octet-stream"),
            message(2, file="files/b", mime_type="application/octet-stream"),
            message(3, file="files/c.pdf"), service | {"photo": "photos/g.jpg"},
            message(5, file="(File unavailable, please try again later)",
                    file_name="IMG_5.HEIC.JPG", mime_type="application/octet-stream"),
        ]}]},
    }  # fmt: skip
    (tmp_path / "result.json").write_text(json.dumps(told))
    found = find_media(tmp_path)
    brought = {m.name: m.messages[0] for m in found.media}
    assert {name: (m.kind, m.sender, m.id) for name, m in brought.items()} == {
        "files/a.jpg": (None, "Olena", 1), "files/b": (None, "Olena", 2),
        "photos/g.jpg": ("edit_group_photo", "Taras", 4), "stories/s.jpg": ("story", "Olena K.", 1),
        "profile_pictures/p.jpg": ("profile picture", "Olena K.", 1),
    }  # fmt: skip
    assert brought["stories/s.jpg"].date == "2025-06-01T10:00:00+00:00"
    assert found.failures.keys() == {
        "result.json: story 2", "result.json: message 5 of g",
    }  # fmt: skip
    assert found.left_out == {".pdf": 1}


def _made(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


def test_a_forward_is_told_though_its_source_is_not(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", 1)
    hidden: dict[str, Any] = {"forwarded_from": None, "forwarded_from_id": "channel77"}
    dated = {"forwarded_date_unixtime": "1748772000", "saved_from": "Notes"}
    reply = {"reply_to_message_id": 3}
    write_export(tmp_path, [
        message(1, photo="a.jpg", **hidden), message(2, photo="a.jpg", **(dated | reply)),
        message(3, photo="a.jpg"),
    ])  # fmt: skip
    told = [a.message.to_json() for a in read_export(tmp_path).attachments]
    keys = ("forwarded_from", "forwarded_from_id", "forwarded_date", "saved_from", "reply_to")
    assert [[one.get(key) for key in keys] for one in told] == [
        ["(source not given)", "channel77", None, None, None],
        ["(source not given)", None, "2025-06-01T10:00:00+00:00", "Notes", 3],
        [None] * 5,
    ]


@pytest.mark.parametrize(
    ("named", "told"),
    [({"name": "Taras", "id": 7}, "Taras"), (["Ta", "ras"], "Taras"), (False, "(source not given)"),
     ({"id": 7}, "(source not given)"), (77, "77")],
)  # fmt: skip
def test_a_forwards_source_may_be_of_any_type(tmp_path: Path, named: Any, told: str) -> None:
    save(tmp_path / "a.jpg", 1)
    write_export(tmp_path, [message(1, photo="a.jpg", forwarded_from=named)])
    (attachment,) = read_export(tmp_path).attachments
    assert attachment.message.forwarded_from == told


VALUES = (None, True, -5, 3.7, 2**70, float("nan"), "", "x", "\ud800", "a\x00b", "../x", [], ["a"],
          [[1]], {}, {"text": ["a"]}, {"list": [1]}, "9" * 5000, "--5", "²")  # fmt: skip
"""Of each type, and what is odd of it."""


def account() -> dict[str, Any]:
    when = {"date": "2025-06-01T10:00:00", "date_unixtime": "1748772000"}
    first = message(
        1,
        photo="a.jpg",
        text=["x", {"type": "bold", "text": "b"}],
        forwarded_from="T",
        location_information={"latitude": 50, "longitude": 30},
    )
    second = message(2, file="b.jpg", mime_type="application/octet-stream", media_type="video_file",
                     thumbnail="t.jpg", reply_to_message_id=1)  # fmt: skip
    return {
        "stories": [{"media": "s.jpg", **when}],
        "chats": {"list": [{"name": "g", "messages": [first, second]}]},
        "left_chats": {"list": [{"name": "l", "messages": [message(3, photo="a.jpg")]}]},
    }


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    listed = dict(enumerate(value)) if isinstance(value, list) else value
    for key, part in listed.items() if isinstance(listed, dict) else ():
        yield from paths(part, (*path, key))


def mutated(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    told = copy.deepcopy(account())
    inner: Any = told
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return told


def test_any_value_of_any_type_costs_only_itself(tmp_path: Path) -> None:
    """Each value in each place: nothing is raised, and what is lost is told."""
    for seed, name in enumerate(["a.jpg", "b.jpg", "s.jpg"]):
        save(tmp_path / name, seed)

    def read(told: Any) -> tuple[Found, int]:
        (tmp_path / "result.json").write_text(json.dumps(told))
        found = find_media(tmp_path)
        return found, sum(len(medium.messages) for medium in found.media)

    assert read(account())[1] == 4
    places = [path for path in paths(account()) if path]
    assert len(places) > 40
    for path in places:
        for value in VALUES:
            found, messages = read(mutated(path, value))
            of_one = len(path) > 4 or path[0] == "stories"  # inside one message
            assert messages >= (3 if of_one else 1), (path, value, found.failures)
            empty = value == [] and len(path) < 5  # an account may have less
            assert messages == 4 or found.failures or found.notes or empty, (path, value)
            assert not any("foreseen" in reason for reason in found.failures.values())
