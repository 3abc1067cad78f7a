"""What several models find, together: each answer is like that of one model, with what every
model says of its places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import F64, I64
from ...candidates import Candidate
from ...evaluation.tandem import Bank, fused
from ...executors import Executor
from ...models import Model, model_info
from ...photos import photo_path
from ...progress import Progress, part_of, silent
from ...report import QueryResult
from ...report.tandem import SCORE, Said, TandemModel, TandemPart, TandemPlace
from ...search import BLOCK, RankedMap, strips
from ..encode import parts_of
from ..folders import cubes_key
from ..items import QueryItem
from ..searcher import Found, Truth, answer_by
from ..session import QuerySession
from ..truth import with_truth
from .members import Tandem
from .notes import deviation_of, notes_of


@dataclass(frozen=True)
class TandemSearcher:
    """Several models together, as a `Searcher`."""

    tandem: Tandem

    @property
    def session(self) -> QuerySession:
        """How the first model's cube is asked."""
        return self.tandem.members[0].session

    @property
    def models(self) -> tuple[Model, ...]:
        """That encode the photos."""
        return self.tandem.models

    @property
    def cube_key(self) -> str:
        """See `Searcher`."""
        return cubes_key([member.cube.url for member in self.tandem.members])

    @property
    def facts(self) -> dict[str, Any]:
        """See `Searcher`: the day of the imagery where it is the same of all cubes."""
        members = self.tandem.members
        last = {member.session.info.get("imagery_last") for member in members}
        day = last.pop() if len(last) == 1 else None
        names = [member.name for member in members]
        return {**self.session.info, "imagery_last": day, "models": names}

    @property
    def scratch_bytes(self) -> int:
        """See `Searcher`: a map by each model, and one of all together."""
        return self.session.scratch_bytes * (len(self.tandem.members) + 1)

    @property
    def state(self) -> list[Any]:
        """See `Searcher`: also the weights, and the photos of the bank."""
        tandem, session = self.tandem, self.session
        members = [
            [member.name, weight, member.model.digest, member.cube.url, member.cube.generation]
            for member, weight in zip(tandem.members, tandem.weights, strict=True)
        ]
        bank = [[dict(photo) for photo in tandem.photos], len(tandem.failures)]
        return [session.parameters, members, bank, session.sensitive]

    @property
    def scene_item(self) -> QueryItem:
        """See `Searcher`: as the first model calls and sees it."""
        return self.session.scene_item

    def key(self, item: QueryItem) -> str:
        """See `Searcher`."""
        return self.tandem.key(item)

    def search(
        self,
        items: Sequence[QueryItem],
        executor: Executor | None = None,
        progress: Progress | None = None,
        scratch: Path | None = None,
    ) -> list[Found]:
        """See `Searcher`."""
        alone, told = [], progress or silent("")
        for number, member in enumerate(self.tandem.members):
            own = [self._parts(item)[number] for item in items]
            advance = part_of(told, number, len(self.tandem.members))
            alone.append(member.session.search(own, executor, advance, scratch))
        return [Found(maps, scratch) for maps in zip(*alone, strict=True)]

    def search_scene(self, progress: Progress | None = None, scratch: Path | None = None) -> Found:
        """See `Searcher`."""
        members, told = self.tandem.members, progress or silent("")
        maps = [
            member.session.search_scene(part_of(told, number, len(members)), scratch)
            for number, member in enumerate(members)
        ]
        return Found(tuple(maps), scratch)

    def answer(self, item: QueryItem, found: Found, truth: Truth = None) -> QueryResult:
        """See `Searcher`."""
        asked = list(zip(self._parts(item), found.maps, strict=True))
        return _answer(self.tandem, asked, truth, found.scratch)

    def _parts(self, item: QueryItem) -> list[QueryItem]:
        """The same as each model sees it."""
        if self.session.options.scene:
            own_items = (member.session.scene_item for member in self.tandem.members)
            return [replace(one, name=item.name, folder=item.folder) for one in own_items]
        return [replace(item, vector=own) for own in parts_of(item.vector, self.models)]


@dataclass(frozen=True)
class TandemAnswer:
    """The best places of one photo."""

    result: QueryResult

    @property
    def photo(self) -> str:
        """Its file's name."""
        return self.result.photos[0].file

    @property
    def sha256(self) -> str:
        """Of the photo."""
        return self.result.photos[0].sha256

    @property
    def folder(self) -> Path | None:
        """Where the answer's files are."""
        return self.result.folder

    @cached_property
    def places(self) -> tuple[TandemPlace, ...]:
        """The candidates, the best first."""
        part = self.result.tandem
        assert part is not None
        return part.places(self.result.candidates)


def search_tandem(
    tandem: Tandem,
    photos: Sequence[str | Path],
    out: Path,
    *,
    top: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[TandemAnswer], dict[str, str]]:
    """The best places of each photo by all models together, written to ``out/<photo>/``; and
    failures by path. Raises OutputError.

    ``top``: how many places, by default as many as the tandem was opened with.
    """

    def stages(stage: str) -> Progress:
        told = progress if stage == "ranking the places" else None
        return lambda done, total: None if told is None else told(int(done), total)

    paths = [photo_path(photo) for photo in photos]
    asked = tandem if top is None else tandem.with_top(top)
    results, failures = answer_by(TandemSearcher(asked), paths, out, stages)
    return [TandemAnswer(result) for result in results], failures


Asked = Sequence[tuple[QueryItem, RankedMap]]
"""The same photo as each model sees it, and what that finds alone."""


def _answer(tandem: Tandem, asked: Asked, truth: Truth, scratch: Path | None) -> QueryResult:
    """The answer of all models, from what each of them finds alone."""
    alone = [
        with_truth(member.session.answer(item, ranked, member.model), truth)
        for member, (item, ranked) in zip(tandem.members, asked, strict=True)
    ]
    usual = [
        member.bank or Bank.of_places(one.survey.mean, deviation_of(one))
        for member, one in zip(tandem.members, alone, strict=True)
    ]
    ranked, lost = _together(tandem, alone, usual, scratch)
    first = tandem.members[0]
    result = first.session.answer(asked[0][0], ranked, None)
    parts = [
        TandemModel(member.name, weight, one, _said(result.candidates, one, scale))
        for member, weight, one, scale in zip(
            tandem.members, tandem.weights, alone, usual, strict=True
        )
    ]
    return replace(
        with_truth(result, truth),
        model=model_info(first.model),
        random=None,
        lacking=_lacking(tandem, alone[0].lacking, lost),
        notes=tuple(dict.fromkeys(notes_of(tandem, alone, result.candidates))),
        tandem=TandemPart(tuple(parts), tandem.photos),
        regions=result.regions and replace(result.regions, measure=SCORE),
    )


def _together(
    tandem: Tandem, alone: Sequence[QueryResult], usual: Sequence[Bank], scratch: Path | None
) -> tuple[RankedMap, list[int]]:
    """The places, and their regions where these are asked for, ranked by the scores of all models;
    and of each model how many places it is the first not to know."""
    session = tandem.members[0].session
    kept, lost = session.reduction(1, scratch), np.zeros(len(alone), np.int64)
    for chunk in session.grid.chunks(size=BLOCK):
        rows, cols = chunk.slices
        distances = [np.asarray(one.heatmap[rows, cols], np.float64) for one in alone]
        scores = [
            scale.at(chunk.slices).scores(own) for scale, own in zip(usual, distances, strict=True)
        ]
        kept.add(chunk, fused(scores, tandem.weights)[None].astype(np.float32))
        lost += _first_unknown(distances, tandem.weights)
    return kept.result()[0], lost.tolist()


def _first_unknown(distances: Sequence[F64], weights: Sequence[float]) -> I64:
    """Places that the first model knows and another, that counts, does not: by the other."""
    known, counts = np.isfinite(distances[0]), [0]
    for own, weight in zip(distances[1:], weights[1:], strict=True):
        here = known & np.isfinite(own) if weight else known
        counts.append(int(np.count_nonzero(known)) - int(np.count_nonzero(here)))
        known = here
    return np.asarray(counts, np.int64)


def _said(candidates: Sequence[Candidate], alone: QueryResult, usual: Bank) -> dict[int, Said]:
    """What one model says of places, by their rank: of those that it knows; in one pass."""
    cells = [(c.rank, (c.row, c.col)) for c in candidates]
    values = {rank: float(alone.heatmap[cell]) for rank, cell in cells}
    known = {rank: value for rank, value in values.items() if np.isfinite(value)}
    standing = _at_most(alone, sorted(set(known.values())))
    total = max(alone.known, 1)
    return {
        rank: Said(
            standing[known[rank]],
            100 * standing[known[rank]] / total,
            known[rank],
            float(usual.at(cell).scores(np.asarray(known[rank]))),
        )
        for rank, cell in cells
        if rank in known
    }


def _at_most(alone: QueryResult, values: Sequence[float]) -> dict[float, int]:
    """How many places are at most so far, for ascending distances."""
    limits, counts = np.asarray(values, np.float32), np.zeros(len(values) + 1, np.int64)
    for _, strip in strips(alone.heatmap):
        first = np.searchsorted(limits, strip[np.isfinite(strip)], side="left")
        counts += np.bincount(first, minlength=len(counts))
    return dict(zip(values, np.cumsum(counts)[: len(values)].tolist(), strict=True))


def _lacking(tandem: Tandem, first: Mapping[str, int], lost: Sequence[int]) -> dict[str, int]:
    """Places that were not searched, by the reason: those of the first cube, then of others."""
    others = {
        f"nothing in the cube of model {member.name}": count
        for member, count in zip(tandem.members, lost, strict=True)
        if count
    }
    return {**first, **others}
