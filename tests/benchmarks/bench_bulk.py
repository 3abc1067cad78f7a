"""What a folder costs beside its photos one by one, in one run: prints ratios, asserts nothing.

python -m tests.benchmarks.bench_bulk [photos]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from geoloc.models import load_model
from geoloc.query import query_photos
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, tiny_model
from tests.media import save

PHOTOS = 1000
ALONE = 3  # photos whose single answers are timed
CELLS = (256, 384)


def prepare(folder: Path, photos: int) -> Path:
    """A model in the store, a cube, and a folder of small photos."""
    os.environ["GEOLOC_MODELS"] = str(folder / "models")
    tiny_model(folder / "models" / "tiny")
    digest = load_model("tiny").digest
    features = np.random.default_rng(3).normal(0, 2, (*CELLS, len(CLASSES))).astype(np.float32)
    write_cube(folder / "cube.zarr", features, classes=CLASSES, model_digest=digest)
    for n in range(photos):
        save(folder / "in" / f"{n:04d}.jpg", n)
    return folder / "cube.zarr"


def timed(work: object, *args: object) -> float:
    """Processor seconds of a call, its child processes included: what others do on the machine
    changes them little."""
    start = sum(os.times()[:4])
    work(*args)  # type: ignore[operator]
    return sum(os.times()[:4]) - start


def run(*args: object) -> tuple[float, float]:
    """Processor seconds and peak memory (MB) of a run of the command."""
    command = [sys.executable, "-m", "geoloc", *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main(photos: int = PHOTOS) -> None:
    """Time single calls in this process, single runs of the command, and the folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cube = prepare(folder, photos)
        alone = [folder / "in" / f"{n:04d}.jpg" for n in range(ALONE)]
        query_photos(cube, alone[:1], folder / "warm")  # compiled once
        call = np.median([timed(query_photos, cube, [p], folder / "one") for p in alone])
        one = np.median([run("query", cube, p, "--out", folder / "run")[0] for p in alone])
        part = folder / "part"
        part.mkdir()
        for photo in sorted((folder / "in").iterdir())[: max(1, photos // 10)]:
            (part / photo.name).hardlink_to(photo)
        _, few = run("bulk", cube, part, "--out", folder / "few")
        whole, many = run("bulk", cube, folder / "in", "--out", folder / "out")
        again, _ = run("bulk", cube, folder / "in", "--out", folder / "out")
    print(f"{photos} photos, {CELLS[0] * CELLS[1]:,} cells; processor seconds")
    print(f"bulk {whole:.1f} s, {1000 * whole / photos:.0f} ms a photo; rerun {again:.1f} s")
    print(f"one call a photo {call:.2f} s: bulk costs {whole / (call * photos):.2f} of it")
    print(f"one command a photo {one:.2f} s: bulk costs {whole / (one * photos):.3f} of it")
    print(f"peak memory {few:.0f} MB for {max(1, photos // 10)} photos, {many:.0f} MB for {photos}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
