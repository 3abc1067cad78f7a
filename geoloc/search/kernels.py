"""Compiled passes over int8 codes ``(cell, feature)``: one read of each byte, no copy of a cube.

A value is ``a = scale * q + offset``; the caller folds scale, offset, weight and query into one
factor and one shift per feature, so that a term of a distance is ``(q * factor - shift) ** 2``.
Factors and shifts are padded with zeros to a multiple of `LANES`: a cell is then read past its
end, into the next one, where factor 0 undoes what is read. That leaves no remainder for the
processor's vector unit (365 features would leave 45 of them to a scalar loop, half of the time).
A cell whose first code is `MISSING` is missing as a whole and gives NaN.

All release the GIL, so blocks run in threads beside the reading of the next ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from ..arrays import F32
from ..models import MISSING

LANES = 64  # four 512-bit vectors of float32: the compiler unrolls by this many
Codes = NDArray[np.int8]

_Function = TypeVar("_Function", bound=Callable[..., Any])
# NaN is written on purpose, so the flags that assume there is none stay off.
_FLAGS = {"reassoc", "contract", "arcp", "nsz"}


def compiled(function: _Function) -> _Function:
    """A kernel, kept on disk for other processes where there is room for it."""
    try:
        kernel = numba.njit(nogil=True, cache=True, fastmath=_FLAGS)(function)
    except RuntimeError:  # neither the package nor the home can be written: compile each time
        return cast(_Function, numba.njit(nogil=True, fastmath=_FLAGS)(function))

    @wraps(function)
    def run(*arguments: Any) -> Any:
        try:
            return kernel(*arguments)
        except OSError:  # a full disk: it is compiled, not run yet, and cannot be kept
            return kernel(*arguments)

    return cast(_Function, run)


def pad(values: NDArray[Any]) -> F32:
    """``(feature,)`` as float32 with zeros up to a multiple of `LANES`."""
    padded = np.zeros(-(-values.size // LANES) * LANES, np.float32)
    padded[: values.size] = values
    return padded


@compiled
def euclidean(codes: Codes, dim: int, factor: F32, shift: F32, out: F32) -> None:
    """``out[i] = sqrt(sum_c (q_ic * factor_c - shift_c) ** 2)``; codes flat, factors padded."""
    width = factor.size
    for i in range(out.size):
        start = i * dim
        if codes[start] == MISSING:
            out[i] = np.nan
            continue
        # The last cells must not be read past the end of the array.
        row = codes[start : start + (width if start + width <= codes.size else dim)]
        total = np.float32(0)
        for c in range(row.size):
            x = np.float32(row[c]) * factor[c] - shift[c]
            total += x * x
        out[i] = np.sqrt(total)


@compiled
def product(codes: Codes, dim: int, factor: F32, constant: np.float32, norm: F32, out: F32) -> None:
    """``out[i] = sqrt(norm[i] + constant - 2 sum_c q_ic * factor_c)``; codes flat, padded."""
    width = factor.size
    for i in range(out.size):
        start = i * dim
        if codes[start] == MISSING:
            out[i] = np.nan
            continue
        row = codes[start : start + (width if start + width <= codes.size else dim)]
        total = np.float32(0)
        for c in range(row.size):
            total += np.float32(row[c]) * factor[c]
        square = norm[i] + constant - np.float32(2) * total
        # Rounding may leave a zero distance a little below zero; NaN passes.
        out[i] = np.float32(0) if square < 0 else np.sqrt(square)


@compiled
def dequantise(codes: Codes, factor: F32, shift: F32, tile: F32, norm: F32) -> None:
    """``tile = q * factor - shift`` ``(cell, feature)``, ``norm = sum_c tile ** 2`` (NaN)."""
    dim = factor.size
    for i in range(norm.size):
        row, values = codes[i * dim : (i + 1) * dim], tile[i]
        for c in range(dim):
            values[c] = np.float32(row[c]) * factor[c] - shift[c]
        total = np.float32(0)
        for c in range(dim):
            total += values[c] * values[c]
        norm[i] = np.nan if row[0] == MISSING else total


@compiled
def finish(products: F32, norm: F32, constants: F32, out: F32) -> None:
    """``out[j, i] = sqrt(norm_i + constants_j - 2 products_ij)``, from cell- to photo-major."""
    for j in range(constants.size):
        for i in range(norm.size):
            square = norm[i] + constants[j] - np.float32(2) * products[i, j]
            out[j, i] = np.float32(0) if square < 0 else np.sqrt(square)


_TAYLOR = tuple(np.float32(math.log(2) ** k / math.factorial(k)) for k in range(7))
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = _TAYLOR


_ENOUGH = np.float32(2.0**-90)
"""Of a sum: terms that a float32 cannot hold, which count as 2 ** -126, do not show in it."""


@compiled
def log2_sum(codes: Codes, dim: int, factor: F32, shift: F32, out: F32) -> None:
    """``out[i] = log2(sum_c 2 ** (q_ic * factor_c - shift_c))``; every exponent at most 0.

    Padded features need a shift of at least 126, which makes them vanish. ``2 ** x`` is the
    series of the fraction (error 1e-7) with the whole part written into the float's exponent. Of
    cells whose exponents are all so low that the sum would be lost, it is taken by the largest.
    """
    width = factor.size
    for i in range(out.size):
        start = i * dim
        if codes[start] == MISSING:
            out[i] = np.nan
            continue
        row = codes[start : start + (width if start + width <= codes.size else dim)]
        total = np.float32(0)
        for c in range(row.size):
            x = max(np.float32(row[c]) * factor[c] - shift[c], np.float32(-126))
            whole = np.rint(x)
            f = x - whole
            power = _E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
            total += power * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(
                np.float32
            )
        if total >= _ENOUGH:
            out[i] = np.log2(total)
            continue
        top = np.float32(row[0]) * factor[0] - shift[0]
        for c in range(1, dim):
            top = max(top, np.float32(row[c]) * factor[c] - shift[c])
        total = np.float32(0)
        for c in range(dim):
            total += np.float32(2) ** (np.float32(row[c]) * factor[c] - shift[c] - top)
        out[i] = top + np.log2(total)
