"""Photos or a scene class in, ranked places and their reports out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..executors import open_cluster
from ..models import Model
from ..names import safe_name
from ..photos import photo_path
from ..report import QueryResult, check_writable, write_report
from ..scenes import display_name
from ..search import RankedMap
from .encode import encode
from .folders import Folders
from .items import QueryItem, items_of, views_of
from .options import LatLon, QueryOptions, Use
from .session import QuerySession
from .tandem import answer_in_tandem, open_area
from .target import Ref, cube_model, several_models
from .truth import known_truth, with_truth

Progress = Callable[[float, int], None]
"""Called with how many are done, and of how many."""

Stages = Callable[[str], Progress]
"""Gives, for the name of a stage of the work, what is told how far it has come."""


@dataclass(frozen=True)
class QueryResults:
    """What became of the photos: answers, and one line for each that could not be answered."""

    results: list[QueryResult]
    failures: dict[str, str] = field(default_factory=dict)


def silent(_stage: str) -> Progress:
    """`Stages` that reports nothing."""
    return lambda _done, _total: None


def query_photos(
    cube: Ref, photos: Sequence[str | Path], out: str | Path, **keywords: Any
) -> QueryResults:
    """Rank the cells of a cube for each photo, in one pass over it, and write the reports.

    Each answer goes to ``out/<photo file name without extension>/``; fused photos make one
    answer, in ``out/fused/``. The same question again takes the place of its own answer; where
    something else is, the name gets a number (`Folders`): ``QueryResult.folder`` tells.
    Keywords, failures and errors are those of `answer_photos`, and OutputError where ``out``
    cannot be written, before any work.
    """
    return answer_photos(cube, photos, out=out, **keywords)


def answer_photos(
    cube: Ref,
    photos: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    options: QueryOptions | None = None,
    origins: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Stages = silent,
    **keywords: Any,
) -> QueryResults:
    """Rank the cells of a cube for each photo; nothing is written without ``out``.

    Options are those of `QueryOptions`, as one model or as keywords: ``top=5, fuse=True``.
    ``origins``: by path, what the evidence records of where a photo comes from (JSON types).

    A photo that cannot be decoded is a failure of its own; the others are answered. Raises
    UsageError, CubeError, ModelError or ClusterError before any work; CubeError and ClusterError
    where a block cannot be searched or the cluster is lost.

    An area file of several models is answered by all of them in tandem, unless ``model`` names one.
    """
    options = QueryOptions.of(Use.QUERY, options, **keywords)
    paths = [photo_path(photo) for photo in photos]
    several = several_models(cube) if options.model is None else None
    if several is not None:
        advance, found = progress("reading the bank"), None if out is None else Path(out)
        tandem = open_area(several, options, advance)
        return QueryResults(*answer_in_tandem(tandem, paths, found, origins, progress))
    session = QuerySession.open(cube, options)
    model = cube_model(session.target, session.options.model)
    truth = known_truth(options.truth, session.grid)
    if out is not None:
        check_writable(Path(out))
    with open_cluster(options.searched_by) as executor:
        advance = progress("reading the photos")
        good, vectors, failures = encode(
            paths, model, views_of(options), origins=origins, progress=advance
        )
        items = list(items_of(good, vectors, options.fuse))
        advance, scratch = progress("searching the cube"), None if out is None else Path(out)
        rankings = session.search(items, executor, advance, scratch)
    results, advance = list[QueryResult](), progress("ranking the places")
    folders = None if out is None else Folders(Path(out))
    for item, ranked in zip(items, rankings, strict=True):
        results.append(_answered(session, item, ranked, model, folders, truth))
        advance(len(results), len(items))
    return QueryResults(results, failures)


def _answered(
    session: QuerySession,
    item: QueryItem,
    ranked: RankedMap,
    model: Model | None,
    folders: Folders | None,
    truth: LatLon | Mapping[str, LatLon] | None = None,
) -> QueryResult:
    """The answer, its files in a folder of its own where there are to be any."""
    if folders is None:
        return with_truth(session.answer(item, ranked, model), truth)
    with folders.claim(item.name, session.key(item)) as folder:
        answer = session.answer(replace(item, folder=folder), ranked, model)
        result = with_truth(answer, truth)
        write_report(result, folder, session.target.source, session.target.overview)
        return result


def search_scene(
    cube: str | Path,
    name: str,
    out: str | Path,
    *,
    options: QueryOptions | None = None,
    progress: Stages = silent,
    **keywords: Any,
) -> QueryResult:
    """Rank the cells of a cube by how much of one scene they are, without a photo.

    ``name``: a scene class of the cube's model, or other words where that model takes them.

    The answer goes to ``out/<class>/``, or beside what is there: see `query_photos`. Options are
    those of `QueryOptions`, as one model or as keywords. Raises UnknownClassError with the
    nearest names, UsageError, OutputError or CubeError before any work.
    """
    options = QueryOptions.of(Use.SCENE, options, **keywords)
    session = QuerySession.open(cube, options.model_copy(update={"scene": name}))
    check_writable(Path(out))
    return answer_scene(session, progress("searching the cube"), Folders(Path(out)))


def answer_scene(
    session: QuerySession, progress: Progress | None = None, folders: Folders | None = None
) -> QueryResult:
    """The ranked places of the session's scene class; without files, or with."""
    ranked = session.search_scene(progress, folders.out if folders else None)
    scene = str(session.options.scene)
    features, words = session.target.cube.features, session.words
    vector = features.logits(words.vector) if words else features.named_vector([scene])
    item = QueryItem(display_name(scene), safe_name(scene), (), vector)
    return _answered(session, item, ranked, None, folders)
