"""A country on disk, as written by ``geoloc sandbox --country``: no pixel of it."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from ...errors import OutputError
from ...files.whole import write_whole
from ...progress import Stages, silent
from ..catalog import write_roads
from ..write import already_there, mark_done
from .maps import write_maps
from .network import network
from .photos import write_country_photos
from .plan import Plan
from .source import VERSION, check_country
from .world import Country, country_of

MAP_FILES = {
    "border": "border.geojson",
    "provinces": "provinces.geojson",
    "places": "places.csv",
    "water": "water.geojson",
    "forest": "forest.geojson",
}


def write_country(
    folder: Path | str,
    *,
    seed: int = 0,
    km: float = 200.0,
    photos: int = 40,
    views: int = 1,
    stages: Stages | None = None,
) -> dict[str, object]:
    """Write a country's roads, map layers, photos with truth, and area file.

    ``views``: so many photos in turn show one place, looking around. The same arguments give the
    same country; an existing one is left unchanged. Returns the
    parameters and the area file's path. Raises UsageError for a size that cannot be made,
    OutputError if ``folder`` cannot be written or contains something else.
    """
    check_country(seed, km)
    folder, stage = Path(folder), stages or silent
    asked = {"country": True, "seed": seed, "km": float(km), "photos": photos}
    asked |= {} if views == 1 else {"views": views}  # as countries without were marked before
    if not already_there(folder, asked):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            country = country_of(seed, float(km))
            _write_ground(country, folder, stage)
        except OSError as error:
            raise OutputError(f"cannot write the country to {folder}: {error}") from error
        tell = stage("rendering photos")
        write_country_photos(country, folder / "photos", photos, tell, views)
        mark_done(folder, asked)
    return {**asked, "area": str(folder / "area.yaml")}


def _write_ground(country: Country, folder: Path, stage: Stages) -> None:
    plan = country.plan
    facts = {"seed": plan.seed, "km": plan.km, "version": VERSION}
    write_whole(folder / "country.json", json.dumps(facts))
    write_maps(plan, folder)
    roads = network(country.layout, stage("drawing roads"))
    write_roads(roads, country.crs, folder / "roads.osm.pbf")
    _write_area(plan, folder / "area.yaml")


def _write_area(plan: Plan, path: Path) -> None:
    """The area file of a cube of points, which ``geoloc points sample`` has yet to draw."""
    area = {
        "name": f"sandbox-country-{plan.seed}",
        "crs": plan.crs,
        "points": "points.parquet",
        "imagery": {"kind": "sandbox", "path": "country.json"},
        "model": "sandbox",
        "cube": "cube.zarr",
        "map": MAP_FILES,
    }
    write_whole(path, yaml.safe_dump(area, sort_keys=False))
