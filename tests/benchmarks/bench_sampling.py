"""What sampling points takes: ``python -m tests.benchmarks.bench_sampling [ROADS.osm.pbf]``.

Time, peak memory and points a second: on an extract of Liechtenstein's size, and on one a hundred
times larger. Both are synthesised (270,000 nodes a copy, 73,000 of them on 7,000 roads, the others
on buildings, their numbers as far apart as those of OpenStreetMap); an extract of one's own is
measured as well where it is named. Asserts nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import osmium

from .memory import HERE, run

NODES, ROADS, ROAD_NODES, BUILDING_NODES = 270_000, 7_000, 10, 5
TIMES = 100
_APART = 440  # between numbers of nodes


def synthesise(path: Path, times: int) -> Path:
    """An extract of ``times`` small countries, side by side."""
    with osmium.SimpleWriter(str(path), overwrite=True) as writer:
        for copy in range(times):
            _write(writer, _nodes(copy))
        for copy in range(times):
            _write(writer, _ways(copy))
    return path


def _write(writer: osmium.SimpleWriter, lines: list[str]) -> None:
    """Text in OPL, osmium's own, without an object for each node."""
    content = osmium.io.FileBuffer("".join(lines).encode(), "opl")
    with osmium.io.Reader(content) as reader:
        osmium.apply(reader, writer)


def _numbers(copy: int) -> list[int]:
    return ((np.arange(NODES) + copy * NODES + 1) * _APART).tolist()


def _nodes(copy: int) -> list[str]:
    random = np.random.default_rng(copy)
    walk = np.cumsum(random.normal(0, 2e-4, (NODES, 2)), axis=0)
    walk += (-170 + 3.4 * (copy % TIMES), 40) - walk.min(axis=0)
    places = np.round(walk, 7).tolist()
    return [
        f"n{k} v1 x{x:.7f} y{y:.7f}\n" for k, (x, y) in zip(_numbers(copy), places, strict=True)
    ]


def _ways(copy: int) -> list[str]:
    numbers, found = _numbers(copy), list[str]()
    sizes = [ROAD_NODES] * ROADS
    sizes += [BUILDING_NODES] * ((NODES - ROADS * ROAD_NODES) // BUILDING_NODES)
    start = 0
    for k, size in enumerate(sizes):
        tag = "highway=residential" if k < ROADS else "building=yes"
        nodes = ",".join(f"n{number}" for number in numbers[start : start + size])
        found.append(f"w{copy * len(sizes) + k + 1} v1 T{tag} N{nodes}\n")
        start += size
    return found


def measure(roads: Path, n: int, folder: Path) -> None:
    """One command in a process of its own."""
    out = folder / "points.parquet"
    used = run(HERE, folder, "points", "sample", roads, "--n", str(n), "--out", out)
    print(
        f"{roads.name} ({roads.stat().st_size / 1e6:,.0f} MB), {n:,} points: "
        f"{used.seconds:.1f} s ({used.processor:.1f} s of processors), {used.megabytes:.0f} MB at "
        f"the peak, {out.stat().st_size / n:.0f} bytes a point",
        flush=True,
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roads", nargs="*", type=Path, help="extracts of one's own")
    parser.add_argument("--times", type=int, default=TIMES, help="how much larger")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [*given.roads, synthesise(folder / "small.osm.pbf", 1)]
        files.append(synthesise(folder / "large.osm.pbf", given.times))
        for roads in files:
            for n in (10_000, 1_000_000):
                measure(roads, n, folder)


if __name__ == "__main__":
    main()
