"""The synthetic world: the same through every window, with everything a town has."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from geoloc.domain import Grid
from geoloc.sandbox.layout import Layout
from geoloc.sandbox.lines import AVENUE, RIVER, distance, point
from geoloc.sandbox.roads import holds, runs
from geoloc.sandbox.scene import LANDUSE, Material, Scene
from geoloc.sandbox.world import CENTER, World

ARRAYS = ("terrain", "top", "base", "material", "landuse", "color", "building")


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=5, km=3)


@pytest.fixture(scope="module")
def whole(world: World) -> Scene:
    return world.rasterize(world.grid(4.0))


def bridge(world: World) -> tuple[float, float]:
    """Where the avenue crosses the river."""
    line = world.layout.lines[AVENUE]
    s = np.arange(-3000.0, 3000.0, 2.0)
    points = [point(line, value, 0.0, 0.0)[:2] for value in s]
    return min(points, key=lambda p: abs(distance(world.layout.lines[RIVER], *p)[0]))


def near_bridge(world: World, size: int = 600) -> Grid:
    x, y = bridge(world)
    return Grid(world.crs, float(round(x)) - size / 4, float(round(y)) + size / 4, 0.5, size, size)


def test_windows_agree_whatever_the_tiling(world: World) -> None:
    window = near_bridge(world, 500)
    scene = world.rasterize(window)
    fresh = World(seed=5, km=8)  # another size and another order of asking: the same place
    for rows in (slice(317, 500), slice(0, 317)):
        for cols in (slice(0, 123), slice(123, 500)):
            part = fresh.rasterize(window.window(rows, cols))
            for name in ARRAYS:
                expected = getattr(scene, name)[rows, cols]
                np.testing.assert_array_equal(getattr(part, name), expected, err_msg=name)


def test_scene_has_the_contracts_types(whole: Scene) -> None:
    types = [getattr(whole, name).dtype.name for name in ARRAYS]
    assert types == ["float32", "float32", "float32", "uint8", "uint8", "uint8", "uint32"]
    assert whole.color.shape == (*whole.grid.shape, 3)
    assert (whole.base <= whole.top).all()
    assert (whole.top >= 0).all()


@pytest.mark.parametrize("seed", [5, 1003])
def test_every_class_occurs_and_none_dominates(seed: int, whole: Scene) -> None:
    scene = whole if seed == 5 else World(seed, 3).rasterize(World(seed, 3).grid(8.0))
    share = np.bincount(scene.landuse.ravel(), minlength=len(LANDUSE)) / scene.landuse.size
    missing = [LANDUSE[n] for n in np.flatnonzero(share < 0.0008)]
    assert not missing
    assert share.max() < 0.15


def test_seeds_make_different_worlds(world: World) -> None:
    window = Grid(world.crs, CENTER[0], CENTER[1], 4.0, 100, 100)
    other = World(seed=6, km=3).rasterize(window)
    assert (other.color != world.rasterize(window).color).mean() > 0.9


def test_heights_are_real(whole: Scene) -> None:
    tree = whole.material == Material.TREE
    roof = whole.material == Material.ROOF
    assert tree.mean() > 0.03
    assert np.median(whole.base[tree]) > 1.0
    assert 20 < whole.top[roof].max() < 60
    assert whole.building[roof].all()
    assert not whole.building[tree].any()
    assert 15 < np.ptp(whole.terrain) < 60


def test_the_avenue_bridges_the_river(world: World) -> None:
    scene = world.rasterize(near_bridge(world))
    row, col = scene.grid.index(*bridge(world)) or (0, 0)
    assert LANDUSE[scene.landuse[row, col]] == "bridge"
    deck = scene.base > 3.0
    water = scene.material == Material.WATER
    assert deck[row - 20 : row + 20, col - 20 : col + 20].mean() > 0.5
    level = scene.terrain[water]
    assert np.ptp(level) < 0.01  # a river does not slope sideways
    assert scene.terrain[row, col] == pytest.approx(level[0], abs=0.01)


def test_landuse_at_agrees_with_the_raster(world: World, whole: Scene) -> None:
    rng = np.random.default_rng(2)
    for row, col in rng.integers(0, whole.grid.ny, (12, 2)):
        x, y = whole.grid.center(row, col)
        here = {world.landuse_at(x + dx, y + dy) for dx in (-0.3, 0.3) for dy in (-0.3, 0.3)}
        assert LANDUSE[whole.landuse[row, col]] in here


def test_beyond_the_bounds_the_world_goes_on(world: World) -> None:
    left, _, _, top = world.bounds
    scene = world.rasterize(Grid(world.crs, left - 400, top + 400, 2.0, 100, 100))
    assert scene.terrain.min() > 50
    assert (scene.color.max(axis=2) > 0).all()


def test_worlds_travel_to_other_processes(world: World) -> None:
    window = Grid(world.crs, CENTER[0], CENTER[1], 1.0, 50, 50)
    copy = pickle.loads(pickle.dumps(world))  # noqa: S301
    np.testing.assert_array_equal(copy.rasterize(window).color, world.rasterize(window).color)


def test_points_belong_to_the_plot_of_the_nearest_site() -> None:
    layout = Layout(3, CENTER)
    plots = layout.plots((CENTER[0], CENTER[1], CENTER[0] + 600, CENTER[1] + 600), 600)
    rng = np.random.default_rng(0)
    x, y = CENTER[0] + rng.uniform(0, 600, 300), CENTER[1] + rng.uniform(0, 600, 300)
    px, py = layout.warp(x, y)
    away = np.array([np.hypot(px - plot.x, py - plot.y) for plot in plots])
    inside = np.array([holds(layout, plot, x, y) for plot in plots])
    np.testing.assert_array_equal(inside.sum(axis=0), 1)
    np.testing.assert_array_equal(inside.argmax(axis=0), away.argmin(axis=0))


def test_unwarp_undoes_warp() -> None:
    layout = Layout(3, CENTER)
    x, y = CENTER[0] + np.linspace(-900, 700, 50), CENTER[1] + np.linspace(300, -800, 50)
    np.testing.assert_allclose(layout.unwarp(*layout.warp(x, y)), (x, y), atol=1e-3)


def test_distance_to_a_line_is_the_distance_to_its_nearest_point() -> None:
    line = Layout(4, CENTER).lines[RIVER]
    curve = np.array([point(line, s, 0.0, 0.0)[:2] for s in np.arange(-2500, 2500, 1.0)])
    for across in (-60.0, -20.0, 0.0, 35.0, 80.0):
        x, y, _, _ = point(line, 321.0, 0.0, across)
        nearest = np.hypot(*(curve - (x, y)).T).min()
        assert abs(distance(line, x, y)[0]) == pytest.approx(nearest, abs=3.0)


def test_roads_run_where_the_ground_shows_them(world: World, whole: Scene) -> None:
    kinds = {road.kind for road in world.roads}
    assert kinds == {"motorway", "primary", "residential", "track", "rail"}
    left, bottom, right, top = world.bounds
    for road in world.roads:
        x, y = road.points.T
        assert x.min() >= left
        assert x.max() <= right
        assert y.min() >= bottom
        assert y.max() <= top
    water = 0
    for road in world.roads:
        if not road.bridge:
            cells = [whole.grid.index(*p) for p in road.points]
            water += sum(whole.material[cell] == Material.WATER for cell in cells if cell)
    assert water == 0
    assert any(road.bridge and road.kind == "rail" for road in world.roads)
    assert any(road.bridge and road.kind == "primary" for road in world.roads)


def test_runs_are_the_kept_stretches() -> None:
    points = np.arange(16.0).reshape(8, 2)
    keep = np.array([True, True, False, True, False, True, True, True])
    assert [part[:, 0].tolist() for part in runs(points, keep)] == [[0, 2], [10, 12, 14]]
