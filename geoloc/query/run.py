"""Photos or a scene class in, ranked places and their reports out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from ..executors import open_cluster
from ..models import Model
from ..names import safe_name
from ..photos import Crop, Photo, PhotoView, photo_path
from ..report import QueryResult, check_writable, write_report
from ..scenes import display_name, find_class
from ..search import RankedMap
from ..search import fuse as mean_vector
from .encode import encode
from .folders import Folders
from .session import QueryItem, QuerySession
from .target import cube_model, open_target
from .truth import LatLon, Truths, known_truth, with_truth

Progress = Callable[[float, int], None]
"""Called with how many are done, and of how many."""

Stages = Callable[[str], Progress]
"""Gives, for the name of a stage of the work, what is told how far it has come."""

TOP = 20


@dataclass(frozen=True)
class QueryResults:
    """What became of the photos: answers, and one line for each that could not be answered."""

    results: list[QueryResult]
    failures: dict[str, str] = field(default_factory=dict)


class Options(TypedDict, total=False):
    """Keywords of `answer_photos`."""

    top: int
    within: str | Path | None
    radius: float | None
    fuse: bool
    weights: Mapping[str, float] | None
    model: str | Path | None
    crops: Sequence[Crop]
    rotate: float
    origins: Mapping[str, Mapping[str, Any]]
    epoch: str | dt.date | None
    cluster: str
    truth: Truths
    check_digests: bool
    fetch_imagery: bool
    sensitive: bool | None
    progress: Stages


def silent(_stage: str) -> Progress:
    """`Stages` where nobody wants to know."""
    return lambda _done, _total: None


def query_photos(
    cube: str | Path,
    photos: Sequence[str | Path],
    out: str | Path,
    **options: Unpack[Options],
) -> QueryResults:
    """Rank the cells of a cube for each photo, in one pass over it, and write the reports.

    Each answer goes to ``out/<photo file name without extension>/``; fused photos make one
    answer, in ``out/fused/``. The same question again takes the place of its own answer; where
    something else is, the name gets a number (`Folders`): ``QueryResult.folder`` tells.
    Keywords, failures and errors are those of `answer_photos`, and OutputError where ``out``
    cannot be written, before any work.
    """
    return answer_photos(cube, photos, out=out, **options)


def answer_photos(
    cube: str | Path,
    photos: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    top: int = TOP,
    within: str | Path | None = None,
    radius: float | None = None,
    fuse: bool = False,
    weights: Mapping[str, float] | None = None,
    model: str | Path | None = None,
    crops: Sequence[Crop] = (),
    rotate: float = 0.0,
    origins: Mapping[str, Mapping[str, Any]] | None = None,
    epoch: str | dt.date | None = None,
    cluster: str = "inline",
    truth: Truths = None,
    check_digests: bool = False,
    fetch_imagery: bool = False,
    sensitive: bool | None = None,
    progress: Stages = silent,
) -> QueryResults:
    """Rank the cells of a cube for each photo; nothing is written without ``out``.

    ``within`` is a polygon file; ``radius`` (m) keeps candidates apart; ``fuse``: all photos
    show one place and make one answer; ``weights`` names classes or groups; ``model`` takes the
    place of the name that the area or the cube gives. Each of ``crops`` (left, top, right,
    bottom; px) of a photo is asked about separately; ``rotate`` turns it clockwise, degrees.
    ``origins``: by path, what the evidence shall tell of where a photo comes from (JSON types).
    ``truth``: where the photos were taken, if that is known: it is marked in the answers, and
    changes nothing else. ``epoch``: an older generation of the cube, see `open_target`.
    ``cluster``: where the cube is searched, see `geoloc.executors.open_cluster`; the answers are
    the same. ``inline`` and ``auto`` are the threads of this process, which use all of its
    cores. A scheduler's address can pay where its workers are other machines, nearer to the
    cube. ``local`` does not: every distance then goes from one process to another (4 million
    cells on two cores: 1 photo 0.8 s inline, 3 s by workers; 20 photos 9 and 26 s; starting
    them comes on top). ``check_digests``: see `geoloc.cube.Cube.open`.
    ``fetch_imagery``: see `geoloc.query.target.Target`. ``sensitive``: the pages hide the photos
    until their reader chooses to see them; by default as the area file says.

    A photo that cannot be decoded is a failure of its own; the others are answered. Raises
    UsageError, CubeError, ModelError or ClusterError before any work; CubeError and ClusterError
    where a block cannot be searched or the cluster is lost.
    """
    paths = [photo_path(photo) for photo in photos]
    target = open_target(cube, epoch, check_digests=check_digests, fetch_imagery=fetch_imagery)
    hidden = target.hides_photos(sensitive)
    session = QuerySession.of(target, top, within, radius, weights, sensitive=hidden)
    loaded, known = cube_model(target, model), known_truth(truth, target.cube.grid)
    if out is not None:
        check_writable(Path(out))
    looks = [PhotoView(crop, rotate) for crop in crops or (None,)]
    # no other processes of this machine have more cores than the threads of this one
    with open_cluster("inline" if cluster == "auto" else cluster) as executor:
        told = progress("reading the photos")
        good, vectors, failures = encode(paths, loaded, looks, origins=origins, progress=told)
        questions = list(_questions(good, vectors, fuse))
        told, scratch = progress("searching the cube"), None if out is None else Path(out)
        found = session.search(questions, executor, told, scratch)
    results, told = list[QueryResult](), progress("ranking the places")
    folders = None if out is None else Folders(Path(out))
    for question, ranked in zip(questions, found, strict=True):
        results.append(_answered(session, question, ranked, loaded, folders, known))
        told(len(results), len(questions))
    return QueryResults(results, failures)


def _answered(
    session: QuerySession,
    question: QueryItem,
    ranked: RankedMap,
    model: Model | None,
    folders: Folders | None,
    truth: LatLon | Mapping[str, LatLon] | None = None,
) -> QueryResult:
    """The answer, its files in a folder of its own where there are to be any."""
    if folders is None:
        return with_truth(session.answer(question, ranked, model), truth)
    with folders.claim(question.name, session.key(question)) as folder:
        answer = session.answer(replace(question, folder=folder), ranked, model)
        result = with_truth(answer, truth)
        write_report(result, folder, session.target.source, session.target.overview)
        return result


def query_scene(
    cube: str | Path,
    name: str,
    out: str | Path,
    *,
    top: int = TOP,
    within: str | Path | None = None,
    radius: float | None = None,
    epoch: str | dt.date | None = None,
    check_digests: bool = False,
    fetch_imagery: bool = False,
    progress: Stages = silent,
) -> QueryResult:
    """Rank the cells of a cube by how much of one scene class they are, without a photo.

    The answer goes to ``out/<class>/``, or beside what is there: see `query_photos`. Raises
    UnknownClassError with the nearest names, OutputError or CubeError before any work.
    """
    out = Path(out)
    target = open_target(cube, epoch, check_digests=check_digests, fetch_imagery=fetch_imagery)
    scene = find_class(name, target.cube.features.names)
    session = QuerySession.of(target, top, within, radius, scene=scene)
    check_writable(out)
    return answer_scene(session, scene, progress("searching the cube"), Folders(out))


def answer_scene(
    session: QuerySession,
    scene: str,
    progress: Progress | None = None,
    folders: Folders | None = None,
) -> QueryResult:
    """The ranked places of a class of the cube, by its exact name; without files, or with."""
    ranked = session.search_scene(scene, progress, folders.out if folders else None)
    vector = session.target.cube.features.named_vector([scene])
    question = QueryItem(display_name(scene), safe_name(scene), (), vector)
    return _answered(session, question, ranked, None, folders)


def _questions(
    photos: Sequence[Photo], vectors: NDArray[np.float32], fuse: bool
) -> Iterator[QueryItem]:
    if fuse and photos:
        title = f"{len(photos)} photos of one place" if len(photos) > 1 else _title(photos[0])
        yield QueryItem(title, "fused", tuple(photos), mean_vector(vectors))
        return
    for photo, vector in zip(photos, vectors, strict=True):
        yield QueryItem(_title(photo), safe_name(photo.name, _part(photo, " ")), (photo,), vector)


def _title(photo: Photo) -> str:
    return photo.file + _part(photo, " · ")


def _part(photo: Photo, separator: str) -> str:
    """The crop that was looked at, so that several of one photo are told apart."""
    crop = photo.origin.get("crop")
    return f"{separator}crop {','.join(map(str, crop))}" if crop else ""
