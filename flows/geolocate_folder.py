"""``geolocate-folder``: photos, videos and chats of a folder against one cube, all at once."""

from __future__ import annotations

from prefect import flow, get_run_logger

from geoloc.bulk import BulkReport, run_bulk
from geoloc.query.run import TOP

from .artifacts import progress, show_bulk
from .parameters import CubeRef, FetchImagery, FilePath, FolderPath, Top
from .running import run_name, say_why, stage


@flow(name="geolocate-folder", flow_run_name=run_name("folder", "cube"), on_failure=[say_why])
def geolocate_folder(
    cube: CubeRef,
    folder: FolderPath,
    out: FolderPath,
    top: Top = TOP,
    within: FilePath | None = None,
    fetch_imagery: FetchImagery = False,
    sensitive: bool | None = None,
) -> str:
    """Rank the places of a cube for every photo, video frame and chat picture below a folder.

    What an earlier run finished is kept. Files that cannot be read are listed in failures.csv and
    do not fail the run, unless nothing at all could be answered; a good picture whose answer is
    missing does.

    Args:
        cube: area file, path or URL of a cube
        folder: photos, videos, Telegram exports; never changed
        out: folder for the answers; index.html in it leads to them
        top: how many candidates a picture gets
        within: GeoJSON file with a polygon, to search only there
        fetch_imagery: open what a cube itself names as its imagery, wherever it lies; not needed
            where an area file is named
        sensitive: pages hide pictures until their reader chooses to see them: they do, unless
            this or the area file says otherwise

    Returns the path of index.html.
    """
    report = answer(cube, folder, out, top, within, fetch_imagery, sensitive)
    show_bulk(report)
    report.raise_if_unanswered()
    return str(report.index)


@stage("answer")
def answer(
    cube: str,
    folder: str,
    out: str,
    top: int,
    within: str | None,
    fetch_imagery: bool = False,
    sensitive: bool | None = None,
) -> BulkReport:
    """See `geoloc.bulk.run_bulk`."""
    report = run_bulk(
        cube,
        folder,
        out,
        top=top,
        within=within,
        fetch_imagery=fetch_imagery,
        sensitive=sensitive,
        progress=progress,
    )
    get_run_logger().info(
        "%d pictures: %d answered, %d kept, %d failures; %s",
        report.pictures, report.answered, report.kept, len(report.failures), report.index,
    )  # fmt: skip
    for remark in report.notes:
        get_run_logger().info(remark)
    return report
