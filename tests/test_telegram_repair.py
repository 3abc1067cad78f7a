r"""``result.json`` as it is really written: invalid escapes, no quotes, cut short, damaged."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.bulk.media import find_media
from geoloc.errors import UsageError
from geoloc.telegram import read_export
from geoloc.telegram.repair import quote_bare, read_json, repair_escapes
from tests.media import message, save, write_export


@pytest.mark.parametrize(
    ("written", "meant"),
    [(r"a\x0Bb", "a\x0bb"), (r"a\\x0B", r"a\x0B"), (r"\x1f\x01", "\x1f\x01"), (r"it\'s", r"it\'s"),
     (r"\u00e9\n\"", 'é\n"'), (r"\u12", r"\u12"), (r"\x4", r"\x4"),
     ("tab\tand\x01", "tab\tand\x01"), (r"C:\Users", r"C:\Users")],
)  # fmt: skip
def test_escapes_that_json_does_not_have(written: str, meant: str) -> None:
    text = f'{{"messages": [{{"text": "{written}"}}]}}'
    assert read_json(text.encode()).value == {"messages": [{"text": meant}]}


@given(st.text())
def test_valid_json_is_not_repaired(text: str) -> None:
    for written in (json.dumps({"a": text}), json.dumps({"a": text}, ensure_ascii=False)):
        assert repair_escapes(written) == (written, 0)
        assert quote_bare(written) == (written, 0)


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    "bare", ["video_files/sticker (2).webm", "files/true, false.webm", "stickers/a]b{c}.webm",
             "(File not included. Change data exporting settings to download.)", "null/x"]
)  # fmt: skip
def test_values_without_quotes(bare: str, indent: int | None) -> None:
    parts = [{"type": "custom_emoji", "text": 'x": y', "document_id": "@@"}, "rest"]
    told = {"messages": [message(n, text=parts, width=-1.5e3, last=None) for n in (1, 2)]}
    written = json.dumps(told, indent=indent).replace('"@@"', bare)
    repaired = read_json(written.encode())
    assert repaired.value == json.loads(json.dumps(told).replace("@@", bare))
    assert repaired.repairs == "2 values without quotes"
    assert repaired.lost is None


def test_a_repair_is_noted_once_and_loses_nothing(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", 1)
    path = write_export(tmp_path, [message(n, photo="a.jpg", text="12@@") for n in (1, 2)])
    path.write_text(path.read_text().replace("@@", "\\x0B"))
    found = find_media(tmp_path)
    assert [m.text for m in found.media[0].messages] == ["12\x0b".strip()] * 2
    assert found.failures == {}
    (note,) = found.notes
    assert "2 escapes that JSON does not have" in note


@pytest.mark.parametrize(
    "change",
    [lambda b: b"\xef\xbb\xbf" + b, lambda b: b + b"\x00" * 4096, lambda b: b + b"}}<html>",
     lambda b: b.decode().encode("utf-16"), lambda b: b.replace(b"Olena", b"Olen\xe9"),
     lambda b: b.replace(b'"id": 9', b'"id": ' + b"9" * 5000), lambda b: b"\r\n" + b],
)  # fmt: skip
def test_odd_files_are_read_whole(tmp_path: Path, change: Any) -> None:
    save(tmp_path / "a.jpg", 1)
    path = write_export(tmp_path, [message(n, photo="a.jpg") for n in (1, 2)])
    path.write_bytes(change(path.read_bytes()))
    export = read_export(tmp_path)
    assert [a.message.id for a in export.attachments] == [1, 2]


def test_one_export_after_the_other_is_read_too(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", 1)
    path = write_export(tmp_path, [message(1, photo="a.jpg")])
    first = path.read_bytes()
    second = write_export(tmp_path, [message(2, photo="a.jpg")], name="Other").read_bytes()
    path.write_bytes(first + b"\n" + second)
    export = read_export(tmp_path)
    told = [(a.message.chat, a.message.id) for a in export.attachments]
    assert told == [("Watch", 1), ("Other", 2)]
    assert "2 messages of it could be read" in export.failures["result.json"]


def written(tmp_path: Path, count: int = 12) -> bytes:
    """An export as the exporter lays it out, with quotes and brackets in its texts."""
    save(tmp_path / "a.jpg", 1)
    text = ["é ", {"type": "bold", "text": '{"id": 3, "type": "message"}'}]
    chats = [{"name": f"chat {c}", "type": "private_group", "id": c,
              "messages": [message(10 * c + n, photo="a.jpg", text=text) for n in range(count)]}
             for c in (1, 2)]  # fmt: skip
    told = {"about": "x", "chats": {"about": "y", "list": chats}}
    return json.dumps(told, ensure_ascii=False, indent=1).encode()


def test_messages_before_a_cut_are_kept(tmp_path: Path) -> None:
    whole = written(tmp_path)
    for cut in range(whole.index(b'"messages"') + 20, len(whole), 61):
        (tmp_path / "result.json").write_bytes(whole[:cut])
        export = read_export(tmp_path)
        ended = len(re.findall(rb"\n     },?", whole[:cut]))
        assert len(export.attachments) == ended
        assert list(export.failures) == ["result.json"]
        assert "export" not in export.failures["result.json"].partition("Copy it")[0]
    chats = {a.message.chat for a in export.attachments}
    assert chats == {"chat 1", "chat 2"}


def test_a_damaged_message_costs_itself(tmp_path: Path) -> None:
    whole = written(tmp_path)
    at = whole.index(b'"id": 15')
    (tmp_path / "result.json").write_bytes(whole[: at + 40] + b'\x00\x00"\\"' + whole[at + 60 :])
    export = read_export(tmp_path)
    missing = {*range(10, 22), *range(20, 32)} - {a.message.id for a in export.attachments}
    assert missing == {15}
    assert len(export.attachments) == 23
    assert "23 messages of it could be read, 1 could not" in export.failures["result.json"]


def test_any_damage_is_told_and_raises_nothing_else(tmp_path: Path) -> None:
    whole, path = written(tmp_path, 6), tmp_path / "result.json"
    pieces = (b'"', b"\\", b"}", b"]", b"[", b"{", b"\\x0B", b"\x00\x00", b"\xff", b"9" * 40)
    kept = []
    for seed in range(150):
        rng, damaged = random.Random(seed), bytearray(whole)
        at, width = rng.randrange(len(whole)), rng.randrange(1, 60)
        damaged[at : at + width * (seed % 2)] = rng.choice(pieces)
        path.write_bytes(damaged)
        try:
            export = read_export(tmp_path)
        except UsageError as error:
            assert "\n" not in str(error)
            continue
        lost = 12 - len(export.attachments)
        assert not lost or export.failures or export.notes or b'"photo": "a.jpg"' not in damaged
        kept.append(12 - lost)
    assert len(kept) > 130
    assert sorted(kept)[len(kept) // 10] >= 10
