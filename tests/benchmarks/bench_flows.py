"""What Prefect adds to a query of photos, in one run: prints seconds and a ratio, asserts nothing.

python -m tests.benchmarks.bench_flows [rounds]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from geoloc.area import load_area
from geoloc.jobs.build import build_cube
from tests.service import Service, running
from tests.small_place import SmallPlace, write_place

ROUNDS = 3


def by_command(place: SmallPlace, out: Path) -> list[str]:
    """The query as the library's own command."""
    photos = [str(photo) for photo in place.photos]
    return ["-m", "geoloc", "query", str(place.area), *photos, "--out", str(out)]


def by_flow(place: SmallPlace, out: Path) -> list[str]:
    """The same as a deployed flow, waited for."""
    photos = ", ".join(f'"{photo}"' for photo in place.photos)
    given = (f"cube={place.area}", f"photos=[{photos}]", f"out={out}")
    words = [word for value in given for word in ("--param", value)]
    return ["-m", "prefect", "deployment", "run", "query-photo/query-photo", *words, "--watch"]


def seconds(service: Service, command: list[str]) -> float:
    """How long a command takes."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command], env=service.environment, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stdout!r} {done.stderr!r}")
    return time.monotonic() - start


def main(rounds: int = ROUNDS) -> None:
    """Both in turn, so that what else the machine does meets both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = write_place(folder / "place")
        photos = len(place.photos)
        build_cube(load_area(place.area), cluster="inline")
        with running(folder / "service", place.area) as service:
            spent = [
                (
                    seconds(service, by_command(place, folder / f"command-{n}")),
                    seconds(service, by_flow(place, folder / f"flow-{n}")),
                )
                for n in range(rounds)
            ]
    command, flow = (statistics.median(column) for column in zip(*spent, strict=True))
    print(f"geoloc query, {photos} photos            {command:6.1f} s  (median of {rounds})")
    print(f"prefect deployment run --watch   {flow:6.1f} s  {flow / command:.1f} times as long")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
