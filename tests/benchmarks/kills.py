"""Kills at random over everything that writes: nothing mixed, nothing half, nothing lost.

    python -m tests.benchmarks.kills [--kills 200] [--seed S] [--only query,bulk,…] [--world DIR]
                                     [--minutes M]

Each kind runs its command to the end first, in a process of its own, which gives the right
result. Then the command is killed again and again, by SIGKILL and SIGTERM: just before a change
of a file that is drawn from all that the command makes, a moment after one, or at any time; after
each kill it is looked at as readers see it. After a few kills it is run to its end, and the
result compared with the right one, what is left over included. Ends with exit code 1 where
anything was wrong; the folders of faults are kept.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .kill_kinds import KINDS, Kind
from .killing import Run, Runner, Shot

SHARES = {"query": 40, "bulk": 40, "build": 15, "refresh": 15, "tile": 30, "prune": 20,
          "fetch": 20, "train": 20}  # fmt: skip
IN_A_ROW = 4  # kills, at most, before a command is let end


@dataclass
class Tally:
    """What became of one kind."""

    kind: str
    kills: int = 0
    ended: int = 0
    finished: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    hows: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def line(self) -> str:
        """A row of the table."""
        fell = ", ".join(f"{phase} {count}" for phase, count in self.phases.most_common())
        hows = ", ".join(f"{how} {count}" for how, count in sorted(self.hows.items()))
        return (
            f"{self.kind:8} {self.kills:5} {self.ended:9} {self.finished:8} {len(self.faults):6} "
            f"{self.seconds:7.0f}  {fell}  [{hows}]"
        )


def aim(kind: Kind, rng: random.Random) -> Shot:
    """A shot at a random change, soon after one, or at a random time."""
    sign = signal.SIGTERM if rng.random() < 0.15 else signal.SIGKILL
    at = rng.randint(1, max(kind.changes, 1))
    draw = rng.random()
    if draw < 0.55:
        return Shot("before", at, signal=sign)
    if draw < 0.75:
        return Shot("after", at, delay=rng.expovariate(1 / 0.01))
    if draw < 0.92:
        return Shot("time", delay=rng.uniform(0, kind.seconds), signal=sign)
    victim = rng.choice(["group", "parent", *(["worker"] if kind.workers else [])])
    return Shot(
        "time", delay=rng.uniform(0.3, 1) * kind.whole_seconds, signal=sign, victim=victim,
        whole=True,
    )  # fmt: skip


def attack(
    kind: Kind, kills: int, rng: random.Random, runner: Runner, keep: Path, until: float
) -> Tally:
    """Kill until there were so many kills, or the time is up."""
    tally, start = Tally(kind.name), time.monotonic()
    kind.prepare()
    while tally.kills < kills and time.monotonic() < until:
        kind.begin(rng)
        for _ in range(rng.randint(1, IN_A_ROW)):
            run = runner.run(kind.command(), aim(kind, rng))
            _count(tally, kind, run)
            _note(tally, kind, run, _ended_in_order(run, kind) + kind.check(rng), keep)
            if not run.killed or tally.kills == kills:
                break
            if tally.kills % 10 == 0:
                print(f"  {tally.kills} kills", flush=True)
        last = kind.last_command(rng)
        kind.pass_time()
        before = kind.progress()
        run = runner.run(last)
        tally.finished += 1
        _note(tally, kind, run, _ended_well(run) + kind.finish(before, run), keep)
    tally.seconds = time.monotonic() - start
    return tally


def _count(tally: Tally, kind: Kind, run: Run) -> None:
    if not run.killed:
        tally.ended += 1
        return
    tally.kills += 1
    tally.phases[kind.phase(run)] += 1
    name = "TERM" if run.shot.signal == signal.SIGTERM else "KILL"
    tally.hows[f"{name} {run.shot.how}{' whole' if run.shot.whole else ''}"] += 1


def _ended_in_order(run: Run, kind: Kind) -> list[str]:
    """What is wrong with an end by SIGTERM, once the command has begun to heed it."""
    if run.shot.signal != signal.SIGTERM or run.code < 0:
        return []
    told = ["traceback after SIGTERM"] if "Traceback" in run.err else []
    return told + (["lock left after SIGTERM"] if (kind.state / "LOCK").exists() else [])


def _ended_well(run: Run) -> list[str]:
    if "Traceback" in run.err:
        return [f"traceback: {run.err.strip().splitlines()[-1]}"]
    return [] if run.code == 0 else [f"exit code {run.code}: {run.err.strip()[-300:]}"]


def _note(tally: Tally, kind: Kind, run: Run, faults: list[str], keep: Path) -> None:
    if not faults:
        return
    folder = keep / f"{kind.name}-{len(tally.faults)}"
    shutil.copytree(kind.state, folder, dirs_exist_ok=True, symlinks=True)
    last = run.changes[-1] if run.changes else "no change"
    for fault in faults:
        tally.faults.append(f"{fault} [{run.shot.how} {last}] {folder}")
        print(f"  FAULT {kind.name}: {tally.faults[-1]}", flush=True)


def main() -> int:
    """The number of faults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(SHARES))
    parser.add_argument("--world", type=Path, help="a sandbox world of 1 km, made if not there")
    parser.add_argument("--minutes", type=float, default=600, help="of each kind, at most")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kills-")).resolve()
    (work / "tmp").mkdir()
    os.environ |= {
        "GEOLOC_MODELS": str(work / "place" / "models"), "TMPDIR": str(work / "tmp"),
        "GEOLOC_PRIVATE_HOSTS": f"127.0.0.1, {work}", "XDG_CACHE_HOME": str(work / "cache"),
    }  # fmt: skip
    tallies, names = [], given.only.split(",")
    whole = sum(SHARES[name] for name in names)
    for name in names:
        place = work / "place" / name
        place.mkdir(parents=True)
        runner = Runner(place, work / "logs")
        kind = KINDS[name](place, runner, given.world)
        rng = random.Random(f"{given.seed} {name}")
        kills = max(1, round(given.kills * SHARES[name] / whole))
        print(f"{name}: {kills} kills …", flush=True)
        until = time.monotonic() + 60 * given.minutes
        try:
            tallies.append(attack(kind, kills, rng, runner, work / "faults", until))
        except Exception:  # noqa: BLE001  the other kinds are tried all the same
            traceback.print_exc()
            tallies.append(Tally(name, faults=["the harness failed"]))
        finally:
            kind.close()
        print(tallies[-1].line(), flush=True)
    _report(tallies, work)
    return sum(len(tally.faults) for tally in tallies)


def _report(tallies: list[Tally], work: Path) -> None:
    print(f"\n{'kind':8} kills  survived finished faults seconds  where they fell")
    print(*(tally.line() for tally in tallies), sep="\n")
    left = Counter(path.name.rstrip("0123456789abcdefghijklmnopqrstuvwxyz_")
                   for path in (work / "tmp").iterdir())  # fmt: skip
    print(f"{sum(t.kills for t in tallies)} kills, {sum(len(t.faults) for t in tallies)} faults; "
          f"left in TMPDIR: {dict(left) or 'nothing'}; work in {work}")  # fmt: skip
    for tally in tallies:
        for fault, count in Counter(f.split(" [")[0] for f in tally.faults).most_common():
            print(f"  {tally.kind}: {count} x {fault}")


if __name__ == "__main__":
    sys.exit(min(main(), 1))
