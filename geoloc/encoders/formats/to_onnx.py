"""Export to ONNX: of students that are no plain torchvision networks, and for speed."""

from __future__ import annotations

import io
import warnings

import onnxruntime
import torch
from torch import nn


def onnx_bytes(network: nn.Module, size: int, *, any_size: bool = False) -> bytes:
    """ONNX of a network that maps RGB ``(n, 3, size, size)`` to vectors, or maps to maps.

    The batch size is dynamic; with ``any_size`` so are height and width, for networks that compute
    the same whatever they are. TorchScript's exporter is used, as it needs no package but torch
    and onnx.
    """
    buffer = io.BytesIO()
    free = {0: "n", 2: "height", 3: "width"} if any_size else {0: "n"}
    # whoever asks may compute in bfloat16, which ONNX Runtime's convolutions do not
    with warnings.catch_warnings(), torch.autocast("cpu", enabled=False):
        warnings.simplefilter("ignore")  # about what is fixed by tracing, which is intended
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, size, size),),
            buffer,  # type: ignore[arg-type]  # streams are accepted, too
            input_names=["rgb"],
            output_names=["vector"],
            dynamic_axes={"rgb": free, "vector": free},
            dynamo=False,
        )
    return buffer.getvalue()


def onnx_session(
    network: nn.Module, size: int, *, any_size: bool = False
) -> onnxruntime.InferenceSession:
    """A network on this machine's processors, ``rgb`` to ``vector``; arguments of `onnx_bytes`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # waiting threads must not take the cores of others
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = not any_size  # for tiles of many sizes it takes half a GB more
    return onnxruntime.InferenceSession(onnx_bytes(network, size, any_size=any_size), options)
