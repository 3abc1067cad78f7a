"""Areas to search against a naive flood, and the words about them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.candidates import Candidate
from geoloc.candidates import areas as module
from geoloc.candidates.areas import SearchArea, search_areas
from geoloc.domain import Grid
from geoloc.report.formatting import area_size, areas_text
from tests.array_cube import find_candidates

F32 = NDArray[np.float32]
Cell = tuple[int, int]


def grid_of(heatmap: F32, step: float = 10.0) -> Grid:
    return Grid("EPSG:32636", 300_211.0, 5_604_575.0, step, *heatmap.shape)


def blobs(ny: int, nx: int, seed: int) -> F32:
    """Smooth hills with missing cells, so that regions of all shapes arise."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1, (ny, nx))
    for _ in range(2):
        values = (values + np.roll(values, 1, 0) + np.roll(values, 1, 1)) / 3
    values[rng.random((ny, nx)) < 0.05] = np.nan
    return values.astype(np.float32)


def flood(best: NDArray[np.bool_], start: Cell) -> set[Cell]:
    found, todo = {start}, [start]
    while todo:
        row, col = todo.pop()
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            cell = row + dy, col + dx
            inside = 0 <= cell[0] < best.shape[0] and 0 <= cell[1] < best.shape[1]
            if inside and best[cell] and cell not in found:
                found.add(cell)
                todo.append(cell)
    return found


def between(one: Cell, other: Cell) -> float:
    """From edge to edge, in cells."""
    return math.hypot(*(max(abs(a - b) - 1, 0) for a, b in zip(one, other, strict=True)))


def apart(ones: Iterable[Cell], others: Iterable[Cell]) -> float:
    return min(between(a, b) for a in ones for b in others)


def naive(heatmap: F32, places: list[Cell], level: float, gap: float) -> list[set[Cell]]:
    """Cells of each area; ``gap`` from centre to centre, in cells."""
    groups: list[set[Cell]] = []
    for place in places:
        best = heatmap <= level
        cells = flood(best, place) if best[place] else {place}
        near = [g for g in groups if apart(g, cells) < gap - 1 or g & cells]
        groups = [g for g in groups if g not in near] + [set().union(cells, *near)]
    return sorted(groups, key=lambda g: min(i for i, p in enumerate(places) if p in g))


def cells_of(area: SearchArea, grid: Grid) -> set[Cell]:
    x, y = np.meshgrid(grid.x, grid.y)
    return set(zip(*np.nonzero(shapely.contains_xy(area.outline, x, y)), strict=True))


@settings(deadline=None, max_examples=40)
@given(
    ny=st.integers(1, 22), nx=st.integers(1, 22), seed=st.integers(0, 10_000),
    top=st.integers(1, 12), share=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    gap=st.sampled_from([0.0, 10.0, 21.0, 30.0, 45.0]),
)  # fmt: skip
def test_areas_are_those_of_a_naive_flood(
    ny: int, nx: int, seed: int, top: int, share: float, gap: float
) -> None:
    heatmap = blobs(ny, nx, seed)
    if np.isnan(heatmap).all():
        return
    grid, level = grid_of(heatmap), float(np.nanquantile(heatmap, share))
    found = find_candidates(heatmap, grid, top, 20.0)
    areas = search_areas(heatmap, grid, found, level, gap)
    expected = naive(heatmap, [(c.row, c.col) for c in found], level, gap / grid.step)
    assert [cells_of(area, grid) for area in areas] == expected
    assert sorted(rank for area in areas for rank in area.candidates) == [c.rank for c in found]
    for area in areas:
        assert area.outline.is_valid
        assert area.cells == len(cells_of(area, grid))
        assert area.km2 == pytest.approx(area.cells * 1e-4)
        assert all(
            cells_of(area, grid) >= {(c.row, c.col)} for c in found if c.rank in area.candidates
        )


def plain(ny: int, nx: int, *best: tuple[slice | int, slice | int]) -> F32:
    heatmap = np.full((ny, nx), 5, np.float32)
    for place in best:
        heatmap[place] = 1
    return heatmap


def at(heatmap: F32, *places: Cell, step: float = 10.0) -> list[Candidate]:
    grid = grid_of(heatmap, step)
    return [
        Candidate(rank, row, col, *grid.center(row, col), 30.0, 50.0, float(heatmap[row, col]), 1.0)
        for rank, (row, col) in enumerate(places, start=1)
    ]


def test_a_region_is_followed_beyond_its_first_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A road of best cells, three windows long, with two candidates far apart on it."""
    monkeypatch.setattr(module, "_WINDOW", 16)
    heatmap = plain(70, 90, (slice(5, 7), slice(3, 80)), (slice(5, 60), 79))
    areas = search_areas(heatmap, grid_of(heatmap), at(heatmap, (6, 4), (55, 79)), 1.0, 0)
    assert [a.candidates for a in areas] == [(1, 2)]
    assert areas[0].cells == 2 * 76 + 55
    assert areas[0].whole


def test_a_region_that_is_not_followed_to_its_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WINDOW", 16)
    monkeypatch.setattr(module, "_LARGEST", 32)
    heatmap = plain(200, 200, (slice(0, 200), slice(0, 200)))
    candidates = at(heatmap, (100, 100), (100, 110), (20, 20))
    areas = search_areas(heatmap, grid_of(heatmap), candidates, 1.0, 0)
    assert [a.candidates for a in areas] == [(1, 2), (3,)]
    assert [a.whole for a in areas] == [False, False]
    assert areas[0].cells == 33 * 33
    assert "at least" in areas_text(areas)


def test_a_candidate_that_is_no_best_cell_stands_alone() -> None:
    heatmap = plain(40, 40, (slice(2, 5), slice(2, 6)))
    areas = search_areas(heatmap, grid_of(heatmap), at(heatmap, (3, 3), (30, 30)), 1.0, 100)
    assert [(a.cells, a.candidates) for a in areas] == [(12, (1,)), (1, (2,))]
    assert areas[1].outline.bounds == pytest.approx((300_511, 5_604_265, 300_521, 5_604_275))


def test_regions_that_see_the_same_ground_are_one() -> None:
    """Three cells of 10 m between them: centres 40 m apart."""
    heatmap = plain(30, 60, (slice(4, 8), slice(2, 10)), (slice(4, 8), slice(13, 20)))
    candidates = at(heatmap, (5, 3), (5, 19))
    assert len(search_areas(heatmap, grid_of(heatmap), candidates, 1.0, 40.0)) == 2
    one = search_areas(heatmap, grid_of(heatmap), candidates, 1.0, 40.1)
    assert [(a.cells, a.candidates) for a in one] == [(4 * 15, (1, 2))]


def test_a_memory_map_of_a_country_is_looked_at_in_windows(tmp_path: Path) -> None:
    """40,000 x 40,000 cells, almost all of them a hole in the file."""
    shape = (40_000, 40_000)
    heatmap = np.memmap(tmp_path / "heatmap", np.float32, "w+", shape=shape)
    heatmap[20_000:20_003, 30_000:30_005] = -1  # all else is 0
    grid = Grid("EPSG:32636", 0.0, 5_000_000.0, 10.0, *shape)
    best = Candidate(1, 20_001, 30_002, *grid.center(20_001, 30_002), 30.0, 50.0, -1.0, 1.0)
    (area,) = search_areas(heatmap, grid, [best], -0.5)
    assert (area.cells, area.whole) == (15, True)


def test_without_candidates_there_is_nothing_to_search() -> None:
    assert search_areas(plain(3, 3), grid_of(plain(3, 3)), [], 1.0) == ()


def test_for_machines_and_in_words() -> None:
    heatmap = plain(40, 40, (slice(2, 5), slice(2, 6)), (slice(20, 24), slice(20, 30)))
    areas = search_areas(heatmap, grid_of(heatmap), at(heatmap, (3, 3), (22, 22), (22, 28)), 1.0, 0)
    assert areas[1].to_json() == {
        "rank": 2, "km2": pytest.approx(0.004), "cells": 40, "candidates": [2, 3],
        "lat": 50.0, "lon": 30.0, "whole": True,
    }  # fmt: skip
    assert areas_text(areas) == "3 candidates in 2 areas to search, 5,200\u202fm² in all"
    assert areas_text(areas[:1]) == "1 candidate in 1 area to search, 1,200\u202fm²"
    assert [area_size(v) for v in (0.0001, 0.0417, 0.417, 9.93, 1234.4)] == [
        "100\u202fm²", "0.042\u202fkm²", "0.42\u202fkm²", "9.9\u202fkm²", "1,234\u202fkm²",
    ]  # fmt: skip


def test_thousands_of_candidates_without_a_radius_are_looked_up_once_each() -> None:
    """Each region was once asked of every candidate: minutes for some thousands."""
    values = np.random.default_rng(3).uniform(0, 1, (50, 70)).astype(np.float32)
    grid = grid_of(values)
    candidates = find_candidates(values, grid, values.size, 0.0)
    level = float(np.quantile(values, 0.12))
    areas = search_areas(values, grid, candidates, level, gap=0.0)
    assert sorted(rank for area in areas for rank in area.candidates) == [
        *range(1, len(candidates) + 1)
    ]
    best, seen = values <= level, set[Cell]()
    for candidate in candidates:
        cell = candidate.row, candidate.col
        if cell not in seen and best[cell]:
            flooded = flood(best, cell)
            seen |= flooded
            (area,) = (a for a in areas if candidate.rank == a.candidates[0])
            assert area.cells == len(flooded) == len(area.candidates)
