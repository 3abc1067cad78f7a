"""Half files of killed processes: swept once somebody was killed, and no others."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from geoloc.cube import create_root, hold_lock
from geoloc.cube.lock import LOCK, Owner
from geoloc.cube.remains import sweep
from geoloc.cube.store import open_store, write_text
from tests.dying import die


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    """With what killed processes left: of a block, and at the top an old and a young one."""
    root = tmp_path / "cube.zarr"
    create_root(root)
    below = root / "g0001" / "features" / "c" / "0" / "0"
    below.mkdir(parents=True)
    for path in (below / "0.12ab.partial", root / "zarr.1.partial", root / "LOCK.2.partial"):
        path.write_bytes(b"half")
    then = time.time() - 120
    os.utime(root / "zarr.1.partial", (then, then))
    (below / "0").write_bytes(b"whole")
    return root


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_after_a_kill_all_goes_but_what_others_may_be_writing(cube: Path) -> None:
    sweep(cube, killed=True)
    assert left(cube) == ["0", "LOCK.2.partial", "zarr.json"]


def test_without_one_only_the_top_is_looked_at(cube: Path) -> None:
    sweep(cube, killed=False)
    assert left(cube) == ["0", "0.12ab.partial", "LOCK.2.partial", "zarr.json"]


def test_what_is_not_on_this_disk_has_none() -> None:
    sweep("s3://bucket/cube.zarr", killed=True)


def test_who_takes_over_a_lock_sweeps(cube: Path) -> None:
    with hold_lock(cube, "cube build"):
        assert "0.12ab.partial" in left(cube)  # nobody was killed
    store = open_store(cube, read_only=False)
    dead = replace(Owner.this_process("cube build"), started=1.0)
    write_text(store, LOCK, dead.to_text())
    with hold_lock(cube, "cube build"):
        assert left(cube) == ["0", "LOCK", "LOCK.2.partial", "zarr.json"]


def test_a_process_killed_as_it_writes_leaves_no_half_file_for_long(tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    die(
        "from geoloc.cube import *; from geoloc.cube.store import *\n"
        f"cube = {str(cube)!r}; create_root(cube)\n"
        "with hold_lock(cube, 'cube build'):\n"
        "    write_bytes(open_store(cube, read_only=False), 'g0001/features/c/0/0/0', b'x')",
        r"rename .*features",
    )
    assert any(name.endswith(".partial") for name in left(cube))
    with hold_lock(cube, "cube build"):
        assert left(cube) == [LOCK, "zarr.json"]
