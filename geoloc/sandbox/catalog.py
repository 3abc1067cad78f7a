"""A world on disk: overlapping COGs of two dates, a STAC catalog, heights, roads, an area file.

Everything is written tile by tile: memory does not grow with the world.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import osmium
import pystac
import rasterio
import yaml
from numpy.typing import NDArray
from osmium.osm import mutable
from pyproj import Transformer
from pystac.layout import TemplateLayoutStrategy
from rasterio.transform import Affine

from ..domain import Grid
from ..errors import OutputError, UsageError
from ..files.gdal import gdal_writing, raster_bytes
from ..files.whole import write_whole
from ..progress import Progress
from .overhead import ACQUISITIONS, Acquisition, render_overhead
from .roads import Road
from .world import World

GSD = 0.5
"""Metres per pixel of the imagery."""
OVERLAP = 64.0
"""Metres that an image extends beyond its tile on every side."""
DEM_STEP = 10.0
_DEM_ROWS = 256
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


@dataclass(frozen=True)
class Tile:
    """One image of the mosaic: its pixels and its flight."""

    name: str
    window: Grid
    flight: Acquisition


def tiles(world: World) -> Iterator[Tile]:
    """Images that cover a world, row by row; flights alternate in diagonal bands."""
    size = 1000.0 if world.km > 1.5 else 500.0
    left, _, right, top = world.bounds
    count = math.ceil((right - left) / size)
    edges = [round(n * (right - left) / count) for n in range(count + 1)]
    for row in range(count):
        for col in range(count):
            west, east = left + edges[col], left + edges[col + 1]
            north, south = top - edges[row], top - edges[row + 1]
            bounds = (west - OVERLAP, south - OVERLAP, east + OVERLAP, north + OVERLAP)
            flight = ACQUISITIONS[(row + col) // 2 % len(ACQUISITIONS)]
            name = f"{flight.date:%Y%m%d}_r{row:02d}c{col:02d}"
            yield Tile(name, Grid.from_bounds(world.crs, bounds, GSD), flight)


def write_world(
    directory: Path | str, seed: int = 0, km: float = 3.0, progress: Progress | None = None
) -> World:
    """Write imagery, ``catalog.json``, ``dem.tif``, ``roads.osm.pbf`` and ``area.yaml``.

    ``progress`` is called with (images done, images in all). Raises UsageError for a world that is
    too small or too large, OutputError if the directory cannot be written.
    """
    if not 0.5 <= km <= 60:
        raise UsageError(f"a world of {km:g} km cannot be made: give 0.5 to 60 km")
    world, folder = World(seed, km), Path(directory)
    try:
        (folder / "imagery").mkdir(parents=True, exist_ok=True)
        plan = list(tiles(world))
        for done, tile in enumerate(plan):
            write_image(world, tile, folder / "imagery" / f"{tile.name}.tif")
            if progress is not None:
                progress(done + 1, len(plan))
        write_catalog(world, plan, folder)
        write_heights(world, folder / "dem.tif")
        write_roads(world.roads, world.crs, folder / "roads.osm.pbf")
        write_area(world, folder / "area.yaml")
    except (OSError, rasterio.errors.RasterioError) as error:
        raise OutputError(f"cannot write the world to {folder}: {error}") from error
    return world


def write_image(world: World, tile: Tile, path: Path) -> None:
    """One image as a COG with JPEG tiles and overviews, which appears only when complete."""
    pixels = render_overhead(world, tile.window, tile.flight)
    partial = path.with_suffix(".part")
    profile = {
        "driver": "COG", "dtype": "uint8", "count": 3, "crs": tile.window.crs,
        "height": tile.window.ny, "width": tile.window.nx,
        "transform": Affine(*tile.window.transform), "compress": "JPEG", "quality": 90,
        "blocksize": 512, "num_threads": "2",
    }  # fmt: skip
    size = raster_bytes(tile.window.shape, 3)  # and GDAL keeps overviews in a file of their own
    with gdal_writing(partial, size, size), rasterio.open(partial, "w", **profile) as image:
        image.write(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        image.update_tags(TIFFTAG_DATETIME=f"{tile.flight.date:%Y:%m:%d %H:%M:%S}")
    partial.replace(path)


def write_catalog(world: World, plan: list[Tile], folder: Path) -> None:
    """A static STAC catalog: ``catalog.json`` and one item per image under ``items/``."""
    title = f"Synthetic world, seed {world.seed}, {world.km:g} km"
    catalog = pystac.Catalog(f"sandbox-{world.seed}", title)
    project = Transformer.from_crs(world.crs, "EPSG:4326", always_xy=True)
    for tile in plan:
        catalog.add_item(_item(tile, project))
    catalog.normalize_hrefs(str(folder.resolve()), TemplateLayoutStrategy(item_template="items"))
    for item in catalog.get_items():
        href = str((folder / "imagery" / f"{item.id}.tif").resolve())
        bands = [{"name": name} for name in ("red", "green", "blue")]
        asset = pystac.Asset(
            href, media_type=pystac.MediaType.COG, roles=["data", "visual"],
            extra_fields={"bands": bands, "gsd": GSD},
        )  # fmt: skip
        item.add_asset("visual", asset)
    catalog.make_all_asset_hrefs_relative()
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)


def _item(tile: Tile, project: Transformer) -> pystac.Item:
    left, bottom, right, top = tile.window.bounds
    ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    lonlat = [[round(value, 8) for value in project.transform(*corner)] for corner in ring]
    lon, lat = zip(*lonlat, strict=True)
    properties = {
        "proj:code": tile.window.crs,
        "proj:shape": list(tile.window.shape),
        "proj:transform": list(tile.window.transform),
        "gsd": GSD,
        "view:sun_azimuth": tile.flight.sun_azimuth,
        "view:sun_elevation": tile.flight.sun_elevation,
    }
    view = "https://stac-extensions.github.io/view/v1.0.0/schema.json"
    return pystac.Item(
        tile.name,
        {"type": "Polygon", "coordinates": [lonlat]},
        [min(lon), min(lat), max(lon), max(lat)],
        tile.flight.date,
        properties,
        stac_extensions=[_PROJECTION, view],
    )


def write_heights(world: World, path: Path) -> None:
    """The ground's height above the datum as a COG, float32, metres, every 10 m."""
    grid = world.grid(DEM_STEP)
    profile = {
        "driver": "COG", "dtype": "float32", "count": 1, "crs": grid.crs, "height": grid.ny,
        "width": grid.nx, "transform": Affine(*grid.transform), "compress": "DEFLATE",
        "predictor": "3", "nodata": float("nan"),
    }  # fmt: skip
    size = raster_bytes(grid.shape, 4)
    with gdal_writing(path, size, size), rasterio.open(path, "w", **profile) as image:
        for row in range(0, grid.ny, _DEM_ROWS):
            stop = min(row + _DEM_ROWS, grid.ny)
            strip = grid.window(slice(row, stop), slice(0, grid.nx))
            rows = rasterio.windows.Window(0, row, grid.nx, stop - row)
            image.write(world.heights(strip), 1, window=rows)
        image.set_band_description(1, "height of the ground, m")


def write_roads(roads: Iterable[Road], crs: str, path: Path) -> None:
    """Highways and railways in OpenStreetMap's format; roads that meet share a node."""
    project = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    parts, ends, tags = [np.zeros((0, 2), np.int64)], [0], []
    for road in roads:
        parts.append(np.rint(road.points * 100).astype(np.int64))  # to a centimetre
        ends.append(ends[-1] + len(road.points))
        tags.append(_tags(road))
    xy, numbers = _numbered(np.concatenate(parts))
    lon, lat = project.transform(xy[:, 0] / 100.0, xy[:, 1] / 100.0) if len(xy) else ((), ())
    writer = osmium.SimpleWriter(str(path), overwrite=True)
    try:
        for number, location in enumerate(zip(lon, lat, strict=True), 1):
            writer.add_node(mutable.Node(id=number, version=1, location=location))
        for number, tag in enumerate(tags, 1):
            nodes = numbers[ends[number - 1] : ends[number]].tolist()
            writer.add_way(mutable.Way(id=number, version=1, nodes=nodes, tags=tag))
    finally:
        writer.close()


def _numbered(xy: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Different points ``(m, 2)`` in the order in which they come first; each point's, from 1."""
    _, first, inverse = np.unique(xy[:, 0] << 32 ^ xy[:, 1], return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return xy[first[order]], rank[inverse]


def _tags(road: Road) -> dict[str, str]:
    tags = {"width": f"{road.width:g}"}
    tags["railway" if road.kind == "rail" else "highway"] = road.kind
    if road.bridge:
        tags |= {"bridge": "yes", "layer": "1"}
    return tags


def write_area(world: World, path: Path) -> None:
    """The area file of the world, with paths relative to its own folder."""
    area = {
        "name": f"sandbox-{world.seed}",
        "crs": world.crs,
        "bounds": [float(value) for value in world.bounds],
        "step": 10,
        "imagery": {"kind": "geotiff", "paths": ["imagery/*.tif"]},
        "model": "sandbox",
        "cube": "cube.zarr",
    }
    write_whole(path, yaml.safe_dump(area, sort_keys=False))
