"""The view from above: shadows fall right, and no tiling shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloc.domain import Grid
from geoloc.sandbox.overhead import ACQUISITIONS, render_overhead, shade, shadow_height
from geoloc.sandbox.scene import Material
from geoloc.sandbox.world import CENTER, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=5, km=3)


@settings(max_examples=25)
@given(
    azimuth=st.floats(0, 359.9), elevation=st.floats(25, 70), step=st.sampled_from([0.5, 1.0, 2.0])
)
def test_a_tower_throws_its_shadow_away_from_the_sun(
    azimuth: float, elevation: float, step: float
) -> None:
    ground = np.zeros((161, 161), np.float32)
    ground[74:87, 74:87] = height = 20.0
    shadow = shadow_height(ground, step, azimuth, elevation)
    long = height / math.tan(math.radians(elevation)) / step
    east, north = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))
    for share, dark in ((0.5, True), (1.25, False)):
        reach = share * long if dark else share * long + 12
        row, col = round(80 + reach * north), round(80 - reach * east)
        if 0 <= row < 161 and 0 <= col < 161:
            assert (shadow[row, col] > 1.0) == dark
    row, col = round(80 - 12 * north), round(80 + 12 * east)
    assert shadow[row, col] == 0.0  # the sunny side


def test_shadow_never_lies_below_the_surface() -> None:
    surface = np.random.default_rng(0).uniform(0, 30, (60, 45)).astype(np.float32)
    assert (shadow_height(surface, 0.5, 161.0, 37.0) >= surface).all()


def test_tiles_agree_whatever_the_tiling(world: World) -> None:
    window = Grid(world.crs, CENTER[0] - 100, CENTER[1] + 40, 0.5, 300, 360)
    for flight in ACQUISITIONS:
        picture = render_overhead(world, window, flight)
        part = render_overhead(world, window.window(slice(90, 300), slice(130, 300)), flight)
        expected = picture[90:300, 130:300]
        assert np.abs(part.astype(int) - expected).max() <= 1
        assert (part == expected).mean() > 0.9999


def test_flights_differ_in_colour_and_shadow(world: World) -> None:
    window = Grid(world.crs, CENTER[0], CENTER[1], 0.5, 200, 200)
    early, late = (render_overhead(world, window, flight).astype(float) for flight in ACQUISITIONS)
    assert np.abs(early - late).mean() > 4
    assert early.min() >= 1  # zero is kept for missing pixels
    assert np.corrcoef(early.ravel(), late.ravel())[0, 1] > 0.3  # and still the same place


def test_shade_shows_texture_and_dark_sides(world: World) -> None:
    scene = world.rasterize(Grid(world.crs, CENTER[0], CENTER[1], 0.5, 300, 300))
    picture = shade(scene, azimuth=150.0, elevation=45.0)
    assert picture.shape == (300, 300, 3)
    trees = picture[scene.material == Material.TREE].astype(float)
    assert trees.std(axis=0).min() > 8
