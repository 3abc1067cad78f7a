"""The pixels of one raster file, as RGB on the lattice of a window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject
from rasterio.windows import Window

from ..arrays import F32, F64, U8, Bools
from ..domain import Grid
from .crs import centred_on, operation_at, same_crs
from .manner import Manner, Range
from .opening import open_raster
from .placing import Mesh, mesh_of
from .raster import RasterFile, forget_other_versions, gdal_environment
from .resample import Axis, resample
from .source import fill_gaps

_WARP_MEMORY = 64  # MB a read
_WARP_TOLERANCE = 0.05  # px: error allowed where GDAL interpolates a reprojection
_STRIP = 2_000_000  # file pixels held at once
_LEAST_SIDE = 16  # px: smaller windows are not halved
_OVERVIEW_MARGIN = 2.0  # overviews may be badly filtered: leave this much averaging to us
_SAME = 1e-3  # difference of two pixel sizes that counts as none
_REACH = 3  # px of margin, of a file and of a window, around the pixels needed
_OPAQUE = 255

Pixels = tuple[U8, Bools]
"""RGB ``(3, y, x)`` and validity ``(y, x)``."""
Values = tuple[NDArray[np.generic], Bools | None]
"""A file's own values ``(3 or 1, y, x)``, and which hold data (None: all)."""


def read_onto(file: RasterFile, window: Grid, manner: Manner) -> Pixels:
    """A file's pixels on exactly the window's lattice.

    Averages over the area of a pixel if the window is coarser than the file, bilinear if it is
    finer; pixels without data never mix with others. Raises one of READ_ERRORS.
    """
    forget_other_versions(file)
    shrinkage = file.shrinkage(window)
    options = _variant(file, shrinkage)
    with gdal_environment(file.href, file.known), open_raster(file.href, **options) as data:
        if file.upright and same_crs(file.crs, window.crs):
            return _read_direct(data, file, window, manner)
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        _Warp(data, file, manner, shrinkage).fill(window, pixels, valid)
        return pixels, valid


def _variant(file: RasterFile, shrinkage: float) -> dict[str, int]:
    """What to open: the coarsest overview that loses nothing.

    None for palette indices, nor for files that mark missing data in several ways: GDAL builds
    overviews by one of these alone, and moves valid values, or alpha, off the nodata value.
    """
    if file.palette or file.holes_differ:
        return {}
    most = shrinkage * (1 + _SAME)
    fit = [i for i, factor in enumerate(file.overviews) if factor * _OVERVIEW_MARGIN <= most]
    return {"OVERVIEW_LEVEL": fit[-1]} if fit else {}


def _read_direct(
    data: rasterio.DatasetReader, file: RasterFile, window: Grid, manner: Manner
) -> Pixels:
    """Separably by axis, in strips, for lattices that differ only in step and offset."""
    step_x, _, left, _, step_y, top = tuple(data.transform)[:6]
    x = Axis((window.left - left) / step_x, window.step / step_x, window.nx, data.width)
    y = Axis((window.top - top) / step_y, -window.step / step_y, window.ny, data.height)
    pixels = np.zeros((3, *window.shape), np.uint8)
    valid = np.zeros(window.shape, np.bool_)
    for rows in _strips(y, x):
        strip = y.part(rows.start, rows.stop)
        values, present = _read_source(data, file, manner, strip.source, x.source)
        resampled, valid[rows] = resample(values, present, strip, x)
        pixels[:, rows] = _to_bytes(resampled, manner.ranges)
    pixels[:, ~valid] = 0
    return pixels, valid


def _strips(y: Axis, x: Axis) -> Iterator[slice]:
    """Output rows whose file pixels fit in memory."""
    width = x.source.stop - x.source.start
    rows = max(int(_STRIP / width / y.ratio), 1)
    for start in range(0, y.count, rows):
        yield slice(start, min(start + rows, y.count))


def _read_source(
    data: rasterio.DatasetReader, file: RasterFile, manner: Manner, rows: slice, cols: slice
) -> Values:
    """The file's own values ``(3 or 1, y, x)``, and which hold data (None: all)."""
    window = Window.from_slices(rows, cols)
    if file.palette:
        values, present = _read_indices(data, file, manner, window)
    else:
        values, present = _read_bands(data, file, manner, window)
    if file.masked:
        present = _both(present, data.read_masks(1, window=window) > 0)
    return values, None if present is None or present.all() else present


def _read_bands(
    data: rasterio.DatasetReader, file: RasterFile, manner: Manner, window: Window
) -> Values:
    """The colour bands, and which pixels nodata values, NaN and alpha bands leave valid."""
    bands = manner.bands[:1] if len(set(manner.bands)) == 1 else manner.bands
    alpha = [band for band in file.alpha if band not in (*bands, *manner.light)]
    read: NDArray[np.generic] = data.read([*bands, *alpha], window=window)
    values = read[: len(bands)]
    present = _opaque(read[len(bands) :]) if alpha else None
    nodata = [_nodata(file, manner, band) for band in bands]
    if any(value is not None for value in nodata):
        present = _both(present, _holds_data(values, nodata, manner.ranges))
    if values.dtype.kind == "f":
        present = _both(present, np.isfinite(values).all(axis=0))
    return values, present


def _holds_data(
    values: NDArray[np.generic],
    nodata: Sequence[float | None],
    ranges: tuple[Range, Range, Range] | None,
) -> Bools:
    """Where ``values`` ``(band, y, x)`` hold data by the nodata value of each band.

    A value between black and white may be a colour: it is missing only where every band says so.
    Any other, such as -9999, is missing in whichever band it lies.
    """
    gaps = {
        at: values[at] == np.array(value).astype(values.dtype)
        for at, value in enumerate(nodata)
        if value is not None
    }
    colourless = [gap for at, gap in gaps.items() if not _may_be_a_colour(nodata[at], ranges, at)]
    missing = np.logical_and.reduce([*gaps.values()])
    return np.asarray(~np.logical_or.reduce([missing, *colourless]))


def _may_be_a_colour(
    value: float | None, ranges: tuple[Range, Range, Range] | None, band: int
) -> bool:
    return ranges is None or (value is not None and min(ranges[band]) <= value <= max(ranges[band]))


def _read_indices(
    data: rasterio.DatasetReader, file: RasterFile, manner: Manner, window: Window
) -> Values:
    """Palette colours; transparent and undefined entries are missing data."""
    colours = data.colormap(file.palette)
    table = np.zeros((max(colours) + 2, 4), np.uint8)  # the last one: undefined indices
    for index, rgba in colours.items():
        table[index] = rgba
    read = data.read([file.palette, *file.alpha], window=window)
    indices = read[0]
    rgba = table[np.minimum(indices.astype(np.int32), len(table) - 1)]
    present = rgba[..., 3] > 0
    if file.alpha:
        present &= _opaque(read[1:])
    if (nodata := _nodata(file, manner, file.palette)) is not None:
        present &= indices != nodata
    return rgba[..., :3].transpose(2, 0, 1), present


def _opaque(alpha: NDArray[np.generic]) -> Bools:
    """Where no alpha band ``(band, y, x)`` is 0."""
    return np.asarray(np.greater(alpha, 0).all(axis=0))


def _both(one: Bools | None, other: Bools) -> Bools:
    return other if one is None else one & other


@dataclass(frozen=True)
class _Warp:
    """One file and how it is read, for windows of any lattice."""

    data: rasterio.DatasetReader
    file: RasterFile
    manner: Manner
    shrinkage: float

    def fill(self, window: Grid, pixels: U8, valid: Bools) -> None:
        """Fill a window in place; in quarters if its source is large."""
        mesh = mesh_of(window, self.file.crs)
        left, _, right, _ = self.file.box
        by_shift = [(by, self._part(mesh, by)) for by in mesh.shifts(left, right)]
        parts = [(by, part) for by, part in by_shift if part is not None]
        most = max((_size(part) for _, part in parts), default=0)
        if most <= _STRIP or max(window.shape) <= _LEAST_SIDE:
            for by, part in parts:
                fill_gaps(pixels, valid, *self._moved(mesh, by, part, window))
            return
        for rows, cols in _quarters(window):
            self.fill(window.window(rows, cols), pixels[:, rows, cols], valid[rows, cols])

    def _part(self, mesh: Mesh, by: float) -> tuple[slice, slice] | None:
        transform = Affine.translation(by, 0) @ self.data.transform
        return _source_part(mesh, transform, self.data.shape, self.shrinkage)

    def _moved(self, mesh: Mesh, by: float, part: tuple[slice, slice], window: Grid) -> Pixels:
        """A part of the file, shifted by some turns of its CRS, on the window's lattice."""
        values, present = _read_source(self.data, self.file, self.manner, *part)
        corner = Affine.translation(part[1].start, part[0].start)
        transform = Affine.translation(by, 0) @ self.data.transform @ corner
        crs, options = self.file.crs, {}
        if mesh.moved:
            crs = centred_on(crs, _middle(mesh))
        elif operation := operation_at(crs, window.crs, *_center(window)):
            options = {"COORDINATE_OPERATION": operation}
        layers = _layers(values, present)
        moved, valid = _warped(layers, transform, crs, window, self.shrinkage, options)
        pixels = np.empty((3, *window.shape), np.uint8)
        pixels[:] = _to_bytes(moved, self.manner.ranges)
        pixels[:, ~valid] = 0
        return pixels, valid


def _layers(values: NDArray[np.generic], present: Bools | None) -> NDArray[Any]:
    """Values and, as a last band, 255 where valid: bytes or float32."""
    count, height, width = values.shape
    dtype = np.uint8 if values.dtype == np.uint8 else np.float32
    layers = np.empty((count + 1, height, width), dtype)
    layers[:-1] = values if present is None else np.where(present, values, 0)
    layers[-1] = _OPAQUE if present is None else np.where(present, _OPAQUE, 0)
    return layers


def _warped(
    layers: NDArray[Any],
    transform: Affine,
    crs: str,
    window: Grid,
    shrinkage: float,
    options: Mapping[str, str],
) -> tuple[NDArray[Any], Bools]:
    """Values and their validity by GDAL's warper, for any CRS and rotation."""
    moved = np.zeros((len(layers), *window.shape), layers.dtype)
    reproject(
        layers,
        moved,
        src_transform=transform,
        src_crs=crs,
        dst_transform=Affine(*window.transform),
        dst_crs=window.crs,
        src_alpha=len(layers),
        dst_alpha=len(layers),
        resampling=Resampling.average if shrinkage > 1 - _SAME else Resampling.bilinear,
        tolerance=_WARP_TOLERANCE,
        warp_mem_limit=_WARP_MEMORY,
        SRC_ALPHA_MAX=str(_OPAQUE),
        DST_ALPHA_MAX=str(_OPAQUE),
        **options,
    )
    return moved[:-1], moved[-1] > 0


def _source_part(
    mesh: Mesh, transform: Affine, shape: tuple[int, int], shrinkage: float
) -> tuple[slice, slice] | None:
    """Rows and columns of a raster that a window may need; None if it needs none."""
    if mesh.box is None:
        return None
    left, bottom, right, top = mesh.box
    known = np.isfinite(mesh.x) & np.isfinite(mesh.y)
    room = (right - left - np.ptp(mesh.x[known])) / 2, (top - bottom - np.ptp(mesh.y[known])) / 2
    across, down = ~transform @ (mesh.x[known], mesh.y[known])
    a, b, _, d, e, _ = (~transform)[:6]
    reach = _REACH * max(shrinkage, 1.0) + 1
    cols = _limits(across, abs(a) * room[0] + abs(b) * room[1] + reach, shape[1])
    rows = _limits(down, abs(d) * room[0] + abs(e) * room[1] + reach, shape[0])
    return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None


def _limits(at: F64, room: float, size: int) -> slice:
    """From the least to the greatest pixel, with a margin, clipped to the raster."""
    return slice(max(math.floor(at.min() - room), 0), min(math.ceil(at.max() + room), size))


def _size(part: tuple[slice, slice]) -> int:
    rows, cols = part
    return int((rows.stop - rows.start) * (cols.stop - cols.start))


def _quarters(window: Grid) -> Iterator[tuple[slice, slice]]:
    """A window split in two along each side that is long enough."""
    rows, cols = map(_halves, window.shape)
    return ((row, col) for row in rows for col in cols)


def _halves(count: int) -> list[slice]:
    half = count // 2
    return [slice(0, count)] if count <= _LEAST_SIDE else [slice(0, half), slice(half, count)]


def _center(window: Grid) -> tuple[float, float]:
    x, y = window.center(window.ny // 2, window.nx // 2)
    return float(x), float(y)


def _middle(mesh: Mesh) -> float:
    known = mesh.x[np.isfinite(mesh.x)]
    return float(known.min() + known.max()) / 2


def _nodata(file: RasterFile, manner: Manner, band: int) -> float | None:
    """A band's nodata value, if its type can hold it; NaN is always missing data."""
    dtype = np.dtype(file.dtype)
    nodata = file.nodata[band - 1] if manner.nodata is None else manner.nodata
    if nodata is None or math.isnan(nodata):
        return None
    if dtype.kind == "f":
        return nodata
    limits = np.iinfo(dtype)
    fits = float(nodata).is_integer() and limits.min <= nodata <= limits.max
    return nodata if fits else None


def _to_bytes(values: NDArray[np.generic], ranges: tuple[Range, Range, Range] | None) -> U8:
    """Stretch each band's range (None: 0..255) to 0..255, round and clip; NaN becomes 0."""
    if values.dtype == np.uint8 and ranges is None:
        return values.astype(np.uint8)
    stretched = values.astype(np.float32)
    if ranges is not None:
        dark, bright = np.array(ranges[: len(values)], np.float32).T[..., None, None]
        stretched = (stretched - dark) * (np.float32(255.0) / (bright - dark))
    clipped: F32 = np.clip(np.nan_to_num(stretched), 0, 255)
    return np.rint(clipped).astype(np.uint8)
