"""CRS that come round, that have a seam to move, and that lead nowhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform

from geoloc.imagery.crs import centred_on, off_earth, on_earth, turn_of

TURN = 2 * math.pi * 6378137
MOON = (
    'GEOGCS["Moon",DATUM["D_Moon",SPHEROID["Moon",1737400,0]],PRIMEM["Reference_Meridian",0],'
    'UNIT["Degree",0.0174532925199433]]'
)
LOCAL = 'LOCAL_CS["of a drone",UNIT["metre",1]]'


@pytest.mark.parametrize(
    ("crs", "turn"),
    [
        ("EPSG:4326", 360),
        ("EPSG:4267", 360),
        ("EPSG:4807", 400),  # NTF (Paris), in grads
        ("EPSG:3857", TURN),
        ("EPSG:3832", TURN),
        ("EPSG:3395", TURN),
        ("EPSG:4087", TURN),
        ("EPSG:4979", 360),  # of three dimensions
        ("EPSG:4326+3855", 360),  # and heights
        ("EPSG:32636", None),
        ("EPSG:3413", None),
        ("EPSG:2056", None),  # oblique Mercator
        ("+proj=geos +h=35785831 +lon_0=0 +type=crs", None),
        ("+proj=moll +type=crs", None),
    ],
)
def test_longitudes_and_what_grows_with_them_come_round(crs: str, turn: float | None) -> None:
    assert turn_of(crs) == (None if turn is None else pytest.approx(turn, rel=1e-6))


@pytest.mark.parametrize(
    "crs", ["EPSG:4326", "EPSG:4326+3855", "EPSG:4267", "EPSG:3857", "EPSG:4087", "EPSG:3832"]
)
@pytest.mark.parametrize("turns", [-1.5, -0.5, 0.02, 0.5])
def test_a_seam_is_moved_and_nothing_else(crs: str, turns: float) -> None:
    """GDAL gives the same place, datum shift and all, in coordinates around another middle."""
    turn = turn_of(crs)
    assert turn is not None
    middle = turns * turn
    zone = CRS.from_epsg(32601 if abs(turns) > 0.1 and crs != "EPSG:3832" else 32631)
    easts, norths = [420e3, 500e3, 640e3], [5.70e6, 5.72e6, 5.75e6]
    plain = np.array(transform(zone, CRS.from_user_input(crs), easts, norths))
    moved = np.array(transform(zone, CRS.from_user_input(centred_on(crs, middle)), easts, norths))
    np.testing.assert_allclose(moved[1], plain[1], rtol=0, atol=1e-9 * turn)
    times = (moved[0] - plain[0]) / turn
    np.testing.assert_allclose(times, np.rint(times), atol=1e-9)
    assert (np.abs(moved[0] - middle) <= turn / 2 * 1.0001).all()


def test_places_that_are_not_on_the_earth() -> None:
    for crs in ("EPSG:4326", "EPSG:32636", "+proj=geos +h=35785831 +lon_0=0 +type=crs"):
        assert on_earth(crs) and off_earth(crs) == ""
    assert off_earth(LOCAL) == "local 'of a drone'"
    assert off_earth(MOON) == "'Moon'"
    assert off_earth("EPSG:999999") == "which is unknown"
