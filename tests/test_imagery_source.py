"""The imagery protocol, by the source that lives in memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import ArraySource, Item, require_overlap, require_sharp

CRS = "EPSG:32636"
GRID = Grid(CRS, 1000.0, 2000.0, 0.5, 40, 60)


def make() -> ArraySource:
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 256, (3, *GRID.shape), np.uint8)
    valid = np.ones(GRID.shape, bool)
    valid[5, 7] = False
    return ArraySource(pixels, GRID, valid)


def test_a_window_on_the_lattice_is_a_slice() -> None:
    source = make()
    data = source.read(GRID.window(slice(2, 12), slice(3, 23)))
    assert data.dims == ("band", "y", "x")
    assert data.dtype == np.uint8
    assert data.attrs["crs"] == CRS
    assert data.attrs["items"] == (Item("array", "memory:array"),)
    assert data.attrs["errors"] == ()
    np.testing.assert_array_equal(data.x, GRID.x[3:23])
    np.testing.assert_array_equal(data.y, GRID.y[2:12])
    expected = source.pixels[:, 2:12, 3:23].copy()
    expected[:, 3, 4] = 0
    np.testing.assert_array_equal(data.values, expected)
    assert np.argwhere(~data.valid.values).tolist() == [[3, 4]]


def test_outside_of_it_there_is_nothing() -> None:
    data = make().read(GRID.pad(4))
    assert not data.valid.values[:4].any() and not data.valid.values[:, -4:].any()
    assert data.valid.values[4:-4, 4:-4].sum() == GRID.size - 1
    beyond = make().read(GRID.window(slice(100, 110), slice(0, 5)))
    assert not beyond.valid.any() and beyond.attrs["items"] == ()


def test_other_steps_give_the_nearest_pixel() -> None:
    source = make()
    fine = source.read(Grid(CRS, 1010.0, 1990.0, 0.25, 20, 20))
    np.testing.assert_array_equal(fine.values[:, ::2, ::2], source.pixels[:, 20:30, 20:30])
    np.testing.assert_array_equal(fine.values[:, 1::2, 1::2], fine.values[:, ::2, ::2])


def test_broken_boxes_give_errors_and_no_pixels() -> None:
    source = make()
    left, _, _, top = GRID.bounds
    source = ArraySource(source.pixels, GRID, broken=((left, top - 5, left + 5, top),))
    touched, intact = source.read(GRID), source.read(GRID.window(slice(20, 30), slice(20, 30)))
    assert len(touched.attrs["errors"]) == 1 and not touched.valid.values[:10, :10].any()
    assert touched.valid.values[10:].all()
    assert intact.attrs["errors"] == () and intact.valid.all()


def test_the_fingerprint_follows_the_pixels_of_the_window() -> None:
    source = make()
    here, there = (GRID.window(slice(0, 10), slice(i, i + 10)) for i in (0, 30))
    before = source.fingerprint(here), source.fingerprint(there)
    source.pixels[0, 4, 4] ^= 1
    assert source.fingerprint(here) != before[0]
    assert source.fingerprint(there) == before[1]
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301  (our own)
    assert copy.fingerprint(here) == source.fingerprint(here)


def test_an_area_beside_the_imagery_is_refused_with_both_extents() -> None:
    require_overlap(make(), GRID.pad(10))
    far = Grid(CRS, 5000.0, 9000.0, 10.0, 10, 10)
    with pytest.raises(
        ImageryError, match=r"\[5000, 8900, 5100, 9000\].*\[1000, 1980, 1030, 2000\]"
    ):
        require_overlap(make(), far)


def test_imagery_coarser_than_a_model_serves_is_noted_and_then_refused() -> None:
    source = ArraySource(np.zeros((3, 40, 60), np.uint8), Grid(CRS, 0.0, 0.0, 2.0, 40, 60))
    window = Grid(CRS, 0.0, 0.0, 10.0, 4, 4)
    for served in (None, 10.0, 2.0, 1.9):  # finer is sampled down; pixel sizes are nominal
        assert require_sharp(source, window, served) == []
    (note,) = require_sharp(source, window, 1.5)
    assert "2 m per pixel" in note and "1.5 m at most" in note
    with pytest.raises(ImageryError, match=r"2 m per pixel.* 1.3 m at most: use finer imagery"):
        require_sharp(source, window, 1.3)


def test_a_pixel_size_that_cannot_be_read_is_no_reason_to_refuse() -> None:
    class Damaged(ArraySource):
        @property
        def gsd(self) -> float:
            raise ImageryError("a header is broken")

    assert require_sharp(Damaged(np.zeros((3, 4, 4), np.uint8), GRID), GRID, 0.001) == []


def test_another_crs_is_refused() -> None:
    with pytest.raises(ImageryError, match="EPSG:3857"):
        make().read(Grid("EPSG:3857", 0.0, 0.0, 1.0, 2, 2))
