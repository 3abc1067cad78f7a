"""Areas without bounds: as large as their imagery when their cube is begun, and from then on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoloc.area import Area, load_area
from geoloc.cube import Cube
from geoloc.domain import Grid
from geoloc.errors import AreaError, ImageryError, SpecMismatchError
from geoloc.jobs.build import build_cube
from geoloc.jobs.cache import tile_imagery
from geoloc.jobs.estimate import plan_cube
from geoloc.jobs.extent import placed
from geoloc.jobs.plan import plan_build
from geoloc.jobs.refresh import refresh_cube
from geoloc.jobs.verify import verify_cube
from geoloc.models import load_model
from geoloc.query import open_target

from .encoder_models import imagery, tiny_model
from .test_imagery_stac import item

LEFT, TOP = 300_003.0, 5_600_007.0  # no whole steps
WHOLE = (300_050.0, 5_599_650.0, 300_500.0, 5_600_000.0)


def tif(path: Path, left: float, width: int = 500) -> Path:
    """400 m high, 1 m pixels."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "crs": "EPSG:32636"}
    transform = Affine(1, 0, left, 0, -1, TOP)
    with rasterio.open(path, "w", height=400, width=width, transform=transform, **profile) as file:
        file.write(imagery(400, width))
    return path


def write_area(folder: Path, kind: Any = None, **changes: Any) -> Area:
    values = {
        "name": "testville",
        "crs": "EPSG:32636",
        "step": 50,
        "imagery": kind or {"kind": "geotiff", "paths": ["*.tif"]},
        "model": "./model",
        "cube": "cube.zarr",
        **changes,
    }
    (folder / "area.yaml").write_text(json.dumps(values))  # JSON is YAML
    return load_area(folder / "area.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model(tmp_path / "model")
    tif(tmp_path / "a.tif", LEFT)
    return tmp_path


def test_the_cells_are_those_inside_of_the_imagery(folder: Path) -> None:
    area = write_area(folder)
    assert placed(area).bounds == WHOLE
    grid = plan_build(area).domain
    assert isinstance(grid, Grid)
    assert (grid.ny, grid.nx, grid.bounds) == (7, 9, WHOLE)
    tif(folder / "b.tif", LEFT + 700, 95)
    assert placed(area).bounds == (*WHOLE[:2], 300_750.0, WHOLE[3])
    own = write_area(folder, bounds=[300_100, 5_599_700, 300_200, 5_599_800])
    assert placed(own) is own


def test_a_static_catalog(folder: Path) -> None:
    from geoloc.domain import Grid

    for sub, left in (("s1", LEFT), ("s2", LEFT + 700)):
        (folder / sub).mkdir()
        tif(folder / sub / "x.tif", left)
        one = item("ortho", "x.tif", Grid("EPSG:32636", left, TOP, 1.0, 400, 500), collection=None)
        (folder / sub / "i.json").write_text(json.dumps(one))
    links = [{"rel": "item", "href": f"./{sub}/i.json"} for sub in ("s1", "s2")]
    root = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d"}
    (folder / "catalog.json").write_text(json.dumps({**root, "links": links}))
    area = write_area(folder, {"kind": "stac", "url": "catalog.json"})
    assert placed(area).bounds == (*WHOLE[:2], 301_200.0, WHOLE[3])


def test_web_tiles_with_bounds(folder: Path) -> None:
    box = [30.2, 50.5, 30.25, 50.52]
    url = "https://h.invalid/{z}/{x}/{y}.png"
    area = write_area(folder, {"kind": "xyz", "url": url, "bounds": box})
    bounds = placed(area).bounds
    assert bounds is not None
    assert 3300 < bounds[2] - bounds[0] < 3700 and 2200 < bounds[3] - bounds[1] < 2500
    with pytest.raises(AreaError, match="give bounds or geometry: web tiles"):
        write_area(folder, {"kind": "xyz", "url": url})


def test_the_cube_says_where_the_area_lies_once_it_is_begun(folder: Path) -> None:
    area = write_area(folder)
    first = build_cube(area, method="patch", cluster="inline")
    assert (first.cells_encoded > 0, first.notes) == (True, [])
    assert Cube.open(area.cube).grid.bounds == WHOLE
    again = build_cube(area, cluster="inline")
    assert (again.blocks_done, again.notes) == (0, [])
    tif(folder / "b.tif", LEFT + 400)  # the imagery grows
    assert placed(area).bounds == WHOLE
    for report in (build_cube(area, cluster="inline"), refresh_cube(area, cluster="inline")):
        assert report.blocks_failed == report.blocks_broken == 0
        (note,) = [note for note in report.notes if "beyond the cube's bounds" in note]
        assert "[300050, 5599650, 300900, 5600000]" in note and "300500" in note
    cube = open_target(folder / "area.yaml").cube
    assert cube.grid.bounds == WHOLE
    checked = verify_cube(cube, area, load_model(area.model), cells=4)
    assert checked.method == "patch"
    with pytest.raises(SpecMismatchError, match="step: 50"):
        build_cube(write_area(folder, step=20), cluster="inline")


def test_a_tiled_copy_is_of_the_same_extent(folder: Path) -> None:
    area = write_area(folder, {"kind": "geotiff", "paths": ["*.tif"], "keep": True})
    report = build_cube(area, method="patch", cluster="inline")
    assert report.tiling is not None and report.tiling.tiles_done > 0
    tif(folder / "b.tif", LEFT + 400)
    assert build_cube(area, cluster="inline").blocks_reused == 1
    assert Cube.open(area.cube).grid.bounds == WHOLE


def test_imagery_tiled_alone(folder: Path) -> None:
    report = tile_imagery(write_area(folder), method="patch", cluster="inline")
    copy = write_area(folder, {"kind": "zarr", "path": report.url})
    bounds = np.array(placed(copy).bounds)
    assert np.abs(bounds - WHOLE).max() <= 150  # its lattice, with the margin that cells look at


def test_a_plan_tells_the_size(folder: Path) -> None:
    found = plan_cube(write_area(folder), method="patch", cluster="inline", steps=[50])
    extent = found.summary().splitlines()[0]
    assert extent == (
        "testville: 0.45 x 0.35 km [300050, 5599650, 300500, 5600000] in EPSG:32636, "
        "as far as its imagery reaches"
    )
    assert (found.placed_by, found.to_json()["bounds"]) == ("imagery", WHOLE)


def test_what_has_no_extent_is_refused(folder: Path) -> None:
    with pytest.raises(AreaError, match="no cell of 1000 m: lower the step"):
        placed(write_area(folder, step=1000))
    with pytest.raises(AreaError, match=r"a metre of crs EPSG:3857 is 0\.6.*EPSG:32636"):
        placed(write_area(folder, crs="EPSG:3857"))
    (folder / "c.tif").write_text("broken")
    with pytest.raises(ImageryError, match=r"is unknown, as 1 of its files .*c\.tif.*bounds"):
        placed(write_area(folder))
    with pytest.raises(ImageryError, match="no file matches"):
        placed(write_area(folder, {"kind": "geotiff", "paths": ["*.jp2"]}))
