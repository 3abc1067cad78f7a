"""``candidates.kml`` and ``candidates.kmz``: for Google Earth, QGIS and field apps."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
from affine import Affine
from PIL import Image
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import array_bounds
from rasterio.warp import calculate_default_transform, reproject

from ..arrays import U8
from ..domain import Grid
from .formatting import candidate_text, degrees, scene_list
from .heat import color_scale, overlay_palette, shrink

if TYPE_CHECKING:
    from shapely import LinearRing, Polygon

    from ..candidates import Candidate
    from ..candidates.areas import SearchArea
    from .result import QueryResult
    from .views import Views

_OVERLAY_PIXELS = 1400
_SIZES = ((1, "first", 1.4), (5, "next", 1.1), (10**9, "others", 0.8))
"""Marks by rank: up to which rank, the style's name, scale."""
_COLOUR = "ff4d12b5"  # of the marks, aabbggrr as in KML
_MOMENT = (1980, 1, 1, 0, 0, 0)  # in the archive: the same answer is the same bytes


@dataclass(frozen=True)
class Overlay:
    """A picture on the globe: RGBA-like PNG bytes and its north, south, east, west (degrees)."""

    png: bytes
    box: tuple[float, float, float, float]


def write_kml(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """The candidates as named, styled and described points."""
    path.write_text(kml(result), encoding="utf-8")


def write_kmz(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """The same points together with the heatmap as an overlay, in one file."""
    drawn = overlay(result)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("doc.kml"), kml(result, drawn))
        if drawn is not None:
            archive.writestr(_entry("heatmap.png"), drawn.png, zipfile.ZIP_STORED)


def kml(result: QueryResult, drawn: Overlay | None = None) -> str:
    """The document; ``drawn`` is meant to lie beside it as ``heatmap.png``."""
    marks = "".join(_placemark(c, result) for c in result.candidates)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
        f"<name>{_xml(result.title)}</name>"
        "<description>Where to look first, not a verdict.</description>"
        f"{_styles()}{_ground(drawn)}"
        f"<Folder><name>Candidates</name>{_truth(result)}{marks}</Folder>"
        f"<Folder><name>Areas to search</name>{_areas(result)}</Folder></Document></kml>\n"
    )


def _styles() -> str:
    marks = ((name, scale, _COLOUR) for _, name, scale in _SIZES)
    return "".join(
        f'<Style id="{name}"><IconStyle><color>{colour}</color><scale>{scale}</scale></IconStyle>'
        f"<LabelStyle><scale>{scale * 0.8:.2f}</scale></LabelStyle></Style>"
        for name, scale, colour in (*marks, ("truth", 1.4, "ffffff00"))
    ) + (
        f'<Style id="area"><LineStyle><color>{_COLOUR}</color><width>2</width></LineStyle>'
        "<PolyStyle><fill>0</fill></PolyStyle></Style>"
    )


def _placemark(candidate: Candidate, result: QueryResult) -> str:
    style = next(name for last, name, _ in _SIZES if candidate.rank <= last)
    above = scene_list(result.places.get(candidate.rank, ()))
    lines = [
        f"{degrees(candidate.lon, candidate.lat, result.digits)} (lat, lon)",
        *([f"Seen from above: {above}."] if above else []),
        *(() if result.tandem is None else result.tandem.words(candidate.rank)),
        *candidate_text(candidate, result).splitlines(),
    ]
    return _point(f"#{candidate.rank}", style, lines, candidate.lon, candidate.lat)


def _areas(result: QueryResult) -> str:
    """Outlines of the areas to search, in degrees."""
    to_degrees = Transformer.from_crs(result.grid.crs, 4326, always_xy=True).transform
    return "".join(_area(area, to_degrees) for area in result.areas)


def _area(area: SearchArea, to_degrees: Callable[..., Any]) -> str:
    size = f"{'' if area.whole else 'at least '}{area.km2:.3g} km², {area.cells:,} cells"
    ranks = ", ".join(f"#{rank}" for rank in area.candidates)
    lines = "".join(_polygon(part, to_degrees) for part in area.outline.geoms)
    return (
        f"<Placemark><name>Area {area.rank}</name><styleUrl>#area</styleUrl>"
        f"<description>{_xml(escape(f'{size}; candidates {ranks}'))}</description>"
        f"<MultiGeometry>{lines}</MultiGeometry></Placemark>"
    )


def _polygon(polygon: Polygon, to_degrees: Callable[..., Any]) -> str:
    inner = "".join(
        f"<innerBoundaryIs>{_ring(hole, to_degrees)}</innerBoundaryIs>"
        for hole in polygon.interiors
    )
    outer = f"<outerBoundaryIs>{_ring(polygon.exterior, to_degrees)}</outerBoundaryIs>"
    return f"<Polygon>{outer}{inner}</Polygon>"


def _ring(ring: LinearRing, to_degrees: Callable[..., Any]) -> str:
    places = zip(*to_degrees(*ring.xy), strict=True)
    text = " ".join(f"{lon:.7f},{lat:.7f}" for lon, lat in places)
    return f"<LinearRing><coordinates>{text}</coordinates></LinearRing>"


def _truth(result: QueryResult) -> str:
    if result.truth is None:
        return ""
    lat, lon = result.truth
    return _point(
        "true place", "truth", [f"{degrees(lon, lat, result.digits)} (lat, lon)"], lon, lat
    )


def _point(name: str, style: str, lines: list[str], lon: float, lat: float) -> str:
    # readers show descriptions as HTML: their text is escaped for HTML, and that for XML
    description = "<br/>".join(escape(line) for line in lines)
    return (
        f"<Placemark><name>{_xml(name)}</name><styleUrl>#{style}</styleUrl>"
        f"<description>{_xml(description)}</description>"
        f"<Point><coordinates>{lon:.7f},{lat:.7f}</coordinates></Point></Placemark>"
    )


def _ground(drawn: Overlay | None) -> str:
    if drawn is None:
        return ""
    sides = zip(("north", "south", "east", "west"), drawn.box, strict=True)
    box = "".join(f"<{side}>{value:.9f}</{side}>" for side, value in sides)
    return (
        "<GroundOverlay><name>Heatmap: the hotter, the better</name>"
        "<Icon><href>heatmap.png</href></Icon>"
        f"<LatLonBox>{box}</LatLonBox></GroundOverlay>"
    )


def overlay(result: QueryResult) -> Overlay | None:
    """The best cells in longitude and latitude; None where no cell is known."""
    if not result.survey.known:
        return None
    small, grid = shrink(result.heatmap, result.grid, _OVERLAY_PIXELS)
    turned, transform = _to_degrees(color_scale(result).levels(small), grid)
    west, south, east, north = array_bounds(*turned.shape, transform)
    return Overlay(_png(turned), (north, south, _wrapped(east), _wrapped(west)))


def _to_degrees(level: U8, grid: Grid) -> tuple[U8, Affine]:
    """Levels ``(y, x)`` on a lattice of degrees that runs on across 180."""
    left, bottom, right, top = grid.bounds
    middle = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(
        (left + right) / 2, (bottom + top) / 2
    )
    degrees = f"+proj=longlat +datum=WGS84 +lon_wrap={middle[0]:.6f}"
    transform, width, height = calculate_default_transform(
        grid.crs, degrees, grid.nx, grid.ny, *grid.bounds
    )
    turned = np.zeros((height, width), np.uint8)
    reproject(
        level,
        turned,
        src_transform=Affine(*grid.transform),
        src_crs=grid.crs,
        dst_transform=transform,
        dst_crs=degrees,
        resampling=Resampling.nearest,
    )
    return turned, transform


def _wrapped(lon: float) -> float:
    return (lon + 180) % 360 - 180 if abs(lon) > 180 else lon


def _png(level: U8) -> bytes:
    """Levels as a palette PNG; what is not known is clear, and what is far from the best."""
    colors = overlay_palette()
    image = Image.fromarray(level)
    image.putpalette([0, 0, 0, *colors[:, :3].reshape(-1).tolist()])
    memory = io.BytesIO()
    image.save(memory, "png", transparency=bytes([0, *colors[:, 3].tolist()]))
    return memory.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _MOMENT)


def _xml(text: str) -> str:
    """Escaped, and without the control characters that XML 1.0 forbids."""
    return escape("".join(c for c in text if c >= " " or c in "\t\n"))
