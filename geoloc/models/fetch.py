"""Models by URL: a model directory on a web server, S3 or a shared disk, copied into the store.

Nothing in it is trusted: names stay inside the directory, sizes held in memory are bounded, and a
file is accepted only if its sha256 is that in ``model.json``. A model appears in the store by one
rename, whole. The digest of each URL is recorded beside the models, so it is fetched once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from ..errors import ModelError, UsageError
from ..stores import without_secrets
from . import transfer
from .model import Model, parse_spec, read_model, write_whole
from .spec import MODEL_NAME, SPEC_FILE, ModelSpec
from .store import (
    alone,
    known_models,
    list_models,
    publish,
    refuse_other_folder,
    store_dir,
    writing,
)
from .transfer import Progress, RemoteFolder, arriving, drop, is_right, receive

_LOG = logging.getLogger(__name__)
_SPEC_LIMIT = 4 << 20
_SHORT = 12  # characters of a digest that distinguish drafts


@dataclass(frozen=True)
class Fetched:
    """A model in the store; ``new``: whether it was just added."""

    model: Model
    new: bool


@dataclass(frozen=True)
class _Remote(RemoteFolder):
    """A model directory at ``url``; ``shown``: the URL without a password."""

    expected: ClassVar[str] = (
        f"the URL of a model's directory, which holds {SPEC_FILE} and the files named in it"
    )

    @cached_property
    def spec_text(self) -> bytes:
        """``model.json``, if its size is plausible."""
        text = bytearray()
        for piece in self.pieces(SPEC_FILE):
            text += piece.content
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
    with writing(store), alone(store / f".{name}.lock"):
        new = not _is_whole(target, digest)
        if new:
            _check_free(remote, name, replace)
            draft = store / f".{name}.{digest[:_SHORT]}.fetching"
            with arriving(draft):
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
    room = transfer.MOST_BYTES
    for name, expected in remote.model.spec.files.items():
        if not is_right(draft / name, expected):
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
    found = receive(remote, name, part, progress, room=room)
    if found != expected:
        drop(part)
        raise ModelError(
            f"{remote.shown}/{name}: its sha256 is {found[:12]}…, "
            f"{SPEC_FILE} says {expected[:12]}…: fetch it again, or have the model published again"
        )
    part.replace(path)


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
