"""A polite client of a map server: few connections, a steady rate, patience, a cache."""

from __future__ import annotations

import datetime as dt
import email.utils
import io
import logging
import os
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...area import XyzImagery
from ..keys import fill_keys
from .cache import TileCache
from .pyramid import Tiles, fill_template

_NO_TILE = (204, 404, 410)
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_MOST_BYTES = 20_000_000  # a tile; more is no tile
_LONGEST_WAIT = 120.0  # s: a server that wants more is given up
_FIRST_WAIT = 0.5  # s before the first retry; doubled for each further
_GIVE_UP = 8  # tiles in a row that were asked for in vain: the server is down
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8")
_THREADS = "geoloc-tiles"

TilePixels = NDArray[np.uint8]
"""``(y, x, rgba)``."""


def _not_ours(record: logging.LogRecord) -> bool:
    """httpx logs each URL, and so keys: not those of our threads."""
    return not (record.threadName or "").startswith(_THREADS)


logging.getLogger("httpx").addFilter(_not_ours)


class TileClient:
    """Fetches tiles of one server: few connections, a steady rate, patience, a cache."""

    def __init__(self, spec: XyzImagery, template: str) -> None:
        self.spec = spec
        self.template = template
        self.host = re.sub(r"^(\w+://[^/?]+).*", r"\1", template)
        self._pool = ThreadPoolExecutor(spec.connections, thread_name_prefix=_THREADS)
        self._http = httpx.Client(
            headers={"User-Agent": spec.user_agent},
            timeout=spec.timeout,
            follow_redirects=True,
            limits=httpx.Limits(max_connections=spec.connections),
        )
        self._pace = Pace(spec.rate)
        self._in_vain = 0
        self._cache = TileCache(spec.cache or _cache_folder(), spec.cache_mb * 1_000_000)

    def fetch_all(self, tiles: Tiles) -> list[tuple[tuple[int, int], TilePixels | str | None]]:
        """Each tile's place with its pixels ``(y, x, rgba)``, None without data, or a fault."""
        places, self._in_vain = list(tiles), 0
        found = self._pool.map(lambda place: self._fetch(place, tiles.zoom), places)
        return list(zip(places, found, strict=True))

    def _fetch(self, place: tuple[int, int], zoom: int) -> TilePixels | str | None:
        x, y = place
        key = f"{self.template} {self.spec.subdomains} {self.spec.version} {zoom}/{x}/{y}"
        data = self._cache.get(key)
        if data is not None:
            try:
                return decode(data, self.spec.tile_px)
            except ValueError:
                self._cache.drop(key)
        return self._ask(key, fill_template(self.template, x, y, zoom, self.spec.subdomains))

    def _ask(self, key: str, url: str) -> TilePixels | str | None:
        """Ask until there is an answer that helps, or patience ends."""
        fault, wait = "", 0.0
        for attempt in range(self.spec.retries + 1):
            if wait > _LONGEST_WAIT:
                break
            if self._in_vain >= _GIVE_UP:
                return f"{self.host}: given up after {_GIVE_UP} tiles in a row"
            self._pace.wait(wait)
            data, fault, wanted = self._try(url)
            if data is not None:
                try:
                    pixels = decode(data, self.spec.tile_px)
                except ValueError as error:
                    fault = str(error)
                else:
                    self._cache.put(key, data)
                    self._in_vain = 0
                    return pixels
            elif wanted < 0:
                break
            # jitter, so that many clients do not come back all at once
            wait = max(wanted, _FIRST_WAIT * 2**attempt * (0.5 + random.random()))
            self._pace.hold(wanted)
        self._in_vain += 1
        return f"{self.host}: {fault}"

    def _try(self, url: str) -> tuple[bytes | None, str, float]:
        """A body; or a fault, and the s to wait that the server asks for, -1: forever."""
        try:
            with self._http.stream("GET", fill_keys(url)) as answer:
                if answer.status_code in _NO_TILE:
                    return b"", "", 0
                if answer.status_code != httpx.codes.OK:
                    again = answer.status_code in _AGAIN
                    wait = _retry_after(answer.headers.get("Retry-After")) if again else -1
                    return None, f"HTTP {answer.status_code} {answer.reason_phrase}", wait
                return self._body(answer), "", 0
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # its text may hold the URL, and so a key
            return None, f"{type(error).__name__}{_cause(error)}", 0

    def _body(self, answer: httpx.Response) -> bytes:
        chunks, size, end = [], 0, time.monotonic() + 5 * self.spec.timeout
        for chunk in answer.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > _MOST_BYTES:
                raise httpx.DecodingError("too large")
            if time.monotonic() > end:  # a byte now and then is no answer
                raise httpx.ReadTimeout("too slow")
        return b"".join(chunks)


class Pace:
    """At most ``rate`` calls of `wait` pass a second, from however many threads."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Let nobody pass for a while: the server asked for it."""
        with self._lock:
            until = time.monotonic() + min(seconds, _LONGEST_WAIT)
            self._next = max(self._next, until)

    def wait(self, at_least: float = 0.0) -> None:
        """Return when it is one's turn, and not before ``at_least`` s have passed."""
        if at_least:
            time.sleep(at_least)
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._gap
        time.sleep(turn - now)


def decode(data: bytes, px: int) -> TilePixels | None:
    """A tile's pixels ``(y, x, rgba)``, ``px`` a side; None where the body is empty.

    Raises ValueError for what is not a whole picture.
    """
    if not data:
        return None
    if not data.startswith(_MAGIC):
        raise ValueError(f"an answer is no picture but begins {data[:20]!r}")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if max(image.size) > 4 * px:
                raise ValueError(f"a tile is {image.size[0]} x {image.size[1]} px, not {px}")
            tile = image.convert("RGBA")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a tile is damaged: {' '.join(str(error).split())[:100]}") from None
    if tile.size != (px, px):
        tile = tile.resize((px, px), Image.Resampling.BOX)
    return np.asarray(tile)


def _retry_after(value: str | None) -> float:
    """Seconds, given as such or as a date; 0 where it says nothing."""
    if not value:
        return 0.0
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        then = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max((then - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    number = getattr(cause, "errno", None)
    return f" ({os.strerror(number)})" if number else ""


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "geoloc" / "tiles"
