"""``search-scene``: where a cube looks most like a scene class, without a photo."""

from __future__ import annotations

from prefect import flow, get_run_logger

from geoloc import query
from geoloc.query.options import QueryOptions, Use
from geoloc.report import QueryResult

from .artifacts import progress, show_answers
from .parameters import CubeRef, FolderPath, SceneName, with_options
from .running import run_name, say_why, stage


@flow(name="search-scene", flow_run_name=run_name("scene", "cube"), on_failure=[say_why])
@with_options(Use.SCENE)
def search_scene(cube: CubeRef, scene: SceneName, out: FolderPath, *, options: QueryOptions) -> str:
    """Rank the places of a cube by how much of one scene class they are.

    Args:
        cube: area file, path or URL of a cube
        scene: name of a scene class, as "soccer stadium"
        out: folder for the answer, which gets a folder of the class's name in it, with a number
            where that is taken
        options: of the search

    Returns the folder of the answer.
    """
    result = search(cube, scene, out, options)
    show_answers([result], "scene")
    return str(result.folder)


@stage("search")
def search(cube: str, scene: str, out: str, options: QueryOptions) -> QueryResult:
    """See `geoloc.query.search_scene`."""
    result = query.search_scene(cube, scene, out, options=options, progress=progress)
    get_run_logger().info("%d candidates for %s", len(result.candidates), result.title)
    return result
