"""A small, asymmetric answer with a hostile photo name, for the tests of the report."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer

from geoloc.candidates import Candidate
from geoloc.domain import Grid
from geoloc.models import Term
from geoloc.photos import Photo
from geoloc.report import QueryResult
from geoloc.report.html import write_page
from geoloc.report.tandem import Said, TandemModel, TandemPart
from geoloc.report.views import render_views

HOSTILE = '<script>alert(1)</script>" onerror="x.jpg'
GRID = Grid("EPSG:32636", 300_200.0, 5_604_600.0, 10.0, 90, 140)
NASTY = "=mine<b>"  # the name of a stranger's model
CLASSES = ("highway", "wheat_field", "stadium-soccer", "forest-broadleaf", "lake-natural")


@dataclass(frozen=True)
class FlatImagery:
    """A source that answers with a gradient and knows one dated item."""

    gsd: float = 0.5

    def read(self, window: Grid) -> Any:
        y, x = np.mgrid[0 : window.ny, 0 : window.nx]
        pixels = np.stack([x * 255 // window.nx, y * 255 // window.ny, (x + y) % 256])
        valid = x > window.nx // 20
        item = SimpleNamespace(id="tile-7", href="tile-7.tif", datetime="2024-05-06T10:00:00Z")
        return xr.DataArray(
            pixels.astype(np.uint8),
            dims=("band", "y", "x"),
            coords={"y": window.y, "x": window.x, "valid": (("y", "x"), valid)},
            attrs={"crs": window.crs, "items": (item,), "errors": ()},
        )

    def fingerprint(self, window: Grid) -> str:
        return hashlib.sha256(repr((window, self.gsd)).encode()).hexdigest()


def heatmap() -> NDArray[np.float32]:
    """Distances with the best cell at row 20, column 100, and a missing corner."""
    y, x = np.mgrid[0 : GRID.ny, 0 : GRID.nx]
    values = 1 + np.hypot(y - 20, (x - 100) * 0.7) / 20 + 0.1 * np.sin(x / 5)
    values[20, 100] = 0.5
    values[80:, :30] = np.nan
    return values.astype(np.float32)


def candidate(rank: int, row: int, col: int) -> Candidate:
    """A candidate with explanation; lon and lat are right for UTM 36N to a few metres."""
    x, y = GRID.center(row, col)
    lon, lat = Transformer.from_crs(GRID.crs, 4326, always_xy=True).transform(x, y)
    terms = (
        Term("highway", 9.1, 8.6, 0.02),
        Term("wheat_field", 6.0, 1.5, 0.41),
        Term("lake-natural", -2.0, 3.5, 0.33),
    )
    return Candidate(
        rank=rank, row=row, col=col, x=x, y=y, lon=lon, lat=lat,
        distance=0.4 + rank / 10, percentile=0.008 * rank**2,
        explanation=terms[1:], shared=terms[:1],
    )  # fmt: skip


def photo(name: str = HOSTILE) -> Photo:
    y, x = np.mgrid[0:90, 0:160]
    pixels = np.stack([x, y * 2, 255 - x], axis=-1).astype(np.uint8)
    exif = {"time": "<img src=x onerror=alert(2)>", "gps": {"lon": 30.5, "lat": 50.4}}
    path = Path(name.replace("/", "∕"))
    return Photo(path, path.stem, "ab" * 32, pixels, (1600, 900), exif)


def sample(**changes: Any) -> QueryResult:
    """The answer; keyword arguments replace its fields."""
    fields: dict[str, Any] = {
        "title": HOSTILE,
        "photos": (photo(),),
        "vector": np.array([9.1, 6.0, 1.0, 2.0, -2.0], np.float32),
        "heatmap": heatmap(),
        "candidates": (candidate(1, 20, 100), candidate(2, 60, 40), candidate(3, 5, 8)),
        "grid": GRID,
        "classes": CLASSES,
        "cube": {"name": "sample", "url": "file:///cube.zarr", "generation": "g0001"},
        "model": {"name": "sandbox", "digest": "cd" * 32},
        "parameters": {"top": 3, "within": None, "radius": float("nan")},
        "imagery": ({"id": "tile-7", "href": "t.tif", "date": "2024-05-06T10:00:00Z"},),
        "places": {1: (("highway", 0.61), ("wheat_field", 0.2))},
        "notes": ("A note & <b>more</b>.",),
    }
    return QueryResult(**{**fields, **changes})


def in_tandem(**changes: Any) -> QueryResult:
    """Two models, of which the second is right about another corner."""
    own = sample(folder=None)
    turned = sample(
        heatmap=np.ascontiguousarray(heatmap()[::-1, ::-1]),
        candidates=(candidate(1, GRID.ny - 21, GRID.nx - 101),),
        truth=(50.55, 30.2),
    )
    scores = ((own.heatmap + turned.heatmap) / 2 - 4).astype(np.float32)
    places = tuple(replace(c, distance=c.rank - 4.5) for c in own.candidates)
    parts = (
        TandemModel("landuse", 0.25, own, {1: Said(1, 0.008, 0.5, -3.5), 2: Said(9, 0.1, 0.7, 0)}),
        TandemModel(NASTY, 0.75, turned, {1: Said(5000, 41.5, 3.25, -0.1)}),
    )
    bank = ({"file": "b.jpg", "path": "/bank/b.jpg", "sha256": "ef" * 32},)
    fields = {"heatmap": scores, "candidates": places, "tandem": TandemPart(parts, bank)}
    return sample(**{**fields, **changes})


def page(path: Path, source: Any = None, **changes: Any) -> Path:
    """The page of the sample, as it sees the imagery of a source."""
    result = sample(**changes)
    write_page(result, path, render_views(result, source))
    return path
