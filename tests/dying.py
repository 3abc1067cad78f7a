"""A process that ends, as if killed, just before a change of files that a test names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEAD = 71

_HOOK = f"""
import os as _os, re as _re, sys as _sys
_left = int(_sys.argv.pop(1))
_pattern = _re.compile(_sys.argv.pop(1))

def _hook(event, told):
    global _left
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "open"):
        paths = [str(path) for path in told[: 2 if event in ("os.rename", "os.link") else 1]]
        if event == "open" and not told[2] & (_os.O_WRONLY | _os.O_RDWR):
            return
        if _pattern.search(" ".join([event.removeprefix("os."), *paths])):
            _left -= 1
            if _left == 0:
                _os._exit({DEAD})

_sys.addaudithook(_hook)
"""


def die(code: str, change: str, *, at: int = 1) -> None:
    """Run code that ends just before the ``at``-th change like this: ``rename FROM TO``,
    ``remove PATH``, ``rmdir PATH``, ``mkdir PATH``, ``link FROM TO``, ``open PATH`` (to write)."""
    re.compile(change)
    done = subprocess.run(
        [sys.executable, "-c", _HOOK + code, str(at), change],
        cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == DEAD, f"ended with {done.returncode}: {done.stderr[-2000:]}"
