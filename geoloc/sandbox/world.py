"""A seeded world: any window of it, at any step, is reproducible in any order."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from ..domain import Grid
from .ground import tables
from .layout import Layout
from .objects import REACH, X, Y, draw
from .place_objects import place_objects
from .raster import paint_ground
from .roads import Road, find_roads
from .roadside import line_chunks, place_along
from .scene import LANDUSE, Scene
from .skyline import rise

CRS = "EPSG:32636"
CENTER = (364_500.0, 5_577_500.0)
"""Middle of every world: farmland some 40 km east of Kyiv, in UTM zone 36 north."""

PLOT_MARGIN = 650.0
"""Metres from a window to the sites of plots that matter to it, neighbours included."""
OVERHANG = 30.0
"""Metres that a plot's objects, or its bent edges, reach beyond its straight edges."""


class World:
    """``km`` kilometres of synthetic town and country, which continue beyond its bounds."""

    crs = CRS

    def __init__(self, seed: int = 0, km: float = 3.0, layout: Layout | None = None) -> None:
        self.seed = int(seed)
        self.km = float(km)
        self.layout = layout or Layout(self.seed, CENTER)
        self._plot_objects = lru_cache(maxsize=512)(self._place_objects)
        self._line_objects = lru_cache(maxsize=1024)(partial(place_along, self.layout))

    def __reduce__(self) -> tuple[type[World], tuple[int, float]]:
        return World, (self.seed, self.km)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in `crs`."""
        half = round(self.km * 500)
        x, y = self.layout.center
        return x - half, y - half, x + half, y + half

    def grid(self, step: float = 0.5) -> Grid:
        """Lattice of the whole world with cells of ``step`` metres."""
        return Grid.from_bounds(self.crs, self.bounds, step)

    def rasterize(self, window: Grid) -> Scene:
        """The world over a window with a step of 0.5 to 4 m, inside the bounds or beyond."""
        scene = self._ground(window)
        deck = np.where(scene.base > 0, scene.top, np.float32(0))
        draw(
            self._objects(window), window.left, window.top, window.step, self.seed * 7919,
            scene.top, scene.base, deck, scene.material, scene.color, scene.building,
        )  # fmt: skip
        return scene

    def heights(self, window: Grid) -> NDArray[np.float32]:
        """Height of the ground ``(y, x)`` in metres, at any step."""
        return self._ground(window).terrain

    def rise(self, window: Grid) -> float:
        """Metres that anything in a window rises above its lowest ground, at most."""
        plots = self.layout.plots(window.bounds, PLOT_MARGIN)
        objects = self._objects(window)
        return rise(self.layout.lines, self.seed * 7919, window, plots, objects)

    def _ground(self, window: Grid) -> Scene:
        scene = self._blank(window)
        plots = self.layout.plots(window.bounds, PLOT_MARGIN)
        sites, edges = tables(plots)
        (i0, j0), (i1, _) = plots[0].key, plots[-1].key
        lattice = np.array([i0, j0, i1 - i0 + 1])
        paint_ground(
            window.left, window.top, window.step, np.array(self.layout.center),
            np.array(self.layout.phase), self.layout.lines, sites, edges, self.seed * 7919, lattice,
            scene.terrain, scene.top, scene.base, scene.material, scene.landuse, scene.color,
        )  # fmt: skip
        return scene

    def _place_objects(self, i: int, j: int) -> NDArray[np.float64]:
        return place_objects(self.layout, self.layout.plot(i, j))

    def _objects(self, window: Grid) -> NDArray[np.float64]:
        """Objects that touch a window, always in the same order."""
        plots = self.layout.plots(window.bounds, PLOT_MARGIN)
        parts = [
            self._plot_objects(*plot.key) for plot in plots if plot.touches(window.bounds, OVERHANG)
        ]
        chunks = line_chunks(self.layout, window.bounds)
        parts += [self._line_objects(*chunk) for chunk in chunks]
        objects = np.concatenate(parts)
        left, bottom, right, top = window.bounds
        x, y, reach = objects[:, X], objects[:, Y], objects[:, REACH]
        near = (x + reach > left) & (x - reach < right) & (y + reach > bottom) & (y - reach < top)
        return objects[near]

    @cached_property
    def roads(self) -> list[Road]:
        """Roads and railways inside the bounds."""
        return find_roads(self.layout, self.bounds)

    def landuse_at(self, x: float, y: float) -> str:
        """Scene class (a name of `LANDUSE`) of the half metre that holds a point."""
        half = 0.5
        left, top = math.floor(x / half) * half, math.ceil(y / half) * half
        return LANDUSE[int(self._ground(Grid(self.crs, left, top, half, 1, 1)).landuse[0, 0])]

    @staticmethod
    def _blank(window: Grid) -> Scene:
        shape = window.shape
        return Scene(
            window,
            terrain=np.zeros(shape, np.float32),
            top=np.zeros(shape, np.float32),
            base=np.zeros(shape, np.float32),
            material=np.zeros(shape, np.uint8),
            landuse=np.zeros(shape, np.uint8),
            color=np.zeros((*shape, 3), np.uint8),
            building=np.zeros(shape, np.uint32),
        )
