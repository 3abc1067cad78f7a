"""Where models are stored on this machine: the store, and the shipped ones."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError
from ..files.swap import swap
from .model import SHIPPED_MODELS, Model, read_model
from .spec import SPEC_FILE


def store_dir() -> Path:
    """The folder of models: ``$GEOLOC_MODELS``, else the user's data directory (XDG)."""
    chosen = os.environ.get("GEOLOC_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "geoloc" / "models"


def known_models() -> dict[str, Path]:
    """Directories of the models in the store and of the shipped ones, by name."""
    stored = _models_in(store_dir())
    return stored | {name: at for name, at in shipped_models().items() if name not in stored}


def shipped_models() -> dict[str, Path]:
    """Directories of the models that come with geoloc, by name."""
    return _models_in(SHIPPED_MODELS)


def _models_in(folder: Path) -> dict[str, Path]:
    folders = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        path.name: path
        for path in folders
        if not path.name.startswith(".") and (path / SPEC_FILE).is_file()  # drafts are hidden
    }


def list_models() -> list[Model]:
    """The models in the store and the shipped ones, by name; invalid ones are left out."""
    models = []
    for path in known_models().values():
        try:
            models.append(read_model(path, verify=False))
        except ModelError:
            continue
    return models


def model_of_digest(digest: str) -> Model | None:
    """An installed model with this digest, under any name; its files are checked."""
    for model in list_models():
        if model.digest == digest:
            try:
                return read_model(model.path)
            except ModelError:  # damaged: perhaps there is another copy
                continue
    return None


def refuse_other_folder(target: Path) -> None:
    """Raise ModelError if ``target`` exists and is not a model, and so is not ours."""
    if target.exists() and not (target / SPEC_FILE).is_file():
        raise ModelError(f"{target} exists and is not a model: move it away or choose another name")


def publish(draft: Path, target: Path) -> None:
    """Put a finished model into place: readers see the old or the new one.

    If the file system cannot exchange two folders, they see none for a moment. A kill leaves the
    old one under the draft's name, for the next call to remove.
    """
    if target.exists() and swap(draft, target):
        shutil.rmtree(draft, ignore_errors=True)
        return
    old = draft.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    try:
        draft.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def writing(store: Path) -> Iterator[None]:
    """Make the folder of the store. Raises ModelError, one line, where it cannot be written."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        where = error.filename or store
        raise ModelError(
            f"{where} cannot be written ({error.strerror or error}): make room or set GEOLOC_MODELS"
        ) from None


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Admit one process at a time; the system releases the lock when its holder dies."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
