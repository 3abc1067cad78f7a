"""A polite client of a map server: few connections, a rate limit, retries, a cache."""

from __future__ import annotations

import datetime as dt
import email.utils
import hashlib
import io
import logging
import math
import os
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from ...area import XyzImagery
from ...arrays import U8
from ...errors import one_line
from ...net.hosts import refused_redirect
from ..keys import fill_keys
from ..refusals import refusal_line
from ..sharing import kept
from .cache import TileCache
from .pyramid import Tiles, fill_template
from .repeats import Repeats

_NO_TILE = (204, 404, 410)
_EMPTY = (("X-VE-Tile-Info", "no-tile"), ("OATiles-hint", "empty"))  # Bing; OGC API Tiles
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_MOST_BYTES = 20_000_000  # of a tile
_LONGEST_WAIT = 120.0  # s: a server that demands more is given up
_USED_UP = ("HTTP 429", "HTTP 509", "HTTP 402")
"""Too many requests, bandwidth exceeded, payment required: a quota is used up."""
_QUOTA_PAUSE = 900.0  # s without requests where the server does not say how long
_FIRST_WAIT = 0.5  # s before the first retry; doubled for each further
_GIVE_UP = 8  # failed tiles in a row: the server is down
_BODY_TIMEOUTS = 5  # timeouts that a whole body may take
_BLANK = 4  # px per side
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8")
_THREADS = "geoloc-tiles"

Place = tuple[int, int]
"""x and y of a tile."""

TilePixels = U8
"""``(y, x, rgba)``."""


@dataclass(frozen=True)
class Fetched:
    """The result of requesting a tile.

    ``pixels``: None if there is no tile; ``size``: bytes of its body, from the server or the
    cache; ``fault``: one line if it could not be fetched; ``digest``: SHA-256 of its pixels, as
    bodies may differ in their metadata.
    """

    pixels: TilePixels | None = None
    size: int = 0
    fault: str = ""
    digest: str = ""


def _not_ours(record: logging.LogRecord) -> bool:
    """httpx logs URLs, and so keys: drop the records of our own threads."""
    return not (record.threadName or "").startswith(_THREADS)


logging.getLogger("httpx").addFilter(_not_ours)


class TileClient:
    """Fetches tiles of one server: few connections, a rate limit, retries, a cache."""

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
            event_hooks={"response": [_check_redirect]},
        )
        self._pace = Pace(spec.rate)
        self._refusal = Refusal()
        self._failures = 0
        self._cache = TileCache(spec.tile_cache or _cache_folder(), spec.tile_cache_mb * 1_000_000)
        self._repeats = Repeats(self._cache, self.host)
        self._imagery = False

    def fetch_all(self, tiles: Tiles) -> list[tuple[tuple[int, int], Fetched]]:
        """Each tile's place with its result."""
        places, self._failures = list(tiles), 0
        cached = self._shared(places, tiles.zoom)
        lacking = [place for place in places if place not in cached]
        results = self._pool.map(lambda place: self._fetch(place, tiles.zoom), lacking)
        new = dict(zip(lacking, results, strict=True))
        self._share(new, tiles.zoom)
        fetched = [(place, cached[place] if place in cached else new[place]) for place in places]
        for (x, y), tile in fetched:
            if tile.pixels is not None:
                self._repeats.add((tiles.zoom, x, y), tile.digest, tile.pixels)
        return fetched

    def _shared(self, places: list[Place], zoom: int) -> dict[Place, Fetched]:
        """Tiles that this thread has decoded already, while reads are shared."""
        shared = kept()
        if shared is None:
            return {}
        tiles = {place: shared.find((id(self), zoom, place)) for place in places}
        return {place: replace(tile, size=0) for place, tile in tiles.items() if tile is not None}

    def _share(self, new: dict[Place, Fetched], zoom: int) -> None:
        if (shared := kept()) is not None:
            for place, tile in new.items():
                if not tile.fault:
                    shared.keep((id(self), zoom, place), tile)

    def placeholder(self, tile: Fetched) -> str:
        """A note if a tile is the image that a server sends for missing tiles; else empty.

        Called after ``fetch_all``, so that it does not depend on the order of the tiles.
        """
        if not tile.digest or not self._repeats.is_placeholder(tile.digest):
            return ""
        return (
            f"{self.host}: one image is sent for different tiles (sha256 {tile.digest[:12]}): "
            "it is treated as a placeholder, and those tiles as missing"
        )

    def has_imagery(self, seen: bool) -> bool:
        """Whether the server has ever sent anything but placeholders; ``seen``: it did just now."""
        key = f"imagery {self.template} {self.spec.version}"
        if not self._imagery:
            self._imagery = seen or bool(self._cache.get(key))
            if seen:
                self._cache.put(key, b"1")
        return self._imagery

    def _opened(self, data: bytes) -> Fetched:
        """Decode a body. Raises ValueError unless it is a whole image."""
        pixels = decode(data, self.spec.tile_px)
        digest = "" if pixels is None else hashlib.sha256(pixels.tobytes()).hexdigest()
        return Fetched(pixels, len(data), digest=digest)

    def _fetch(self, place: tuple[int, int], zoom: int) -> Fetched:
        x, y = place
        key = f"{self.template} {self.spec.subdomains} {self.spec.version} {zoom}/{x}/{y}"
        data = self._cache.get(key)
        if data is not None:
            try:
                return self._opened(data)
            except ValueError:
                self._cache.drop(key)
        return self._ask(key, fill_template(self.template, x, y, zoom, self.spec.subdomains))

    def _ask(self, key: str, url: str) -> Fetched:
        """Request a tile until there is a usable response or retries are exhausted."""
        fault, wait = "", 0.0
        for attempt in range(self.spec.retries + 1):
            if wait > _LONGEST_WAIT:
                break
            if reason := self._turn(wait):
                return self._failed(reason)
            data, fault, wanted = self._try(url)
            if data is not None:
                try:
                    tile = self._opened(data)
                except ValueError as error:
                    fault = str(error)
                else:
                    self._cache.put(key, data)
                    self._failures = 0
                    return tile
            elif wanted < 0:
                break
            elif wanted > _LONGEST_WAIT:
                return self._failed(self._refusal.begin(wanted, fault))
            # jitter, so that many clients do not come back all at once
            wait = max(wanted, _FIRST_WAIT * 2**attempt * (0.5 + random.random()))
            self._pace.hold(wanted)
        if fault.startswith(_USED_UP):  # however often it was asked
            return self._failed(self._refusal.begin(_QUOTA_PAUSE, fault, asked=False))
        self._failures += 1
        return self._failed(fault)

    def _failed(self, reason: str) -> Fetched:
        return Fetched(fault=f"{self.host}: {reason}")

    def _turn(self, wait: float) -> str:
        """Wait for a turn; return at once, with the reason, if no more requests are to be made."""
        if self._failures >= _GIVE_UP:
            return f"given up after {_GIVE_UP} failed tiles in a row"
        if not self._refusal.reason:
            self._pace.wait(wait)
        return self._refusal.reason  # which may have begun meanwhile

    def _try(self, url: str) -> tuple[bytes | None, str, float]:
        """A body; or a fault, and the wait (s) that the server demands, -1: forever."""
        try:
            with self._http.stream("GET", fill_keys(url)) as answer:
                if answer.status_code in _NO_TILE or _declared_empty(answer.headers):
                    return b"", "", 0
                if answer.status_code != httpx.codes.OK:
                    again = answer.status_code in _AGAIN
                    wait = _retry_after(answer.headers.get("Retry-After")) if again else -1
                    return None, f"HTTP {answer.status_code} {answer.reason_phrase}", wait
                return self._body(answer), "", 0
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # its text may contain the URL, and so a key
            return None, f"{type(error).__name__}{_cause(error)}", 0

    def _body(self, answer: httpx.Response) -> bytes:
        chunks, size, end = [], 0, time.monotonic() + _BODY_TIMEOUTS * self.spec.timeout
        for chunk in answer.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > _MOST_BYTES:
                raise httpx.DecodingError("too large")
            if time.monotonic() > end:  # a trickle of bytes counts as no response
                raise httpx.ReadTimeout("too slow")
        return b"".join(chunks)


def _check_redirect(answer: httpx.Response) -> None:
    """Check a redirect before it is followed. Raises TransportError for a private host."""
    to = answer.headers.get("Location", "")
    if answer.has_redirect_location and refused_redirect(str(answer.url), to):
        raise httpx.UnsupportedProtocol("redirected to a private host")


def _declared_empty(headers: httpx.Headers) -> bool:
    """Whether a server declares that the image it sends is not imagery."""
    return any(value in headers.get(name, "").lower() for name, value in _EMPTY)


class Pace:
    """A rate limit: at most ``rate`` calls of `wait` return per second, over all threads."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Let no call return for a while, at the server's request."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def wait(self, at_least: float = 0.0) -> None:
        """Return at the caller's turn, and not before ``at_least`` s have passed."""
        if at_least:
            time.sleep(at_least)
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._gap
        time.sleep(turn - now)


class Refusal:
    """The time for which a server refuses requests, if that is too long to wait."""

    def __init__(self) -> None:
        self._until = 0.0
        self._reason = ""
        self._lock = threading.Lock()

    @property
    def reason(self) -> str:
        """Why it must not be requested now; empty if it may be."""
        with self._lock:
            return self._reason if time.monotonic() < self._until else ""

    def begin(self, seconds: float, fault: str, *, asked: bool = True) -> str:
        """Stop requests for so many s; returns the reason. ``asked``: the server told how long.

        One refusal keeps one reason over all responses, as faults are counted by their text.
        """
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self._reason = refusal_line(fault, seconds, asked=asked)
            self._until = max(self._until, now + seconds)
            return self._reason


def decode(data: bytes, px: int) -> TilePixels | None:
    """A tile's pixels ``(y, x, rgba)``, ``px`` per side; None for an empty body, or an image of a
    few pixels, which some servers send for a missing tile.

    Raises ValueError unless it is a whole image.
    """
    if not data:
        return None
    if not data.startswith(_MAGIC):
        raise ValueError(f"a response is not an image but begins {data[:20]!r}")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if max(image.size) <= _BLANK:
                return None
            if not _is_tile(image.size, px):
                raise ValueError(f"a tile is {image.size[0]} x {image.size[1]} px, not {px}")
            tile = _in_bytes(image).convert("RGBA")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a tile is damaged: {one_line(error, 100)}") from None
    if tile.size != (px, px):
        tile = tile.resize((px, px), Image.Resampling.BOX)
    return np.asarray(tile)


def _is_tile(size: tuple[int, int], px: int) -> bool:
    """Whether a picture may be a tile: of the side that is expected, or of screens of another
    density. Any other, such as a banner of the server, shows no ground."""
    return size[0] == size[1] and size[0] in (px // 4, px // 2, px, 2 * px, 4 * px)


def _in_bytes(image: Image.Image) -> Image.Image:
    """16-bit greys as bytes; other images unchanged (Pillow itself converts 16-bit colours)."""
    if not image.mode.startswith("I"):
        return image
    deep = np.asarray(image)
    opaque = np.full(deep.shape, 255, np.uint8)
    if (clear := image.info.get("transparency")) is not None:
        opaque[deep == clear] = 0
    greys = np.clip(np.rint(deep / 257), 0, 255).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray(greys), Image.fromarray(opaque)])


def _retry_after(value: str | None) -> float:
    """Seconds, given as such or as a date; 0 if absent or invalid."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def _seconds_until(date: str) -> float:
    """Seconds from now to an HTTP date, in UTC if it has no zone; 0 if invalid."""
    try:
        then = email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError, TypeError, IndexError):  # depending on the fault
        return 0.0
    if then.tzinfo is None:
        then = then.replace(tzinfo=dt.UTC)
    return (then - dt.datetime.now(dt.UTC)).total_seconds()


def _cause(error: BaseException) -> str:
    """The system's reason for a failed connection, in brackets; never contains the URL."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            reason = cause.strerror or os.strerror(cause.errno)
            return f" ({' '.join(reason.split())})"
        cause = cause.__cause__ or cause.__context__
    return ""


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "geoloc" / "tiles"
