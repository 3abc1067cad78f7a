"""The overhead imagery of a country, rendered when it is asked for.

A window is rendered on a lattice of the country's own, anchored at 0, about twice as fine as is
wanted, and warped from there: so a pixel's colour depends on its place alone, whatever the window.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...area import Bounds
from ...area.imagery import SandboxImagery
from ...domain import Grid
from ...errors import ImageryError, UsageError
from ...imagery.crs import box_in, pixel_side
from ...imagery.source import Item, as_window, fill_gaps, overlap
from ...imagery.warp import warp
from ..overhead import ACQUISITIONS, render_overhead
from .plan import CENTER, CRS, LEAST_KM, MOST_KM
from .sketch import sketch
from .world import Country, country_of

if TYPE_CHECKING:
    import xarray as xr

VERSION = 1
"""Of the pixels: raise it with every change of what a seed gives."""
FLIGHT = ACQUISITIONS[0]
BEYOND = 2000.0
"""Metres of imagery beyond the square that holds the country."""

_STEPS = (0.625, 1.25, 2.5)
"""Metres per pixel at which windows are rendered."""
_COARSEST = 8.0
"""m per px beyond which a country is only sketched: a tree is then less than a pixel."""
_STRIP = 1536
"""Rows and columns of the widest window rendered at once, px."""
_MOST_SEED = 2**40  # times a prime still an integer of compiled code
_MARGIN = 6  # px around a window: cubic samples see two

_RENDERING = threading.Lock()
"""Not every threading layer of numba may be entered by two threads at once."""


class SandboxSource:
    """A country's imagery; see `Source`."""

    def __init__(self, spec: SandboxImagery) -> None:
        """Raises ImageryError if the file does not describe a country."""
        self.spec = spec
        self.seed, self.km = read_country(Path(spec.path))

    @property
    def gsd(self) -> float:
        """m per px of the finest lattice."""
        return _STEPS[0]

    @cached_property
    def _box(self) -> Bounds:
        half, (x, y) = self.km * 500 + BEYOND, CENTER
        return x - half, y - half, x + half, y + half

    @property
    def _country(self) -> Country:
        return country_of(self.seed, self.km)

    @property
    def _item(self) -> Item:
        name = f"sandbox-country-{self.seed}-{self.km:g}km"
        return Item(name, self.spec.path, FLIGHT.date, str(VERSION))

    def bounds(self, crs: str) -> Bounds:
        """The square that holds the country, and some kilometres more."""
        return box_in(self._box, CRS, crs)

    def covers(self, window: Grid) -> bool:
        """Whether the window touches that square."""
        return overlap(self.bounds(window.crs), window) is not None

    def read(self, window: Grid) -> xr.DataArray:
        """The pixels of a window (see `Source.read`)."""
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        for part in _parts(window):
            rows, cols = part
            lattice = self._lattice(window.window(rows, cols))
            if lattice is not None:
                seen = warp(self._render(lattice), None, lattice, window.window(rows, cols))
                fill_gaps(pixels[:, rows, cols], valid[rows, cols], *seen)
        items = (self._item,) if valid.any() else ()
        return as_window(pixels, valid, window, items, (), 0)

    def fingerprint(self, window: Grid) -> str:  # noqa: ARG002  one image covers everything
        """SHA-256 over what determines the pixels."""
        return hashlib.sha256(json.dumps([self.seed, self.km, VERSION]).encode()).hexdigest()

    def _lattice(self, window: Grid) -> Grid | None:
        """The pixels of the country to render for a window; None outside of its imagery."""
        left, bottom, right, top = box_in(window.bounds, window.crs, CRS)
        if not all(map(math.isfinite, (left, bottom, right, top))):
            return None
        step = _step_for(window)
        west, south, east, north = self._box
        margin = _MARGIN * step
        x0, x1 = (max(left - margin, west) / step, min(right + margin, east) / step)
        y0, y1 = (max(bottom - margin, south) / step, min(top + margin, north) / step)
        col, row = math.floor(x0), math.ceil(y1)
        nx, ny = math.ceil(x1) - col, row - math.floor(y0)
        return Grid(CRS, col * step, row * step, step, ny, nx) if nx > 0 and ny > 0 else None

    def _render(self, lattice: Grid) -> NDArray[np.uint8]:
        """``(3, y, x)``."""
        with _RENDERING:
            if lattice.step > _STEPS[-1]:
                colours = sketch(self._country.plan, lattice)
            else:
                colours = render_overhead(self._country, lattice, FLIGHT)
        return np.ascontiguousarray(colours.transpose(2, 0, 1))


def _step_for(window: Grid) -> float:
    """m per px at which a window is rendered."""
    x, y = window.center(window.ny // 2, window.nx // 2)
    corner = np.array([x, x + window.step, x]), np.array([y, y, y - window.step])
    wanted = pixel_side(window.crs, *corner)
    if wanted > _COARSEST:
        return _STEPS[-1] * 2.0 ** math.floor(math.log2(wanted / _STEPS[-1]))
    return max([step for step in _STEPS if step <= wanted / 1.8], default=_STEPS[0])


def _parts(window: Grid) -> Iterator[tuple[slice, slice]]:
    """Rows and columns to read at once."""
    most = max(64, int(_STRIP / 2))
    for row in range(0, window.ny, most):
        for col in range(0, window.nx, most):
            yield (
                slice(row, min(row + most, window.ny)),
                slice(col, min(col + most, window.nx)),
            )


def read_country(path: Path) -> tuple[int, float]:
    """Seed and kilometres of a country's file. Raises ImageryError for any other file."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        seed, km = facts["seed"], float(facts["km"])
    except FileNotFoundError:
        raise ImageryError(
            f"{path} does not exist: name the country.json that geoloc sandbox --country wrote"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageryError(f"{path} does not describe a sandbox country ({error!r})") from None
    if facts.get("version") != VERSION:
        raise ImageryError(
            f"{path} is of another version of the sandbox ({facts.get('version')}, not {VERSION}): "
            "make the country again"
        )
    try:
        check_country(seed, km)
    except UsageError as error:
        raise ImageryError(f"{path}: {error}") from None
    return seed, km


def check_country(seed: object, km: float) -> None:
    """Raise UsageError for a country that cannot be made."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UsageError(f"seed {seed!r}: write a whole number")
    if abs(seed) > _MOST_SEED:
        raise UsageError(f"seed {seed} is too large: give up to {_MOST_SEED}")
    if not LEAST_KM <= km <= MOST_KM:
        raise UsageError(
            f"a country of {km:g} km cannot be made: give {LEAST_KM:g} to {MOST_KM:g} km"
        )
