"""Export to ONNX: of students that are no plain torchvision networks, and for speed."""

from __future__ import annotations

import io
import warnings

import torch
from torch import nn


def onnx_bytes(network: nn.Module, size: int) -> bytes:
    """ONNX of a network that maps RGB ``(n, 3, size, size)`` to vectors.

    The batch size is dynamic. TorchScript's exporter is used, as it needs no package but torch.
    """
    buffer = io.BytesIO()
    # whoever asks may compute in bfloat16, which ONNX Runtime's convolutions do not
    with warnings.catch_warnings(), torch.autocast("cpu", enabled=False):
        warnings.simplefilter("ignore")  # about what is fixed by tracing, which is intended
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
