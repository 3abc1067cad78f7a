"""Search: distances of photos to all cells of a cube, in one fused pass over its int8 codes.

It takes vectors, never a model; it holds a few blocks, never a cube.
"""

from __future__ import annotations

from .background import Background
from .distance import Query, fuse
from .heatmaps import BLOCK, Heatmap, StoredHeatmap, standing, strips
from .mask import WGS84, PolygonMask, project
from .reductions import RADIUS, Heatmaps, Place, Ranked, RankedMap, Reduction, Regional, TopK
from .regions import MOST_NEAREST, SAMPLE, RegionMin, RegionMinima, maps_at_once
from .scan import Piece, reduce_scan, reduce_scenes, scan, scan_scenes
from .work import Searchable

__all__ = [
    "BLOCK",
    "MOST_NEAREST",
    "RADIUS",
    "SAMPLE",
    "WGS84",
    "Background",
    "Heatmap",
    "Heatmaps",
    "Piece",
    "Place",
    "PolygonMask",
    "Query",
    "Ranked",
    "RankedMap",
    "Reduction",
    "RegionMin",
    "RegionMinima",
    "Regional",
    "Searchable",
    "StoredHeatmap",
    "TopK",
    "fuse",
    "maps_at_once",
    "project",
    "reduce_scan",
    "reduce_scenes",
    "scan",
    "scan_scenes",
    "standing",
    "strips",
]
