"""Candidates: coordinates, percentiles, exact explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import Transformer

from geoloc.candidates import (
    Candidate,
    explain_candidates,
    percentile_of,
    shared_scenes,
    with_attributes,
)
from geoloc.models import FeatureSpace
from geoloc.search import Query

from .array_cube import find_candidates, heatmaps, make_cube
from .test_search_reductions import grid_of, make_heatmap

F32 = NDArray[np.float32]


def test_coordinates_are_the_cells_centre() -> None:
    heatmap = make_heatmap(9, 13, 2)
    best = find_candidates(heatmap, grid_of(heatmap))[0]
    assert (best.x, best.y) == (300_211 + 10 * best.col + 5, 5_604_575 - 10 * best.row - 5)
    back = Transformer.from_crs(4326, 32636, always_xy=True).transform(best.lon, best.lat)
    assert back == pytest.approx((best.x, best.y), abs=0.01)
    assert 29 < best.lon < 31 and 50 < best.lat < 51


def test_nothing_known_gives_no_candidates() -> None:
    heatmap = np.full((3, 4), np.nan, np.float32)
    assert find_candidates(heatmap, grid_of(heatmap)) == []


def test_percentile_counts_known_cells_up_to_and_with_this_one() -> None:
    heatmap = np.float32([[1, 2, 2, np.nan], [3, 4, 5, 6]])
    assert percentile_of(heatmap, 0, 0) == pytest.approx(100 / 7)
    assert percentile_of(heatmap, 0, 1) == pytest.approx(300 / 7)
    assert percentile_of(heatmap, 1, 3) == 100
    assert percentile_of(heatmap, 0, 3) is None
    assert percentile_of(heatmap, 2, 0) is None and percentile_of(heatmap, 0, -1) is None


def test_shared_scenes_are_high_in_both() -> None:
    space = FeatureSpace(tuple("abcdefgh"))
    distance = space.distance()
    photo = [9.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    place = [7.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    shared = shared_scenes(space.explain(photo, place, distance))
    assert [t.scene for t in shared] == ["a"]
    flat = shared_scenes(space.explain(np.ones(8), np.ones(8), distance))
    assert flat == ()


def test_candidates_are_explained_from_the_cube() -> None:
    cube = make_cube(40, 50, 16, missing=0)
    photo = cube.values()[7, 9]
    found = find_candidates(heatmaps(cube, Query(photo))[0], cube.grid, top=4)
    explained = explain_candidates(found, cube, photo, terms=3)
    assert (explained[0].row, explained[0].col) == (7, 9)
    assert all(len(c.explanation) == 3 for c in explained)
    second = explained[1]
    parts = ((photo - cube.values()[second.row, second.col]) ** 2).astype(np.float64) / 16
    top = int(parts.argmax())
    assert second.explanation[0].scene == cube.features.names[top]
    assert second.explanation[0].share == pytest.approx(parts[top] / second.distance**2, rel=1e-4)
    assert [c.rank for c in explained] == [1, 2, 3, 4]


def test_candidates_of_points_carry_what_is_known_of_them() -> None:
    class Cube:
        def attributes(self, index: Sequence[int]) -> dict[str, NDArray[Any]]:
            every = {
                "highway": np.array(["", "path", "primary"]),
                "slope": np.array([1, 2, np.nan]),
            }
            return {name: values[list(index)] for name, values in every.items()}

    found = [Candidate(n, 0, 0, 0, 0, 0, 0, 1, 1, point=point) for n, point in ((1, 2), (2, 1))]
    told = [dict(one.attributes) for one in with_attributes(found, Cube())]
    assert told == [{"highway": "primary", "slope": None}, {"highway": "path", "slope": 2.0}]
    cells = [replace(one, point=None) for one in found]
    assert with_attributes(cells, Cube()) == cells
