"""Ground photos of a country, each of a site that a person would recognise."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import GeolocError
from ...progress import Progress
from ..camera import Camera
from ..layout import CLASS
from ..lines import RAIL, RIVER, distances, stretches_near, trace
from ..photos import Photo, develop, write_album
from ..relief import Relief
from ..shots import find_spots, hold, moment, place, shows_place, stands_free, to_lonlat
from ..view import Surroundings, render
from . import cells as C  # noqa: N812
from .plan import Plan, inside_ring
from .world import Country, Neighbourhood

F64 = NDArray[np.float64]

SITES = (
    "stadium-soccer", "apartment_building-outdoor", "wheat_field", "bridge", "lake-natural",
    "forest-broadleaf", "village", "downtown", "industrial_area", "railroad_track",
    "residential_neighborhood", "field-cultivated", "pasture", "park",
)  # fmt: skip
"""What photos show, in turn."""

_HALF = 340.0  # m around a site in which the camera may stand
_REACH = {"bridge": 170.0}
_ON_FOOT = {"stadium-soccer": (93.0, 125.0), "apartment_building-outdoor": (10.0, 110.0)}
"""Sites that fences hide from the roads, and how far (m) from the middle to stand."""
_SIZES = ((800, 600), (800, 600), (600, 800), (800, 450))  # px
_TARGETS, _TRIES = 40, 14
_SHOWN = 0.16
"""Share of a picture, as `View.visible` weighs it, that its site must take."""
_SEEN = 800.0
"""Metres that photos look: hardly two of them share what lies further off."""
_INNER = 400.0  # m from the border


def write_country_photos(
    country: Country,
    folder: Path,
    n: int,
    progress: Progress | None = None,
    views: int = 1,
) -> Path:
    """Write ``n`` photos and ``truth.csv`` into ``folder``; returns the table's path.

    ``views``: so many of them in turn are of one place, looking around. Raises OutputError if the
    folder cannot be written.
    """
    around = Surroundings(country, _SEEN)
    shot_of = lru_cache(maxsize=1)(lambda place: _find_shot(country, place, around))

    def take(index: int) -> Photo:
        place, view = divmod(index, views)
        relief, camera, rng = shot_of(place)
        if view == 0:
            return develop(relief, camera, country, rng)
        return _look_around(country, relief, camera, place, view / views)

    return write_album(folder, n, take, progress)


def _look_around(
    country: Country, relief: Relief, camera: Camera, place: int, turn: float
) -> Photo:
    """Another photo from where a camera stands, turned by about so much of a full circle."""
    rng = np.random.default_rng([country.seed & 0xFFFFFFFF, 305, place, round(1000 * turn)])
    heading = (camera.heading + 360 * turn + rng.normal(0.0, 10.0)) % 360
    return develop(relief, replace(camera, heading=float(heading)), country, rng)


def _find_shot(
    country: Country, index: int, around: Surroundings
) -> tuple[Relief, Camera, np.random.Generator]:
    """Where the photo of place ``index`` of a country is taken, independent of how many there are;
    and what draws the rest of it.

    Raises GeolocError if nothing of its kind can be photographed.
    """
    rng = np.random.default_rng([country.seed & 0xFFFFFFFF, 303, index])
    wanted = SITES[index % len(SITES)]
    for site in (wanted, *SITES[5:], *SITES[:5]):  # a small country lacks some
        targets = targets_of(country.plan, site)
        for _ in range(_TARGETS if len(targets) else 0):
            target = targets[rng.integers(len(targets))]
            shot = _shot(country, target, site, rng, around)
            if shot is not None:
                return *shot, rng
    raise GeolocError(f"nothing to photograph in the country of seed {country.seed}: try another")


@lru_cache(maxsize=64)
def targets_of(plan: Plan, site: str) -> F64:
    """Middles ``(n, 2)`` of all sites of a kind inside the border."""
    if site == "bridge":
        return _rail_bridges(plan)
    planned = _planned(plan)
    return np.asarray(planned[planned[:, 2] == CLASS[site]][:, :2])


@lru_cache(maxsize=2)
def _planned(plan: Plan) -> F64:
    """x, y and land use ``(n, 3)`` of the plots inside the border."""
    rows = plan.block(*plan.keys()).reshape(-1, 7)
    x, y = rows[:, C.SITE_X], rows[:, C.SITE_Y]
    inside = inside_ring(plan.ring, x, y, _INNER)
    return np.asarray(rows[inside][:, [C.SITE_X, C.SITE_Y, C.USE]])


def _rail_bridges(plan: Plan) -> F64:
    """Where railways cross rivers."""
    line, box = plan.lines[RAIL], (*plan.ring.min(axis=0), *plan.ring.max(axis=0))
    repetitions, low, high = stretches_near(line, box, 0.0)
    bridges = [np.zeros((0, 2))]
    for index in repetitions:
        points = trace(line, np.arange(low, high, 8.0), float(index))
        near = distances(plan.lines, points[:, 0].copy(), points[:, 1].copy())[:, RIVER]
        least = np.zeros(len(points), bool)
        least[1:-1] = (near[1:-1] < 8.0) & (near[1:-1] <= near[:-2]) & (near[1:-1] < near[2:])
        bridges.append(points[least])
    points = np.concatenate(bridges)
    return np.asarray(points[inside_ring(plan.ring, points[:, 0], points[:, 1], _INNER)])


def _shot(
    country: Country, target: F64, site: str, rng: np.random.Generator, around: Surroundings
) -> tuple[Relief, Camera] | None:
    """A place to stand and a camera that shows the site, if one is found."""
    stands = _stands(country, target, site)
    for _ in range(_TRIES if len(stands) else 0):
        x, y = place(stands[rng.integers(len(stands))], rng)
        camera = _aimed(hold(x, y, rng, _SIZES[rng.integers(len(_SIZES))]), target, rng)
        near = around.nearby(x, y)
        if not (stands_free(near, camera) and shows_place(near, camera)):
            continue
        if _share_of(country, around.relief(x, y, detail=False), camera, site) > _SHOWN:
            return around.relief(x, y), camera
    return None


def _stands(country: Country, target: F64, site: str) -> F64:
    """Where to stand around a site: ``(n, 4)`` x, y and a direction, as `Spots` has them."""
    if site in _ON_FOOT:
        near, far = _ON_FOOT[site]
        turn = np.arange(0.0, 40.0, 0.7)
        reach = np.linspace(near, far, turn.size)
        return np.column_stack(
            [target + reach[:, None] * np.column_stack([np.cos(turn), np.sin(turn)]),
             np.ones(turn.size), np.zeros(turn.size)]
        )  # fmt: skip
    try:
        spots = find_spots(Neighbourhood(country, float(target[0]), float(target[1]), _HALF))
    except GeolocError:  # no road
        return np.zeros((0, 4))
    fit = np.hypot(*(spots.points[:, :2] - target).T) < _REACH.get(site, _HALF)
    if site != "lake-natural":  # whose shore is beside the road at best
        fit &= spots.landuse == CLASS[site]
    return np.asarray(spots.points[fit])


def _aimed(camera: Camera, target: F64, rng: np.random.Generator) -> Camera:
    """The camera turned roughly towards a target, unless it stands there."""
    east, north = target - (camera.x, camera.y)
    if math.hypot(east, north) < 25.0:
        return camera
    heading = math.degrees(math.atan2(east, north)) + float(rng.normal(0.0, 18.0))
    return replace(camera, heading=heading % 360)


def _share_of(country: Country, relief: Relief, camera: Camera, site: str) -> float:
    """Share of a kind of land use in what a camera sees, by a picture of few pixels."""
    small = replace(camera, width=96, height=72)
    lon, lat = to_lonlat(country.crs).transform(camera.x, camera.y)
    light = moment(lon, lat, np.random.default_rng(0), 0.5).light
    return float(render(relief, small, light, oversample=1.0).visible[CLASS[site]])
