"""Reading points: with what neighbours share, against one by one; and building a cube of them.

``python -m tests.benchmarks.bench_points [COUNT]``: ratios, as every machine differs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoloc.area import Area, GeotiffImagery, XyzImagery
from geoloc.domain import Grid, Points
from geoloc.encoders.windows import own_zones
from geoloc.imagery import Source, open_source
from geoloc.imagery.sharing import sharing_reads
from geoloc.jobs.build import build_cube
from tests.point_area import lonlat_of, point_set, write_area, write_image, write_points
from tests.tile_server import serve_tiles

PATCH_PX, GSD, ROUNDS = 224, 0.5, 3


def windows_of(count: int) -> list[Grid]:
    """Patches around points in the order of a cube, in which neighbours follow each other."""
    points = Points.along_curve("EPSG:4326", lonlat_of(count))
    half = PATCH_PX * GSD / 2
    return [
        Grid(crs, x - half, y + half, GSD, PATCH_PX, PATCH_PX)
        for crs, x, y in own_zones(points.crs, points.coordinates)
    ]


def best(work: Callable[[], None]) -> float:
    """Seconds of processor time of this process."""
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def compare(name: str, source: Source, windows: list[Grid]) -> None:
    """Points read in a second of processor time, shared and one by one, and whether alike."""
    first = source.read(windows[0]).values  # headers, and tiles into the cache

    def alone() -> None:
        for window in windows:
            source.read(window)

    def shared() -> None:
        with sharing_reads():
            alone()

    one, together = best(alone), best(shared)
    with sharing_reads():
        alike = np.array_equal(first, source.read(windows[0]).values)
    print(
        f"{name:<9} {len(windows) / one:7.0f} points/s one by one, "
        f"{len(windows) / together:7.0f} shared: {one / together:.2f} x, alike: {alike}"
    )


def tile(zoom: int, x: int, y: int) -> NDArray[np.uint8]:
    """As heavy to decode as a real one."""
    return np.random.default_rng([zoom, x, y]).integers(0, 255, (256, 256, 3)).astype(np.uint8)


def built(area: Area, count: int) -> None:
    """Points built in a second, all stages."""
    start = time.process_time()
    report = build_cube(area, cluster="inline")
    spent = time.process_time() - start
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.stage_seconds.items())
    print(f"build     {count / spent:7.0f} points/s of processor time ({stages})")


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = write_image(folder / "a.tif")
        windows = windows_of(count)
        compare("geotiff", open_source(GeotiffImagery(paths=[str(image)])), windows)  # type: ignore[call-arg]
        with serve_tiles(tile) as server:
            spec = XyzImagery(url=server.url(), cache=folder / "tiles", rate=1000, max_zoom=18)  # type: ignore[call-arg]
            compare("web tiles", open_source(spec), windows)
        write_points(folder / "points.parquet", point_set(lonlat_of(count)))
        built(write_area(folder), count)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
