"""Photos from the web, kept beside the answers as evidence, each with a note where it is from."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from geoloc.errors import OutputError, PhotoError, UsageError
from geoloc.files.modes import make_folder, open_answer
from geoloc.files.whole import whole_file
from geoloc.names import free_name, safe_name
from geoloc.photos import read_photo

from .addresses import filled
from .downloading import TooLargeError, body, opened
from .running import shown, stage

_MOST_BYTES = 200_000_000
_SECONDS = 300.0  # for all of it
_LATER = (408, 425, 429)  # answers that are others after a while


@dataclass
class Fetched:
    """Paths of all photos; by path, where those of the web are from; by address, failures."""

    paths: list[str] = field(default_factory=list)
    origins: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def fetch_photos(photos: list[str], folder: Path) -> Fetched:
    """Fetch those of the web to ``folder``; one that cannot be had is a failure of its own."""
    fetched = Fetched()
    for photo in photos:
        if photo.startswith("/"):
            fetched.paths.append(photo)
            continue
        try:
            path = fetch_photo(photo, str(folder))
        except (PhotoError, UsageError, ConnectionError) as error:
            name = free_name(shown(photo), fetched.failures.__contains__, "{} ({})")
            fetched.failures[name] = str(error)
            continue
        fetched.paths.append(path)
        fetched.origins[path] = origin(Path(path), photo)
    return fetched


@stage("fetch photo")
def fetch_photo(address: str, folder: str) -> str:
    """See `store_photo`."""
    return str(store_photo(address, Path(folder)))


def store_photo(address: str, folder: Path) -> Path:
    """Store a photo of the web under its own name; the path. What is there is not fetched again.

    Beside it lies a note of where it is from and when it was fetched (`origin`). Raises PhotoError
    for what is not there, too large or no picture, UsageError for what is no address or a private
    host (`geoloc.net.hosts`), ConnectionError where nobody answers.
    """
    path = _place(address, folder)
    if not path.exists():
        content = _download(address, filled(address))
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        note = {"fetched_from": shown(address), "fetched_at": now}
        try:
            make_folder(path.parent)
            part = path.with_name(path.name + ".part")
            with open_answer(part, "wb") as file:
                file.write(content)
            _require_picture(part, address)
            with whole_file(_note_of(path)) as own, open_answer(own, encoding="utf-8") as noted:
                noted.write(json.dumps(note, ensure_ascii=False) + "\n")
            part.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def origin(path: Path, address: str) -> dict[str, str]:
    """``fetched_from`` and, where it was noted, ``fetched_at`` (ISO 8601) of a fetched photo."""
    try:
        noted = json.loads(_note_of(path).read_text(encoding="utf-8"))
        return {name: str(noted[name]) for name in ("fetched_from", "fetched_at")}
    except (OSError, ValueError, KeyError, TypeError):
        return {"fetched_from": shown(address)}


def _place(address: str, folder: Path) -> Path:
    """Where a photo is kept: addresses that differ in their query alone are different photos."""
    try:
        parts, digest = urlsplit(address), hashlib.sha256(address.encode()).hexdigest()[:8]
    except ValueError:
        raise _no_address(address) from None
    return folder / digest / safe_name(unquote(Path(parts.path).name))


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + ".source.json")


def _no_address(address: str) -> UsageError:
    return UsageError(f"{shown(address)} is no address: give an http(s) address of a photo")


def _download(address: str, secret: str) -> bytes:
    """The content of an address, which is asked for as ``secret``: with the worker's keys."""
    try:
        with opened(secret, _SECONDS) as response:
            if response.status_code >= 500 or response.status_code in _LATER:
                raise ConnectionError(
                    f"{shown(address)}: the server answers {response.status_code}"
                )
            if response.status_code != 200:
                raise PhotoError(f"{shown(address)}: the server answers {response.status_code}")
            return body(response, _MOST_BYTES, _SECONDS)
    except TooLargeError:
        raise PhotoError(f"{shown(address)} is larger than {_MOST_BYTES:,} bytes") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise _no_address(address) from None
    except (httpx.TooManyRedirects, httpx.DecodingError) as error:
        raise PhotoError(f"{shown(address)}: {type(error).__name__}") from None
    except httpx.HTTPError as error:
        raise ConnectionError(f"{shown(address)}: {type(error).__name__}") from None


def _require_picture(part: Path, address: str) -> None:
    """Keep nothing that is no picture: whatever a server sends would lie beside the answers."""
    try:
        read_photo(part)
    except (PhotoError, UsageError) as error:
        part.unlink()
        reason = str(error).replace(str(part), "").strip()
        raise PhotoError(f"{shown(address)} is no photo that can be read: {reason}") from None
