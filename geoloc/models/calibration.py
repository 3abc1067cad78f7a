"""How much of an area has to be searched to find a place with a given probability.

Measured on photos of known places: in which share of the area, the best cells first, the true place
lay. The figures are in a file of their own beside ``model.json``, those that a user measured for a
shipped model in the model store: they change no vector, so they are not part of the model's digest.
They hold for a single photo, the model's own distance, and an
area that is searched as a whole, if the photo was taken there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from ..errors import ModelError
from .model import SHIPPED_MODELS, Model, write_whole
from .store import store_dir

CALIBRATION_FILE = "calibration.json"
STATED = 80
"""The probability, %, that answers state."""

Percent = Annotated[int, Field(ge=1, le=99)]
Searched = Literal["cells", "points"]
Share = Annotated[FiniteFloat, Field(gt=0, le=1)]


class Level(BaseModel):
    """The best ``share`` (0..1) of an area holds the true place with this probability; how often
    (%) it did for places that were left out, with the interval of that."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    share: Share
    coverage: FiniteFloat | None = None
    coverage_ci: tuple[FiniteFloat | None, FiniteFloat | None] | None = None


class Calibration(BaseModel):
    """The levels of a model by probability (%), and what they were measured on.

    searched: cells of a grid, or points: figures of the one say nothing of the other.
    normalisation: the score that the validation photos chose, "none" for the raw distance;
    normalisations: the figures that it was chosen by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1] = 1
    model: str
    photos: int = Field(ge=1)
    places: int = Field(ge=1)
    searched: Searched = "cells"
    source: str
    levels: dict[Percent, Level] = Field(min_length=1)
    normalisation: str = "none"
    normalisations: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        shares = [self.levels[percent].share for percent in sorted(self.levels)]
        if shares != sorted(shares):
            raise ValueError("a higher probability needs no smaller share")
        return self

    def share(self, percent: int = STATED) -> float | None:
        """The share (0..1) to be searched for a probability (%), or None where that is unknown."""
        level = self.levels.get(percent)
        return None if level is None else level.share


@dataclass(frozen=True)
class SearchShare:
    """What an answer states: the true place lies in the best ``share`` (0..1) of the cells, or
    of the points, with ``percent``."""

    percent: int
    share: float
    photos: int
    source: str
    searched: Searched
    levels: dict[int, float] = field(default_factory=dict)


def read_calibration(model: Model) -> Calibration | None:
    """The calibration of a model, or None if it has none. Raises ModelError for a damaged file,
    and for one that was measured with another model."""
    path = _own(model) if _own(model).is_file() else model.file(CALIBRATION_FILE)
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[-1].strip()
        if isinstance(error, ValidationError):
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ModelError(
            f"{path} is no calibration ({reason}): delete it, or measure it again with "
            "'geoloc evaluate … --calibrate'"
        ) from None
    if found.model != model.digest:
        raise ModelError(
            f"{path} was measured with another model ({found.model[:12]}): delete it, or measure "
            "it again with 'geoloc evaluate … --calibrate'"
        )
    return found


def search_share(model: Model) -> SearchShare | None:
    """What answers of a model state, or None where it has no calibration."""
    found = read_calibration(model)
    if found is None or (share := found.share()) is None:
        return None
    levels = {percent: level.share for percent, level in sorted(found.levels.items())}
    return SearchShare(STATED, share, found.photos, found.source, found.searched, levels)


def write_calibration(model: Model, calibration: Calibration) -> Path:
    """Write the calibration of a model: beside its ``model.json``, or, as an installed package may
    not be written to, in the model store for a shipped one. Raises ModelError."""
    shipped = model.path.is_relative_to(SHIPPED_MODELS.resolve())
    path = _own(model) if shipped else model.file(CALIBRATION_FILE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{path.parent} cannot be made ({error.strerror})") from None
    write_whole(path, calibration_text(calibration))
    return path


def _own(model: Model) -> Path:
    """Where the user's own figures for a shipped model are."""
    return store_dir() / ".calibrations" / f"{model.digest[:24]}.json"


def calibration_text(calibration: Calibration) -> bytes:
    """What the file holds."""
    text = json.dumps(calibration.model_dump(mode="json"), indent=1, ensure_ascii=False)
    return (text + "\n").encode()
