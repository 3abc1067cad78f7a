"""The ground view against the pinhole formula, on small scenes made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.domain import Grid
from geoloc.sandbox.camera import Camera, Frame
from geoloc.sandbox.raycast import cast_rays
from geoloc.sandbox.relief import HALF_A, HALF_B, STRAIGHT, Relief, make_level, shadow_heights
from geoloc.sandbox.scene import LANDUSE, Material, Scene
from geoloc.sandbox.shading import shade
from geoloc.sandbox.sky import make_light, sun_direction
from geoloc.sandbox.view import Surroundings, View, render, visible_shares

CRS = "EPSG:32636"
X0, Y0 = 364_000.0, 5_577_000.0
MEADOW, HOUSE, TOWER = (
    LANDUSE.index(name) for name in ("pasture", "village", "apartment_building-outdoor")
)
LIGHT = make_light((0.5, -0.5, 0.7), clouds=0.2, haze=8000)


def meadow(window: Grid) -> Scene:
    """Flat grass at 100 m."""
    shape = window.shape
    color = np.full((*shape, 3), (90, 120, 60), np.uint8)
    return Scene(window, np.full(shape, 100, np.float32), np.zeros(shape, np.float32),
                 np.zeros(shape, np.float32), np.zeros(shape, np.uint8),
                 np.full(shape, MEADOW, np.uint8), color, np.zeros(shape, np.uint32))  # fmt: skip


def block(
    scene: Scene, west: float, south: float, east: float, north: float, top: float,
    landuse: int = HOUSE, material: Material = Material.ROOF, base: float = 0.0, number: int = 7,
) -> None:  # fmt: skip
    """Put a box into a scene; coordinates in m from (X0, Y0)."""
    x, y = np.meshgrid(scene.grid.x - X0, scene.grid.y - Y0)
    inside = (x > west) & (x < east) & (y > south) & (y < north)
    scene.top[inside], scene.base[inside] = top, base
    scene.material[inside], scene.landuse[inside] = material, landuse
    scene.building[inside] = number if material == Material.ROOF else 0


def window(step: float = 0.5, reach: float = 150.0) -> Grid:
    n = round(2 * reach / step)
    return Grid(CRS, X0 - reach, Y0 + reach, step, n, n)


def shoot(scene: Scene, camera: Camera) -> View:
    return render(Relief.of([scene], [140.0]), camera, LIGHT)


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First and last column, first and last row of a mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])


def test_a_wall_stands_where_the_pinhole_formula_puts_it() -> None:
    scene = meadow(window())
    block(scene, 6, 30, 20, 44, 9.0)
    camera = Camera(X0, Y0, 0, fov=90, width=400, height=300)
    view = shoot(scene, camera)
    left, right, top, bottom = extent(view.landuse == HOUSE)
    f = 200.0  # px: half the width over tan 45
    assert left == pytest.approx(200 + f * 6 / 44, abs=1.5)  # the far corner of the west side
    assert right == pytest.approx(200 + f * 20 / 30, abs=1.5)
    assert top == pytest.approx(150 - f * (9 - 1.6) / 30, abs=1.5)
    assert bottom == pytest.approx(150 + f * 1.6 / 30, abs=1.5)
    column = round(200 + f * 15 / 30)
    assert view.distance[150, column] == pytest.approx(math.hypot(15, 30), rel=0.005)


@pytest.mark.parametrize(("heading", "seen"), [(0, TOWER), (90, HOUSE), (180, None), (270, None)])
def test_headings_are_clockwise_from_north(heading: float, seen: int | None) -> None:
    scene = meadow(window())
    block(scene, -4, 50, 4, 58, 20.0, TOWER)
    block(scene, 60, -3, 70, 3, 6.0, HOUSE, number=8)
    middle = shoot(scene, Camera(X0, Y0, heading, 60, width=120, height=90)).landuse[:, 55:65]
    objects = set(np.unique(middle)) - {MEADOW, 255}
    assert objects == (set() if seen is None else {seen})


def test_what_lies_to_the_right_is_on_the_right() -> None:
    scene = meadow(window())
    block(scene, 12, 30, 16, 34, 6.0, HOUSE)
    block(scene, -40, 60, -30, 70, 6.0, TOWER, number=8)
    view = shoot(scene, Camera(X0, Y0, 0, 80, width=160, height=90))
    assert np.argwhere(view.landuse == HOUSE)[:, 1].mean() > 90
    assert np.argwhere(view.landuse == TOWER)[:, 1].mean() < 70


@settings(max_examples=15)
@given(
    heading=st.floats(0, 359), pitch=st.floats(-8, 8), roll=st.floats(-5, 5),
    side=st.floats(-0.3, 0.3), fov=st.floats(50, 90),
)  # fmt: skip
def test_a_tilted_camera_sees_a_mast_where_it_projects(
    heading: float, pitch: float, roll: float, side: float, fov: float
) -> None:
    camera = Camera(X0, Y0, heading, fov, pitch, roll, width=240, height=180)
    east, north = camera.forward
    ahead, right = 40.0, side * 40.0
    x, y = ahead * east + right * north, ahead * north - right * east
    scene = meadow(window(0.5, 70))
    block(scene, x - 1, y - 1, x + 1, y + 1, 5.0, TOWER)
    seen = np.argwhere(shoot(scene, camera).landuse == TOWER).mean(axis=0)
    column, row = camera.project(right, 2.5 - 1.6, ahead)
    assert seen + 0.5 == pytest.approx([row, column], abs=3.0)


def test_flat_ground_is_as_far_as_its_row_says() -> None:
    camera = Camera(X0, Y0, 30, 60, eye=1.6, width=200, height=150)
    view = shoot(meadow(window()), camera)
    for row in (80, 90, 120, 149):
        expected = 1.6 * camera.focal / (row + 0.5 - 75)
        assert view.distance[row, 100] == pytest.approx(expected, rel=0.12 if row == 80 else 0.03)


def test_a_ridge_hides_what_is_behind_it_and_only_that() -> None:
    def seen(height: float) -> int:
        scene = meadow(window())
        block(scene, -5, 80, 5, 90, height)
        _, y = np.meshgrid(scene.grid.x - X0, scene.grid.y - Y0)
        scene.terrain[...] += (8 * np.exp(-(((y - 40) / 10) ** 2))).astype(np.float32)
        return int(
            (shoot(scene, Camera(X0, Y0, 0, 60, width=120, height=90)).landuse == HOUSE).sum()
        )

    assert seen(6.0) == 0  # the line of sight over the ridge passes about 14 m up there
    assert seen(30.0) > 50


def test_rays_pass_below_a_crown() -> None:
    scene = meadow(window())
    block(scene, -30, 30, 30, 34, 12.0, TOWER, Material.TREE, base=4.0)
    block(scene, -10, 60, 10, 70, 3.0, HOUSE)
    scene.material[scene.top == 12] = Material.TREE
    view = shoot(scene, Camera(X0, Y0, 0, 60, width=160, height=120))
    rows = np.flatnonzero((view.landuse == HOUSE).any(axis=1))
    crown = np.flatnonzero((view.landuse == TOWER)[:, 70:90].mean(axis=1) > 0.8)
    assert len(rows) > 0
    assert crown.max() < rows.max()


def test_a_turned_house_is_recognised_as_a_rectangle() -> None:
    scene = meadow(window(0.5, 60))
    x, y = np.meshgrid(scene.grid.x - X0, scene.grid.y - Y0)
    c, s = math.cos(0.5), math.sin(0.5)
    inside = (abs((x - 9) * c + (y - 3) * s) < 8) & (abs(-(x - 9) * s + (y - 3) * c) < 5)
    scene.top[inside], scene.material[inside], scene.building[inside] = 6, Material.ROOF, 3
    box = make_level(scene).boxes[0]
    assert box[STRAIGHT] == 1
    assert box[:2] == pytest.approx([X0 + 9, Y0 + 3], abs=0.1)
    assert [box[HALF_A], box[HALF_B]] == pytest.approx([8, 5], abs=0.15)


def test_shadows_fall_away_from_the_sun() -> None:
    solid = np.zeros((40, 60), np.float32)
    solid[20, 30] = 10.0
    heights = shadow_heights(solid, 1.0, 1.0, 0.0, 1.0, 0, 40, 0, 60)  # sun in the east, 45 deg
    assert heights[20, 25] == pytest.approx(5.0)
    assert heights[20, 35] <= 0
    assert heights[15, 25] <= 0


def test_the_sun_stands_in_the_south_at_noon() -> None:
    noon = datetime(2025, 6, 21, 9, 58, tzinfo=UTC)
    east, north, up = sun_direction(noon, 30.5, 50.4)
    assert math.degrees(math.asin(up)) == pytest.approx(63.05, abs=0.5)
    assert north < 0
    assert abs(east) < 0.02
    assert sun_direction(noon.replace(hour=5), 30.5, 50.4)[0] > 0.5


def test_visible_shares_count_what_is_seen() -> None:
    landuse = np.array([[255, HOUSE], [HOUSE, MEADOW]], np.uint8)
    distance = np.array([[np.inf, 50], [50, 50]], np.float32)
    paved = np.array([[False, False], [False, True]])
    shares = visible_shares(landuse, distance, paved)
    assert shares.sum() == pytest.approx(1)
    assert shares[HOUSE] == pytest.approx(2 / 2.1)
    assert visible_shares(landuse[:1, :1], distance[:1, :1], paved[:1, :1]).sum() == 0


def test_a_hit_names_a_body_of_the_level_at_its_distance() -> None:
    """A wall that straddles two levels must not mix up their tables of bodies."""
    fine, coarse = meadow(window(0.5, 60)), meadow(window(2.0, 200))
    rng = np.random.default_rng(4)
    for number, (x, y) in enumerate(rng.uniform(-110, 110, (150, 2)), start=1):
        for scene in (fine, coarse):
            if math.hypot(x, y) > 12:
                block(scene, x - 2, y - 2, x + 2, y + 2, 4.0, number=number)
    relief = Relief.of([fine, coarse], [50.0, 190.0])
    assert len(relief.levels[0].boxes) < len(relief.levels[1].boxes)
    for heading in range(0, 360, 45):
        camera = Camera(X0, Y0, heading, 60, width=300, height=60)
        frame = Frame.covering(camera, 1.5)
        hits = cast_rays(relief, camera, 101.6, frame, 190.0)
        near = hits.body[hits.distance <= 50.0]
        assert near.max() < len(relief.levels[0].boxes)
        assert np.isfinite(shade(relief, camera, 101.6, frame, hits, LIGHT)).all()


def test_a_picture_is_repeatable_and_its_noise_is_seeded() -> None:
    scene = meadow(window(0.5, 80))
    block(scene, -6, 30, 20, 44, 9.0)
    relief = Relief.of([scene], [75.0])
    camera = Camera(X0, Y0, 10, width=700, height=500)  # large enough for two threads
    first, again = render(relief, camera, LIGHT, seed=1), render(relief, camera, LIGHT, seed=1)
    assert np.array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels, render(relief, camera, LIGHT, seed=2).pixels)


def test_levels_are_cut_from_tiles_without_a_shift() -> None:
    class Slope:
        crs = CRS

        def rasterize(self, window: Grid) -> Scene:
            scene = meadow(window)
            x, y = np.meshgrid(window.x - X0, window.y - Y0)
            return replace(scene, terrain=(100 + 0.03 * x - 0.05 * y).astype(np.float32))

    relief = Surroundings(Slope()).relief(X0 + 333.3, Y0 - 777.7)
    for level in relief.levels:
        left, top, step = level.lattice
        ny, nx = level.body.shape
        x, y = left + (np.arange(nx) + 0.5) * step - X0, top - (np.arange(ny) + 0.5) * step - Y0
        expected = 100 + 0.03 * x[None, :] - 0.05 * y[:, None]
        assert np.abs(level.heights[..., 0] - expected).max() < 1e-3
