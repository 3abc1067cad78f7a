"""OpenStreetMap extracts and road networks made by tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import osmium
from osmium.osm import mutable

from geoloc.points.lines import Lines


@dataclass(frozen=True)
class Way:
    """A way of an extract; nodes are shared by place, but for those in ``lacking``."""

    id: int
    places: Sequence[tuple[float, float]]
    tags: Mapping[str, str] = field(default_factory=lambda: {"highway": "residential"})
    version: int = 1
    lacking: frozenset[int] = frozenset()


def write_extract(path: Path, ways: Sequence[Way], numbers: dict[tuple[float, float], int]) -> Path:
    """``numbers``: of nodes by place; nodes alike in several extracts have the same."""
    places = [place for way in ways for place in way.places]
    for place in places:
        numbers.setdefault(place, 1000 + 7 * len(numbers))
    lacking = {way.places[k] for way in ways for k in way.lacking}
    with osmium.SimpleWriter(str(path), overwrite=True) as writer:
        for place in sorted(dict.fromkeys(places), key=numbers.__getitem__):
            if place not in lacking:
                writer.add_node(mutable.Node(id=numbers[place], version=1, location=place))
        for way in sorted(ways, key=lambda way: way.id):
            nodes = [numbers[place] for place in way.places]
            writer.add_way(
                mutable.Way(id=way.id, version=way.version, nodes=nodes, tags=dict(way.tags))
            )
    return path


def extract(path: Path, *ways: Way) -> Path:
    """One that stands alone."""
    return write_extract(path, ways, {})


def lines_of(*places: Sequence[tuple[float, float]], highway: str = "road") -> Lines:
    """Lines numbered from 1."""
    sizes = [len(line) for line in places]
    return Lines(
        np.array([place for line in places for place in line], np.float64).reshape(-1, 2),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.arange(1, len(places) + 1),
        np.array([highway] * len(places), np.str_),
    )
