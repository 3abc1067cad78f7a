"""The images' lock files, remade: every package by its version and the hashes of its files.

    python deploy/lock.py        needs uv (https://docs.astral.sh/uv) and a package index

``requirements.lock`` is what every image installs: the core and all extras but ``cuda``.
``cuda.lock`` is what comes on top of it with that extra and the default index's PyTorch: torch,
CUDA's libraries and Dask's part for them. Versions are those of ``constraints.txt``, the platform
is Linux on x86-64 with the Dockerfile's Python. Nothing of the index itself is written into them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("flows", "stac", "train", "video", "xyz")
PLATFORM = "x86_64-manylinux_2_28"
HEAD = "# Made by deploy/lock.py: change constraints.txt instead.\n"

_OF_CUDA = re.compile(r"(torch|torchvision|triton|(nvidia|cuda)-[a-z0-9-]+)==")
_ENTRY = re.compile(r"^\S.*\n(?:[ \t].*\n)*", re.MULTILINE)


class LockError(Exception):
    """Reported in one line."""


def entries(text: str) -> dict[str, str]:
    """The entries of a lock file, hashes included, by ``name==version``; comments are left out."""
    found = (entry for entry in _ENTRY.findall(text) if not entry.startswith("#"))
    return {entry.split()[0]: entry for entry in found}


def divided(plain: dict[str, str], cuda: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What every image installs, and what comes on top with CUDA.

    ``plain`` are the entries of geoloc with `EXTRAS`, ``cuda`` those with ``cuda`` too.
    PyTorch's own CPU build has a local version and files of its own, so it is no part of the
    former.
    """
    every = {name: entry for name, entry in plain.items() if not _OF_CUDA.match(name)}
    return every, {name: entry for name, entry in cuda.items() if name not in every}


def python_version() -> str:
    """Of the Dockerfile's base image, for example ``3.11``; the lock serves all its releases."""
    found = re.search(r"^ARG PYTHON=(\d+\.\d+)\.", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    if found is None:
        raise LockError("deploy/Dockerfile names no version of Python: ARG PYTHON=3.11.…")
    return found[1]


def compiled(*extras: str) -> dict[str, str]:
    """What uv finds for geoloc and these extras under ``constraints.txt``.

    Raises LockError with what it says.
    """
    command = [
        "uv", "pip", "compile", "pyproject.toml", "--constraint", "constraints.txt",
        "--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "--quiet",
        "--python-version", python_version(), "--python-platform", PLATFORM,
        *(f"--extra={extra}" for extra in extras),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LockError("uv is not here: pip install -c constraints.txt uv") from None
    if done.returncode:
        raise LockError(f"uv finds no versions:\n{done.stderr.strip()}")
    return entries(done.stdout)


def main() -> int:
    """The command line."""
    try:
        every, cuda = divided(compiled(*EXTRAS), compiled(*EXTRAS, "cuda"))
    except LockError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    for name, found in (("requirements.lock", every), ("cuda.lock", cuda)):
        (ROOT / "deploy" / name).write_text(HEAD + "".join(found.values()))
        print(f"deploy/{name}: {len(found)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
