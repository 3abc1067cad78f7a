"""Coordinates in whatever order and spelling they are typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.domain import Grid
from geoloc.errors import UsageError
from geoloc.query.coordinates import Place, place_in, read_places

KYIV = Grid("EPSG:32636", 323_000.0, 5_592_000.0, 10.0, 200, 300)  # 50.45 N, 30.5 E
SQUARE = Grid("EPSG:32631", 400_000.0, 340_000.0, 1000.0, 100, 400)  # 2.5 N 2.6 E, or swapped
RIGHT = Place(lat=50.45, lon=30.525)


@pytest.mark.parametrize(
    "text",
    [
        "50.45,30.525", "50.45, 30.525", "50.45 30.525", "50.45;30.525", "geo:50.45,30.525",
        "50.45N 30.525E", "50.45n,30.525e", "N50.45 E30.525", "50.45° N, 30.525° E",
        "E30.525 N50.45", "30.525E 50.45N", "30.525E, 50.45", "50°27'N 30°31'30\"E",
        "50° 27′ 0″ N, 30° 31′ 30″ E", "(50.45, 30.525)", "30.525,50.45",
    ],
)  # fmt: skip
def test_every_spelling_is_the_same_place(text: str) -> None:
    place, _ = place_in(text, KYIV, "Kyiv")
    assert (place.lat, place.lon) == (pytest.approx(RIGHT.lat), pytest.approx(RIGHT.lon))


def test_the_order_that_had_to_be_assumed_is_said() -> None:
    assert place_in("50.45,30.525", KYIV, "Kyiv")[1] is None
    assert place_in("30.525E 50.45N", KYIV, "Kyiv")[1] is None  # marked: nothing is assumed
    swapped = place_in("30.525,50.45", KYIV, "Kyiv")[1]
    assert swapped == "30.525,50.45 is read as lat 50.45, lon 30.525: longitude first"
    place, both = place_in("2.5,2.6", SQUARE, "Lagos")
    assert place == Place(lat=2.5, lon=2.6)
    assert both == "2.5,2.6 is read as lat 2.5, lon 2.6; lat 2.6, lon 2.5 lies in Lagos too"
    assert place_in("2.5E,2.6N", SQUARE, "Lagos") == (Place(lat=2.6, lon=2.5), None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10,20", "neither lat 10, lon 20 nor lat 20, lon 10 lies in Kyiv"),
        ("100,20", "lat 20, lon 100 lies outside of Kyiv"),
        ("50.45S,30.525E", "lat -50.45, lon 30.525 lies outside of Kyiv"),
        ("-50.45,30.525", "neither"),
        ("50.45N 30.525N", "both are latitudes"),
        ("91,181", "latitude is -90 to 90"),
        ("50.45", "LAT,LON"),
        ("", "LAT,LON"),
        ("50,45 30,525", "LAT,LON"),
        ("50.45,30.525,120", "LAT,LON"),
        ("Kyiv", "LAT,LON"),
        ("nan,inf", "LAT,LON"),
        ("-50.45S,30.525E", "a sign and a letter may contradict each other"),
        ("50.45,-30.525W", "a sign and a letter may contradict each other"),
        ("50°60'N 30°31'E", "minutes and seconds are below 60"),
        ("50°27'N 30°31'60\"E", "minutes and seconds are below 60"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        place_in(text, KYIV, "Kyiv")


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_marked_coordinates_have_one_reading(lat: float, lon: float) -> None:
    north, east = "S" if lat < 0 else "N", "W" if lon < 0 else "E"
    found = read_places(f"{abs(lat):.9f}{north}, {abs(lon):.9f}{east}")
    assert found == read_places(f"{east}{abs(lon):.9f} {north}{abs(lat):.9f}")
    (place,) = found
    assert place.lat == pytest.approx(lat, abs=1e-8) and place.lon == pytest.approx(lon, abs=1e-8)
