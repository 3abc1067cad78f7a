"""``heatmap.tif``: the distances as a Cloud Optimized GeoTIFF; ``heatmap_colors.tif``: as seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window

from ..domain import Grid
from .heat import levels, paper_palette, shrink

if TYPE_CHECKING:
    from .result import QueryResult

_COLOUR_PIXELS = 4096
_ROWS = 512  # rows written at a time: a heatmap may be larger than memory
_TILE = 256


def write_heatmap(heatmap: NDArray[np.float32], grid: Grid, path: Path) -> None:
    """Write distances ``(y, x)`` on ``grid`` as a COG: float32, NaN where nothing is known.

    Each pixel is centred on its cell. Statistics are stored so that QGIS stretches at once.
    """
    # One name, not a random one: what a killed run left is written over and removed by the next.
    plain = path.with_name(f".{path.name}.part")
    try:
        for torn in (plain, path):
            torn.unlink(missing_ok=True)  # GDAL reads what it replaces, and may choke on it
        _write_plain(heatmap, grid, plain)
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            BLOCKSIZE=_TILE,
            OVERVIEWS="FORCE_USE_EXISTING",
            BIGTIFF="IF_SAFER",
        )
    finally:
        plain.unlink(missing_ok=True)


def write_colors(result: QueryResult, path: Path) -> None:
    """Write the heatmap in its colours: a GeoTIFF of 8 bits with a colour table.

    For programs that draw pixels as they are, such as GIMP and viewers of pictures; QGIS opens
    it too. 0 is clear: nothing is known there. At most `_COLOUR_PIXELS` a side, each pixel with
    its best cell.
    """
    small, grid = shrink(result.heatmap, result.grid, _COLOUR_PIXELS)
    table = {0: (0, 0, 0, 0)}
    table |= {n: (*color, 255) for n, color in enumerate(paper_palette().tolist(), start=1)}
    profile = _profile(grid) | {"dtype": "uint8", "nodata": 0, "compress": "deflate"}
    path.unlink(missing_ok=True)  # as a killed run left it, GDAL may choke on it
    with rasterio.open(path, "w", **profile, photometric="palette") as target:
        target.write(levels(result).of(small), 1)
        target.write_colormap(1, table)


def _write_plain(heatmap: NDArray[np.float32], grid: Grid, path: Path) -> None:
    with rasterio.open(path, "w", **_profile(grid)) as target:
        for rows in _strips(grid.ny):
            strip = np.asarray(heatmap[rows], dtype=np.float32)
            target.write(strip, 1, window=Window(0, rows.start, grid.nx, strip.shape[0]))
        target.update_tags(1, **_statistics(heatmap))
        target.set_band_description(1, "distance")
        target.update_tags(
            TIFFTAG_IMAGEDESCRIPTION="geoloc: feature distance; small means plausible",
        )
        target.build_overviews(_factors(grid), Resampling.average)


def _profile(grid: Grid) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "width": grid.nx,
        "height": grid.ny,
        "count": 1,
        "dtype": "float32",
        "crs": grid.crs,
        "transform": Affine(*grid.transform),
        "nodata": np.nan,
        "tiled": True,
        "blockxsize": _TILE,
        "blockysize": _TILE,
        "BIGTIFF": "IF_SAFER",
    }


def _strips(ny: int) -> Iterator[slice]:
    for y0 in range(0, ny, _ROWS):
        yield slice(y0, min(y0 + _ROWS, ny))


def _factors(grid: Grid) -> list[int]:
    """Halvings until the picture fits one tile; one at least, so that readers find one."""
    factors = [2]
    while max(grid.shape) / factors[-1] > _TILE:
        factors.append(factors[-1] * 2)
    return factors


def _statistics(heatmap: NDArray[np.float32]) -> dict[str, str]:
    """GDAL's statistics tags over the known cells, in one pass by strips."""
    low, high, count, total, squares = np.inf, -np.inf, 0, 0.0, 0.0
    for rows in _strips(heatmap.shape[0]):
        strip = np.asarray(heatmap[rows], dtype=np.float64)
        known = strip[np.isfinite(strip)]
        if not known.size:
            continue
        low, high = min(low, known.min()), max(high, known.max())
        count, total = count + known.size, total + known.sum()
        squares += float(known @ known)
    if not count:
        return {}
    mean = total / count
    deviation = max(squares / count - mean * mean, 0.0) ** 0.5
    return {
        "STATISTICS_MINIMUM": f"{low:.9g}",
        "STATISTICS_MAXIMUM": f"{high:.9g}",
        "STATISTICS_MEAN": f"{mean:.9g}",
        "STATISTICS_STDDEV": f"{deviation:.9g}",
        "STATISTICS_VALID_PERCENT": f"{100 * count / heatmap.size:.4g}",
    }
