"""How the values of a raster file become colours: which bands, and their black and white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..area import GeotiffImagery, StacImagery
from ..errors import ImageryError
from .colours import Rgb
from .raster import RasterFile

_BYTE_BITS = 8

Range = tuple[float, float]
"""Values that become 0 and 255; the first is the greater if 0 is white."""
Unit = tuple[float, float]
"""Scale and offset of values to physical ones."""


@dataclass(frozen=True)
class Manner:
    """The red, green and blue bands, and the range of each; ``ranges`` None: bytes unchanged.

    ``nodata``, if given, replaces the file's own. Bands in ``light`` are not alpha, whatever the
    file says; nor are those that become colours.
    """

    bands: Rgb
    ranges: tuple[Range, Range, Range] | None = None
    nodata: float | None = None
    light: tuple[int, ...] = ()


def manner_of(
    file: RasterFile,
    spec: GeotiffImagery | StacImagery,
    bands: Rgb | None = None,
    units: Sequence[Unit] = (),
) -> Manner:
    """How a file is to be read for a specification.

    ``bands`` and ``units`` (one per band of the file) come from a catalog and override the file's
    own. Raises ImageryError if the specification cannot be applied to the file.
    """
    if file.palette:
        return Manner((1, 1, 1), nodata=spec.nodata)
    chosen = bands or spec.bands or file.colours.rgb
    if max(chosen) > file.bands:
        raise ImageryError(
            f"{file.shown} has {file.bands} bands, not bands {list(chosen)}: correct imagery bands"
        )
    scale = spec.scale or _whole_range(file)
    if scale is None:
        return Manner(chosen, None, spec.nodata)
    rescale = spec.rescale and spec.scale is not None
    red, green, blue = (
        _turned(file, _in_values(scale, (units or file.units)[band - 1]) if rescale else scale)
        for band in chosen
    )
    return Manner(chosen, (red, green, blue), spec.nodata)


def _whole_range(file: RasterFile) -> Range | None:
    """The range of a byte, or of its used bits; None if that is 0 to 255."""
    if file.dtype != "uint8":
        bits = f" of {file.bits} bits" if file.bits else ""
        raise ImageryError(
            f"{file.shown} is {file.dtype}{bits}: add to imagery the values that become black and "
            "white, such as scale: [0, 3000]"
        )
    if 0 < file.bits < _BYTE_BITS:
        return 0.0, 2.0**file.bits - 1
    return (0.0, 255.0) if file.inverted else None


def _in_values(scale: Range, unit: Unit) -> Range:
    """A range of physical values in the units of the file."""
    factor, offset = unit
    if not factor or not math.isfinite(factor):
        return scale
    return (scale[0] - offset) / factor, (scale[1] - offset) / factor


def _turned(file: RasterFile, scale: Range) -> Range:
    """The range reversed if the file is inverted, unless it is reversed already."""
    dark, bright = scale
    return (bright, dark) if file.inverted and dark < bright else scale


def remarks(
    file: RasterFile, spec: GeotiffImagery | StacImagery, *, bands_open: bool = True
) -> tuple[str, ...]:
    """What had to be assumed about a file, each as a sentence without its subject, the file.

    ``bands_open``: nothing but the file states which bands are which.
    """
    lines = []
    if bands_open and not file.palette and spec.bands is None and file.colours.assumed:
        lines.append(f"{file.colours.assumed}; write bands if that is wrong")
    if file.others:
        lines.append(
            f"holds {file.others + 1} images, of which the first is read; save the others as "
            "files of their own if they are needed"
        )
    if spec.nodata is None and (odd := _impossible(file)) is not None:
        lines.append(f"has the nodata value {odd:g}, which {file.dtype} cannot hold: it is ignored")
    return tuple(lines)


def _impossible(file: RasterFile) -> float | None:
    if np.dtype(file.dtype).kind == "f":
        return None
    limits = np.iinfo(np.dtype(file.dtype))
    stated = (value for value in file.nodata if value is not None)
    return next((v for v in stated if not limits.min <= v <= limits.max), None)
