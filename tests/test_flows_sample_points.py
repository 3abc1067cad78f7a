"""Parameters of the deployed flow; its runs are in test_flows.py."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("prefect")

from prefect.exceptions import ParameterTypeError

from flows.sample_points import sample_points

RIGHT = {"out": "/data/points.parquet", "n": 10, "sources": ["/data/roads.osm.pbf"]}


def test_what_is_needed_is_a_file_and_a_number() -> None:
    told = sample_points.parameters
    assert told.required == ["out", "n"]
    assert told.properties["network"]["enum"] == ["all", "drive", "walk", "rail"]
    assert sample_points.validate_parameters(RIGHT)["network"] == "all"


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"out": "points.parquet"}, {"sources": ["roads.osm.pbf"]}, {"network": "fly"},
     {"seed": -1}, {"along": "air"}],
    ids=str,
)  # fmt: skip
def test_what_is_not_valid_is_refused_before_a_run(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
        sample_points.validate_parameters({**RIGHT, **wrong})
