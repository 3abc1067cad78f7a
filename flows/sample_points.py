"""``sample-points``: points along the roads of a country, for a cube of points."""

from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow, get_run_logger
from pydantic import Field

from geoloc.errors import UsageError
from geoloc.points import Network, Sampled, sample_area, sample_places, sample_roads

from .artifacts import progress, show_figures
from .parameters import FilePath
from .running import run_name, say_why, stage

Count = Annotated[int, Field(ge=1, le=1_000_000_000, description="how many points")]
Seed = Annotated[int, Field(ge=0, lt=1 << 63, description="random seed")]
Along = Literal["roads", "area", "places"]


@flow(name="sample-points", flow_run_name=run_name("sources", "out"), on_failure=[say_why])
def sample_points(
    out: FilePath,
    n: Count,
    sources: list[FilePath] | None = None,
    within: FilePath | None = None,
    network: Network = "all",
    seed: Seed = 0,
    along: Along = "roads",
) -> str:
    """Draw points along roads, in an area, or of places of one's own.

    Args:
        out: absolute path of the points.parquet to write
        n: how many; a larger number begins with the same points
        sources: absolute paths of extracts or networks of roads; of places, one CSV
        within: absolute path of a file with polygons that the points are to lie in
        network: which roads: all, drive, walk or rail
        seed: random seed
        along: roads; area, uniform in the polygon; or places, shuffled rows of a CSV

    Returns the path of the file.
    """
    done = sample(out, n, sources or [], within, network, seed, along)
    figures = {"points": f"{done.points:,}", "sequence": done.sequence}
    if done.metres is not None:
        figures["km of roads"] = f"{done.metres / 1000:,.1f}"
    show_figures(figures, "points", f"Points in {out}")
    return str(done.path)


@stage("sample")
def sample(
    out: str,
    n: int,
    sources: list[str],
    within: str | None,
    network: str,
    seed: int,
    along: Along,
) -> Sampled:
    """See `geoloc.points.sample_roads`, `sample_area` and `sample_places`."""
    if along == "area":
        if within is None:
            raise UsageError("points of an area lie within a polygon: name its file")
        done = sample_area(within, out, n, seed=seed, stages=progress)
    elif along == "places":
        if len(sources) != 1:
            raise UsageError(f"places come from one CSV, found {len(sources)} sources")
        done = sample_places(sources[0], out, n, within=within, seed=seed, stages=progress)
    else:
        done = sample_roads(
            sources, out, n, within=within, network=network, seed=seed, stages=progress
        )
    get_run_logger().info(done.summary())
    return done
