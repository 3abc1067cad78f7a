"""How the sandbox's inner loops are compiled: cached on disk, without what nobody uses.

No fastmath: pixels must not depend on SIMD. No wrappers for calls from C, which are a seventh of
the time that compiling takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_njit = partial(numba.njit, nogil=True, no_cfunc_wrapper=True)


def compiled(function: F) -> F:
    """``numba.njit``, typed."""
    return cast(F, _njit(cache=True)(function))


def compiled_for(signature: str) -> Callable[[F], F]:
    """As `compiled`, for arguments of these types alone, when the module is imported.

    For what is called with many constants: numba would compile it for each of them.
    """

    def compile_now(function: F) -> F:
        try:
            return cast(F, _njit(signature, cache=True)(function))
        except OSError:  # a full disk is no reason not to be imported
            return cast(F, _njit(signature)(function))

    return compile_now


def parallel(function: F) -> F:
    """As `compiled`, with ``numba.prange`` loops spread over the cores."""
    return cast(F, _njit(cache=True, parallel=True)(function))
