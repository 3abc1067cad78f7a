"""Photos that ask a cube twice, the second time with what their first answer was like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from ..arrays import F32
from ..cube import Cube
from ..search.feedback import with_feedback
from .matching import decoded, known_codes, some_blocks

ASKED_ANEW = (
    "This answer was asked twice (feedback): the second time away from what places here are "
    "usually like, and towards those that were nearest. Distances are to what was asked then; "
    "explanations, and whether the photo may be from here, are of the photo itself. How far true "
    "places usually are, and how much has to be searched, is not known of such answers."
)
"""What an answer says of its distances."""

_BLOCKS = 16  # of a cube that its places are told by
_PLACES = 4000  # of all of them


def asked_anew(cube: Cube, vectors: F32, weights: F32 | None = None) -> F32:
    """The vectors ``(photo, feature)`` of photos as they ask a second time, see `with_feedback`.

    By a sample of all places of the cube, wherever photos are searched for in it. ``weights``: of
    the names ``(name,)``, as in `Query`.
    """
    return with_feedback(vectors, places_all_over(cube), cube.features.distance(weights))


@lru_cache(maxsize=4)  # the groups of one call share their cube
def places_all_over(cube: Cube) -> F32:
    """Feature vectors ``(place, feature)`` of at most `_PLACES`, evenly over each of some blocks:
    the same at each call. None only of a cube that has none."""
    some = _places(cube, some_blocks(cube, _BLOCKS))
    # where most of a cube is missing, all is in some blocks
    return some if len(some) else _places(cube, some_blocks(cube, cube.chunk_status.size))


def _places(cube: Cube, blocks: Sequence[tuple[int, ...]]) -> F32:
    parts = (known_codes(cube, index) for index in blocks)
    # copies, since a view keeps the codes of its whole block
    return decoded(cube, [part[:: _step(len(part), len(blocks))].copy() for part in parts])


def _step(known: int, blocks: int) -> int:
    """Of the known places of a block, every which one is taken."""
    return max(1, math.ceil(known * blocks / _PLACES))
