"""Search: distances of photos to all cells of a cube, in one fused pass over its int8 codes.

It takes vectors, never a model; it holds a few blocks, never a cube.
"""

from __future__ import annotations

from .ruler import Query, Ruler, fuse
from .scan import (
    Piece,
    heatmaps,
    scan,
    scan_scenes,
    scene_heatmaps,
    scene_vector,
)
from .within import WGS84, Within, project
from .work import Searchable

__all__ = [
    "WGS84",
    "Piece",
    "Query",
    "Ruler",
    "Searchable",
    "Within",
    "fuse",
    "heatmaps",
    "project",
    "scan",
    "scan_scenes",
    "scene_heatmaps",
    "scene_vector",
]
