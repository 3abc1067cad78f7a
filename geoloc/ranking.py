"""By what the regions of a map are ranked."""

from __future__ import annotations

from enum import StrEnum


class Ranking(StrEnum):
    """By what regions are ranked; see `geoloc.candidates.regions` for each score."""

    MINIMUM = "minimum"
    QUANTILE = "quantile"
    CORRECTED = "corrected"
