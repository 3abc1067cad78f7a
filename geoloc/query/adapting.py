"""A model that learns from confirmed places: its distance refitted, and whether that helps.

What separates photos from their own places is mostly noise of the model, so a direction in which
they differ much shall count less: with the second moment ``S`` of the differences of the pairs,
in the coordinates ``A`` of the model's own distance, the new one is ``A ((1 - s) S + s I)^-1/2``,
``S`` scaled to a mean variance of 1 (shrinkage as of Ledoit & Wolf 2004; within-class covariance
normalisation as of Hatch et al. 2006). The vectors stay what they are, so cubes stay usable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from ..arrays import F64, I64
from ..cube import Cube
from ..domain.points import geocentric
from ..errors import GeolocError, UsageError
from ..evaluation.bootstrap import Figure, figures, mean_figure
from ..evaluation.ranks import ON_A_MAP, Ranks
from ..models import MISSING, Distance, Model
from ..models.derived import check_out, derive
from ..progress import Progress
from .confirmed import Confirmed, CubeName, read_confirmed

FEWEST_PHOTOS, FEWEST_BLOCKS = 10, 5
BLOCK = 250.0
"""m: photos of one square of this side are never both learnt from and measured by."""

SHRINKAGES = (1.0, 0.95, 0.9, 0.8, 0.65, 0.5)
"""Of which cross-validation chooses; 1 is the model's own distance."""

_FOLDS = 5
_CELLS = 10_000  # of a cube, among which a true place is ranked
_METRIC = "metric.safetensors"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Confirmed photos and their places: vectors ``(pair, feature)``, the block ``(pair,)`` of
    each, and which of the ``cells`` (vectors ``(cell, feature)``) it is ranked among."""

    photos: F64
    places: F64
    blocks: I64
    among: I64
    cells: tuple[F64, ...]

    def shares(self, distance: Distance, rows: I64) -> F64:
        """``(row,)``: the share (0..1) of the cells that are at least as near as the true one."""
        photos, places = distance.apply(self.photos[rows]), distance.apply(self.places[rows])
        own = ((photos - places) ** 2).sum(1)
        found = np.empty(len(rows))
        for number, cells in enumerate(self.cells):
            mine = self.among[rows] == number
            if mine.any():
                there = distance.apply(cells)
                norms = (photos[mine] ** 2).sum(1)[:, None] + (there**2).sum(1)[None]
                nearer = norms - 2 * photos[mine] @ there.T <= own[mine, None]
                found[mine] = (nearer.sum(1) + 1) / (len(cells) + 1)
        return found


@dataclass(frozen=True, eq=False)
class Adaptation:
    """How well confirmed photos are placed by a model's own distance, and by one that was refitted
    on photos of other blocks. ``gain``: mean percentile, before less after, with its interval over
    blocks; ``model``: the new one, None where none was written; ``skipped``: a line each."""

    before: dict[str, Figure]
    after: dict[str, Figure]
    gain: Figure
    photos: int
    blocks: int
    shrinkage: float
    skipped: tuple[str, ...] = ()
    model: Model | None = None

    @property
    def helps(self) -> bool:
        """For sure: the whole interval of the gain is above 0."""
        return self.gain.low > 0

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "photos": self.photos,
            "blocks": self.blocks,
            "shrinkage": self.shrinkage,
            "before": {name: one.to_json() for name, one in self.before.items()},
            "after": {name: one.to_json() for name, one in self.after.items()},
            "gain": self.gain.to_json(),
            "helps": self.helps,
            "skipped": list(self.skipped),
            "digest": self.model and self.model.digest,
            "out": self.model and str(self.model.path),
        }


def adapt(
    model: Model,
    confirmed: Path,
    out: Path,
    *,
    force: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Adaptation:
    """Refit the distance of a model by confirmed photos, and write the new model to ``out`` if
    cross-validation over blocks says that it helps, or with ``force``.

    Photos of cubes of other models, or that are not in their cube, are left out, and reported.
    Raises UsageError for too few, or an ``out`` that is the model itself; ModelError.
    """
    check_out(model, out)
    pairs, skipped = read_pairs(model, read_confirmed(confirmed))
    found = replace(cross_validated(pairs, model, seed, progress), skipped=skipped)
    if not (found.helps or force):
        return found
    return replace(found, model=_write(model, pairs, found, out))


def read_pairs(model: Model, known: Sequence[Confirmed]) -> tuple[Pairs, tuple[str, ...]]:
    """The confirmed photos that a model can learn from, and why others are left out."""
    skipped: list[str] = []
    cells: dict[CubeName, F64 | None] = {}
    kept: list[Confirmed] = []
    for one in known:
        name = f"photo {one.photos[0][:12]}"
        if not model.serves(one.cube.model) or len(one.vector) != model.dim:
            skipped.append(f"{name}: asked with model {one.cube.model[:12]}")
        elif one.place_vector is None:
            skipped.append(f"{name}: its place is not in the cube {one.cube.url}")
        elif _cells_of(one.cube, cells, skipped) is not None:
            kept.append(one)
    blocks = _blocks(kept)
    if len(kept) < FEWEST_PHOTOS or len(set(blocks.tolist())) < FEWEST_BLOCKS:
        raise UsageError(_too_few(len(kept), len(set(blocks.tolist())), skipped))
    names = list(dict.fromkeys(one.cube for one in kept))
    vectors = [found for name in names if (found := cells[name]) is not None]
    return Pairs(
        np.array([one.vector for one in kept], np.float64),
        np.array([one.place_vector for one in kept], np.float64),
        blocks,
        np.array([names.index(one.cube) for one in kept]),
        tuple(vectors),
    ), tuple(skipped)


def cross_validated(
    pairs: Pairs, model: Model, seed: int = 0, progress: Progress | None = None
) -> Adaptation:
    """Each block placed by a distance that was fitted on the others, its shrinkage chosen on those
    alone, in the same way."""
    own, everything = model.features.distance(), np.arange(len(pairs.photos))
    before, after = pairs.shares(own, everything), np.empty(len(everything))
    folds = _folds(pairs.blocks, seed)
    for done, out in enumerate(folds, start=1):
        learnt = np.setdiff1d(everything, out)
        after[out] = pairs.shares(
            fitted(pairs, own, learnt, _chosen(pairs, own, learnt, seed)), out
        )
        if progress:
            progress(done, len(folds))
    groups = pairs.blocks.tolist()
    return Adaptation(
        _figures(before, groups, seed),
        _figures(after, groups, seed),
        mean_figure(100 * (before - after), groups, seed=seed),
        len(everything),
        len(set(groups)),
        _chosen(pairs, own, everything, seed),
    )


def fitted(pairs: Pairs, own: Distance, rows: I64, shrinkage: float) -> Distance:
    """The distance that some pairs teach; it keeps their mean squared distance."""
    apart = own.apply(pairs.photos[rows] - pairs.places[rows])
    moment = apart.T @ apart / len(apart)
    scale = float(np.trace(moment)) / len(moment) or 1.0
    values, axes = np.linalg.eigh(
        (1 - shrinkage) * moment / scale + shrinkage * np.eye(len(moment))
    )
    root = (axes / np.sqrt(values)) @ axes.T
    root *= np.linalg.norm(apart) / (np.linalg.norm(apart @ root) or 1.0)
    full = np.diag(own.operator) if own.operator.ndim == 1 else own.operator
    return Distance(full @ root, own=False)


def _chosen(pairs: Pairs, own: Distance, rows: I64, seed: int) -> float:
    """The shrinkage whose distances place these pairs best, each by those of other blocks."""
    shares = np.zeros((len(SHRINKAGES), len(rows)))
    for out in _folds(pairs.blocks[rows], seed):
        learnt = np.delete(rows, out)
        for number, shrinkage in enumerate(SHRINKAGES):
            distance = fitted(pairs, own, learnt, shrinkage)
            shares[number, out] = pairs.shares(distance, rows[out])
    return SHRINKAGES[int(shares.mean(1).argmin())]


def _folds(blocks: I64, seed: int) -> list[I64]:
    """Rows dealt into folds, those of a block together."""
    names = np.random.default_rng(seed).permutation(np.unique(blocks))
    parts = np.array_split(names, min(_FOLDS, len(names)))
    return [np.flatnonzero(np.isin(blocks, part)) for part in parts]


def _figures(shares: F64, groups: Sequence[int], seed: int) -> dict[str, Figure]:
    return figures(ON_A_MAP, Ranks.of(shares * _CELLS, _CELLS), groups, seed=seed)


def _blocks(known: Sequence[Confirmed]) -> I64:
    """``(pair,)``: the square of the ground that each lies in, of whichever cube it was asked."""
    if not known:
        return np.empty(0, np.int64)
    lonlat = np.array([(one.lon, one.lat) for one in known])
    squares = np.floor(geocentric(lonlat) / BLOCK).astype(np.int64)
    return np.unique(squares, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _cells_of(name: CubeName, cells: dict[CubeName, F64 | None], skipped: list[str]) -> F64 | None:
    """Vectors of a cube's cells, None where it cannot be read, which is reported once."""
    if name not in cells:
        try:
            cells[name] = _sampled(Cube.open(name.url, name.generation))
        except GeolocError as error:
            skipped.append(str(error))
            cells[name] = None
    return cells[name]


def _sampled(cube: Cube) -> F64:
    """Vectors ``(cell, feature)`` of cells all over a cube, so many of each block."""
    blocks = list(cube.blocks())
    rng, found, each = np.random.default_rng(0), [], max(1, _CELLS // max(len(blocks), 1))
    picked = rng.permutation(len(blocks))[: -(-_CELLS // each)]
    for number in picked.tolist():
        codes = cube.read(*blocks[number].slices).reshape(-1, cube.features.dim)
        known = codes[codes[:, 0] != MISSING]
        found.append(known[rng.permutation(len(known))[:each]])
    return cube.features.decode(np.concatenate(found)).astype(np.float64)


def _too_few(photos: int, blocks: int, skipped: Sequence[str]) -> str:
    more = f"; {len(skipped)} were left out, such as {skipped[0]}" if skipped else ""
    return (
        f"{photos} confirmed photos in {blocks} blocks of {BLOCK:g} m are too few to learn from: "
        f"at least {FEWEST_PHOTOS} photos in {FEWEST_BLOCKS} blocks are needed{more}"
    )


def _write(model: Model, pairs: Pairs, found: Adaptation, out: Path) -> Model:
    distance = fitted(
        pairs, model.features.distance(), np.arange(len(pairs.photos)), found.shrinkage
    )
    metric = np.asarray(distance.operator * np.sqrt(model.dim), np.float32)
    told = {key: value for key, value in found.to_json().items() if key not in ("out", "digest")}
    training = {
        **model.spec.training,
        "adapted": {"from": model.digest, **told, "skipped": len(found.skipped)},
    }
    changes = {
        "name": out.name,
        "distance": {"metric": _METRIC, "weights": None},
        "training": training,
    }
    return derive(model, out, changes, {_METRIC: save({"metric": metric})}, card=_card(found))


def _card(found: Adaptation) -> str:
    verdict = "helps" if found.helps else "does NOT help for sure, and was written all the same"
    return (
        f"## Adapted\n\nIts distance was refitted by {found.photos} confirmed photos in "
        f"{found.blocks} blocks, which {verdict}: by cross-validation over blocks the true place "
        f"lay at percentile {middle(found.before)} (median) before, {middle(found.after)} after; "
        f"mean gain {interval_text(found.gain)}.\n"
    )


def middle(told: dict[str, Figure]) -> str:
    """The median percentile with its interval."""
    return interval_text(told["median_percentile"])


def interval_text(figure: Figure) -> str:
    """A figure and its interval."""
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
