"""Seeded damage to a small cube's files, and the answers that the cube then gives, or refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoloc.errors import GeolocError
from geoloc.query import open_target
from geoloc.query.options import QueryOptions
from geoloc.query.session import QueryItem, QuerySession

KINDS = ("delete", "truncate", "empty", "append", "flip", "garble", "swap", "foreign")


@dataclass(frozen=True)
class Outcome:
    """What a query gave after a mutation: ``same`` the sound answer, else the refusal."""

    what: str
    same: bool
    error: str
    seconds: float


def files_of(cube: Path) -> list[Path]:
    return sorted(path for path in cube.rglob("*") if path.is_file())


@contextmanager
def mutated(cube: Path, other: Path, path: Path, kind: str, seed: int) -> Iterator[str]:
    """One file of a cube damaged in one way; whole again afterwards.

    ``other``: a cube of the same layout, from which a foreign file is taken.
    """
    rng = np.random.default_rng(seed)
    content = path.read_bytes()
    siblings = [sibling for sibling in files_of(cube) if sibling != path]
    # a sibling of the same size where there is one: the swap that no size betrays
    alike = [s for s in siblings if s.stat().st_size == len(content)] or siblings
    sibling = alike[int(rng.integers(len(alike)))]
    theirs = sibling.read_bytes()
    try:
        _damage(path, content, kind, rng, sibling, theirs, other / path.relative_to(cube))
        yield f"{kind} {path.relative_to(cube)} (seed {seed})"
    finally:
        for file, what in ((path, content), (sibling, theirs)):
            if not file.exists() or file.read_bytes() != what:
                _replace(file, what)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".new")
    partial.write_bytes(content)
    partial.replace(path)


def _damage(
    path: Path,
    content: bytes,
    kind: str,
    rng: np.random.Generator,
    sibling: Path,
    theirs: bytes,
    foreign: Path,
) -> None:
    if kind == "delete":
        path.unlink()
    elif kind == "truncate":
        _replace(path, content[: int(rng.integers(len(content)))])
    elif kind == "empty":
        _replace(path, b"")
    elif kind == "append":
        _replace(path, content + rng.bytes(int(rng.integers(1, 999))))
    elif kind in ("flip", "garble"):
        values = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(0, len(values), 1 if kind == "flip" else 8)
        values[places] ^= rng.integers(1, 256, len(places)).astype(np.uint8)
        _replace(path, values.tobytes())
    elif kind == "swap":
        _replace(path, theirs)
        _replace(sibling, content)
    else:
        _replace(path, foreign.read_bytes() if foreign.exists() else rng.bytes(len(content)))


def answer_of(cube: Path) -> str:
    """All that a query tells of a cube, as text: two photos' heatmaps, candidates, imagery."""
    target = open_target(str(cube))
    session = QuerySession.of(target, QueryOptions(top=5, radius=100.0))
    dim = target.cube.features.dim
    vectors = np.random.default_rng(1).normal(0, 60, (2, dim)).astype(np.float32)
    questions = [QueryItem(f"photo {i}", "x", (), vector) for i, vector in enumerate(vectors)]
    ranked = session.search(questions)
    answers = [session.answer(q, one) for q, one in zip(questions, ranked, strict=True)]
    maps = [one.heatmap[:].tobytes() for one in ranked]
    facts = [
        (a.candidates, a.imagery, a.places, a.notes, a.classes, a.cube, a.model, a.grid)
        for a in answers
    ]
    return repr((maps, facts, target.cube.read(slice(3, 9, 2), slice(7, 8)).tolist()))


def mutate_and_ask(cube: Path, other: Path, mutations: int, seed: int) -> Iterator[Outcome]:
    """Each file in turn, each kind in turn; what a query makes of it.

    Whatever is not a GeolocError goes through: it would be a traceback.
    """
    sound = answer_of(cube)
    files = files_of(cube)
    for number in range(mutations):
        path, kind = files[number % len(files)], KINDS[(number // len(files)) % len(KINDS)]
        start = time.perf_counter()
        with mutated(cube, other, path, kind, seed + number) as what:
            try:
                same, error = answer_of(cube) == sound, ""
            except GeolocError as refused:
                same, error = False, str(refused)
        yield Outcome(what, same, error, time.perf_counter() - start)
