"""``query-photo``: where photos may have been taken, by one cube or several."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from geoloc.errors import PhotoError
from geoloc.names import safe_name, unique_names
from geoloc.query import QueryResults, query_photos
from geoloc.query.options import QueryOptions, Use

from .artifacts import progress, show_answers, show_failures
from .fetching import Fetched, fetch_photos
from .parameters import CubeRef, Cubes, FolderPath, Photos, with_options
from .running import brief, run_name, say_why, stage


@flow(name="query-photo", flow_run_name=run_name("photos", "cube"), on_failure=[say_why])
@with_options(Use.QUERY)
def query_photo(
    cube: Cubes, photos: Photos, out: FolderPath, *, options: QueryOptions
) -> list[str]:
    """Rank the places of a cube for each photo and write reports.

    Args:
        cube: area file, path or URL of a cube; several cubes are asked one after the other; of an
            area file of several models all answer together, in tandem
        photos: absolute paths or http(s) addresses
        out: folder for the answers, one folder a photo; of several cubes, one folder a cube
        options: of the query

    Returns the folders of the answers.
    """
    cubes = [cube] if isinstance(cube, str) else cube
    fetched = fetch_photos(photos, Path(out) / "fetched")
    failures = dict(fetched.failures)
    folders: list[str] = []
    for ref, name in zip(cubes, unique_names(map(brief, cubes)), strict=True):
        folder = Path(out) if len(cubes) == 1 else Path(out) / name
        answers = ask(ref, fetched, str(folder), options)
        failures.update(answers.failures)
        folders += tell(answers, f"answers-{name}" if len(cubes) > 1 else "answers")
    show_failures(failures)
    if failures:
        reason = next(iter(failures.values()))
        raise PhotoError(f"{len(failures)} of {len(photos)} photos have no answer: {reason}")
    return folders


@stage("search")
def ask(cube: CubeRef, photos: Fetched, out: str, options: QueryOptions) -> QueryResults:
    """One pass over one cube for all photos; see `geoloc.query.query_photos`."""
    answers = query_photos(
        cube, photos.paths, out, options=options, origins=photos.origins, progress=progress
    )
    get_run_logger().info("%d answers in %s", len(answers.results), out)
    return answers


def tell(answers: QueryResults, key: str) -> list[str]:
    """Artifacts of the answers; their folders."""
    show_answers(answers.results, artifact_key(key))
    return [str(result.folder) for result in answers.results]


def artifact_key(name: str) -> str:
    """A name that Prefect takes: lowercase letters, digits and dashes."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in safe_name(name).lower())
