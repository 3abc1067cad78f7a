"""Names of places on a map: the largest, where they find room. All lengths are px of the map."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..arrays import F64
from .picture import font, plain_line
from .region_layers import Box, DrawnLayers

_MOST = 34  # names
_GAP = 3  # px between two names
_NEAR = 36  # px: a place so near to a larger one with a name is a part of it, as a rule
_LARGE = 0.3  # of the largest place's people, from which a name is bold
_DOT = 5  # px around a place that no name covers
_RIM = 4  # px at the map's edge
_LARGEST, _SMALLEST, _STEP = 24, 15, 4  # px of letters; less by a step for each power of ten


@dataclass(frozen=True)
class PlacedName:
    """A name with its upper left corner, beside the dot of its place; ``size`` of the letters."""

    text: str
    dot: tuple[float, float]
    corner: tuple[float, float]
    size: int
    bold: bool


def placed_names(
    drawn: DrawnLayers, dots: F64, frame: Box, occupied: Sequence[Box] = ()
) -> Iterator[PlacedName]:
    """The places with a name, the largest first.

    ``dots`` ``(place, 2)``: where the places are on the map; ``frame``: the map's edges;
    ``occupied``: what no name may cover.
    """
    full, named, words = list(occupied), list[tuple[float, float]](), list[Box]()
    most = float(drawn.people[0]) if len(drawn.people) else 1.0
    for text, people, (x, y) in zip(drawn.names, drawn.people.tolist(), dots.tolist(), strict=True):
        if len(named) == _MOST:
            return
        if any(math.dist((x, y), other) < _NEAR for other in named):
            continue
        name, bold = plain_line(text), people >= _LARGE * most
        size = max(_SMALLEST, round(_LARGEST + _STEP * math.log10(max(people, 1) / most)))
        box = _free_box(name, size, bold, (x, y), frame, full)
        dot = (x - _DOT, y - _DOT, x + _DOT, y + _DOT)
        covered = any(overlap(dot, other) for other in words)
        if box is not None and not covered and _inside((x, y, x, y), frame):
            full += [box, dot]
            words.append(box)
            named.append((x, y))
            yield PlacedName(name, (x, y), box[:2], size, bold)


def overlap(one: Box, other: Box, gap: float = 0) -> bool:
    """Whether two boxes (left, top, right, bottom) are nearer than ``gap`` to one another."""
    return not (
        one[2] + gap < other[0] or other[2] + gap < one[0]
        or one[3] + gap < other[1] or other[3] + gap < one[1]
    )  # fmt: skip


def _free_box(
    name: str, size: int, bold: bool, at: tuple[float, float], frame: Box, occupied: list[Box]
) -> Box | None:
    left, top, right, bottom = font(size, bold=bold).getbbox(name, anchor="lt")
    width, height = right - left, bottom - top
    for x, y in _around(*at, width, height):
        box = (x, y, x + width, y + height)
        if _inside(box, frame) and not any(overlap(box, other, _GAP) for other in occupied):
            return box
    return None


def _around(x: float, y: float, width: float, height: float) -> Iterator[tuple[float, float]]:
    """Upper left corners of a name of this size beside a dot, the best first, near then far."""
    for gap in (9, 20, 32):
        yield x + gap, y - height / 2
        yield x - gap - width, y - height / 2
        yield x - width / 2, y - gap - height
        yield x - width / 2, y + gap
        yield x + gap, y - gap - height
        yield x + gap, y + gap
        yield x - gap - width, y - gap - height
        yield x - gap - width, y + gap


def _inside(box: Box, frame: Box) -> bool:
    return (
        box[0] > frame[0] + _RIM and box[1] > frame[1] + _RIM
        and box[2] < frame[2] - _RIM and box[3] < frame[3] - _RIM
    )  # fmt: skip
