"""Photos in, answers of all models together out: each like that of one model, with what every
model says of its places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import F64, I64
from ...candidates import Candidate
from ...cube import Cube
from ...evaluation.tandem import Bank, fused
from ...executors import Executor, open_cluster
from ...models import model_info
from ...photos import photo_path
from ...report import QueryResult, check_writable, write_report
from ...report.tandem import Said, TandemModel, TandemPart, TandemPlace
from ...report.tandem_files import writers
from ...search import BLOCK, RankedMap, strips
from ..folders import Folders
from ..items import QueryItem, items_of, views_of
from ..options import LatLon
from ..session import imagery_near
from ..truth import known_truth, with_truth
from .members import Tandem

Stages = Callable[[str], Callable[[float, int], None]]
Truth = LatLon | Mapping[str, LatLon] | None


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
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[TandemAnswer], dict[str, str]]:
    """The best places of each photo by all models together, written to ``out/<photo>/``; and
    failures by path. Raises OutputError.

    ``top``: how many places, by default as many as the tandem was opened with.
    """

    def stages(stage: str) -> Callable[[float, int], None]:
        told = progress if stage == RANKING else None
        return lambda done, total: None if told is None else told(int(done), total)

    paths = [photo_path(photo) for photo in photos]
    asked = tandem if top is None else tandem.with_top(top)
    results, failures = answer_in_tandem(asked, paths, out, None, stages)
    return [TandemAnswer(result) for result in results], failures


RANKING = "ranking the places"


def answer_in_tandem(
    tandem: Tandem,
    paths: Sequence[Path],
    out: Path | None,
    origins: Mapping[str, Mapping[str, Any]] | None,
    progress: Stages,
) -> tuple[list[QueryResult], dict[str, str]]:
    """An answer of all models for each photo, and failures by path; written where ``out`` is
    given. Options are those that the tandem was opened with. Raises as `answer_photos` does."""
    options = tandem.options
    truth = known_truth(options.truth, tandem.members[0].session.grid)
    if out is not None:
        check_writable(out)
    with open_cluster(options.searched_by) as executor:
        advance = progress("reading the photos")
        photos, vectors, failures = tandem.read(
            paths, views_of(options), origins=origins, progress=advance
        )
        items = [list(items_of(photos, own, options.fuse)) for own in vectors]
        maps = _searched(tandem, items, executor, progress, out)
    results, advance = list[QueryResult](), progress(RANKING)
    folders = None if out is None else Folders(out)
    for number in range(len(maps[0])):
        asked = [(own[number], ranked[number]) for own, ranked in zip(items, maps, strict=True)]
        results.append(_answered(tandem, asked, folders, out, truth))
        advance(len(results), len(maps[0]))
    return results, failures


Asked = Sequence[tuple[QueryItem, RankedMap]]
"""The same photo as each model sees it, and what that finds alone."""


def _searched(
    tandem: Tandem,
    items: Sequence[Sequence[QueryItem]],
    executor: Executor,
    progress: Stages,
    scratch: Path | None,
) -> list[list[RankedMap]]:
    """What each model alone finds for each photo, in one pass over its cube."""
    found = []
    for member, own in zip(tandem.members, items, strict=True):
        advance = progress(f"searching the cube of {member.name}")
        found.append(member.session.search(own, executor, advance, scratch))
    return found


def _answered(
    tandem: Tandem, asked: Asked, folders: Folders | None, scratch: Path | None, truth: Truth
) -> QueryResult:
    """The answer, its files in a folder of its own where there are to be any."""
    item, target = asked[0][0], tandem.members[0].session.target
    if folders is None:
        return answer_of(tandem, asked, scratch, truth)
    with folders.claim(item.name, tandem.key(item)) as folder:
        result = replace(answer_of(tandem, asked, scratch, truth), folder=folder)
        more = {} if result.tandem is None else writers(result.tandem)
        write_report(result, folder, target.source, target.overview, more=more)
        return result


def answer_of(
    tandem: Tandem, asked: Asked, scratch: Path | None = None, truth: Truth = None
) -> QueryResult:
    """The answer of all models, from what each of them finds alone."""
    alone = [
        with_truth(member.session.answer(item, ranked, member.model), truth)
        for member, (item, ranked) in zip(tandem.members, asked, strict=True)
    ]
    usual = [
        member.bank or Bank.of_places(one.survey.mean, one.survey.deviation)
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
        notes=tuple(dict.fromkeys(_notes(tandem, alone, result.candidates))),
        tandem=TandemPart(tuple(parts), tandem.photos),
    )


def _together(
    tandem: Tandem, alone: Sequence[QueryResult], usual: Sequence[Bank], scratch: Path | None
) -> tuple[RankedMap, list[int]]:
    """The places ranked by the scores of all models; and of each model how many places it is the
    first not to know."""
    session = tandem.members[0].session
    kept, lost = session.ranked(1, scratch), np.zeros(len(alone), np.int64)
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


def _notes(
    tandem: Tandem, alone: Sequence[QueryResult], candidates: Sequence[Candidate]
) -> Iterator[str]:
    """How the scores came about, what limits each model, and where they differ in what they saw."""
    names = [member.name for member in tandem.members]
    yield _calibrated_by(tandem, alone[0].photos)
    if tandem.failures:
        yield f"{len(tandem.failures)} photos of the bank could not be read and do not count."
    yield f"Scenes, and what photo and place show, are those of model {names[0]}, named first."
    dates = {name: _dates(one) for name, one in zip(names, alone, strict=True)}
    if len(set(dates.values())) > 1:
        days = "; ".join(f"{name} {when or 'of unknown days'}" for name, when in dates.items())
        yield f"The models' cubes show imagery of different days: {days}. Update the older cube."
    elif changed := _changed(tandem, candidates):
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        yield (
            "The models' cubes were built from different imagery, or versions of it, at these "
            f"places ({changed[0]}{more}): 'geoloc cube update' brings the older cube up to date."
        )
    common = set.intersection(*(set(one.notes) for one in alone))
    yield from (note for note in alone[0].notes if note in common)
    for name, one in zip(names, alone, strict=True):
        if one.known > 1 and not one.survey.deviation:
            yield f"Model {name} tells no place from another: to it all are equally far."
        yield from (f"Model {name}: {note}" for note in one.notes if note not in common)
        if one.match_words:
            yield f"Model {name} alone: {one.match_words}"


def _calibrated_by(tandem: Tandem, photos: Sequence[Any]) -> str:
    if not tandem.bank:
        return (
            "Each model's score says how much nearer a place is to the photo than its other places "
            "are; no bank of unrelated photos was given (bank: in the area file) to compare with."
        )
    own = {photo.sha256 for photo in photos}
    words = (
        "Each model's score says how much nearer a place is to this photo than to "
        f"{tandem.bank} unrelated ones."
    )
    if any(one["sha256"] in own for one in tandem.photos):
        words += " The photo itself is among them, which makes its places look worse: take it out."
    return words


def _changed(tandem: Tandem, candidates: Sequence[Candidate]) -> list[str]:
    """Images of which a cube has another version than the first one near the places; all of the
    first one's where both have none in common.

    Images at the edge alone may be read by one model and not by another, and say nothing.
    """
    first, *others = (_versions(candidates, member.cube) for member in tandem.members)
    changed = set[str]()
    for other in others:
        both = first.keys() & other.keys()
        pairs = {name: {first[name], other[name]} - {None} for name in both}
        changed |= {name for name, versions in pairs.items() if len(versions) > 1}
        changed |= first.keys() if first and other and not both else set()
    return sorted(changed)


def _versions(candidates: Sequence[Candidate], cube: Cube) -> dict[str, Any]:
    return {one["id"]: one.get("version") for one in imagery_near(candidates, cube)}


def _dates(alone: QueryResult) -> str:
    """First and last day of a cube's imagery, as far as it is known."""
    days = [str(alone.cube.get(key) or "")[:10] for key in ("imagery_first", "imagery_last")]
    return " to ".join(dict.fromkeys(filter(None, days)))
