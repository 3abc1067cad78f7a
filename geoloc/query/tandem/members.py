"""The models of a tandem and their cubes, opened together, and what is usual of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...area import Area
from ...arrays import F32, F64
from ...cube import Cube
from ...domain import Domain, Points
from ...errors import UsageError
from ...evaluation.tandem import FEWEST, Bank, BankSums, by_places, fused, shares
from ...models import Model
from ...photos import Photo
from ...progress import Progress, Stages, part_of, silent, unheard
from ...ranking import Ranking
from ...report.evidence import photo_record
from ...search import Query, scan
from ..bank import bank_photos
from ..encode import BATCH, encode, parts_of
from ..folders import question_key
from ..items import QueryItem
from ..options import QueryOptions
from ..session import QuerySession
from ..target import Ref, Target, cube_model, open_target, several_models

TANDEM, TANDEM_BANK = "tandem", "tandem_bank"
"""All models together in an evaluation, by the places and by the bank: names of no model."""

_MOST = 1 << 24  # places: what is usual of them must fit in memory
_GROUP = 16  # photos of a pass
_MOST_BANK = 256  # photos: more say hardly more, and each takes memory while a cube is read
_BANK_KEYS = ("file", "path", "sha256")


@dataclass(frozen=True, eq=False)
class Member:
    """A model of the tandem: its name here, how its cube is asked, and what its bank says, if
    there is one."""

    name: str
    session: QuerySession
    model: Model
    bank: Bank | None

    @property
    def cube(self) -> Cube:
        """What it is asked of."""
        return self.session.target.cube


@dataclass(frozen=True, eq=False)
class Tandem:
    """Cubes of the same places by several models; open one with `open_tandem` or `open_area`.

    weights: of each model, summing to 1, those without weight last; photos: of the bank;
    failures: why others of it could not be read, by path.
    """

    members: tuple[Member, ...]
    weights: tuple[float, ...]
    photos: tuple[Mapping[str, Any], ...] = ()
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def bank(self) -> int:
        """How many photos of the bank count."""
        return len(self.photos)

    @property
    def options(self) -> QueryOptions:
        """What it was opened with."""
        return self.members[0].session.options

    def with_top(self, top: int) -> Tandem:
        """The same with another number of candidates."""
        options = self.options.model_copy(update={"top": top})
        members = [replace(m, session=replace(m.session, options=options)) for m in self.members]
        return replace(self, members=tuple(members))

    def key(self, item: QueryItem) -> str:
        """Stands for the question; see `question_key`."""
        sessions = [member.session for member in self.members]
        models = [{"cube": session.info, "scene": session.options.scene} for session in sessions]
        return question_key({**sessions[0].asked(item), "tandem": {"models": models}})

    @property
    def domain(self) -> Domain:
        """The places."""
        return self.members[0].cube.domain

    @property
    def models(self) -> tuple[Model, ...]:
        """In the order of the members."""
        return tuple(member.model for member in self.members)

    def read(self, paths: Sequence[Path]) -> tuple[list[Photo], list[F32], dict[str, str]]:
        """The readable photos, their vectors ``(photo, feature)`` by each model, and failures."""
        photos, vectors, failures = encode(paths, self.models)
        return photos, parts_of(vectors, self.models), failures

    def distances(self, vectors: Sequence[F32], photo: int) -> list[F32]:
        """Of one photo to all places by each model, ``(1, place)``."""
        one = slice(photo, photo + 1)
        pairs = zip(self.members, vectors, strict=True)
        return [distance_maps(member.cube, own[one]) for member, own in pairs]

    def fused(self, scores: Sequence[F64]) -> F64:
        """The z-scores of all models together."""
        return fused(scores, self.weights)

    def scores(self, distances: Sequence[F32], *, by_bank: bool) -> list[F64]:
        """z-scores of each model's distances ``(1, place)``: by the bank, or by places."""
        return [
            member.bank.flat.scores(own) if by_bank and member.bank else by_places(own)
            for member, own in zip(self.members, distances, strict=True)
        ]


def distance_maps(cube: Cube, vectors: F32) -> F32:
    """Distances ``(photo, place)`` of all places of a cube, row by row, NaN where missing."""
    shape = cube.domain.shape
    maps = np.full((len(vectors), *shape), np.nan, np.float32)
    for start in range(0, len(vectors), _GROUP):
        part = slice(start, start + _GROUP)
        for chunk, values in scan(cube, Query(vectors[part])):
            maps[(part, *chunk.slices)] = values
    return maps.reshape(len(vectors), -1)


def open_area(
    area: Area,
    options: QueryOptions | None = None,
    progress: Stages = silent,
    *,
    usually_hidden: bool = False,
) -> Tandem:
    """The tandem of an area that names several models, with its weights and its bank.

    ``usually_hidden``: pages hide the photos unless the area file or the options say otherwise.
    Raises what `open_tandem` raises, and UsageError where the bank's folder has no photos.
    """
    bank = () if area.bank is None else bank_photos(area.bank)
    weights = [one.weight for one in area.models]
    parts = area.named_parts
    options = options or QueryOptions()
    cubes = [*parts.values()]
    return _open(cubes, [*parts], bank, weights, options, progress, usually_hidden)


def open_tandem(
    cubes: Sequence[Ref],
    bank: Sequence[Path] = (),
    *,
    weights: Sequence[float] | None = None,
    options: QueryOptions | None = None,
    progress: Stages = silent,
) -> Tandem:
    """Open cubes of the same places, each by its own model, and ask them about the bank's photos.

    One area file of several models stands for all of their cubes, with its weights and its bank if
    no others are given. Raises UsageError for fewer than two cubes, such of different places or
    of one model, more places than fit in memory, options that several models cannot have, or too
    small a bank; CubeError, ModelError.
    """
    area, names = several_models(cubes[0]) if len(cubes) == 1 else None, None
    if area is not None:
        if not bank and area.bank is not None:
            bank = bank_photos(area.bank)
        names, cubes = [*area.named_parts], [*area.parts]
        weights = [one.weight for one in area.models] if weights is None else weights
    return _open(cubes, names, bank, weights, options or QueryOptions(), progress)


def _open(
    cubes: Sequence[Ref],
    names: Sequence[str] | None,
    bank: Sequence[Path],
    weights: Sequence[float] | None,
    options: QueryOptions,
    progress: Stages,
    usually_hidden: bool = False,
) -> Tandem:
    if len(cubes) < 2:
        raise UsageError(
            "a tandem needs at least two cubes of the same places: --cube A --cube B, or an area "
            "file that names several models"
        )
    shares(weights, len(cubes))  # refuses what does not fit, before any work
    require_possible(options)
    targets = [opened(cube, options) for cube in cubes]
    require_same_places([target.cube for target in targets])
    models = [cube_model(target) for target in targets]
    return assemble(
        targets, models, bank, weights, options,
        names=names, progress=progress, usually_hidden=usually_hidden,
    )  # fmt: skip


def assemble(
    targets: Sequence[Target],
    models: Sequence[Model],
    bank: Sequence[Path],
    weights: Sequence[float] | None,
    options: QueryOptions,
    *,
    names: Sequence[str] | None = None,
    scenes: Sequence[str] | None = None,
    progress: Stages = silent,
    usually_hidden: bool = False,
) -> Tandem:
    """A tandem of open cubes, each with its model; see `open_tandem`.

    ``names``: of the models here, by default their own; ``scenes``: what each calls the scene that
    is asked for, where one is; ``usually_hidden``: see `open_area`.
    """
    if options.feedback:
        raise UsageError(
            "feedback is of one model, and several are asked together: name a --model, or leave "
            "--feedback out"
        )
    chosen = shares(weights, len(targets))
    _require_different(models)
    named = names_of(names or [model.name for model in models], models)
    order = sorted(range(len(models)), key=lambda number: not chosen[number])
    hidden = scenes is None and any(
        target.hides_photos(options.sensitive, usually_hidden) for target in targets
    )
    sessions = []
    for number in order:
        own = options.model_copy(update={"scene": scenes[number] if scenes else None})
        sessions.append(QuerySession.of(targets[number], own, sensitive=hidden))
    known = _known_of(bank, [models[number] for number in order], progress)
    usual = _usual_of([session.target.cube for session in sessions], known.vectors, progress)
    members = [
        Member(named[number], session, models[number], own)
        for number, session, own in zip(order, sessions, usual, strict=True)
    ]
    return Tandem(tuple(members), tuple(chosen[order].tolist()), known.photos, known.failures)


@dataclass(frozen=True)
class _Known:
    """Which photos of a bank can be read, their vectors ``(photo, feature)`` by each model, and
    why others cannot."""

    photos: tuple[Mapping[str, Any], ...] = ()
    vectors: tuple[F32, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)


def _known_of(bank: Sequence[Path], models: Sequence[Model], progress: Stages) -> _Known:
    if not bank:
        return _Known()
    advance, vectors = progress("reading the bank"), []
    for number, model in enumerate(models):
        told = part_of(advance, number, len(models))
        photos, own, failures = _bank_vectors(model, bank, told)
        vectors.append(own)
    return _Known(tuple(photos), tuple(vectors), failures)


def _usual_of(cubes: Sequence[Cube], vectors: Sequence[F32], progress: Stages) -> list[Bank | None]:
    """What is usual of the places of each cube; None of all without a bank."""
    if not vectors:
        return [None] * len(cubes)
    advance = progress("comparing the bank with the places")
    return [
        bank_of(cube, own, part_of(advance, number, len(cubes)))
        for number, (cube, own) in enumerate(zip(cubes, vectors, strict=True))
    ]


def _bank_vectors(
    model: Model, bank: Sequence[Path], progress: Progress
) -> tuple[list[Mapping[str, Any]], F32, dict[str, str]]:
    """Which photos of the bank can be read, their vectors ``(photo, feature)``, and failures.

    No more of them than a batch are in memory at once.
    """
    known, parts, failures = list[Mapping[str, Any]](), list[F32](), dict[str, str]()
    if len(bank) > _MOST_BANK:
        raise UsageError(
            f"a bank of {len(bank):,} photos is too large: {_MOST_BANK} unrelated ones suffice"
        )
    for start in range(0, len(bank), BATCH):
        photos, vectors, lost = encode(bank[start : start + BATCH], [model])
        known += [{key: photo_record(one)[key] for key in _BANK_KEYS} for one in photos]
        parts.append(vectors)
        failures |= lost
        progress(min(start + BATCH, len(bank)), len(bank))
    if failures and len(known) < FEWEST:
        raise UsageError(
            f"{len(failures)} of {len(bank)} photos of the bank cannot be read, and {len(known)} "
            f"are too few: give at least {FEWEST}; {next(iter(failures.values()))}"
        )
    return known, np.concatenate(parts), failures


def bank_of(cube: Cube, vectors: F32, progress: Progress = unheard) -> Bank:
    """What is usual of the places of a cube, by the vectors ``(photo, feature)`` of a bank.

    ``progress`` is called for the places. Raises UsageError for too few photos, or such as do not
    differ.
    """
    sums, done = BankSums(len(vectors), cube.domain.shape), 0
    for chunk, values in scan(cube, Query(vectors)):
        sums.add(chunk.slices, values)
        progress(done := done + values[0].size, cube.domain.size)
    return sums.bank()


def opened(cube: Ref, options: QueryOptions) -> Target:
    """The cube of one of them, as the options say. Raises what `open_target` raises."""
    return open_target(
        cube,
        options.generation,
        check_digests=options.check_digests,
        fetch_imagery=options.fetch_imagery,
    )


def require_possible(options: QueryOptions) -> None:
    """Raise UsageError for what is of one model alone."""
    if options.ranking is Ranking.CORRECTED:
        raise UsageError(
            "--ranking corrected goes by how distances are spread, and several models have scores: "
            "choose minimum, nearest or quantile, or name a --model"
        )
    if isinstance(options.generation, str):
        raise UsageError(
            f"generation {options.generation} is of one cube: name a --date, or a --model"
        )


def _require_different(models: Sequence[Model]) -> None:
    digests = [model.digest for model in models]
    for model in models:
        if digests.count(model.digest) > 1:
            raise UsageError(
                f"model {model.name} ({model.digest[:12]}) is named twice: a tandem needs cubes of "
                "different models"
            )


def names_of(names: Sequence[str], models: Sequence[Model]) -> list[str]:
    """Names of models, with their digests where two have the same, or all together have it."""
    every = [TANDEM, TANDEM_BANK, *names]
    return [
        f"{name}-{model.digest[:12]}" if every.count(name) > 1 else name
        for name, model in zip(names, models, strict=True)
    ]


def require_same_places(cubes: Sequence[Cube]) -> None:
    """Raise UsageError for cubes of different places, or of more than fit in memory."""
    first = cubes[0]
    require_few(first.domain.size, f"cube {first.url}", "build smaller areas")
    for cube in cubes[1:]:
        if _key(cube.domain) != _key(first.domain):
            raise UsageError(
                f"cubes {first.url} and {cube.url} are not of the same places: build both with the "
                "same bounds, CRS and step"
            )
    if len({cube.url for cube in cubes}) < len(cubes):
        raise UsageError(f"cube {first.url} is named twice: a tandem needs cubes of two models")
    if isinstance(first.domain, Points):
        raise UsageError(
            f"cube {first.url} is of points, which several models do not answer together: ask each "
            "of them by itself, with --model or by its cube"
        )


def require_few(places: int, what: str, fix: str) -> None:
    """Raise UsageError for more places than several models can be asked of together."""
    if places > _MOST:
        raise UsageError(f"{what} has {places:,} places, and a tandem takes {_MOST:,}: {fix}")


def _key(domain: Domain) -> tuple[Any, ...]:
    if isinstance(domain, Points):
        return (domain.crs, domain.digest)
    return (domain.crs, domain.shape, *domain.bounds)
