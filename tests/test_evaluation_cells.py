"""Ranks of true cells in two passes, against whole maps; of grids and of points."""

from __future__ import annotations

import numpy as np
import pytest

from geoloc.domain import Points
from geoloc.evaluation.cells import AtCells, Centre, Columns, Normalised, Standings, Together
from geoloc.evaluation.normalisation import NONE, BackgroundRank, InvertedSoftmax
from geoloc.models import FeatureSpace
from geoloc.search import Query, TopK, reduce_scan, reduce_scenes
from geoloc.search import work as search_work
from tests.array_cube import ArrayCube, heatmaps, make_cube, photos, scene_heatmaps

COUNT, BANK = 5, 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_work, "BLOCK", 8)


@pytest.fixture(scope="module")
def cube() -> ArrayCube:
    made = make_cube(ny=30, nx=21, dim=5)
    made.codes[5:15] = made.codes[15:25]  # ties, in other blocks
    return made


def by_hand(scores: np.ndarray, cell: int) -> list[int]:
    flat = scores.ravel()
    return [int((flat < flat[cell]).sum()), int((flat == flat[cell]).sum()),
            int(np.isfinite(flat).sum())]  # fmt: skip


def test_true_cells_rank_as_in_whole_maps(cube: ArrayCube) -> None:
    query = Query(photos(cube, COUNT + BANK))
    maps = heatmaps(cube, query)
    known = np.flatnonzero(np.isfinite(maps[0]).ravel())
    cells = known[[0, 130, 250, 400, -1]]
    kinds = (NONE, InvertedSoftmax(3.0), BackgroundRank())
    middle = (300_100.0, 5_599_900.0)
    scorers = [*(Normalised(COUNT, kind) for kind in kinds), Centre(COUNT, middle)]
    own = reduce_scan(cube, query, AtCells(scorers, cells))
    top = TopK(cube.grid, COUNT, 3, 30.0)
    both = Together([Standings(scorers, own), top], [None, COUNT])
    counts, places = reduce_scan(cube, query, both)
    xy = cube.grid.centres(np.arange(cube.grid.size))
    off = np.hypot(*(xy - middle).T).reshape(cube.grid.shape)
    centre = np.where(np.isnan(maps[0]), np.nan, off)
    whole = [kind.scores(maps[:COUNT].reshape(COUNT, -1), maps[COUNT:].reshape(BANK, -1))
             for kind in kinds]  # fmt: skip
    for photo, cell in enumerate(cells):
        for row, scores in enumerate([*(w[photo] for w in whole), centre]):
            assert counts[:, row, photo].tolist() == by_hand(scores, cell)
        assert places[photo][0].distance == np.nanmin(maps[photo])


def test_a_scene_ranks_cells_for_every_photo_that_it_is_first_for(cube: ArrayCube) -> None:
    names = [cube.features.names[2], cube.features.names[4]]
    maps, chosen = scene_heatmaps(cube, names), np.array([1, 0, 1])
    cells = np.flatnonzero(np.isfinite(maps[0]).ravel())[[3, 77, 300]]
    own = reduce_scenes(cube, names, AtCells([Columns(chosen)], cells))
    counts = reduce_scenes(cube, names, Standings([Columns(chosen)], own))
    for photo, (cell, scene) in enumerate(zip(cells, chosen, strict=True)):
        assert counts[:, 0, photo].tolist() == by_hand(maps[scene], cell)


def test_photos_outside_and_in_missing_cells_have_no_score(cube: ArrayCube) -> None:
    query = Query(photos(cube, 2))
    missing = int(np.flatnonzero(np.isnan(heatmaps(cube, query)[0]).ravel())[0])
    own = reduce_scan(cube, query, AtCells([Normalised(2, NONE)], np.array([-1, missing])))
    assert np.isnan(own).all()


def test_points_are_ranked_as_cells_are(cube: ArrayCube) -> None:
    class PointCube(ArrayCube):
        @property
        def features(self) -> FeatureSpace:
            return cube.features

        @property
        def domain(self) -> Points:  # type: ignore[override]
            rng = np.random.default_rng(3)
            return Points("EPSG:4326", rng.uniform(20, 30, (len(self.codes), 2)))

    rows = cube.codes.reshape(-1, 5)
    points = PointCube(rows, cube.scale, cube.offset)
    query = Query(photos(cube, COUNT))
    flat = heatmaps(cube, query).reshape(COUNT, -1)
    cells = np.flatnonzero(np.isfinite(flat[0]))[[1, 2, 99, 200, 500]]
    scorers = [Normalised(COUNT, NONE)]
    own = reduce_scan(points, query, AtCells(scorers, cells))
    counts = reduce_scan(points, query, Standings(scorers, own))
    for photo, cell in enumerate(cells):
        assert counts[:, 0, photo].tolist() == by_hand(flat[photo], cell)
