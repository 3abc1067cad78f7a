"""Scene names: the list, its groups, tolerant look-up, group weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import UnknownClassError, UsageError
from geoloc.sandbox.scene import LANDUSE
from geoloc.scenes import (
    GROUPS,
    PLACES365,
    Group,
    describe,
    display_name,
    find_class,
    group_weights,
    suggest,
)

SHARED = Path(os.environ.get("GEOLOC_SHARED", Path(__file__).parent.parent.parent / "shared"))
PUBLISHED = SHARED / "models" / "squeezenet_places365"


def test_the_list_is_whole() -> None:
    assert len(PLACES365) == len(set(PLACES365)) == 365
    assert PLACES365[0] == "airfield" and PLACES365[-1] == "zen_garden"
    assert all(GROUPS[c] for c in PLACES365)
    assert set(LANDUSE) <= set(PLACES365)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published lists are not beside the project")
def test_the_list_agrees_with_the_published_one() -> None:
    published = [line.split()[0] for line in (PUBLISHED / "categories_places365.txt").open()]
    assert [name[3:].replace("/", "-") for name in published] == list(PLACES365)
    assert [find_class(name, PLACES365) for name in published] == list(PLACES365)
    indoor = dict(line.split() for line in (PUBLISHED / "IO_places365.txt").open())
    assert [Group.INDOOR in GROUPS[c] for c in PLACES365] == [indoor[p] == "1" for p in published]


@pytest.mark.parametrize(
    ("words", "scene"),
    [
        ("soccer stadium", "stadium-soccer"),
        ("Soccer Stadiums", "stadium-soccer"),
        ("stadium/soccer", "stadium-soccer"),
        ("stadium-soccer", "stadium-soccer"),
        (" Wheat Fields ", "wheat_field"),
        ("WHEAT_FIELD", "wheat_field"),
        ("field wheat", "wheat_field"),
        ("apartment building", "apartment_building-outdoor"),
        ("church", "church-outdoor"),
        ("indoor church", "church-indoor"),
        ("broadleaf", "forest-broadleaf"),
        ("bus station", "bus_station-indoor"),
        ("forest path", "forest_path"),
        ("railroad", "railroad_track"),
    ],
)
def test_a_name_is_found_however_it_is_written(words: str, scene: str) -> None:
    assert find_class(words, PLACES365) == scene


@pytest.mark.parametrize("scene", PLACES365)
def test_every_key_and_display_name_finds_itself(scene: str) -> None:
    assert find_class(scene, PLACES365) == scene
    assert find_class(display_name(scene), PLACES365) == scene


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("soccer stadum", "stadium-soccer"),
        ("stadium", "stadium-football"),
        ("weat feild", "wheat_field"),
        ("rail track", "railroad_track"),
        ("spaceship", ""),
        ("", ""),
        ("!?", ""),
    ],
)
def test_an_unknown_name_gets_suggestions(words: str, near: str) -> None:
    with pytest.raises(UnknownClassError) as error:
        find_class(words, PLACES365)
    message = str(error.value)
    assert repr(words) in message and near in message and "\n" not in message


def test_only_the_models_classes_are_found() -> None:
    with pytest.raises(UnknownClassError, match="river"):
        find_class("stadium-soccer", ("river", "highway"))
    assert suggest("rivers", ("highway", "river")) == ["river", "highway"]


def test_display_names() -> None:
    assert display_name("stadium-soccer") == "stadium (soccer)"
    assert display_name("wheat_field") == "wheat field"


def test_group_weights_take_the_maximum_over_groups() -> None:
    classes = ("kitchen", "wheat_field", "ocean", "skyscraper", "own_class")
    weights = group_weights(classes, {"indoor": 0, "natural": 0.5, Group.MANMADE: 2})
    np.testing.assert_array_equal(weights, np.float32([0, 2, 0.5, 2, 1]))
    np.testing.assert_array_equal(group_weights(classes, {}), np.ones(5, np.float32))
    np.testing.assert_array_equal(
        group_weights(classes, {"man-made outdoor": 3}), np.float32([1, 3, 1, 3, 1])
    )


@pytest.mark.parametrize("weights", [{"seaside": 1}, {"indoor": -1}, {"indoor": float("nan")}])
def test_bad_group_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        group_weights(("kitchen",), weights)


def test_weights_that_leave_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="leave no class"):
        group_weights(("kitchen",), {"indoor": 0})


def test_describe_gives_softmax_shares() -> None:
    top = describe([0.0, np.log(3.0), -100.0], ("a", "b", "c"), top=2)
    assert [name for name, _ in top] == ["b", "a"]
    assert [share for _, share in top] == pytest.approx([0.75, 0.25])
    assert describe([1000.0, 0.0], ("a", "b"))[0] == ("a", 1.0)
