"""A small country with a cube of points and the files of its map, for tests of regions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoloc.area import MapFiles
from geoloc.cube import (
    BlockWriter,
    Cube,
    CubeSpec,
    Ledger,
    Provenance,
    Status,
    create_generation,
    plan_blocks,
    publish,
)
from geoloc.domain import Points
from geoloc.models import FeatureSpace, Quantizer, load_model
from tests.encoder_models import CLASSES, tiny_model

WEST, SOUTH, EAST, NORTH = 30.0, 48.0, 34.0, 50.0
BORDER = ((30.2, 48.1), (33.8, 48.0), (34.0, 49.4), (32.0, 50.0), (30.0, 49.6), (30.2, 48.1))
"""Not symmetric, so that a flip shows; 70 % of the points lie inside."""
PLACES = (("Alpha & <b>Co</b>", 800_000, 48.5, 31.0), ("Beta", 250_000, 49.2, 33.0),
          ("Gamma", 9_000, 48.8, 32.0), ("Abroad", 500_000, 52.0, 20.0))  # fmt: skip


AREA = """
name: Tinyland
points: points.parquet
imagery: {kind: geotiff, paths: [none.tif]}
model: tiny
cube: cube.zarr
map: {border: border.geojson, provinces: provinces.geojson, places: places.csv,
      water: water.geojson}
"""
"""Its points and its imagery are not there: a cube is asked without them."""


class Vectors(Protocol):
    """Feature vectors ``(point, feature)``: an array, or what makes them chunk by chunk."""

    def __getitem__(self, points: tuple[slice, ...], /) -> NDArray[np.float32]: ...


def write_point_cube(
    url: str | Path, points: Points, features: Vectors, *, size: int = 256,
    missing: tuple[int, ...] = (), classes: tuple[str, ...] = CLASSES, model: str = "0" * 64,
    quantizer: Quantizer | None = None, polygon: str | None = None,
) -> Cube:  # fmt: skip
    """A cube of ``(point, feature)``; blocks ``missing`` are not built."""
    spec = CubeSpec.of(
        points, polygon=polygon, imagery={}, model=model, encoding={}, block_size=size
    )
    if quantizer is None:
        every = np.asarray(features)
        quantizer = Quantizer.fit(np.nanmin(every, axis=0), np.nanmax(every, axis=0))
    ledger = plan_blocks(points, None, size)
    create_generation(
        url, "g0001", spec, FeatureSpace(classes, quantizer), ledger,
        model_name="tiny", area="Tinyland", points=points,
    )  # fmt: skip
    writer, marked = BlockWriter(url, "g0001"), Ledger(url, "g0001")
    for chunk in points.chunks(size=size):
        if chunk.index[0] in missing:
            continue
        written = writer.write(chunk, features[chunk.slices])
        check = writer.record(chunk, Provenance(fingerprint="ab" * 32, digests=written.digests))
        marked.mark(chunk.index, Status.DONE, "ab" * 32, (*written.checks, check))
    publish(url, "g0001")
    return Cube.open(url)


@dataclass(frozen=True)
class Country:
    """The files of a country below a folder."""

    folder: Path

    @property
    def cube(self) -> Path:
        return self.folder / "cube.zarr"

    @property
    def area(self) -> Path:
        return self.folder / "area.yaml"

    @property
    def photo(self) -> Path:
        return self.folder / "photo.png"

    @property
    def border(self) -> Path:
        return self.folder / "border.geojson"

    @property
    def places(self) -> Path:
        return self.folder / "places.csv"


def make_country(folder: Path, count: int = 1500) -> Country:
    """A model in ``models``, a cube of points, a photo, border, provinces, places and a lake."""
    country = Country(folder)
    tiny_model(folder / "models" / "tiny")
    rng = np.random.default_rng(7)
    xy = rng.uniform((WEST, SOUTH), (EAST, NORTH), (count, 2))
    features = rng.normal(0, 2, (count, len(CLASSES))).astype(np.float32)
    features[::40] = np.nan
    points = Points.along_curve("EPSG:4326", xy)
    write_point_cube(
        country.cube, points, features, model=load_model(folder / "models" / "tiny").digest
    )
    pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(country.photo)
    make_map(folder)
    country.area.write_text(AREA)
    return country


def make_map(folder: Path) -> MapFiles:
    """Border, provinces, places and a lake, below a folder."""
    folder.mkdir(exist_ok=True)
    west = [[30.0, 48.0], [32.0, 48.0], [32.0, 50.0], [30.0, 50.0], [30.0, 48.0]]
    east = [[32.0, 48.0], [34.0, 48.0], [34.0, 50.0], [32.0, 50.0], [32.0, 48.0]]
    lake = [[31.4, 48.6], [31.9, 48.7], [31.6, 49.0], [31.4, 48.6]]
    texts = {
        "border.geojson": _geojson([("Tinyland", [list(map(list, BORDER))])]),
        "provinces.geojson": _geojson([("<i>West</i>", [west]), ("East", [east])]),
        "water.geojson": _geojson([("", [lake])]),
        "places.csv": "\n".join(
            ["name,population,lat,lon", *(f"{n},{p},{y},{x}" for n, p, y, x in PLACES)]
        ),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return MapFiles(**{Path(name).stem: folder / name for name in texts})


def _geojson(shapes: list[tuple[str, list[list[list[float]]]]]) -> str:
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Polygon", "coordinates": rings},
        }
        for name, rings in shapes
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})
