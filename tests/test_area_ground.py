"""A metre of the area's CRS has to be one on the ground; what is not is refused with the zone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import CRS, Proj, Transformer

from geoloc.area.ground import ground_scales, require_ground_scale, require_metres, utm_code

Place = tuple[float, float]


def around(crs: str, place: Place, side: float = 5000.0) -> tuple[float, float, float, float]:
    """A square around a place given by lon, lat."""
    lonlat = CRS(crs).geodetic_crs
    x, y = Transformer.from_crs(lonlat, crs, always_xy=True).transform(*place)
    return x - side, y - side, x + side, y + side


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("EPSG:32636", (31.2, 50.5)),
        ("EPSG:32636", (22.5, 48.5)),  # a country in one zone: 10.5 degrees off its meridian
        ("EPSG:32736", (33.0, -1.0)),
        ("EPSG:3035", (31.2, 50.5)),  # LAEA Europe, far from its centre; northing comes first
        ("EPSG:3035", (-8.5, 40.0)),
        ("EPSG:2154", (2.3, 48.9)),  # Lambert-93; true along its parallels
        ("EPSG:2154", (31.0, 48.0)),
        ("EPSG:2180", (21.0, 52.2)),  # Poland, northing first
        ("EPSG:31467", (9.0, 48.8)),  # Gauss-Krueger, northing first
        ("EPSG:27700", (-0.1, 51.5)),
        ("EPSG:2056", (7.4, 46.9)),
        ("EPSG:5514", (14.4, 50.1)),  # Krovak East North
        ("EPSG:5070", (-80.2, 25.8)),  # Albers, equal area, far south
        ("EPSG:3577", (130.8, -12.5)),
        ("EPSG:3857", (36.8, -1.3)),  # at the equator its metre is one
        ("EPSG:3031", (0.0, -71.0)),  # polar, where it is true to scale
        ("EPSG:3413", (-45.0, 70.0)),
        ("EPSG:32661", (10.0, 86.0)),
    ],
)
def test_true_to_scale(crs: str, place: Place) -> None:
    bounds = around(crs, place)
    require_metres(crs, bounds)
    require_ground_scale(crs, bounds)


@pytest.mark.parametrize(
    ("crs", "place", "scale", "zone"),
    [
        ("EPSG:3857", (34.5, 31.3), "0.853", "EPSG:32636"),
        ("EPSG:3857", (-70.4, -33.5), "0.83", "EPSG:32719"),
        ("EPSG:3857", (31.0, 50.5), "0.63", "EPSG:32636"),
        ("EPSG:3857", (36.8, 9.0), "0.98", "EPSG:32637"),
        ("EPSG:3395", (34.5, 31.3), "0.85", "EPSG:32636"),
        ("EPSG:6933", (31.0, 50.5), "", "EPSG:32636"),  # equal area, but not in shape
        ("ESRI:54009", (31.0, 50.5), "", "EPSG:32636"),  # Mollweide
        ("ESRI:54009", (-120.0, 60.0), "", "EPSG:32611"),
        ("EPSG:32636", (59.0, 10.0), "0.9", "EPSG:32640"),
        ("EPSG:3413", (-45.0, 60.0), "0.96", "EPSG:32623"),
        ("EPSG:2154", (10.0, 60.0), "0.9", "EPSG:32632"),
    ],
)
def test_other_metres_are_refused_with_the_zone(
    crs: str, place: Place, scale: str, zone: str
) -> None:
    bounds = around(crs, place)
    require_metres(crs, bounds)
    with pytest.raises(ValueError, match=f"a metre of crs {crs} is {scale}.* m on the ground") as e:
        require_ground_scale(crs, bounds)
    assert f"use the UTM zone here, {zone}, and bounds in its metres" in str(e.value)


@given(st.floats(-170, 170), st.floats(-75, 75))
def test_scales_are_those_of_projs_own_derivatives(lon: float, lat: float) -> None:
    """PROJ's are of the projection at the very point; ours follow the map for 100 m."""
    for crs in ("EPSG:3395", "EPSG:6933", utm_code(lon, lat)):
        x, y = (np.array([part]) for part in Proj(crs)(lon, lat))
        assume(np.isfinite(x).all())
        _, _, found = ground_scales(crs, x, y)
        factors = Proj(crs).get_factors(lon, lat)
        wanted = 1 / factors.tissot_semiminor, 1 / factors.tissot_semimajor
        assert found[0] == pytest.approx(wanted, rel=1e-4)


def test_of_web_mercator() -> None:
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform([34.5], [31.0])
    lon, lat, found = ground_scales("EPSG:3857", np.array(x), np.array(y))
    assert (lon[0], lat[0]) == pytest.approx((34.5, 31.0))
    # a spherical map of an ellipsoid: both radii of curvature differ from its sphere's
    e2 = 0.00669437999014
    w = math.sqrt(1 - e2 * math.sin(math.radians(31.0)) ** 2)
    cos = math.cos(math.radians(31.0))
    assert found[0] == pytest.approx([cos / w, cos * (1 - e2) / w**3], rel=1e-6)


@pytest.mark.parametrize(
    "bounds",
    [(1e9, 1e9, 1e9 + 100, 1e9 + 100), (5e5, 3e7, 6e5, 3.1e7)],
)
def test_bounds_off_the_map(bounds: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"outside crs EPSG:3031|a metre of crs"):
        require_ground_scale("EPSG:3031", bounds)


@pytest.mark.parametrize("top", [55_780_000.0, 557_800_000.0, 31_000_000.0])
def test_a_northing_past_the_pole_is_not_folded_back_onto_the_map(top: float) -> None:
    with pytest.raises(ValueError, match="are outside crs EPSG:32636: correct them"):
        require_ground_scale("EPSG:32636", (364000.0, 5577000.0, 365000.0, top))
    with pytest.raises(ValueError, match="are outside crs EPSG:32636: correct them"):
        require_ground_scale("EPSG:32636", (364000.0, top - 1000.0, 365000.0, top))


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ("EPSG:4326", "in degrees"),
        ("EPSG:2263", "foot, not metres"),
        ("EPSG:32636+5773", None),
        ("EPSG:2053", "south and westwards"),  # Lo29 of South Africa: westing, southing
        ("EPSG:5513", "south and westwards"),  # Krovak: southing, westing
        ("+proj=tmerc +lon_0=33 +axis=wsu +type=crs", "south and westwards"),
        ("+proj=utm +zone=36 +units=km +type=crs", "not metres"),
        ("+proj=utm +zone=36 +type=crs", None),
        ("EPSG:4978", "not a map projection"),
        ("Mars", "unknown"),
    ],
)
def test_what_a_crs_has_to_be(crs: str, message: str | None) -> None:
    if message is None:
        require_metres(crs, None)
        return
    with pytest.raises(ValueError, match=message) as caught:
        require_metres(crs, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bounds", "zone"),
    [
        ((30.1, 50.4, 30.4, 50.6), "EPSG:32636"),
        ((-70.5, -33.6, -70.3, -33.4), "EPSG:32719"),
        ((179.5, -17.0, 180.0, -16.0), "EPSG:32760"),
        ((10.0, 85.0, 11.0, 86.0), "EPSG:32661"),
        ((-33.4, 150.0, -33.2, 151.0), "EPSG:326NN"),  # latitude first
    ],
)
def test_degrees_under_a_crs_in_metres(
    bounds: tuple[float, float, float, float], zone: str
) -> None:
    for crs in ("EPSG:32636", "EPSG:3857", "EPSG:3035"):
        with pytest.raises(ValueError, match=f"look like degrees, but crs {crs} is in .*{zone}"):
            require_metres(crs, bounds)
