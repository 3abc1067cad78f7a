"""Parameters of the deployed flow; its runs are in test_flows.py."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("prefect")

from prefect.exceptions import ParameterTypeError

from flows.build_points import build_points
from geoloc.errors import AreaError

AREA = {
    "name": "testville", "crs": "EPSG:32636", "bounds": [0, 0, 1000, 1000], "model": "tiny",
    "cube": "/data/cube.zarr", "imagery": {"kind": "geotiff", "paths": ["/data/a.tif"]},
}  # fmt: skip
RIGHT = {"points": "/data/points.parquet", "area": "/data/area.yaml"}


def test_what_is_needed_are_points_and_an_area() -> None:
    told = build_points.parameters
    assert told.required == ["points", "area"]
    assert build_points.validate_parameters(RIGHT)["n"] is None
    assert build_points.validate_parameters({**RIGHT, "area": AREA})["area"].name == "testville"


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"points": "points.parquet"}, {"area": "area.yaml"}, {"method": "split"},
     {"cluster": "moon"}, {"verify_cells": -1},
     {"area": {**AREA, "imagery": {"kind": "xyz", "url": "https://u:PASSWD@t.example/{z}"}}}],
    ids=str,
)  # fmt: skip
def test_what_is_not_valid_is_refused_before_a_run(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
        build_points.validate_parameters({**RIGHT, **wrong})


def test_a_cube_in_the_folder_of_a_run_is_refused() -> None:
    from geoloc.area import Area

    area = Area.model_validate({**AREA, "cube": "cube.zarr"})
    with pytest.raises(AreaError, match=r"cube cube.zarr: give an absolute path or a URL"):
        build_points.fn("/data/points.parquet", area)
