"""Search over a cube on disk gives what the definition gives for its decoded features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.candidates import candidates_of, explain_candidates
from geoloc.cube import Cube
from geoloc.search import Query, TopK, reduce_scan

from .array_cube import find_candidates, heatmaps, make_metric
from .cubes import write_cube

F32 = NDArray[np.float32]
DIM = 20
KINDS = ("plain", "weights", "metric")


@pytest.fixture(scope="module", params=KINDS)
def cube(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cube:
    """150 x 270 cells of smooth features with gaps, under each kind of model distance."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:150, 0:270] / 40
    waves = rng.uniform(-2, 2, (2, DIM))
    features = (3 * np.sin(y[..., None] * waves[0] + x[..., None] * waves[1])).astype(np.float32)
    features[40:60, 100:150] = np.nan
    return write_cube(
        tmp_path_factory.mktemp(request.param) / "cube.zarr",
        features,
        weights=np.linspace(0, 2, DIM).astype(np.float32) if request.param == "weights" else None,
        metric=make_metric(DIM, 9) if request.param == "metric" else None,
    )


def decoded(cube: Cube) -> F32:
    return cube.features.decode(cube.read(slice(0, cube.grid.ny), slice(0, cube.grid.nx)))


@pytest.mark.parametrize("count", [1, 6])
def test_a_cube_on_disk_is_searched_by_its_models_own_distance(cube: Cube, count: int) -> None:
    vectors = np.random.default_rng(8).normal(0, 2, (count, DIM)).astype(np.float32)
    found = heatmaps(cube, Query(vectors))
    difference = decoded(cube).astype(np.float64) - vectors[:, None, None]
    if cube.features.metric is not None:
        expected = np.linalg.norm(difference @ cube.features.metric / np.sqrt(DIM), axis=-1)
    else:
        w = np.ones(DIM) if cube.features.weights is None else cube.features.weights
        expected = np.linalg.norm(difference * w / np.linalg.norm(w), axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert np.isnan(found[:, 40:60, 100:150]).all() and np.isnan(found).sum() == count * 1000


def test_a_photo_of_a_place_finds_the_place_and_says_why(cube: Cube) -> None:
    photo = decoded(cube)[120, 33] + np.float32(0.01)
    heatmap = heatmaps(cube, Query(photo))[0]
    best, *_ = explain_candidates(find_candidates(heatmap, cube.grid), cube, photo)
    assert (best.row, best.col) == (120, 33) and best.percentile == pytest.approx(100 / 39_500)
    assert best.explanation and best.shared
    assert best.distance == pytest.approx(
        cube.features.distance().between(photo, cube.vector(120, 33)), abs=1e-3
    )


def test_streaming_gives_the_candidates_of_the_whole(cube: Cube) -> None:
    query = Query(np.random.default_rng(9).normal(0, 2, (2, DIM)).astype(np.float32))
    places = reduce_scan(cube, query, TopK(cube.grid, 2, top=7, radius=200))
    streamed = [candidates_of(found, cube.grid) for found in places]
    whole = [find_candidates(h, cube.grid, 7, 200) for h in heatmaps(cube, query)]
    assert streamed == whole and len(whole[0]) == 7
