"""Checkpoints as they were published: random weights, written as PyTorch 0.2 under Python 2 did."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class _Python2(pickle._Pickler):  # type: ignore[misc]
    """Text is bytes, and a tensor is rebuilt by the function of that time."""

    dispatch: ClassVar[dict[Any, Any]] = {**pickle._Pickler.dispatch}  # type: ignore[attr-defined]

    def save_text(self, text: str) -> None:
        data = text.encode("latin1")
        assert len(data) < 256
        self.write(b"U" + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_text

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor:
            return NotImplemented
        place = (value.storage_offset(), tuple(value.shape), tuple(value.stride()))
        return torch._utils._rebuild_tensor, (value._typed_storage(), *place)


def _dump(value: Any, file: Any, protocol: int) -> None:
    _Python2(file, protocol).dump(value)


PYTHON2 = SimpleNamespace(Pickler=_Python2, dump=_dump, __name__="pickle")


def old_names(arch: str, state: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """The keys of that time: of DataParallel, without counts, DenseNet's with a dot."""

    def renamed(key: str) -> str:
        key = re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key)
        if arch == "alexnet":  # only its features were run in parallel
            return key.replace("features.", "features.module.")
        return f"module.{key}"

    return OrderedDict(
        (renamed(key), value) for key, value in state.items() if "num_batches_tracked" not in key
    )


def write_checkpoint(path: Path, arch: str, network: nn.Module, *, legacy: bool = True) -> Path:
    """``{epoch, arch, state_dict, best_prec1}``; ``legacy``: as it was written then."""
    state = {key: value.detach().clone() for key, value in network.state_dict().items()}
    content = {
        "epoch": 90,
        "arch": arch,
        "state_dict": old_names(arch, state),
        "best_prec1": torch.tensor([53.2]),
        "note": "\xc3\xa9t\xe9",  # bytes that are not UTF-8
    }
    if legacy:
        torch.save(content, path, pickle_module=PYTHON2, pickle_protocol=2,
                   _use_new_zipfile_serialization=False)  # fmt: skip
        path.write_bytes(path.read_bytes().replace(b"U\x03cpu", b"U\x06cuda:0", 1))
    else:
        torch.save(content, path)
    return path
