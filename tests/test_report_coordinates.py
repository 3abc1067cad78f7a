"""What the page says of places, against pyproj and against MGRS from the letters of its tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Geod, Transformer

from geoloc.domain import Grid
from tests.report_sample import page as report_page

SCRIPT = Path(__file__).parent.parent / "geoloc" / "report" / "templates" / "coordinates.js"
WGS84 = Geod(ellps="WGS84")
BORDERS = (
    (0.0, 0.0), (-0.0001, 6.0), (60.0, 2.9), (60.0, 3.1), (63.9, 11.9), (55.9, 4.0), (64.1, 4.0),
    (78.0, 8.9), (78.0, 9.1), (78.0, 20.9), (78.0, 21.1), (78.0, 32.9), (78.0, 33.1), (78.0, 41.9),
    (78.0, 42.1), (71.9, 8.0), (83.99, 30.0), (-79.99, -179.99), (50.45, 179.999), (-33.9, 151.2),
    (84.0, 15.0), (-80.0, 15.0), (72.0, 0.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def script(browser: Any) -> Iterator[Any]:
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.add_script_tag(content=SCRIPT.read_text())
    yield page
    context.close()


def places(count: int = 300) -> list[tuple[float, float]]:
    rng = np.random.default_rng(36)
    lat, lon = rng.uniform(-80, 84, count), rng.uniform(-180, 180, count)
    return [*zip(lat.tolist(), lon.tolist(), strict=True), *BORDERS]


def zone_of(lat: float, lon: float) -> int:
    """From the table of exceptions: (south, north, west, east, zone)."""
    table = (
        (56, 64, 3, 12, 32), (72, 90, 0, 9, 31), (72, 90, 9, 21, 33),
        (72, 90, 21, 33, 35), (72, 90, 33, 42, 37),
    )  # fmt: skip
    for south, north, west, east, zone in table:
        if south <= lat < north and west <= lon < east:
            return zone
    return next(zone for zone in range(1, 61) if 6 * zone - 186 <= lon < 6 * zone - 180)


def utm_of(lat: float, lon: float) -> tuple[int, str, float, float]:
    zone = zone_of(lat, lon)
    epsg = (32600 if lat >= 0 else 32700) + zone
    east, north = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    band = next(
        b for b, s in zip("XWVUTSRQPNMLKJHGFEDC", range(72, -88, -8), strict=True) if lat >= s
    )
    return zone, band, east, north


def mgrs_of(lat: float, lon: float) -> tuple[str, int, int]:
    """Square and metres in it: columns run on over three zones, rows start anew every 2,000 km."""
    zone, band, east, north = utm_of(lat, lon)
    columns = "ABCDEFGHJKLMNPQRSTUVWXYZ"[8 * ((zone - 1) % 3) :]
    rows = "ABCDEFGHJKLMNPQRSTUV" if zone % 2 else "FGHJKLMNPQRSTUVABCDE"
    square = columns[int(east) // 100_000 - 1] + rows[int(north) // 100_000 % 20]
    return f"{zone}{band} {square}", int(east) % 100_000, int(north) % 100_000


def test_utm_is_that_of_pyproj(script: Any) -> None:
    told = script.evaluate("all => all.map(([lat, lon]) => coordinates.utm(lat, lon))", places())
    for (lat, lon), found in zip(places(), told, strict=True):
        zone, band, east, north = utm_of(lat, lon)
        assert (found["zone"], found["band"]) == (zone, band), (lat, lon)
        assert found["easting"] == pytest.approx(east, abs=1e-4)
        assert found["northing"] == pytest.approx(north, abs=1e-4)


def test_mgrs_is_that_of_the_tables(script: Any) -> None:
    told = script.evaluate("all => all.map(([lat, lon]) => coordinates.mgrs(lat, lon))", places())
    for (lat, lon), text in zip(places(), told, strict=True):
        zone, square, east, north = text.split()
        expected, *metres = mgrs_of(lat, lon)
        assert f"{zone} {square}" == expected, (lat, lon)
        assert [int(east), int(north)] == pytest.approx(metres, abs=1)  # truncated, not rounded


def test_mgrs_of_places_that_are_known(script: Any) -> None:
    """Published examples: Honolulu, and the corner of zone 31."""
    assert script.evaluate("coordinates.mgrs(21.3098, -157.9171)").startswith("4Q FJ 12")
    assert script.evaluate("coordinates.mgrs(0, 0)") == "31N AA 66021 00000"


def test_near_the_poles_there_is_neither(script: Any) -> None:
    for lat in (84.01, -80.01, 90, -90):
        assert script.evaluate(
            "lat => [coordinates.utmText(lat, 5), coordinates.mgrs(lat, 5)]", lat
        ) == [None, None]


def test_mgrs_is_read_back_everywhere(script: Any) -> None:
    """The middle of its square metre; without spaces and in small letters too."""
    code = """all => all.map(([lat, lon]) => {
        const text = coordinates.mgrs(lat, lon);
        return [text, text.replaceAll(" ", "").toLowerCase()].map(coordinates.parse); })"""
    for (lat, lon), both in zip(places(), script.evaluate(code, places()), strict=True):
        for back in both:
            assert WGS84.inv(lon, lat, back["lon"], back["lat"])[2] < 0.75


def test_shorter_mgrs_means_the_middle_of_a_larger_square(script: Any) -> None:
    fine = script.evaluate("coordinates.parse('36U UA 24500 91500')")
    coarse = script.evaluate("coordinates.parse('36U UA 24 91')")
    assert WGS84.inv(fine["lon"], fine["lat"], coarse["lon"], coarse["lat"])[2] < 1
    assert coarse["within"] == 500


def test_lengths_and_bearings_are_those_of_pyproj(script: Any) -> None:
    ends = places()[:100]
    near = [(lat + 1e-4, lon - 2e-4) for lat, lon in ends]
    code = (
        "all => all.map(([a, b, c, d]) => coordinates.geodesic({lat: a, lon: b}, {lat: c, lon: d}))"
    )
    for others in (near, ends[1:] + ends[:1]):
        pairs = [(*a, *b) for a, b in zip(ends, others, strict=True)]
        for (a, b, c, d), found in zip(pairs, script.evaluate(code, pairs), strict=True):
            bearing, _, length = WGS84.inv(b, a, d, c)
            assert found["metres"] == pytest.approx(length, abs=1e-3)
            assert (found["bearing"] - bearing + 180) % 360 == pytest.approx(180, abs=1e-3)
    assert (
        script.evaluate("coordinates.geodesic({lat: 1, lon: 2}, {lat: 1, lon: 2})")["metres"] == 0
    )


KYIV = (50.45, 30.52)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("50.45, 30.52", KYIV), ("50.45 30.52", KYIV), ("50.45; 30.52", KYIV),
        ("50.45,30.52", KYIV), ("  50.45° ,  30.52° ", KYIV), ("50,45; 30,52", KYIV),
        ("50,45 30,52", KYIV), ("50,45, 30,52", KYIV), ("50.45N 30.52E", KYIV),
        ("30.52 e, 50.45 n", KYIV), ("N 50.45, E 30.52", KYIV), ("50.45° N, 30.52° E", KYIV),
        ("50°27'N 30°31'12\"E", KYIV), ("50° 27′ 00″ N, 30° 31′ 12″ E", KYIV),
        ("N50°27'00\" E30°31'12\"", KYIV), ("50 27.0 N 30 31.2 E", KYIV),
        ("50 27 0 N 30 31 12 E", KYIV), ("50°27'0''N 30°31'12''E", KYIV),
        ("lat 50.45 lon 30.52", KYIV), ("Latitude: 50.45, Longitude: 30.52", KYIV),
        ("−33.9, −70.25", (-33.9, -70.25)), ("33.9S 70.25W", (-33.9, -70.25)),
        ("33°54'S 70°15'W", (-33.9, -70.25)), ("-0.5, 0.25", (-0.5, 0.25)),
    ],
)  # fmt: skip
def test_coordinates_are_read_in_many_ways(
    script: Any, text: str, place: tuple[float, float]
) -> None:
    found = script.evaluate("text => coordinates.parse(text)", text)
    assert (found["lat"], found["lon"]) == (pytest.approx(place[0]), pytest.approx(place[1]))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("36U 324155 5591234", (36, 324155, 5591234)),
        ("36u 324155E, 5591234N", (36, 324155, 5591234)),
        ("36N 324155 5591234", (36, 324155, 5591234)),
        ("19H 346000 6298000", (-19, 346000, 6298000)),
        ("19S 346000 6298000", (-19, 346000, 6298000)),
    ],
)  # fmt: skip
def test_utm_is_read(script: Any, text: str, place: tuple[int, float, float]) -> None:
    zone, east, north = place
    epsg = 32600 + zone if zone > 0 else 32700 - zone
    lon, lat = Transformer.from_crs(epsg, 4326, always_xy=True).transform(east, north)
    found = script.evaluate("text => coordinates.parse(text)", text)
    assert WGS84.inv(lon, lat, found["lon"], found["lat"])[2] < 1e-3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write lat, lon"), ("here", "write lat, lon"), ("50.45", "write lat, lon"),
        ("50.45, 30.52, 100", "write lat, lon"), ("50 27 30 31", "write lat, lon"),
        ("95, 30", "latitude 95"), ("50, 190", "longitude 190"), ("200E 50N", "longitude 200"),
        ("50N 30N", "the other east or west"), ("-50 S, 30 E", "takes no sign"),
        ("50 61 N 30 0 E", "below 60"), ("61U UA 1 1", "no such MGRS"),
        ("36U UA 123 45", "no such MGRS"),
        ("36U AA 12345 12345", "no such MGRS"), ("36U 324155 1000000", "no such UTM"),
        ("17S 500000 3800000", "the band or the south"),
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(script: Any, text: str, reason: str) -> None:
    code = "text => { try { return coordinates.parse(text); } catch (e) { return e.message; } }"
    assert reason in script.evaluate(code, text)


@pytest.mark.parametrize(
    ("crs", "left", "top", "step"),
    [
        ("EPSG:32636", 100_000, 5_900_000, 5000),  # 1,000 km
        ("EPSG:32601", 300_000, 5_600_000, 500),  # the date line runs through it
        ("EPSG:3031", -400_000, 500_000, 4000),  # so does the south pole
        ("EPSG:32733", 250_000, 10_050_000, 500),  # and the equator
    ],
)  # fmt: skip
def test_degrees_of_the_page_are_those_of_pyproj(
    offline_page: Any, tmp_path: Path, crs: str, left: float, top: float, step: float
) -> None:
    """At random places of the area, there and back."""
    grid = Grid(crs, left, top, step, 210, 190)
    page = offline_page.open(
        report_page(
            tmp_path / "r.html", grid=grid, candidates=(), heatmap=np.ones(grid.shape, np.float32)
        )
    )
    page.wait_for_selector("#map[data-ready=yes]")
    rng = np.random.default_rng(4)
    west, south, east, north = grid.bounds
    x, y = rng.uniform(west, east, 50), rng.uniform(south, north, 50)
    code = """all => {
        const map = createMap(JSON.parse(document.getElementById("data").textContent));
        return all.map(([x, y]) => { const place = map.toDegrees(x, y);
            return [place.lon, place.lat, ...map.fromDegrees(place)]; }); }"""
    found = np.array(page.evaluate(code, np.column_stack([x, y]).tolist()))
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    assert WGS84.inv(lon, lat, found[:, 0], found[:, 1])[2].max() < 0.05
    assert np.abs(found[:, 2:] - np.column_stack([x, y])).max() < 0.01
