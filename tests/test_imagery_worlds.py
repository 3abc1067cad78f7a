"""One world, served as files, by a STAC API, as web tiles and as a tiled copy: the same cube."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.area import Area, load_area
from geoloc.build import build_cube
from geoloc.candidates import find_candidates
from geoloc.cube import Cube
from geoloc.imagery import open_source
from geoloc.imagery.xyz.pyramid import Tiles
from geoloc.sandbox.catalog import write_world
from geoloc.search import Query, heatmaps
from geoloc.tile import tile_imagery

from .test_imagery_stac import Api
from .tile_server import serve_tiles

pytestmark = pytest.mark.slow

STEP = 20.0
JITTER = 0.25
"""Relative change of vectors that moving the imagery by 2 px makes; resampling stays below."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Area:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, seed=3, km=1.0)
    return load_area(folder / "area.yaml")


def built(world: Area, folder: Path, imagery: dict[str, Any]) -> NDArray[np.float32]:
    """Vectors ``(y, x, feature)`` of a cube, and the candidates of what some cells show."""
    area = _area(world, folder, imagery)
    report = build_cube(area, cluster="inline")
    report.raise_if_incomplete()
    cube = Cube.open(area.cube)
    return cube.quantizer.decode(cube.read(slice(None), slice(None)))


def _area(world: Area, folder: Path, imagery: dict[str, Any]) -> Area:
    facts = world.model_dump(exclude={"imagery", "cube", "step"})
    cube = str(folder / f"{imagery['kind']}.zarr")
    return Area.model_validate({**facts, "imagery": imagery, "step": STEP, "cube": cube})


@pytest.fixture(scope="module")
def reference(world: Area, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    return built(world, tmp_path_factory.mktemp("files"), world.imagery.model_dump())


def relative_error(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    there = np.isfinite(mine).all(axis=-1) & np.isfinite(theirs).all(axis=-1)
    assert there.mean() > 0.5 and there.sum() >= 0.97 * np.isfinite(mine).all(axis=-1).sum()
    spread = mine[there] - mine[there].mean(axis=0)
    return float(np.linalg.norm(mine[there] - theirs[there]) / np.linalg.norm(spread))


def top_places(cube: Cube, vectors: NDArray[np.float32]) -> list[tuple[int, int]]:
    """The best candidate for each vector."""
    query = Query(vectors, None)
    maps = heatmaps(cube, query)
    found = [find_candidates(one, cube.grid, top=1, radius=60.0)[0] for one in maps]
    return [(candidate.row, candidate.col) for candidate in found]


def probes(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """What eight cells show, each told from all others by some margin."""
    places = np.argwhere(np.isfinite(vectors).all(axis=-1))
    chosen = places[:: max(len(places) // 8, 1)][:8]
    return vectors[chosen[:, 0], chosen[:, 1]]


def assert_same(folder: Path, reference: NDArray[np.float32], name: str) -> None:
    files = next(folder.parent.glob("files*/geotiff.zarr"))
    wanted = top_places(Cube.open(files), probes(reference))
    found = top_places(Cube.open(folder / f"{name}.zarr"), probes(reference))
    apart = np.abs(np.array(wanted) - np.array(found)).max(axis=1)
    assert (apart <= 1).all(), (wanted, found)


def test_a_stac_api_gives_the_same_cube(
    world: Area, reference: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("api")
    root = Path(world.cube).parent
    items = [json.loads(path.read_text()) for path in sorted((root / "items").glob("*.json"))]
    for item in items:
        item |= {"collection": "aerial", "links": []}
        asset = item["assets"]["visual"]
        asset["href"] = (root / "items" / asset["href"]).resolve().as_uri()
    api = Api(folder, items)
    try:
        vectors = built(world, folder, {"kind": "stac", "url": api.url, "collections": ["aerial"]})
    finally:
        api.stop()
    np.testing.assert_allclose(vectors, reference, atol=1e-6)
    cube = Cube.open(folder / "stac.zarr")
    used = {item["id"] for item in cube.provenance(cube.grid.block(0, 0))["items"]}
    assert used and used <= {item["id"] for item in items}
    assert_same(folder, reference, "stac")


def test_web_tiles_give_the_same_cube(
    world: Area, reference: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tiles")
    origin = open_source(world.imagery)

    def render(zoom: int, x: int, y: int) -> NDArray[np.uint8] | None:
        data = origin.read(Tiles(zoom, x, x + 1, y, y + 1, 256).grid)
        if not data.valid.values.any():
            return None
        alpha = np.where(data.valid.values, 255, 0).astype(np.uint8)
        return np.concatenate([data.values, alpha[None]]).transpose(1, 2, 0).copy()

    with serve_tiles(render) as server:
        spec = {"kind": "xyz", "url": server.url(), "rate": 1000, "cache": str(folder / "cache")}
        vectors = built(world, folder, spec)
    error = relative_error(reference, vectors)
    print(f"relative error of web tiles {error:.3f}")
    assert error < JITTER
    assert_same(folder, reference, "xyz")


def test_a_tiled_copy_gives_the_same_cube(
    world: Area, reference: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    here = _area(world, folder, world.imagery.model_dump())
    tile_imagery(here, cluster="inline").raise_if_incomplete()
    vectors = built(world, folder, {"kind": "zarr", "path": here.tiled.path})
    np.testing.assert_allclose(vectors, reference, atol=1e-6)
