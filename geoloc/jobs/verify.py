"""Checks a cube against its definition: sampled cells recomputed patch by patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..area import Area
from ..cube import Cube, Inspection
from ..domain import Grid
from ..errors import CubeError
from ..imagery import open_source

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
                f"({f.cells} cells)"
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
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Recompute sampled cells patch by patch, at the cube's own GSD.

    Raises SpecMismatchError for another model, ImageryError where no sampled cell has imagery.
    """
    from ..encoders import fidelity, open_patches

    cube.require_model(model.name, model.digest)
    source = open_source(area.imagery)
    encoder = open_patches(model, cube.grid.step, gsd=cube.spec.encoding.get("gsd"))
    rows, cols = _cells_with_vectors(cube, cells, seed)
    done = count(1)

    def read(window: Grid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        image = source.read(window)
        if progress:
            progress(next(done), len(rows))
        return image.values, image.coords["valid"].values

    sample = fidelity.read_sample(read, encoder, cube.grid, rows, cols)
    exact = fidelity.exact_vectors(encoder, sample)
    places = zip(sample.rows.tolist(), sample.cols.tolist(), strict=True)
    stored = [cube.read(slice(y, y + 1), slice(x, x + 1))[0, 0] for y, x in places]
    error = fidelity.compare(cube.features.decode(np.stack(stored)), exact)
    jitter = fidelity.jitter(encoder, sample, exact)
    return Verification(str(cube.spec.encoding.get("method")), error, jitter)


def _cells_with_vectors(
    cube: Cube, wanted: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of cells drawn at random among those that have a vector."""
    drawn = np.random.default_rng(seed).integers(0, cube.grid.size, 20 * wanted)
    places = (divmod(index, cube.grid.nx) for index in dict.fromkeys(drawn.tolist()))
    there = (place for place in places if cube.vector(*place) is not None)
    chosen = np.array(list(islice(there, wanted)), np.int64).reshape(-1, 2)
    if not len(chosen):
        raise CubeError(f"cube {cube.url} holds no vectors to verify")
    return chosen[:, 0], chosen[:, 1]
