"""The whole job on a user's own imagery and photos, with the model of real land use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..area import load_area
from ..area.ground import utm_code
from ..area.imagery import GeotiffImagery
from ..errors import UsageError
from ..files.whole import write_whole
from ..imagery import open_source
from ..jobs.build import build_cube
from ..pairs import class_images
from ..progress import Stages, silent
from ..query import query_photos
from ..query.run import QueryResults

STEP = 50.0
MODEL = "landuse"


@dataclass(frozen=True)
class RealDemo:
    """What a run gave: cells, seconds of building and of answering, and the answers.

    ``notes``: what the build says of the imagery.
    """

    cells: int
    build_seconds: float
    query_seconds: float
    answers: QueryResults
    folder: Path
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "cells": self.cells,
            "build_seconds": round(self.build_seconds, 2),
            "query_seconds": round(self.query_seconds, 2),
            "answers": str(self.folder),
            "results": [result.to_json() for result in self.answers.results],
            "failures": self.answers.failures,
            "notes": list(self.notes),
        }


def run_real_demo(
    out: str | Path,
    imagery: str | Path,
    photos: Sequence[str | Path],
    *,
    step: float = STEP,
    progress: Stages = silent,
) -> RealDemo:
    """Write ``out/area.yaml`` for a GeoTIFF, build its cube, and answer the photos.

    ``photos``: files, and folders of them. What is there already is kept: a cube that is complete
    is not built again. Raises UsageError without any photo, ImageryError for imagery that cannot be
    read, ModelError where the model does not serve its GSD.
    """
    out = Path(out)
    files = photo_files(photos)
    write_area(out, Path(imagery), step)
    report = build_cube(load_area(out / "area.yaml"), progress=progress("encoding the imagery"))
    report.raise_if_incomplete()
    begun = time.monotonic()
    answers = query_photos(out / "area.yaml", files, out / "answers", progress=progress)
    seconds = time.monotonic() - begun
    notes = tuple(report.notes)
    return RealDemo(report.cells, report.seconds, seconds, answers, out / "answers", notes)


def photo_files(photos: Sequence[str | Path]) -> list[Path]:
    """The photos named, and those in the folders named. Raises UsageError where there are none."""
    files = list[Path]()
    for path in map(Path, photos):
        files += class_images(path) if path.is_dir() else [path]
    if not files:
        raise UsageError("there are no photos to search with: give photos, or a folder of them")
    return files


def write_area(out: Path, imagery: Path, step: float) -> None:
    """The area file of all that a GeoTIFF shows, in the UTM zone there."""
    path = imagery.resolve()
    if not path.is_file():
        raise UsageError(f"{imagery} is not a file: name a GeoTIFF")
    given = GeotiffImagery.model_validate({"paths": [str(path)]})
    west, south, east, north = open_source(given).bounds("EPSG:4326")
    area = {
        "name": path.stem,
        "crs": utm_code((west + east) / 2, (south + north) / 2),
        "step": step,
        "imagery": {"kind": "geotiff", "paths": [str(path)]},
        "model": MODEL,
        "cube": "cube.zarr",
    }
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "area.yaml", yaml.safe_dump(area, sort_keys=False))
