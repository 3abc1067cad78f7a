"""Signs that readers leave of what they read, and what is not made of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from geoloc.cube import Cube
from geoloc.cube.readers import last_used, mark_read
from tests.cubes import write_cube


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    features = np.random.default_rng(1).normal(0, 1, (5, 7, 3)).astype(np.float32)
    write_cube(tmp_path / "c.zarr", features)
    os.utime(tmp_path / "c.zarr" / "g0001", (5, 5))
    return tmp_path / "c.zarr"


def test_opening_leaves_a_sign_and_looking_at_it_none(cube: Path) -> None:
    files = sorted(cube.rglob("*"))
    Cube(cube, "g0001").info()
    assert last_used(cube, "g0001") == 5
    Cube.open(cube)
    assert (last_used(cube, "g0001") or 0) > 5
    assert sorted(cube.rglob("*")) == files


def test_where_no_sign_can_be_left_nothing_happens(cube: Path, tmp_path: Path) -> None:
    for url, generation in [
        (cube, "g0002"), (tmp_path / "none", "g0001"), ("s3://bucket/c.zarr", "g0001"),
        (cube, "../c.zarr/g0001"), (cube, "."),
    ]:  # fmt: skip
        mark_read(url, generation)
    assert last_used(cube, "g0001") == 5
    assert last_used(cube, "g0002") is None
    assert last_used("s3://bucket/c.zarr", "g0001") is None


def test_a_strangers_link_leads_nowhere(cube: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    os.utime(tmp_path / "outside", (7, 7))
    (cube / "g0009").symlink_to(tmp_path / "outside")
    mark_read(cube, "g0009")
    assert (tmp_path / "outside").stat().st_mtime == 7
