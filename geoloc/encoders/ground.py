"""Ground photos -> feature vectors (raw logits of the scene classes)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..arrays import F32, U8
from ..models.model import Model
from .memory import BatchSize
from .preprocess import stretch, to_input
from .runtime import Engine, Network, Precision, check_output, open_engine, open_network

_BATCH = 32


class GroundEncoder:
    """A model's ground network; make one with ``open_ground``."""

    def __init__(self, model: Model, network: Network, engine: Engine) -> None:
        self.model = model
        self.dim = model.dim
        self._network = network
        self._engine = engine
        self._batch = BatchSize(_BATCH)

    def encode(self, photos: Sequence[U8]) -> F32:
        """RGB photos ``(h, w, 3)`` of any sizes -> vectors ``(photo, feature)``."""
        spec, name = self.model.spec.ground, self.model.name
        vectors = np.empty((len(photos), self.dim), dtype=np.float32)

        def encode(part: slice) -> None:
            batch = torch.stack([stretch(photo, spec) for photo in photos[part]])
            y = self._engine.run(self._network, to_input(batch, spec))
            check_output(y, len(batch), self.dim, f"ground network of model {name}")
            vectors[part] = y.cpu().numpy()

        self._batch.run(len(photos), encode, f"model {name}: a photo of {spec.input_px} px")
        return vectors


def open_ground(
    model: Model, device: str = "auto", *, precision: Precision = "float32"
) -> GroundEncoder:
    """Load a model's ground network. Photos are few: full precision by default.

    Raises ModelError for a file that does not fit or is unsafe, UsageError for an unknown device.
    """
    engine = open_engine(model.spec.ground, device, precision)
    return GroundEncoder(model, open_network(model, model.spec.ground, engine), engine)
