"""Where feature vectors belong: a regular grid of cells, or points, and the chunks of both."""

from __future__ import annotations

from .chunk import CHUNK_SIZE, Chunk, Domain, Index
from .grid import Grid
from .points import Points
from .regions import Regions, equal_area_crs, frame_of, region_crs
from .status import Status

__all__ = [
    "CHUNK_SIZE",
    "Chunk",
    "Domain",
    "Grid",
    "Index",
    "Points",
    "Regions",
    "Status",
    "equal_area_crs",
    "frame_of",
    "region_crs",
]
