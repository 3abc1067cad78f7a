"""Lines of a road network as arrays: no object for each way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import F64, I64, Bools

HALF_TURN = 180.0  # degrees of longitude: no edge of a road is longer


@dataclass(frozen=True, eq=False)
class Lines:
    """Some lines of a network.

    coordinates: float64 ``(node, 2)``, longitude and latitude in degrees, line after line;
    offsets: int64 ``(line + 1,)``, where each line's nodes begin, and where the last ends;
    way_id: int64 ``(line,)``; highway: str ``(line,)``, the class of the way.
    """

    coordinates: F64
    offsets: I64
    way_id: I64
    highway: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.way_id)

    @property
    def line_of_node(self) -> I64:
        """int64 ``(node,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @classmethod
    def of(
        cls, coordinates: ArrayLike, line: ArrayLike, way_id: ArrayLike, highway: ArrayLike
    ) -> Lines:
        """From the line of each node ``(node,)``, in ascending order."""
        ways = np.asarray(way_id, np.int64)
        offsets = np.searchsorted(np.asarray(line), np.arange(len(ways) + 1))
        xy = np.asarray(coordinates, np.float64).reshape(-1, 2)
        return cls(xy, offsets.astype(np.int64), ways, np.asarray(highway, np.str_))

    def select(self, keep: Bools) -> Lines:
        """Those lines alone: bool ``(line,)``."""
        nodes = np.repeat(keep, np.diff(self.offsets))
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[keep])])
        return Lines(self.coordinates[nodes], offsets, self.way_id[keep], self.highway[keep])

    def edges(self) -> I64:
        """The first node of each edge: of every node but each line's last."""
        first = np.ones(len(self.coordinates), np.bool_)
        first[self.offsets[1:] - 1] = False
        return np.flatnonzero(first)


def joined(parts: Sequence[Lines]) -> Lines:
    """All lines of several parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.cumsum([0, *(len(part.coordinates) for part in parts)])
    offsets = [part.offsets[:-1] + size for part, size in zip(parts, sizes, strict=False)]
    return Lines(
        np.concatenate([part.coordinates for part in parts]),
        np.concatenate([*offsets, sizes[-1:]]),
        np.concatenate([part.way_id for part in parts]),
        np.concatenate([part.highway for part in parts]),
    )


def split_at_antimeridian(lines: Lines) -> Lines:
    """The same network without edges across 180 degrees: such a line ends there, another begins.

    The crossing is interpolated in degrees.
    """
    edges = lines.edges()
    lon, lat = lines.coordinates.T
    across = edges[np.abs(lon[edges + 1] - lon[edges]) > HALF_TURN]
    if not len(across):
        return lines
    side = np.sign(lon[across])
    rest = HALF_TURN - np.abs(lon[across])
    part = rest / np.maximum(rest + HALF_TURN - np.abs(lon[across + 1]), 1e-12)
    middle = lat[across] + part * (lat[across + 1] - lat[across])
    ends = np.stack([np.column_stack([sign, middle]) for sign in (side * 180, -side * 180)], 1)
    where = np.repeat(across + 1, 2)
    coordinates = np.insert(lines.coordinates, where, ends.reshape(-1, 2), axis=0)
    line = np.insert(lines.line_of_node, where, np.repeat(lines.line_of_node[across], 2))
    breaks = across + 1 + 2 * np.arange(len(across)) + 1  # the second of the two new nodes
    starts = np.unique(np.concatenate([np.searchsorted(line, np.arange(len(lines))), breaks]))
    owner = line[starts]
    offsets = np.append(starts, len(line))
    return Lines(coordinates, offsets, lines.way_id[owner], lines.highway[owner])
