"""Agreement of approximations with the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from geoloc.domain import Grid
from geoloc.encoders import fidelity
from geoloc.encoders.overhead import open_patches
from geoloc.errors import ImageryError

from .encoder_models import imagery, tiny_model

CELLS = Grid("EPSG:32636", 300_000.0, 5_598_000.0, 10.0, 6, 8)


def test_equal_vectors_agree_and_the_mean_vector_is_the_unit_of_error() -> None:
    exact = np.random.default_rng(0).normal(3, 2, (40, 6)).astype(np.float32)
    same = fidelity.compare(exact, exact)
    assert (same.cells, same.relative_error) == (40, 0)
    assert same.spearman == pytest.approx(1)
    mean = np.broadcast_to(exact.mean(0), exact.shape).astype(np.float32)
    assert fidelity.compare(mean, exact).relative_error == pytest.approx(1, rel=1e-5)


def test_spearman_is_the_rank_correlation_of_distances() -> None:
    rng = np.random.default_rng(1)
    exact = rng.normal(size=(30, 4)).astype(np.float32)
    rough = exact + rng.normal(size=exact.shape).astype(np.float32)
    expected = [
        spearmanr(np.linalg.norm(rough - q, axis=1), np.linalg.norm(exact - q, axis=1)).statistic
        for q in exact
    ]
    assert fidelity.compare(rough, exact).spearman == pytest.approx(np.mean(expected), abs=1e-6)


def test_missing_cells_drop_out() -> None:
    exact = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    holed = exact.copy()
    holed[4] = np.nan
    assert fidelity.compare(holed, exact).cells == 9
    with pytest.raises(ImageryError, match="sample more"):
        fidelity.compare(holed[3:6], exact[3:6])


def test_sampled_cells_get_their_own_vectors_and_jitter(tmp_path: Path) -> None:
    encoder = open_patches(tiny_model(tmp_path), 10.0, "cpu", precision="float32")
    window = encoder.window(CELLS).pad(fidelity.JITTER_PX)
    pixels = imagery(*window.shape)
    valid = np.ones(window.shape, dtype=np.bool_)
    valid[:, :60] = False

    def read(part: Grid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        row = round((window.top - part.top) / window.step)
        col = round((part.left - window.left) / window.step)
        at = slice(row, row + part.ny), slice(col, col + part.nx)
        return pixels[:, *at], valid[at]

    rows, cols = np.array([0, 5, 2, 3]), np.array([7, 6, 7, 0])
    sample = fidelity.read_sample(read, encoder, CELLS, rows, cols)
    assert list(zip(sample.rows, sample.cols, strict=True)) == [(0, 7), (5, 6), (2, 7)]
    exact = fidelity.exact_vectors(encoder, sample)
    inner = encoder.window(CELLS)
    whole = encoder.encode(*read(inner), inner, CELLS)
    np.testing.assert_allclose(exact, whole[sample.rows, sample.cols], rtol=1e-3, atol=1e-4)
    errors = []
    for dy, dx in ((2, 0), (-2, 0), (0, 2), (0, -2)):
        part = inner.window(slice(dy, inner.ny + dy), slice(dx, inner.nx + dx))
        moved = encoder.encode(*read(part), inner, CELLS)[sample.rows, sample.cols]
        errors.append(fidelity.compare(moved, exact).relative_error)
    found = fidelity.jitter(encoder, sample, exact)
    assert found.relative_error == pytest.approx(np.mean(errors), rel=1e-2)


def test_an_area_without_imagery_is_refused(tmp_path: Path) -> None:
    encoder = open_patches(tiny_model(tmp_path), 10.0, "cpu")

    def nothing(part: Grid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        return np.zeros((3, *part.shape), np.uint8), np.zeros(part.shape, np.bool_)

    at = np.array([1, 2])
    with pytest.raises(ImageryError, match=r"none of the 2 .* \d+ m across"):
        fidelity.read_sample(nothing, encoder, CELLS, at, at)
