"""Compiled passes where what is compiled cannot be kept."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np

from geoloc.search.kernels import compiled

from .full_disk import file_limit

SOURCE = """
def double(values, out):
    for i in range(values.size):
        out[i] += 2 * values[i]
"""


def test_a_kernel_that_no_disk_has_room_for_still_runs_once(tmp_path: Path) -> None:
    (tmp_path / "of_a_test.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("of_a_test", tmp_path / "of_a_test.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["of_a_test"] = module  # numba looks the module of a function up
    try:
        spec.loader.exec_module(module)
        double, out = compiled(module.double), np.zeros(3, np.float32)
        with file_limit(0):
            double(np.arange(3, dtype=np.float32), out)
        assert out.tolist() == [0, 2, 4] and double.__name__ == "double"
        assert not [*tmp_path.rglob("*.nbc")]
        double(np.arange(3, dtype=np.float64), out)  # compiled anew
        assert out.tolist() == [0, 4, 8]
    finally:
        del sys.modules["of_a_test"]
