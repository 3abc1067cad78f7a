"""Search against a naive recomputation in float64: every form of the distance, every edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from geoloc.candidates import explain_candidates
from geoloc.domain import Grid
from geoloc.errors import SpecMismatchError, UnknownClassError, UsageError
from geoloc.models import MISSING, Distance, FeatureSpace, Quantizer
from geoloc.scenes import PLACES365
from geoloc.search import (
    Query,
    fuse,
    project,
    scan,
    scan_scenes,
)

from .array_cube import (
    ArrayCube,
    find_candidates,
    heatmaps,
    make_cube,
    make_metric,
    photos,
    scene_heatmaps,
)

F32 = NDArray[np.float32]


def naive(cube: ArrayCube, vectors: F32, weights: F32 | None = None) -> NDArray[np.float64]:
    """The definition, cell by cell in double precision, ``(photo, y, x)``."""
    difference = cube.values().astype(np.float64) - vectors.astype(np.float64)[:, None, None]
    if cube.metric is not None:
        image = difference @ cube.metric.astype(np.float64) / np.sqrt(len(cube.scale))
        return np.sqrt((image**2).sum(-1))
    if cube.readout is not None and weights is not None:  # of the names, not the features
        difference = difference @ cube.readout.astype(np.float64).T
    w = np.ones(difference.shape[-1]) if weights is None else weights.astype(np.float64)
    return np.sqrt(((w / np.linalg.norm(w) * difference) ** 2).sum(-1))


@settings(max_examples=60)
@given(
    ny=st.integers(1, 9),
    nx=st.integers(1, 9),
    dim=st.sampled_from([1, 3, 16, 63, 64, 65, 130, 365]),
    count=st.sampled_from([1, 2, 3, 4, 11]),
    kind=st.sampled_from(["plain", "weights", "model weights", "metric", "metric, no norms"]),
    seed=st.integers(0, 2**32),
)
def test_search_equals_the_definition(
    ny: int, nx: int, dim: int, count: int, kind: str, seed: int
) -> None:
    cube = make_cube(ny, nx, dim, seed, missing=0.3)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 2, dim).astype(np.float32) + np.float32(0.01)
    cube.weights = weights if kind == "model weights" else None
    if kind.startswith("metric"):
        cube.metric = make_metric(dim, min(dim, 20))
    cube.with_norm = kind != "metric, no norms"
    query = Query(photos(cube, count, seed), weights if kind == "weights" else None)
    found = heatmaps(cube, query, threads=1)
    expected = naive(cube, query.vectors, weights if "weights" in kind else None)
    assert found.dtype == np.float32 and found.shape == (count, ny, nx)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-3)


@settings(max_examples=25)
@given(
    dim=st.sampled_from([1, 5, 64, 65]),
    names=st.sampled_from([1, 4, 70]),
    count=st.sampled_from([1, 5]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_embeddings_are_searched_by_themselves_or_by_weights_of_their_names(
    dim: int, names: int, count: int, weighted: bool, seed: int
) -> None:
    cube = make_cube(7, 6, dim, seed, missing=0.3)
    cube.readout = make_metric(names, dim, seed)
    weights = np.random.default_rng(seed).uniform(0.1, 2, names) if weighted else None
    query = Query(photos(cube, count, seed), None if weights is None else np.float32(weights))
    expected = naive(cube, query.vectors, query.weights)
    found = heatmaps(cube, query, threads=1)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    far = np.nanmax(expected, initial=1)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=3e-4 * far)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("metric", [False, True])
def test_distance_is_zero_where_the_vectors_are_equal(count: int, metric: bool) -> None:
    cube = make_cube(dim=365, missing=0)
    cube.metric = make_metric(365, 365) if metric else None
    cells = [(3, 4), (29, 20), (0, 0), (7, 1), (8, 2)][:count]
    query = Query(np.stack([cube.values()[cell] for cell in cells]))
    for heatmap, cell in zip(heatmaps(cube, query), cells, strict=True):
        assert heatmap[cell] <= 0.01 * float(heatmap.mean())
        assert np.unravel_index(heatmap.argmin(), heatmap.shape) == cell


def test_weights_of_the_query_are_applied_exactly_to_float32() -> None:
    cube = make_cube(dim=365)
    query = Query(cube.values()[3, 4] + np.float32(1e-3), np.ones(365))
    np.testing.assert_allclose(heatmaps(cube, query), naive(cube, query.vectors), rtol=1e-5)


def test_stored_norms_cost_digits_only_near_zero() -> None:
    cube = make_cube(dim=365)
    query = Query(cube.values()[3, 4] + np.float32(1e-3))
    found, expected = heatmaps(cube, query), naive(cube, query.vectors)
    norm = float(np.sqrt((query.vectors**2).mean()))
    np.testing.assert_allclose(found, expected, atol=1e-3 * norm)
    np.testing.assert_allclose(found[expected > norm], expected[expected > norm], rtol=1e-5)


def test_equal_weights_give_the_root_mean_square_difference() -> None:
    cube = make_cube(missing=0)
    query = Query(photos(cube, 1))
    rms = np.sqrt(((cube.values() - query.vectors[0]) ** 2).mean(-1))
    np.testing.assert_allclose(heatmaps(cube, query)[0], rms, rtol=1e-5)


@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_only_the_ratios_of_weights_matter(factor: float, seed: int) -> None:
    cube = make_cube(seed=seed)
    weights = np.random.default_rng(seed).uniform(0.1, 1, 37).astype(np.float32)
    vectors = photos(cube, 1, seed)
    one = heatmaps(cube, Query(vectors, weights))
    other = heatmaps(cube, Query(vectors, weights * np.float32(factor)))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_a_weight_of_zero_takes_a_class_out() -> None:
    cube = make_cube()
    weights = np.ones(37, np.float32)
    weights[5] = 0
    query = Query(photos(cube, 1), weights)
    before = heatmaps(cube, query)
    present = cube.codes[..., 0] != MISSING
    cube.codes[present, 5] = 99
    np.testing.assert_array_equal(before, heatmaps(cube, query))


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_come_in_order_and_cover_the_grid_once(threads: int) -> None:
    cube = make_cube(300, 531, 5)
    seen = np.zeros(cube.grid.shape, int)
    query = Query(photos(cube, 2))
    whole = naive(cube, query.vectors)
    corners = []
    for block, values in scan(cube, query, threads=threads):
        corners.append(block.start)
        seen[block.slices] += 1
        np.testing.assert_allclose(values, whole[:, *block.slices], rtol=1e-4, atol=1e-3)
    assert (seen == 1).all() and corners == sorted(corners) and len(corners) == 6


def test_a_scan_reads_only_a_little_ahead() -> None:
    cube = make_cube(256 * 5, 256 * 4, 2)
    pieces = scan(cube, Query(photos(cube, 1)), threads=2)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert len(cube.reads) <= 4


def test_an_error_while_reading_reaches_the_caller() -> None:
    cube = make_cube(300, 300, 3)

    def fail(*_: slice) -> NDArray[np.int8]:
        raise OSError("disk")

    cube.read = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="disk"):
        heatmaps(cube, Query(photos(cube, 1)))


def corner_of(grid: Grid) -> shapely.Polygon:
    """A triangle in the north-west of the grid, in its CRS."""
    left, _, right, top = grid.bounds
    return shapely.Polygon(
        [
            (left, top),
            (left + 0.4 * (right - left), top),
            (left, top - 0.3 * (top - grid.bounds[1])),
        ]
    )


@pytest.mark.parametrize("crs", ["EPSG:32636", "EPSG:4326"])
def test_only_cells_within_the_polygon_are_searched(crs: str) -> None:
    cube = make_cube(700, 540, 3, missing=0)
    triangle = corner_of(cube.grid)
    x, y = np.meshgrid(cube.grid.x, cube.grid.y)
    inside = shapely.contains_xy(triangle, x, y)
    query = Query(photos(cube, 1))
    found = heatmaps(cube, query, project(triangle, "EPSG:32636", crs), within_crs=crs)[0]
    differing = np.isnan(found) == inside
    assert differing.mean() < 1e-4  # a centre on the very edge, seen from another CRS
    known = ~np.isnan(found)
    np.testing.assert_allclose(found[known], naive(cube, query.vectors)[0][known], rtol=1e-4)
    assert len(cube.reads) < 6  # of 9 blocks: those that the polygon does not touch stay unread


def test_polygons_that_make_no_sense_are_refused() -> None:
    cube = make_cube()
    query = Query(photos(cube, 1))
    with pytest.raises(UsageError, match="does not touch"):
        heatmaps(cube, query, shapely.box(50, 30, 51, 31))  # latitude first
    with pytest.raises(UsageError, match="Point"):
        heatmaps(cube, query, shapely.Point(30, 50))


def bad_queries() -> Iterator[tuple[object, object]]:
    good = np.ones(3, np.float32)
    yield np.array([1, np.nan, 2]), None
    yield np.empty((0, 3)), None
    yield np.ones((2, 2, 3)), None
    yield good, np.ones((1, 3))
    yield good, np.array([1, -1, 1])
    yield good, np.zeros(3)
    yield good, np.array([1, np.inf, 1])


@pytest.mark.parametrize(("vectors", "weights"), bad_queries())
def test_bad_queries_are_refused_in_one_line(vectors: F32, weights: F32 | None) -> None:
    with pytest.raises(UsageError) as error:
        Query(vectors, weights)
    assert "\n" not in str(error.value)


def test_a_query_of_another_model_is_refused() -> None:
    with pytest.raises(SpecMismatchError, match="36 features and the cube 37"):
        next(scan(make_cube(dim=37), Query(np.zeros(36, np.float32))))


def test_weights_that_are_not_one_for_each_class_are_refused() -> None:
    with pytest.raises(UsageError, match="do not fit 37 classes"):
        scan(make_cube(dim=37), Query(np.zeros(37, np.float32), np.ones(36)))


def test_weights_do_not_mix_with_a_metric() -> None:
    cube = make_cube(dim=4)
    cube.metric = make_metric(4, 4)
    with pytest.raises(UsageError, match="metric"):
        heatmaps(cube, Query(np.zeros(4), np.ones(4)))


class Towards(FeatureSpace):
    """A distance that geoloc does not know: along one direction alone."""

    def distance(self, weights: ArrayLike | None = None) -> Distance:  # noqa: ARG002
        return Distance(np.linspace(-1, 2, self.dim)[:, None])


@dataclass
class TowardsCube(ArrayCube):
    @property
    def features(self) -> FeatureSpace:
        return Towards(PLACES365[: self.codes.shape[2]], Quantizer(self.scale, self.offset))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("norms", [True, False])
def test_a_new_distance_is_one_method_of_a_feature_space(count: int, norms: bool) -> None:
    plain = make_cube(dim=37)
    cube = TowardsCube(plain.codes, plain.scale, plain.offset, with_norm=norms)
    query = Query(photos(cube, count))
    direction = np.linspace(-1, 2, 37)
    expected = np.abs((cube.values() - query.vectors[:, None, None]) @ direction)
    np.testing.assert_allclose(heatmaps(cube, query), expected, rtol=1e-3, atol=0.02)
    best = find_candidates(heatmaps(cube, query)[0], cube.grid, top=1)
    (found,) = explain_candidates(best, cube, query.vectors[0], terms=37)
    assert sum(term.share for term in found.explanation) == pytest.approx(1)


def test_fusing_is_the_mean() -> None:
    np.testing.assert_array_equal(fuse([[1, 5], [3, 6]]), np.float32([2, 5.5]))
    with pytest.raises(UsageError):
        fuse([])


@pytest.mark.parametrize("dim", [4, 64, 365])
@pytest.mark.parametrize("wider", [1, 30, 1000])
def test_scene_search_is_minus_the_log_of_softmax(dim: int, wider: float) -> None:
    """Of logits far below the largest that the code can hold, too."""
    cube = make_cube(dim=dim, missing=0.2)
    cube.scale[:], cube.offset[:] = cube.scale * wider, cube.offset * wider
    values = cube.values().astype(np.float64)
    logs = values - values.max(-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    found = scene_heatmaps(cube, ["alcove", "airfield"])
    expected = -logs[..., [PLACES365.index("alcove"), PLACES365.index("airfield")]]
    rounding = 2e-5 * wider  # of float32
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), rtol=1e-5, atol=rounding)
    assert found.dtype == np.float32 and np.nanmin(found) >= 0


@pytest.mark.parametrize(("dim", "names"), [(1, 5), (64, 365), (130, 7)])
def test_scenes_are_found_through_the_readout_of_an_embedding(dim: int, names: int) -> None:
    cube = make_cube(40, 33, dim, missing=0.2)
    cube.readout = make_metric(names, dim)
    logits = cube.values().astype(np.float64) @ cube.readout.astype(np.float64).T
    logs = logits - logits.max(-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    wanted = ["airplane_cabin", "airfield"]
    found = scene_heatmaps(cube, wanted)
    expected = -logs[..., [PLACES365.index(name) for name in wanted]]
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), rtol=1e-4, atol=1e-3)
    assert found.dtype == np.float32 and np.nanmin(found) >= 0


def test_scene_search_takes_words_and_suggests() -> None:
    cube = make_cube(dim=365)
    (_, values), *_ = scan_scenes(cube, ["Soccer Stadium"])
    (_, same), *_ = scan_scenes(cube, ["stadium-soccer"])
    np.testing.assert_array_equal(values, same)
    with pytest.raises(UnknownClassError, match="stadium-soccer"):
        scan_scenes(cube, ["socer stadium"])
