"""Freed buffers are used again: each runs in a process of its own, since glibc is told once."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from geoloc.encoders.heap import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

told = keep_freed_memory() if sys.argv[1] == "kept" else None
for _ in range(3):
    np.ones(BYTES, np.uint8)  # written to, and freed
before = faults()
for _ in range(5):
    np.ones(BYTES, np.uint8)
print(told, faults() - before)
""".replace("BYTES", str(100 << 20))

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc than glibc")


def run(mode: str, **environment: str) -> tuple[str, int]:
    """What `keep_freed_memory` returned, and the page faults of writing 500 MB."""
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, mode], env={**plain, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told, faults = done.stdout.split()
    return told, int(faults)


@glibc
def test_freed_buffers_are_not_cleared_again() -> None:
    told, faults = run("kept")
    assert told == "True"
    assert faults < run("as it comes")[1] / 5


@glibc
def test_settings_of_the_environment_stay() -> None:
    assert run("kept", MALLOC_MMAP_THRESHOLD_="1000000")[0] == "False"
    assert run("kept", GLIBC_TUNABLES="glibc.malloc.mmap_threshold=1000000")[0] == "False"
