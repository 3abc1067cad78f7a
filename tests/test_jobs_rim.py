"""Cells that imagery does not serve, foreseen; the oracle counts them one by one."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoloc.domain import Grid
from geoloc.encoders.lattice import MIN_VALID
from geoloc.imagery import ArraySource
from geoloc.jobs.rim import _Fit, foresee_rim

from .cubes import grid_of

ENCODING = {"method": "patch", "gsd": 2.0, "patch_px": 80}


def naive(grid: Grid, box: tuple[float, float, float, float], side: float) -> float:
    beyond = 0
    for y in grid.y:
        for x in grid.x:
            here = shapely.box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
            share = here.intersection(shapely.box(*box)).area / side**2
            inside = box[0] <= x <= box[2] and box[1] <= y <= box[3]
            beyond += not (inside and share >= MIN_VALID - 1e-12)
    return beyond / grid.size


@given(
    st.floats(-150, 150), st.floats(-150, 150), st.floats(20, 400), st.floats(20, 400),
    st.floats(5, 300),
)  # fmt: skip
def test_the_extent_leaves_a_rim(
    dx: float, dy: float, width: float, height: float, side: float
) -> None:
    grid = grid_of(9, 13, 20)
    left, bottom = grid.left + dx, grid.bounds[1] + dy
    box = (left, bottom, left + width, bottom + height)
    found = _Fit(box, side).share_beyond(grid)
    assert found == pytest.approx(naive(grid, box, side), abs=1.5 / grid.size)


def source_of(grid: Grid, holes: bool = False) -> ArraySource:
    """Imagery of exactly this area; with ``holes`` the eastern third has none."""
    lattice = Grid(grid.crs, grid.left, grid.top, 4.0, grid.ny * 5, grid.nx * 5)
    valid = np.ones(lattice.shape, np.bool_)
    if holes:
        valid[:, lattice.nx * 2 // 3 :] = False
    return ArraySource(np.full((3, *lattice.shape), 90, np.uint8), lattice, valid)


def test_imagery_of_the_area_alone() -> None:
    grid = grid_of(40, 60, 20)
    rim = foresee_rim(grid, source_of(grid), ENCODING, None)
    assert rim.share == pytest.approx(naive(grid, grid.bounds, 160), abs=1e-9)
    assert rim.patch_m == 160
    assert f"{100 * rim.share:.1f} %" in rim.summary(grid.size)


def test_imagery_beyond_the_area_leaves_no_rim() -> None:
    grid = grid_of(40, 60, 20)
    rim = foresee_rim(grid, source_of(grid.pad(5)), ENCODING, None)
    assert (rim.share, rim.summary(grid.size)) == (0, "")


def test_gaps_inside_are_found_by_looking() -> None:
    grid = grid_of(40, 60, 20)
    rim = foresee_rim(grid, source_of(grid.pad(5), holes=True), ENCODING, None)
    assert rim.looked_at == 64
    assert 0.2 < rim.share < 0.5  # a third of the area, nearly


def test_only_cells_of_the_polygon_count() -> None:
    grid = grid_of(40, 60, 20)
    left, bottom, right, top = grid.bounds
    middle = shapely.box(left + 300, bottom + 200, right - 300, top - 200)
    assert foresee_rim(grid, source_of(grid), ENCODING, middle).share == 0
