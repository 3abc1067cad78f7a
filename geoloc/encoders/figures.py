"""Distances of photos of known places to their own place, by which a distance can be judged.

The figures are in a file of their own beside ``model.json``: they change no vector, so they are not
part of the model's digest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ..errors import ModelError
from ..models.model import Model, write_whole

FIGURES_FILE = "figures.json"
_QUANTILES = 101


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pairs: Annotated[int, Field(ge=1)]
    source: str
    distance_quantiles: Annotated[list[FiniteFloat], Field(min_length=2)]


@dataclass(frozen=True)
class PairFigures:
    """Distances of ``pairs`` photos to their own places: evenly spaced quantiles, ascending."""

    pairs: int
    source: str
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, distances: ArrayLike, source: str) -> PairFigures:
        """Quantiles of measured distances ``(pair,)``; ``source``: the pairs, in words."""
        known = np.asarray(distances, np.float64)
        quantiles = np.quantile(known, np.linspace(0, 1, _QUANTILES))
        return cls(known.size, source, tuple(round(float(v), 4) for v in quantiles))

    def share_as_far(self, distance: float) -> float:
        """The share (0..1) of these photos that are at least this far from their own place."""
        levels = np.linspace(1, 0, len(self.quantiles))
        return float(np.interp(distance, self.quantiles, levels))


def read_figures(model: Model) -> PairFigures | None:
    """The figures of a model, or None if it has none. Raises ModelError for a damaged file."""
    path = model.file(FIGURES_FILE)
    try:
        content = _File.model_validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"{path} has no figures of pairs ({reason}): delete it, or measure them again"
        ) from None
    return PairFigures(content.pairs, content.source, tuple(sorted(content.distance_quantiles)))


def write_figures(directory: Path, figures: PairFigures) -> None:
    """Write figures beside the ``model.json`` of a directory. Raises ModelError."""
    content = {
        "pairs": figures.pairs,
        "source": figures.source,
        "distance_quantiles": figures.quantiles,
    }
    write_whole(directory / FIGURES_FILE, (json.dumps(content, indent=1) + "\n").encode())
