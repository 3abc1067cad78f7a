from __future__ import annotations

import numpy as np
import pytest

from geoloc.errors import UsageError
from geoloc.points.ways import NETWORKS, belongs, has_class, require_network

CASES = [
    ({"highway": "residential"}, "all drive walk"),
    ({"highway": "motorway"}, "all drive"),
    ({"highway": "track"}, "all walk"),
    ({"highway": "footway"}, "all walk"),
    ({"highway": "service"}, "all walk"),
    ({"highway": "cycleway"}, "all"),
    ({"highway": "primary_link"}, "all drive walk"),
    ({"highway": "construction"}, ""),
    ({"highway": "proposed", "railway": "rail"}, "rail"),
    ({"highway": "pedestrian", "area": "yes"}, ""),
    ({"highway": "residential", "access": "private"}, "all"),
    ({"highway": "residential", "access": "private", "foot": "yes"}, "all walk"),
    ({"highway": "residential", "motor_vehicle": "no"}, "all walk"),
    ({"railway": "rail"}, "rail"),
    ({"railway": "tram"}, "rail"),
    ({"railway": "abandoned"}, ""),
    ({"railway": "subway"}, ""),
    ({"waterway": "river"}, ""),
]


@pytest.mark.parametrize(("tags", "networks"), CASES)
def test_which_ways_belong_to_a_network(tags: dict[str, str], networks: str) -> None:
    assert [name for name in NETWORKS if belongs(name, tags)] == networks.split()


def test_classes_alone_say_as_much() -> None:
    classes = np.array(["track", "primary", "", "razed", "primary"])
    assert has_class("drive", classes).tolist() == [False, True, False, False, True]
    assert has_class("all", classes).tolist() == [True, True, False, False, True]
    assert has_class("all", classes[:0]).tolist() == []


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(UsageError, match="--network fly: write one of all, drive, walk, rail"):
        require_network("fly")
