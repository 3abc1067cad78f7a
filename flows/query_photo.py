"""``query-photo``: where photos may have been taken, by one cube or several."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from geoloc.errors import PhotoError
from geoloc.names import safe_name, unique_names
from geoloc.query import QueryResults, query_photos
from geoloc.query.run import TOP

from .artifacts import progress, show_answers, show_failures
from .fetching import Fetched, fetch_photos
from .parameters import Cluster, CubeRef, Cubes, FetchImagery, FilePath, FolderPath, Photos, Top
from .running import brief, run_name, say_why, stage


@flow(name="query-photo", flow_run_name=run_name("photos", "cube"), on_failure=[say_why])
def query_photo(
    cube: Cubes,
    photos: Photos,
    out: FolderPath,
    top: Top = TOP,
    within: FilePath | None = None,
    fuse: bool = False,
    cluster: Cluster = "inline",
    fetch_imagery: FetchImagery = False,
    sensitive: bool | None = None,
) -> list[str]:
    """Rank the places of a cube for each photo and write reports.

    Args:
        cube: area file, path or URL of a cube; several cubes are asked one after the other
        photos: absolute paths or http(s) addresses
        out: folder for the answers, one folder a photo; of several cubes, one folder a cube
        top: how many candidates a photo gets
        within: GeoJSON file with a polygon, to search only there
        fuse: all photos show one place and make one answer
        cluster: where a cube is searched: inline, or the address of a Dask scheduler; also auto
            (inline), local, cuda
        fetch_imagery: open what a cube itself names as its imagery, wherever it lies; not needed
            where an area file is named
        sensitive: reports hide the photos until their reader chooses to see them; by default as
            the area file says

    Returns the folders of the answers.
    """
    cubes = [cube] if isinstance(cube, str) else cube
    fetched = fetch_photos(photos, Path(out) / "fetched")
    failures = dict(fetched.failures)
    folders: list[str] = []
    for ref, name in zip(cubes, unique_names(map(brief, cubes)), strict=True):
        folder = Path(out) if len(cubes) == 1 else Path(out) / name
        answers = ask(
            ref,
            fetched,
            str(folder),
            top=top,
            within=within,
            fuse=fuse,
            cluster=cluster,
            fetch_imagery=fetch_imagery,
            sensitive=sensitive,
        )
        failures.update(answers.failures)
        folders += tell(answers, f"answers-{name}" if len(cubes) > 1 else "answers")
    show_failures(failures)
    if failures:
        reason = next(iter(failures.values()))
        raise PhotoError(f"{len(failures)} of {len(photos)} photos have no answer: {reason}")
    return folders


@stage("search")
def ask(
    cube: CubeRef,
    photos: Fetched,
    out: str,
    *,
    top: int = TOP,
    within: str | None = None,
    fuse: bool = False,
    cluster: str = "inline",
    fetch_imagery: bool = False,
    sensitive: bool | None = None,
) -> QueryResults:
    """One pass over one cube for all photos; see `geoloc.query.query_photos`."""
    answers = query_photos(
        cube,
        photos.paths,
        out,
        origins=photos.origins,
        top=top,
        within=within,
        fuse=fuse,
        cluster=cluster,
        fetch_imagery=fetch_imagery,
        sensitive=sensitive,
        progress=progress,
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
