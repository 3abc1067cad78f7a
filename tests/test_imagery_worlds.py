"""One world, served as files, by a STAC API, as web tiles and as a tiled copy: the same cube.

The world is 1 km wide, its cells 20 m apart. A larger one at 10 m, half an hour on two cores:
``GEOLOC_WORLD_KM=12 python -m pytest -s tests/test_imagery_worlds.py``. With ``GEOLOC_WORLD=DIR``
it is kept there, and one that ``geoloc sandbox DIR`` has made is taken as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from geoloc.area import Area, load_area
from geoloc.cube import Cube
from geoloc.imagery import open_source
from geoloc.imagery.xyz.pyramid import Tiles
from geoloc.jobs.cache import tile_imagery
from geoloc.query import answer_photos
from geoloc.sandbox.catalog import write_world
from geoloc.sandbox.photos import write_photos
from geoloc.search import Query

from .array_cube import find_candidates, heatmaps
from .memory import peak_rss
from .test_imagery_stac import Api
from .tile_server import serve_tiles

ROOT = Path(__file__).parent.parent
KM = float(os.environ.get("GEOLOC_WORLD_KM", "1"))
STEP = 20.0 if KM < 5 else 10.0
PHOTOS = 4 if KM < 5 else 40
JITTER = 0.25
"""Relative change of vectors that moving the imagery by 2 px makes; resampling stays below."""
TOP = 20
NEAR = 2
"""Cells that a candidate may move by."""

Places = NDArray[np.int64]
"""Rows and columns of cells, ``(place, 2)``."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 * max(KM, 1))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Area:
    folder = Path(os.environ.get("GEOLOC_WORLD") or tmp_path_factory.mktemp("world"))
    if not (folder / "photos" / "truth.csv").exists():  # the chat, which takes longest, is not used
        write_photos(write_world(folder, 3, KM), folder / "photos", PHOTOS, seed=3)
    return load_area(folder / "area.yaml")


@dataclass(frozen=True)
class Built:
    """A cube that ``geoloc cube build`` has made of the world."""

    area: Path

    @cached_property
    def cube(self) -> Cube:
        return Cube.open(load_area(self.area).cube)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """``(y, x, feature)``."""
        return self.cube.features.decode(self.cube.read(slice(None), slice(None)))

    def best(self, vectors: NDArray[np.float32]) -> Places:
        """The best candidate for each vector."""
        maps = heatmaps(self.cube, Query(vectors, None))
        found = [find_candidates(one, self.cube.grid, top=1, radius=60.0)[0] for one in maps]
        return np.array([(candidate.row, candidate.col) for candidate in found])

    def answers(self, photos: list[Path]) -> list[Places]:
        """For each photo its candidates, the best first."""
        told = answer_photos(self.area, photos, top=TOP)
        assert not told.failures
        return [np.array([(c.row, c.col) for c in one.candidates]) for one in told.results]


def facts_of(world: Area, folder: Path, imagery: dict[str, Any]) -> dict[str, Any]:
    """An area file's contents."""
    facts = world.model_dump(mode="json", exclude={"imagery", "cube", "step"}, exclude_none=True)
    cube = str(folder / f"{imagery['kind']}.zarr")
    return {**facts, "imagery": imagery, "step": STEP, "cube": cube}


def build(world: Area, folder: Path, imagery: dict[str, Any]) -> Built:
    """Build it as users do; tell how long it took and how much memory."""
    area = folder / f"{imagery['kind']}.yaml"
    area.write_text(yaml.safe_dump(facts_of(world, folder, imagery)))
    command = [sys.executable, "-m", "geoloc", "cube", "build", str(area), "--cluster", "inline"]
    start = time.monotonic()
    peak, log = 0, folder / "build.log"
    with log.open("w") as told, subprocess.Popen(command, cwd=ROOT, stderr=told) as process:
        while process.poll() is None:
            peak = max(peak, peak_rss(process.pid))
            time.sleep(0.2)
    assert process.returncode == 0, log.read_text()
    print(f"\n{log.read_text().strip()}\n{imagery['kind']}: {time.monotonic() - start:.0f} s in "
          f"all, peak RSS {peak} MiB")  # fmt: skip
    return Built(area)


@pytest.fixture(scope="module")
def reference(world: Area, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(world, tmp_path_factory.mktemp("files"), world.imagery.model_dump(mode="json"))


@pytest.fixture(scope="module")
def photos(world: Area) -> list[Path]:
    return sorted((Path(world.cube).parent / "photos").glob("*.jpg"))[:PHOTOS]


@pytest.fixture(scope="module")
def wanted(reference: Built, photos: list[Path]) -> list[Places]:
    return reference.answers(photos)


def relative_error(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    there = np.isfinite(mine).all(axis=-1) & np.isfinite(theirs).all(axis=-1)
    assert there.mean() > 0.5 and there.sum() >= 0.97 * np.isfinite(mine).all(axis=-1).sum()
    spread = mine[there] - mine[there].mean(axis=0)
    return float(np.linalg.norm(mine[there] - theirs[there]) / np.linalg.norm(spread))


def probes(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """What eight cells show, each told from all others by some margin."""
    places = np.argwhere(np.isfinite(vectors).all(axis=-1))
    chosen = places[:: max(len(places) // 8, 1)][:8]
    return vectors[chosen[:, 0], chosen[:, 1]]


def apart(a: Places, b: Places) -> Places:
    """Cells between each place of one and each of the other, ``(a, b)``."""
    return np.asarray(np.abs(a[:, None] - b[None]).max(axis=-1))


def assert_same_places(reference: Built, other: Built) -> None:
    vectors = probes(reference.vectors)
    wanted, found = reference.best(vectors), other.best(vectors)
    assert (np.diag(apart(wanted, found)) <= 1).all(), (wanted, found)


def assert_same_answers(wanted: list[Places], found: list[Places]) -> None:
    """Among many cells the best few of a photo are nearly equal: they may change places."""
    between = [apart(mine, theirs) for mine, theirs in zip(wanted, found, strict=True)]
    both = np.mean([(d.min(axis=1) <= NEAR).mean() for d in between])
    kept = [bool((d[0] <= NEAR).any() and (d[:, 0] <= NEAR).any()) for d in between]
    first = [int(d[0, 0]) for d in between]
    print(
        f"{len(between)} photos: {both:.0%} of the best {TOP} are the same within {NEAR} cells; "
        f"the best is among the other's best {TOP} for {sum(kept)}, its best for "
        f"{sum(f <= NEAR for f in first)} (cells apart: {first})"
    )
    assert both >= 0.7
    assert np.mean(kept) >= 0.85


def test_a_stac_api_gives_the_same_cube(
    world: Area,
    reference: Built,
    photos: list[Path],
    wanted: list[Places],
    tmp_path_factory: pytest.TempPathFactory,
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
        made = build(world, folder, {"kind": "stac", "url": api.url, "collections": ["aerial"]})
        found = made.answers(photos)
    finally:
        api.stop()
    np.testing.assert_allclose(made.vectors, reference.vectors, atol=1e-6)
    used = {item["id"] for item in made.cube.provenance(made.cube.grid.chunk(0, 0))["items"]}
    assert used and used <= {item["id"] for item in items}
    for mine, theirs in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_web_tiles_give_the_same_cube(
    world: Area,
    reference: Built,
    photos: list[Path],
    wanted: list[Places],
    tmp_path_factory: pytest.TempPathFactory,
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
        spec = {
            "kind": "xyz",
            "url": server.url(),
            "rate": 1000,
            "tile_cache": str(folder / "cache"),
        }
        made = build(world, folder, spec)
        asked = len(server.requests)
        found = made.answers(photos)
    error = relative_error(reference.vectors, made.vectors)
    print(f"{asked} tiles, relative error {error:.3f}")
    assert error < JITTER
    assert_same_places(reference, made)
    assert_same_answers(wanted, found)


def test_a_tiled_copy_gives_the_same_cube(
    world: Area, reference: Built, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    imagery = world.imagery.model_dump(mode="json")
    here = Area.model_validate(facts_of(world, folder, imagery))
    tile_imagery(here, cluster="inline").raise_if_incomplete()
    made = build(world, folder, {"kind": "zarr", "path": here.tiled.path})
    np.testing.assert_allclose(made.vectors, reference.vectors, atol=1e-6)
