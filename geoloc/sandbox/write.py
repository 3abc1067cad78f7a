"""A whole world on disk, as written by ``geoloc sandbox``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import OutputError
from ..files.whole import write_whole
from ..progress import Stages, silent
from .catalog import write_world
from .photos import write_photos
from .telegram import write_telegram

_MARK = "sandbox.json"


def write_sandbox(
    folder: Path | str,
    *,
    seed: int = 0,
    km: float = 3.0,
    photos: int = 40,
    stages: Stages | None = None,
) -> dict[str, object]:
    """Write imagery with its catalog, roads, heights, photos with truth, and a chat export.

    The same arguments give the same world; an existing one is left unchanged. Returns the
    parameters and the area file's path. Raises UsageError for a size that cannot be made,
    OutputError if ``folder`` cannot be written or contains another world.
    """
    folder = Path(folder)
    asked = {"seed": seed, "km": km, "photos": photos}
    if not already_there(folder, asked):
        stage = stages or silent
        world = write_world(folder, seed, km, stage("rendering imagery"))
        seen = stage("rendering photos")
        write_photos(world, folder / "photos", photos, seed=seed, progress=seen)
        chat = stage("rendering the chat")
        write_telegram(world, folder / "telegram", seed, progress=chat)
        mark_done(folder, asked)
    return {**asked, "area": str(folder / "area.yaml")}


def mark_done(folder: Path, asked: Mapping[str, object]) -> None:
    """Record what a folder has; last, so that an interrupted world is made again."""
    write_whole(folder / _MARK, json.dumps(asked))


def already_there(folder: Path, asked: Mapping[str, object]) -> bool:
    """Whether the folder has what is asked for. Raises OutputError if it has another world."""
    mark = folder / _MARK
    try:
        existing = json.loads(mark.read_text())
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise OutputError(f"{mark} cannot be read ({error}): choose another folder") from None
    if existing != asked:
        raise OutputError(f"{folder} has another world ({existing}): choose another folder")
    return True
