"""Batches that a device's memory does not hold: halved, remembered, told when hopeless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geoloc.domain import Grid
from geoloc.encoders import open_ground, overhead
from geoloc.encoders.memory import BatchSize, fits, is_out_of_memory
from geoloc.encoders.overhead import OverheadEncoder, open_overhead
from geoloc.errors import ModelError
from geoloc.models import load_model

from .encoder_models import dense_section, imagery, tiny_model

CELLS = Grid("EPSG:32636", 300_000.0, 5_598_000.0, 10.0, 7, 5)


def out_of_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@dataclass
class Cramped:
    """A network on a device that holds so many pixels at once, and what it was asked."""

    network: Callable[..., Tensor]
    most_px: int
    asked: list[int] = field(default_factory=list)

    def __call__(self, *args: Any) -> Tensor:
        x = next(arg for arg in args if isinstance(arg, Tensor))
        self.asked.append(x.shape[0] * x.shape[2] * x.shape[3])
        if self.asked[-1] > self.most_px:
            raise out_of_memory()
        return self.network(*args)


def encode(encoder: OverheadEncoder) -> Any:
    window = encoder.window(CELLS)
    pixels, valid = imagery(*window.shape), np.ones(window.shape, np.bool_)
    return encoder.encode(pixels, valid, window, CELLS)


def opened(path: Path, method: str) -> OverheadEncoder:
    settings = dense_section(halo_px=320) if method == "dense" else {}
    return open_overhead(tiny_model(path, **settings), 10.0, method, "cpu", precision="float32")


@given(n=st.integers(0, 60), first=st.integers(1, 70), most=st.integers(1, 50))
def test_every_item_is_done_once_in_batches_that_fit(n: int, first: int, most: int) -> None:
    size, done, tried = BatchSize(first), list[int](), list[int]()

    def work(part: slice) -> None:
        tried.append(part.stop - part.start)
        if tried[-1] > most:
            raise out_of_memory()
        done.extend(range(part.start, part.stop))

    size.run(n, work, "an item")
    assert done == list(range(n))
    failed = sum(items > most for items in tried)
    size.run(n, work, "an item")
    assert sum(items > most for items in tried) == failed  # what failed is not tried again


def test_what_does_not_fit_at_all_is_told() -> None:
    def never(part: slice) -> None:  # noqa: ARG001
        raise out_of_memory()

    with pytest.raises(ModelError, match=r"the whole model does not fit .* another device"):
        BatchSize(8).run(3, never, "the whole model")


def test_other_errors_are_no_matter_of_memory() -> None:
    def wrong() -> None:
        raise RuntimeError("expected input to have 3 channels")

    with pytest.raises(RuntimeError, match="3 channels"):
        fits(wrong)


def test_a_real_allocation_that_fails_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_patches_are_halved_and_the_size_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = opened(tmp_path, "patch")
    whole = encode(encoder)
    network = Cramped(encoder._network, most_px=5 * 64 * 64)  # type: ignore[attr-defined]
    monkeypatch.setattr(encoder, "_network", network)
    np.testing.assert_allclose(encode(encoder), whole, rtol=1e-4, atol=1e-5)
    refused = [px for px in network.asked if px > network.most_px]
    assert refused
    encode(encoder)
    assert [px for px in network.asked if px > network.most_px] == refused


def test_tiles_are_quartered_and_the_size_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = opened(tmp_path, "dense")
    whole = encode(encoder)
    reach = 32 + 2 * 320
    features = Cramped(overhead.dense_features, most_px=(reach + 2 * 16) ** 2)
    monkeypatch.setattr(overhead, "dense_features", features)
    np.testing.assert_allclose(encode(encoder), whole, rtol=1e-3, atol=1e-4)
    refused = [px for px in features.asked if px > features.most_px]
    assert refused
    encode(encoder)
    assert [px for px in features.asked if px > features.most_px] == refused


@pytest.mark.parametrize("method", ["patch", "dense"])
def test_a_model_too_large_for_the_device_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    encoder = opened(tmp_path, method)
    if method == "patch":
        network = Cramped(encoder._network, most_px=10)  # type: ignore[attr-defined]
        monkeypatch.setattr(encoder, "_network", network)
    else:
        monkeypatch.setattr(overhead, "dense_features", Cramped(overhead.dense_features, 10))
    with pytest.raises(ModelError, match=r"model tiny: .* does not fit in the memory"):
        encode(encoder)


def test_photos_are_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model(tmp_path)
    encoder = open_ground(load_model(tmp_path), "cpu")
    photos = [imagery(70, 90, seed).transpose(1, 2, 0) for seed in range(5)]
    whole = encoder.encode(photos)
    network = Cramped(encoder._network, most_px=2 * 64 * 64)
    monkeypatch.setattr(encoder, "_network", network)
    np.testing.assert_allclose(encoder.encode(photos), whole, rtol=1e-4, atol=1e-5)
    assert [px // (64 * 64) for px in network.asked] == [5, 2, 2, 1]
