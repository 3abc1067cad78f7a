"""Search: distances of photos to all cells of a cube, in one fused pass over its int8 codes.

It takes vectors, never a model; it holds a few blocks, never a cube.
"""

from __future__ import annotations

from .distance import Query, fuse
from .mask import WGS84, PolygonMask, project
from .scan import (
    Piece,
    heatmaps,
    scan,
    scan_scenes,
    scene_heatmaps,
)
from .work import Searchable

__all__ = [
    "WGS84",
    "Piece",
    "PolygonMask",
    "Query",
    "Searchable",
    "fuse",
    "heatmaps",
    "project",
    "scan",
    "scan_scenes",
    "scene_heatmaps",
]
