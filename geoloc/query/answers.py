"""Photos or a scene class in, ranked places and their reports out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..photos import Photo
from ..report import QueryResult, check_writable, write_report
from ..scenes import display_name, find_class
from ..search import fuse as mean_vector
from ..search import scene_heatmaps, scene_vector
from .ask import Ask, Question
from .encode import encode
from .target import cube_model, open_target

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

TOP = 20


@dataclass(frozen=True)
class Answers:
    """What became of the photos: answers, and one line for each that could not be answered."""

    results: list[QueryResult]
    failures: dict[str, str] = field(default_factory=dict)


def query_photos(
    cube: str | Path,
    photos: Sequence[str | Path],
    out: str | Path,
    *,
    top: int = TOP,
    within: str | Path | None = None,
    radius: float | None = None,
    fuse: bool = False,
    weights: Mapping[str, float] | None = None,
    model: str | Path | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Rank the cells of a cube for each photo, in one pass over it, and write the reports.

    Each answer goes to ``out/<photo file name without extension>/``; with ``fuse`` all photos
    show one place and make one answer, in ``out/fused/``. ``within`` is a polygon file,
    ``radius`` (m) keeps candidates apart, ``weights`` names classes or groups.

    A photo that cannot be decoded is a failure of its own; the others are answered. Raises
    UsageError, OutputError, CubeError or ModelError before any work.
    """
    out, paths = Path(out), [Path(path) for path in photos]
    target = open_target(cube)
    ask = Ask.of(target, top, within, radius, weights)
    loaded = cube_model(target, model)
    check_writable(out)
    good, vectors, failures = encode(paths, loaded)
    questions = list(_questions(good, vectors, fuse))
    results = []
    if questions:
        maps = ask.heatmaps(np.stack([question.vector for question in questions]))
        for question, heatmap in zip(questions, maps, strict=True):
            results.append(ask.answer(question, heatmap, loaded))
            write_report(results[-1], out / question.folder, target.source)
            if progress:
                progress(len(results), len(questions))
    return Answers(results, failures)


def query_scene(
    cube: str | Path,
    name: str,
    out: str | Path,
    *,
    top: int = TOP,
    within: str | Path | None = None,
    radius: float | None = None,
) -> QueryResult:
    """Rank the cells of a cube by how much of one scene class they are, without a photo.

    The answer goes to ``out/<class>/``. Raises UnknownClassError with the nearest names,
    OutputError or CubeError before any work.
    """
    out, target = Path(out), open_target(cube)
    scene = find_class(name, target.cube.classes)
    ask = Ask.of(target, top, within, radius)
    check_writable(out)
    vector = scene_vector(target.cube.classes, [scene])
    heatmap = scene_heatmaps(target.cube, [scene], ask.polygon, within_crs=target.cube.grid.crs)
    question = Question(display_name(scene), safe_name(scene), (), vector)
    result = ask.answer(question, heatmap[0])
    write_report(result, out / question.folder, target.source)
    return result


def safe_name(name: str) -> str:
    """A name that any file system takes: no separators, no leading dots, no control characters."""
    kept = re.sub(r"[^\w .,()+@=-]", "_", name).strip(" .")
    return kept[:100] or "photo"


def unique_names(names: Iterable[str]) -> Iterator[str]:
    """Safe names with -2, -3, … where one is taken already, whatever its capitals."""
    taken: set[str] = set()
    for name in map(safe_name, names):
        candidate, count = name, 1
        while candidate.casefold() in taken:
            count += 1
            candidate = f"{name}-{count}"
        taken.add(candidate.casefold())
        yield candidate


def _questions(
    photos: Sequence[Photo], vectors: NDArray[np.float32], fuse: bool
) -> Iterator[Question]:
    if fuse and photos:
        title = f"{len(photos)} photos of one place" if len(photos) > 1 else photos[0].path.name
        yield Question(title, "fused", tuple(photos), mean_vector(vectors))
        return
    folders = unique_names(photo.name for photo in photos)
    for photo, vector, folder in zip(photos, vectors, folders, strict=True):
        yield Question(photo.path.name, folder, (photo,), vector)
