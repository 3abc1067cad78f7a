"""Files of a remote folder, received in pieces: resumed, bounded, never too slow for any network.

The folder is on a web server, S3 or a disk. What arrives is believed only by its sha256.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..errors import GeolocError, ModelError
from ..files.whole import file_sha256
from ..stores import local_path, open_objects, reason_of, without_secrets
from .model import write_whole

Progress = Callable[[str, int, int], None]
"""Called while a file arrives: its name, bytes received, bytes in all."""

MOST_BYTES = 8 << 30
"""Of all the files of a model."""

_CHUNK = 1 << 20
# A large file may take long, but must not stall or trickle.
_PATIENCE = {"timeout": "24 hours", "read_timeout": "60 seconds"}
_SLOWEST, _WINDOW = 4096, 300.0  # bytes/s, averaged over so many s; s until a response begins


class Piece(NamedTuple):
    """A part of a file; ``size``: bytes of the whole file; ``version``: changes when it does."""

    content: bytes
    size: int
    version: str


@dataclass(frozen=True)
class RemoteFolder:
    """A folder at ``url``; ``shown``: the URL without a password."""

    url: str
    shown: str

    expected: ClassVar[str] = "the URL of a folder that holds it"

    @cached_property
    def store(self) -> Any:
        """The obstore store. Raises ModelError."""
        import obstore.store

        folder = local_path(self.url)
        with self._one_line_errors(""):
            if folder is None:
                return open_objects(self.url, **_PATIENCE)
            if not folder.is_dir():
                raise FileNotFoundError
            return obstore.store.LocalStore(folder)

    def pieces(self, name: str, start: int = 0) -> Iterator[Piece]:
        """A file in pieces, from byte ``start`` on. Raises ModelError."""
        import obstore

        wanted: Any = {"range": {"offset": start}} if start else None
        with self._one_line_errors(f"/{name}"):
            response = _in_time(lambda: obstore.get(self.store, name, options=wanted))
            meta, pace = response.meta, _Pace()
            size = int(meta["size"])
            version = f"{size} {meta.get('e_tag')} {meta.get('last_modified')}"
            for chunk in response.stream(min_chunk_size=1):  # else a trickle would be buffered
                pace.count(len(chunk))
                yield Piece(bytes(chunk), size, version)

    @contextlib.contextmanager
    def _one_line_errors(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError:
            raise ModelError(f"{self.shown}{what} does not exist: give {self.expected}") from None
        except ModelError:
            raise
        except (BaseError, GeolocError, OSError, ValueError) as error:
            reason = without_secrets(reason_of(error))
            raise ModelError(
                f"{self.shown}{what} cannot be fetched ({reason.split('<')[0].strip()[:300]}): "
                "what has arrived is kept; try again, or correct the URL or its credentials"
            ) from None


def receive(
    remote: RemoteFolder,
    name: str,
    path: Path,
    progress: Progress | None = None,
    *,
    room: int = MOST_BYTES,
) -> str:
    """Append what is missing of a file to ``path``, and return the sha256 of all of it.

    ``room``: limit of its bytes. An earlier attempt's part is gone on with where the server can,
    and the file is still the same; a file beside it, removed at the end, remembers which it was.
    Raises ModelError.
    """
    note = _note_of(path)
    digest, received = _begun(remote, name, path, note)
    size, pieces = received, remote.pieces(name, received)
    first = next(pieces, None)  # where none can be had, an earlier attempt's part stays
    with path.open("ab" if received else "wb") as stream:
        for piece in itertools.chain(() if first is None else (first,), pieces):
            size = max(piece.size, received + len(piece.content))
            if size > room:
                break
            if not received:
                write_whole(note, piece.version.encode())
            stream.write(piece.content)
            digest.update(piece.content)
            received += len(piece.content)
            if progress:
                progress(name, received, piece.size)
    if size > room:
        drop(path)
        raise ModelError(
            f"{remote.shown}/{name}: with it the model has more than {MOST_BYTES >> 20:,} MiB, "
            "the limit of a model; correct the URL"
        )
    note.unlink(missing_ok=True)
    return str(digest.hexdigest())


@contextlib.contextmanager
def arriving(folder: Path) -> Iterator[None]:
    """Make the folder that files arrive in. Where they fail to, it keeps what another attempt can
    go on from, and is gone where that is nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            _leave_useful(folder)
        raise


def _leave_useful(folder: Path) -> None:
    for part in folder.glob("*.part"):
        if not (part.stat().st_size and _note_of(part).is_file()):
            drop(part)
    if not any(folder.iterdir()):
        folder.rmdir()


def _note_of(part: Path) -> Path:
    """The file beside a part that remembers which file it is of."""
    return part.with_name(f"{part.name}.version")


def drop(path: Path) -> None:
    """Remove what was received, as it is not what was wanted."""
    for one in (path, _note_of(path)):
        one.unlink(missing_ok=True)


def is_right(path: Path, expected: str) -> bool:
    """Whether a file is there and has this sha256."""
    return path.is_file() and file_sha256(path) == expected


def _begun(remote: RemoteFolder, name: str, path: Path, note: Path) -> tuple[Any, int]:
    """The digest and size of an earlier attempt's part, if the server can resume from there.

    Otherwise those of nothing: also where the file is another now than it was then.
    """
    digest = hashlib.sha256()
    if path.is_file() and (size := path.stat().st_size):
        known = note.read_text() if note.is_file() else None
        with contextlib.suppress(ModelError, StopIteration):
            if next(remote.pieces(name, size)).version == known:
                with path.open("rb") as stream:
                    for chunk in iter(lambda: stream.read(_CHUNK), b""):
                        digest.update(chunk)
                return digest, size
    return digest, 0


class _Pace:
    """Raises TimeoutError for a transfer slower than any network would be."""

    def __init__(self) -> None:
        self._since, self._bytes = time.monotonic(), 0

    def count(self, size: int) -> None:
        self._bytes += size
        if (took := time.monotonic() - self._since) < _WINDOW:
            return
        if self._bytes < _SLOWEST * took:
            raise TimeoutError(f"less than {_SLOWEST} bytes a second for {took:.0f} s")
        self._since, self._bytes = time.monotonic(), 0


def _in_time(request: Callable[[], Any]) -> Any:
    """The result of a request, if it arrives within _WINDOW; heads may trickle, too."""
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((request(), None))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = answers.get(timeout=_WINDOW)
    except queue.Empty:
        raise TimeoutError(f"no answer within {_WINDOW:g} s") from None
    if error is not None:
        raise error
    return result
