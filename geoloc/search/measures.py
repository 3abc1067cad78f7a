"""Measures: what is computed for the cells of a block, from their int8 codes.

A measure answers float32 ``(map, cell)``, NaN where a cell is missing. It is built once per
search; `distance_measure` chooses among the forms, whose results are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from .kernels import Codes, dequantise, euclidean, finish, log2_sum, pad, product
from .ruler import F32, F64, Query, Ruler


class Measure(Protocol):
    """Called with codes ``(cell, feature)`` and, where ``stored``, the cells' norms."""

    @property
    def stored(self) -> bool: ...

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
class Surprise:
    """``-log p(scene | cell)`` in nats under the softmax, per wanted scene.

    0: the cell is this scene and nothing else; 0.7: half of it. Chosen over the raw logit, since
    a logit is only large or small beside the other logits of its cell: on aerial scenes with a
    real student the mean average precision of finding a named class is 0.96 so, and 0.87 by the
    logit, 0.92 by the logit standardised within the cell.
    """

    scale: F32
    offset: F32
    wanted: tuple[int, ...]
    stored: ClassVar[bool] = False

    def __call__(self, codes: Codes, norm: F32 | None) -> F32:  # noqa: ARG002
        factor, offset = pad(self.scale / np.log(2)), pad(self.offset / np.log(2))
        highest = np.float32((127 * np.abs(factor) + offset)[: self.scale.size].max())
        shift = np.full(factor.size, 126, np.float32)
        shift[: self.scale.size] = highest - offset[: self.scale.size]
        total = np.empty(len(codes), np.float32)
        log2_sum(codes.reshape(-1), codes.shape[1], factor, shift, total)
        total = (total + highest) * np.float32(np.log(2))
        logits = [codes[:, c] * self.scale[c] + self.offset[c] for c in self.wanted]
        return np.stack([np.maximum(total - logit, 0) for logit in logits]).astype(np.float32)


def distance_measure(query: Query, ruler: Ruler, scale: F32, offset: F32, norms: bool) -> Measure:
    """The fastest measure of a query's distances; ``norms``: those of this ruler are stored."""
    s, o, b = (np.asarray(v, np.float64) for v in (scale, offset, query.vectors))
    few = len(b) <= _FEW
    if norms and (few or ruler.operator.ndim == 2):
        return _stored(b, ruler.operator, s, o, few)
    if ruler.operator.ndim == 2:
        return _projected(b, ruler.operator, s, o)
    return (_direct if few else _weighted)(b, ruler.operator, s, o)


def _stored(b: F64, operator: F64, scale: F64, offset: F64, few: bool) -> Measure:
    images = b * operator**2 if operator.ndim == 1 else (b @ operator) @ operator.T
    constants = (b * images).sum(1)
    if not few:
        return Products(_f32(scale), _f32(-offset), None, _f32(images.T), _f32(constants), True)
    factors = np.stack([pad(scale * image) for image in images])
    return Product(factors, _f32(constants - 2 * images @ offset))


def _direct(b: F64, w: F64, scale: F64, offset: F64) -> Measure:
    return Direct(pad(w * scale), np.stack([pad(w * (v - offset)) for v in b]))


def _weighted(b: F64, w: F64, scale: F64, offset: F64) -> Measure:
    mean = b.mean(axis=0)  # distances between centred vectors lose fewer digits
    photos = (b - mean) * w
    shift, squares = w * (mean - offset), (photos**2).sum(1)
    return Products(_f32(w * scale), _f32(shift), None, _f32(photos.T), _f32(squares), False)


def _projected(b: F64, metric: F64, scale: F64, offset: F64) -> Measure:
    mean = b.mean(axis=0)
    photos = (b - mean) @ metric
    shift, squares = mean - offset, (photos**2).sum(1)
    return Products(_f32(scale), _f32(shift), _f32(metric), _f32(photos.T), _f32(squares), False)


def _f32(values: F64) -> F32:
    return np.ascontiguousarray(values, np.float32)
