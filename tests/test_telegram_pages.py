"""Chats as Telegram Desktop exports them for people, in HTML."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoloc.bulk.media import find_media
from geoloc.telegram import is_page, read_pages
from tests.media import message, save, write_export

HEAD = """<!DOCTYPE html>
<html>
 <head><title>Exported Data</title><link href="css/style.css" rel="stylesheet"/></head>
 <body onload="CheckLocation();">
  <div class="page_wrap">
   <div class="page_header"><div class="content"><div class="text bold">
River &amp; bridge watch
   </div></div></div>
   <div class="page_body chat_page"><div class="history">
"""


def post(
    number: int,
    body: str,
    sender: str = "Olena",
    date: str = "03.06.2025 10:00:07 UTC+03:00",
    kind: str = "default clearfix",
) -> str:
    """A message as the exporter writes it; without sender it is joined to the one before."""
    joined = "" if sender else " joined"
    name = f'<div class="from_name">\n{sender}\n       </div>' if sender else ""
    return f"""
     <div class="message {kind}{joined}" id="message{number}">
      <div class="body">
       <div class="pull_right date details" title="{date}">
10:00
       </div>
       {name}
       {body}
      </div>
     </div>
"""


def photo(path: str) -> str:
    thumb = path.replace(".jpg", "_thumb.jpg")
    return f"""<div class="media_wrap clearfix">
        <a class="photo_wrap clearfix pull_left" href="{path}">
         <img class="photo" src="{thumb}" style="width: 260px; height: 195px"/>
        </a>
       </div>"""


ABSENT = """<div class="media_wrap clearfix"><div class="media clearfix pull_left media_video">
 <div class="fill pull_left"></div><div class="body"><div class="title bold">Video file</div>
 <div class="description">
Exceeds maximum size, change data exporting settings to download.
 </div></div></div></div>"""
FORWARDED = f"""<div class="pull_left forwarded userpic_wrap"><div class="initials">T</div></div>
 <div class="forwarded body">
  <div class="from_name">
Taras <span class="date details" title="01.06.2025 08:30:00 UTC+03:00"> 01.06.2025 08:30:00</span>
  </div>
  {photo("photos/fwd.jpg")}
  <div class="text">seen <strong>here</strong><br>yesterday</div>
 </div>"""
PLACE = """<div class="media_wrap clearfix">
 <a class="media clearfix pull_left block_link media_location"
    href="https://maps.google.com/maps?q=50.45,30.52&amp;ll=50.45,30.52&amp;z=16">
 <div class="body"><div class="title bold">Location</div></div></a></div>"""
STICKER = """<div class="media_wrap clearfix"><a class="sticker_wrap clearfix pull_left"
 href="stickers/s.webp"><img class="sticker" src="stickers/s.webp"/></a></div>"""
REPLY = """<div class="reply_to details">
In reply to <a href="#go_to_message3" onclick="return GoToMessage(3)">this message</a></div>"""


def write_pages(folder: Path) -> Path:
    """Two pages: a divider, photos, one that follows on the next page, and what is missing."""
    for seed, name in enumerate(
        ["photos/a.jpg", "photos/a_thumb.jpg", "photos/b.jpg", "photos/fwd.jpg",
         "photos/fwd_thumb.jpg", "images/back.png", "images/media_photo@2x.png",
         "stickers/s.webp", "photos/unnamed.jpg"]
    ):  # fmt: skip
        save(folder / name, seed)
    (folder / "css").mkdir()
    (folder / "css" / "style.css").write_text("body {}")
    divider = (
        '<div class="message service" id="message-1"><div class="body details">3 June</div></div>'
    )
    first = [
        divider, post(3, photo("photos/a.jpg") + '<div class="text">the bridge</div>'),
        post(4, FORWARDED, "Field notes"), post(5, ABSENT), post(6, PLACE, "Taras"),
        post(7, STICKER, "Taras"), post(8, photo("../outside.jpg")),
    ]  # fmt: skip
    second = [post(9, photo("photos/b.jpg") + REPLY, "", date="11.02.2020 09:03:59")]
    (folder / "messages.html").write_text(HEAD + "".join(first))
    (folder / "messages2.html").write_text(HEAD + "".join(second))
    return folder


def test_messages_of_pages_come_with_their_files(tmp_path: Path) -> None:
    export = read_pages(write_pages(tmp_path))
    told = {a.path.name: a.message for a in export.attachments}
    assert {name: (m.id, m.sender, m.date) for name, m in told.items()} == {
        "a.jpg": (3, "Olena", "2025-06-03T10:00:07+03:00"),
        "fwd.jpg": (4, "Field notes", "2025-06-03T10:00:07+03:00"),
        "b.jpg": (9, "Olena", "2020-02-11T09:03:59"),
    }
    assert (told["a.jpg"].chat, told["a.jpg"].text) == ("River & bridge watch", "the bridge")
    forwarded = told["fwd.jpg"]
    assert (forwarded.forwarded_from, forwarded.forwarded_date, forwarded.text) == (
        "Taras", "2025-06-01T08:30:00+03:00", "seen here\nyesterday",
    )  # fmt: skip
    assert (told["a.jpg"].forwarded_from, told["b.jpg"].reply_to) == (None, 3)
    assert told["b.jpg"].export == str(tmp_path.resolve() / "messages2.html")
    assert [m.place for m in export.places] == [(30.52, 50.45)]
    assert {path.name for path in export.others} == {"s.webp"}


def test_what_pages_name_and_lack_is_told(tmp_path: Path) -> None:
    failures = read_pages(write_pages(tmp_path)).failures
    name = "messages.html: message {} of River & bridge watch".format
    assert "larger size limit" in failures[name(5)]
    assert "is outside" in failures[name(8)]
    assert "7 messages were read" in failures["messages.html"]
    assert "export it as JSON as well" in failures["messages.html"]
    assert len(failures) == 3


def test_icons_and_thumbnails_are_no_photos(tmp_path: Path) -> None:
    found = find_media(write_pages(tmp_path))
    assert {m.name: len(m.messages) for m in found.media} == {
        "photos/a.jpg": 1, "photos/b.jpg": 1, "photos/fwd.jpg": 1, "photos/unnamed.jpg": 0,
    }  # fmt: skip
    assert found.left_out == {
        "icons and styles of HTML exports": 3, "stickers, sound and thumbnails of chats": 3,
    }  # fmt: skip


def test_json_is_read_where_both_are(tmp_path: Path) -> None:
    write_pages(tmp_path)
    sticker = message(7, file="stickers/s.webp", media_type="sticker")
    write_export(tmp_path, [message(1, photo="photos/a.jpg"), sticker])
    found = find_media(tmp_path)
    assert [len(m.messages) for m in found.media] == [1, 0, 0, 0]
    assert (found.failures, len(found.media)) == ({}, 4)
    (tmp_path / "result.json").write_text("{")  # nothing can be read of it: then the pages are
    found = find_media(tmp_path)
    assert [len(m.messages) for m in found.media] == [1, 1, 1, 0]
    assert {"result.json", "messages.html"} <= found.failures.keys()


def test_the_pages_of_a_whole_account_are_below_its_json(tmp_path: Path) -> None:
    write_pages(tmp_path / "chats" / "chat_1")
    (tmp_path / "export_results.html").write_text("<html></html>")
    save(tmp_path / "images" / "section_photos.png", 77)
    alone = find_media(tmp_path)
    assert [len(m.messages) for m in alone.media] == [1, 1, 1, 0]
    assert "chats/chat_1/messages.html" in alone.failures
    sticker = message(7, file="chats/chat_1/stickers/s.webp", media_type="sticker")
    photo = message(1, photo="chats/chat_1/photos/a.jpg")
    chat = {"name": "g", "messages": [photo, sticker]}
    (tmp_path / "result.json").write_text(json.dumps({"chats": {"list": [chat]}}))
    both = find_media(tmp_path)
    assert [len(m.messages) for m in both.media] == [1, 0, 0, 0]
    assert both.failures == {}


def test_photos_in_the_folder_of_icons_are_photos(tmp_path: Path) -> None:
    (tmp_path / "messages.html").write_text("<html>a diary</html>")
    save(tmp_path / "images" / "back.png", 1)
    large = np.random.default_rng(2).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    Image.fromarray(large).save(tmp_path / "images" / "IMG_1.jpg")
    found = find_media(tmp_path)
    assert [m.name for m in found.media] == ["images/IMG_1.jpg"]
    assert found.left_out == {"icons and styles of HTML exports": 1}


def test_pictures_beside_no_pages_are_photos(tmp_path: Path) -> None:
    for seed, name in enumerate(["images/a.png", "b_thumb.jpg"]):
        save(tmp_path / name, seed)
    assert [m.name for m in find_media(tmp_path).media] == ["b_thumb.jpg", "images/a.png"]
    assert [is_page(n) for n in ("messages.html", "messages12.html", "my messages.html")] == [
        True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff\xfe\x00<div", b"<div class='message default' id='message5'>" * 3000,
     b"<div class='message' id='message99999999999999999999999'><a href='photos/a.jpg'>",
     HEAD.encode() + post(1, photo("x" * 5000), date="99.99.9999 99:99:99").encode(),
     b"<div class='message' id='message1'><a class='media_location' href='?q=x,y'>"],
)  # fmt: skip
def test_odd_pages_stop_nothing(tmp_path: Path, content: bytes) -> None:
    save(tmp_path / "photos" / "a.jpg", 1)
    (tmp_path / "messages.html").write_bytes(content)
    found = find_media(tmp_path)
    assert [m.name for m in found.media] == ["photos/a.jpg"]
    assert "JSON" in found.failures["messages.html"]
