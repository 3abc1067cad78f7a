"""The code from small windows: which ones, how many, and what it costs in values cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from geoloc.cube import Cube, plan_blocks
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.executors import InlineExecutor
from geoloc.imagery import ArraySource, Source
from geoloc.jobs.build import build_blocks
from geoloc.jobs.calibration import SIDE, WINDOWS, calibrate, draw_windows
from geoloc.jobs.plan import BuildPlan
from geoloc.models import Quantizer

from .cubes import CoarseEncoder, grid_of, mosaic, plan_of

GRID = grid_of(300, 420)


def plan_at(grid: Grid, source: Source, **changes: object) -> BuildPlan:
    return plan_of("memory", grid, source, open_encoder=CoarseEncoder, **changes)


def code_of(plan: BuildPlan) -> Quantizer | str:
    status = plan_blocks(plan.domain, plan.polygon)
    return calibrate(plan.task, status, InlineExecutor())


def windows(grid: Grid, polygon: shapely.Geometry | None = None) -> list[tuple[int, ...]]:
    blocks = np.argwhere(plan_blocks(grid, polygon) == 0)
    return [window.start for window in draw_windows(grid, blocks, polygon)]


def test_windows_are_small_different_all_over_and_always_the_same() -> None:
    drawn = windows(GRID)
    assert drawn == windows(GRID)
    assert len(set(drawn)) == len(drawn) == 1024
    assert {(y // 128, x // 128) for y, x in drawn[:WINDOWS]} == {
        (row, col) for row in range(3) for col in range(4)
    }


def test_windows_of_a_polygon_hold_cells_inside() -> None:
    left, _, _, top = GRID.bounds
    polygon = shapely.Polygon([(left, top), (left + 3000, top), (left, top - 2000)])
    drawn = windows(GRID, polygon)
    assert len(drawn) > WINDOWS
    for y, x in drawn:
        cells = GRID.window(slice(y, y + SIDE), slice(x, x + SIDE))
        assert shapely.contains_xy(polygon, *np.meshgrid(cells.x, cells.y)).any()


def test_a_tiny_area_has_few_windows() -> None:
    assert sorted(windows(grid_of(5, 9))) == [(y, x) for y in (0, 4) for x in (0, 4, 8)]


def test_the_code_is_that_of_the_windows_values() -> None:
    source, encoder = mosaic(GRID, gsd=10), CoarseEncoder()
    whole = source.read(encoder.window(GRID))
    window = encoder.window(GRID)
    vectors = encoder.encode(whole.values, whole.coords["valid"].values, window, GRID)
    cells = np.concatenate(
        [vectors[y : y + SIDE, x : x + SIDE].reshape(-1, 5) for y, x in windows(GRID)[:WINDOWS]]
    )
    code, naive = code_of(plan_at(GRID, source)), Quantizer.fit(cells.min(0), cells.max(0))
    assert isinstance(code, Quantizer)
    np.testing.assert_array_equal(code.scale, naive.scale)
    np.testing.assert_array_equal(code.offset, naive.offset)


def test_an_area_that_takes_less_than_its_windows_is_looked_at_as_a_whole() -> None:
    seen: list[tuple[int, int]] = []

    class Logging(CoarseEncoder):
        def encode(self, *args: Any) -> NDArray[np.float32]:
            seen.append(args[-1].shape)
            return super().encode(*args)

    for grid in (grid_of(10, 12), grid_of(40, 140)):
        code = code_of(replace(plan_at(grid, mosaic(grid, gsd=10)), open_encoder=Logging))
        assert isinstance(code, Quantizer)
    assert seen[0] == (10, 12) and len(seen) == 1 + WINDOWS
    assert max(map(max, seen[1:])) == SIDE


def test_it_fits_the_whole_area(tmp_path: object) -> None:
    plan = replace(plan_at(GRID, mosaic(GRID, gsd=10)), url=str(tmp_path))
    report = build_blocks(plan, cluster="inline")
    assert report.saturated_values < 1e-4 * GRID.size * 5
    codes = Cube.open(plan.url).read(slice(None), slice(None)).astype(int)
    assert np.ptp(codes) > 127  # nor is most of it left unused


def test_imagery_in_one_corner_alone_is_found() -> None:
    """Windows hardly meet it: whole blocks are looked at."""
    source = mosaic(GRID, gsd=10)
    valid = np.zeros(source.grid.shape, np.bool_)
    valid[-14:, -14:] = True
    code = code_of(plan_at(GRID, replace(source, valid=valid)))
    assert isinstance(code, Quantizer)
    with pytest.raises(ImageryError, match="no cell of the area has enough imagery"):
        code_of(plan_at(GRID, replace(source, valid=np.zeros_like(valid))))


def test_imagery_that_cannot_be_read_is_named_and_passed_over() -> None:
    source = mosaic(GRID, gsd=10)
    left, bottom, right, top = source.grid.bounds
    broken = replace(source, broken=((left, bottom, right, top),))
    assert "cannot be read" in str(code_of(plan_at(GRID, broken)))
    half = replace(source, broken=((left, bottom, (left + right) / 2, top),))
    assert isinstance(code_of(plan_at(GRID, half)), Quantizer)


class Gone(ArraySource):
    """Imagery whose archive is offline."""

    def read(self, window: Grid) -> None:  # type: ignore[override]
        raise ImageryError(f"offline at {window.left:.0f}")


def test_an_archive_that_is_offline_is_not_asked_a_thousand_times() -> None:
    source = mosaic(GRID, gsd=10)
    seen: list[int] = []

    class Counted(Gone):
        def read(self, window: Grid) -> None:  # type: ignore[override]
            seen.append(1)
            super().read(window)

    assert "offline" in str(code_of(plan_at(GRID, Counted(source.pixels, source.grid))))
    assert len(seen) <= 20
