"""The pixels of one raster file, as RGB on the lattice of a window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from ..area import GeotiffImagery
from ..grid import Grid
from .raster import RasterFile, forget_other_versions, gdal_environment, rgb_bands
from .resample import Axis, resample

_WARP_MEMORY = 64  # MB a read
_WARP_TOLERANCE = 0.05  # px: error allowed where GDAL interpolates a reprojection
_STRIP = 2_000_000  # file pixels held at once
_OVERVIEW_MARGIN = 2.0  # an overview may be badly filtered: leave so much averaging to do

Pixels = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""RGB ``(3, y, x)`` and validity ``(y, x)``."""


def read_onto(file: RasterFile, window: Grid, spec: GeotiffImagery) -> Pixels:
    """A file's pixels on exactly the window's lattice.

    Averages over the area of a pixel where the window is coarser than the file, bilinear
    where it is finer; pixels without data never mix with others. Raises one of READ_ERRORS.
    """
    forget_other_versions(file)
    shrinkage = file.shrinkage(window)
    href, options = _variant(file, shrinkage)
    with gdal_environment(file.href), rasterio.open(href, **options) as data:
        if file.upright and not file.palette and _same_crs(file.crs, window.crs):
            return _read_direct(data, file, window, spec)
        return _read_warped(data, file, window, spec, shrinkage)


def _variant(file: RasterFile, shrinkage: float) -> tuple[str, dict[str, int]]:
    """What to open: a palette as colours, or the coarsest overview that loses nothing."""
    if file.palette:
        return f"vrt://{file.href}?expand=rgba", {}
    fit = [i for i, f in enumerate(file.overviews) if f * _OVERVIEW_MARGIN <= shrinkage * 1.001]
    return file.href, {"OVERVIEW_LEVEL": fit[-1]} if fit else {}


def _read_direct(
    data: rasterio.DatasetReader, file: RasterFile, window: Grid, spec: GeotiffImagery
) -> Pixels:
    """By axes, strip by strip: for lattices that differ in step and offset only."""
    step_x, _, left, _, step_y, top = tuple(data.transform)[:6]
    x = Axis((window.left - left) / step_x, window.step / step_x, window.nx, data.width)
    y = Axis((window.top - top) / step_y, -window.step / step_y, window.ny, data.height)
    pixels = np.zeros((3, *window.shape), np.uint8)
    valid = np.zeros(window.shape, np.bool_)
    for rows in _strips(y, x):
        strip = y.part(rows.start, rows.stop)
        values, present = _read_source(data, file, spec, strip.source, x.source)
        resampled, valid[rows] = resample(values, present, strip, x)
        pixels[:, rows] = _to_bytes(resampled, spec.scale)
    pixels[:, ~valid] = 0
    return pixels, valid


def _strips(y: Axis, x: Axis) -> Iterator[slice]:
    """Output rows whose file pixels fit into memory."""
    width = x.source.stop - x.source.start
    rows = max(int(_STRIP / width / y.ratio), 1)
    for start in range(0, y.count, rows):
        yield slice(start, min(start + rows, y.count))


def _read_source(
    data: rasterio.DatasetReader, file: RasterFile, spec: GeotiffImagery, rows: slice, cols: slice
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """The file's own pixels ``(3 or 1, y, x)``, and which hold data (None: all)."""
    window = Window.from_slices(rows, cols)
    bands = rgb_bands(file, spec)
    distinct = bands[:1] if len(set(bands)) == 1 else bands
    values: NDArray[np.generic] = data.read(list(distinct), window=window)
    nodata = _nodata(file, spec)
    if file.masked:
        present = data.dataset_mask(window=window) > 0
    elif nodata is not None and not math.isnan(nodata):
        present = (values != nodata).any(axis=0)
    else:
        present = np.ones(values.shape[1:], np.bool_)
    if values.dtype.kind == "f":
        present &= np.isfinite(values).all(axis=0)
    return values, None if present.all() else present


def _read_warped(
    data: rasterio.DatasetReader,
    file: RasterFile,
    window: Grid,
    spec: GeotiffImagery,
    shrinkage: float,
) -> Pixels:
    """By GDAL's warper: for any CRS, rotation and palette."""
    with WarpedVRT(data, **_warp_options(file, window, spec, shrinkage)) as warped:
        bands = (1, 2, 3) if file.palette else rgb_bands(file, spec)
        alpha = 1 + next(i for i, k in enumerate(warped.colorinterp) if k == ColorInterp.alpha)
        wanted = sorted({*bands, alpha})
        values = warped.read(wanted)
    at = [wanted.index(band) for band in bands]
    valid = values[wanted.index(alpha)] > 0
    if values.dtype.kind == "f":
        valid &= np.isfinite(values[at]).all(axis=0)
    pixels = _to_bytes(values[at], spec.scale)
    pixels[:, ~valid] = 0
    return pixels, valid


def _warp_options(
    file: RasterFile, window: Grid, spec: GeotiffImagery, shrinkage: float
) -> dict[str, object]:
    options: dict[str, object] = {
        "crs": window.crs,
        "transform": Affine(*window.transform),
        "width": window.nx,
        "height": window.ny,
        "resampling": Resampling.average if shrinkage > 0.999 else Resampling.bilinear,
        "add_alpha": not (file.alpha or file.palette),
        "warp_mem_limit": _WARP_MEMORY,
        "tolerance": _WARP_TOLERANCE,
        "UNIFIED_SRC_NODATA": "YES",  # no data only where every band says so: black is a colour
    }
    nodata = _nodata(file, spec)
    return options if nodata is None else {**options, "src_nodata": nodata}


def _nodata(file: RasterFile, spec: GeotiffImagery) -> float | None:
    """The value that means no data, if the file's type can hold it; NaN always does."""
    if file.palette:
        return None  # its colour table says which entries are transparent
    dtype = np.dtype(file.dtype)
    nodata = file.nodata if spec.nodata is None else spec.nodata
    if dtype.kind == "f":
        return math.nan if nodata is None else nodata
    if nodata is None or not float(nodata).is_integer():
        return None
    limits = np.iinfo(dtype)
    return nodata if limits.min <= nodata <= limits.max else None


def _to_bytes(values: NDArray[np.generic], scale: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Stretch ``scale`` (None: 0..255) to 0..255, round and clip; NaN becomes 0."""
    if values.dtype == np.uint8 and scale is None:
        return values.astype(np.uint8)
    dark, bright = scale or (0.0, 255.0)
    stretched = (values.astype(np.float32) - dark) * (255.0 / (bright - dark))
    clipped: NDArray[np.float32] = np.clip(np.nan_to_num(stretched), 0, 255)
    return np.rint(clipped).astype(np.uint8)


@lru_cache(maxsize=256)
def _same_crs(one: str, other: str) -> bool:
    return one == other or bool(CRS.from_user_input(one) == CRS.from_user_input(other))
