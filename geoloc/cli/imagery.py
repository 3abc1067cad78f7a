"""``geoloc imagery tile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .console import JSON, note, progress
from .cube import AREA, CLUSTER
from .models_of import each_model, titled

if TYPE_CHECKING:
    from ..area import Area
    from ..jobs.report import TileReport

app = typer.Typer(help="Prepare imagery.", no_args_is_help=True)


@app.callback()
def imagery() -> None:
    """Prepare imagery."""


@app.command()
def tile(
    area: Path = AREA,
    out: str | None = typer.Option(
        None, "--out", help="Path or URL of the copy; default: beside the cube."
    ),
    method: str | None = typer.Option(
        None, help="dense or patch, as the cube will be built: it determines the pixel lattice."
    ),
    cluster: str = CLUSTER,
    as_json: bool = JSON,
) -> None:
    """Write an area's imagery once as Zarr, on the encoder's lattice; resumes where it stopped.

    Run again, it renews the tiles whose imagery has changed. It pays off when imagery is encoded
    more than once, comes from a distant server, or must be kept. With "cache: true" in an area's
    imagery, "cube build" and "cube refresh" do it; other areas read the copy as "kind: zarr".
    """
    from ..area import load_area, load_areas
    from ..jobs.cache import tile_imagery

    def tile_one(name: str, spec: Area) -> TileReport:
        with progress(titled(name, f"tiling {spec.name}")) as advance:
            report = tile_imagery(spec, method=method, out=out, cluster=cluster, progress=advance)
        if not as_json:
            note(report.summary())
            if out or not spec.keeps_copy:
                note(f"to build from it: imagery: {{kind: zarr, path: {report.url}}}")
        return report

    # one --out is the copy of one model: each wants a lattice of its own
    parts = {"": load_area(area)} if out else load_areas(area).named_parts
    each_model(parts, tile_one, as_json)
