"""``geolocate-folder``: every photo of a folder against one cube."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from geoloc.errors import PhotoError, UsageError
from geoloc.query import Answers, query_photos
from geoloc.query.answers import TOP

from .artifacts import progress, show_failures
from .parameters import CubeRef, FilePath, FolderPath, Top
from .query_photo import tell
from .running import RETRY_SECONDS, one_line, run_name, worth_another_try

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif"}


@flow(name="geolocate-folder", flow_run_name=run_name("folder", "cube"))
@one_line
def geolocate_folder(
    cube: CubeRef,
    folder: FolderPath,
    out: FolderPath,
    top: Top = TOP,
    within: FilePath | None = None,
) -> str:
    """Rank the places of a cube for each photo in a folder and the folders in it.

    Args:
        cube: area file, path or URL of a cube
        folder: where the photos are; never changed
        out: folder for the answers
        top: how many candidates a photo gets
        within: GeoJSON file with a polygon, to search only there

    Returns the folder of the answers.
    """
    photos = find_photos(Path(folder))
    answers = ask(cube, photos, out, top, within)
    tell(answers, Path(out), "answers", fuse=False)
    show_failures(answers.failures)
    if answers.failures:
        raise PhotoError(f"{len(answers.failures)} of {len(photos)} photos have no answer")
    return out


def find_photos(folder: Path) -> list[str]:
    """Paths of all files that are named like photos, in order. Raises UsageError for none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder on this worker")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UsageError(f"{folder} holds no photos ({', '.join(sorted(SUFFIXES))})")
    return [str(path) for path in found]


@task(
    name="search",
    retries=2,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_another_try,
    cache_policy=NO_CACHE,
    tags=["geoloc"],
)
@one_line
def ask(cube: str, photos: list[str], out: str, top: int, within: str | None) -> Answers:
    """One pass over the cube for all photos; see `geoloc.query.query_photos`."""
    with progress(f"{len(photos)} photos") as advance:
        answers = query_photos(cube, photos, out, top=top, within=within, progress=advance)
    get_run_logger().info("%d answers in %s", len(answers.results), out)
    return answers
