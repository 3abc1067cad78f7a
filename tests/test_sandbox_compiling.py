"""Loops of the sandbox as they are compiled; what they draw is in test_sandbox_overhead.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from geoloc.sandbox.compiling import compiled_for

from .full_disk import file_limit

SOURCE = "def half(x):\n    return x / 2\n"


def test_a_full_disk_does_not_prevent_the_import(tmp_path: Path) -> None:
    (tmp_path / "halves.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("halves", tmp_path / "halves.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["halves"] = module  # numba looks the module of a function up
    try:
        spec.loader.exec_module(module)
        with file_limit(0):
            half = compiled_for("float64(int64)")(module.half)
        assert half(3) == 1.5 and half.signatures
        assert not [*tmp_path.rglob("*.nbc")]
    finally:
        del sys.modules["halves"]


def test_constants_are_not_compiled_for_one_by_one() -> None:
    from geoloc.sandbox.detail import ground_tone, noise2

    assert ground_tone(0, 1.5, 2.5, 3.0, 0.5, 0.01, 1.6) > 0  # calls it with many seeds
    assert len(noise2.signatures) == 1
