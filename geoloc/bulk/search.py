"""Items and clusters to answers: one pass over the cube for as many as the disk has room for."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import F32
from ..files.modes import open_answer
from ..files.whole import file_sha256
from ..photos import Photo
from ..progress import Progress, Stages, part_of
from ..query.folders import recorded
from ..query.items import QueryItem
from ..query.searcher import Found, Searcher
from ..report import QueryResult, write_report
from ..report.heat import color_scale, paper_palette, shrink
from ..report.outputs import RECORD, faults_of_outputs
from ..report.views import Views
from .entries import SMALL
from .mishaps import contained
from .reading import photo_of
from .store import Item, Store

PASS_PHOTOS = 128
"""Searched for in one pass over the cube: what a block of it takes of memory, whatever the cube."""

_OF_FREE = 4  # of the disk's free bytes heatmaps of one pass take no more than one in so many

_WRITERS = 8  # answers written at a time, at most
_HEAT_PIXELS = 110  # longer side of the small heatmap in the index
_HEAT_STEP = 8  # of 255 levels are one colour there: a third of the bytes
_DOT = (255, 45, 120)

Evidence = Mapping[int, Mapping[str, Any]]
"""By item: what its evidence tells of it beside its record; see `copies.evidence_of`."""

_DIGEST = "record_sha256"  # of a summary: which query.json it is of
_LOG = logging.getLogger(__name__)

_Summary = dict[str, Any]


@dataclass(frozen=True, eq=False)
class BulkItem:
    """What gets one answer of a bulk run: a picture, or several that may show one place."""

    folder: str
    title: str
    items: tuple[Item, ...]
    vector: F32

    def key(self, searcher: Searcher, evidence: Evidence) -> str:
        """Stands for all that an answer depends on: where it is the same, so is the answer."""
        facts = [[evidence.get(item.id, {}), item.record] for item in self.items]
        text = json.dumps([self.title, facts, *searcher.state])
        return hashlib.sha256(text.encode() + self.vector.tobytes()).hexdigest()


@dataclass(frozen=True)
class BulkSearch:
    """How the items of one run are answered; ``items``: the folder of their answers."""

    searcher: Searcher
    store: Store
    out: Path
    items: Path
    evidence: Evidence

    def pending(self, items: Sequence[BulkItem], progress: Progress) -> list[BulkItem]:
        """The items that are not answered yet, were asked otherwise, or whose answer is not
        whole: every file of it is read and compared with its SHA-256."""
        known = self.store.answers()
        same = [
            one for one in items
            if known.get(one.folder, ("", {}))[0] == one.key(self.searcher, self.evidence)
        ]  # fmt: skip
        kept, count = set[str](), min(_WRITERS, len(os.sched_getaffinity(0)))
        with ThreadPoolExecutor(count, thread_name_prefix="checks") as pool:
            whole = pool.map(lambda one: self._is_whole(one, known[one.folder][1]), same)
            for done, (one, sound) in enumerate(zip(same, whole, strict=True), start=1):
                kept |= {one.folder} if sound else set()
                progress(done, len(same))
        return [one for one in items if one.folder not in kept]

    def _is_whole(self, one: BulkItem, kept: Mapping[str, Any]) -> bool:
        """Whether the record is the very one that this run's list is of, and all files are its."""
        folder = self.out / one.folder
        try:
            same = not folder.is_symlink() and file_sha256(folder / RECORD) == kept.get(_DIGEST)
        except OSError:
            return False
        record = recorded(folder) if same else None
        faults = ["it has no record"] if record is None else [*faults_of_outputs(folder, record)]
        if same and faults:
            _LOG.info("%s is answered again: %s", folder, "; ".join(faults))
        return not faults

    def answer(self, items: Sequence[BulkItem], progress: Stages) -> dict[str, str]:
        """Write each answer as soon as it is known; failures are returned by folder.

        Several are written at a time: most of that is reading imagery and compressing, which
        frees the interpreter. They are recorded here, one by one and in order.
        """
        failures: dict[str, str] = {}
        jobs = self._jobs(items, progress("searching the cube"))
        report = progress("writing the answers")
        count = min(_WRITERS, len(os.sched_getaffinity(0)))
        with ThreadPoolExecutor(count, thread_name_prefix="answers") as pool:
            try:
                written = _in_turn(pool, jobs, 2 * count)
                for done, (one, future) in enumerate(written, start=1):
                    with contained(one.folder, partial(failures.__setitem__, one.folder), self.out):
                        answered = future.result()
                    if one.folder not in failures:
                        self.store.answer(
                            one.folder, one.key(self.searcher, self.evidence), answered
                        )
                    report(done, len(items))
            finally:
                pool.shutdown(cancel_futures=True)
        return failures

    def _jobs(
        self, items: Sequence[BulkItem], progress: Progress
    ) -> Iterator[tuple[BulkItem, Callable[[], _Summary]]]:
        size = self._photos_a_pass()
        starts = range(0, len(items), size)
        for number, start in enumerate(starts):
            batch = items[start : start + size]
            questions = [QueryItem(one.title, one.folder, (), one.vector) for one in batch]
            report = part_of(progress, number, len(starts))
            results = self.searcher.search(questions, progress=report, scratch=self.out)
            for one, question, found in zip(batch, questions, results, strict=True):
                yield one, partial(self._write, one, question, found)

    def _photos_a_pass(self) -> int:
        """As many as the disk has room for, twice: two passes may be on it, and their answers."""
        room = shutil.disk_usage(self.out).free // _OF_FREE
        most = self.searcher.session.most_at_once or PASS_PHOTOS
        return min(PASS_PHOTOS, most, max(1, room // self.searcher.scratch_bytes))

    def _write(self, one: BulkItem, question: QueryItem, found: Found) -> _Summary:
        folder = self.out / one.folder
        if folder.is_symlink():  # writing there would replace another answer
            folder.unlink()
        photos = tuple(self._photo(item) for item in one.items)
        asked = replace(question, photos=photos, folder=folder)
        result = self.searcher.answer(asked, found)
        target = self.searcher.session.target  # a thousand pages: their maps stay small
        write_report(
            result, folder, target.source, target.overview, sharp=False,
            more={SMALL: write_small_heat},
        )  # fmt: skip
        return summary(result) | {_DIGEST: file_sha256(folder / RECORD)}

    def _photo(self, item: Item) -> Photo:
        return photo_of(item, self.items, self.evidence.get(item.id, {}))


def _in_turn(
    pool: ThreadPoolExecutor, jobs: Iterable[tuple[BulkItem, Callable[[], _Summary]]], ahead: int
) -> Iterator[tuple[BulkItem, Future[_Summary]]]:
    """The jobs in their order; at most ``ahead`` are begun before they are taken."""
    begun: deque[tuple[BulkItem, Future[_Summary]]] = deque()
    for one, job in jobs:
        begun.append((one, pool.submit(job)))
        if len(begun) == ahead:
            yield begun.popleft()
    yield from begun


def summary(result: QueryResult) -> _Summary:
    """What the index and the tables show of an answer (JSON types only)."""
    kept = ["rank", result.measure, "percentile", "lon", "lat", "shared"]
    kept += [] if result.tandem is None else ["models"]
    told = map(result.properties, result.candidates)
    candidates = [{key: one[key] for key in kept} for one in told]
    scenes = [[name, round(share, 4)] for name, share in result.scenes()]
    return {"title": result.title, "scenes": scenes, "candidates": candidates}


def write_small_heat(result: QueryResult, path: Path, _views: Views) -> None:
    """The heatmap of a card, magenta for the best, with a dot at the best candidate."""
    small, grid = shrink(result.heatmap, result.grid, _HEAT_PIXELS)
    index = color_scale(result).levels(small)
    index = np.where(index > 0, 1 + (index - 1) // _HEAT_STEP, 0).astype(np.uint8)
    if result.candidates and (cell := grid.index(result.candidates[0].x, result.candidates[0].y)):
        row, col = cell
        index[max(0, row - 1) : row + 2, max(0, col - 1) : col + 2] = 255
    colors = np.full((256, 3), 128, np.uint8)
    steps = paper_palette()[_HEAT_STEP // 2 :: _HEAT_STEP]
    colors[1 : 1 + len(steps)], colors[255] = steps, _DOT
    image = Image.fromarray(index)
    image.putpalette(colors.reshape(-1).tolist())
    with open_answer(path, "wb") as file:
        image.save(file, "png", optimize=True)
