"""What changes when a file's content does, on disk or on a server."""

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

_AT_ONCE = 16  # servers' answers waited for


class Versions:
    """Versions of files; a server is asked once for each of its files.

    Travels to other processes with what it has learnt.
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
        """The version of each file; ``opened`` makes of its name the URL that a server takes.

        On disk: date and size. Of a server: the ETag, else date and size; "missing" where there
        is no such file. Where nothing tells, the name without its secrets; so also, unless it is
        to be ``sure``, where a server cannot be asked just now, which is not remembered. Raises
        ImageryError for such a server, CubeError for an AWS profile that is of no use.
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
        """One line where there are files whose versions nobody tells."""
        with self._lock:
            untold = [name for name, version in self._learnt.items() if version is None]
        if not untold:
            return ()
        files = "1 file" if len(untold) == 1 else f"{len(untold)} files"
        hosts = sorted({_host(name) for name in untold})
        return (
            f"the server tells no version of {files} ({', '.join(hosts[:5])}): changes there are "
            "not noticed",
        )

    def _ask(self, name: str, opened: Callable[[str], str]) -> Future[str | None] | None:
        """The answer that is under way; None where it is known."""
        with self._lock:
            if name in self._learnt:
                return None
            if name not in self._asked:
                pool, servers = self._means()
                self._asked[name] = pool.submit(servers.version, opened(name))
            return self._asked[name]

    def _awaited(self, name: str, answer: Future[str | None] | None) -> str | None:
        """Learn what is answered; one line where the server cannot be asked."""
        try:
            if answer is not None:
                self._learn(name, answer.result())
        except Unanswered as error:
            with self._lock:
                self._asked.pop(name, None)
            shown = without_secrets(name)
            return f"{shown} cannot be asked for its version now ({error}): try again later"
        return None

    def _cancel(self) -> None:
        """Let nothing wait any more, so that the process can end."""
        with self._lock:
            for answer in self._asked.values():
                answer.cancel()
            self._asked.clear()

    def _means(self) -> tuple[ThreadPoolExecutor, Servers]:
        from .servers import Servers  # its library is of no use to those who read from disk

        self._pool = self._pool or ThreadPoolExecutor(_AT_ONCE, "geoloc-versions")
        self._servers = self._servers or Servers()
        return self._pool, self._servers

    def _learn(self, name: str, version: str | None) -> None:
        with self._lock:
            self._learnt[name] = version
            self._asked.pop(name, None)


def _host(href: str) -> str:
    """A URL's host or bucket; of GDAL's other paths the kind, such as vsizip."""
    plain = without_secrets(href).removeprefix("/vsicurl/")
    with contextlib.suppress(ValueError):  # of what is no URL
        return urlsplit(plain).netloc or plain.split("/")[1]
    return plain


def _local_version(path: str) -> str:
    try:
        status = Path(path.removeprefix("file://")).stat()
    except OSError:
        return MISSING
    return f"{status.st_mtime_ns}-{status.st_size}"
