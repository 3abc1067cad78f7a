"""``build-points``: a cube of points along roads, begun, continued or grown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from geoloc.area import Area
from geoloc.jobs.build import build_cube
from geoloc.jobs.report import BuildReport

from .artifacts import progress, show_build, show_verification
from .parameters import Cells, Cluster, FilePath, InlineArea, Method
from .refresh_cubes import read_area, require_absolute, require_complete, verify
from .running import only_run_on, run_name, say_why, stage

First = Annotated[int, Field(ge=1, description="build the first so many points; empty: all")]


@flow(name="build-points", flow_run_name=run_name("points", "area"), on_failure=[say_why])
def build_points(
    points: FilePath,
    area: FilePath | InlineArea,
    n: First | None = None,
    method: Method = None,
    cluster: Cluster = "auto",
    verify_cells: Cells = 50,
) -> str:
    """Encode the imagery around each point into a feature cube, and check a sample of it.

    An interrupted run is continued by the next one. More points of the same sequence are appended
    to a cube that is there: what it holds stays.

    Args:
        points: absolute path of the points.parquet of sample-points
        area: absolute path of an area file, or an area: its imagery, model and cube count
        n: build the first so many points only; empty: all
        method: dense or patch; empty: patch
        cluster: auto, inline, local, cuda, or the address of a Dask scheduler
        verify_cells: points to recompute where anything was built; 0 for none

    Returns the address of the cube.
    """
    place = read_area(area).with_points(Path(points))
    require_absolute(place)
    with only_run_on(place.cube):
        report = build(place, n, method, cluster)
        if verify_cells and report.blocks_done:
            show_verification(place.name, verify(place, verify_cells))
    return place.cube


@stage("build", run_name="build {area.name}")
def build(area: Area, n: int | None, method: str | None, cluster: str) -> BuildReport:
    """See `geoloc.jobs.build.build_cube`."""
    report = build_cube(
        area,
        n=n,
        method=method,
        cluster=cluster,
        tiling=progress(f"copy of {area.name}: tiles", "tiling") if area.keeps_copy else None,
        progress=progress(f"building {area.name}: blocks"),
    )
    get_run_logger().info(report.summary())
    show_build(area.name, report)
    require_complete(report, area)
    return report
