"""Grids: the arithmetic that everything else stands on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloc.domain import Grid
from geoloc.errors import AreaError

CRS = "EPSG:32636"

coordinates = st.floats(-1e7, 1e7).map(lambda v: round(v, 3))
steps = st.sampled_from([0.3, 0.5, 0.5971642834779395, 1.0, 2.5, 10.0, 16.0, 100.0])
sizes = st.integers(1, 300)
brief = settings(max_examples=50)
grids = st.builds(Grid, st.just(CRS), coordinates, coordinates, steps, sizes, sizes)


def test_north_is_up_and_centres_lie_half_a_step_inside() -> None:
    grid = Grid.from_bounds(CRS, (100.0, 1000.0, 130.0, 1020.0), 10.0)
    assert grid.shape == (2, 3)
    assert grid.x.tolist() == [105.0, 115.0, 125.0]
    assert grid.y.tolist() == [1015.0, 1005.0]
    assert grid.center(1, 2) == (125.0, 1005.0)
    assert grid.index(101.0, 1019.0) == (0, 0)
    assert grid.index(99.9, 1019.0) is None
    assert grid.index(101.0, 999.0) is None


def test_partial_cells_are_left_out_at_the_right_and_the_bottom() -> None:
    grid = Grid.from_bounds(CRS, (0.0, 0.0, 39.0, 25.0), 10.0)
    assert grid.bounds == (0.0, 5.0, 30.0, 25.0)


@pytest.mark.parametrize("step", [0.1, 0.3, 0.7])
def test_decimal_steps_lose_no_cell_to_rounding(step: float) -> None:
    bounds = (300_000.1, 5_000_000.1, 300_000.1 + 1000 * step, 5_000_000.1 + 777 * step)
    assert Grid.from_bounds(CRS, bounds, step).shape == (777, 1000)


def test_bounds_smaller_than_a_cell_are_refused() -> None:
    with pytest.raises(AreaError, match="smaller than one cell of 10 m"):
        Grid.from_bounds(CRS, (30.1, 50.4, 30.3, 50.6), 10.0)


@pytest.mark.parametrize(
    ("step", "told"),
    [(0.0, "step 0 m: write a length above 0"), (-1.0, "step -1 m"), (math.nan, "step nan"),
     (1e-4, r"hold 2.5e\+13 cells of 0.0001 m.*: raise the step")],
)  # fmt: skip
def test_steps_that_make_no_grid_are_refused(step: float, told: str) -> None:
    with pytest.raises(AreaError, match=told):
        Grid.from_bounds(CRS, (0.0, 0.0, 500.0, 500.0), step)


@brief
@given(grids, st.integers(0, 10**9))
def test_a_centre_falls_into_its_own_cell(grid: Grid, seed: int) -> None:
    row, col = seed % grid.ny, seed % grid.nx
    x, y = grid.center(row, col)
    assert grid.index(x, y) == (row, col)
    assert (x, y) == pytest.approx((grid.x[col], grid.y[row]), abs=1e-6)


@brief
@given(grids)
def test_the_transform_maps_cell_edges(grid: Grid) -> None:
    a, b, c, d, e, f = grid.transform
    left, bottom, right, top = grid.bounds
    assert (c, f) == (left, top)
    assert (a * grid.nx + b * grid.ny + c) == pytest.approx(right)
    assert (d * grid.nx + e * grid.ny + f) == pytest.approx(bottom)


@brief
@given(grids, st.integers(20, 400))
def test_blocks_cover_every_cell_once(grid: Grid, size: int) -> None:
    count = np.zeros(grid.shape, int)
    blocks = list(grid.chunks(size=size))
    for block in blocks:
        count[block.slices] += 1
        assert count[block.slices].shape == block.shape
        assert grid.chunk(*block.index, size=size) == block
    assert (count == 1).all()
    assert len(blocks) == np.prod(grid.chunk_grid(size))


@brief
@given(grids, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 60), st.integers(1, 60))
def test_windows_stay_on_the_lattice(grid: Grid, y0: int, x0: int, ny: int, nx: int) -> None:
    window = grid.window(slice(y0, y0 + ny), slice(x0, x0 + nx))
    assert window.shape == (ny, nx)
    assert window.center(0, 0) == pytest.approx(grid.center(y0, x0), abs=1e-6)
    assert window.center(ny - 1, nx - 1) == pytest.approx(
        grid.center(y0 + ny - 1, x0 + nx - 1), abs=1e-6
    )


@brief
@given(grids, st.integers(0, 40))
def test_padding_and_cutting_it_off_again_changes_nothing(grid: Grid, cells: int) -> None:
    padded = grid.pad(cells)
    assert padded.shape == (grid.ny + 2 * cells, grid.nx + 2 * cells)
    back = padded.window(slice(cells, cells + grid.ny), slice(cells, cells + grid.nx))
    assert back.shape == grid.shape
    assert back.bounds == pytest.approx(grid.bounds, abs=1e-6)


def test_open_ended_windows_reach_the_edges() -> None:
    grid = Grid(CRS, 0.0, 100.0, 10.0, 10, 8)
    assert grid.window(slice(None), slice(None)) == grid
    assert grid.window(slice(4, None), slice(None, 3)) == Grid(CRS, 0.0, 60.0, 10.0, 6, 3)
