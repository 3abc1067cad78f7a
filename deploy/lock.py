"""Make the images' lock files: every package by version and the hashes of its files.

    python deploy/lock.py        needs uv (https://docs.astral.sh/uv) and a package index

``requirements.lock`` is installed in every image: the core and all extras but ``cuda``.
``cuda.lock`` is installed in addition with that extra and the default index's PyTorch: torch,
CUDA's libraries and dask-cuda. Versions are those of ``constraints.txt``, the platform is Linux on
x86-64 with the Dockerfile's Python. The index's URL is not written.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("flows", "stac", "text", "train", "video", "xyz")
PLATFORM = "x86_64-manylinux_2_28"
HEAD = "# Made by deploy/lock.py: change constraints.txt instead.\n"

_OF_CUDA = re.compile(r"(torch|torchvision|triton|(nvidia|cuda)-[a-z0-9-]+)==")
_ENTRY = re.compile(r"^\S.*\n(?:[ \t].*\n)*", re.MULTILINE)


class LockError(Exception):
    """Reported in one line."""


def entries(text: str) -> dict[str, str]:
    """The entries of a lock file, with hashes, by ``name==version``, without comments."""
    packages = (entry for entry in _ENTRY.findall(text) if not entry.startswith("#"))
    return {entry.split()[0]: entry for entry in packages}


def divided(plain: dict[str, str], cuda: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The packages of every image, and those added for CUDA.

    ``plain``: the entries of geoloc with `EXTRAS`, ``cuda``: those with ``cuda``, too. PyTorch's
    own CPU build has a local version and other files, so it is not part of the former.
    """
    every = {name: entry for name, entry in plain.items() if not _OF_CUDA.match(name)}
    return every, {name: entry for name, entry in cuda.items() if name not in every}


def python_version() -> str:
    """Python of the Dockerfile's base image, such as ``3.11``; valid for all its patch releases."""
    match = re.search(r"^ARG PYTHON=(\d+\.\d+)\.", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    if match is None:
        raise LockError("deploy/Dockerfile has no line ARG PYTHON=3.11.…: add it")
    return match[1]


def compiled(*extras: str) -> dict[str, str]:
    """The entries that uv resolves for geoloc and these extras under ``constraints.txt``.

    Raises LockError with uv's message.
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
        raise LockError("uv is not installed: pip install -c constraints.txt uv") from None
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
    for name, packages in (("requirements.lock", every), ("cuda.lock", cuda)):
        (ROOT / "deploy" / name).write_text(HEAD + "".join(packages.values()))
        print(f"deploy/{name}: {len(packages)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
