"""``refresh-cubes``: feature cubes brought up to their areas' imagery, on a schedule or at once."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.states import Completed
from prefect.variables import Variable
from pydantic import TypeAdapter, ValidationError

from geoloc.area import Area, load_area
from geoloc.blocks import BuildReport
from geoloc.build import Verification, build_cube, verify_cube
from geoloc.cube import Cube
from geoloc.encoders import load_model
from geoloc.errors import AreaError, CubeError, GeolocError

from .artifacts import progress, show_build, show_failures, show_verification
from .parameters import Areas, Cells, Cluster, FilePath, Method
from .running import RETRY_SECONDS, brief, one_line, only_run_on, run_name, worth_another_try

AREAS_VARIABLE = "geoloc_areas"
"""The Prefect variable that says what a scheduled refresh refreshes: a list of area files."""


@flow(name="refresh-cubes", flow_run_name=run_name("areas"))
@one_line
def refresh_cubes(
    areas: Areas | None = None,
    method: Method = None,
    cluster: Cluster = "auto",
    verify_cells: Cells = 50,
) -> list[str] | State[None]:
    """Build what is missing of each area's cube, and recompute a sample of what was built.

    An interrupted run is continued by the next one. An area that fails does not stop the others;
    the run fails at the end.

    Args:
        areas: absolute paths of area files, or areas; empty: the Prefect variable geoloc_areas
        method: dense or patch; empty: the fastest that the model supports
        cluster: auto, inline, local, cuda, or the address of a Dask scheduler
        verify_cells: cells to recompute patch by patch after a build; 0 for none

    Returns the addresses of the cubes.
    """
    wanted = scheduled_areas() if areas is None else areas
    if not wanted:
        return Completed(name="Skipped", message=f"Prefect variable {AREAS_VARIABLE} is empty")
    urls, failures = [], dict[str, str]()
    for given in wanted:
        try:
            urls.append(refresh(given, method, cluster, verify_cells))
        except GeolocError as error:
            failures[brief(given)] = str(error)
    show_failures(failures)
    if failures:
        name, reason = next(iter(failures.items()))
        raise CubeError(f"{len(failures)} of {len(wanted)} areas failed; {name}: {reason}")
    return urls


def scheduled_areas() -> list[FilePath | Area]:
    """The areas that the Prefect variable names. Raises AreaError where it holds no areas."""
    value: object = Variable.get(AREAS_VARIABLE, default=[])
    try:
        return TypeAdapter[list[FilePath | Area]](list[FilePath | Area]).validate_python(value)
    except ValidationError:
        raise AreaError(
            f"Prefect variable {AREAS_VARIABLE}: write a list of absolute paths of area files"
        ) from None


def refresh(given: FilePath | Area, method: str | None, cluster: str, verify_cells: int) -> str:
    """One area's cube: built, then verified where anything was built; its address."""
    area = given if isinstance(given, Area) else load_area(Path(given))
    if not area.cube.startswith("/") and "://" not in area.cube:
        raise AreaError(f"cube {area.cube}: give an absolute path or a URL, since runs move about")
    with only_run_on(area.cube):
        report = build(area, method, cluster)
        if verify_cells and report.blocks_done:
            show_verification(area.name, verify(area, verify_cells))
    return area.cube


@task(
    name="build",
    task_run_name="build {area.name}",
    retries=2,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
    cache_policy=NO_CACHE,
    tags=["geoloc", "encode"],
)
@one_line
def build(area: Area, method: str | None, cluster: str) -> BuildReport:
    """See `geoloc.build.build_cube`: only what is missing is computed."""
    with progress(f"Blocks of {area.name}") as advance:
        report = build_cube(area, method=method, cluster=cluster, progress=advance)
    get_run_logger().info(report.summary())
    show_build(area.name, report)
    report.raise_if_incomplete()
    return report


@task(
    name="verify",
    task_run_name="verify {area.name}",
    cache_policy=NO_CACHE,
    tags=["geoloc", "encode"],
)
@one_line
def verify(area: Area, cells: int) -> Verification:
    """See `geoloc.build.verify_cube`."""
    found = verify_cube(Cube.open(area.cube), area, load_model(area.model), cells=max(cells, 2))
    get_run_logger().info(found.summary())
    return found
