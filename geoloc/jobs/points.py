"""The points of an area's cube: which of its file, and in which order.

A cube of points grows: what it holds stays where it is, and more points of the same sequence
come behind. So its order is that of its growth, and within what was added at a time that of a
Hilbert curve, so that the points of a block are neighbours. Which point of the sequence is where
is told by the attribute ``order``. Points that lie exactly where an earlier one lies are left
out: the vector would be the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..area import Area
from ..arrays import F64
from ..cube import (
    FIRST_GENERATION,
    Cube,
    current_generation,
    generation_exists,
    generation_names,
    stored_spec,
)
from ..domain import Points
from ..errors import CubeError, SpecMismatchError
from ..points import PointSet, read_points

ORDER = "order"
"""The attribute that tells which of its sequence a point is."""

LONLAT = "EPSG:4326"

_HELD = Path("points.parquet")  # stands for a file that is not read


def points_of(area: Area, n: int | None = None) -> Points:
    """The first ``n`` points of an area's file (default: all), behind those of its cube.

    Of a cube that holds as many or more: those that it holds. Raises UsageError where the file
    cannot be read, SpecMismatchError where the cube holds points of another sequence.
    """
    assert area.points is not None
    return after(begun_points(area.cube), without_copies(read_points(area.points, n)), area.cube)


def stored_points(url: str) -> Points:
    """The points of a cube that is there. Raises CubeError where it is not of points."""
    points = Cube.open(url).points
    if points is None:
        raise CubeError(f"cube {url} holds a grid of cells, not points: name another cube")
    return points


def as_built(area: Area) -> Area:
    """The area at the points that its cube holds, where these were built in place of its extent.

    As by ``geoloc points build``. Its file of points is not to be read: the cube holds them.
    """
    name = None if area.points is not None else current_generation(area.cube)
    if name is None or not _holds_points(area.cube, name):
        return area
    return area.with_points(_HELD)


def _holds_points(url: str, generation: str) -> bool:
    try:
        return stored_spec(url, generation).domain.kind == "points"
    except CubeError:
        return False  # whoever opens it says what is wrong


def begun_points(url: str) -> Points | None:
    """Those of a cube's newest generation, finished or not; None where there is none yet.

    Raises SpecMismatchError for a cube of a grid.
    """
    names = [FIRST_GENERATION] if current_generation(url) is None else generation_names(url)
    begun = [name for name in names if generation_exists(url, name)]
    if not begun:
        return None
    points = Cube(url, begun[-1]).points
    if points is None:
        raise SpecMismatchError(
            f"cube {url} holds a grid of cells: name another cube for the points"
        )
    return points


def after(begun: Points | None, wanted: PointSet, url: str) -> Points:
    """The points that a cube holds, and those ``wanted`` that it does not hold yet behind them.

    Raises SpecMismatchError unless one set of points begins the other.
    """
    attributes = {**wanted.attributes, ORDER: wanted.order}
    if begun is None:
        return Points.along_curve(LONLAT, wanted.coordinates, attributes, wanted.sequence)
    held = np.argsort(begun.attributes[ORDER], kind="stable")
    both = min(begun.size, len(wanted))
    same = np.array_equal(
        begun.attributes[ORDER][held[:both]], wanted.order[:both]
    ) and np.array_equal(begun.coordinates[held[:both]], wanted.coordinates[:both])
    if not same or begun.sequence != wanted.sequence:
        raise SpecMismatchError(
            f"cube {url} holds points of another sequence ({_named(begun.sequence)}, not "
            f"{_named(wanted.sequence)}), as of another seed, network, polygon or other sources: "
            "build these into a cube of their own, and then make one of both with 'geoloc points "
            "merge'"
        )
    if begun.size >= len(wanted):
        return begun
    rest = {name: values[both:] for name, values in attributes.items()}
    if missing := sorted(set(begun.attributes) - set(rest)):
        raise SpecMismatchError(f"cube {url}: the points have no {missing[0]}, which it holds")
    return begun.followed_by(Points.along_curve(LONLAT, wanted.coordinates[both:], rest))


def without_copies(points: PointSet) -> PointSet:
    """All points but those that lie exactly where an earlier one lies."""
    first = first_of_each(points.coordinates)
    if len(first) == len(points):
        return points
    kept: dict[str, NDArray[Any]] = {name: v[first] for name, v in points.attributes.items()}
    return PointSet(points.coordinates[first], points.order[first], kept, points.sequence)


def first_of_each(coordinates: F64) -> NDArray[np.intp]:
    """Places of the first of all points ``(n, 2)`` that lie at the same coordinates, ascending."""
    pairs = np.ascontiguousarray(coordinates, np.float64).view(np.complex128).reshape(-1)
    _, first = np.unique(pairs, return_index=True)  # as complex numbers: a third of the time
    return np.sort(first)


def _named(sequence: str) -> str:
    return sequence[:12] or "without a name"
