"""Polygons of files: what they cover is found right, what they cannot be is refused in a line."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod, Transformer

from geoloc.area import read_polygon
from geoloc.area.polygon import valid_polygon
from geoloc.errors import AreaError

UTM = "EPSG:32636"
EQUAL_AREA = "EPSG:6933"
Ring = list[tuple[float, float]]
SQUARE: Ring = [(31.0, 50.0), (31.1, 50.0), (31.1, 50.05), (31.0, 50.05), (31.0, 50.0)]


def save(path: Path, *shapes: dict[str, Any], **members: Any) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **members}))
    return path


def polygon(*rings: Ring) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": rings}


def multi(*polygons: list[Ring]) -> dict[str, Any]:
    return {"type": "MultiPolygon", "coordinates": polygons}


def named(crs: str) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": crs}}


def box(left: float, bottom: float, right: float, top: float) -> Ring:
    return [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]


def in_metres(tmp_path: Path, *shapes: dict[str, Any]) -> float:
    """km2 that polygons in km around a place of the UTM zone cover."""
    text = json.dumps(shapes)
    moved = json.loads(text)

    def move(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], int | float):
            return [500_000 + 1000 * value[0], 5_500_000 + 1000 * value[1]]
        return [move(part) for part in value]

    for shape in moved:
        shape["coordinates"] = move(shape["coordinates"])
    path = save(tmp_path / "a.geojson", *moved, crs=named(UTM))
    return float(read_polygon(path, UTM).area) / 1e6


def refusal(path: Path, crs: str = UTM) -> str:
    with pytest.raises(AreaError) as caught:
        read_polygon(path, crs)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "km2"),
    [
        pytest.param([polygon([(0, 0), (4, 3), (4, 0), (0, 3), (0, 0)])], 6, id="hourglass"),
        pytest.param([polygon(box(0, 0, 4, 3), box(1, 1, 2, 2))], 11, id="hole"),
        pytest.param([polygon(box(0, 0, 4, 3), box(6, 1, 7, 2))], 12, id="hole outside"),
        pytest.param([polygon(box(0, 0, 4, 3), box(3, 1, 6, 2))], 11, id="hole across the edge"),
        pytest.param(
            [polygon(box(0, 0, 4, 3), box(1, 1, 3, 2), box(2, 1, 3.5, 2))], 9.5, id="two holes"
        ),
        pytest.param([polygon(box(0, 0, 4, 3), box(0, 0, 4, 3)), polygon(box(9, 9, 10, 10))], 1,
                     id="a hole as large as its shell"),
        pytest.param([multi([box(0, 0, 4, 3)], [box(1, 1, 2, 2)])], 12, id="nested"),
        pytest.param([multi([box(0, 0, 4, 3)], [box(2, 1, 6, 2)])], 14, id="overlapping parts"),
        pytest.param([polygon(box(0, 0, 4, 3)), polygon(box(2, 1, 6, 2))], 14, id="overlapping"),
        pytest.param([polygon(box(0, 0, 4, 3), box(1, 1, 3, 2)), polygon(box(1.5, 1, 2.5, 2))], 11,
                     id="an island in a hole"),
        pytest.param(
            [{"type": "Polygon", "coordinates": [box(0, 0, 4, 3)[::-1]]}], 12, id="clockwise"
        ),
        pytest.param([polygon([(0, 0), (4, 0), (4, 3), (6, 3), (4, 3), (0, 3), (0, 0)])], 12,
                     id="a spike"),
    ],
)  # fmt: skip
def test_what_polygons_cover(tmp_path: Path, shapes: list[dict[str, Any]], km2: float) -> None:
    assert in_metres(tmp_path, *shapes) == pytest.approx(km2, rel=1e-6)


def inside(ring: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> Any:
    """Whether points are inside of a ring: naively, by counting the edges to their right."""
    odd = np.zeros(x.shape, np.bool_)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            odd ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return odd


points = st.tuples(st.integers(0, 20), st.integers(0, 20))


def runs_back(ring: Ring) -> bool:
    """Whether edges of a ring lie on each other: what such a ring holds is a matter of taste."""
    edges = shapely.linestrings(list(zip(ring, [*ring[1:], ring[0]], strict=True)))
    drawn = shapely.length(edges).sum()
    return bool(shapely.unary_union(edges).length < drawn * (1 - 1e-9))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(points, min_size=3, max_size=8, unique=True),
    st.lists(points, min_size=3, max_size=5, unique=True),
)
def test_rings_that_cross_cover_what_counting_edges_says(shell: Ring, hole: Ring) -> None:
    assume(not (runs_back(shell) or runs_back(hole)))
    side = np.arange(0, 20, 0.1) + 0.0497
    x, y = (part.ravel() for part in np.meshgrid(side, side + 0.0013))
    there = inside(np.array(shell, float), x, y) & ~inside(np.array(hole, float), x, y)
    found = valid_polygon(shapely.Polygon(shell, [hole]))
    assert found.is_valid
    agree = shapely.contains_xy(found, x, y) == there
    assert agree.mean() > 0.999  # but for points on an edge


def test_a_hourglass_in_degrees(tmp_path: Path) -> None:
    ring = [(-50.0, 5.0), (-40.0, -10.0), (-50.0, -10.0), (-40.0, 5.0), (-50.0, 5.0)]
    lobes = [[(-50.0, 5.0), (-45.0, -2.5), (-40.0, 5.0)],
             [(-50.0, -10.0), (-40.0, -10.0), (-45.0, -2.5)]]  # fmt: skip
    # edges are straight in degrees, so not geodesics: cut fine
    oracle = sum(
        abs(Geod(ellps="WGS84").geometry_area_perimeter(
            shapely.segmentize(shapely.Polygon(lobe), 0.05))[0])
        for lobe in lobes
    )  # fmt: skip
    found = read_polygon(save(tmp_path / "a.geojson", polygon(ring)), EQUAL_AREA)
    assert found.area == pytest.approx(oracle, rel=1e-3)


@pytest.mark.parametrize(
    "ring",
    [
        [(12601714.2, -2700367.3), (12993071.8, -4138606.4), (14685693.3, -3639625.5)],
        [(300211.0, 5598433.0), (306475.0, 5598433.0), (306475.0, 5604575.0)],
        [(31.0, 50.0), (31.1, 50.0), (3100000.0, 50.1)],
        [(190.0, 50.0), (190.1, 50.0), (190.1, 50.1)],
        [(50.0, 131.0), (50.1, 131.0), (50.1, 131.2)],
        [(31.0, 50.0), (31.1, -90.5), (31.1, 50.1)],
    ],
)
def test_what_is_not_in_degrees_is_refused_at_once(tmp_path: Path, ring: Ring) -> None:
    path = save(tmp_path / "a.geojson", polygon([*ring, ring[0]]))
    start = time.process_time()
    assert "these look like metres" in refusal(path)
    assert time.process_time() - start < 5  # importing geopandas included


def test_the_crs_that_a_geojson_names_is_honoured(tmp_path: Path) -> None:
    ring = box(500_000, 5_500_000, 502_000, 5_501_000)
    for name in (UTM, "urn:ogc:def:crs:EPSG::32636"):
        path = save(tmp_path / "a.geojson", polygon(ring), crs=named(name))
        assert read_polygon(path, UTM).bounds == pytest.approx((500e3, 5500e3, 502e3, 5501e3))
    crs84 = save(
        tmp_path / "b.geojson", polygon(SQUARE), crs=named("urn:ogc:def:crs:OGC:1.3:CRS84")
    )
    plain = save(tmp_path / "c.geojson", polygon(SQUARE))
    assert read_polygon(crs84, UTM).equals(read_polygon(plain, UTM))


def test_degrees_under_a_crs_in_metres_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.geojson", polygon(SQUARE), crs=named(UTM))
    assert "look like degrees" in refusal(path)


WEST_PART = box(179.9, -17.0, 180.0, -16.9)
EAST_PART = box(-180.0, -17.0, -179.8, -16.9)
ACROSS: Ring = [(179.9, -17.0), (-179.8, -17.0), (-179.8, -16.9), (179.9, -16.9), (179.9, -17.0)]


@pytest.mark.parametrize(
    "shapes",
    [
        [polygon(ACROSS)],
        [polygon([ACROSS[1], ACROSS[2], ACROSS[3], ACROSS[0], ACROSS[1]])],
        [multi([WEST_PART], [EAST_PART])],
        [polygon(EAST_PART), polygon(WEST_PART)],
    ],
)
@pytest.mark.parametrize("crs", ["EPSG:32760", "EPSG:32701", "EPSG:3460"])
def test_polygons_across_the_antimeridian(
    tmp_path: Path, shapes: list[dict[str, Any]], crs: str
) -> None:
    geod = Geod(ellps="WGS84")
    oracle = abs(geod.geometry_area_perimeter(shapely.box(0, -17.0, 0.3, -16.9))[0])
    found = read_polygon(save(tmp_path / "a.geojson", *shapes), crs)
    assert found.area == pytest.approx(oracle, rel=5e-3)
    left, _, right, _ = found.bounds
    assert right - left == pytest.approx(geod.inv(0, -16.95, 0.3, -16.95)[2], rel=0.02)


def test_a_hole_goes_along_across_the_antimeridian(tmp_path: Path) -> None:
    hole = box(-179.95, -16.97, -179.85, -16.93)
    whole = read_polygon(save(tmp_path / "a.geojson", polygon(ACROSS)), "EPSG:32760").area
    without = read_polygon(save(tmp_path / "b.geojson", polygon(ACROSS, hole)), "EPSG:32760").area
    assert 1 - without / whole == pytest.approx(0.1 * 0.04 / (0.3 * 0.1), rel=0.01)


def test_what_a_map_turns_inside_out_is_refused(tmp_path: Path) -> None:
    """Its numbers would be finite, and mean the rest of the world."""
    path = save(tmp_path / "a.geojson", polygon(box(-100, -60, 100, 60)))
    assert "outside the domain of EPSG:32636" in refusal(path)


def test_a_continent_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.geojson", polygon(box(-10, 36, 60, 70)))
    found = read_polygon(path, UTM)
    for lon, lat, there in ((31, 50, True), (-9, 40, True), (31, 35, False), (61, 50, False)):
        point = shapely.Point(*Transformer.from_crs(4326, UTM, always_xy=True).transform(lon, lat))
        assert found.contains(point) is there


def test_around_a_pole_in_a_map_of_the_pole(tmp_path: Path) -> None:
    path = save(tmp_path / "a.geojson", polygon(box(-180, 60, 180, 90)))
    cap = 2 * np.pi * 6371.0**2 * (1 - np.sin(np.radians(60)))
    assert read_polygon(path, "EPSG:3571").area / 1e6 == pytest.approx(cap, rel=0.01)


def test_an_open_ring_is_closed(tmp_path: Path) -> None:
    closed = read_polygon(save(tmp_path / "a.geojson", polygon(SQUARE)), UTM)
    opened = read_polygon(save(tmp_path / "b.geojson", polygon(SQUARE[:-1])), UTM)
    assert opened.equals(closed)


def test_a_ring_around_a_pole_is_refused(tmp_path: Path) -> None:
    ring = [(-120.0, 80.0), (0.0, 80.0), (120.0, 80.0), (-120.0, 80.0)]
    assert "around a pole" in refusal(save(tmp_path / "a.geojson", polygon(ring)))


@pytest.mark.parametrize(
    "name",
    ["!a.geojson", "a!b.geojson", "a[1].geojson", "a#1.geojson", "a?b.geojson", "a%20b.geojson",
     "a b.geojson", "a;b.geojson", "a|b.geojson", "a:b.geojson", "a&b=c.geojson", "ä'\"*.geojson",
     "a.zip.geojson", "dir[x]/a!.geojson", "a|layername=b"],
)  # fmt: skip
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    oracle = read_polygon(save(tmp_path / "plain.geojson", polygon(SQUARE)), UTM)
    assert read_polygon(save(path, polygon(SQUARE)), UTM).equals(oracle)


def frame(ring: Ring = SQUARE) -> Any:
    return geopandas.GeoDataFrame({"n": [1]}, geometry=[shapely.Polygon(ring)], crs="EPSG:4326")


@pytest.mark.parametrize("stem", ["plain", "odd! [2]"])
def test_shapefiles_alone_and_zipped(tmp_path: Path, stem: str) -> None:
    oracle = read_polygon(save(tmp_path / "x.geojson", polygon(SQUARE)), UTM)
    frame().to_file(tmp_path / "plain.shp")
    parts = list(tmp_path.glob("plain.*"))
    with zipfile.ZipFile(tmp_path / f"{stem}.zip", "w") as archive:
        for part in parts:
            archive.write(part, part.name)
    for part in parts:
        part.rename(tmp_path / f"{stem}{part.suffix}")
    for name in (f"{stem}.shp", f"{stem}.zip"):
        found = read_polygon(tmp_path / name, UTM)
        assert found.normalize().equals_exact(oracle.normalize(), 1e-3)
    (tmp_path / f"{stem}.prj").unlink()
    assert "names no CRS" in refusal(tmp_path / f"{stem}.shp")


def test_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    lines = geopandas.GeoSeries([shapely.LineString(SQUARE)], crs="EPSG:4326")
    lines.to_frame("geometry").to_file(path, layer="roads")
    frame().to_file(path, layer="town")
    town = read_polygon(path, UTM)  # though roads come first
    frame(box(32, 51, 32.1, 51.2)).to_file(path, layer="forest")
    assert "in 2 layers (town, forest): write" in refusal(path)
    assert read_polygon(Path(f"{path}|layername=town"), UTM).equals(town)
    assert "in a layer named roads" in refusal(Path(f"{path}|layername=roads"))
    assert "in a layer named no" in refusal(Path(f"{path}|layername=no"))
    assert "does not exist" in refusal(Path(f"{path}|layerid=0"))


KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>Test</name>{}</Document></kml>"""
PLACEMARK = """<Placemark><name>a</name><Polygon><outerBoundaryIs><LinearRing><coordinates>
{}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>""".format(
    " ".join(f"{x},{y},120" for x, y in SQUARE)
)
GML = """<?xml version="1.0" encoding="utf-8"?>
<ogr:FeatureCollection xmlns:ogr="http://ogr.maptools.org/" xmlns:gml="http://www.opengis.net/gml">
<gml:featureMember><ogr:test gml:id="test.0"><ogr:time>23:59:60</ogr:time>
<ogr:datetime>9999-12-31T23:59:60.999</ogr:datetime>{}</ogr:test></gml:featureMember>
</ogr:FeatureCollection>"""
SURFACE = """<ogr:geometryProperty><gml:Polygon srsName="urn:ogc:def:crs:EPSG::4326"><gml:exterior>
<gml:LinearRing><gml:posList>{}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>
</ogr:geometryProperty>""".format(" ".join(f"{y} {x}" for x, y in SQUARE))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.kml", KML.format(PLACEMARK)), ("a.gml", GML.format(SURFACE))],
)
def test_other_formats_and_attributes_that_cannot_be(tmp_path: Path, name: str, text: str) -> None:
    oracle = read_polygon(save(tmp_path / "x.geojson", polygon(SQUARE)), UTM)
    (tmp_path / name).write_text(text)
    assert read_polygon(tmp_path / name, UTM).equals_exact(oracle, 1e-3)


def test_polygons_in_collections_are_found(tmp_path: Path) -> None:
    inner = {"type": "GeometryCollection", "geometries": [polygon(SQUARE)]}
    point = {"type": "Point", "coordinates": [0, 0]}
    path = save(
        tmp_path / "a.geojson", {"type": "GeometryCollection", "geometries": [point, inner]}
    )
    plain = save(tmp_path / "b.geojson", polygon(SQUARE))
    assert read_polygon(path, UTM).equals(read_polygon(plain, UTM))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty.kml", KML.format("")),
        ("no.gml", GML.format("")),
        ("empty.geojson", '{"type": "FeatureCollection", "features": []}'),
        ("null.geojson", '{"type": "Feature", "properties": {}, "geometry": null}'),
        ("point.geojson", '{"type": "Point", "coordinates": [30, 50]}'),
        ("line.geojson", '{"type": "LineString", "coordinates": [[30, 50], [31, 50], [31, 51]]}'),
        ("flat.geojson",
         '{"type": "Polygon", "coordinates": [[[30, 50], [31, 50], [30, 50], [30, 50]]]}'),
        ("bare.geojson", '{"type": "Polygon", "coordinates": []}'),
        ("nothing.geojson", ""),
        ("text.geojson", "{ nonsense"),
        ("table.csv", "a,b\n1,2\n"),
        ("nan.geojson", '{"type": "Polygon", "coordinates": [[[30, 50], [NaN, 50], [30, 51], '
                        "[30, 50]]]}"),
        ("short.geojson", '{"type": "Polygon", "coordinates": [[[30], [31], [30]]]}'),
    ],
)  # fmt: skip
def test_files_without_a_polygon_are_refused_in_one_line(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    message = refusal(tmp_path / name)
    assert name in message and "axis 0" not in message


def test_in_degrees_no_part_lies_beyond_the_antimeridian(tmp_path: Path) -> None:
    ring = [[177, -19], [-178, -19], [-178, -16], [177, -16], [177, -19]]
    found = read_polygon(save(tmp_path / "fiji.geojson", polygon(ring)), "EPSG:4326")
    inside = shapely.contains_xy(found, [178, 179.9, -179.9, -178.5, -177, 0], -17)
    assert inside.tolist() == [True, True, True, True, False, False]
    assert found.bounds == (-180, -19, 180, -16)
