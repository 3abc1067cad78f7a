"""A small place with answers to its first photo, and to a scene: where zooming begins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoloc.query import ZoomOptions, zoom_answer
from geoloc.report import QueryResult
from tests.small_place import SmallPlace


@dataclass(frozen=True)
class Answered:
    """A place with its cubes, and answers to its first photo and to a scene."""

    place: SmallPlace

    @property
    def answer(self) -> Path:
        return self.place.folder / "answers" / "street_1"

    @property
    def scene(self) -> Path:
        return next((self.place.folder / "scenes").iterdir())

    @property
    def bank(self) -> list[Path]:
        return sorted((self.place.folder / "bank").iterdir())

    def record(self) -> dict[str, Any]:
        return read(self.answer)


def read(folder: Path | None) -> dict[str, Any]:
    """The record of an answer."""
    assert folder is not None
    record = json.loads((folder / "query.json").read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def zoom(answer: Path, rank: int = 2, km: float = 0.64, **options: Any) -> QueryResult:
    return zoom_answer(answer, rank, ZoomOptions(km, **options))
