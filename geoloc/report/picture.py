"""``heatmap.png``: the heatmap as a figure to paste into a report.

Drawn with Pillow alone: of a folder's thousand answers each has such a figure, and a plotting
library takes most of a second for one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont
from PIL.PngImagePlugin import PngInfo

from ..arrays import U8
from ..domain import Grid
from .formatting import area_size
from .heat import PAPER, color_scale, overlay_palette, paper_palette, shrink
from .shares import TICKS, position

if TYPE_CHECKING:
    from .calibrated import Calibrated
    from .result import QueryResult
    from .views import Picture, Views

_SIDE = 1350  # px, the longer side of the map
_LEAST = 420  # px, height that the colour bar needs
_MARGIN, _HEAD, _FOOT = 24, 58, 40  # px around the map, and for title and foot line
_BAR = 26  # px, width of the colour bar
_LEGEND = 196  # px, from the map to the right edge: the bar and its words
_UNKNOWN = (235, 235, 235, 190)
_PAPER = (PAPER, PAPER, PAPER, 255)
_LIGHTER = [110 + value // 2 for value in range(256)]  # grey of a base map, so that it is faint
_LARGEST, _SMALLEST, _RANKS = 22, 10, 20  # px of the letters in marks, from rank 1 to this one
_TRUTH = "#00e5ff"
_LIKELY = "#0b57d0"
_COLOURS, _EFFORT = 256, 3  # of the file: measured, the smallest that costs no more time
_INK, _QUIET = "#111111", "#555555"
_SMOOTH = 4  # marks are drawn so many times larger and reduced: round without steps

_Font = ImageFont.FreeTypeFont


@dataclass(frozen=True)
class _Sheet:
    """The map on the sheet: its left and top edge, width and height, px."""

    grid: Grid
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, grid: Grid) -> _Sheet:
        scale = _SIDE / max(grid.shape)
        width, height = max(1, round(grid.nx * scale)), max(1, round(grid.ny * scale))
        return cls(grid, _MARGIN, _HEAD, width, height)

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole sheet ``(w, h)``."""
        return (
            self.left + self.width + _LEGEND + _MARGIN,
            self.top + max(self.height, _LEAST) + _FOOT,
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a place of the grid's CRS."""
        left, bottom, right, top = self.grid.bounds
        across, down = (x - left) / (right - left), (top - y) / (top - bottom)
        return self.left + across * self.width, self.top + down * self.height


def write_picture(result: QueryResult, path: Path, views: Views | None = None) -> None:
    """Draw distances with colour bar, scale bar, north, candidates and the truth if it is known.

    The first base map of ``views`` shines through faintly.
    """
    ground = next(iter(views.base), None) if views else None
    sheet = _Sheet.of(result.grid)
    image = Image.new("RGB", sheet.size, "white")
    draw = ImageDraw.Draw(image)
    stated = result.calibrated
    _draw_heat(image, sheet, result, ground, stated)
    _draw_color_bar(image, draw, sheet, result)
    _draw_candidates(image, sheet, result)
    _draw_truth(image, sheet, result)
    _draw_scale_bar(draw, sheet)
    _draw_north(draw, sheet)
    room = sheet.size[0] - 2 * _MARGIN
    title = fitting_line(plain_line(result.title), font(24, bold=True), room)
    draw.text((_MARGIN, _HEAD - 16), title, _INK, font(24, bold=True), "ls")
    foot = f"{result.grid.crs}   ·   where to look first, not a verdict"
    if stated and stated.km2 is not None:
        size = area_size(stated.km2)
        foot += f"   ·   blue line: with {stated.percent} % the true place is in these {size}"
    foot += "" if result.truth is None else "   ·   blue cross: the true place"
    draw.text(
        (_MARGIN, sheet.size[1] - 14), fitting_line(foot, font(17), room), _QUIET, font(17), "ls"
    )
    metadata = PngInfo()
    metadata.add_text("Software", "geoloc")
    # a palette: a third of the bytes, and less time to compress them
    small = image.quantize(_COLOURS, Image.Quantize.FASTOCTREE)
    small.save(path, "png", compress_level=_EFFORT, pnginfo=metadata)


def scale_length(width: float) -> float:
    """A round length (1, 2 or 5 times a power of ten) near a fifth of ``width``, same unit."""
    power = 10.0 ** math.floor(math.log10(width / 5))
    return max(m * power for m in (1, 2, 5) if m * power <= width / 5)


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> _Font:
    """The sans-serif that comes with matplotlib: it has Cyrillic and Greek. ``size`` in px."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _draw_heat(
    image: Image.Image,
    sheet: _Sheet,
    result: QueryResult,
    ground: Picture | None,
    stated: Calibrated | None,
) -> None:
    small, grid = shrink(result.heatmap, result.grid, _SIDE)
    # a reduced picture may reach beyond the last cell by part of a pixel
    seen = (0.0, 0.0, result.grid.nx * result.grid.step / grid.step,
            result.grid.ny * result.grid.step / grid.step)  # fmt: skip
    heat = Image.fromarray(color_scale(result).levels(small)).resize(
        (sheet.width, sheet.height), Image.Resampling.NEAREST, box=seen
    )
    under = _grey_ground(ground, sheet) if ground else Image.new("RGBA", heat.size, _PAPER)
    under.alpha_composite(Image.fromarray(_colors()[np.asarray(heat)]))
    image.paste(under.convert("RGB"), (sheet.left, sheet.top))
    if stated and stated.km2 is not None:
        likely = Image.fromarray((small <= stated.distance).view(np.uint8) * np.uint8(255))
        _draw_outline(image, sheet, likely.resize(heat.size, Image.Resampling.NEAREST, box=seen))
    frame = (sheet.left - 1, sheet.top - 1, sheet.left + sheet.width, sheet.top + sheet.height)
    ImageDraw.Draw(image).rectangle(frame, outline=_INK)


def _draw_outline(image: Image.Image, sheet: _Sheet, likely: Image.Image) -> None:
    """A line along the inner edge of what is white."""
    edge = ImageChops.subtract(likely, likely.filter(ImageFilter.MinFilter(3)))
    image.paste(_LIKELY, (sheet.left, sheet.top), edge)


def _grey_ground(ground: Picture, sheet: _Sheet) -> Image.Image:
    """The base map in grey, as large as the map: colours are the heat's."""
    west, south, east, north = ground.bounds
    left, bottom, right, top = sheet.grid.bounds
    across, down = ground.width / (east - west), ground.height / (north - south)
    box = ((left - west) * across, (north - top) * down,
           (right - west) * across, (north - bottom) * down)  # fmt: skip
    inside = (max(0.0, box[0]), max(0.0, box[1]),
              min(float(ground.width), box[2]), min(float(ground.height), box[3]))  # fmt: skip
    drawn = ground.image().convert("L").resize((sheet.width, sheet.height), box=inside)
    return drawn.point(_LIGHTER).convert("RGBA")


@cache
def _colors() -> U8:
    """RGBA ``(level, 4)``, of what is not known first."""
    return np.vstack([np.array([_UNKNOWN], np.uint8), overlay_palette()])


def _draw_color_bar(
    image: Image.Image, draw: ImageDraw.ImageDraw, sheet: _Sheet, result: QueryResult
) -> None:
    """Ticks name the share of cells that are as good or better, and their distance."""
    left, height = sheet.left + sheet.width + 22, max(sheet.height, _LEAST) * 85 // 100
    top = sheet.top + (max(sheet.height, _LEAST) - height) // 2
    bar = Image.fromarray(paper_palette()[:, None]).resize((_BAR, height), Image.Resampling.NEAREST)
    image.paste(bar, (left, top))
    draw.rectangle((left - 1, top - 1, left + _BAR, top + height), outline=_INK)
    for share, words in _ticks(result):
        y, right = top + position(share) * height, left + _BAR
        draw.line((right, y, right + 7, y), _INK, 2)
        draw.multiline_text((right + 12, y), words, _INK, font(16), "lm", spacing=3)
    label = f"rank and {'score' if result.tandem else 'distance'}   (magenta: most plausible)"
    _draw_upwards(image, label, (sheet.size[0] - _MARGIN + 4, top + height / 2))


def _ticks(result: QueryResult) -> Iterator[tuple[float, str]]:
    shares = (0.0, *TICKS)
    names = ["best", *(f"best {100 * share:g} %" for share in TICKS[:-1]), "worst"]
    for share, name, value in zip(shares, names, result.quantiles(np.array(shares)), strict=True):
        yield share, f"{name}\n{value:.4g}"


def _draw_upwards(image: Image.Image, text: str, middle: tuple[float, float]) -> None:
    """Text that is read from below to above."""
    width, height = round(font(17).getlength(text)) + 4, 26
    line = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(line).text((2, height / 2), text, _INK, font(17), "lm")
    turned = line.transpose(Image.Transpose.ROTATE_90)
    image.paste(turned, (round(middle[0] - height / 2), round(middle[1] - width / 2)))


def _draw_candidates(image: Image.Image, sheet: _Sheet, result: QueryResult) -> None:
    for candidate in reversed(result.candidates):
        mark = rank_mark(int(candidate.rank))
        x, y = sheet.at(candidate.x, candidate.y)
        image.paste(mark, (round(x - mark.width / 2), round(y - mark.height / 2)), mark)


@lru_cache(maxsize=200)
def rank_mark(rank: int) -> Image.Image:
    """The disc of a candidate, RGBA: the better its rank, the larger; the first is darkest."""
    size = mark_size(rank)
    color = "#b5124b" if rank == 1 else "#d6336c"
    letters = font(size * _SMOOTH, bold=True)
    side = round(max(letters.getlength(str(rank)) * 1.12, 0.8 * size * _SMOOTH)) + size * _SMOOTH
    disc = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    draw = ImageDraw.Draw(disc)
    draw.ellipse((0, 0, side - 1, side - 1), color, "white", 2 * _SMOOTH)
    draw.text((side / 2, side / 2), str(rank), "white", letters, "mm")
    return disc.resize((side // _SMOOTH, side // _SMOOTH), Image.Resampling.LANCZOS)


def mark_size(rank: int) -> int:
    """Height of the letters in a candidate's mark, px; it falls with the rank."""
    share = min(rank - 1, _RANKS - 1) / (_RANKS - 1)
    return round(_LARGEST + (_SMALLEST - _LARGEST) * share)


def _draw_truth(image: Image.Image, sheet: _Sheet, result: QueryResult) -> None:
    """A cross at the true place, where it is known and on the map."""
    if result.true_place is None:
        return
    x, y = sheet.at(*result.true_place[0])
    draw = ImageDraw.Draw(image)
    for thick, color in ((11, "black"), (6, _TRUTH)):
        arm = 20 + thick // 4
        draw.line((x - arm, y, x + arm, y), color, thick)
        draw.line((x, y - arm, x, y + arm), color, thick)


def _draw_scale_bar(draw: ImageDraw.ImageDraw, sheet: _Sheet) -> None:
    left, _, right, _ = sheet.grid.bounds
    length = scale_length(right - left)
    pixels = length / (right - left) * sheet.width
    x, y, thick = sheet.left + 0.03 * sheet.width, sheet.top + 0.97 * sheet.height, 11
    draw.rectangle((x, y - thick, x + pixels / 2, y), "black", "black")
    draw.rectangle((x + pixels / 2, y - thick, x + pixels, y), "white", "black")
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    halo_text(draw, (x + pixels / 2, y - thick - 5), text, font(19), "ms")


def _draw_north(draw: ImageDraw.ImageDraw, sheet: _Sheet) -> None:
    """An arrow in the upper right corner: the grid's north."""
    x, y = sheet.left + sheet.width - 40, sheet.top + 18
    for thick, color in ((9, "white"), (3, "black")):
        draw.line((x, y + 10, x, y + 62), color, thick)
        draw.polygon([(x, y), (x - 11, y + 26), (x + 11, y + 26)], color, color, thick // 3)
    halo_text(draw, (x, y + 68), "N", font(22, bold=True), "ma")


def halo_text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, letters: _Font, anchor: str
) -> None:
    """Black text with a white rim, readable on any map."""
    draw.text(at, text, "black", letters, anchor, stroke_width=3, stroke_fill="white")


def plain_line(title: str) -> str:
    """One printable line: a file name may hold anything."""
    return "".join(c if c.isprintable() else " " for c in title[:200])


def fitting_line(text: str, letters: _Font, room: int) -> str:
    """As much of a line as ``room`` px hold."""
    if letters.getlength(text) <= room:
        return text
    while text and letters.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
