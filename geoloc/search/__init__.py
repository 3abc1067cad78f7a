"""Search: distances of photos to all cells of a cube, in one fused pass over its int8 codes.

It takes vectors, never a model; it holds a few blocks, never a cube.
"""

from __future__ import annotations

from .heatmaps import Heatmap, StoredHeatmap, standing, strips
from .reductions import RADIUS, Heatmaps, Place, Ranked, RankedMap, Reduction, TopK
from .ruler import Query, Ruler, fuse
from .scan import Piece, reduce_scan, reduce_scenes, scan, scan_scenes, scene_vector
from .within import WGS84, Within, project
from .work import Searchable

__all__ = [
    "RADIUS",
    "WGS84",
    "Heatmap",
    "Heatmaps",
    "Piece",
    "Place",
    "Query",
    "Ranked",
    "RankedMap",
    "Reduction",
    "Ruler",
    "Searchable",
    "StoredHeatmap",
    "TopK",
    "Within",
    "fuse",
    "project",
    "reduce_scan",
    "reduce_scenes",
    "scan",
    "scan_scenes",
    "scene_vector",
    "standing",
    "strips",
]
