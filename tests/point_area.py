"""A folder with a model, imagery on both sides of a zone's edge, points and an area file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from geoloc.area import Area, load_area
from geoloc.points import PointSet, writing_points

from .encoder_models import dense_section, imagery, tiny_model

CRS = "EPSG:32636"
LEFT, TOP, WIDTH, HEIGHT = 287_000.0, 5_600_000.0, 900, 700
"""m; the edge of zones 35 and 36, 30 degrees east, runs through it."""
BLOCK = 16
SEQUENCE = "5eed" * 8


def write_image(path: Path, seed: int = 0, width: int = WIDTH) -> Path:
    """1 m pixels."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "crs": CRS, "tiled": True}
    profile |= {"blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    transform = Affine(1, 0, LEFT, 0, -1, TOP)
    with rasterio.open(
        path, "w", height=HEIGHT, width=width, transform=transform, **profile
    ) as file:
        file.write(imagery(HEIGHT, width, seed))
    return path


def lonlat_of(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Places ``(n, 2)`` well inside of the imagery, in a random order."""
    rng = np.random.default_rng(seed)
    low, high = (LEFT + 60, TOP - HEIGHT + 60), (LEFT + WIDTH - 60, TOP - 60)
    x, y = rng.uniform(low, high, (count, 2)).T
    return np.stack(Transformer.from_crs(CRS, 4326, always_xy=True).transform(x, y), axis=1)


def point_set(lonlat: NDArray[np.float64], sequence: str = SEQUENCE) -> PointSet:
    """With a way and a class each."""
    order = np.arange(len(lonlat))
    classes = np.array(["primary", "path", "фут"])[order % 3]
    return PointSet(lonlat, order, {"way_id": order + 100, "highway": classes}, sequence)


def write_points(path: Path, points: PointSet) -> Path:
    with writing_points(path, {"sequence": points.sequence}) as write:
        write(points)
    return path


def write_area(folder: Path, count: int = 70, *, dense: bool = False, **changes: Any) -> Area:
    """All of it; ``changes`` of the area file."""
    model = folder / "model"
    if not model.exists():
        tiny_model(model, **(dense_section() if dense else {}))
    if not (folder / "a.tif").exists():
        write_image(folder / "a.tif")
    if not (folder / "points.parquet").exists():
        write_points(folder / "points.parquet", point_set(lonlat_of(count)))
    values = {
        "name": "ways",
        "points": "points.parquet",
        "imagery": {"kind": "geotiff", "paths": ["a.tif"]},
        "model": "./model",
        "cube": "cube.zarr",
        **changes,
    }
    (folder / "area.yaml").write_text(json.dumps(values))  # JSON is YAML
    return load_area(folder / "area.yaml")
