"""Queries, and block kernels: what is computed for the cells of a block, from their int8 codes.

A kernel answers float32 ``(map, cell)``, NaN where a cell is missing. It is built once per
search; `distance_kernel` chooses among the forms, whose results are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import F32, F64
from ..errors import UsageError
from ..models import Distance, FeatureSpace, Quantizer
from ..models.features import checked_weights
from .kernels import Codes, dequantise, euclidean, finish, log2_sum, pad, product


@dataclass(frozen=True, eq=False)
class Query:
    """Feature vectors to look for.

    vectors: float32 ``(photo, feature)``, raw logits; one vector ``(feature,)`` is one photo.
    weights: float32 ``(name,)`` from 0 up, or None for those of the cube's model.
    Raises UsageError for values that are not numbers, or weights that are negative or all zero.
    """

    vectors: F32
    weights: F32 | None = None

    def __post_init__(self) -> None:
        vectors = np.atleast_2d(np.asarray(self.vectors, np.float32))
        if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
            raise UsageError(
                f"query vectors of shape {vectors.shape} must be finite (photo, feature): "
                "encode the photo again"
            )
        object.__setattr__(self, "vectors", vectors)
        if self.weights is not None:
            object.__setattr__(self, "weights", checked_weights(self.weights))


def fuse(vectors: Sequence[ArrayLike] | F32) -> F32:
    """One vector ``(feature,)`` for several photos of one place: their mean."""
    if not len(vectors):
        raise UsageError("no photos to fuse: give at least one")
    return np.asarray(np.mean(np.asarray(vectors, np.float32), axis=0), np.float32)


class BlockKernel(Protocol):
    """Called with codes ``(cell, feature)`` and, where ``stored``, the cells' norms."""

    @property
    def stored(self) -> bool: ...

    @property
    def maps(self) -> int:
        """How many values it gives for a cell."""
        ...

    def __call__(self, codes: Codes, norm: F32 | None) -> F32: ...


_TILE = 512  # cells dequantised at a time: 0.7 MB at 365 features stays in the second cache
_FEW = 3  # up to so many photos, a fused pass for each beats dequantising for matrix products


@dataclass(frozen=True, eq=False)
class Direct:
    """One fused pass per photo, for weights that the stored norms do not know.

    factor: float32 ``(padded feature,)``; shifts: float32 ``(photo, padded feature)``.
    """

    factor: F32
    shifts: F32
    stored: ClassVar[bool] = False

    @property
    def maps(self) -> int:
        """How many values it gives for a cell."""
        return len(self.shifts)

    def __call__(self, codes: Codes, norm: F32 | None) -> F32:  # noqa: ARG002
        out = np.empty((len(self.shifts), len(codes)), np.float32)
        for distances, shift in zip(out, self.shifts, strict=True):
            euclidean(codes.reshape(-1), codes.shape[1], self.factor, shift, distances)
        return out


@dataclass(frozen=True, eq=False)
class Product:
    """One fused pass per photo by stored norms: ``d^2 = n(cell) + n(photo) - 2 a . (A A^T b)``.

    Half the arithmetic of `Direct`: as fast as memory is read. The difference loses digits where
    ``d`` is small beside the vectors: near 0 it is off by up to 0.001 of their norm, a tenth of
    what the int8 codes are off.

    factors: float32 ``(photo, padded feature)``; constants: float32 ``(photo,)``.
    """

    factors: F32
    constants: F32
    stored: ClassVar[bool] = True

    @property
    def maps(self) -> int:
        """How many values it gives for a cell."""
        return len(self.factors)

    def __call__(self, codes: Codes, norm: F32 | None) -> F32:
        assert norm is not None
        out = np.empty((len(self.factors), len(codes)), np.float32)
        for distances, factor, constant in zip(out, self.factors, self.constants, strict=True):
            product(codes.reshape(-1), codes.shape[1], factor, constant, norm, distances)
        return out


@dataclass(frozen=True, eq=False)
class Products:
    """Many photos: tiles of cells that stay in cache, times all photos at once, in float32.

    factor, shift: float32 ``(feature,)``, what makes a tile of the codes; projection: float32
    ``(feature, k)`` applied to a tile, or None; photos: float32 ``(k, photo)``; constants:
    float32 ``(photo,)``; stored: the cells' norms are given, not computed from the tile.
    """

    factor: F32
    shift: F32
    projection: F32 | None
    photos: F32
    constants: F32
    stored: bool

    @property
    def maps(self) -> int:
        """How many values it gives for a cell."""
        return len(self.constants)

    def __call__(self, codes: Codes, norm: F32 | None) -> F32:
        out = np.empty((len(self.constants), len(codes)), np.float32)
        for start in range(0, len(codes), _TILE):
            cells = slice(start, start + _TILE)
            values, norms = self._tile(codes[cells])
            if self.stored:
                assert norm is not None
                norms = np.where(np.isnan(norms), norms, norm[cells])
            finish(values @ self.photos, norms, self.constants, out[:, cells])
        return out

    def _tile(self, codes: Codes) -> tuple[F32, F32]:
        tile, norms = np.empty(codes.shape, np.float32), np.empty(len(codes), np.float32)
        dequantise(codes.reshape(-1), self.factor, self.shift, tile, norms)
        if self.projection is None:
            return tile, norms
        tile = tile @ self.projection
        return tile, np.where(np.isnan(norms), norms, np.einsum("ij,ij->i", tile, tile))


@dataclass(frozen=True, eq=False)
class _Scenes:
    """Of scenes by their places among the names: a value for each, of the codes alone."""

    wanted: tuple[int, ...]
    stored: ClassVar[bool] = False

    @property
    def maps(self) -> int:
        """How many values it gives for a cell."""
        return len(self.wanted)


@dataclass(frozen=True, eq=False)
class NegLogProb(_Scenes):
    """``-log p(scene | cell)`` in nats under the softmax, per wanted scene.

    0: the cell is this scene and nothing else; 0.7: half of it. Chosen over the raw logit, since
    a logit is only large or small beside the other logits of its cell: on aerial scenes with a
    real student the mean average precision of finding a named class is 0.96 so, and 0.87 by the
    logit, 0.92 by the logit standardised within the cell.
    """

    code: Quantizer

    def __call__(self, codes: Codes, norm: F32 | None) -> F32:  # noqa: ARG002
        scale, offset = self.code.each(codes.shape[1])
        factor, start = pad(scale / np.log(2)), pad(offset / np.log(2))
        highest = np.float32((127 * np.abs(factor) + start)[: scale.size].max())
        shift = np.full(factor.size, 126, np.float32)
        shift[: scale.size] = highest - start[: scale.size]
        total = np.empty(len(codes), np.float32)
        log2_sum(codes.reshape(-1), codes.shape[1], factor, shift, total)
        total = (total + highest) * np.float32(np.log(2))
        logits = [codes[:, c] * scale[c] + offset[c] for c in self.wanted]
        return np.stack([np.maximum(total - logit, 0) for logit in logits]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ReadNegLogProb(_Scenes):
    """`NegLogProb` where a readout makes the logits of the names."""

    features: FeatureSpace

    def __call__(self, codes: Codes, norm: F32 | None) -> F32:  # noqa: ARG002
        out = np.empty((len(self.wanted), len(codes)), np.float32)
        for start in range(0, len(codes), _TILE):
            cells = slice(start, start + _TILE)
            logits = self.features.logits(self.features.decode(codes[cells]))
            logits -= logits.max(axis=1, keepdims=True)
            total = np.log(np.exp(logits).sum(axis=1))
            out[:, cells] = total - logits[:, list(self.wanted)].T
        return out


def scene_kernel(features: FeatureSpace, wanted: tuple[int, ...]) -> BlockKernel:
    """The kernel of the names at these places among the names."""
    if features.readout is not None:
        return ReadNegLogProb(wanted, features)
    return NegLogProb(wanted, features.stored_code)


def distance_kernel(query: Query, distance: Distance, code: Quantizer, norms: bool) -> BlockKernel:
    """The fastest kernel of a query's distances; ``norms``: those of this distance are stored."""
    b = query.vectors.astype(np.float64)
    s, o = (values.astype(np.float64) for values in code.each(b.shape[1]))
    few, operator = len(b) <= _FEW, distance.operator
    if norms and (few or operator.ndim == 2):
        return _stored(b, distance, s, o, few)
    if operator.ndim == 2:
        return _projected(b, operator, s, o)
    return (_direct if few else _weighted)(b, operator, s, o)


def _stored(b: F64, distance: Distance, scale: F64, offset: F64, few: bool) -> BlockKernel:
    images = distance.pull(b)
    constants = (b * images).sum(1)
    if not few:
        return Products(_f32(scale), _f32(-offset), None, _f32(images.T), _f32(constants), True)
    factors = np.stack([pad(scale * image) for image in images])
    return Product(factors, _f32(constants - 2 * images @ offset))


def _direct(b: F64, w: F64, scale: F64, offset: F64) -> BlockKernel:
    return Direct(pad(w * scale), np.stack([pad(w * (v - offset)) for v in b]))


def _weighted(b: F64, w: F64, scale: F64, offset: F64) -> BlockKernel:
    mean = b.mean(axis=0)  # distances between centred vectors lose fewer digits
    photos = (b - mean) * w
    shift, squares = w * (mean - offset), (photos**2).sum(1)
    return Products(_f32(w * scale), _f32(shift), None, _f32(photos.T), _f32(squares), False)


def _projected(b: F64, metric: F64, scale: F64, offset: F64) -> BlockKernel:
    mean = b.mean(axis=0)
    photos = (b - mean) @ metric
    shift, squares = mean - offset, (photos**2).sum(1)
    return Products(_f32(scale), _f32(shift), _f32(metric), _f32(photos.T), _f32(squares), False)


def _f32(values: F64) -> F32:
    return np.ascontiguousarray(values, np.float32)
