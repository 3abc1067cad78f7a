"""Whether several models together are better than the better one alone: on photos of known
places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...arrays import F32
from ...candidates.regions import RankedRegions, nearest_kept, places_kept
from ...domain import Domain, Grid, Regions
from ...errors import UsageError
from ...evaluation import Placement, Truth, read_truth
from ...evaluation.bootstrap import Figure, figures, mean_figure
from ...evaluation.ranks import ON_A_MAP, Ranks
from ...evaluation.regions import RegionScore, ranks_of, region_figures
from ...evaluation.truth import place_groups
from ...photos import photo_path
from ...progress import Progress
from ...ranking import Ranking
from ...search import BLOCK, RegionMin, RegionMinima
from ..truth import true_point
from .members import TANDEM, TANDEM_BANK, Tandem

RANKINGS = tuple(ranking for ranking in Ranking if ranking != Ranking.CORRECTED)
"""What the regions of several models can be ranked by; see `require_possible`."""


@dataclass(frozen=True, eq=False)
class Compared:
    """Figures of so many photos by what ranked the places, or their regions: each model alone, and
    all in tandem, by places and by the bank; ``gains``: mean percentile of the better model alone,
    less that in tandem, with its interval over places."""

    methods: dict[str, dict[str, Figure]]
    better: str
    gains: dict[str, Figure]
    photos: int

    @classmethod
    def of(
        cls,
        methods: dict[str, dict[str, Figure]],
        ranks: Mapping[str, Ranks],
        groups: Sequence[int],
        seed: int,
    ) -> Self:
        """By the figures and the ranks of the true places of each method."""
        together = [name for name in (TANDEM, TANDEM_BANK) if name in ranks]
        alone = {n: float(one.share.mean()) for n, one in ranks.items() if n not in together}
        better = min(alone, key=lambda name: alone[name])
        gains = {
            name: mean_figure(100 * (ranks[better].share - ranks[name].share), groups, seed=seed)
            for name in together
        }
        return cls(methods, better, gains, len(groups))

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        told = {
            name: {key: one.to_json() for key, one in found.items()}
            for name, found in self.methods.items()
        }
        gains = {name: one.to_json() for name, one in self.gains.items()}
        return {"methods": told, "better_alone": self.better, "gains": gains,
                "photos": self.photos}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TandemEvaluation:
    """How each model alone and all in tandem did, and why photos could not be read; ``skipped``:
    a line for each photo whose place could not be ranked; ``regions``: the same of the true
    regions by what these are ranked by, where they were asked for."""

    places: Compared
    failures: dict[str, str]
    skipped: tuple[str, ...] = ()
    regions: dict[str, Compared] = field(default_factory=dict)

    @property
    def methods(self) -> dict[str, dict[str, Figure]]:
        """Figures of the true places; see `Compared`."""
        return self.places.methods

    @property
    def photos(self) -> int:
        """How many there are."""
        return self.places.photos

    @property
    def better(self) -> str:
        """The better model alone."""
        return self.places.better

    @property
    def gains(self) -> dict[str, Figure]:
        """Of all in tandem; see `Compared`."""
        return self.places.gains

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        told = {**self.places.to_json(), "failures": self.failures, "skipped": [*self.skipped]}
        regions = {ranking: found.to_json() for ranking, found in self.regions.items()}
        return {**told, "regions": regions} if regions else told


def evaluate_tandem(
    tandem: Tandem,
    truth: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> TandemEvaluation:
    """Rank the true places of the photos of a truth file (they lie beside it) by each model alone
    and by all together; and their regions, where the tandem was opened with such. Raises UsageError
    where none of them can be ranked."""
    truths = read_truth(truth)
    paths = [photo_path(truth.parent / row.file) for row in truths]
    read, vectors, failures = tandem.read(paths)
    of, found = dict(zip(map(str, paths), truths, strict=True)), _Found(tandem)
    for number, photo in enumerate(read):
        found.add(of[str(photo.path)], _methods(tandem, tandem.distances(vectors, number)))
        if progress:
            progress(number + 1, len(read))
    if not found.rows:
        why = "; ".join([*found.skipped[:1], *[*failures.values()][:1]])
        raise UsageError(f"{truth}: none of its photos lies in the cubes and can be read: {why}")
    if found.layout is not None and not found.in_regions:
        raise UsageError(f"{truth}: none of its photos lies in a region: see the area's border")
    return TandemEvaluation(found.places(seed), failures, tuple(found.skipped), found.regions(seed))


Maps = Mapping[str, NDArray[np.floating]]
"""What the places ``(place,)`` are ranked by, by method."""


@dataclass
class _Found:
    """How the true places, and their regions, of some photos came out, by method."""

    tandem: Tandem
    rows: list[Truth] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    placed: dict[str, list[Placement]] = field(default_factory=dict)
    in_regions: list[Truth] = field(default_factory=list)
    scored: dict[Ranking, dict[str, list[RegionScore]]] = field(default_factory=dict)

    @property
    def layout(self) -> Regions | None:
        """The regions that the tandem was opened with."""
        regional = self.tandem.members[0].session.regional
        return None if regional is None else regional.layout

    def add(self, row: Truth, methods: Maps) -> None:
        """Take in a photo, where all methods know its true place."""
        cell = _cell(self.tandem.domain, row)
        if cell is None:
            self.skipped.append(f"{row.file}: its place lies outside the cubes")
            return
        if unknown := [name for name, found in methods.items() if not np.isfinite(found[cell])]:
            self.skipped.append(f"{row.file}: {unknown[0]} has no vector of its place")
            return
        self.rows.append(row)
        for name, found in methods.items():
            self.placed.setdefault(name, []).append(_placement(row.file, found, cell))
        if self.layout is not None:
            self._add_regions(row, methods, self.layout)

    def _add_regions(self, row: Truth, methods: Maps, layout: Regions) -> None:
        """The same by regions, where the true place lies in one."""
        minima = {name: _minima(layout, self.tandem.domain, own) for name, own in methods.items()}
        ranked = {
            (ranking, name): RankedRegions.of(own, self.tandem.domain, ranking)
            for ranking in RANKINGS
            for name, own in minima.items()
        }
        if next(iter(ranked.values())).region_of(row.lon, row.lat) is None:
            self.skipped.append(f"{row.file}: its place lies in no region; ranked by places alone")
            return
        self.in_regions.append(row)
        for (ranking, name), one in ranked.items():
            by_method = self.scored.setdefault(ranking, {})
            by_method.setdefault(name, []).append(RegionScore.of(one, row))

    def places(self, seed: int) -> Compared:
        """Figures of the true places."""
        groups = place_groups(self.rows)
        ranks = {name: Ranks.of_placements(found) for name, found in self.placed.items()}
        methods = {name: figures(ON_A_MAP, own, groups, seed=seed) for name, own in ranks.items()}
        return Compared.of(methods, ranks, groups, seed)

    def regions(self, seed: int) -> dict[str, Compared]:
        """Figures of the true regions, by what regions are ranked by."""
        groups = place_groups(self.in_regions)
        return {
            ranking.value: Compared.of(
                {name: region_figures(own, groups, seed) for name, own in by_method.items()},
                {name: ranks_of(own) for name, own in by_method.items()},
                groups,
                seed,
            )
            for ranking, by_method in self.scored.items()
        }


def _minima(layout: Regions, domain: Domain, values: NDArray[np.floating]) -> RegionMinima:
    """What is kept of each region for all rankings; values ``(place,)``."""
    assert isinstance(domain, Grid)
    sample = max(places_kept(ranking) for ranking in RANKINGS)
    nearest = max(nearest_kept(ranking, layout, domain.size) for ranking in RANKINGS)
    kept, maps = RegionMin.of(layout, 1, sample, nearest), values.reshape(1, *domain.shape)
    for chunk in domain.chunks(size=BLOCK):
        kept.add(chunk, maps[(slice(None), *chunk.slices)].astype(np.float32))
    return kept.result()[0]


def _methods(tandem: Tandem, distances: Sequence[F32]) -> dict[str, NDArray[np.floating]]:
    """What the places ``(place,)`` are ranked by: each model's distance, and both ways to fuse."""
    alone: dict[str, NDArray[np.floating]] = {
        member.name: own[0] for member, own in zip(tandem.members, distances, strict=True)
    }
    alone[TANDEM] = tandem.fused(tandem.scores(distances, by_bank=False))[0]
    if tandem.bank:
        alone[TANDEM_BANK] = tandem.fused(tandem.scores(distances, by_bank=True))[0]
    return alone


def _placement(name: str, scores: NDArray[np.floating], cell: int) -> Placement:
    rank = float(np.count_nonzero(scores <= scores[cell]))
    return Placement(name, rank, int(np.count_nonzero(np.isfinite(scores))))


def _cell(domain: Domain, row: Truth) -> int | None:
    assert isinstance(domain, Grid)  # others are no tandem
    point = true_point(domain, row.lat, row.lon)
    cell = None if point is None else domain.index(*point)
    return None if cell is None else cell[0] * domain.nx + cell[1]
