"""Options as parameters of the deployed flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prefect")

from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema

from flows.evaluate import evaluate
from flows.geolocate_folder import geolocate_folder
from flows.parameters import with_options
from flows.query_photo import query_photo
from flows.search_scene import search_scene
from geoloc.query.options import QueryOptions, Use
from tests.test_query_options import Tilted

OWN = {
    Use.QUERY: ["cube", "photos", "out"],
    Use.SCENE: ["cube", "scene", "out"],
    Use.BULK: ["cube", "folder", "out"],
}
FLOWS = {Use.QUERY: query_photo, Use.SCENE: search_scene, Use.BULK: geolocate_folder}
PATH = {"description": "absolute path of a file", "pattern": r"^/[^\x00-\x1f]*$", "type": "string"}


@pytest.mark.parametrize("use", Use)
def test_the_flows_have_the_options_of_the_model(use: Use) -> None:
    told = FLOWS[use].parameters
    expected = [
        name
        for name, (_, option) in QueryOptions.options().items()
        if option.served and use in option.uses
    ]
    assert list(told.properties) == OWN[use] + expected
    assert told.required == OWN[use]
    assert [one["position"] for one in told.properties.values()] == [*range(len(told.properties))]
    assert all(one["description"] for one in told.properties.values())


def test_the_form_shows_the_bounds_of_a_server() -> None:
    told = query_photo.parameters.properties
    assert (told["top"]["minimum"], told["top"]["maximum"], told["top"]["default"]) == (1, 1000, 20)
    assert told["within"]["anyOf"] == [PATH, {"type": "null"}] and told["within"]["default"] is None
    assert told["cluster"]["pattern"] == "^(auto|inline|local|cuda|[a-z]+://.+)$"
    assert told["sensitive"]["anyOf"] == [{"type": "boolean"}, {"type": "null"}]
    assert told["fuse"]["type"] == "boolean" and told["fetch_imagery"]["default"] is False


@pytest.mark.parametrize(
    "wrong", [{"top": 0}, {"top": 1001}, {"within": "a.geojson"}, {"cluster": "moon"}], ids=str
)
def test_what_is_not_valid_is_refused_before_a_run(wrong: dict[str, Any]) -> None:
    told = {"cube": "/c", "photos": ["/a.jpg"], "out": "/o", **wrong}
    with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
        query_photo.validate_parameters(told)


@pytest.mark.parametrize("side", [0.0, 5e6 + 1, float("inf"), float("nan")])
def test_regions_of_an_evaluation_have_the_bounds_of_a_query_s(side: float) -> None:
    told = {"cube": "/c", "truth": "/t.csv", "regions": side}
    with pytest.raises(ParameterTypeError, match="regions"):
        evaluate.validate_parameters(told)


def test_an_option_is_added_by_its_field_alone() -> None:
    found: list[Any] = []

    def ask(cube: str, *, options: Tilted) -> None:
        """Ask.

        Args:
            cube: one
            options: all
        """
        found.append((cube, options))

    flow = with_options(Use.QUERY)(ask)
    told = parameter_schema(flow).properties["tilt"]
    assert (told["minimum"], told["maximum"], told["default"]) == (0, 9, 0.0)
    assert told["description"] == "How steep it may be."
    flow("/c", within="/a.geojson", tilt=2.5)
    assert found == [("/c", Tilted(within=Path("/a.geojson"), tilt=2.5))]
