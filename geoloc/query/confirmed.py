"""Photos whose place has been confirmed: what was asked with, and where it was taken.

A file of JSON lines, one a photo (or several of one place), which only its owner can read. Of a
photo it keeps the SHA-256 and its feature vector, the confirmed place with the vector that the cube
has there, which cube and model that was, and the day. Neither the photo, its file name, nor
anything of its metadata: no position but the confirmed one.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from ..arrays import F32
from ..cube import Cube
from ..domain import Grid
from ..errors import CubeError, OutputError, UsageError
from ..files.whole import whole_file
from ..models import Model
from ..models.store import alone, store_dir
from .coordinates import Place, read_places
from .nearest import nearest_known, shows
from .options import first_fault
from .record import read_record, records_of_models
from .recorded import recorded_cube, recorded_model, recorded_question
from .target import Target

_MOST_BYTES = 256 << 20

Vector = Annotated[tuple[FiniteFloat, ...], Field(min_length=1)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Known(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CubeName(_Known):
    """Which cube was asked."""

    url: str
    generation: str
    model: Hex


class Confirmed(_Known):
    """A photo, or several of one place, and where it was taken (degrees, WGS84).

    view: what of the photo was looked at, empty for all of it; vector ``(feature,)``; cell: where
    the place is in the cube, and place_vector ``(feature,)`` what the cube has there; both null
    outside of it.
    """

    format: Literal["geoloc-confirmed/1"] = "geoloc-confirmed/1"
    photos: Annotated[tuple[Hex, ...], Field(min_length=1)]
    view: str = ""
    lat: Annotated[FiniteFloat, Field(ge=-90, le=90)]
    lon: Annotated[FiniteFloat, Field(ge=-180, le=180)]
    cube: CubeName
    cell: tuple[int, ...] | None = None
    vector: Vector
    place_vector: Vector | None = None
    confirmed: dt.date

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if (self.cell is None) != (self.place_vector is None):
            raise ValueError("cell and place_vector belong together")
        if self.place_vector is not None and len(self.place_vector) != len(self.vector):
            raise ValueError("the vectors are not of one length")
        return self

    @property
    def key(self) -> tuple[Any, ...]:
        """The question that it is of: another line of the same takes its place."""
        return (*self.photos, self.view, self.cube)

    def same_place(self, other: Confirmed) -> bool:
        """Whether nothing but the day differs."""
        return self.model_copy(update={"confirmed": other.confirmed}) == other


@dataclass(frozen=True)
class Confirmation:
    """A photo that was stored in ``file``; new: whether it was not there already; warnings;
    models: for how many, of which ``confirmed`` is the first."""

    confirmed: Confirmed
    file: Path
    new: bool
    warnings: tuple[str, ...]
    models: int = 1


def usual_file() -> Path:
    """Where confirmed photos are kept if no file is named: beside the models of the store."""
    return store_dir() / "confirmed.jsonl"


def confirm(
    record: str | Path,
    at: str,
    *,
    file: str | Path | None = None,
    cube: str | Path | None = None,
    media: str | Path | None = None,
    today: dt.date | None = None,
) -> Confirmation:
    """Store where the photo of a ``query.json`` was taken: ``at``, as people type coordinates.

    Of an answer of several models it is stored for each. Of two readings of the coordinates that
    in the cube is taken. ``cube``, ``media``: where the
    cube and the photos are now, if moved; the photos are only needed by a model with a readout.
    Confirmed again, nothing changes; at another place, the later one counts. Raises UsageError for
    a record without photos or a place that is none, CubeError, ModelError, and OutputError where
    the file cannot be written; then it stays as it was.
    """
    told = read_record(Path(record))
    if not told["photos"]:
        raise UsageError(f"{record} is of a scene, not of a photo: there is no place to confirm")
    readings, parts = read_places(at), records_of_models(told)
    if cube is not None and len(parts) > 1:
        raise UsageError(f"{record} is of several models, each with a cube: leave --cube out")
    day, where = today or dt.datetime.now(dt.UTC).date(), None if media is None else Path(media)
    found = [_found(part, cube, where, readings, day) for part in parts]
    path = usual_file() if file is None else Path(file)
    kept = [_store(confirmed, path) for confirmed, _ in found]
    warnings = (
        line
        for (confirmed, there), (_, before) in zip(found, kept, strict=True)
        for line in _warnings(confirmed, before, there)
    )
    new = any(is_new for is_new, _ in kept)
    return Confirmation(found[0][0], path, new, tuple(dict.fromkeys(warnings)), len(found))


def _found(
    told: dict[str, Any],
    moved: str | Path | None,
    media: Path | None,
    readings: Sequence[Place],
    day: dt.date,
) -> tuple[Confirmed, Cube]:
    """What is to be stored for one model, and its cube."""
    target = Target(recorded_cube(told, moved))
    model = recorded_model(told, target)
    vector = _vector(told, model, media)
    place = next((one for one in readings if _index(target.cube, one) is not None), readings[0])
    return _confirmed(told, target.cube, place, vector, day), target.cube


def read_confirmed(path: Path) -> tuple[Confirmed, ...]:
    """What was confirmed, the last line of each question. Raises UsageError naming the line."""
    try:
        if path.is_file() and path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} is larger than any file of confirmed photos")
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist: confirm photos with 'geoloc confirm query.json --at LAT,LON'"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    known: dict[tuple[Any, ...], Confirmed] = {}
    for number, line in enumerate(lines, start=1):
        try:
            one = Confirmed.model_validate_json(line)
        except ValidationError as error:
            raise UsageError(
                f"{path}:{number} is no confirmed photo ({first_fault(error)}): remove the line"
            ) from None
        known.pop(one.key, None)
        known[one.key] = one
    return tuple(known.values())


def _vector(told: dict[str, Any], model: Model, media: Path | None) -> F32:
    """The recorded one, where it is the feature vector itself; else that of the photos."""
    if model.spec.readout is not None:
        return recorded_question(told, [model], media).vector
    if tuple(told["vector"]) != model.features.names:
        raise UsageError("the record's vector is not of its model's classes: ask again")
    return np.array(list(told["vector"].values()), np.float32)


def _confirmed(
    told: dict[str, Any], cube: Cube, place: Place, vector: F32, today: dt.date
) -> Confirmed:
    index = _index(cube, place)
    there = None if index is None else cube.vector(*index)
    views = [[photo.get("crop"), photo.get("rotate")] for photo in told["photos"]]
    frames = [(photo.get("frame") or {}).get("sha256") for photo in told["photos"]]
    shown = [*views, *frames] if any(any(v) for v in views) or any(frames) else None
    return Confirmed(
        photos=tuple(photo["sha256"] for photo in told["photos"]),
        view="" if shown is None else json.dumps(shown),
        lat=place.lat,
        lon=place.lon,
        cube=CubeName(url=cube.url, generation=cube.generation, model=cube.model_digest),
        cell=None if there is None else index,
        vector=tuple(map(float, vector)),
        place_vector=None if there is None else tuple(map(float, there)),
        confirmed=today,
    )


def _index(cube: Cube, place: Place) -> tuple[int, ...] | None:
    """The cell of a place, or the nearest point whose imagery shows it; None outside of the cube.

    Of the imagery beside a place nothing can be learnt about the place.
    """
    if isinstance(cube.domain, Grid):
        return place.cell(cube.domain)
    try:
        point, _, _ = nearest_known(cube, place)
    except (UsageError, CubeError):  # none so near, or none that has imagery
        return None
    return (point.index,) if shows(cube, point) else None


def _warnings(found: Confirmed, before: Confirmed | None, cube: Cube) -> list[str]:
    told = []
    if found.cell is None:
        told.append(
            f"lat {found.lat:g}, lon {found.lon:g} is no place of the cube {cube.url}: it is "
            "stored, but nothing can be learnt from it"
        )
    if before is not None and (before.lat, before.lon) != (found.lat, found.lon):
        told.append(
            f"it was confirmed at lat {before.lat:g}, lon {before.lon:g} before: from now on the "
            "new place counts"
        )
    return told


def _store(found: Confirmed, path: Path) -> tuple[bool, Confirmed | None]:
    """Add a line, the file whole or as it was; whether it was new, and what was known before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_name(f".{path.name}.lock")):
            known = {one.key: one for one in read_confirmed(path)} if path.exists() else {}
            before = known.get(found.key)
            if before is not None and found.same_place(before):
                return False, before
            _write(path, [*_lines(path), found.model_dump_json()])
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error})") from None
    return True, before


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _write(path: Path, lines: Sequence[str]) -> None:
    with whole_file(path, alone=True) as part:
        part.touch(mode=0o600)
        part.chmod(0o600)  # also where a killed run has left it open to others
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
