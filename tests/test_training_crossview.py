"""Both heads learnt together, in miniature: places of a hidden kind and photos of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from geoloc.errors import UsageError
from geoloc.training.crossview import CrossViewSpec, CrossViewTask, Duo, PlaceData
from geoloc.training.loop import LoopSpec, fit

KINDS, HIDDEN = 4, 6


def places(seed: int, photos: int = 96) -> PlaceData:
    """Places have a kind and a look of their own; photos and imagery show both, each its way."""
    shown = np.random.default_rng(0)  # how features come about is the same for all seeds
    as_photo, as_place = shown.normal(size=(KINDS + HIDDEN, 30)), shown.normal(size=(10, 20))
    rng = np.random.default_rng(seed)
    kinds = np.eye(KINDS, dtype=np.float32)[rng.integers(KINDS, size=2 * photos)]
    hidden = np.hstack([3 * kinds, rng.normal(size=(2 * photos, HIDDEN))])

    def views(mixing: np.ndarray, rows: np.ndarray) -> np.ndarray:
        noise = rng.normal(0, 0.2, (len(rows), 3, mixing.shape[1]))
        return ((rows @ mixing)[:, None] + noise).astype(np.float16)

    spots = np.column_stack([np.zeros(2 * photos, int), rng.integers(0, 5000, (2 * photos, 2))])
    return PlaceData(
        photos=views(as_photo, hidden[:photos]),
        places=views(as_place, hidden[:photos]),
        labels=kinds[:photos],
        place_labels=kinds[:photos],
        spots=spots[:photos],
        spares=views(as_place, hidden[photos:]),
        spare_spots=spots[photos:],
    )


def head(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, KINDS))


def test_photos_find_their_places_and_name_their_kind(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = CrossViewTask(
        Duo(head(30), head(20)), places(1), places(2), spec=CrossViewSpec(), batch=32, seed=0
    )
    with torch.inference_mode():
        before = task.validate()
    after = fit(task, LoopSpec(epochs=40, lr=1e-2, schedule="cosine"), tmp_path)
    assert 35 < before["median_percentile"] < 65  # chance
    assert after["median_percentile"] < 10  # by kind alone it would be 12
    assert after["photo_accuracy"] > 90


def test_close_places_are_no_negatives_and_a_pair_is_never_masked() -> None:
    task = CrossViewTask(
        Duo(head(30), head(20)), places(1), places(2),
        spec=CrossViewSpec(apart_px=500), batch=32, seed=0,
    )  # fmt: skip
    _, seen, _, _, near = next(task.batches(0))
    assert near.shape == (32, len(seen)) and near.any()
    assert not near.diagonal().any()


def test_views_are_drawn_in_their_shares() -> None:
    """Each feature of view v is v."""
    data = replace(places(1), photos=np.tile(np.arange(3, dtype=np.float16)[:, None], (96, 1, 30)))
    spec = CrossViewSpec(photo_views=(0.75, 0, 0.25))
    task = CrossViewTask(Duo(head(30), head(20)), data, data, spec=spec, batch=96, seed=0)
    drawn = torch.cat([next(task.batches(epoch))[0][:, 0] for epoch in range(20)])
    assert torch.bincount(drawn.long(), minlength=3).tolist()[1] == 0
    assert float((drawn == 2).float().mean()) == pytest.approx(0.25, abs=0.05)


def test_shares_of_views_are_checked() -> None:
    with pytest.raises(ValidationError, match=r"\(0\.5, 0\.4\) must sum to 1"):
        CrossViewSpec(photo_views=(0.5, 0.4))
    with pytest.raises(UsageError, match="2 shares for 3 views"):
        CrossViewTask(
            Duo(head(30), head(20)), places(1), places(2),
            spec=CrossViewSpec(photo_views=(0.5, 0.5)), batch=32, seed=0,
        )  # fmt: skip
