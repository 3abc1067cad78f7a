"""Seeded damage to every file of a cube in turn: the same answer, or an error of one line.

    python -m tests.benchmarks.fuzz_cube [mutations [seed]]

The cube is that of the tests, of two generations; each mutation is followed by a query in this
process, whose address space may grow by 1 GB. Ends with exit code 1 where an answer was another
or an error was none of geoloc's.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil

from geoloc.jobs.build import build_blocks
from geoloc.jobs.plan import BuildPlan
from geoloc.jobs.refresh import refresh_blocks

from ..cubes import CoarseEncoder, grid_of, mosaic, plan_of
from ..damage import answer_of, files_of, mutate_and_ask

GRID = grid_of(150, 300)
ROOM = 1 << 30


def make_cube(path: Path, seeds: tuple[int, int]) -> Path:
    """A cube of two generations."""

    def plan(seed: int) -> BuildPlan:
        made = plan_of(path, GRID, mosaic(GRID, seed=seed))
        return replace(made, open_encoder=CoarseEncoder)

    build_blocks(plan(seeds[0]))
    assert refresh_blocks(plan(seeds[1])).published
    return path


def main(mutations: int = 1000, seed: int = 0) -> int:
    """The number of mutations that were answered wrongly."""
    with tempfile.TemporaryDirectory() as folder:
        cube = make_cube(Path(folder) / "cube.zarr", (0, 1))
        other = make_cube(Path(folder) / "other.zarr", (5, 6))
        answer_of(cube)  # whatever is loaded once
        here = psutil.Process().memory_info()
        resource.setrlimit(resource.RLIMIT_AS, (here.vms + ROOM, resource.RLIM_INFINITY))
        outcomes = list(mutate_and_ask(cube, other, mutations, seed))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        files = len(files_of(cube))
    wrong = [outcome.what for outcome in outcomes if not outcome.same and not outcome.error]
    same = sum(outcome.same for outcome in outcomes)
    slowest = max(outcome.seconds for outcome in outcomes)
    print(f"{len(outcomes)} mutations of {files} files: {same} the same answer, "
          f"{len(outcomes) - same - len(wrong)} refused, {len(wrong)} answered wrongly; "
          f"slowest {slowest:.1f} s, resident {here.rss / 1e6:.0f} MB before, "
          f"{peak / 1e6:.0f} MB at most")  # fmt: skip
    refusals = Counter(outcome.error.partition(": ")[2][:60] for outcome in outcomes)
    for text, count in refusals.most_common(12):
        print(f"{count:6}  {text or 'the same answer'}")
    print(*wrong, sep="\n")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:3]))))
