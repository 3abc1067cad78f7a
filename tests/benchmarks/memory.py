"""What `geoloc query` and `geoloc bulk` take of memory and time, by the size of the cube.

``python -m tests.benchmarks.memory --old COMMIT``: cubes of 1, 16 and 64 times an area are written
directly (16 smooth random features); each command (``geoloc scene`` for no photo) runs in a
process of its own, first with the code of an older commit that reads the same cubes, then with
this one. Peak RSS is the kernel's, of that process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from geoloc.cube import (
    BlockWriter,
    CubeSpec,
    Ledger,
    Provenance,
    Status,
    create_generation,
    publish,
)
from geoloc.encoders.formats.networks import build_network, weights_bytes
from geoloc.models import FeatureSpace, Quantizer
from geoloc.models.model import Model, write_model
from geoloc.scenes import PLACES365

from ..cubes import grid_of
from ..encoder_models import spec

HERE = Path(__file__).parents[2]
DIM = 16
_ARCH = "shufflenet_v2_x0_5"
_WATCHED = """
import re, runpy, sys, time
peak = sys.argv.pop(1)
try:
    runpy.run_module("geoloc", run_name="__main__", alter_sys=True)
finally:
    status = open("/proc/self/status").read()
    spent = time.process_time()
    open(peak, "w").write(re.search(r"VmHWM:\\s+(\\d+)", status)[1] + f" {spent}")
"""
"""The command, and then the most memory that this process ever had, kB: what a child is counted
for by its parent begins with the memory of that parent."""


@dataclass(frozen=True)
class Used:
    """What a command took: MB of memory at its peak, seconds, and seconds of processors."""

    megabytes: float
    seconds: float
    processor: float


def run(tree: Path, store: Path, *words: str | Path) -> Used:
    """One command of the code in ``tree``, with models in ``store``; RuntimeError if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "GEOLOC_MODELS": str(store)}
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile() as peak:
        command = [sys.executable, "-c", _WATCHED, peak.name, *map(str, words)]
        done = subprocess.run(command, env=environment, cwd=tree, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr).decode()[-2000:])
        seconds = time.perf_counter() - start
        memory, processor = map(float, Path(peak.name).read_text().split())
        return Used(memory / 1024, seconds, processor)


def write_tiny_model(folder: Path) -> Model:
    """A network of 16 classes with random weights."""
    raw = spec() | {"classes": PLACES365[:DIM], "dim": DIM}
    torch.manual_seed(1)
    content = weights_bytes(build_network(_ARCH, DIM))
    return write_model(
        folder, raw, dict.fromkeys(("ground.safetensors", "overhead.safetensors"), content)
    )


def write_cube(url: Path, ny: int, nx: int, model: Model) -> None:
    """A cube of smooth features, block by block."""
    grid = grid_of(ny, nx)
    one = np.full(DIM, 3, np.float32)
    create_generation(
        url,
        "g0001",
        CubeSpec.of(grid, polygon=None, imagery={}, model=model.digest, encoding={}),
        FeatureSpace(PLACES365[:DIM], Quantizer.fit(-one, one)),
        np.zeros(grid.chunk_grid(), np.uint8),
        model_name=model.name,
        area="synthetic",
    )
    writer, ledger = BlockWriter(url, "g0001"), Ledger(url, "g0001")
    rng = np.random.default_rng(5)
    waves = rng.uniform(-1, 1, (2, DIM)) / 300
    for block in grid.chunks():
        x, y = np.moveaxis(block.xy - (grid.left, grid.top), 1, 0).reshape(2, *block.shape, 1)
        smooth = 2 * np.sin(x * waves[0] + y * waves[1])
        noise = rng.normal(0, 0.2, smooth.shape)
        writer.write(block, (smooth + noise).astype(np.float32))
        writer.record(block, Provenance(fingerprint="ab" * 32))
        ledger.mark(block.index, Status.DONE, "ab" * 32)
    publish(url, "g0001")


def write_photos(folder: Path, count: int) -> list[Path]:
    """Pictures of which no two look alike."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        coarse.resize((240, 180), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """The code of a commit."""
    tree = folder / "old"
    git = ["git", "-C", str(HERE), "worktree"]
    subprocess.run([*git, "add", "--detach", str(tree), commit], check=True, capture_output=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measure(folder: Path, trees: dict[str, Path], told: argparse.Namespace) -> Iterator[str]:
    """A line for each cube and command."""
    model = write_tiny_model(folder / "models" / "tiny")
    photos = write_photos(folder / "photos", max(1, *told.photos))
    for scale in told.scales:
        ny, nx = (round(side * scale**0.5) for side in told.side)
        cube = folder / f"cube{scale}.zarr"
        write_cube(cube, ny, nx, model)
        for count in told.photos:
            used = {}
            for name, tree in trees.items():
                out = folder / f"out-{scale}-{count}-{name}"
                which: list[str | Path] = ["scene", cube, PLACES365[3]]
                if count:
                    which = ["query", cube, photos[0]]
                if count > 1:
                    which = ["bulk", cube, folder / "photos"]
                used[name] = run(tree, model.path.parent, *which, "--out", out)
                subprocess.run(["rm", "-rf", str(out)], check=True)
            for name, one in used.items():
                yield (
                    f"{scale:>3}x {ny * nx / 1e6:7.2f} M cells {count:>3} photos {name:>4}: "
                    f"{one.megabytes:7.0f} MB {one.seconds:7.1f} s {one.processor:7.1f} s busy"
                )
        subprocess.run(["rm", "-rf", str(cube)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", help="a commit to compare with")
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--photos", type=int, nargs="+", default=[0, 1, 64], help="0: a scene")
    parser.add_argument("--side", type=int, nargs=2, default=[640, 600], help="cells of 1x")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if told.old is None:
            lines = measure(folder, {"new": HERE}, told)
            print(*lines, sep="\n", flush=True)
            return
        with checked_out(told.old, folder) as old:
            for line in measure(folder, {"old": old, "new": HERE}, told):
                print(line, flush=True)


if __name__ == "__main__":
    main()
