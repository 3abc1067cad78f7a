"""Which pixels belong to which cell: geometry, checked against naive arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloc.domain import Grid
from geoloc.encoders import lattice
from geoloc.errors import ModelError

CELLS = Grid("EPSG:32636", 300_213.0, 5_598_431.0, 10.0, 5, 7)


@pytest.mark.parametrize(
    ("step", "unit", "limits", "preferred", "gsd", "every"),
    [
        (10, 1, (1.0, 4.0), 1.6, 10 / 6, 6),
        (10, 16, (0.5, 0.8), 0.6, 0.625, 16),
        (10, 32, (0.3, 0.8), 0.6, 0.3125, 32),
        (10, 8, (0.5, 1.5), 0.6, 0.625, 16),
        (10, 16, (0.9, 1.1), 1.0, 1.0, None),
        (10, 1, (0.3, 0.3), 0.3, 0.3, None),
        (10, 1, (12.0, 20.0), 15.0, 15.0, None),
        (10, 1, (0.5, 0.5), 0.5, 0.5, 20),
    ],
)
def test_the_gsd_puts_whole_pixels_on_a_step(
    step: float, unit: int, limits: tuple[float, float], preferred: float, gsd: float,
    every: int | None,
) -> None:  # fmt: skip
    sampling = lattice.choose_sampling(step, unit, limits, preferred)
    assert sampling.gsd == pytest.approx(gsd)
    assert sampling.every == every


@given(st.floats(1, 50), st.sampled_from([1, 8, 16, 32]), st.floats(0.1, 3), st.floats(1, 5))
def test_the_chosen_gsd_is_in_range_and_exact(
    step: float, unit: int, low: float, ratio: float
) -> None:
    high, preferred = low * ratio, low * ratio**0.4
    sampling = lattice.choose_sampling(step, unit, (low, high), preferred)
    assert low * (1 - 1e-6) <= sampling.gsd <= high * (1 + 1e-6)
    if sampling.every is not None:
        assert sampling.every % unit == 0
        assert sampling.every * sampling.gsd == pytest.approx(step)


@pytest.mark.parametrize("side", [64, 65])
def test_patches_are_centred_on_their_cells(side: int) -> None:
    window = lattice.pixels_of(CELLS, 2.5, 4, side)
    for row, col in ((0, 0), (4, 6), (2, 5)):
        patch = window.window(slice(row * 4, row * 4 + side), slice(col * 4, col * 4 + side))
        left, bottom, right, top = patch.bounds
        assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx(CELLS.center(row, col))
    assert window.shape == (4 * 4 + side, 6 * 4 + side)


@given(st.floats(0.31, 3.3), st.integers(8, 65), st.floats(-50, 50), st.floats(-50, 50))
def test_nearest_patches_miss_by_half_a_pixel_at_most(
    gsd: float, side: int, dx: float, dy: float
) -> None:
    cells = Grid("EPSG:32636", 300_000 + dx, 5_598_000 + dy, 10.0, 4, 6)
    window = lattice.pixels_nearest(cells, gsd, side)
    rows, cols = lattice.starts_nearest(cells, gsd, side)
    assert rows[0] == cols[0] == 0
    assert window.shape == (rows[-1] + side, cols[-1] + side)
    x = window.left + (cols + side / 2) * gsd
    y = window.top - (rows + side / 2) * gsd
    assert np.abs(x - cells.x).max() <= gsd / 2 + 1e-4
    assert np.abs(y - cells.y).max() <= gsd / 2 + 1e-4


def test_nearest_patches_do_not_depend_on_the_block() -> None:
    gsd, side = 0.3, 20
    whole = lattice.pixels_nearest(CELLS, gsd, side)
    rows, cols = lattice.starts_nearest(CELLS, gsd, side)
    part = CELLS.window(slice(2, 5), slice(3, 7))
    window = lattice.pixels_nearest(part, gsd, side)
    first_row = round((whole.top - window.top) / gsd)
    first_col = round((window.left - whole.left) / gsd)
    part_rows, part_cols = lattice.starts_nearest(part, gsd, side)
    np.testing.assert_array_equal(part_rows + first_row, rows[2:])
    np.testing.assert_array_equal(part_cols + first_col, cols[3:])


def test_nodes_enclose_the_cells_and_do_not_depend_on_the_block() -> None:
    nodes = lattice.nodes_around(CELLS, 16.0)
    assert nodes.x[0] <= CELLS.x[0] and nodes.x[-1] >= CELLS.x[-1]
    assert nodes.y[0] >= CELLS.y[0] and nodes.y[-1] <= CELLS.y[-1]
    part = lattice.nodes_around(CELLS.window(slice(1, 3), slice(4, 5)), 16.0)
    assert set(part.x) <= set(nodes.x) and set(part.y) <= set(nodes.y)
    np.testing.assert_array_equal(nodes.x % 16, 0)


def test_interpolation_is_exact_for_a_plane() -> None:
    nodes = lattice.nodes_around(CELLS, 16.0)
    x, y = np.meshgrid(nodes.x - 300_000, nodes.y - 5_598_000)
    values = np.stack([x, 3 * x - 2 * y], axis=-1).astype(np.float32)
    found = lattice.interpolate(values, nodes, CELLS)
    x, y = np.meshgrid(CELLS.x - 300_000, CELLS.y - 5_598_000)
    np.testing.assert_allclose(found, np.stack([x, 3 * x - 2 * y], axis=-1), rtol=1e-5)


def test_interpolation_keeps_what_is_missing_missing() -> None:
    cells = Grid("EPSG:32636", -5.0, 25.0, 10.0, 2, 4)  # centres at x 0, 10, 20, 30, y 20, 10
    nodes = lattice.nodes_around(cells, 20.0)  # x 0, 20, 40, y 20, 0
    values = np.ones((*nodes.shape, 1), dtype=np.float32)
    values[0, 1] = np.nan
    found = np.isnan(lattice.interpolate(values, nodes, cells)[..., 0])
    assert found.tolist() == [[False, True, True, True], [False, True, True, True]]


def test_too_coarse_a_lattice_is_refused() -> None:
    lattice.check_spacing(10, 16)
    with pytest.raises(ModelError, match="patch"):
        lattice.check_spacing(2, 16)


def test_the_step_that_a_refusal_names_is_the_least_that_works() -> None:
    """For a wide range of GSD on the lattice itself, for a narrow one between its nodes."""
    for (low, high), preferred, named in (((0.4, 3.2), 1.5625, 12.8), ((0.9, 1.1), 1.0, 16.0)):
        finer = lattice.choose_sampling(0.95 * named, 32, (low, high), preferred)
        assert finer.every is None
        with pytest.raises(ModelError, match=f"use a step of {named:g} m or more"):
            lattice.check_spacing(0.95 * named, 32 * finer.gsd, 32 * low)
        at = lattice.choose_sampling(named, 32, (low, high), preferred)
        if at.every is None:
            lattice.check_spacing(named, 32 * at.gsd, 32 * low)


def test_valid_share_counts_windows() -> None:
    valid = np.random.default_rng(0).random((9, 11)) < 0.5
    rows, cols = np.array([0, 3, 5]), np.array([1, 7])
    share = lattice.valid_share(valid, rows, cols, 4)
    naive = [[valid[r : r + 4, c : c + 4].mean() for c in cols] for r in rows]
    np.testing.assert_allclose(share, naive)


@pytest.mark.parametrize(
    ("encoding", "window"),
    [
        (
            {"method": "patch", "gsd": 10 / 6, "patch_px": 64, "alignment": "exact"},
            lattice.pixels_of(CELLS, 10 / 6, 6, 64),
        ),
        (
            {"method": "patch", "gsd": 0.3, "patch_px": 64, "alignment": "nearest pixel"},
            lattice.pixels_nearest(CELLS, 0.3, 64),
        ),
        (
            {"method": "dense", "gsd": 0.625, "pool_px": 32, "halo_px": 48, "stride": 16,
             "lattice_m": 10.0, "interpolation": None},
            lattice.pixels_of(CELLS, 0.625, 16, 128),
        ),
        (
            {"method": "dense", "gsd": 1.0, "pool_px": 32, "halo_px": 48, "stride": 16,
             "lattice_m": 16.0, "interpolation": "bilinear"},
            lattice.pixels_of(lattice.nodes_around(CELLS, 16.0), 1.0, 16, 128),
        ),
    ],
)  # fmt: skip
def test_what_an_encoder_says_of_itself_tells_its_windows(
    encoding: dict[str, object], window: Grid
) -> None:
    reading = lattice.Reading.of_encoding(encoding, CELLS.step)
    assert reading is not None
    assert reading.window(CELLS) == window


@pytest.mark.parametrize("encoding", [{}, {"method": "tiny", "gsd": 1}, {"method": "patch"}])
def test_an_encoder_of_another_kind_tells_no_windows(encoding: dict[str, object]) -> None:
    assert lattice.Reading.of_encoding(encoding, 10.0) is None
