"""Checks a cube against its definition: sampled cells recomputed patch by patch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..area import Area
from ..arrays import I64, U8, Bools
from ..cube import Cube, Inspection
from ..domain import Grid
from ..encoders.windows import cells_of
from ..errors import CubeError
from ..imagery import open_source
from ..progress import Progress

if TYPE_CHECKING:
    from ..encoders.fidelity import Fidelity
    from ..models import Model


@dataclass(frozen=True)
class Verification:
    """How far a cube is from recomputing its cells patch by patch, beside the 2 px jitter.

    ``error`` and ``jitter`` are encoders.fidelity's figures: relative error and Spearman.
    ``blocks``: what reading all blocks found, None where they were not.
    """

    method: str
    error: Fidelity
    jitter: Fidelity
    blocks: Inspection | None = None
    unit: str = "cells"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "blocks": self.blocks and self.blocks.to_json()}

    def summary(self) -> str:
        """For people, a few lines."""
        rows = {f"cube ({self.method})": self.error, "2 px jitter": self.jitter}
        lines = [self.blocks.summary()] if self.blocks else []
        return "\n".join(
            lines
            + [
                f"{name:<16} relative error {f.relative_error:.3f}   Spearman {f.spearman:.4f}   "
                f"({f.cells} {self.unit})"
                for name, f in rows.items()
            ]
        )


def verify_cube(
    cube: Cube,
    area: Area,
    model: Model,
    *,
    cells: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verification:
    """Recompute sampled cells patch by patch, at the cube's own GSD.

    Raises SpecMismatchError for another model, ImageryError where no sampled cell has imagery.
    """
    from ..encoders import fidelity, open_patches

    if not model.serves(cube.model_digest):
        cube.require_model(model.name, model.digest)
    source = open_source(area.imagery)
    encoder = open_patches(model, cube.spec.step, gsd=cube.spec.encoding.get("gsd"))
    places = _cells_with_vectors(cube, cells, seed)
    done = count(1)

    def read(window: Grid) -> tuple[U8, Bools]:
        image = source.read(window)
        if progress:
            progress(next(done), len(places))
        return image.values, image.coords["valid"].values

    domain = cube.domain
    if isinstance(domain, Grid):
        sample = fidelity.read_sample(read, encoder, domain, *places.T)
        index = np.stack([sample.rows, sample.cols], axis=1)
    else:
        alone = [domain.chunk(*place, size=1) for place in places.tolist()]
        at = [cell for one in alone for cell in cells_of(domain, one)]
        sample = fidelity.read_alone(read, encoder, at)
        index = places[sample.rows]
    exact = fidelity.exact_vectors(encoder, sample)
    stored = [cube.read(*(slice(i, i + 1) for i in place)).reshape(-1) for place in index.tolist()]
    error = fidelity.compare(cube.features.decode(np.stack(stored)), exact)
    jitter = fidelity.jitter(encoder, sample, exact)
    unit = "cells" if isinstance(domain, Grid) else "points"
    return Verification(str(cube.spec.encoding.get("method")), error, jitter, unit=unit)


def _cells_with_vectors(cube: Cube, wanted: int, seed: int) -> I64:
    """Places ``(n, dimension)`` of cells drawn at random among those that have a vector."""
    shape = cube.domain.shape
    drawn = np.random.default_rng(seed).integers(0, cube.domain.size, 20 * wanted)
    every = np.stack(np.unravel_index(list(dict.fromkeys(drawn.tolist())), shape), axis=1)
    known = (place for place in every.tolist() if cube.vector(*place) is not None)
    chosen = np.array(list(islice(known, wanted)), np.int64).reshape(-1, len(shape))
    if not len(chosen):
        raise CubeError(f"cube {cube.url} holds no vectors to verify")
    return chosen
