"""Cells that could not be searched: counted, with the reason; the oracle looks at each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geoloc.cube import (  # fmt: skip
    BlockWriter,
    Cube,
    CubeSpec,
    Ledger,
    Provenance,
    Status,
    create_generation,
    plan_blocks,
    publish,
)
from geoloc.models import FeatureSpace, Quantizer
from geoloc.query.coverage import REASONS, AskedCells, coverage
from tests.cubes import grid_of, write_cube

GRID = grid_of(140, 300)
LEFT, BOTTOM, RIGHT, TOP = GRID.bounds
POLYGON = shapely.Polygon(
    [(LEFT + 150, TOP - 100), (RIGHT - 333, TOP - 420), (LEFT + 900, BOTTOM + 77)]
)
WITHIN = shapely.box(LEFT + 400, BOTTOM + 200, LEFT + 1700, TOP - 250)


def inside(polygon: shapely.Geometry) -> np.ndarray[Any, Any]:
    return np.array([[polygon.contains(shapely.Point(x, y)) for x in GRID.x] for y in GRID.y])


def heatmap(seed: int = 1) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).random(GRID.shape).astype(np.float32)
    values[values < 0.2] = np.nan
    return values


@pytest.fixture
def cube(tmp_path: Path) -> Cube:
    """Six blocks; (0, 1) could not be read in full, (1, 2) is not built."""
    write_cube(tmp_path, np.ones((*GRID.shape, 2), np.float32))
    ledger = Ledger(tmp_path, "g0001")
    ledger.mark((0, 1), Status.BROKEN, "ab" * 32)
    ledger.mark((1, 2), Status.MISSING, "ab" * 32)
    return Cube.open(tmp_path)


def by_block(mask: np.ndarray[Any, Any]) -> dict[str, int]:
    """The reasons, from a mask of cells."""
    broken, missing = int(mask[:128, 128:256].sum()), int(mask[128:, 256:].sum())
    rest = int(mask.sum()) - broken - missing
    return {
        REASONS[Status.MISSING]: missing,
        REASONS[Status.BROKEN]: broken,
        REASONS[Status.DONE]: rest,
    }


@pytest.mark.parametrize("within", [None, WITHIN])
@pytest.mark.parametrize("area", [None, POLYGON])
def test_each_cell_that_was_asked_for_counts(
    cube: Cube, area: shapely.Geometry | None, within: shapely.Geometry | None
) -> None:
    values = heatmap()
    wanted = np.ones(GRID.shape, bool)
    for polygon in filter(None, (area, within)):
        wanted &= inside(polygon)
    found = coverage(cube, values, area, within)
    if area is None and within is None:
        assert found.asked is None
    else:
        assert isinstance(found.asked, AskedCells)
        np.testing.assert_array_equal(found.asked[slice(None)], wanted)
        np.testing.assert_array_equal(found.asked[97:131], wanted[97:131])
    expected = by_block(np.isnan(values) & wanted)
    assert found.lacking == {reason: n for reason, n in expected.items() if n}
    assert found.known


def test_nothing_lacks_where_all_is_known(cube: Cube) -> None:
    assert coverage(cube, np.ones(GRID.shape, np.float32), None, None).lacking == {}


def test_a_polygon_that_nobody_has_is_told_by_the_blocks(tmp_path: Path) -> None:
    spec = CubeSpec.of(GRID, polygon="ab" * 32, imagery={}, model="0" * 64, encoding={})
    space = FeatureSpace(("a", "b"), Quantizer.of_range(0.0, 1.0))
    status = plan_blocks(GRID, POLYGON)
    create_generation(tmp_path, "g0001", spec, space, status, model_name="t")
    writer, ledger = BlockWriter(tmp_path, "g0001"), Ledger(tmp_path, "g0001")
    for row, col in np.argwhere(status == Status.MISSING).tolist():
        block = GRID.chunk(row, col)
        writer.write(block, np.full((*block.shape, 2), np.nan, np.float32))
        writer.record(block, Provenance(fingerprint="ab" * 32, missing=10 * row + col))
        ledger.mark((row, col), Status.DONE, "ab" * 32)
    publish(tmp_path, "g0001")
    cube = Cube.open(tmp_path)
    empty = np.full(GRID.shape, np.nan, np.float32)
    marked = np.argwhere(status == Status.MISSING)
    told = sum(10 * row + col for row, col in marked.tolist())
    assert coverage(cube, empty, None, None).lacking == {REASONS[Status.DONE]: told}
    assert not coverage(cube, empty, None, WITHIN).known  # nobody knows which of them
    assert coverage(cube, empty, POLYGON, None).lacking == {
        REASONS[Status.DONE]: int(inside(POLYGON).sum())
    }
