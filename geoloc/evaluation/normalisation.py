"""Distances normalised by a bank of unrelated photos: places near to every photo say little.

Both make a score of a distance that is lower for a better place, of the distances of the same
place to the photos of a bank. Neither is a default: for some models they help, others they hurt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from ..arrays import F32, F64

Floats = F32 | F64


class Normalisation(Protocol):
    """Scores ``(photo, place)`` of such distances, and of those of a bank ``(bank, place)``."""

    @property
    def name(self) -> str: ...

    def scores(self, distances: Floats, bank: Floats) -> Floats: ...


@dataclass(frozen=True)
class Raw:
    """The distance itself."""

    name = "none"

    def scores(self, distances: Floats, bank: Floats) -> Floats:  # noqa: ARG002
        """Without a bank."""
        return distances


@dataclass(frozen=True)
class InvertedSoftmax:
    """``d + log(mean_b exp(-beta d_b)) / beta``: a place's softmax over photos instead of places.

    Smith et al., "Offline bilingual word vectors, orthogonal transformations and the inverted
    softmax" (2017). ``beta``: per unit of distance; large ones look at the nearest photo
    of the bank alone.
    """

    beta: float = 10.0

    @property
    def name(self) -> str:
        """With its parameter."""
        return f"inverted_softmax_{self.beta:g}"

    def scores(self, distances: Floats, bank: Floats) -> Floats:
        """Higher where the bank is near."""
        nearest = bank.min(axis=0)
        others = np.exp(-self.beta * (bank - nearest)).mean(axis=0)
        return np.asarray(distances + (np.log(others) / self.beta - nearest))


@dataclass(frozen=True)
class BackgroundRank:
    """How many photos of the bank are at most as far from the place; of equals the distance."""

    name = "background_rank"

    def scores(self, distances: Floats, bank: Floats) -> Floats:
        """A whole number, and below 1 of the distance."""
        nearer = np.zeros(distances.shape, np.float64)
        for other in bank:
            nearer += other <= distances
        return np.where(np.isnan(distances), np.nan, nearer + distances / (1 + distances))


NONE = Raw()
_KINDS: tuple[Normalisation, ...] = (
    NONE, InvertedSoftmax(3.0), InvertedSoftmax(10.0), InvertedSoftmax(30.0), BackgroundRank(),
)  # fmt: skip
KINDS: Mapping[str, Normalisation] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""All that are compared, by name."""
