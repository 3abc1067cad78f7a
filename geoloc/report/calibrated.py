"""How much of the area has to be searched: what answers state where their model has the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .formatting import area_size, percent

if TYPE_CHECKING:
    from .result import QueryResult

_DIGITS = 6


@dataclass(frozen=True)
class Calibrated:
    """The true place lies in the best ``share`` (0..1) of the cells, ``km2``, with ``percent``;
    those are the cells with at most ``distance``. levels: shares by probability (%)."""

    percent: int
    share: float
    km2: float
    distance: float
    photos: int
    source: str
    levels: dict[int, float]

    @property
    def words(self) -> str:
        """One sentence, with what it holds under and what it was measured on."""
        return (
            f"The true place lies in the best {area_size(self.km2)} "
            f"({percent(100 * self.share)} of the cells searched) with {self.percent}\u202f%, "
            f"if the photo was taken in this area and is like the {self.photos:,} photos "
            f"that this was measured on ({self.source})."
        )

    def to_json(self) -> dict[str, Any]:
        """For machines, with the sentence for people."""
        per_share = self.km2 / self.share
        return {
            "percent": self.percent,
            "share": self.share,
            "km2": round(self.km2, _DIGITS),
            "distance": self.distance,
            "photos": self.photos,
            "source": self.source,
            "levels": {
                str(level): {"share": share, "km2": round(share * per_share, _DIGITS)}
                for level, share in self.levels.items()
            },
            "words": self.words,
        }


def calibrated(result: QueryResult) -> Calibrated | None:
    """What an answer states; None where its model has no figures, or they do not apply."""
    stated = result.search_share
    if stated is None or not result.survey.known:
        return None
    cell = result.step**2 / 1e6
    (distance,) = result.quantiles(np.array([stated.share])).tolist()
    return Calibrated(
        stated.percent,
        stated.share,
        stated.share * result.survey.known * cell,
        distance,
        stated.photos,
        stated.source,
        stated.levels,
    )


def calibrated_words(result: QueryResult) -> str:
    """The sentence, or nothing."""
    found = calibrated(result)
    return "" if found is None else found.words


def calibrated_record(result: QueryResult) -> dict[str, Any] | None:
    """For machines, or null."""
    found = calibrated(result)
    return None if found is None else found.to_json()
