"""Items and clusters to answers: one pass over the cube for as many as memory holds."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..encoders import Model
from ..errors import GeolocError
from ..photos import Photo
from ..query.ask import Ask, Question
from ..report import QueryResult, write_report
from ..report.heat import levels, palette, shrink
from ..report.vector import properties
from .reading import photo_of
from .store import Item, Store

PASS_BYTES = 2 << 30
"""Heatmaps of one pass over the cube, held in memory."""

_HEAT_PIXELS = 110  # longer side of the small heatmap in the index
_HEAT_STEP = 8  # of 255 levels are one colour there: a third of the bytes
_DOT = (255, 45, 120)

Messages = Mapping[int, Sequence[dict[str, Any]]]
"""By item: every message that brought it."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A question of a bulk run: an item, or several that may show one place."""

    folder: str
    title: str
    items: tuple[Item, ...]
    vector: NDArray[np.float32]

    def key(self, ask: Ask, messages: Messages) -> str:
        """Stands for all that an answer depends on: where it is the same, so is the answer."""
        cube = ask.target.cube
        told = [[messages.get(item.id, ()), item.record] for item in self.items]
        text = json.dumps([self.title, told, ask.parameters, cube.url, cube.generation])
        return hashlib.sha256(text.encode() + self.vector.tobytes()).hexdigest()


@dataclass(frozen=True)
class Answering:
    """How the questions of one run are answered; ``items``: the folder of the items."""

    ask: Ask
    model: Model
    store: Store
    out: Path
    items: Path
    messages: Messages

    def pending(self, asked: Sequence[Asked]) -> list[Asked]:
        """The questions that are not answered yet, or were asked otherwise."""
        known = self.store.answers()
        return [
            one
            for one in asked
            if known.get(one.folder, ("",))[0] != one.key(self.ask, self.messages)
            or not (self.out / one.folder / "query.json").is_file()
        ]

    def answer(self, asked: Sequence[Asked], progress: Callable[[int], None]) -> dict[str, str]:
        """Write each answer as soon as it is known; what fails is told, by folder."""
        failures: dict[str, str] = {}
        for start, batch in self._passes(asked):
            questions = [Question(one.title, one.folder, (), one.vector) for one in batch]
            heatmaps = self.ask.heatmaps(questions)
            for done, one in enumerate(batch, start=start + 1):
                try:
                    self._write(one, questions[done - start - 1], heatmaps[done - start - 1])
                except (GeolocError, OSError) as error:
                    failures[one.folder] = " ".join(str(error).split())
                progress(done)
        return failures

    def _passes(self, asked: Sequence[Asked]) -> Iterator[tuple[int, Sequence[Asked]]]:
        size = max(1, PASS_BYTES // (4 * self.ask.target.cube.grid.size))
        for start in range(0, len(asked), size):
            yield start, asked[start : start + size]

    def _write(self, one: Asked, question: Question, heatmap: NDArray[np.float32]) -> None:
        photos = tuple(self._photo(item) for item in one.items)
        result = self.ask.answer(replace(question, photos=photos), heatmap, self.model)
        write_report(result, self.out / one.folder, self.ask.target.source)
        key = one.key(self.ask, self.messages)
        self.store.answer(one.folder, key, summary(result), small_heat(result))

    def _photo(self, item: Item) -> Photo:
        return photo_of(item, self.items, self.messages.get(item.id, ()))


def summary(result: QueryResult) -> dict[str, Any]:
    """What the index and the tables tell of an answer (JSON types only)."""
    kept = ("rank", "distance", "percentile", "lon", "lat", "shared")
    candidates = [{key: properties(c)[key] for key in kept} for c in result.candidates]
    scenes = [[name, round(share, 4)] for name, share in result.scenes()]
    return {"title": result.title, "scenes": scenes, "candidates": candidates}


def small_heat(result: QueryResult) -> bytes:
    """PNG of the heatmap, yellow for the best, with a dot at the best candidate."""
    small, grid = shrink(result.heatmap, result.grid, _HEAT_PIXELS)
    index = levels(result).of(small)
    index = np.where(index > 0, 1 + (index - 1) // _HEAT_STEP, 0).astype(np.uint8)
    if result.candidates and (cell := grid.index(result.candidates[0].x, result.candidates[0].y)):
        row, col = cell
        index[max(0, row - 1) : row + 2, max(0, col - 1) : col + 2] = 255
    colors = np.full((256, 3), 128, np.uint8)
    steps = palette()[_HEAT_STEP // 2 :: _HEAT_STEP]
    colors[1 : 1 + len(steps)], colors[255] = steps, _DOT
    image = Image.fromarray(index)
    image.putpalette(colors.reshape(-1).tolist())
    memory = io.BytesIO()
    image.save(memory, "png", optimize=True)
    return memory.getvalue()
