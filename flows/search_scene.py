"""``search-scene``: where a cube looks most like a scene class, without a photo."""

from __future__ import annotations

from prefect import flow, get_run_logger

from geoloc.query import query_scene
from geoloc.query.run import TOP
from geoloc.report import QueryResult

from .artifacts import progress, show_answers
from .parameters import CubeRef, FetchImagery, FilePath, FolderPath, SceneName, Top
from .running import run_name, say_why, stage


@flow(name="search-scene", flow_run_name=run_name("scene", "cube"), on_failure=[say_why])
def search_scene(
    cube: CubeRef,
    scene: SceneName,
    out: FolderPath,
    top: Top = TOP,
    within: FilePath | None = None,
    fetch_imagery: FetchImagery = False,
) -> str:
    """Rank the places of a cube by how much of one scene class they are.

    Args:
        cube: area file, path or URL of a cube
        scene: name of a scene class, as "soccer stadium"
        out: folder for the answer, which gets a folder of the class's name in it, with a number
            where that is taken
        top: how many candidates
        within: GeoJSON file with a polygon, to search only there
        fetch_imagery: open what a cube itself names as its imagery, wherever it lies; not needed
            where an area file is named

    Returns the folder of the answer.
    """
    result = search(cube, scene, out, top, within, fetch_imagery)
    show_answers([result], "scene")
    return str(result.folder)


@stage("search")
def search(
    cube: str, scene: str, out: str, top: int, within: str | None, fetch_imagery: bool = False
) -> QueryResult:
    """See `geoloc.query.query_scene`."""
    result = query_scene(
        cube,
        scene,
        out,
        top=top,
        within=within,
        fetch_imagery=fetch_imagery,
        progress=progress,
    )
    get_run_logger().info("%d candidates for %s", len(result.candidates), result.title)
    return result
