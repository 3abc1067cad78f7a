"""What changes when a file's content does, on disk or on a server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from .raster import is_remote


def file_version(path: str) -> str:
    """Date and size of a local file; a server's ETag, or else its date and size.

    The URL alone where the server tells neither.
    """
    return _remote_version(path) if is_remote(path) else _local_version(path)


def _local_version(path: str) -> str:
    try:
        status = Path(path.removeprefix("file://")).stat()
    except OSError:
        return "missing"
    return f"{status.st_mtime_ns}-{status.st_size}"


def _remote_version(href: str) -> str:
    import obstore  # its stores speak http, s3, gs and az with the usual credentials

    parts = urlsplit(href)
    try:
        store = obstore.store.from_url(
            f"{parts.scheme}://{parts.netloc}", client_options={"allow_http": True}
        )
        facts = obstore.head(store, parts.path.lstrip("/"))
    except Exception:  # noqa: BLE001  (a server may refuse HEAD and yet serve the file)
        return href
    return str(facts["e_tag"] or f"{facts['last_modified']}-{facts['size']}")
