"""Where models live on this machine: the store, and what the package ships."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..errors import ModelError
from ..files.swap import swap
from .model import SHIPPED, Model, read_model
from .spec import SPEC_FILE


def store_dir() -> Path:
    """Where models live: ``$GEOLOC_MODELS``, else the user's data directory (XDG)."""
    chosen = os.environ.get("GEOLOC_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "geoloc" / "models"


def known_models() -> dict[str, Path]:
    """Directories of the models of the store and of the shipped one, by the name of each."""
    store = store_dir()
    folders = sorted(store.iterdir()) if store.is_dir() else []
    found = {
        path.name: path
        for path in folders
        if not path.name.startswith(".") and (path / SPEC_FILE).is_file()  # drafts are hidden
    }
    if (SHIPPED / SPEC_FILE).is_file():
        found.setdefault("sandbox", SHIPPED)
    return found


def list_models() -> list[Model]:
    """The models of the store and the shipped one, by name; invalid ones are left out."""
    found = []
    for path in known_models().values():
        try:
            found.append(read_model(path, verify=False))
        except ModelError:
            continue
    return found


def model_of_digest(digest: str) -> Model | None:
    """An installed model that is this very function, under whatever name; its files checked."""
    for model in list_models():
        if model.digest == digest:
            try:
                return read_model(model.path)
            except ModelError:  # damaged: perhaps there is another copy
                continue
    return None


def refuse_other_folder(target: Path) -> None:
    """Raise ModelError where something lies there that is no model, and so is not ours."""
    if target.exists() and not (target / SPEC_FILE).is_file():
        raise ModelError(f"{target} is there and is no model: move it away, or choose another name")


def publish(draft: Path, target: Path) -> None:
    """Put a finished model into place: whoever looks finds what was there or the new one.

    Where the file system cannot exchange two folders, there is none for a moment. A kill leaves
    what was there under the draft's name, for the next one to remove.
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
