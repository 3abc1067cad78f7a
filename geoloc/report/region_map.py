"""``map.png``: the regions of a country as a figure that can be printed.

Border and provinces, water and forest, the regions by their score with the good ones framed and
the best numbered, and as many names of large places as find room. Drawn with Pillow alone, at
twice the size and reduced: of a folder's thousand answers each has such a map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from shapely.ops import nearest_points

from ..area import MapLayers
from ..arrays import F64
from ..candidates.regions import RankedRegions
from ..domain import Regions
from .formatting import round_length
from .picture import fitting_line, font, halo_text, plain_line, rank_mark, scale_length
from .region_colours import GAMMA, region_levels, region_palette
from .region_files import regions_of
from .region_layers import Box, DrawnLayers, drawn_layers
from .region_names import overlap, placed_names

if TYPE_CHECKING:
    from shapely import Geometry

    from .result import QueryResult
    from .views import Views

_SIDE = 1700  # px, the longer side of the map
_FINE = 2  # times larger is what is reduced to the map
_MARGIN, _HEAD, _FOOT, _LEGEND, _LEAST = 28, 70, 46, 360, 900  # px
_CORNER = np.array([_MARGIN, _HEAD])
_INK, _QUIET = "#111111", "#555555"
_SEA, _LAND, _FOREST, _WATER = (232, 238, 243), (252, 251, 247), (203, 224, 192), (140, 185, 219)
_RIVER, _FOREST_RIM = (104, 158, 201), (98, 146, 84)
_OPAQUE = 214  # of a region's colour, so that forest shines through
_NUMBERED = 10  # best regions with a number on the map
_BADGE = 27  # px, the disc of a rank
_SPOT = "#b5124b"
_ROOMY = 3.5  # times as wide as a badge is a region that has room for one
_TRUTH = "#00a5c8"
_ARM = 13  # px from the middle of the mark of the true place to its ends
_DPI = 200
_COLOURS = 256

Pixels = list[tuple[float, float]]


@dataclass(frozen=True)
class MapSheet:
    """The map on its sheet: m a pixel, and its size in px."""

    box: Box
    scale: float
    width: int
    height: int

    @classmethod
    def of(cls, layers: DrawnLayers) -> MapSheet:
        across, down = layers.size
        scale = max(across, down) / _SIDE
        return cls(layers.box, scale, max(1, round(across / scale)), max(1, round(down / scale)))

    @property
    def scale_length(self) -> float:
        """m of the scale bar."""
        return scale_length(self.width * self.scale)

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole sheet ``(w, h)``."""
        return (
            self.width + _LEGEND + 3 * _MARGIN,
            max(self.height, _LEAST) + _HEAD + _FOOT,
        )

    def on_map(self, xy: F64, times: int = 1) -> F64:
        """Pixels ``(n, 2)`` of places in metres, on a map ``times`` as large."""
        left, _, _, top = self.box
        return np.stack([xy[:, 0] - left, top - xy[:, 1]], axis=1) * (times / self.scale)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a place on the sheet."""
        across, down = self.on_map(np.array([[x, y]]))[0].tolist()
        return _MARGIN + across, _HEAD + down


def write_region_map(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """Draw the regions of an answer, with legend, scale bar and north."""
    regions = regions_of(result)
    drawn = drawn_layers(regions.layout, _layers_of(result))
    sheet = MapSheet.of(drawn)
    image = Image.new("RGB", sheet.size, "white")
    image.paste(_map(regions, drawn, sheet), (_MARGIN, _HEAD))
    draw = ImageDraw.Draw(image)
    edge = (_MARGIN - 1, _HEAD - 1, _MARGIN + sheet.width, _HEAD + sheet.height)
    draw.rectangle(edge, outline=_INK, width=2)
    _draw_best_places(draw, regions, sheet)
    boxes = [*_draw_furniture(draw, sheet), *_draw_numbers(image, regions, drawn, sheet)]
    _draw_names(draw, drawn, sheet, [*boxes, *_truth_box(result, sheet)])
    _draw_truth(draw, result, sheet)
    _draw_words(draw, result, sheet)
    _draw_legend(image, draw, result, sheet)
    metadata = PngInfo()
    metadata.add_text("Software", "geoloc")
    # a palette: a third of the bytes, and less time to compress them
    small = image.quantize(_COLOURS, Image.Quantize.FASTOCTREE)
    small.save(path, "png", compress_level=6, pnginfo=metadata, dpi=(_DPI, _DPI))


def _layers_of(result: QueryResult) -> MapLayers:
    return result.layers or NO_LAYERS


NO_LAYERS = MapLayers()
"""Of an area whose file names none."""


def _map(regions: RankedRegions, drawn: DrawnLayers, sheet: MapSheet) -> Image.Image:
    """The map without any words."""
    under, over = _ground(drawn, sheet)
    image = under.copy()
    _draw_regions(image, regions, drawn, sheet)
    image.paste(over, (0, 0), over)
    draw = ImageDraw.Draw(image)
    good = shapely.union_all([drawn.outlines[int(r)] for r in regions.best_good])
    for width, color in ((5, "white"), (2.6, "#101014")):
        _stroke(draw, good.boundary, sheet, color, width)
    return image.resize((sheet.width, sheet.height), Image.Resampling.LANCZOS)


@lru_cache(maxsize=1)  # the answers of one call share their ground
def _ground(drawn: DrawnLayers, sheet: MapSheet) -> tuple[Image.Image, Image.Image]:
    """What lies below the regions, and what lies above them (RGBA)."""
    size = (sheet.width * _FINE, sheet.height * _FINE)
    under = Image.new("RGB", size, _LAND if drawn.border is None else _SEA)
    _fill(under, [] if drawn.border is None else [drawn.border], sheet, _LAND)
    _fill(under, drawn.forest, sheet, _FOREST)
    over = Image.new("RGBA", size, (255, 255, 255, 0))
    draw = ImageDraw.Draw(over)
    for shape in drawn.forest:
        _stroke(draw, shape.boundary, sheet, _FOREST_RIM, 0.9)
    _fill(over, drawn.water, sheet, (*_WATER, 255))
    for shape in drawn.water:
        _stroke(draw, shape if shape.area == 0 else shape.boundary, sheet, _RIVER, 2.2)
    for width, color in ((2.4, (255, 255, 255, 150)), (1.1, (96, 98, 110, 255))):
        for shape in drawn.provinces:
            _stroke(draw, shape.boundary, sheet, color, width)
    if drawn.border is not None:
        for width, color in ((4.6, (255, 255, 255, 200)), (2.2, (40, 42, 50, 255))):
            _stroke(draw, drawn.border.boundary, sheet, color, width)
    return under, over


def _draw_regions(
    image: Image.Image, regions: RankedRegions, drawn: DrawnLayers, sheet: MapSheet
) -> None:
    levels, palette = region_levels(regions.score), region_palette()
    colours = Image.new("RGB", image.size)
    mask = Image.new("L", image.size, 0)
    draw_colour, draw_mask = ImageDraw.Draw(colours), ImageDraw.Draw(mask)
    for region, shape in drawn.outlines.items():
        level = int(levels[region])
        for shell, holes in _rings(shape, sheet):
            if level < 0:
                draw_mask.line(shell, 60, 1)
                continue
            draw_colour.polygon(shell, tuple(palette[level].tolist()))
            draw_mask.polygon(shell, _OPAQUE)
            for hole in holes:
                draw_mask.polygon(hole, 0)
    image.paste(colours, (0, 0), mask)
    draw = ImageDraw.Draw(image)
    for region, shape in drawn.outlines.items():
        if levels[region] >= 0:
            for shell, _ in _rings(shape, sheet):
                draw.line(shell, (255, 255, 255), 1)


def _rings(shape: Geometry, sheet: MapSheet) -> Iterator[tuple[Pixels, list[Pixels]]]:
    """The shell and the holes of each polygon of a shape, in fine pixels."""
    for part in shapely.get_parts(shape):
        if part.geom_type == "Polygon" and not part.is_empty:
            yield _pixels(part.exterior, sheet), [_pixels(hole, sheet) for hole in part.interiors]


def _pixels(line: Geometry, sheet: MapSheet) -> Pixels:
    return [(x, y) for x, y in sheet.on_map(shapely.get_coordinates(line), _FINE).tolist()]


def _fill(
    image: Image.Image, shapes: Iterable[Geometry], sheet: MapSheet, color: tuple[int, ...]
) -> None:
    """Fill polygons, not their holes; what lies in a hole is drawn after it."""
    mask = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(mask)
    parts = [part for shape in shapes for part in shapely.get_parts(shape)]
    for part in sorted(parts, key=lambda part: -part.area):
        for shell, holes in _rings(part, sheet):
            draw.polygon(shell, 255)
            for hole in holes:
                draw.polygon(hole, 0)
    image.paste(color, (0, 0), mask)


def _stroke(
    draw: ImageDraw.ImageDraw,
    lines: Geometry | None,
    sheet: MapSheet,
    color: str | tuple[int, ...],
    width: float,
) -> None:
    """Lines of ``width`` px on the reduced map."""
    for line in shapely.get_parts(lines) if lines is not None else ():
        for part in shapely.get_parts(line) if line.geom_type.startswith("Multi") else (line,):
            pixels = _pixels(part, sheet)
            if len(pixels) > 1:
                draw.line(pixels, color, round(width * _FINE), joint="curve")


def _draw_furniture(draw: ImageDraw.ImageDraw, sheet: MapSheet) -> list[Box]:
    """Scale bar and north, on the map; where they are."""
    length = sheet.scale_length
    pixels = length / sheet.scale
    x, y, thick = _MARGIN + 26.0, _HEAD + sheet.height - 24.0, 10
    draw.rectangle((x - 4, y - thick - 4, x + pixels + 4, y + 4), "white")
    for number, color in enumerate(("#111111", "white", "#111111", "white")):
        part = (x + number * pixels / 4, y - thick, x + (number + 1) * pixels / 4, y)
        draw.rectangle(part, color, "#111111")
    halo_text(draw, (x, y - thick - 6), "0", font(19), "ms")
    halo_text(draw, (x + pixels, y - thick - 6), round_length(length), font(19), "ms")
    north = _MARGIN + sheet.width - 40, _HEAD + 22
    for wide, color in ((9, "white"), (3, "black")):
        draw.line((north[0], north[1] + 10, north[0], north[1] + 58), color, wide)
        tip = [north, (north[0] - 11, north[1] + 26), (north[0] + 11, north[1] + 26)]
        draw.polygon(tip, color, color, wide // 3)
    halo_text(draw, (north[0], north[1] + 64), "N", font(22, bold=True), "ma")
    bar = (x - 10, y - 44, x + pixels + 60, y + 6)
    return [bar, (north[0] - 24, north[1] - 8, north[0] + 24, north[1] + 96)]


def best_places(regions: RankedRegions, sheet: MapSheet, most: int = _NUMBERED) -> F64:
    """Where the best place of each of the best good regions is on the map ``(region, 2)``, px."""
    return sheet.on_map(regions.xy[regions.best_good[:most]])


def _draw_best_places(draw: ImageDraw.ImageDraw, regions: RankedRegions, sheet: MapSheet) -> None:
    for x, y in (best_places(regions, sheet) + _CORNER).tolist():
        _draw_spot(draw, x, y)


def _draw_spot(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """A square on its corner, as the round ones are places with names."""
    for reach, color in ((8, "white"), (6, _SPOT)):
        draw.polygon([(x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)], color)


def _draw_numbers(
    image: Image.Image, regions: RankedRegions, drawn: DrawnLayers, sheet: MapSheet
) -> list[Box]:
    """The ranks of the best good regions; where they are."""
    boxes = list[Box]()
    for rank, (x, y) in numbered(regions, drawn, sheet):
        mark = rank_mark(rank).resize((_BADGE, _BADGE), Image.Resampling.LANCZOS)
        box = badge_box(x + _MARGIN, y + _HEAD)
        image.paste(mark, (round(box[0]), round(box[1])), mark)
        boxes.append(box)
    return boxes


def numbered(
    regions: RankedRegions, drawn: DrawnLayers, sheet: MapSheet, most: int = _NUMBERED
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Ranks of the best good regions, each at its upper left corner (px), where it has room.

    Inside of regions that are large on the map, else on the corner, so that the colour is seen.
    """
    full, side = list[Box](), regions.layout.size / sheet.scale
    inset = _BADGE / 2 + 5 if side > _ROOMY * _BADGE else 0.0
    for region in regions.best_good[:most].tolist():
        place = _upper_left(drawn.outlines[region], inset * sheet.scale)
        x, y = sheet.on_map(np.array([place]))[0].tolist()
        box = badge_box(x, y)
        if not any(overlap(box, other) for other in full):
            full.append(box)
            yield int(regions.rank[region]), (x, y)


def _upper_left(outline: Geometry, inset: float) -> tuple[float, float]:
    """The place in an outline, so far from its edge, that is nearest to its upper left corner.

    A border may cut that corner off; where all of it is nearer to the edge, that does not count.
    """
    left, _, _, top = outline.bounds
    inner = outline.buffer(-inset)
    place, _ = nearest_points(outline if inner.is_empty else inner, shapely.Point(left, top))
    return place.x, place.y


def badge_box(x: float, y: float) -> Box:
    """Edges of the disc of a rank about a pixel."""
    return x - _BADGE / 2, y - _BADGE / 2, x + _BADGE / 2, y + _BADGE / 2


def _truth_box(result: QueryResult, sheet: MapSheet) -> Iterator[Box]:
    """Where the mark of the true place is, which no name may cover."""
    if result.true_place is not None:
        x, y = sheet.at(*result.true_place[0])
        yield x - _ARM, y - _ARM, x + _ARM, y + _ARM


def _draw_truth(draw: ImageDraw.ImageDraw, result: QueryResult, sheet: MapSheet) -> None:
    if result.true_place is None:
        return
    x, y = sheet.at(*result.true_place[0])
    for arm, thick, color in ((_ARM, 9, "black"), (_ARM - 2, 4, _TRUTH)):
        draw.line((x - arm, y, x + arm, y), color, thick)
        draw.line((x, y - arm, x, y + arm), color, thick)


def _draw_names(
    draw: ImageDraw.ImageDraw, drawn: DrawnLayers, sheet: MapSheet, boxes: list[Box]
) -> None:
    """The largest places with a dot each, as many as find room beside one another."""
    frame = (_MARGIN, _HEAD, _MARGIN + sheet.width, _HEAD + sheet.height)
    for name in placed_names(drawn, sheet.on_map(drawn.xy) + _CORNER, frame, boxes):
        (x, y), side = name.dot, 5 if name.bold else 4
        draw.ellipse((x - side, y - side, x + side, y + side), "#111111", "white", 1)
        halo_text(draw, name.corner, name.text, font(name.size, bold=name.bold), "lt")


def _draw_words(draw: ImageDraw.ImageDraw, result: QueryResult, sheet: MapSheet) -> None:
    room = sheet.size[0] - 2 * _MARGIN
    title = fitting_line(plain_line(result.title), font(28, bold=True), room)
    draw.text((_MARGIN, _HEAD - 22), title, _INK, font(28, bold=True), "ls")
    foot = f"{crs_name(regions_of(result).layout)}   ·   where to look first, not a verdict"
    draw.text((_MARGIN, sheet.size[1] - 15), foot, _QUIET, font(17), "ls")


def crs_name(layout: Regions) -> str:
    """A CRS in a few words: an own projection has no code."""
    crs = layout.grid.crs
    if len(crs) < 40:
        return crs
    from pyproj import CRS

    operation = CRS.from_wkt(crs).coordinate_operation
    parameters = {p.name: p.value for p in operation.params} if operation else {}
    lat, lon = (parameters.get(f"{n} of natural origin", 0) for n in ("Latitude", "Longitude"))
    return f"Lambert azimuthal equal-area projection about lat {lat:g}°, lon {lon:g}°"


def _draw_legend(
    image: Image.Image, draw: ImageDraw.ImageDraw, result: QueryResult, sheet: MapSheet
) -> None:
    """The scale of colours with the limit of good regions, figures, and what lines mean."""
    regions, x = regions_of(result), 2 * _MARGIN + sheet.width
    y = _HEAD + 4
    if result.photos and not result.sensitive:
        y = _draw_photo(image, result, x, y)
    y = _draw_scale(image, draw, regions, x, y)
    for line in _figures(result):
        draw.text((x, y), fitting_line(line, font(18), _LEGEND), _INK, font(18), "lt")
        y += 27
    y += 12
    for kind, words in _symbols(result):
        _draw_symbol(draw, kind, x, y)
        draw.text((x + 50, y + 11), words, _INK, font(17), "lm")
        y += 32


def _draw_photo(image: Image.Image, result: QueryResult, x: int, y: int) -> int:
    """The photo in the legend; the height below it."""
    pixels = result.photos[0].pixels
    if not pixels.size:
        return y
    photo = Image.fromarray(np.ascontiguousarray(pixels))
    scale = min(_LEGEND / photo.width, 260 / photo.height)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    photo = photo.resize(size, Image.Resampling.LANCZOS)
    image.paste(photo, (x, y))
    return y + photo.height + 22


def _draw_scale(
    image: Image.Image, draw: ImageDraw.ImageDraw, regions: RankedRegions, x: int, y: int
) -> int:
    known = regions.score[regions.order]
    title = regions.words.partition(" for ")[0].capitalize()
    draw.text((x, y), title, _INK, font(20, bold=True), "lt")
    if not len(known):
        draw.text((x, y + 32), "no region has a known place", _INK, font(18), "lt")
        return y + 70
    low, high = float(known.min()), float(known.max())
    bar = region_palette()[np.round(np.linspace(0, 1, _LEGEND) ** GAMMA * 255).astype(int)]
    top = y + 34
    image.paste(Image.fromarray(bar[None].repeat(26, 0)), (x, top))
    draw.rectangle((x - 1, top - 1, x + _LEGEND, top + 26), outline=_INK)
    limit = x + 0.1 * _LEGEND
    draw.line((limit, top - 6, limit, top + 32), _INK, 3)
    draw.text((x, top + 36), f"{low:.5g}", _INK, font(17), "lt")
    draw.text((x + _LEGEND, top + 36), f"{high:.5g}", _INK, font(17), "rt")
    draw.text((x, top + 62), "good regions lie left of the mark", _QUIET, font(17), "lt")
    return y + 138


def _figures(result: QueryResult) -> Iterator[str]:
    regions = regions_of(result)
    known, good = len(regions.order), len(regions.best_good)
    share = f" ({100 * good / known:.0f} %)" if known else ""
    yield f"{good:,} of {known:,} regions are good{share}"
    count = f"{int(regions.minima.count.sum()):,} {result.searched_places}"
    yield f"regions of {round_length(regions.layout.size)}, {count}"
    if result.recall is not None and result.recall.places:
        recall = result.recall
        yield f"{len(recall.found)} of {recall.places} places with more than"
        yield f"{recall.above:,.0f} people lie in good regions"


def _symbols(result: QueryResult) -> Iterator[tuple[str, str]]:
    yield "good", "good regions"
    yield "rank", "the best of them, by rank"
    yield "spot", "the best place of each"
    layers = result.layers
    if layers is not None and len(layers.places):
        yield "place", "places by population"
    if result.true_place is not None:
        yield "truth", "true place"
    if layers is not None and layers.border is not None:
        yield "border", "border"
    if layers is not None and layers.provinces:
        yield "province", "provinces"
    if layers is not None and layers.water:
        yield "water", "water"
    if layers is not None and layers.forest:
        yield "forest", "forest"


def _draw_symbol(draw: ImageDraw.ImageDraw, kind: str, x: int, y: int) -> None:
    box, middle = (x + 2, y + 2, x + 36, y + 20), (x + 19, y + 11)
    if kind == "good":
        draw.rectangle(box, tuple(region_palette()[8].tolist()), "#101014", 3)
    elif kind == "rank":
        draw.ellipse((middle[0] - 11, middle[1] - 11, middle[0] + 11, middle[1] + 11), _SPOT)
        draw.text(middle, "1", "white", font(15, bold=True), "mm")
    elif kind == "spot":
        _draw_spot(draw, *middle)
    elif kind == "place":
        draw.ellipse((middle[0] - 5, middle[1] - 5, middle[0] + 5, middle[1] + 5), "#111111")
    elif kind == "truth":
        for arm, thick, color in ((12, 8, "black"), (10, 4, _TRUTH)):
            draw.line((middle[0] - arm, middle[1], middle[0] + arm, middle[1]), color, thick)
            draw.line((middle[0], middle[1] - arm, middle[0], middle[1] + arm), color, thick)
    elif kind == "border":
        draw.line((x + 2, middle[1], x + 36, middle[1]), (40, 42, 50), 3)
    elif kind == "province":
        draw.line((x + 2, middle[1], x + 36, middle[1]), (96, 98, 110), 1)
    else:
        fill, rim = (_WATER, _RIVER) if kind == "water" else (_FOREST, _FOREST_RIM)
        draw.rectangle(box, fill, rim)
