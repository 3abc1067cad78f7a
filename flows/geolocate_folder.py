"""``geolocate-folder``: photos, videos and chats of a folder against one cube, all at once."""

from __future__ import annotations

from prefect import flow, get_run_logger

from geoloc.bulk import BulkReport, run_bulk
from geoloc.query.options import QueryOptions, Use

from .artifacts import progress, show_bulk
from .parameters import CubeRef, FolderPath, with_options
from .running import run_name, say_why, stage


@flow(name="geolocate-folder", flow_run_name=run_name("folder", "cube"), on_failure=[say_why])
@with_options(Use.BULK)
def geolocate_folder(
    cube: CubeRef, folder: FolderPath, out: FolderPath, *, options: QueryOptions
) -> str:
    """Rank the places of a cube for every photo, video frame and chat picture below a folder.

    What an earlier run finished is kept. Files that cannot be read are listed in failures.csv and
    do not fail the run, unless nothing at all could be answered; a good picture whose answer is
    missing does.

    Args:
        cube: area file, path or URL of a cube; for an area file of several models all answer
            together, in tandem
        folder: photos, videos, Telegram exports; never changed
        out: folder for the answers; index.html in it leads to them
        options: of the queries

    Returns the path of index.html.
    """
    report = answer(cube, folder, out, options)
    show_bulk(report)
    report.raise_if_unanswered()
    return str(report.index)


@stage("answer")
def answer(cube: str, folder: str, out: str, options: QueryOptions) -> BulkReport:
    """See `geoloc.bulk.run_bulk`."""
    report = run_bulk(cube, folder, out, options=options, progress=progress)
    get_run_logger().info(
        "%d pictures: %d answered, %d kept, %d failures; %s",
        report.pictures, report.answered, report.kept, len(report.failures), report.index,
    )  # fmt: skip
    for remark in report.notes:
        get_run_logger().info(remark)
    return report
