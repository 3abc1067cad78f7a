"""When a refresh that is incomplete is worth another try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.refresh_cubes import bring_up_parts, require_complete
from geoloc.area import Area
from geoloc.errors import CubeError, ImageryError, UnavailableError
from geoloc.jobs.cache import TileReport
from geoloc.jobs.report import BuildReport

TILES = "https://tiles.example/{z}/{x}/{y}.png"
FAR = [
    {"imagery": {"kind": "xyz", "url": TILES}},
    {"imagery": {"kind": "stac", "url": "https://stac.example/v1"}},
    {"imagery": {"kind": "geotiff", "paths": ["/vsis3/bucket/a.tif"]}},
    {"cube": "s3://bucket/cube.zarr"},
]


def area_of(**other: Any) -> Area:
    values = {
        "name": "testville", "crs": "EPSG:32636", "bounds": [0, 0, 1000, 1000], "model": "tiny",
        "cube": "file:///data/cube.zarr", "imagery": {"kind": "geotiff", "paths": ["/data/a.tif"]},
    }  # fmt: skip
    return Area.model_validate({**values, **other})


def incomplete() -> BuildReport:
    report = BuildReport("/data/cube.zarr", "g0001", blocks_done=3)
    report.fail("a.tif: broken")
    return report


def test_a_broken_file_stays_broken() -> None:
    with pytest.raises(CubeError, match=r"1 of 4 blocks are incomplete \(a.tif: broken") as raised:
        require_complete(incomplete(), area_of())
    assert not isinstance(raised.value, UnavailableError)


@pytest.mark.parametrize("far", FAR, ids=str)
def test_a_network_may_be_back_in_a_minute(far: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError, match=r"1 of 4 blocks are incomplete \(a.tif: broken"):
        require_complete(incomplete(), area_of(**far))


def test_the_same_holds_for_a_tiled_copy(tmp_path: Path) -> None:
    report = BuildReport("/data/cube.zarr", "g0001", blocks_done=3)
    report.tiling = TileReport(str(tmp_path), 9, 1.0, tiles_failed=1)
    with pytest.raises(ImageryError):
        require_complete(report, area_of())
    with pytest.raises(UnavailableError):
        require_complete(report, area_of(**FAR[0]))


def test_what_is_complete_passes() -> None:
    require_complete(BuildReport("/data/cube.zarr", "g0001", blocks_done=3), area_of(**FAR[0]))


def test_the_cube_of_each_model_is_brought_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of the others."""

    def bring_up(area: Area, *_: Any) -> None:
        if area.model == "b":
            raise CubeError("no pixels")

    monkeypatch.setattr("flows.refresh_cubes.bring_up", bring_up)
    area = area_of(model="", models=["a", "b", "c"])
    urls, failures = bring_up_parts(area, None, "inline", 0, 1)
    assert urls == [f"file:///data/cube-{name}.zarr" for name in "ac"]
    assert failures == {"testville b": "no pixels"}
