"""Files of an answer of several models beside the usual ones: the heatmap of each, and
``tandem.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..names import unique_names
from .raster import write_heatmap

if TYPE_CHECKING:
    from .registry import Writer
    from .result import QueryResult
    from .tandem import Alone, TandemPart
    from .views import Views

FORMAT = "geoloc-tandem/1"
FILE = "tandem.json"


def writers(part: TandemPart) -> dict[str, Writer]:
    """Files of such an answer beside the usual ones: `FILE`, and the heatmap of each model."""
    return {FILE: write_tandem} | {
        file: _heatmap_of(one.alone)
        for file, one in zip(heatmap_files(m.name for m in part.models), part.models, strict=True)
    }


def heatmap_files(models: Iterable[str]) -> list[str]:
    """Files of the heatmaps of models by their names: none is ``heatmap_colors.tif``, which all
    together have."""
    _, *names = unique_names(["colors", *models])
    return [f"heatmap_{name}.tif" for name in names]


def _heatmap_of(alone: Alone) -> Writer:
    return lambda _result, path, views: write_heatmap(alone, path, views)


def write_tandem(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """``tandem.json``: the candidates with what each model says of them, and nothing else."""
    part = result.tandem
    assert part is not None
    photos = [{"file": photo.file, "sha256": photo.sha256} for photo in result.photos]
    record = {
        "format": FORMAT,
        "photo": photos[0] if photos else None,
        "photos": photos,
        "scene": None if photos else result.title,
        "calibration": part.calibration,
        "bank": len(part.bank),
        "models": {
            one.name: {
                "digest": one.alone.model.get("digest"),
                "cube": one.alone.cube.get("cube"),
                "generation": one.alone.cube.get("generation"),
                "weight": one.share,
            }
            for one in part.models
        },
        "candidates": [place.to_json() for place in part.places(result.candidates)],
    }
    text = json.dumps(record, allow_nan=False, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
