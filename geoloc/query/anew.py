"""Photos that ask a cube twice, the second time with what their first answer was like."""

from __future__ import annotations

from ..arrays import F32
from ..cube import Cube
from ..search.feedback import with_feedback
from .matching import sample_cells

ASKED_ANEW = (
    "This answer was asked twice (feedback): the second time away from what places here are "
    "usually like, and towards those that were nearest. Distances are to what was asked then; "
    "explanations are of the photo itself. How far true places usually are, and how much has to be "
    "searched, is not known of such answers."
)
"""What an answer says of its distances."""

_BLOCKS = 16  # of a cube that its places are told by


def asked_anew(cube: Cube, vectors: F32, weights: F32 | None = None) -> F32:
    """The vectors ``(photo, feature)`` of photos as they ask a second time, see `with_feedback`.

    By a sample of all places of the cube, wherever photos are searched for in it. ``weights``: of
    the names ``(name,)``, as in `Query`.
    """
    return with_feedback(vectors, sample_cells(cube, _BLOCKS), cube.features.distance(weights))
