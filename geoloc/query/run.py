"""Photos or a scene class in, ranked places and their reports out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..names import safe_name
from ..photos import photo_path
from ..progress import Progress, Stages, silent
from ..report import QueryResult, check_writable
from ..scenes import display_name
from .folders import Folders
from .items import QueryItem
from .options import QueryOptions, Use
from .searcher import Found, ModelSearcher, Searcher, answer_by, answered
from .session import QuerySession
from .tandem import TandemSearcher, open_area
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
    """What answers photos by a cube: its model; of an area file that names several models all of
    them in tandem, unless the options name one.

    ``usually_hidden``: see `QuerySession.open`. Raises what that and `open_area` raise.
    """
    several = several_models(cube) if options.model is None else None
    if several is not None:
        advance = progress("reading the bank")
        tandem = open_area(several, options, advance, usually_hidden=usually_hidden)
        return TandemSearcher(tandem)
    session = QuerySession.open(cube, options, usually_hidden=usually_hidden)
    return ModelSearcher(session, cube_model(session.target, session.options.model))


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
    return answered(ModelSearcher(session, None), scene_item(session), Found((ranked,)), folders)


def scene_item(session: QuerySession) -> QueryItem:
    """What a session's scene, or its words, asks."""
    scene = str(session.options.scene)
    features, words = session.target.cube.features, session.words
    vector = features.logits(words.vector) if words else features.named_vector([scene])
    return QueryItem(display_name(scene), safe_name(scene), (), vector)
