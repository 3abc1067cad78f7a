"""From pixels to feature vectors: ground encoders, overhead encoders.

``networks``    torchvision networks split into trunk and head, dilation, the dense function
``exported``    networks from ONNX and torch.export files, loaded safely
``runtime``     device, number format, threads; one callable for every kind of network
``preprocess``  from uint8 pixels to a network's input
``lattice``     which pixels a block of cells needs (pure arithmetic)
``ground``      photos -> vectors
``overhead``    imagery window -> vectors of its cells
``text``        words -> the vectors of a model
``fidelity``    the error of an approximation, compared with the network's own jitter
``importing``   a model directory from a user's own files

Importing this package does not import torch: the encoders are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ground import open_ground
    from .overhead import OverheadEncoder, open_overhead, open_patches

__all__ = [
    "OverheadEncoder",
    "open_ground",
    "open_overhead",
    "open_patches",
]

_HEAVY = {
    "open_ground": "ground",
    "OverheadEncoder": "overhead",
    "open_overhead": "overhead",
    "open_patches": "overhead",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HEAVY[name]}", __name__), name)
