"""Photos or a scene class in, ranked places and their reports out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..area import Area
from ..photos import photo_path
from ..progress import Progress, Stages, silent
from ..report import QueryResult, check_writable
from .folders import Folders
from .options import QueryOptions, Use
from .searcher import ModelSearcher, Searcher, answer_by, answered
from .session import QuerySession
from .tandem import TandemSearcher, open_area, open_scene
from .target import Ref, cube_model, several_models


@dataclass(frozen=True)
class QueryResults:
    """What became of the photos: answers, and one line for each that could not be answered."""

    results: list[QueryResult]
    failures: dict[str, str] = field(default_factory=dict)


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
    searcher = open_searcher(cube, options, progress)
    return QueryResults(
        *answer_by(searcher, paths, None if out is None else Path(out), progress, origins)
    )


def open_searcher(
    cube: Ref, options: QueryOptions, progress: Stages = silent, *, usually_hidden: bool = False
) -> Searcher:
    """What answers photos, or the scene of the options, by a cube: its model; of an area file that
    names several models all of them in tandem, unless the options name one.

    ``usually_hidden``: see `QuerySession.open`. Raises what that, `open_area` and
    `open_scene` raise.
    """
    several = several_models(cube) if options.model is None else None
    if options.scene is not None:
        return _scene_searcher(cube, several, options)
    if several is not None:
        tandem = open_area(several, options, progress, usually_hidden=usually_hidden)
        return TandemSearcher(tandem)
    session = QuerySession.open(cube, options, usually_hidden=usually_hidden)
    return ModelSearcher(session, cube_model(session.target, session.options.model))


def _scene_searcher(cube: Ref, several: Area | None, options: QueryOptions) -> Searcher:
    if several is not None:
        return open_scene(several, options)
    return ModelSearcher(QuerySession.open(cube, options), None)


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

    ``name``: a scene class of the cube's model, or other words where that model takes them. Of an
    area file of several models those that know it answer in tandem; see `open_scene`.

    The answer goes to ``out/<class>/``, or beside what is there: see `query_photos`. Options are
    those of `QueryOptions`, as one model or as keywords. Raises UnknownClassError with the
    nearest names, UsageError, OutputError or CubeError before any work.
    """
    options = QueryOptions.of(Use.SCENE, options, **keywords)
    searcher = open_searcher(cube, options.model_copy(update={"scene": name}))
    check_writable(Path(out))
    return answer_scene(searcher, progress("searching the cube"), Folders(Path(out)))


def answer_scene(
    searcher: Searcher, progress: Progress | None = None, folders: Folders | None = None
) -> QueryResult:
    """The ranked places of the searcher's scene; without files, or with."""
    found = searcher.search_scene(progress, folders.out if folders else None)
    return answered(searcher, searcher.scene_item, found, folders)
