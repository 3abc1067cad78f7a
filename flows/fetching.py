"""Photos from the web, kept beside the answers as evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from geoloc.errors import OutputError, PhotoError, UsageError
from geoloc.names import safe_name

from .running import stage

_MOST_BYTES = 200_000_000
_SECONDS = 30.0


@stage("fetch photo")
def fetch_photo(address: str, folder: str) -> str:
    """Store a photo of the web under its own name; the path. What is there is not fetched again.

    Raises PhotoError for what is not there or too large, ConnectionError where nobody answers.
    """
    parts = urlsplit(address)
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    path = Path(folder) / digest / safe_name(unquote(Path(parts.path).name))
    if not path.exists():
        content = _download(address, f"{parts.hostname}{parts.path}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    return str(path)


def _download(address: str, shown: str) -> bytes:
    """``shown`` is the address without what may be secret in it."""
    content = bytearray()
    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=_SECONDS) as response:
            if response.status_code >= 500:
                raise ConnectionError(f"{shown}: the server answers {response.status_code}")
            if response.status_code != 200:
                raise PhotoError(f"{shown}: the server answers {response.status_code}")
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise PhotoError(f"{shown} is larger than {_MOST_BYTES:,} bytes")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise UsageError(f"{shown} is no address: give an http(s) address of a photo") from None
    except httpx.HTTPError as error:
        raise ConnectionError(f"{shown}: {type(error).__name__}") from None
    return bytes(content)


def fetch_photos(photos: list[str], folder: Path) -> tuple[list[str], Mapping[str, str]]:
    """Paths of all photos, those of the web fetched to ``folder``, and failures by address."""
    paths, failures = [], dict[str, str]()
    for photo in photos:
        if "://" not in photo:
            paths.append(photo)
            continue
        try:
            paths.append(fetch_photo(photo, str(folder)))
        except (PhotoError, ConnectionError) as error:
            failures[photo.split("?")[0]] = str(error)
    return paths, failures
