"""The content of a report, read back from its page: pictures, and how strongly both show a scene.

Only numbers are copied unchanged: a picture is decoded, and compressed again without anything but
its pixels.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import U8
from ..errors import UsageError
from ..report.views import Picture, Views, plain_jpeg

_MOST_BYTES = 1 << 28
_MOST_PIXELS = 1 << 26
_DATA = re.compile(r"data:image/(?:jpeg|png);base64,")
_NUMBERS = re.compile(r"photo ([+-]\d+\.\d+), place ([+-]\d+\.\d+)")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

Pixels = U8


@dataclass
class Page:
    """A report's pictures as it has them (data URIs), and its numbers.

    photos: one each; base: of the ground, in order; chips, dates: by rank; strengths: by rank, a
    photo's and a place's logit of the scenes that both show, in order. data: of its map.
    """

    photos: list[str] = field(default_factory=list)
    base: list[str] = field(default_factory=list)
    chips: dict[int, str] = field(default_factory=dict)
    dates: dict[int, tuple[str, ...]] = field(default_factory=dict)
    strengths: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def photo_pixels(self, number: int) -> Pixels | None:
        """Pixels ``(h, w, 3)`` of a photo; None if the page does not show it."""
        if number >= len(self.photos):
            return None
        return np.asarray(_decoded(self.photos[number]))

    def views(self) -> Views:
        """The imagery on the page, with pictures compressed again."""
        layers = zip(self.base, self.data.get("base", []), strict=False)
        base = [_picture(uri, layer["bounds"]) for uri, layer in layers]
        chips, bounds = {}, self.data.get("chips", {})
        for rank, uri in self.chips.items():
            if str(rank) in bounds:
                chips[rank] = _picture(uri, bounds[str(rank)], self.dates.get(rank, ()))
        return Views(tuple(base), chips, ())

    def views_of_regions(self) -> Views:
        """The chips of regions on their page, compressed again."""
        nowhere = (0.0, 0.0, 0.0, 0.0)
        chips = {
            rank: _picture(uri, nowhere, self.dates.get(rank, ()))
            for rank, uri in self.chips.items()
        }
        return Views((), {}, (), chips)


def read_page(path: Path) -> Page:
    """The parts of a ``report.html``; a missing one is a page without pictures.

    Raises UsageError if it is damaged.
    """
    if not path.is_file():
        return Page()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} is too large for a report")
        reader = _Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        reader.close()
        reader.page.data = _mapping(json.loads("".join(reader.script) or "{}"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}): run 'geoloc query' again") from None
    return reader.page


class _Reader(HTMLParser):
    """Parses a page as this project writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.script: list[str] = []
        self._in = ""  # what text belongs to
        self._rank: int | None = None
        self._photo = self._agree = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        kind = attributes.get("class", "")
        if tag == "figure":
            self._photo = kind == "photo"
        elif tag == "li" and attributes.get("data-rank", "").isdecimal():
            self._rank, self._agree = int(attributes["data-rank"]), False
        elif tag == "em":
            self._agree = kind == "agree"
        elif tag == "img":
            self._image(kind, attributes.get("src", ""))
        elif tag == "span":
            self._term(kind, attributes.get("title", ""))
        elif tag == "script" and attributes.get("id") == "data":
            self._in = "data"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "span"):
            self._in = ""
        elif tag == "figure":
            self._photo = False
        elif tag == "ol":
            self._rank = None

    def handle_data(self, data: str) -> None:
        if self._in == "data":
            self.script.append(data)
        elif self._in == "date" and self._rank is not None:
            self.page.dates[self._rank] = tuple(_DAY.findall(data))

    def _image(self, kind: str, source: str) -> None:
        if self._photo:
            self.page.photos.append(source)
        elif kind == "layer":
            self.page.base.append(source)
        elif self._rank is not None:
            self.page.chips[self._rank] = source

    def _term(self, kind: str, title: str) -> None:
        match = _NUMBERS.match(title)
        if kind == "date":
            self._in = "date"
        elif kind == "term" and self._agree and self._rank is not None and match:
            pair = float(match[1]), float(match[2])
            self.page.strengths.setdefault(self._rank, []).append(pair)


def _decoded(uri: str) -> Image.Image:
    """The pixels of a picture, RGB. Raises UsageError for anything else."""
    match = _DATA.match(uri)
    try:
        if not match:
            raise ValueError("it is not in the page itself")
        content = base64.b64decode(uri[match.end() :], validate=True)
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError("it is too large")
            # a new image of the pixels alone: the one read would carry its comments along
            return Image.fromarray(np.asarray(image.convert("RGB")))
    except (OSError, SyntaxError, ValueError, binascii.Error, Image.DecompressionBombError) as e:
        raise UsageError(f"a picture of the report cannot be read ({e})") from None


def _picture(uri: str, bounds: Any, dates: tuple[str, ...] = ()) -> Picture:
    try:
        left, bottom, right, top = (float(edge) for edge in bounds)
    except (TypeError, ValueError):
        raise UsageError("the report is damaged: the bounds of a picture are missing") from None
    image = _decoded(uri)
    return Picture(plain_jpeg(image), image.width, image.height, (left, bottom, right, top), dates)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("its data are not a mapping")
    return value
