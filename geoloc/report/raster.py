"""``heatmap.tif``: the distances as a Cloud Optimized GeoTIFF; ``heatmap_colors.tif``: as seen."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from ..domain import Grid
from ..files.gdal import gdal_writing, raster_bytes, write_cog
from .heat import color_scale, paper_palette, shrink
from .tandem import SCORE, Mapped

if TYPE_CHECKING:
    from .result import QueryResult
    from .survey import Survey
    from .views import Views

_COLOUR_PIXELS = 4096
_TILE = 256
_CACHE = 128  # MB of GDAL's blocks, for the whole process, as where imagery is read


def write_heatmap(result: Mapped, path: Path, _views: Views | None = None) -> None:
    """Write the distances as a COG: float32, NaN where nothing is known; tile by tile.

    Each pixel is centred on its cell. Statistics are stored so that QGIS stretches at once.
    """
    with rasterio.Env(GDAL_CACHEMAX=_CACHE):
        write_cog(
            path,
            raster_bytes(result.grid.shape, 4),
            partial(_write_plain, result),
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            BLOCKSIZE=_TILE,
            OVERVIEWS="FORCE_USE_EXISTING",
            BIGTIFF="IF_SAFER",
        )


def write_colors(result: QueryResult, path: Path, _views: Views | None = None) -> None:
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
    with (
        gdal_writing(path, raster_bytes(grid.shape, 1, overviews=False)),
        rasterio.open(path, "w", **profile, photometric="palette") as target,
    ):
        target.write(color_scale(result).levels(small), 1)
        target.write_colormap(1, table)


def _write_plain(result: Mapped, path: Path) -> None:
    grid = result.grid
    with rasterio.open(path, "w", **_profile(grid)) as target:
        for chunk in grid.chunks(size=_TILE):
            rows, cols = chunk.slices
            tile = np.asarray(result.heatmap[rows, cols], np.float32)
            target.write(tile, 1, window=Window.from_slices(rows, cols))
        target.update_tags(1, **_statistics(result.survey, grid))
        of_models = result.measure == SCORE
        target.set_band_description(1, SCORE if of_models else "distance")
        what = "score of several models" if of_models else "feature distance"
        target.update_tags(TIFFTAG_IMAGEDESCRIPTION=f"geoloc: {what}; small means plausible")
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


def _factors(grid: Grid) -> list[int]:
    """Halvings until the picture fits one tile; one at least, so that readers find one."""
    factors = [2]
    while max(grid.shape) / factors[-1] > _TILE:
        factors.append(factors[-1] * 2)
    return factors


def _statistics(survey: Survey, grid: Grid) -> dict[str, str]:
    """GDAL's statistics tags over the known cells."""
    if not survey.known:
        return {}
    return {
        "STATISTICS_MINIMUM": f"{survey.low:.9g}",
        "STATISTICS_MAXIMUM": f"{survey.high:.9g}",
        "STATISTICS_MEAN": f"{survey.mean:.9g}",
        "STATISTICS_STDDEV": f"{survey.deviation:.9g}",
        "STATISTICS_VALID_PERCENT": f"{100 * survey.known / grid.size:.4g}",
    }
