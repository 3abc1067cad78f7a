"""Resampling along axes, against the definition computed pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.imagery.resample import Axis, resample


def naive_weights(axis: Axis, i: int) -> NDArray[np.float64]:
    """The weight of each image pixel in output pixel ``i``."""
    begin, end = axis.start + i * axis.ratio, axis.start + (i + 1) * axis.ratio
    weights = np.zeros(axis.size)
    for pixel in range(axis.size):
        if axis.ratio >= 1:
            weights[pixel] = max(min(pixel + 1, end) - max(pixel, begin), 0) / axis.ratio
        elif 0 <= (begin + end) / 2 <= axis.size:
            weights[pixel] = max(1 - abs(pixel + 0.5 - (begin + end) / 2), 0)
    return weights


def naive(
    values: NDArray[np.uint8], valid: NDArray[np.bool_], y: Axis, x: Axis
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean of the valid pixels, and how much of them there is."""
    mean, cover = np.zeros((y.count, x.count)), np.zeros((y.count, x.count))
    for i in range(y.count):
        for j in range(x.count):
            weight = np.outer(naive_weights(y, i), naive_weights(x, j)) * valid
            cover[i, j] = weight.sum()
            mean[i, j] = (weight * values).sum() / max(cover[i, j], 1e-9)
    return mean, cover


def axes(size: int) -> st.SearchStrategy[Axis]:
    hundredths = st.integers(-400, 1600).map(lambda v: v / 100)
    ratios = st.sampled_from([0.31, 0.5, 0.9, 1.0, 1.37, 2.0, 3.0, 4.6])
    return st.builds(Axis, hundredths, ratios, st.integers(1, 9), st.just(size))


@settings(max_examples=60)
@given(axes(13), axes(11), st.integers(0, 999), st.booleans())
def test_every_pixel_is_the_weighted_mean_of_what_it_covers(
    y: Axis, x: Axis, seed: int, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (2, y.size, x.size), np.uint8)
    valid = np.ones(values.shape[1:], bool) if whole else rng.random(values.shape[1:]) < 0.7
    window = (y.source, x.source)
    got, there = resample(values[:, *window], None if whole else valid[window], y, x)
    assert got.shape == (2, y.count, x.count)
    for band in range(2):
        mean, cover = naive(values[band], valid, y, x)
        clear = np.abs(cover - 1e-3) > 1e-4
        assert (there == (cover > 1e-3))[clear].all()
        np.testing.assert_allclose(got[band][there], mean[there], atol=2e-2)


def test_parts_are_the_whole() -> None:
    axis = Axis(-2.3, 1.7, 20, 30)
    whole = axis.weights().toarray()
    part = axis.part(6, 15)
    shift = part.source.start - axis.source.start
    assert part.weights().toarray() == pytest.approx(
        whole[6:15, shift : shift + part.source.stop - part.source.start], abs=1e-6
    )
