"""The study's windows, against the same steps of torchvision on images, one by one."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as vision

from geoloc.training.augment import Draws
from geoloc.training.study import HIGH, LOW, StudyWindows, crop_box, study_windows

SMALL = StudyWindows(resize=100, crop=46, middle=32)


def chip(side: int) -> torch.Tensor:
    """Smooth and asymmetric, so that resampling hardly matters and a turn shows."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    colours = torch.stack([x * 255 / side, y * 255 / side, (x + 2 * y) * 80 / side])
    return colours.to(torch.uint8)


def test_a_window_is_what_torchvision_makes_of_the_image() -> None:
    draws = Draws.of(6, torch.Generator().manual_seed(5))
    image = chip(100)
    seen = study_windows(image.expand(6, -1, -1, -1), 28, SMALL, draws)
    for window, numbers in zip(seen, draws.values.tolist(), strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        cut = vision.center_crop(picture, [46, 46])
        turned = vision.rotate(cut, 360 * numbers[0], InterpolationMode.BILINEAR)
        middle = vision.center_crop(turned, [32, 32])
        box = crop_box(32, (0.8, 1.0), numbers[2:])
        wanted = vision.resized_crop(middle, *box, [28, 28], InterpolationMode.BILINEAR)
        if numbers[1] < 0.5:
            wanted = vision.hflip(wanted)
        expected = np.asarray(wanted, np.float32).transpose(2, 0, 1) / 255
        # images have no pixel centre to turn about exactly: up to half a pixel of a slope of 2.5
        assert np.abs(window.numpy() - expected).max() < 0.02


def test_no_corner_of_a_turned_image_is_seen() -> None:
    white = torch.full((40, 3, 800, 800), 255, dtype=torch.uint8)
    seen = study_windows(white[:, :, :400, :400], 224, LOW, Draws.of(40, torch.Generator()))
    assert float(seen.min()) > 0.99


def test_crops_are_drawn_as_torchvision_draws_them() -> None:
    generator = torch.Generator().manual_seed(1)
    numbers = torch.rand(4000, 24, generator=generator).tolist()
    ours = np.array([crop_box(256, (0.8, 1.0), row) for row in numbers])
    torch.manual_seed(2)
    image = torch.zeros(3, 256, 256)
    theirs = np.array([
        RandomResizedCrop.get_params(image, [0.8, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)
    ])  # fmt: skip
    assert (ours[:, :2] + ours[:, 2:] <= 256).all()
    for column in range(4):
        for share in (0.1, 0.5, 0.9):
            apart = np.quantile(ours[:, column], share) - np.quantile(theirs[:, column], share)
            assert abs(apart) <= 3


def test_the_two_resolutions_differ_in_how_much_ground_is_seen() -> None:
    assert (HIGH.resize, HIGH.crop, HIGH.middle, HIGH.area) == (800, 364, 256, (0.8, 1.0))
    assert LOW.resize == HIGH.resize / 2 and LOW.crop == HIGH.crop
