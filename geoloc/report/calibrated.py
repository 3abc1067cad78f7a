"""How much of the area has to be searched: what answers state where their model has the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from .formatting import area_size, percent

if TYPE_CHECKING:
    from ..models.calibration import SearchShare

_DIGITS = 6


@dataclass(frozen=True)
class Calibrated:
    """The true place lies in the best ``share`` (0..1) of the cells, ``km2``, with ``percent``;
    those are the cells with at most ``distance``. Of points there is no area. levels: shares by
    probability (%)."""

    percent: int
    share: float
    km2: float | None
    distance: float
    photos: int
    source: str
    searched: str
    levels: dict[int, float]

    @classmethod
    def of(cls, stated: SearchShare, km2: float | None, distance: float) -> Self:
        """What a model states of an answer: ``km2`` were searched, and the cells of the best
        share have at most this distance."""
        return cls(
            stated.percent, stated.share, None if km2 is None else stated.share * km2, distance,
            stated.photos, stated.source, stated.searched, stated.levels,
        )  # fmt: skip

    @property
    def _size(self) -> str:
        share = f"{percent(100 * self.share)} of the {self.searched} searched"
        return share if self.km2 is None else f"{area_size(self.km2)} ({share})"

    def _km2(self, share: float) -> float | None:
        return None if self.km2 is None else round(self.km2 * share / self.share, _DIGITS)

    @property
    def words(self) -> str:
        """One sentence, with what it holds under and what it was measured on."""
        return (
            f"The true place lies in the best {self._size} with {self.percent}\u202f% "
            "probability, if the photo was taken in this area and is like the "
            f"{self.photos:,} photos that this was measured on ({self.source})."
        )

    def to_json(self) -> dict[str, Any]:
        """For machines, with the sentence for people."""
        return {
            "percent": self.percent,
            "share": self.share,
            "km2": self._km2(self.share),
            "searched": self.searched,
            "distance": self.distance,
            "photos": self.photos,
            "source": self.source,
            "levels": {
                str(level): {"share": share, "km2": self._km2(share)}
                for level, share in self.levels.items()
            },
            "words": self.words,
        }


def calibrated_words(calibrated: Calibrated | None) -> str:
    """The sentence, or nothing."""
    return "" if calibrated is None else calibrated.words


def calibrated_record(calibrated: Calibrated | None) -> dict[str, Any] | None:
    """For machines, or null."""
    return None if calibrated is None else calibrated.to_json()
