"""``zoom``: from places of answers down to the cells around them."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from geoloc.bulk.zoom import Zoomed, zoom_answers
from geoloc.query import ZoomOptions

from .artifacts import progress, show_answers, show_failures
from .parameters import Cluster, CubeRef, FolderPath
from .running import run_name, say_why, stage

Rank = Annotated[int, Field(ge=1, le=1_000_000, description="of the candidate, or good region")]
Kilometres = Annotated[float, Field(gt=0, le=100, description="width of the neighbourhood, km")]
Metres = Annotated[float, Field(gt=0, le=10_000, description="between cells, m; empty: 10")]


@flow(name="zoom", flow_run_name=run_name("answer"), on_failure=[say_why])
def zoom(
    answer: FolderPath,
    rank: Rank = 1,
    km: Kilometres = 6.0,
    region: bool = False,
    photo: str | None = None,
    step: Metres | None = None,
    out: FolderPath | None = None,
    cube: CubeRef | None = None,
    cache: FolderPath | None = None,
    media: FolderPath | None = None,
    sensitive: bool | None = None,
    fetch_imagery: bool = False,
    cluster: Cluster = "auto",
) -> list[str]:
    """Build the cube around a place of an answer, and ask the same photo there.

    The neighbourhood is built once and kept. Of a folder of answers, as of geolocate-folder, each
    answer is asked again around its own place of that rank.

    Args:
        answer: absolute path of an answer's folder, or of a folder of answers
        rank: of the candidate that is the middle
        km: width of the neighbourhood, km
        region: the rank is of a good region
        photo: of a folder of answers, this photo's alone
        step: m between cells; empty: 10, or what the model serves
        out: folder for the answers; empty: zoom, beside them
        cube: the area file of the answer's cube, or where that cube is now; empty: as recorded
        cache: where neighbourhoods are kept; empty: zoom, beside the cube
        media: where the original photos are now, if they were moved
        sensitive: pages hide the photos; empty: as the area file or the bulk run says
        fetch_imagery: open the imagery that the cube itself names, wherever it lies
        cluster: where the neighbourhood is built

    Returns the folders of the new answers.
    """
    options = ZoomOptions(
        km=km, region=region, step=step, cube=cube, cache=cache, media=media, out=out,
        sensitive=sensitive, fetch_imagery=fetch_imagery, cluster=cluster,
    )  # fmt: skip
    done = ask_again(answer, rank, options, photo)
    show_answers(done.results, "neighbourhoods")
    show_failures({name: str(error) for name, error in done.failures.items()})
    done.raise_if_failed()
    return [str(result.folder) for result in done.results]


@stage("zoom")
def ask_again(answer: str, rank: int, options: ZoomOptions, photo: str | None) -> Zoomed:
    """See `geoloc.bulk.zoom.zoom_answers`."""
    done = zoom_answers(answer, rank, options, photo, progress)
    get_run_logger().info("%d answers in %s", len(done.results), done.out)
    return done
