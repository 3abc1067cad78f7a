"""Models by URL: a model directory on a web server, S3 or a shared disk, copied into the store.

Nothing in it is trusted: names stay inside the directory, sizes held in memory are bounded, and a
file is accepted only if its sha256 is that in ``model.json``. A model appears in the store by one
rename, whole. The digest of each URL is recorded beside the models, so it is fetched once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import GeolocError, ModelError, UsageError
from ..files.whole import file_sha256
from ..stores import local_path, open_objects, reason_of, without_secrets
from .model import Model, parse_spec, read_model, write_whole
from .spec import MODEL_NAME, SPEC_FILE, ModelSpec
from .store import known_models, list_models, publish, refuse_other_folder, store_dir

Progress = Callable[[str, int, int], None]
"""Called while a file arrives: its name, bytes received, bytes in all."""

_LOG = logging.getLogger(__name__)
_SPEC_LIMIT = 4 << 20
_CHUNK = 1 << 20
_MOST_BYTES = 8 << 30  # of a model's files together
_SHORT = 12  # characters of a digest that distinguish drafts
# A large file may take long, but must not stall or trickle.
_PATIENCE = {"timeout": "24 hours", "read_timeout": "60 seconds"}
_SLOWEST, _WINDOW = 4096, 300.0  # bytes/s, averaged over so many s; s until a response begins


@dataclass(frozen=True)
class Fetched:
    """A model in the store; ``new``: whether it was just added."""

    model: Model
    new: bool


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


@dataclass(frozen=True)
class _Remote:
    """A model directory at ``url``; ``shown``: the URL without a password."""

    url: str
    shown: str

    @cached_property
    def store(self) -> Any:
        import obstore.store

        folder = local_path(self.url)
        with self._one_line_errors(""):
            if folder is None:
                return open_objects(self.url, **_PATIENCE)
            if not folder.is_dir():
                raise FileNotFoundError
            return obstore.store.LocalStore(folder)

    @cached_property
    def spec_text(self) -> bytes:
        """``model.json``, if its size is plausible."""
        text = bytearray()
        for chunk, _ in self.chunks(SPEC_FILE):
            text += chunk
            if len(text) > _SPEC_LIMIT:
                raise ModelError(
                    f"{self.shown}/{SPEC_FILE} is larger than {_SPEC_LIMIT >> 20} MiB: "
                    "that is not a model; correct the URL"
                )
        return bytes(text)

    @cached_property
    def model(self) -> Model:
        """The model that the directory claims to be; its ``path`` is meaningless."""
        return Model(Path(), _complete(parse_spec(self.spec_text, f"{self.shown}/{SPEC_FILE}")))

    def chunks(self, name: str, start: int = 0) -> Iterator[tuple[bytes, int]]:
        """A file in pieces, from byte ``start`` on, and its length. Raises ModelError."""
        import obstore

        wanted: Any = {"range": {"offset": start}} if start else None
        with self._one_line_errors(f"/{name}"):
            response = _in_time(lambda: obstore.get(self.store, name, options=wanted))
            size, pace = int(response.meta["size"]), _Pace()
            for chunk in response.stream(min_chunk_size=1):  # else a trickle would be buffered
                pace.count(len(chunk))
                yield bytes(chunk), size

    @contextlib.contextmanager
    def _one_line_errors(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError:
            raise ModelError(
                f"{self.shown}{what} does not exist: give the URL of a model's directory, which "
                f"holds {SPEC_FILE} and the files named in it"
            ) from None
        except ModelError:
            raise
        except (BaseError, GeolocError, OSError, ValueError) as error:
            reason = without_secrets(reason_of(error))
            raise ModelError(
                f"{self.shown}{what} cannot be fetched ({reason.split('<')[0].strip()[:300]}): "
                "what has arrived is kept; try again, or correct the URL or its credentials"
            ) from None


def is_url(model: str | Path) -> bool:
    """Whether a model is given by the URL of its directory."""
    return "://" in str(model)


def fetch_model(
    url: str, *, name: str | None = None, replace: bool = False, progress: Progress | None = None
) -> Fetched:
    """Copy the model at ``url`` into the store, under ``name`` or its own.

    Files received in an earlier attempt are not fetched again, nor is a model already in the
    store. Raises ModelError if it cannot be fetched, does not match its digests, or the name
    belongs to another model; UsageError for an invalid name or URL.
    """
    remote = _remote(url)
    if name is not None and not re.fullmatch(MODEL_NAME, name):
        raise UsageError(f"{name!r} cannot be a model's name: use letters, digits, . _ and -")
    return _into_store(remote, name or remote.model.name, replace, progress)


def fetch_aside(url: str) -> Model:
    """`fetch_model`, under a different name if another model has that one."""
    remote = _remote(url)
    _LOG.info("fetching the model at %s", remote.shown)
    digest, name = remote.model.digest, remote.model.name
    holder = known_models().get(name)
    if holder is not None and _digest_at(holder) != digest:
        name = f"{name[:80]}-{digest[:12]}"
    return _into_store(remote, name, False, None).model


def model_at_url(url: str) -> Path:
    """Directory in the store of the model at ``url``, which is fetched if necessary."""
    record = _origin(_remote(url).shown)
    digest = record.read_text() if record.is_file() else ""
    known = (model.path for model in list_models() if model.digest == digest)
    return next(known, None) or fetch_aside(url).path


def _remote(url: str) -> _Remote:
    try:
        parts = urlsplit(url)
        valid = bool(is_url(url) and parts.scheme and not parts.query and not parts.fragment)
    except ValueError:  # such as unclosed brackets
        valid = False
    if not valid:
        shown = without_secrets(re.split("[?#]", url)[0])
        raise UsageError(
            f"{shown} is not the URL of a model's directory: give one such as "
            "https://host/models/mine or s3://bucket/mine, with nothing after a ? or #"
        )
    plain = url.removesuffix(f"/{SPEC_FILE}").rstrip("/")
    return _Remote(plain, without_secrets(plain))


def _complete(spec: ModelSpec) -> ModelSpec:
    missing = set(spec.used_files()) - set(spec.files)
    if missing:
        raise ModelError(
            f"{SPEC_FILE} of model {spec.name} has no sha256 of {', '.join(sorted(missing))}: "
            "ask its author to write it again"
        )
    return spec


def _into_store(remote: _Remote, name: str, replace: bool, progress: Progress | None) -> Fetched:
    store, digest = store_dir(), remote.model.digest
    target = store / name
    with _writing(store), _alone(store / f".{name}.lock"):
        new = not _is_whole(target, digest)
        if new:
            _check_free(remote, name, replace)
            draft = store / f".{name}.{digest[:_SHORT]}.fetching"
            _fill(remote, draft, progress)
            publish(draft, target)
        for ending in ("fetching", "old"):  # left by a kill or an abandoned attempt
            for other in store.glob(f".{name}.{'?' * _SHORT}.{ending}"):
                shutil.rmtree(other)
        _origin(remote.shown).parent.mkdir(exist_ok=True)
        write_whole(_origin(remote.shown), digest.encode())
    return Fetched(read_model(target, verify=False), new)


def _check_free(remote: _Remote, name: str, replace: bool) -> None:
    refuse_other_folder(store_dir() / name)
    holder = known_models().get(name)
    if replace or holder is None:
        return
    other = _digest_at(holder)
    if other not in (None, remote.model.digest):
        raise ModelError(
            f"model {name!r} at {holder} ({other[:12]}) differs from that of {remote.shown} "
            f"({remote.model.digest[:12]}): choose a name with --name, or --replace it"
        )


def _fill(remote: _Remote, draft: Path, progress: Progress | None) -> None:
    draft.mkdir(parents=True, exist_ok=True)
    room = _MOST_BYTES
    for name, expected in remote.model.spec.files.items():
        if not _is_right(draft / name, expected):
            _fetch_file(remote, name, expected, draft / name, progress, room)
        room -= (draft / name).stat().st_size
    write_whole(draft / SPEC_FILE, remote.spec_text)


def _fetch_file(
    remote: _Remote,
    name: str,
    expected: str,
    path: Path,
    progress: Progress | None,
    room: int,
) -> None:
    """``room``: limit of its bytes."""
    part = path.with_name(f"{name}.part")
    digest, received = _begun(remote, name, part)
    with part.open("ab") as stream:
        for chunk, size in remote.chunks(name, received):
            if max(size, received + len(chunk)) > room:
                break
            stream.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if progress:
                progress(name, received, size)
        else:
            size = received
    if max(size, received) > room:
        part.unlink()
        raise ModelError(
            f"{remote.shown}/{name}: with it the model has more than {_MOST_BYTES >> 20:,} MiB, "
            "the limit of a model; correct the URL"
        )
    if digest.hexdigest() != expected:
        part.unlink()
        raise ModelError(
            f"{remote.shown}/{name}: its sha256 is {digest.hexdigest()[:12]}…, "
            f"{SPEC_FILE} says {expected[:12]}…: fetch it again, or have the model published again"
        )
    part.replace(path)


def _begun(remote: _Remote, name: str, part: Path) -> tuple[Any, int]:
    """The digest and size of an earlier attempt's part, if the server can resume from there.

    Otherwise the part is emptied. The final digest shows whether the pieces belong together.
    """
    digest, received = hashlib.sha256(), 0
    if part.is_file() and (size := part.stat().st_size):
        with contextlib.suppress(ModelError):
            next(remote.chunks(name, size))
            with part.open("rb") as stream:
                for chunk in iter(lambda: stream.read(_CHUNK), b""):
                    digest.update(chunk)
            return digest, size
    part.write_bytes(b"")
    return digest, received


def _is_right(path: Path, expected: str) -> bool:
    return path.is_file() and file_sha256(path) == expected


def _is_whole(target: Path, digest: str) -> bool:
    """Whether this model is in the store, with every file intact."""
    with contextlib.suppress(ModelError):
        return target.is_dir() and read_model(target).digest == digest
    return False


def _digest_at(folder: Path) -> str | None:
    with contextlib.suppress(ModelError):
        return read_model(folder, verify=False).digest
    return None


def _origin(shown: str) -> Path:
    """The file that records the digest of a URL's model."""
    return store_dir() / ".origins" / hashlib.sha256(shown.encode()).hexdigest()


@contextlib.contextmanager
def _writing(store: Path) -> Iterator[None]:
    try:
        store.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        where = error.filename or store
        raise ModelError(
            f"{where} cannot be written ({error.strerror or error}): make room or set GEOLOC_MODELS"
        ) from None


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Admit one process at a time; the system releases the lock when its holder dies."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
