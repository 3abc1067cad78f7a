"""Which ways belong to a network, by their tags.

``all``    whatever has a highway's class and exists: roads, tracks, paths, steps
``drive``  roads that are open to cars; no service roads, tracks or private ones
``walk``   what may be walked: no motorways, bus or cycle ways, or private ways
``rail``   railways, narrow gauge, trams and funiculars in use; nothing below the ground alone

Areas (``area=yes``) are no lines. After the filters of OSMnx, by which most existing networks
were made.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ..arrays import Bools
from ..errors import UsageError

Network = Literal["all", "drive", "walk", "rail"]
NETWORKS: tuple[str, ...] = get_args(Network)

_NONE = frozenset((
    "abandoned", "construction", "corridor", "elevator", "escalator", "no", "planned", "platform",
    "proposed", "raceway", "razed", "removed", "disused", "demolished", "rest_area", "services",
    "bus_stop",
))  # fmt: skip
_MAIN = ("motorway", "trunk", "primary", "secondary", "tertiary")
_DRIVE = frozenset(
    (*_MAIN, *(f"{name}_link" for name in _MAIN), "unclassified", "residential", "living_street",
     "road")
)  # fmt: skip
_NOT_WALKED = frozenset(("motorway", "motorway_link", "bus_guideway", "busway", "cycleway"))
_RAIL = frozenset((
    "rail", "light_rail", "narrow_gauge", "tram", "funicular", "monorail", "preserved",
))  # fmt: skip
_CLOSED = frozenset(("no", "private"))
_ACCESS = {"drive": ("motor_vehicle", "motorcar"), "walk": ("foot",)}


def require_network(name: str) -> None:
    """Raises UsageError for a network that does not exist."""
    if name not in NETWORKS:
        raise UsageError(f"--network {name}: write one of {', '.join(NETWORKS)}")


def key_of(network: str) -> str:
    """The tag that holds the class of a network's ways."""
    return "railway" if network == "rail" else "highway"


def has_class(network: str, classes: NDArray[np.str_]) -> Bools:
    """Which classes of ways belong to a network."""
    names, inverse = np.unique(classes, return_inverse=True)
    return np.array([_has_class(network, str(name)) for name in names], np.bool_)[inverse]


def _has_class(network: str, name: str) -> bool:
    match network:
        case "rail":
            return name in _RAIL
        case "drive":
            return name in _DRIVE
        case "walk":
            return bool(name) and name not in _NONE | _NOT_WALKED
        case _:
            return bool(name) and name not in _NONE


class Tags(Protocol):
    """Of a way: a mapping, or what osmium has in place of one."""

    def get(self, key: str, default: str) -> str:
        """The value of a key."""
        ...

    def __contains__(self, key: str, /) -> bool: ...


def belongs(network: str, tags: Tags) -> bool:
    """Whether a way with these tags is part of a network."""
    if not _has_class(network, tags.get(key_of(network), "")) or tags.get("area", "") == "yes":
        return False
    if network not in _ACCESS:
        return True
    own = next((tags.get(key, "") for key in _ACCESS[network] if key in tags), "")
    return (own or tags.get("access", "")) not in _CLOSED
