"""Scene names: the list, its groups, tolerant look-up, group weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import UnknownClassError, UsageError
from geoloc.sandbox.scene import LANDUSE
from geoloc.scenes import (
    GROUPS,
    PLACES365,
    Group,
    canonical,
    describe,
    display_name,
    find_class,
    group_weights,
    groups_of,
    is_group,
    suggest,
    without_group,
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


def test_a_long_name_is_quoted_in_part() -> None:
    with pytest.raises(UnknownClassError) as error:
        find_class("a" + "x" * 5000 + "z", ["river", "forest"])
    assert "'axx" in str(error.value) and len(str(error.value)) < 250


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


def published(key: str) -> str:
    """A key as Places365 itself writes it: ``gymnasium-indoor`` -> ``/g/gymnasium/indoor``."""
    return f"/{key[0]}/{key.replace('-', '/')}"


@pytest.mark.parametrize(
    "spelled",
    [
        published, lambda key: published(key)[1:], lambda key: published(key)[3:],
        lambda key: key.replace("-", "_"), lambda key: key.replace("-", " ").title(), display_name,
    ],
    ids=["published", "no slash", "no letter", "underscores", "words", "displayed"],
)  # fmt: skip
def test_every_class_has_its_groups_however_it_is_spelled(spelled: Callable[[str], str]) -> None:
    classes = [spelled(key) for key in PLACES365]
    assert [canonical(name) for name in classes] == list(PLACES365)
    assert [groups_of(name) for name in classes] == [GROUPS[key] for key in PLACES365]
    assert without_group(classes) == []
    for weights in ({"indoor": 0}, {"natural": 0.5, "manmade": 2}):
        np.testing.assert_array_equal(
            group_weights(classes, weights), group_weights(PLACES365, weights)
        )
    assert [display_name(name) for name in classes] == [display_name(key) for key in PLACES365]
    assert [find_class(key, classes) for key in PLACES365] == classes
    assert [find_class(name, PLACES365) for name in classes] == list(PLACES365)


def test_without_the_indoor_classes_none_is_left_but_what_is_outdoors_too() -> None:
    classes = [published(key) for key in PLACES365]
    kept = group_weights(classes, {"indoor": 0}) > 0
    only_indoor = [GROUPS[key] == {Group.INDOOR} for key in PLACES365]
    np.testing.assert_array_equal(kept, np.logical_not(only_indoor))


def test_classes_of_another_list_are_told_and_keep_their_names() -> None:
    classes = ("gymnasium/indoor", "minefield", "shop/outdoor", "a/b")
    assert without_group(classes) == ["minefield", "shop/outdoor", "a/b"]
    assert [display_name(name) for name in classes] == [
        "gymnasium (indoor)", "minefield", "shop (outdoor)", "a (b)",
    ]  # fmt: skip
    np.testing.assert_array_equal(group_weights(classes, {"indoor": 0}), [0, 1, 1, 1])


@pytest.mark.parametrize("name", ["indoor", "Indoor", "natural", "natural outdoor", "man-made"])
def test_groups_are_known_by_name(name: str) -> None:
    assert is_group(name) and not is_group("kitchen")


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
