from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.points.lengths import along, around, distances, edge_lengths
from tests.road_files import lines_of

PLACE = st.tuples(st.floats(-180, 180), st.floats(-85, 85))
STEP = st.floats(-0.5, 0.5)


def test_lengths_are_those_of_the_ellipsoid() -> None:
    """A degree of latitude at the equator and near the pole, one of longitude at the equator."""
    start = np.array([[0.0, -0.5], [0.0, 89.0], [10.0, 0.0]])
    end = np.array([[0.0, 0.5], [0.0, 90.0], [11.0, 0.0]])
    a, f = 6378137.0, 1 / 298.257223563
    equator = math.pi / 180 * a
    # of a short arc of a meridian: its radius of curvature there (1 deg: exact to a centimetre)
    e2 = f * (2 - f)
    meridian = [math.pi / 180 * a * (1 - e2) / (1 - e2 * math.sin(phi) ** 2) ** 1.5
                for phi in (0.0, math.radians(89.5))]  # fmt: skip
    found = distances(start, end)
    assert found[2] == pytest.approx(equator, abs=1e-6)
    assert found[:2] == pytest.approx(meridian, abs=0.05)


def test_nothing_lies_between_two_lines() -> None:
    lines = lines_of([(9.0, 47.0), (9.1, 47.0)], [(20.0, 50.0), (20.0, 50.0), (20.1, 50.0)])
    lengths = edge_lengths(lines)
    assert lengths[1] == lengths[2] == lengths[4] == 0
    assert [lengths[0], lengths[3]] == pytest.approx([_tenth(47), _tenth(50)], abs=0.01)


def _tenth(lat: float) -> float:
    """Of a degree along a parallel, m: as good as the geodesic."""
    sine = math.sin(math.radians(lat))
    radius = 6378137 / math.sqrt(1 - 0.00669437999 * sine**2)
    return math.radians(0.1) * radius * math.cos(math.radians(lat))


@given(PLACE, STEP, STEP, st.floats(0, 1))
def test_a_place_between_two_divides_the_way_between_them(
    start: tuple[float, float], east: float, north: float, share: float
) -> None:
    a = np.array([start])
    b = np.array([(start[0] + east, max(-89.0, min(89.0, start[1] + north)))])
    whole = distances(a, b)
    place = along(a, b, share * whole)
    assert abs(place[0, 0]) <= 180
    assert distances(a, place)[0] == pytest.approx(share * whole[0], abs=1e-5)
    assert distances(place, b)[0] == pytest.approx((1 - share) * whole[0], abs=1e-5)


def test_places_beyond_the_antimeridian_are_on_the_other_side() -> None:
    assert around(np.array([180.0, -180.0, 181.0, -190.0, 12.5])).tolist() == [
        180.0, -180.0, -179.0, 170.0, 12.5,
    ]  # fmt: skip
