"""Versions: values that change with a file's content, on disk or on a server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ImageryError
from ..stores import without_secrets
from .raster import is_remote
from .unanswered import MISSING, Unanswered

if TYPE_CHECKING:
    from .servers import Servers

_AT_ONCE = 16  # requests in flight


class Versions:
    """Versions of files; a server is queried once for each of its files.

    Pickled with the versions known so far.
    """

    def __init__(self) -> None:
        self._asked: dict[str, Future[str | None]] = {}
        self._learnt: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._servers: Servers | None = None

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_learnt": dict(self._learnt)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.__dict__.update(state)

    def of(
        self, names: Iterable[str], opened: Callable[[str], str] = str, *, sure: bool = True
    ) -> list[str]:
        """The version of each file; ``opened`` turns its name into the URL to request.

        On disk: date and size. On a server: the ETag, else date and size; "missing" for a file
        that does not exist. If the server gives none, the name without its secrets; likewise,
        but not remembered, if a server cannot be reached now and ``sure`` is False. Raises
        ImageryError for such a server if ``sure``, CubeError for an unusable AWS profile.
        """
        names = list(names)
        answers = {name: self._ask(name, opened) for name in names if is_remote(name)}
        try:
            unanswered = [fault for item in answers.items() if (fault := self._awaited(*item))]
        except (KeyboardInterrupt, SystemExit):
            self._cancel()
            raise
        if sure and unanswered:
            raise ImageryError(unanswered[0])
        return [
            (self._learnt.get(name) or without_secrets(name))
            if name in answers
            else _local_version(name)
            for name in names
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """One line if there are files without a known version."""
        with self._lock:
            unknown = [name for name, version in self._learnt.items() if version is None]
        if not unknown:
            return ()
        files = "1 file" if len(unknown) == 1 else f"{len(unknown)} files"
        hosts = sorted({_host(name) for name in unknown})
        return (
            f"the server gives no version of {files} ({', '.join(hosts[:5])}): changes there are "
            "not noticed",
        )

    def _ask(self, name: str, opened: Callable[[str], str]) -> Future[str | None] | None:
        """The pending answer; None if it is known."""
        with self._lock:
            if name in self._learnt:
                return None
            if name not in self._asked:
                pool, servers = self._means()
                self._asked[name] = pool.submit(servers.version, opened(name))
            return self._asked[name]

    def _awaited(self, name: str, answer: Future[str | None] | None) -> str | None:
        """Store an answer; one line if the server cannot be reached."""
        try:
            if answer is not None:
                self._learn(name, answer.result())
        except Unanswered as error:
            with self._lock:
                self._asked.pop(name, None)
            shown = without_secrets(name)
            return f"{shown} cannot be checked for its version now ({error}): try again later"
        return None

    def _cancel(self) -> None:
        """Cancel pending answers, so that the process can end."""
        with self._lock:
            for answer in self._asked.values():
                answer.cancel()
            self._asked.clear()

    def _means(self) -> tuple[ThreadPoolExecutor, Servers]:
        from .servers import Servers  # its library is not needed for files on disk

        self._pool = self._pool or ThreadPoolExecutor(_AT_ONCE, "geoloc-versions")
        self._servers = self._servers or Servers()
        return self._pool, self._servers

    def _learn(self, name: str, version: str | None) -> None:
        with self._lock:
            self._learnt[name] = version
            self._asked.pop(name, None)


def _host(href: str) -> str:
    """A URL's host or bucket, or the kind of another GDAL path, such as vsizip."""
    plain = without_secrets(href).removeprefix("/vsicurl/")
    with contextlib.suppress(ValueError):  # not a URL
        return urlsplit(plain).netloc or plain.split("/")[1]
    return plain


def _local_version(path: str) -> str:
    try:
        status = Path(path.removeprefix("file://")).stat()
    except OSError:
        return MISSING
    return f"{status.st_mtime_ns}-{status.st_size}"
