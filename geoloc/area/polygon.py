"""Polygons of vector files: read whole, made valid one by one, united in a CRS of metres.

Polygons that cross themselves are filled as map tools draw them (even-odd); holes are cut from
their own shell only. A ring with an edge longer than 180 degrees is taken to cross the
antimeridian (RFC 7946, 3.1.9, demands two parts, which are read as well).
"""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import F64
from ..errors import AreaError, one_line
from ..net.gated import gate
from .ground import looks_like_degrees, numbers
from .vector import READER_OPTIONS, reason_to_refuse

if TYPE_CHECKING:
    from geopandas import GeoSeries
    from shapely import Geometry, Polygon

_GEOGRAPHIC_EDGE = 0.01  # degrees (about 1 km) between vertices before an edge is reprojected
_PROJECTED_EDGE = 1e3  # of a CRS's units, mostly metres: the same where the target is in degrees
_METRES_A_DEGREE = 1e5
_FAR = 40.0  # degrees: smaller polygons are never turned inside out by a projection
_PROBES = 24  # along each side
_STRAY = 0.02  # share that may differ: near edges straight in one CRS and not in the other
_BEYOND = 1e-6  # degrees: rounding of polygons cut at 180
_LAYER = re.compile(r"(?P<path>.+)\|layername=(?P<layer>[^|]+)")
"""The source of a layer, as QGIS writes it."""
_PLAIN = re.compile(r"[\w./ ,+=-]+")  # names that GDAL and its readers take literally


def read_polygon(path: Path, crs: str) -> Geometry:
    """The union of a file's polygons (GeoJSON, GeoPackage, shapefile, KML, …), in ``crs``.

    ``FILE|layername=NAME`` names one of several layers. In degrees no part lies beyond +-180.
    Raises AreaError if the file cannot be
    read, has no polygon, or has coordinates that are not those of its CRS.
    """
    with reading(f"geometry {path}"):
        file, layer = file_and_layer(path)
        require_vector_file(file, f"geometry {path}", "a GeoJSON file with a polygon")
        return _united(_shapes(file, layer, path), crs, path)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise AreaError, one line, for whatever the readers of vector files raise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its reader's warnings about formats
            yield
    except AreaError:
        raise
    except Exception as error:  # noqa: BLE001  (its readers raise errors of many libraries)
        raise AreaError(f"{what} cannot be read: {one_line(error)}") from None


def require_vector_file(file: Path, what: str, wanted: str) -> None:
    """Raise AreaError where a file is not there, or may name other files or servers."""
    if not file.is_file():
        raise AreaError(f"{what} does not exist: give {wanted}")
    if reason := reason_to_refuse(file):
        raise AreaError(f"{what} is not opened: {reason}")


def polygon_file(path: Path) -> Path:
    """The file itself, without the name of a layer."""
    return file_and_layer(path)[0]


def file_and_layer(path: Path) -> tuple[Path, str | None]:
    """Of ``FILE|layername=NAME``; of a file alone, the file and None."""
    match = None if path.is_file() else _LAYER.fullmatch(str(path))
    return (path, None) if match is None else (Path(match["path"]), match["layer"])


def _shapes(file: Path, layer: str | None, path: Path) -> GeoSeries:
    """The polygons of a file, each alone, in the file's CRS."""
    with plainly_named(file.absolute()) as plain:
        by_layer = {
            name: shapes
            for name in vector_layers(plain)
            if layer in (None, name) and len(shapes := _polygons(plain, name))
        }
    if not by_layer:
        what = "no polygon" if layer is None else f"no polygon in a layer named {layer}"
        raise AreaError(f"geometry {path} has {what}: draw the area as a polygon")
    if len(by_layer) > 1:
        raise AreaError(
            f"geometry {path} has polygons in {len(by_layer)} layers "
            f"({', '.join(list(by_layer)[:10])}): write {path}|layername=NAME"
        )
    return next(iter(by_layer.values()))


def vector_layers(file: Path) -> list[str]:
    """Layers that may hold geometry."""
    import geopandas  # heavy: only needed for areas with a geometry
    import pyogrio

    pyogrio.set_gdal_config_options(READER_OPTIONS | _without_servers())
    layers = geopandas.list_layers(file)
    return [str(name) for name in layers.name[layers.geometry_type.notna()]]


def _without_servers() -> dict[str, str]:
    """Options that prevent requests: a GeoJSON may give its CRS as a URL."""
    guard = gate()
    return {} if guard is None else guard.rights(shut=True).options()


def _polygons(file: Path, layer: str) -> GeoSeries:
    """A layer's polygons; attributes are not read, as an invalid one would fail."""
    import geopandas
    import shapely

    # "fix" closes open rings, as map tools do
    frame = geopandas.read_file(file, layer=layer, columns=[], on_invalid="fix")
    if not isinstance(frame, geopandas.GeoDataFrame):
        return geopandas.GeoSeries([])
    shapes = frame.geometry.dropna().to_numpy()
    collection = int(shapely.GeometryType.GEOMETRYCOLLECTION)
    while (shapely.get_type_id(shapes) == collection).any():
        shapes = shapely.get_parts(shapes)
    shapes = shapely.get_parts(shapes)
    shapes = shapes[shapely.get_type_id(shapes) == int(shapely.GeometryType.POLYGON)]
    return geopandas.GeoSeries(shapes[~shapely.is_empty(shapes)], crs=frame.crs)


def _united(shapes: GeoSeries, crs: str, path: Path) -> Geometry:
    """The union of polygons in another CRS. Raises AreaError if it cannot be projected."""
    import shapely
    from pyproj import CRS

    _require_coordinates(shapes, path)
    if shapes.crs.is_geographic:
        polygons = [valid_polygon(across_antimeridian(shape, path)) for shape in shapes]
        # a straight edge in degrees is a curve in metres
        polygons = list(shapely.segmentize(polygons, _GEOGRAPHIC_EDGE))
    else:
        polygons = [valid_polygon(shape) for shape in shapes]
        if CRS.from_user_input(crs).is_geographic:
            polygons = list(shapely.segmentize(polygons, _PROJECTED_EDGE))
    moved = type(shapes)(polygons, crs=shapes.crs).to_crs(crs).to_numpy()
    outside = AreaError(
        f"geometry {path} is outside the domain of {crs}: choose another CRS, or cut the polygon "
        "to the area"
    )
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise outside
    union = _areal(shapely.union_all([_areal(shapely.make_valid(shape)) for shape in moved]))
    if union.is_empty:
        raise AreaError(f"geometry {path} has no polygon with an area: draw it again")
    if not holds_the_same(polygons, union, shapes.crs, crs):
        raise outside
    return on_globe(union) if CRS.from_user_input(crs).is_geographic else union


def on_globe(polygon: Geometry) -> Geometry:
    """A polygon in degrees with every part within +-180, as places are, however it goes on."""
    import shapely
    from shapely.affinity import translate

    west, _, east, _ = polygon.bounds
    turns = range(math.floor((west + 180 + _BEYOND) / 360), math.ceil((east + 180 - _BEYOND) / 360))
    if turns == range(1):
        return polygon
    world = shapely.box(-180, -90, 180, 90)
    moved = [translate(polygon, -360 * turn) for turn in turns]
    return _areal(shapely.union_all([part.intersection(world) for part in moved]))


def _spans_much(polygons: Sequence[Geometry], crs: Any) -> bool:
    """Whether polygons reach so far around the Earth that a projection may turn them inside out."""
    import shapely
    from pyproj import CRS

    west, south, east, north = shapely.total_bounds(polygons)
    most = _FAR if CRS.from_user_input(crs).is_geographic else _FAR * _METRES_A_DEGREE
    return bool(max(east - west, north - south) > most)


def holds_the_same(polygons: Sequence[Geometry], union: Geometry, source: Any, target: str) -> bool:
    """Whether places inside polygons are inside their union in another CRS, and others outside.

    A ring around the far side of a projection's meridian has finite coordinates, but encloses the
    rest of the Earth. Small polygons are not tried.
    """
    import shapely
    from pyproj import Transformer

    if not _spans_much(polygons, source):
        return True
    west, south, east, north = shapely.total_bounds(polygons)
    part = (np.arange(_PROBES) + 0.5) / _PROBES
    x, y = np.meshgrid(west + part * (east - west), south + part * (north - south))
    in_polygons = np.zeros(x.shape, np.bool_)
    for polygon in polygons:
        in_polygons |= shapely.contains_xy(polygon, x, y)
    to_target = Transformer.from_crs(source, target, always_xy=True)
    with np.errstate(invalid="ignore"):  # of places off the map
        in_union = shapely.contains_xy(union, *to_target.transform(x, y))
    return bool((in_polygons != in_union).mean() < _STRAY)


def _require_coordinates(shapes: GeoSeries, path: Path) -> None:
    """Raise AreaError if coordinates do not match the CRS that the file names."""
    if shapes.crs is None:
        raise AreaError(f"geometry {path} names no CRS: save it as GeoJSON in lon/lat")
    west, south, east, north = box = tuple(map(float, shapes.total_bounds))
    if not np.isfinite(box).all():
        raise AreaError(f"geometry {path} has coordinates that are not numbers: draw it again")
    name = shapes.crs.name
    if not shapes.crs.is_geographic:
        if looks_like_degrees((west, south, east, north)):
            raise AreaError(
                f"geometry {path} has coordinates {numbers(box)}, but its CRS ({name}) is not in "
                "degrees: these look like degrees; save it as GeoJSON in lon/lat"
            )
        return
    x, y = max(-west, east), max(-south, north)
    if x <= 180 + _BEYOND and y <= 90 + _BEYOND:
        return
    advice = "save it as GeoJSON in lon/lat, or name their CRS in the file"
    if x <= 90 and y <= 180:
        advice = "or like latitude before longitude: write lon, lat"
    elif x <= 360 and y <= 90:
        advice = "or go beyond 180 degrees: cut the polygon there and continue it at -180"
    raise AreaError(
        f"geometry {path} has coordinates {numbers(box)}, outside +-180 and +-90 degrees "
        f"({name}): these look like metres; {advice}"
    )


def across_antimeridian(polygon: Polygon, path: Path) -> Polygon:
    """A polygon in degrees; one drawn across 180 degrees continues beyond it.

    Raises AreaError if it goes around a pole.
    """
    import shapely

    if not _jumps(shapely.get_coordinates(polygon)[:, 0]):
        return polygon
    shell = _unwrapped(polygon.exterior, path)
    holes = [_unwrapped(hole, path) for hole in polygon.interiors]
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2
    for hole in holes:
        hole[:, 0] += 360 * np.round((middle - hole[:, 0].mean()) / 360)
    return shapely.Polygon(shell, holes)


def _jumps(lon: F64) -> bool:
    """Whether an edge goes the long way around; 360 degrees is a full parallel."""
    lengths = np.abs(np.diff(lon))
    return bool(((lengths > 180) & (lengths < 360)).any())


def _unwrapped(ring: Any, path: Path) -> F64:
    """A ring's coordinates ``(n, 2)``, each edge the short way around."""
    points = np.array(ring.coords)[:, :2]
    if _jumps(points[:, 0]):
        points[:, 0] = np.unwrap(points[:, 0], period=360)
        if abs(points[0, 0] - points[-1, 0]) > 180:
            raise AreaError(f"geometry {path} goes around a pole: cut it at the antimeridian")
    return points


def valid_polygon(polygon: Polygon) -> Geometry:
    """The area that a polygon with any rings covers: its shell without its holes.

    The shell and each hole are made valid separately: holes that overlap or leave the shell would
    otherwise become land.
    """
    import shapely

    if polygon.is_valid:
        return polygon
    shell = _areal(shapely.make_valid(shapely.Polygon(polygon.exterior)))
    holes = [_areal(shapely.make_valid(shapely.Polygon(hole))) for hole in polygon.interiors]
    return _areal(shell.difference(shapely.union_all(holes))) if holes else shell


def _areal(shape: Geometry) -> Geometry:
    """The polygons of a geometry, without lines and points left by making it valid."""
    import shapely

    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = shapely.get_parts(shape)
    parts = shapely.get_parts(parts[shapely.get_dimensions(parts) == 2])
    return shapely.union_all(parts) if len(parts) else shapely.Polygon()


@contextmanager
def plainly_named(file: Path) -> Iterator[Path]:
    """The file under a name that readers take literally.

    ``!``, ``;``, ``|`` and the like are syntax to them. Such a file, and those that belong to it
    (of a shapefile), are read through links.
    """
    if _PLAIN.fullmatch(str(file)):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="geoloc-") as folder:
        for part in file.parent.iterdir():
            if part.stem == file.stem and part.is_file():
                (Path(folder) / f"polygon{part.suffix}").symlink_to(part)
        yield Path(folder) / f"polygon{file.suffix}"
