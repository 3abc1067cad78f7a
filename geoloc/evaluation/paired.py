"""A model on pairs of photo and place: how each photo's own place ranks among all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import F32, F64, I64
from ..errors import UsageError
from ..models import Distance, FeatureSpace
from ..models.model import Model
from ..pairs.stored import Stored, stored_pairs
from ..progress import Progress, Stages, silent
from .bootstrap import Figure, figures
from .pair_ranks import pair_ranks
from .ranks import ON_A_MAP, STUDY, Metric, Ranks
from .vectors import ImageVectors, ground_vectors, overhead_vectors

METRICS: tuple[Metric, ...] = (*STUDY, *ON_A_MAP[:2], ON_A_MAP[-1])
_STRIP = 65_536  # vectors at a time


@dataclass(frozen=True, eq=False)
class PairEvaluation:
    """Ranks of pairs by the model's distance, and by the photo's first scene alone.

    photos, places: files by row; own: the place ``(photo,)`` of each photo; distances ``(photo,)``
    to it. ``skipped``: one line for each thing that was left out.
    """

    model: str
    digest: str
    split: str
    photos: tuple[str, ...]
    places: tuple[str, ...]
    own: I64
    distances: F64
    ranks: Ranks
    class_match: Ranks
    skipped: tuple[str, ...] = ()
    seed: int = 0

    def tables(self) -> dict[str, dict[str, dict[str, Figure]]]:
        """Figures by table, row and metric; intervals over places."""
        groups: Sequence[int] = self.own.tolist()
        rows = {"distance": self.ranks, "class_match": self.class_match}
        return {
            "all": {
                name: figures(METRICS, ranks, groups, seed=self.seed)
                for name, ranks in rows.items()
            }
        }

    def to_json(self) -> dict[str, Any]:
        """For machines: the figures of the distance, and all of them with their intervals."""
        methods = {
            row: {name: figure.to_json() for name, figure in row_figures.items()}
            for row, row_figures in self.tables()["all"].items()
        }
        first = methods["distance"]
        return {
            "model": self.model,
            "digest": self.digest,
            "split": self.split,
            "n_pairs": len(self.photos),
            "n_places": len(self.places),
            **{name: facts["value"] for name, facts in first.items()},
            **{f"{name}_ci": facts["ci"] for name, facts in first.items()},
            "seed": self.seed,
            "methods": methods,
            "skipped": list(self.skipped),
        }

    def items(self) -> list[dict[str, Any]]:
        """Each pair's own scores: a row of the score file."""
        columns = zip(self.photos, self.own, self.distances, self.ranks.rank, strict=True)
        return [
            {
                "photo": photo,
                "group": self.places[own],
                "distance": round(float(distance), 6),
                "rank": int(rank),
                "cells": len(self.places),
            }
            for photo, own, distance, rank in columns
        ]


def evaluate_pairs(
    path: str | Path,
    model: Model,
    *,
    split: str | None = None,
    seed: int = 0,
    progress: Stages | None = None,
) -> PairEvaluation:
    """Rank each photo's own overhead image among those of all pairs of a split.

    ``path``: a pairs file, or shards. ``split``: by default "test" where it is there, else all of
    them. An image that many pairs show is one place. Pairs with an image that cannot be read are
    left out, and reported. Raises UsageError for pairs of which none can be used, ModelError for a
    model without an overhead network.
    """
    chosen, name = _chosen(Path(path), split)
    stage = progress or silent
    photos, places = (list(dict.fromkeys(files)) for files in zip(*chosen, strict=True))
    if model.spec.overhead is None:
        overhead_vectors(model, [])  # raises, before any photo is read
    below = ground_vectors(model, photos, stage("encoding the photos"))
    above = overhead_vectors(model, places, stage("encoding the overhead images"))
    skipped = (*below.failures.values(), *above.failures.values())
    rows = _rows(chosen, below, above)
    if not len(rows):
        raise UsageError(f"{path}: no pair of the split {name!r} can be read: {skipped[0]}")
    return _evaluated(model, name, rows, below, above, skipped, seed, stage("ranking the pairs"))


def _chosen(path: Path, split: str | None) -> tuple[list[tuple[Stored, Stored]], str]:
    """Photo and overhead image of each pair of the split, each pair once."""
    pairs = stored_pairs(path)
    known = {pair.split for pair in pairs}
    name = split or ("test" if "test" in known else "all")
    if name != "all" and name not in known:
        raise UsageError(
            f"{path}: no pairs of the split {name!r}: it has {', '.join(sorted(known))}"
        )
    rows = [(pair.ground, pair.overhead) for pair in pairs if name in ("all", pair.split)]
    return list(dict.fromkeys(rows)), name


def _rows(
    pairs: Sequence[tuple[Stored, Stored]], below: ImageVectors[Stored], above: ImageVectors[Stored]
) -> I64:
    """``(pair, 2)``: rows of photo and place of the pairs whose images could be read."""
    photos = {file: row for row, file in enumerate(below.files)}
    places = {file: row for row, file in enumerate(above.files)}
    rows = [(photos[a], places[b]) for a, b in pairs if a in photos and b in places]
    return np.array(rows, np.int64).reshape(-1, 2)


def _evaluated(
    model: Model,
    split: str,
    rows: I64,
    below: ImageVectors[Stored],
    above: ImageVectors[Stored],
    skipped: tuple[str, ...],
    seed: int,
    progress: Progress,
) -> PairEvaluation:
    distance, photo, own = model.features.distance(), *rows.T
    photos, places = (_applied(distance, side.vectors) for side in (below, above))
    ranks = pair_ranks(photos[photo], places, own, progress=progress)
    return PairEvaluation(
        model.name,
        model.digest,
        split,
        tuple(str(below.files[row]) for row in photo),
        tuple(map(str, above.files)),
        own,
        _lengths(photos, places, rows),
        ranks,
        class_match_ranks(model.features, below.vectors[photo], above.vectors, own),
        skipped,
        seed,
    )


def _applied(distance: Distance, vectors: F32) -> F32:
    """`Distance.apply`, some vectors at a time, kept in float32: of millions, half the memory."""
    parts = [
        distance.apply(vectors[start : start + _STRIP]).astype(np.float32)
        for start in range(0, len(vectors), _STRIP)
    ]
    return np.concatenate(parts)


def _lengths(photos: F32, places: F32, rows: I64) -> F64:
    """The distance of each pair ``(pair,)``."""
    lengths = np.empty(len(rows))
    for start in range(0, len(rows), _STRIP):
        photo, place = rows[start : start + _STRIP].T
        off = photos[photo].astype(np.float64) - places[place]
        lengths[start : start + _STRIP] = np.linalg.norm(off, axis=1)
    return lengths


def class_match_ranks(space: FeatureSpace, photos: F32, places: F32, own: I64) -> Ranks:
    """Ranks of own places by how likely the photo's first scene is there: the baseline that knows
    one name of a photo. photos and places: vectors ``(photo, feature)``, ``(place, feature)``."""
    top = np.concatenate([_top(space, part) for part in _strips(photos)])
    ranks = np.empty(len(photos), np.int64)
    for scene in np.unique(top):
        unlikely = np.concatenate([_unlikely(space, part, scene) for part in _strips(places)])
        mine = top == scene
        order = np.sort(unlikely)
        ranks[mine] = np.searchsorted(order, unlikely[own[mine]], side="right")
    return Ranks.of(ranks, len(places))


def _strips(vectors: F32) -> Sequence[F32]:
    return [vectors[start : start + _STRIP] for start in range(0, len(vectors), _STRIP)]


def _top(space: FeatureSpace, vectors: F32) -> I64:
    return np.asarray(space.logits(vectors).argmax(axis=1), np.int64)


def _unlikely(space: FeatureSpace, vectors: F32, scene: int) -> F64:
    return unlikely(space.logits(vectors), scene)


def unlikely(logits: F32, scene: int) -> F64:
    """``-log p(scene)`` ``(vector,)`` under the softmax of logits ``(vector, name)``."""
    values = logits.astype(np.float64)
    peak = values.max(axis=1)
    total = peak + np.log(np.exp(values - peak[:, None]).sum(axis=1))
    return np.asarray(total - values[:, scene])
