"""Export to ONNX, for a student that is not a plain torchvision network."""

from __future__ import annotations

import io
import warnings

import torch
from torch import nn


def onnx_bytes(network: nn.Module, size: int) -> bytes:
    """ONNX of a network that maps RGB ``(n, 3, size, size)`` in [0, 1] to vectors.

    The batch size is dynamic. TorchScript's exporter is used, as it needs no package but torch.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the fixed image size, which is intended
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, size, size),),
            buffer,  # type: ignore[arg-type]  # streams are accepted, too
            input_names=["rgb"],
            output_names=["vector"],
            dynamic_axes={"rgb": {0: "n"}, "vector": {0: "n"}},
            dynamo=False,
        )
    return buffer.getvalue()
