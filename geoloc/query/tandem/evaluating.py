"""Whether several models together are better than the better one alone: on photos of known
places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arrays import F32
from ...domain import Domain, Grid
from ...errors import UsageError
from ...evaluation import Placement, Truth, read_truth
from ...evaluation.bootstrap import Figure, figures, mean_figure
from ...evaluation.ranks import ON_A_MAP, Ranks
from ...evaluation.truth import place_groups
from ...photos import photo_path
from ...progress import Progress
from ..truth import true_point
from .members import TANDEM, TANDEM_BANK, Tandem


@dataclass(frozen=True, eq=False)
class TandemEvaluation:
    """Figures of each model alone and of all in tandem, by places and by the bank; ``gains``: mean
    percentile of the better model alone, less that in tandem, with its interval over places."""

    methods: dict[str, dict[str, Figure]]
    better: str
    gains: dict[str, Figure]
    photos: int
    failures: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        told = {
            name: {key: one.to_json() for key, one in found.items()}
            for name, found in self.methods.items()
        }
        gains = {name: one.to_json() for name, one in self.gains.items()}
        return {"methods": told, "better_alone": self.better, "gains": gains,
                "photos": self.photos, "failures": self.failures}  # fmt: skip


def evaluate_tandem(
    tandem: Tandem,
    truth: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> TandemEvaluation:
    """Rank the true places of the photos of a truth file (they lie beside it) by each model alone
    and by all together. Raises UsageError where none of them can be ranked."""
    truths = read_truth(truth)
    paths = [photo_path(truth.parent / row.file) for row in truths]
    read, vectors, failures = tandem.read(paths)
    of = dict(zip(map(str, paths), truths, strict=True))
    placed: dict[str, list[Placement]] = {}
    rows: list[Truth] = []
    for number, photo in enumerate(read):
        row = of[str(photo.path)]
        methods = _methods(tandem, tandem.distances(vectors, number))
        cell = _cell(tandem.domain, row)
        if cell is not None and all(np.isfinite(found[cell]) for found in methods.values()):
            rows.append(row)
            for name, found in methods.items():
                placed.setdefault(name, []).append(_placement(row.file, found, cell))
        if progress:
            progress(number + 1, len(read))
    if not rows:
        raise UsageError(f"{truth}: none of its photos lies in the cubes and can be read")
    return _evaluation(placed, place_groups(rows), seed, failures)


def _methods(tandem: Tandem, distances: Sequence[F32]) -> dict[str, NDArray[np.floating]]:
    """What the places ``(place,)`` are ranked by: each model's distance, and both ways to fuse."""
    alone: dict[str, NDArray[np.floating]] = {
        member.name: own[0] for member, own in zip(tandem.members, distances, strict=True)
    }
    alone[TANDEM] = tandem.fused(tandem.scores(distances, by_bank=False))[0]
    if tandem.bank:
        alone[TANDEM_BANK] = tandem.fused(tandem.scores(distances, by_bank=True))[0]
    return alone


def _evaluation(
    placed: dict[str, list[Placement]], groups: Sequence[int], seed: int, failures: dict[str, str]
) -> TandemEvaluation:
    ranks = {name: Ranks.of_placements(found) for name, found in placed.items()}
    together = [name for name in (TANDEM, TANDEM_BANK) if name in ranks]
    alone = {n: float(one.share.mean()) for n, one in ranks.items() if n not in together}
    better = min(alone, key=lambda name: alone[name])
    gains = {
        name: mean_figure(100 * (ranks[better].share - ranks[name].share), groups, seed=seed)
        for name in together
    }
    methods = {name: figures(ON_A_MAP, found, groups, seed=seed) for name, found in ranks.items()}
    return TandemEvaluation(methods, better, gains, len(groups), failures)


def _placement(name: str, scores: NDArray[np.floating], cell: int) -> Placement:
    rank = float(np.count_nonzero(scores <= scores[cell]))
    return Placement(name, rank, int(np.count_nonzero(np.isfinite(scores))))


def _cell(domain: Domain, row: Truth) -> int | None:
    assert isinstance(domain, Grid)  # others are no tandem
    point = true_point(domain, row.lat, row.lon)
    cell = None if point is None else domain.index(*point)
    return None if cell is None else cell[0] * domain.nx + cell[1]
