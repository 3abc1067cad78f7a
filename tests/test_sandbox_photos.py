"""Photos of a small made-up town: their files, their truth, and samples for training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from shapely.geometry import MultiLineString, Point

from geoloc.domain import Grid
from geoloc.errors import OutputError
from geoloc.sandbox.photos import TRUTH_COLUMNS, write_photos
from geoloc.sandbox.scene import LANDUSE, Material, Scene
from geoloc.sandbox.shots import BESIDE, find_spots
from tests.test_sandbox_ground import CRS, X0, Y0, block, meadow

LAKE = LANDUSE.index("lake-natural")


@dataclass(frozen=True)
class Street:
    """A straight road."""

    points: NDArray[np.float64]


class Hamlet:
    """Two roads, three houses, a pond: 600 m of world."""

    crs = CRS
    seed = 3
    bounds = (X0 - 300, Y0 - 300, X0 + 300, Y0 + 300)
    roads: Sequence[Street] = (
        Street(np.array([[X0 - 290, Y0 + 20.0], [X0 + 290, Y0 + 60.0]])),
        Street(np.array([[X0 + 100, Y0 - 290.0], [X0 + 100, Y0 + 40.0]])),
    )

    def rasterize(self, window: Grid) -> Scene:
        scene = meadow(window)
        x, y = np.meshgrid(window.x - X0, window.y - Y0)
        east = x > 120
        scene.landuse[east] = LANDUSE.index("wheat_field")
        pond = (x + 150) ** 2 + (y - 20) ** 2 < 20**2  # across the road
        scene.material[pond], scene.landuse[pond] = Material.WATER, LAKE
        block(scene, 20, 50, 34, 62, 7.0, number=1)
        block(scene, 60, 24, 72, 34, 7.0, number=2)
        block(scene, -60, 30, -45, 45, 7.0, number=3)
        return scene


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album") / "photos"
    write_photos(Hamlet(), folder, n=6, seed=5, size=(200, 150))
    return folder


def truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "truth.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_tells_where_each_photo_was_taken(album: Path) -> None:
    rows = truth(album)
    assert tuple(rows[0]) == TRUTH_COLUMNS
    assert [row["file"] for row in rows] == [f"{n:04d}.jpg" for n in range(1, 7)]
    back = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    roads = MultiLineString([street.points for street in Hamlet.roads])
    for row in rows:
        x, y = back.transform(float(row["lon"]), float(row["lat"]))
        assert (x, y) == pytest.approx((float(row["x"]), float(row["y"])), abs=0.02)
        assert roads.distance(Point(x, y)) < BESIDE + 8  # and half the spacing at a road's end
        scene = Hamlet().rasterize(Grid(CRS, x - 0.25, y + 0.25, 0.5, 1, 1))
        assert scene.top[0, 0] == 0
        assert scene.material[0, 0] != Material.WATER
        assert LANDUSE[scene.landuse[0, 0]] == row["landuse"]
        assert 50 <= float(row["fov"]) <= 90
        assert 0 <= float(row["heading"]) < 360


def test_photos_carry_a_camera_but_no_position(album: Path) -> None:
    for row in truth(album):
        with Image.open(album / row["file"]) as image:
            exif = image.getexif()
            assert image.size == (200, 150)
        assert exif[0x010F]
        assert exif[0x0110]
        taken = exif.get_ifd(0x8769)[0x9003]
        assert taken[:10].replace(":", "-") == row["date"][:10]
        assert 0x8825 not in exif
        assert not exif.get_ifd(0x8825)


def test_photos_are_repeatable_and_independent_of_each_other(album: Path, tmp_path: Path) -> None:
    write_photos(Hamlet(), tmp_path, n=2, seed=5, size=(200, 150))
    for name in ("0001.jpg", "0002.jpg"):
        assert (tmp_path / name).read_bytes() == (album / name).read_bytes()
    assert truth(tmp_path) == truth(album)[:2]


def test_phones_have_many_formats(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    write_photos(Hamlet(), tmp_path, n=2, progress=lambda k, n: done.append((k, n)))
    assert done == [(0, 2), (1, 2), (2, 2)]
    for path in tmp_path.glob("*.jpg"):
        with Image.open(path) as image:
            assert max(image.size) == 1280


def test_rare_land_use_is_not_absent() -> None:
    spots = find_spots(Hamlet())
    assert LAKE in spots.landuse
    rng = np.random.default_rng(1)
    drawn = [spots.draw(rng) for _ in range(300)]
    rare = {tuple(p) for p in spots.points[spots.landuse == LAKE]}
    assert sum(tuple(p) in rare for p in drawn) > 30


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write photos") as caught:
        write_photos(Hamlet(), tmp_path / "file" / "photos", n=1, size=(64, 48))
    assert "\n" not in str(caught.value)
