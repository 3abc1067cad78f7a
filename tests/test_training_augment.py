"""Windows of chips: nothing is flipped or shifted that should not be."""

from __future__ import annotations

import torch

from geoloc.training.augment import NONE, Augmentation, windows

STILL = NONE.model_dump()


def chips(count: int = 4, side: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def test_without_augmentation_it_is_the_central_window() -> None:
    images = chips()
    seen = windows(images, 16, NONE, torch.Generator())
    assert torch.equal(seen, images[:, :, 4:20, 4:20].float() / 255)


def test_sampling_alone_keeps_pixels_in_place() -> None:
    images = chips()
    resampled = Augmentation(**{**STILL, "haze": 1e-9})  # any difference from NONE resamples
    seen = windows(images, 16, resampled, torch.Generator())
    assert torch.allclose(seen, images[:, :, 4:20, 4:20].float() / 255, atol=1e-4)


def test_turning_and_mirroring_keep_the_middle() -> None:
    images = torch.zeros(32, 3, 25, 25, dtype=torch.uint8)
    images[:, :, 12, 12] = 255
    spec = Augmentation(**{**STILL, "rotate": 180.0, "flip": True, "area": (0.8, 1.0)})
    seen = windows(images, 17, spec, torch.Generator().manual_seed(3)).mean(1)
    peaks = seen.flatten(1).argmax(1)
    assert (peaks == 8 * 17 + 8).all()


def test_turns_reach_every_quarter() -> None:
    images = torch.zeros(64, 3, 25, 25, dtype=torch.uint8)
    images[:, :, 4:8, 11:14] = 255  # above the middle
    spec = Augmentation(**{**STILL, "rotate": 180.0})
    seen = windows(images, 17, spec, torch.Generator().manual_seed(0)).mean(1)
    rows = seen.sum(2).argmax(1)
    columns = seen.sum(1).argmax(1)
    assert {0, 1, 2} & set(rows.tolist()) and {14, 15, 16} & set(rows.tolist())
    assert {0, 1, 2} & set(columns.tolist()) and {14, 15, 16} & set(columns.tolist())


def test_light_changes_stay_in_range_and_follow_the_seed() -> None:
    images = chips()
    first, second, other = (
        windows(images, 16, Augmentation(), torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert float(first.min()) >= 0 and float(first.max()) <= 1
