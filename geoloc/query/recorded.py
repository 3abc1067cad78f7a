"""What an answer was asked with, as its record says: cube, model, options and photos, certainly
unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..area import Area, polygon_file
from ..arrays import F32
from ..cube import Cube, list_generations
from ..errors import CubeError, GeolocError, ModelError, UsageError
from ..models import Model, is_url, load_model, model_of_digest
from ..names import text_path
from ..photos import Photo, PhotoView, read_photo
from ..progress import Stages, silent
from ..search import fuse
from ..stores import local_path, without_secrets
from ..video import read_frame
from .encode import encode_batches
from .items import QueryItem
from .options import QueryOptions
from .record import Record, records_of_models
from .session import file_digest
from .tandem import Tandem, assemble
from .target import Ref, Target, cube_url, several_models

_MADE_UP = ("/proc", "/sys", "/dev/fd", "/dev/pts")


def recorded_bank(record: Record, media: Path | None = None) -> list[Path]:
    """The photos that several models were calibrated by, certainly unchanged; see `reread`."""
    bank = record["tandem"]["bank"] if "tandem" in record else ()
    return [_original({"file": Path(one["path"]).name, **one}, media) for one in bank]


def recorded_tandem(
    record: Record,
    targets: Sequence[Target],
    models: Sequence[Model],
    bank: Sequence[Path],
    options: QueryOptions,
    progress: Stages = silent,
) -> Tandem:
    """The recorded models with their names, weights and names of the scene, asked of these
    cubes."""
    told = record["tandem"]["models"]
    weights, names = [one["weight"] for one in told], [one["name"] for one in told]
    scenes = [one["scene"] for one in told] if options.scene else None
    options = options.model_copy(update={"generation": None})
    return assemble(
        targets, models, bank, weights, options, names=names, scenes=scenes, progress=progress
    )


def parts_moved(record: Record, cube: str | Path | None) -> list[Ref | None]:
    """Where the cube of a record is now, or those of several models: those of an area file, each
    by the digest of the model that made it, in whichever order the file names them."""
    parts = records_of_models(record)
    area = None if cube is None else several_models(cube)
    if cube is None or (area is None and len(parts) == 1):
        return [cube] * len(parts)
    if area is None or len(area.parts) < len(parts):
        raise UsageError(
            f"the record is of {len(parts)} models, each with a cube: give --cube the area file "
            "that names them all"
        )
    left = [(part, _made_by(part.cube)) for part in area.parts]
    return [_taken(left, one["cube"], cube) for one in parts]


def _made_by(cube: str) -> str | CubeError:
    """The digest of the model that made a cube, or why it cannot be opened: none may ask for it."""
    try:
        return Cube.open(cube).model_digest
    except CubeError as error:
        return error


def _taken(left: list[tuple[Area, str | CubeError]], cube: Record, area: str | Path) -> Area:
    """The first area that is left with a cube of the recorded one's model; it is left no more.

    Raises UsageError where there is none, CubeError where one that cannot be opened may be it.
    """
    digest = str(cube.get("model_digest"))
    for place in left:
        if place[1] == digest:
            left.remove(place)
            return place[0]
    for _, made_by in left:
        if isinstance(made_by, CubeError):
            raise made_by
    raise UsageError(
        f"{area} names no cube of model {cube.get('model')} ({digest[:12]}), which the record "
        "has: give the area file of the recorded models"
    )


def recorded_question(
    record: Record, models: Sequence[Model], media: Path | None = None, name: str = ""
) -> QueryItem:
    """What was asked with: the photos as they were looked at, certainly unchanged, encoded anew;
    the vectors of several models one behind the other.

    ``name``: of its folder. Raises UsageError where an original is missing or changed, PhotoError
    where it cannot be decoded.
    """
    photos, vector = _encode(record, models, media)
    return QueryItem(record["title"], name, tuple(photos), vector)


def cube_named(record: Record, moved: Ref | None) -> Ref:
    """Where the record's cube is. Raises UsageError where that is elsewhere and not confirmed."""
    url = str(record["cube"]["cube"])
    if moved is None and local_path(url) is None:
        raise UsageError(
            f"the record names the cube {without_secrets(url)[:200]}, which is not on this "
            "disk, and a record may come from anyone: if you know it, name it with --cube"
        )
    return url if moved is None else moved


def recorded_cube(record: Record, moved: Ref | None) -> Cube:
    """The recorded generation, whichever is the current one."""
    named, generation = cube_named(record, moved), record["cube"]["generation"]
    url = str(named) if moved is None else cube_url(named)
    names = [one.name for one in list_generations(url)]
    if names and generation not in names:
        raise CubeError(
            f"cube {url} no longer has generation {generation}, which gave this answer: it was "
            f"pruned, and the answer cannot be repeated (still there: {', '.join(names)})"
        )
    return Cube.open(url, generation)


def recorded_options(record: Record) -> QueryOptions:
    """The recorded options, the polygons certainly unchanged. Raises UsageError."""
    options = QueryOptions.of_record(record["parameters"])
    files = {"within": options.within_sha256, "border": options.border_sha256}
    named = {key: getattr(options, key) for key in files if getattr(options, key) is not None}
    paths = {key: Path(text_path(str(path))) for key, path in named.items()}
    for key, path in paths.items():
        _require_stored(polygon_file(path))
        if file_digest(polygon_file(path)) != files[key]:
            raise UsageError(f"polygon {path} has changed since: restore it")
    return options.model_copy(update=paths)


def recorded_model(record: Record, target: Target) -> Model:
    """The model of the recorded digest: where it was, where the cube names it, or any installed.

    Raises ModelError where there is none, SpecMismatchError where it did not make the cube.
    """
    facts = record["model"]
    digest = str(facts.get("digest"))
    for name in filter(None, (facts.get("path"), target.cube.model_name)):
        if is_url(name):  # a record may be a stranger's: nothing is fetched for it
            continue
        with suppress(ModelError):
            if (model := load_model(name)).digest == digest:
                break
    else:
        stored = model_of_digest(digest)
        if stored is None:
            raise ModelError(
                f"model {facts['name']} ({digest[:12]}), which gave this answer, is not at "
                f"{facts.get('path')} and not installed; the cube there now is of model "
                f"{target.cube.model_name} ({target.cube.model_digest[:12]}): "
                "'geoloc models import' the recorded one"
            )
        model = stored
    if not model.serves(target.cube.model_digest):
        target.cube.require_model(model.name, model.digest)
    return model


def _encode(record: Record, models: Sequence[Model], media: Path | None) -> tuple[list[Photo], F32]:
    """The photos as they were looked at, together as before, and their vector or its mean."""
    photos = [reread(recorded, media) for recorded in record["photos"]]
    batches = list(encode_batches(photos, models))
    kept = [photo for batch, _ in batches for photo in batch]
    vectors = np.concatenate([vectors for _, vectors in batches])
    return kept, vectors[0] if len(vectors) == 1 else fuse(vectors)


def reread(recorded: Record, media: Path | None = None) -> Photo:
    """A recorded photo, frame, crop, from its unchanged original.

    Raises UsageError where that is missing or changed, PhotoError where it cannot be decoded.
    """
    path, frame, crop = _original(recorded, media), recorded.get("frame"), recorded.get("crop")
    photo = _frame_photo(path, recorded, float(frame["time"])) if frame else read_photo(path)
    part = None if crop is None else (crop[0], crop[1], crop[2], crop[3])
    return PhotoView(part, float(recorded.get("rotate") or 0.0)).of(photo)


def _frame_photo(path: Path, recorded: Record, time: float) -> Photo:
    frame = read_frame(path, time)
    if frame.sha256 != recorded["frame"]["sha256"]:
        raise GeolocError(
            f"{path} at {time:.3f} s decodes to different pixels than recorded: "
            "repeat with the recorded version of av"
        )
    return replace(frame.photo(path, recorded["sha256"]), origin={"frame": recorded["frame"]})


def _original(recorded: Record, media: Path | None) -> Path:
    """The original file, certainly unchanged."""
    paths = [path for path in _places(recorded, media) if path.is_file()]
    if not paths:
        raise UsageError(_missing(recorded, media))
    for path in paths:
        _require_stored(path)
        if file_digest(path) == recorded["sha256"]:
            return path
    raise UsageError(f"{paths[0]} has changed since: its SHA-256 is not {recorded['sha256']}")


def _require_stored(path: Path) -> None:
    """Raise UsageError for what the system makes up as it is read, which may have no end."""
    made_up = any(path.resolve().is_relative_to(folder) for folder in _MADE_UP)
    if made_up or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is not a regular file: neither an original nor a polygon")


def _places(photo: Record, media: Path | None) -> list[Path]:
    """Where the original may be. Raises UsageError where ``media`` is no folder."""
    if media is None:
        return [
            Path(text_path(photo["path"])),
            Path(photo["path"]),
        ]  # records had paths as they are
    if not media.is_dir():
        raise UsageError(f"--media {media} is not a folder: give the one that holds the originals")
    name = text_path(photo["file"])  # compared, not searched for: it may hold * or [1]
    return sorted(path for path in media.rglob("*") if path.name in (name, photo["file"]))


def _missing(recorded: Record, media: Path | None) -> str:
    if media is None:
        return f"{recorded['path']} is no longer there: give its folder with --media"
    return f"{recorded['file']} is not below --media {media}: give the folder that holds it"
