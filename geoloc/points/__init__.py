"""Points of a country: drawn along its roads, kept in one file, read back in the order drawn."""

from __future__ import annotations

from .file import PointSet, read_points, writing_points
from .sample import Sampled, sample_area, sample_places, sample_roads
from .ways import Network

__all__ = [
    "Network",
    "PointSet",
    "Sampled",
    "read_points",
    "sample_area",
    "sample_places",
    "sample_roads",
    "writing_points",
]
