"""``query.json``: everything that is needed to repeat an answer, and to trust it."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..names import path_text, writable
from .calibrated import calibrated_record
from .match import match_record

if TYPE_CHECKING:
    from ..photos import Photo
    from .result import QueryResult

FORMAT = "geoloc-query/1"
"""Changed where a reader of this format would misread a new record."""

TANDEM_FORMAT = "geoloc-query-tandem/1"
"""Of an answer of several models, which a reader of one model's would misread."""

SHARED_FORMAT = "geoloc-shared/1"
"""Of a copy that ``geoloc share`` wrote: it lacks what would be needed to repeat the answer."""

_PACKAGES = (
    "geoloc", "numpy", "torch", "torchvision", "onnxruntime", "numba", "zarr",
    "rasterio", "rioxarray", "xarray", "pyproj", "shapely", "pillow", "pillow-heif", "av",
)  # fmt: skip


def evidence(result: QueryResult, created: datetime | None = None) -> dict[str, Any]:
    """The record of one answer: strict JSON values only (NaN becomes null)."""
    record = {
        "format": FORMAT if result.tandem is None else TANDEM_FORMAT,
        "created": (created or datetime.now(UTC)).isoformat(timespec="seconds"),
        "title": result.title,
        "photos": [photo_record(photo) for photo in result.photos],
        "parameters": result.parameters,
        "model": result.model,
        "cube": result.cube,
        "grid": {
            "crs": result.grid.crs,
            "bounds": result.grid.bounds,
            "step": result.grid.step,
            "shape": result.grid.shape,
        },
        "imagery": result.imagery,
        "vector": dict(zip(result.classes, np.asarray(result.vector).tolist(), strict=True)),
        "summary": _summary(result),
        "match": match_record(result.match, result.title),
        "calibration": calibrated_record(result.calibrated),
        "candidates": [result.properties(c, probability=False) for c in result.candidates],
        "areas": [area.to_json() for area in result.areas],
        "places": {str(rank): scenes for rank, scenes in result.places.items()},
        "notes": result.notes,
        "truth": result.told_truth(),
        "versions": versions(),
        **result.told_regions(),
        **result.told_parent(),
        **({} if result.tandem is None else {"tandem": result.tandem.record()}),
    }
    plain = _plain(record)
    assert isinstance(plain, dict)
    return plain


def write_evidence(
    result: QueryResult, path: Path, outputs: Mapping[str, str] | None = None
) -> None:
    """Write the record; it can be read by any strict JSON parser.

    ``outputs``: SHA-256 (hex) of the other files of the answer, by name.
    """
    record = {**evidence(result), "outputs": dict(outputs or {})}
    text = json.dumps(record, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the installed packages that take part."""
    known = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_installed(),
    }
    rasterio = sys.modules.get("rasterio")
    if rasterio is not None:
        known["gdal"] = rasterio.__gdal_version__
    return known


@cache  # looks through the whole environment; a folder's answers ask a thousand times
def _installed() -> dict[str, str]:
    by_package = {}
    for name in _PACKAGES:
        try:
            by_package[name] = version(name)
        except PackageNotFoundError:
            continue
    return by_package


def photo_record(photo: Photo) -> dict[str, Any]:
    """The original file by its name, place and digest, and what of it was looked at."""
    return {
        "file": photo.file,
        "path": path_text(photo.path.absolute()),
        "sha256": photo.sha256,
        "size": photo.size,
        "exif": photo.exif,
        **photo.origin,
    }


def _summary(result: QueryResult) -> dict[str, Any]:
    quantiles = (0.0, 0.01, 0.1, 0.5, 1.0)
    values = result.quantiles(np.array(quantiles))
    return {
        "cells": result.size,
        "cells_known": result.known,
        "cells_asked": result.cells_asked,
        **result.told_unsearched(),
        "heatmap_sha256": result.survey.sha256,
        "distance_quantiles": dict(zip(map(str, quantiles), values.tolist(), strict=True)),
        "scenes": [{"scene": name, "share": share} for name, share in result.scenes()],
    }


def _plain(value: Any) -> Any:
    """Any value as strict JSON: no NaN, no NumPy, no path objects, no half characters."""
    if isinstance(value, Mapping):
        return {writable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, bool | int):
        return value
    return writable(str(value))
