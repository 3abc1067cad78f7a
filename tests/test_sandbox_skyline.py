"""What rises in a window: never more than the bound says, and the bound is of use."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geoloc.domain import Grid
from geoloc.sandbox.country.world import Country
from geoloc.sandbox.lines import (
    FAR,
    MOTORWAY,
    RAIL,
    RIVER,
    distance,
    distances,
    is_near,
    is_rough,
    massif,
)
from geoloc.sandbox.noise import noise_axis, row_noise, value_noise
from geoloc.sandbox.overhead import ACQUISITIONS, SHADOW_REACH
from geoloc.sandbox.world import World

LOW = min(math.tan(math.radians(flight.sun_elevation)) for flight in ACQUISITIONS)


@pytest.fixture(scope="module")
def country() -> Country:
    return Country(5, 200.0)


def spots(country: Country) -> np.ndarray:
    """Places of all kinds: towns, a lake, a bridge, an overpass, open country."""
    x0, y0 = country.layout.center
    rng = np.random.default_rng(2)
    x, y = (middle + rng.uniform(-80_000, 80_000, 60_000) for middle in (x0, y0))
    away = distances(country.plan.lines, x, y)
    pairs = ((RIVER, RAIL), (MOTORWAY, RAIL), (RIVER, RIVER))
    crossings = [int(np.argmin(away[:, a] + away[:, b])) for a, b in pairs]
    chosen = [*crossings, *range(8)]
    open_country = np.stack([x[chosen], y[chosen]], axis=1)
    return np.concatenate([country.plan.towns[:3, :2], country.plan.lakes[:1, :2], open_country])


def test_nothing_rises_above_the_bound_and_most_windows_need_less(country: Country) -> None:
    bounds = []
    for x, y in spots(country):
        window = Grid(country.crs, x - 130.3, y + 71.9, 1.25, 117, 193)
        scene = country.rasterize(window)
        bounds.append(country.rise(window))
        assert float((scene.terrain + scene.top).max() - scene.terrain.min()) <= bounds[-1]
    assert np.mean(np.array(bounds) / LOW < 0.7 * SHADOW_REACH) > 0.5


def test_the_bound_holds_in_a_town_too() -> None:
    world = World(3, 1.0)
    scene = world.rasterize(world.grid(1.0))
    risen = float((scene.terrain + scene.top).max() - scene.terrain.min())
    assert risen <= world.rise(world.grid(1.0)) < 3 * risen


def test_mountains_have_no_bound(country: Country) -> None:
    x0, y0 = country.layout.center
    xy = np.random.default_rng(1).uniform(-90_000, 90_000, (4000, 2)) + np.array([x0, y0])
    inside = np.array([massif(country.plan.lines[RIVER], x, y)[0] for x, y in xy])
    x, y = xy[inside.argmax()]
    assert country.rise(Grid(country.crs, x, y, 2.5, 20, 30)) == math.inf


@pytest.mark.parametrize("half", [5.0, 60.0, 900.0])
def test_what_is_called_far_is_far_from_every_point(country: Country, half: float) -> None:
    rng, lines = np.random.default_rng(3), country.plan.lines
    far = rough = 0
    for x, y in rng.uniform(-90_000, 90_000, (400, 2)) + country.layout.center:
        turn, away = rng.uniform(0, 2 * math.pi, 20), half * np.sqrt(rng.uniform(0, 1, 20))
        around = np.stack([x + away * np.cos(turn), y + away * np.sin(turn)], axis=1)
        for line in lines:
            if not is_near(line, x, y, half):
                far += 1
                assert all(distance(line, *point)[0] == FAR for point in around)
        if not is_rough(lines[RIVER], x, y, half):
            rough += 1
            assert all(massif(lines[RIVER], *point)[0] == 0.0 for point in around)
    assert far > 400 and rough > 100


def test_noise_along_a_row_is_the_noise_of_its_pixels() -> None:
    left, top, step, size = 364_503.25, 5_577_501.75, 0.625, 37.0
    i, tx = noise_axis(left, step, 300, size)
    j, ty = noise_axis(top, -step, 2, size)
    for row in range(2):
        kept = np.full(5, np.nan)
        values = [row_noise(i[c], tx[c], j[row], ty[row], 7, kept) for c in range(300)]
        y = top - (row + 0.5) * step
        naive = [value_noise(left + (c + 0.5) * step, y, size, 7) for c in range(300)]
        assert values == naive
