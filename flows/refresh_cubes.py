"""``refresh-cubes``: feature cubes brought up to their areas' imagery, on a schedule or at once."""

from __future__ import annotations

import json
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.schemas import State
from prefect.states import Completed
from prefect.variables import Variable
from pydantic import TypeAdapter, ValidationError

from geoloc.area import Area, load_areas
from geoloc.cube import Cube
from geoloc.errors import AreaError, CubeError, GeolocError, ImageryError, UnavailableError
from geoloc.jobs.refresh import GRACE, prune_cube
from geoloc.jobs.report import BuildReport
from geoloc.jobs.update import UpdateReport, update_cube
from geoloc.jobs.verify import Verification, verify_cube
from geoloc.models import load_model

from .artifacts import progress, show_build, show_failures, show_verification
from .parameters import Areas, Cells, Cluster, FilePath, Generations, InlineArea, Method
from .running import brief, limit_cube, only_run_on, run_name, say_why, stage

AREAS_VARIABLE = "geoloc_areas"
"""The Prefect variable that says what a scheduled refresh refreshes: a list of area files."""


@flow(name="refresh-cubes", flow_run_name=run_name("areas"), on_failure=[say_why])
def refresh_cubes(
    areas: Areas | None = None,
    method: Method = None,
    cluster: Cluster = "auto",
    verify_cells: Cells = 50,
    keep: Generations = 2,
) -> list[str] | State[None]:
    """Build each area's cube or recompute what changed in its imagery, and check a sample of it.

    An area of several models has a cube of each. An interrupted run is continued by the next one.
    An area that fails does not stop the others; the run fails at the end.

    Args:
        areas: absolute paths of area files, or areas; empty: the Prefect variable geoloc_areas
        method: dense or patch; empty: the fastest that the model supports
        cluster: auto, inline, local, cuda, or the address of a Dask scheduler
        verify_cells: cells to recompute patch by patch where anything was built; 0 for none
        keep: generations that stay, the newest; older ones are deleted, once nobody has opened
            them, and none of them was the current one, for an hour

    Returns the addresses of the cubes.
    """
    wanted = scheduled_areas() if areas is None else areas
    if not wanted:
        return Completed(name="Skipped", message=f"Prefect variable {AREAS_VARIABLE} is empty")
    urls, failures, failed = list[str](), dict[str, str](), 0
    for given in wanted:
        done, lacking = bring_up_parts(given, method, cluster, verify_cells, keep)
        urls, failures, failed = urls + done, failures | lacking, failed + bool(lacking)
    show_failures(failures)
    if failures:
        name, reason = next(iter(failures.items()))
        raise CubeError(f"{failed} of {len(wanted)} areas failed; {name}: {reason}")
    return urls


def scheduled_areas() -> list[FilePath | Area]:
    """The areas that the Prefect variable names. Raises AreaError where it holds no areas."""
    value: object = Variable.get(AREAS_VARIABLE, default=[])
    try:
        return TypeAdapter[list[FilePath | Area]](list[FilePath | InlineArea]).validate_python(
            value
        )
    except ValidationError:
        raise AreaError(
            f"Prefect variable {AREAS_VARIABLE}: write a list of absolute paths of area files, "
            "or areas that show no password, key or signature"
        ) from None


def read_area(given: FilePath | Area) -> Area:
    """An area, whether it was given as a file or as such."""
    return given if isinstance(given, Area) else load_areas(Path(given))


def require_absolute(area: Area) -> None:
    """Raise AreaError for a cube that would lie in the folder of a run."""
    if not area.cube.startswith("/") and "://" not in area.cube:
        raise AreaError(f"cube {area.cube}: give an absolute path or a URL, since runs move about")


def limit_known_cubes() -> dict[str, str]:
    """Make the limits of the cubes of all scheduled areas; of areas that have none yet, why.

    Such an area's first refresh makes its limit.
    """
    missing = dict[str, str]()
    for given in scheduled_areas():
        try:
            for part in read_area(given).parts:
                limit_cube(part.cube)
        except GeolocError as error:
            missing[brief(given)] = str(error)
    return missing


def bring_up_parts(
    given: FilePath | Area, method: str | None, cluster: str, cells: int, keep: int
) -> tuple[list[str], dict[str, str]]:
    """`bring_up` of an area for each of its models: addresses of cubes, and failures by name."""
    urls, failures = list[str](), dict[str, str]()
    try:
        parts = read_area(given).named_parts
    except GeolocError as error:
        return urls, {brief(given): str(error)}
    for name, part in parts.items():
        try:
            bring_up(part, method, cluster, cells, keep)
            urls.append(part.cube)
        except GeolocError as error:
            failures[" ".join(filter(None, (brief(given), name)))] = str(error)
    return urls, failures


def bring_up(area: Area, method: str | None, cluster: str, cells: int, keep: int) -> None:
    """One area's cube: built or refreshed, verified where anything is new, and pruned."""
    require_absolute(area)
    with only_run_on(area.cube):
        report = update(area, method, cluster)
        if cells and report.blocks_done:
            show_verification(area.name, verify(area, cells))
        if removed := prune_cube(area.cube, keep, grace=GRACE):
            get_run_logger().info("deleted old generations %s", ", ".join(removed))


@stage("update", run_name="update {area.name}")
def update(area: Area, method: str | None, cluster: str) -> UpdateReport:
    """See `geoloc.jobs.update.update_cube`."""
    report = update_cube(
        area,
        method=method,
        cluster=cluster,
        tiling=progress(f"copy of {area.name}: tiles", "tiling") if area.keeps_copy else None,
        progress=lambda step: progress(f"{step} {area.name}: blocks"),
    )
    get_run_logger().info(report.summary())
    for step in report.steps.values():
        show_build(area.name, step)
    require_complete(report, area)
    return report


def require_complete(report: BuildReport | UpdateReport, area: Area) -> None:
    """See `BuildReport.raise_if_incomplete`; UnavailableError where a network may be to blame."""
    try:
        report.raise_if_incomplete()
    except (CubeError, ImageryError) as error:
        if not on_network(area):
            raise
        raise UnavailableError(str(error)) from None


def on_network(area: Area) -> bool:
    """Whether the imagery or the cube of an area is elsewhere than on this machine's disks."""
    places = json.dumps([area.cube, area.imagery.recorded()]).replace("file://", "")
    return area.imagery.kind == "xyz" or "://" in places or '"/vsi' in places


@stage("verify", run_name="verify {area.name}")
def verify(area: Area, cells: int) -> Verification:
    """See `geoloc.jobs.verify.verify_cube`."""
    found = verify_cube(Cube.open(area.cube), area, load_model(area.model), cells=max(cells, 2))
    get_run_logger().info(found.summary())
    return found
