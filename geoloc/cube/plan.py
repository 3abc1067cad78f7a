"""Which blocks of a domain hold something to compute. Nothing is read, nothing computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import U8
from ..domain import Domain, Status

if TYPE_CHECKING:
    from shapely import Geometry


def plan_blocks(domain: Domain, polygon: Geometry | None, size: int | None = None) -> U8:
    """The ledger of a new cube, of the chunk grid's shape: OUTSIDE where the polygon is not."""
    touched = domain.touched(polygon, size)
    return np.where(touched, np.uint8(Status.MISSING), np.uint8(Status.OUTSIDE))
