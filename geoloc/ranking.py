"""By what the regions of a map are ranked."""

from __future__ import annotations

from enum import StrEnum


class Ranking(StrEnum):
    """By what regions are ranked; see `geoloc.candidates.regions` for each score."""

    MINIMUM = "minimum"
    QUANTILE = "quantile"
    CORRECTED = "corrected"
    NEAREST = "nearest"

    @property
    def words(self) -> str:
        """What the score of a region is, for people."""
        return _WORDS[self]


_WORDS = {
    Ranking.MINIMUM: "smallest distance",
    Ranking.QUANTILE: "low quantile of distances",
    Ranking.CORRECTED: "smallest distance, corrected for the number of points",
    Ranking.NEAREST: "mean of the nearest places",
}
