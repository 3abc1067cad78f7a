"""A place small enough to be built in seconds: a model, imagery, an area file, photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from PIL import Image
from pyproj import Transformer

from tests.encoder_models import dense_section, imagery, tiny_model

LEFT, TOP, GSD = 300_000, 5_600_000, 4.0


@dataclass(frozen=True)
class SmallPlace:
    """A folder with ``area.yaml``, ``photos/`` with ``truth.csv``, as users have them."""

    folder: Path

    @property
    def area(self) -> Path:
        return self.folder / "area.yaml"

    @property
    def cube(self) -> Path:
        return self.folder / "cube.zarr"

    @property
    def photos(self) -> list[Path]:
        return sorted((self.folder / "photos").glob("*.jpg"))


def write_place(
    folder: Path, *, ny: int = 140, nx: int = 150, step: float = 32, cache: bool = False
) -> SmallPlace:
    """``ny`` by ``nx`` cells; blocks are 128 cells wide. ``cache``: a tiled copy of the imagery."""
    model = tiny_model(
        folder / "models" / "tiny", gsd=(1.0, 5.0), preferred_gsd=4.0, **dense_section()
    )
    height, width = (round(cells * step / GSD) for cells in (ny, nx))
    _write_tile(folder / "tile.tif", height, width)
    bounds = [LEFT, TOP - ny * step, LEFT + nx * step, TOP]
    (folder / "area.yaml").write_text(
        f"name: testville\ncrs: EPSG:32636\nmodel: {model.path}\ncube: cube.zarr\nstep: {step}\n"
        f"bounds: {bounds}\n"
        f"imagery: {{kind: geotiff, paths: [tile.tif], cache: {str(cache).lower()}}}\n"
    )
    _write_photos(folder / "photos", bounds)
    return SmallPlace(folder)


def _write_tile(path: Path, height: int, width: int) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=3, dtype="uint8",
        crs="EPSG:32636", transform=Affine(GSD, 0, LEFT, 0, -GSD, TOP), tiled=True,
    ) as raster:  # fmt: skip
        raster.write(imagery(height, width))


def _write_photos(folder: Path, bounds: list[float]) -> None:
    folder.mkdir()
    rows = ["file,lon,lat"]
    to_degrees = Transformer.from_crs(32636, 4326, always_xy=True)
    for seed, share in ((1, 0.3), (2, 0.7)):
        pixels = np.moveaxis(imagery(70, 110, seed), 0, -1)
        Image.fromarray(pixels).save(folder / f"street_{seed}.jpg", quality=95)
        x = bounds[0] + share * (bounds[2] - bounds[0])
        lon, lat = to_degrees.transform(x, (bounds[1] + bounds[3]) / 2)
        rows.append(f"street_{seed}.jpg,{lon:.6f},{lat:.6f}")
    (folder / "truth.csv").write_text("\n".join(rows) + "\n")
