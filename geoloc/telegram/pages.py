"""``messages.html``: a chat as Telegram Desktop exports it for people.

The pages hold less than ``result.json``, but people often have nothing else. Layout, as the
exporter writes it: each message is ``div.message#message123`` with ``div.date[title]``,
``div.from_name``, ``div.text`` and links to files; one that is ``joined`` to the message before
it omits its sender; a forwarded message is in ``div.forwarded.body``, with its own sender and
date. Icons are in ``images/``, beside ``css/`` and ``js/``; ``*_thumb.jpg`` are made for the
pages.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import UsageError
from ..names import path_text
from .export import MAX_BYTES, Collected, Export
from .files import Files, why_absent
from .message import NOT_GIVEN, Attachment, Message, place_of, text_of

DECORATION = ("images", "css", "js")
"""Folders of an export that only style its pages."""

_PAGE = re.compile(r"messages(\d*)\.html")
_PAGES = "messages.html"
_ENTRY = "export_results.html"
_VOID = ("br", "img", "meta", "link", "input", "hr")
_CHUNK = 1 << 20
_DATE = re.compile(r"(\d\d)\.(\d\d)\.(\d{4}) (\d\d:\d\d:\d\d)(?: UTC([+-]\d\d:\d\d))?")
_NUMBER = re.compile(r"message(\d+)$")
_VISUAL_LINKS = {"photo_wrap", "video_file_wrap", "animated_wrap", "media_photo", "media_video",
                 "round_video_wrap"}  # fmt: skip
_OTHER_LINKS = {"sticker_wrap", "media_voice_message", "media_audio_file"}
_ABSENT = ("unavailable", "exceeds maximum size", "not included")


def is_page(name: str) -> bool:
    """Whether a file name is that of a chat's page or of the export's index page."""
    return bool(_PAGE.fullmatch(name)) or name == _ENTRY


def read_pages(folder: str | Path) -> Export:
    """Read the pages of one chat; an export without pages is empty. Its failures recommend JSON.

    Raises UsageError where a page cannot be read.
    """
    folder = Path(folder).resolve()
    collected, count, sender = Collected(Files(folder), ""), 0, None
    pages = _pages(folder)
    for path in pages:
        page = _read(path, sender)
        sender, collected.source = page.sender, path_text(path)
        for post in page.posts:
            _add(collected, post, page.chat)
        count += len(page.posts)
    extent = f"{count:,} messages were read" if count else "no message could be read"
    line = f"is a chat exported as HTML: {extent}, and HTML holds less; export it as JSON as well"
    if pages:
        collected.failures[_PAGES] = line
    return collected.export()


def _pages(folder: Path) -> list[Path]:
    pages = [(match, path) for path in folder.iterdir() if (match := _PAGE.fullmatch(path.name))]
    return [path for _, path in sorted(pages, key=lambda page: int(page[0][1] or 1))]


def _read(path: Path, sender: str | None) -> _Page:
    page = _Page(sender)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes: export fewer messages")
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            while chunk := file.read(_CHUNK):
                page.feed(chunk)
        page.close()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    page.finish()
    return page


@dataclass
class _Post:
    """A message while its page is read; ``links``: (path, whether it is a photo or video, or
    None for stickers and sound)."""

    id: int
    service: bool
    sender: str | None
    words: dict[str, list[str]] = field(default_factory=dict)
    date: str | None = None
    forwarded: bool = False
    forwarded_date: str | None = None
    reply_to: int | None = None
    place: tuple[float, float] | None = None
    links: dict[str, bool | None] = field(default_factory=dict)
    missing: bool = False

    def said(self, role: str) -> str:
        return text_of("\n".join(" ".join(line.split()) for line in
                                 "".join(self.words.get(role, ())).split("\v")))  # fmt: skip


@dataclass
class _Element:
    tag: str
    classes: set[str]
    role: str = ""


class _Page(HTMLParser):
    """One page; ``sender``: of the message before it, later of its own last message."""

    def __init__(self, sender: str | None) -> None:
        super().__init__()
        self.sender, self.title = sender, [""]
        self.posts: list[_Post] = []
        self._open: list[_Element] = []
        self._post: _Post | None = None

    @property
    def chat(self) -> str:
        return " ".join("".join(self.title).split()) or "chat"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        classes = set(attributes.get("class", "").split())
        if tag == "br":
            self.handle_data("\v")
        if tag in _VOID:
            return
        element = _Element(tag, classes)
        self._open.append(element)
        if "message" in classes:
            self._begin(attributes.get("id", ""), classes)
            element.role = "message"
        elif self._post is None:
            element.role = "title" if "text" in classes and self._within("page_header") else ""
        else:
            element.role = self._part(self._post, tag, attributes, classes)

    def handle_endtag(self, tag: str) -> None:
        """Close open elements down to this one; a page may omit end tags."""
        if not any(element.tag == tag for element in self._open):
            return
        while self._open:
            element = self._open.pop()
            if element.role == "message":
                self.finish()
            if element.tag == tag:
                break

    def handle_data(self, data: str) -> None:
        role = next((element.role for element in reversed(self._open) if element.role), "")
        if role == "title":
            self.title.append(data)
        elif self._post is not None and role:
            self._post.words.setdefault(role, []).append(data)

    def finish(self) -> None:
        """Complete the message being read."""
        post, self._post = self._post, None
        if post is None or not post.id:
            return  # a divider between days
        post.sender = post.said("from") or (None if post.service else post.sender)
        self.sender = post.sender
        self.posts.append(post)

    def _begin(self, name: str, classes: set[str]) -> None:
        self.finish()
        number = _NUMBER.match(name)
        inherited = self.sender if "joined" in classes else None
        self._post = _Post(int(number[1][:18]) if number else 0, "service" in classes, inherited)

    def _within(self, name: str) -> bool:
        return any(name in element.classes for element in self._open)

    def _part(self, post: _Post, tag: str, attributes: dict[str, str], classes: set[str]) -> str:
        """The role of a message's element; its attributes are stored in the post."""
        forwarded = any({"forwarded", "body"} <= element.classes for element in self._open)
        post.forwarded |= forwarded
        if {"date", "details"} <= classes:
            _set_date(post, attributes.get("title", ""), forwarded)
            return "date"
        if tag == "a":
            _link(post, attributes.get("href", ""), classes)
        for name, role in (("from_name", "forwarded" if forwarded else "from"), ("text", "text"),
                           ("reply_to", "reply"), ("description", "description"),
                           ("initials", "initials"), ("title", "media title")):  # fmt: skip
            if name in classes:
                return role
        post.missing |= tag == "div" and bool(classes & _VISUAL_LINKS)  # else it is a link
        return ""


def _set_date(post: _Post, title: str, forwarded: bool) -> None:
    if (date := _date(title)) is None:
        return
    if forwarded:
        post.forwarded_date = date
    else:
        post.date = date


def _date(title: str) -> str | None:
    """ISO 8601, with offset where the page has it."""
    if not (match := _DATE.fullmatch(title.strip())):
        return None
    day, month, year, clock, offset = match.groups()
    try:
        return dt.datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{offset or ''}").isoformat()
    except ValueError:
        return None


def _link(post: _Post, href: str, classes: set[str]) -> None:
    if match := re.search(r"#go_to_message(\d{1,18})$", href):
        post.reply_to = int(match[1])
    elif "media_location" in classes:
        post.place = _place(href)
    elif href and not urlsplit(href).scheme and any(map(_wraps, classes)):
        post.links[href] = None if classes & _OTHER_LINKS else bool(classes & _VISUAL_LINKS)


def _wraps(name: str) -> bool:
    """Whether a class marks a file that was sent with a message."""
    return name.startswith("media_") or name.endswith("_wrap")


def _place(href: str) -> tuple[float, float] | None:
    """lon, lat of a position, which is a link to a map."""
    lat, _, lon = parse_qs(urlsplit(href).query).get("q", [""])[0].partition(",")
    return place_of({"longitude": lon, "latitude": lat})


def _add(collected: Collected, post: _Post, chat: str) -> None:
    message = _message(post, chat, collected.source)
    if message.place:
        collected.places.append(message)
    name = f"{Path(collected.source).name}: message {post.id} of {chat}"
    for href, visual in post.links.items():
        try:
            path = _find(collected.files, href)
        except UsageError as error:
            if visual:
                collected.fail(name, str(error))
            continue
        if visual is None:
            collected.others.add(path)
        else:
            target = collected.attachments if visual else collected.documents
            target.append(Attachment(path, message))
    description = post.said("description")
    if post.missing and any(words in description.casefold() for words in _ABSENT):
        collected.fail(name, why_absent(description))


def _find(files: Files, href: str) -> Path:
    """The exporter writes plain paths; other programs escape them."""
    return files.maybe(href) or files.find(unquote(href))


def _message(post: _Post, chat: str, source: str) -> Message:
    forwarded = post.said("forwarded") or NOT_GIVEN if post.forwarded else None
    return Message(
        chat=chat,
        id=post.id,
        date=post.date,
        sender=post.sender,
        text=post.said("text"),
        place=post.place,
        forwarded_from=forwarded,
        export=source,
        kind="service" if post.service else None,
        forwarded_date=post.forwarded_date,
        reply_to=post.reply_to,
    )
