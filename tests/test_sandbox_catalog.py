"""A world on disk: files that other programs read, and that tell of the same place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import osmium
import pystac
import pytest
import rasterio
import yaml
from rasterio.windows import from_bounds

from geoloc.domain import Grid
from geoloc.errors import OutputError, UsageError
from geoloc.sandbox.catalog import OVERLAP, tiles, write_world
from geoloc.sandbox.overhead import render_overhead
from geoloc.sandbox.world import World


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    seen: list[tuple[int, int]] = []
    write_world(folder, seed=3, km=0.6, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    return folder


def test_images_are_cogs_that_overlap_and_cover(folder: Path) -> None:
    boxes = []
    for path in sorted((folder / "imagery").glob("*")):
        with rasterio.open(path) as image:
            assert image.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert (image.count, image.dtypes[0], image.res) == (3, "uint8", (0.5, 0.5))
            assert image.overviews(1)
            boxes.append(image.bounds)
    left, bottom, right, top = World(3, 0.6).bounds
    assert min(b.left for b in boxes) == left - OVERLAP
    assert max(b.top for b in boxes) == top + OVERLAP
    assert max(b.right for b in boxes) - min(b.left for b in boxes) == right - left + 2 * OVERLAP
    covered = sum((b.right - b.left) * (b.top - b.bottom) for b in boxes)
    assert covered > (right - left + 2 * OVERLAP) ** 2  # hence they overlap
    assert bottom - OVERLAP == min(b.bottom for b in boxes)


def test_an_image_shows_the_world_at_its_place(folder: Path) -> None:
    world = World(3, 0.6)
    tile = next(t for t in tiles(world) if t.name.endswith("r00c01"))
    window = Grid(world.crs, tile.window.left + 30, tile.window.top - 20, 0.5, 80, 120)
    with rasterio.open(folder / "imagery" / f"{tile.name}.tif") as image:
        pixels = image.read(window=from_bounds(*window.bounds, transform=image.transform))
    expected = render_overhead(world, window, tile.flight).transpose(2, 0, 1)
    assert np.abs(pixels.astype(int) - expected).mean() < 6  # JPEG


def test_catalog_names_every_image(folder: Path) -> None:
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert {item.id for item in items} == {p.stem for p in (folder / "imagery").glob("*.tif")}
    assert len({item.datetime for item in items}) == 2
    for item in items:
        href = item.assets["visual"].get_absolute_href()
        assert href is not None
        with rasterio.open(href) as image:
            assert item.properties["proj:code"] == f"EPSG:{image.crs.to_epsg()}"
            assert item.properties["proj:transform"] == list(image.transform)[:6]
            assert item.properties["proj:shape"] == [image.height, image.width]
        assert item.bbox is not None
        assert 30 < item.bbox[0] < item.bbox[2] < 32
        assert 50 < item.bbox[1] < item.bbox[3] < 51


def test_roads_are_osm(folder: Path) -> None:
    kinds, nodes = set(), 0
    for thing in osmium.FileProcessor(str(folder / "roads.osm.pbf")).with_locations():
        if thing.is_way():
            kinds.add(thing.tags.get("highway") or thing.tags["railway"])
            nodes += len(thing.nodes)
            assert all(node.location.valid() for node in thing.nodes)
    assert kinds
    assert kinds <= {"motorway", "primary", "residential", "track", "rail"}
    assert nodes == sum(len(road.points) for road in World(3, 0.6).roads)


def test_heights_are_the_worlds(folder: Path) -> None:
    world = World(3, 0.6)
    with rasterio.open(folder / "dem.tif") as image:
        np.testing.assert_array_equal(image.read(1), world.heights(world.grid(10.0)))
        assert image.transform[:6] == world.grid(10.0).transform


def test_area_file_is_relative_and_complete(folder: Path) -> None:
    area = yaml.safe_load((folder / "area.yaml").read_text())
    assert area["bounds"] == list(World(3, 0.6).bounds)
    assert (area["crs"], area["step"], area["model"]) == ("EPSG:32636", 10, "sandbox")
    assert area["imagery"] == {"kind": "geotiff", "paths": ["imagery/*.tif"]}
    assert area["cube"] == "cube.zarr"


def test_tiles_of_a_large_world_stay_small() -> None:
    windows = [tile.window for tile in tiles(World(0, 20))]
    assert len(windows) == 400
    assert max(window.size for window in windows) < 6_000_000


@pytest.mark.parametrize("km", [0.0, -3.0, 1000.0])
def test_senseless_sizes_are_refused(tmp_path: Path, km: float) -> None:
    with pytest.raises(UsageError, match="km"):
        write_world(tmp_path, km=km)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_world(tmp_path / "file" / "world", km=0.6)
