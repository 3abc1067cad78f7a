"""What is killed, what a reader must see after it, and what must be there in the end."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import random
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import rasterio
from PIL import Image

from geoloc.cube import Cube, Ledger, Status, generation_exists, list_generations
from geoloc.errors import GeolocError
from geoloc.models.load import load_model
from geoloc.models.model import write_model

from ..encoder_models import imagery, spec, tiny_model, weights
from ..loopback import serving_on_loopback
from ..small_place import write_place
from ..test_imagery_geotiff import _Ranges
from .killing import Run, Runner, Shot

Tree = dict[str, str]
"""Digests of files by their paths, without what is of the clock."""

_CLOCK = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00| UTC)?")
_TEXTS = {".json", ".html", ".geojson", ".kml", ".csv"}


def tree(root: Path, leave_out: str = r"$^") -> Tree:
    """All files below a folder but those whose path from there matches."""
    pattern, found = re.compile(leave_out), {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and not pattern.search(name):
            found[name] = _digest(path)
    return found


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "query.json":
        told = json.loads(content)
        content = json.dumps({k: v for k, v in told.items() if k != "outputs"}).encode()
    if path.suffix in _TEXTS:
        content = _CLOCK.sub(b"T", content)
    return hashlib.sha256(content).hexdigest()


def differences(found: Tree, right: Tree, what: str = "") -> list[str]:
    """Words for each file that is lacking, other or too many."""
    lost = [f"lost: {what}{name}" for name in right if name not in found]
    other = [
        f"differs: {what}{name}" for name in right if found.get(name, right[name]) != right[name]
    ]
    stray = [f"stray: {what}{_general(name)}" for name in found if name not in right]
    return lost + other + stray


def _general(name: str) -> str:
    """A name without what is drawn anew each time."""
    return re.sub(r"[0-9a-f]{12,}|\d{5,}", "#", name)


class Kind:
    """One command under fire; ``state``: the folder that it writes to."""

    name: ClassVar[str]
    phases: ClassVar[tuple[tuple[str, str], ...]]
    """Patterns of changes, and what they belong to; the last change that was begun counts."""

    workers: ClassVar[bool] = False

    def __init__(self, place: Path, runner: Runner, world: Path | None) -> None:
        self.place, self.runner, self.world = place, runner, world
        self.state = place / "state"
        self.changes, self.seconds, self.whole_seconds = 0, 0.0, 0.0
        self.stack = ExitStack()

    def close(self) -> None:
        self.stack.close()

    def prepare(self) -> None:
        """Make the place and the right results."""
        raise NotImplementedError

    def begin(self, rng: random.Random) -> None:
        """A state to start from."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def last_command(self, rng: random.Random) -> list[str]:  # noqa: ARG002
        """What is run to the end."""
        return self.command()

    def pass_time(self) -> None:
        """What a kill left half written is an hour old when the command comes again."""
        then = time.time() - 3600
        for path in self.state.rglob("*.partial"):
            os.utime(path, (then, then))

    def check(self, rng: random.Random) -> list[str]:
        """What a reader sees that is wrong."""
        raise NotImplementedError

    def progress(self) -> Any:
        """What is finished, and must not be done again."""
        return None

    def finish(self, before: Any, run: Run) -> list[str]:
        """What is wrong after the end."""
        raise NotImplementedError

    def phase(self, run: Run) -> str:
        if not run.changes:
            return "before any change"
        for pattern, phase in self.phases:
            if re.search(pattern, run.changes[-1]):
                return phase
        return "elsewhere"

    def right(self, args: list[str]) -> Run:
        """The command to its end, which says how long it takes and what it changes."""
        run = self.runner.run(args)
        assert run.code == 0, run.err[-2000:]
        self.changes, self.seconds = len(run.changes), run.seconds
        return run

    def right_whole(self, args: list[str]) -> None:
        """The same in a process of its own."""
        run = self.runner.run(args, Shot(whole=True))
        assert run.code == 0, run.err[-2000:]
        self.whole_seconds = run.seconds

    def ask(self, args: list[str], code: int = 0) -> list[str]:
        run = self.runner.run(args)
        said = f"{' '.join(args[:2])}: exit code {run.code} {run.err.strip()[-200:]}"
        return [] if run.code == code and "Traceback" not in run.err else [said]


def copy(source: Path, target: Path) -> None:
    """``target`` becomes what ``source`` is, times of change included."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target, symlinks=True)


class _Answers(Kind):
    """Of a sandbox world, into ``state``: the right ones are of 20 candidates, then of 7.

    Answers are compared by what they say: how many photos are put to a cube in one pass decides
    the last bits of their distances.
    """

    tops = ("20", "7")
    leave_out: ClassVar[str] = r"$^"
    unfinished: ClassVar[frozenset[str]] = frozenset()
    """Files of a folder that are there before its answer."""

    def prepare(self) -> None:
        self.area = self._world() / "area.yaml"
        for top in self.tops:
            self.right(self.asked(top))
            copy(self.state, self.place / f"right-{top}")
        self.rights = [tree(self.place / f"right-{top}", self.leave_out) for top in self.tops]
        shutil.rmtree(self.state)
        self.right_whole(self.asked(self.tops[1]))
        self.renewed, self.wanted = True, 1
        assert self.unlike() == []

    def _world(self) -> Path:
        world = self.world or self.place.parent / "world"
        if not (world / "area.yaml").exists():
            self.right(["sandbox", str(world), "--seed", "5", "--km", "1", "--photos", "6"])
        if not (world / "cube.zarr" / "CURRENT").exists():
            self.right(["cube", "build", str(world / "area.yaml")])
        return world

    def asked(self, top: str) -> list[str]:
        raise NotImplementedError

    def command(self) -> list[str]:
        return self.asked(self.tops[1])

    def begin(self, rng: random.Random) -> None:
        self.renewed, self.wanted = rng.random() < 0.7, 1
        copy(self.place / f"right-{self.tops[0]}" if self.renewed else Path("/none"), self.state)

    def folders(self) -> list[str]:
        """Of answers, from ``state``, where all are there."""
        return [str(Path(name).parent) for name in self.rights[1] if name.endswith("query.json")]

    def check(self, rng: random.Random) -> list[str]:
        kinds = {folder: self.kind_of(folder) for folder in self.folders()}
        faults = [
            f"{kind} answer{' where one was' if self.renewed else ''}"
            for kind in map(str, kinds.values())
            if kind in ("mixed", "unfinished") or (kind == "absent" and self.renewed)
        ]
        told = [f for f in kinds if (self.state / f / "query.json").is_file()]
        mixed = [f for f in told if kinds[f] == "mixed"]
        for folder in mixed or (told[:1] if rng.random() < 0.15 else []):
            run = self.runner.run(["repeat", str(self.state / folder / "query.json"), "--json"])
            if (run.code == 0) == (folder in mixed) or "Traceback" in run.err:
                faults.append(f"repeat of {kinds[folder]}: exit code {run.code} {run.err[-200:]}")
        return faults

    def kind_of(self, folder: str) -> str | int:
        """Which of the right answers is there, or "absent", "unfinished", "mixed"."""
        here = self.state / folder
        names = {path.name for path in here.glob("*") if not path.name.startswith(".")}
        if names <= self.unfinished:
            return "absent"
        if "query.json" not in names:
            return "unfinished"
        record = json.loads((here / "query.json").read_text())
        for name, digest in record["outputs"].items():
            path = here / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                return "mixed"
        for number, top in enumerate(self.tops):
            right = json.loads((self.place / f"right-{top}" / folder / "query.json").read_text())
            whole = set(right["outputs"]) == set(record["outputs"])
            if whole and alike(_said(record), _said(right)):
                return number
        return "mixed"

    def unlike(self) -> list[str]:
        """What is not as the command that was run to its end must leave it."""
        found, right = tree(self.state, self.leave_out), self.rights[self.wanted]
        own = {name for folder in self.folders() for name in right if name.startswith(f"{folder}/")}
        faults = [f"{self.kind_of(f)} answer in the end" for f in self.folders()
                  if self.kind_of(f) != self.wanted]  # fmt: skip
        lost = [f"lost: {name}" for name in own if name not in found]
        stray = [f"stray: {_general(name)}" for name in found if name not in right]
        return faults + lost + stray

    def finish(self, before: Any, run: Run) -> list[str]:  # noqa: ARG002
        return self.unlike()


def _said(record: dict[str, Any]) -> dict[str, Any]:
    """What an answer says: not when, by which versions, in which files."""
    kept = ("title", "photos", "parameters", "model", "cube", "vector", "candidates")
    return {key: record[key] for key in kept}


def alike(one: Any, other: Any) -> bool:
    """Equal but for the last bits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)
    return bool(one == other)


class Query(_Answers):
    name = "query"
    phases = (
        (r"(open|mkdir|remove) .*part", "writing aside"), (r"rename", "publishing"),
        (r"query\.json", "publishing"), (r"rmdir|remove", "tidying"), (r"mkdir", "writing aside"),
        (r"open", "writing aside"),
    )  # fmt: skip

    def asked(self, top: str) -> list[str]:
        photos = [str(self.area.parent / "photos" / f"000{n}.jpg") for n in (1, 2)]
        return ["query", str(self.area), *photos, "--out", str(self.state), "--top", top, "--json"]


class Bulk(_Answers):
    name = "bulk"
    leave_out = r"^progress\.sqlite"
    unfinished = frozenset({"photo.jpg", "thumb.jpg"})
    phases = (
        (r"sqlite", "opening the store"), (r"/\.?(photo|thumb)\.", "previews"),
        (r"/\.?(results|failures|index)", "listing"), (r"part", "writing answers"),
        (r"rename|remove|rmdir", "publishing answers"), (r"open|mkdir", "writing answers"),
    )  # fmt: skip

    def prepare(self) -> None:
        media = self.place / "media"
        copy(self._world() / "telegram", media / "telegram")
        shutil.rmtree(media / "telegram" / "video_files")
        shutil.copy2(self._world() / "photos" / "0001.jpg", media)
        super().prepare()
        self.keys = [self._answers(self.place / f"right-{top}") for top in self.tops]

    def asked(self, top: str) -> list[str]:
        media = str(self.place / "media")
        return ["bulk", str(self.area), media, "--out", str(self.state), "--top", top, "--json"]

    def last_command(self, rng: random.Random) -> list[str]:
        self.wanted = 0 if rng.random() < 0.3 else 1
        return self.asked(self.tops[self.wanted])

    def check(self, rng: random.Random) -> list[str]:
        faults = super().check(rng)
        for name in ("index.html", "results.parquet", "results.geojson", "failures.csv"):
            path = self.state / name
            rights = [self.place / f"right-{top}" / name for top in self.tops]
            if path.is_file() and not any(alike(_listed(path), _listed(r)) for r in rights):
                faults.append(f"half or mixed list {name}")
        return faults

    def progress(self) -> tuple[int, set[str]]:
        """Answers that hold for the command that is run to the end; folders of items read."""
        found, keys = self._answers(self.state), self.keys[self.wanted]
        same = [folder for folder, key in found.items() if keys.get(folder) == key]
        held = sum(self.kind_of(folder) == self.wanted for folder in same)
        return held, self._rows("select folder from item")

    def _answers(self, folder: Path) -> dict[str, str]:
        return dict(self._rows("select folder, key from answer", folder))

    def _rows(self, query: str, folder: Path | None = None) -> Any:
        """Of a copy: whoever opens the store changes it."""
        aside = self.place / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in (folder or self.state).glob("progress.sqlite*"):
            shutil.copy(path, aside)
        if not (aside / "progress.sqlite").exists():
            return set()
        try:
            with sqlite3.connect(aside / "progress.sqlite") as db:
                rows = db.execute(query).fetchall()
        except sqlite3.OperationalError:  # no table yet
            return set()
        return {row[0] if len(row) == 1 else row for row in rows}

    def finish(self, before: tuple[int, set[str]], run: Run) -> list[str]:
        kept, items = before
        faults = self.unlike()
        for name in ("index.html", "results.parquet", "results.geojson", "failures.csv"):
            right = self.place / f"right-{self.tops[self.wanted]}" / name
            if not alike(_listed(self.state / name), _listed(right)):
                faults.append(f"other list in the end: {name}")
        told = json.loads(run.out)
        if told["kept"] < kept:
            faults.append(f"done twice: {kept - told['kept']} of {kept} answers that were recorded")
        again = [c for c in run.changes if re.search(r"rename .*/photo\.jpg", c)
                 and Path(c.split(" ", 1)[1]).parent.name in items]  # fmt: skip
        return faults + [f"done twice: {len(again)} pictures" for _ in again[:1]]


def _listed(path: Path) -> Any:
    """What a list of a bulk run says; None where it cannot be read, as half a file."""
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path).to_pylist()
        text = path.read_text()
        if path.suffix == ".geojson":
            return json.loads(text)
        return re.sub(r"\d+\.\d+", "#", _CLOCK.sub(b"T", text.encode()).decode())
    except (OSError, ValueError):
        return None


class _Cubes(Kind):
    """A small place whose imagery can be the ``old`` one or the ``new``."""

    cells: ClassVar[tuple[int, int]] = (130, 140)
    leave_out: ClassVar[str] = r"(^|/)g\d+/zarr\.json$"

    def make_world(self) -> Path:
        folder = self.place / "world"
        folder.mkdir()
        made = write_place(folder, ny=self.cells[0], nx=self.cells[1])
        text = made.area.read_text().replace("cube: cube.zarr", f"cube: {self.state}")
        made.area.write_text(text)
        tile = folder / "tile.tif"
        for name in ("old", "new"):
            if name == "new":
                with rasterio.open(tile, "r+") as raster:
                    height, width = raster.shape
                    window = rasterio.windows.Window(0, 0, width // 2, height // 2)
                    raster.write(imagery(height // 2, width // 2, 9), window=window)
            shutil.copy2(tile, folder / f"{name}.tif.kept")
        self.imagery("old")
        return made.area

    def imagery(self, name: str) -> None:
        folder = self.place / "world"
        shutil.copy2(folder / f"{name}.tif.kept", folder / "tile.tif")

    def current(self) -> str | None:
        path = self.state / "CURRENT"
        return path.read_text().strip() if path.exists() else None

    def generation_faults(self, rights: dict[str, Tree]) -> list[str]:
        """What is wrong with the generation that readers open."""
        name = self.current()
        if name is None:
            return []
        if name not in rights:
            return [f"CURRENT names {name}"]
        found = tree(self.state / name, r"^zarr\.json$|\.partial$")
        wrong = differences(found, rights[name], "current ")
        try:
            Cube.open(str(self.state)).info()
        except GeolocError as error:
            wrong.append(f"cube info: {error}")
        return wrong

    def done(self) -> dict[str, int]:
        """Blocks that the ledgers name, by generation."""
        names = [p.name for p in self.state.glob("g0*") if generation_exists(self.state, p.name)]
        return {n: int((Ledger(self.state, n).status == Status.DONE).sum()) for n in names}


class Build(_Cubes):
    name = "build"
    verified = False
    phases = (
        (r"LOCK", "lock"), (r"CURRENT", "publishing"),
        (r"overview", "overview"), (r"features|norm", "blocks"), (r"done|provenance", "ledger"),
        (r".", "laying out"),
    )  # fmt: skip

    def prepare(self) -> None:
        self.area = self.make_world()
        self.right(self.command())
        self.whole = tree(self.state, self.leave_out)
        self.generation = tree(self.state / "g0001", r"^zarr\.json$")
        shutil.rmtree(self.state)
        self.right_whole(self.command())
        assert differences(tree(self.state, self.leave_out), self.whole) == []

    def command(self) -> list[str]:
        return ["cube", "build", str(self.area), "--cluster", "inline", "--json"]

    def begin(self, rng: random.Random) -> None:  # noqa: ARG002
        shutil.rmtree(self.state, ignore_errors=True)

    def check(self, rng: random.Random) -> list[str]:  # noqa: ARG002
        return self.generation_faults({"g0001": self.generation})

    def progress(self) -> int:
        return self.done().get("g0001", 0)

    def finish(self, before: int, run: Run) -> list[str]:
        faults = differences(tree(self.state, self.leave_out), self.whole)
        reused = json.loads(run.out)["blocks_reused"]
        if reused < before:
            faults.append(f"done twice: {before - reused} blocks")
        if not self.verified:
            faults += self.ask(["cube", "verify", str(self.area), "--cells", "4"])
        self.verified = True  # from now on its bytes tell
        return faults


class Refresh(Build):
    name = "refresh"

    def prepare(self) -> None:
        self.area = self.make_world()
        self.right(["cube", "build", str(self.area), "--cluster", "inline"])
        copy(self.state, self.place / "old")
        self.imagery("new")
        self.right(self.command())
        self.whole = tree(self.state, self.leave_out)
        self.rights = {n: tree(self.state / n, r"^zarr\.json$") for n in ("g0001", "g0002")}
        copy(self.place / "old", self.state)
        self.right_whole(self.command())
        assert differences(tree(self.state, self.leave_out), self.whole) == []

    def command(self) -> list[str]:
        return ["cube", "refresh", str(self.area), "--cluster", "inline", "--json"]

    def begin(self, rng: random.Random) -> None:  # noqa: ARG002
        copy(self.place / "old", self.state)

    def check(self, rng: random.Random) -> list[str]:  # noqa: ARG002
        lost = [] if self.current() else ["lost: CURRENT"]
        return lost + self.generation_faults(self.rights)

    def progress(self) -> int:
        return self.done().get("g0002", 0)


class Prune(_Cubes):
    name = "prune"
    phases = ((r"LOCK", "lock"), (r"overview", "overviews"), (r"zarr\.json", "metadata"),
              (r"remove|rmdir", "deleting"), (r".", "elsewhere"))  # fmt: skip

    def prepare(self) -> None:
        self.area = self.make_world()
        self.right(["cube", "build", str(self.area), "--cluster", "inline"])
        for name in ("new", "old", "new"):
            self.imagery(name)
            self.right(["cube", "refresh", str(self.area), "--cluster", "inline"])
        _age(self.state)
        copy(self.state, self.place / "old")
        self.rights = {
            f"g000{n}": tree(self.state / f"g000{n}", r"^zarr\.json$") for n in (1, 2, 3, 4)
        }
        self.right(self.command())
        self.whole = tree(self.state, self.leave_out)
        assert not (self.state / "g0001").exists()
        copy(self.place / "old", self.state)
        _age(self.state)
        self.right_whole(self.command())
        assert differences(tree(self.state, self.leave_out), self.whole) == []

    def command(self) -> list[str]:
        return ["cube", "prune", str(self.state), "--keep", "1", "--grace", "0", "--json"]

    def begin(self, rng: random.Random) -> None:  # noqa: ARG002
        copy(self.place / "old", self.state)

    def check(self, rng: random.Random) -> list[str]:  # noqa: ARG002
        faults = self.generation_faults(self.rights)
        for told in list_generations(str(self.state)):
            found = tree(self.state / told.name, r"^zarr\.json$|\.partial$")
            faults += differences(found, self.rights[told.name], "listed ")
        _age(self.state)
        return faults

    def finish(self, before: Any, run: Run) -> list[str]:  # noqa: ARG002
        folders = [f"stray: folder {p.name}" for p in self.state.glob("g000[123]")]
        return folders + differences(tree(self.state, self.leave_out), self.whole)


def _age(root: Path) -> None:
    """Nothing was used for a week."""
    then = time.time() - 7 * 86400
    for path in [root, *root.rglob("*")]:
        os.utime(path, (then, then))


class _Slow(_Ranges):
    """A file server that takes its time, and notes what it is asked for."""

    pause = 0.0
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # noqa: N802  (the name that http.server looks for)
        self.asked.append(self.path)
        time.sleep(self.pause)
        with contextlib.suppress(OSError):  # whoever asked is dead
            super().do_GET()


def _serve(stack: ExitStack, folder: Path, pause: float = 0.0) -> tuple[str, list[str]]:
    """The root of a server of a folder, and what it was asked for."""
    asked: list[str] = []
    handler: Callable[..., Any] = functools.partial(
        type("Handler", (_Slow,), {"pause": pause, "asked": asked}), directory=str(folder)
    )
    return f"http://127.0.0.1:{stack.enter_context(serving_on_loopback(handler))}", asked


class TileCopy(_Cubes):
    """Imagery of a server on loopback into a copy of four tiles."""

    name = "tile"
    cells = (150, 150)
    leave_out = r"^zarr\.json$"
    phases = ((r"LOCK", "lock"), (r"/pixels/c", "pixels"), (r"/valid/c", "valid"),
              (r"/record/c", "record"), (r"/done/c", "ledger"), (r".", "laying out"))  # fmt: skip

    def prepare(self) -> None:
        self.area = self.make_world()
        root, _ = _serve(self.stack, self.area.parent)
        text = self.area.read_text()
        self.area.write_text(text.replace("[tile.tif]", f"['{root}/tile.tif']"))
        self.right(self.command())
        self.old = tree(self.state, self.leave_out)
        copy(self.state, self.place / "old")
        self.imagery("new")
        self.right(self.command())
        self.new = tree(self.state, self.leave_out)
        assert self.old != self.new
        shutil.rmtree(self.state)
        self.right_whole(self.command())
        assert differences(tree(self.state, self.leave_out), self.new) == []
        self.changes *= 2

    def command(self) -> list[str]:
        return ["imagery", "tile", str(self.area), "--out", str(self.state), "--cluster", "inline",
                "--json"]  # fmt: skip

    def begin(self, rng: random.Random) -> None:
        copy(self.place / "old" if rng.random() < 0.5 else Path("/none"), self.state)

    def check(self, rng: random.Random) -> list[str]:  # noqa: ARG002
        faults, now = [], tree(self.state, self.leave_out)
        for row, col in self._counting():
            names = [f"{part}/{row}/{col}" for part in ("valid/c", "record/c")]
            names.append(f"pixels/c/0/{row}/{col}")
            seen = [now.get(name) for name in names]
            if seen not in ([r.get(name) for name in names] for r in (self.old, self.new)):
                faults.append("mixed tile that counts")
        return faults

    def _counting(self) -> Iterator[tuple[int, int]]:
        """Tiles that the ledger names as done and whose record is there."""
        import zarr

        if "record" not in (p.name for p in self.state.glob("*")):
            return
        try:
            group = zarr.open_group(self.state, mode="r")
            done, record = np.asarray(group["done"][:]), np.asarray(group["record"][:])
        except (KeyError, FileNotFoundError, ValueError):  # not laid out yet
            return
        for row, col in np.argwhere(done == 1).tolist():
            if str(record[row, col]):
                yield row, col

    def progress(self) -> int:
        now = tree(self.state, self.leave_out)
        return sum(
            now.get(f"record/c/{row}/{col}") == self.new[f"record/c/{row}/{col}"]
            for row, col in self._counting()
        )

    def finish(self, before: int, run: Run) -> list[str]:
        faults = differences(tree(self.state, self.leave_out), self.new)
        reused = json.loads(run.out)["tiles_reused"]
        return faults + ([f"done twice: {before - reused} tiles"] if reused < before else [])


class Fetch(Kind):
    """A model from a slow server into the store: the first, or in place of another."""

    name = "fetch"
    leave_out = r"\.lock$|^\.origins/"
    phases = ((r"lock", "lock"), (r"\.origins", "note of the URL"), (r"open .*part", "downloading"),
              (r"rename .*\.(safetensors|json)", "a file"), (r"rename", "publishing"),
              (r"remove|rmdir", "tidying"), (r".", "making folders"))  # fmt: skip

    def prepare(self) -> None:
        self.state = Path(os.environ["GEOLOC_MODELS"])
        served = self.place / "served"
        for number in (1, 2):
            files = {
                f"{part}.safetensors": weights("shufflenet_v2_x0_5", 10 * number + seed)
                for seed, part in enumerate(("ground", "overhead"))
            }
            write_model(served / f"v{number}" / "tiny", spec(), files)
        self.root, self.asked = _serve(self.stack, served, pause=0.05)
        shutil.rmtree(self.state, ignore_errors=True)
        self.right(self._fetch(1))
        self.old = tree(self.state, self.leave_out)
        copy(self.state, self.place / "old")
        self.right(self.command())
        self.whole = tree(self.state, self.leave_out)
        copy(self.place / "old", self.state)
        self.right_whole(self.command())
        assert differences(tree(self.state, self.leave_out), self.whole) == []
        self.held = False

    def _fetch(self, version: int) -> list[str]:
        return ["models", "fetch", f"{self.root}/v{version}/tiny", "--replace", "--json"]

    def command(self) -> list[str]:
        return self._fetch(2)

    def begin(self, rng: random.Random) -> None:
        self.held = rng.random() < 0.6
        copy(self.place / "old" if self.held else Path("/none"), self.state)

    def check(self, rng: random.Random) -> list[str]:  # noqa: ARG002
        folder = self.state / "tiny"
        if not folder.exists():
            return ["lost: the model that was there"] if self.held else []
        right = [
            {n: d for n, d in t.items() if n.startswith("tiny/")} for t in (self.old, self.whole)
        ]
        found = {f"tiny/{n}": d for n, d in tree(folder).items()}
        wrong = [] if found in right else ["mixed or half model"]
        return wrong + _unusable(folder)

    def progress(self) -> set[str]:
        self.asked.clear()
        files = {n: d for n, d in self.whole.items() if n.startswith("tiny/")}
        draft = next(self.state.glob(".tiny.*.fetching"), None)
        held = {} if draft is None else {f"tiny/{n}": d for n, d in tree(draft).items()}
        return {n for n, d in held.items() if files.get(n) == d and n.endswith(".safetensors")}

    def finish(self, before: set[str], run: Run) -> list[str]:  # noqa: ARG002
        faults = differences(tree(self.state, self.leave_out), self.whole)
        again = [path for path in self.asked if any(path.endswith(name) for name in before)]
        return faults + [f"done twice: {len(again)} files" for _ in again[:1]]


def _unusable(folder: Path) -> list[str]:
    try:
        load_model(folder)
    except GeolocError as error:
        return [f"model: {error}"]
    return []


class Train(Kind):
    """A small network on three classes of colours."""

    name = "train"
    epochs = 4
    phases = ((r"best\.part", "best checkpoint"), (r"best\.pt", "best checkpoint"),
              (r"last\.p", "last checkpoint"), (r"metrics", "metrics"), (r"teacher", "vectors"),
              (r"student/", "writing the model"), (r".", "elsewhere"))  # fmt: skip
    leave_out = r"metrics\.jsonl$|\.run/(last|best)\.pt$"

    def prepare(self) -> None:
        self._data()
        self.right(self.command())
        self.whole = tree(self.state, self.leave_out)
        shutil.rmtree(self.state)
        self.right_whole(self.command())
        assert differences(tree(self.state, self.leave_out), self.whole) == []

    def _data(self) -> None:
        colors = {"Farm": (190, 170, 60), "Lake": (30, 60, 120), "Wood": (20, 90, 30)}
        rng = np.random.default_rng(0)
        for name, color in colors.items():
            for side in ("ground", "over"):
                folder = self.place / side / name
                folder.mkdir(parents=True)
                for number in range(12):
                    pixels = np.clip(rng.normal(color, 25, (48, 48, 3)), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
        table = self.place / "classes.csv"
        table.write_text("overhead_class,ground_classes\n" + "".join(f"{n},{n}\n" for n in colors))
        tiny_model(self.place / "teacher")
        self.right(["pairs", str(table), "--ground", str(self.place / "ground"), "--overhead",
                    str(self.place / "over"), "--out", str(self.place / "pairs.csv")])  # fmt: skip

    def command(self) -> list[str]:
        settings = ("arch=shufflenet_v2_x0_5", "patch_px=64", "pool_px=32", "stride=16", "batch=12",
                    "metric=none", f"loop.epochs={self.epochs}", "loop.lr=0.003",
                    "loss.photos=4")  # fmt: skip
        return [
            "train", str(self.place / "pairs.csv"), "--teacher", str(self.place / "teacher"),
            "--out", str(self.state / "student"), "--json",
            *(word for setting in settings for word in ("--set", setting)),
        ]  # fmt: skip

    def begin(self, rng: random.Random) -> None:  # noqa: ARG002
        shutil.rmtree(self.state, ignore_errors=True)

    def check(self, rng: random.Random) -> list[str]:  # noqa: ARG002
        folder = self.state / "student"
        return _unusable(folder) if (folder / "model.json").exists() else []

    def _epoch(self) -> int:
        import torch

        path = self.state / "student.run" / "last.pt"
        return int(torch.load(path, weights_only=True)["epoch"]) if path.exists() else 0

    def progress(self) -> int:
        return self._epoch()

    def finish(self, before: int, run: Run) -> list[str]:
        faults = differences(tree(self.state, self.leave_out), self.whole)
        trained = sum("rename" in c and "last.pt" in c for c in run.changes)
        if trained > self.epochs - before:
            faults.append(f"done twice: {trained - self.epochs + before} epochs")
        lines = (self.state / "student.run" / "metrics.jsonl").read_text().splitlines()
        numbers = [json.loads(line)["number"] for line in lines]
        if numbers != list(range(1, self.epochs + 1)):
            faults.append(f"metrics of epochs {numbers}")
        return faults


KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (Query, Bulk, Build, Refresh, TileCopy, Prune, Fetch, Train)
}
