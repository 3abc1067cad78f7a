"""Photos in, answers out, whoever gives them: one model by its cube, or several in tandem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..executors import Executor, open_cluster
from ..models import Model
from ..progress import Progress, Stages
from ..report import QueryResult, check_writable, write_report
from ..search import RankedMap
from .encode import encode
from .folders import Folders, cubes_key
from .items import QueryItem, items_of, views_of
from .options import LatLon
from .session import QuerySession
from .truth import known_truth, with_truth

Truth = LatLon | Mapping[str, LatLon] | None


@dataclass(frozen=True)
class Found:
    """What each model finds for one photo by itself; ``scratch``: the folder where its maps lie,
    see `QuerySession.search`."""

    maps: tuple[RankedMap, ...]
    scratch: Path | None = None


class Searcher(Protocol):
    """Ranks the places of an area for photos.

    The vector of a `QueryItem`, ``(feature,)``, is that of the model, or those of all ``models``
    one behind the other.
    """

    @property
    def session(self) -> QuerySession:
        """How the cube is asked; of several models that of the first."""
        ...

    @property
    def models(self) -> tuple[Model, ...]:
        """That encode the photos."""
        ...

    @property
    def cube_key(self) -> str:
        """Stands for all cubes that are asked; see `cubes_key`."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What pages tell of the cube; of several models with their names."""
        ...

    @property
    def scratch_bytes(self) -> int:
        """Of disk that the maps of one photo take until it is answered."""
        ...

    @property
    def state(self) -> list[Any]:
        """What an answer depends on beside its photos (JSON types)."""
        ...

    @property
    def scene_item(self) -> QueryItem:
        """What the scene of the options asks, where they have one; its vector is for display."""
        ...

    def key(self, item: QueryItem) -> str:
        """Stands for the question; see `question_key`."""
        ...

    def search(
        self,
        items: Sequence[QueryItem],
        executor: Executor | None = None,
        progress: Progress | None = None,
        scratch: Path | None = None,
    ) -> list[Found]:
        """What is found for each, in one pass over each cube; see `QuerySession.search`."""
        ...

    def search_scene(self, progress: Progress | None = None, scratch: Path | None = None) -> Found:
        """The same for the scene of the options."""
        ...

    def answer(self, item: QueryItem, found: Found, truth: Truth = None) -> QueryResult:
        """The ranked places of one, explained, and the true one marked where it is known."""
        ...


@dataclass(frozen=True)
class ModelSearcher:
    """One model and its cube. ``model``: None where a scene is searched for without a photo."""

    session: QuerySession
    model: Model | None

    @property
    def models(self) -> tuple[Model, ...]:
        """That encode the photos."""
        return () if self.model is None else (self.model,)

    @property
    def cube_key(self) -> str:
        """See `Searcher`."""
        return cubes_key([self.session.target.cube.url])

    @property
    def facts(self) -> dict[str, Any]:
        """See `Searcher`."""
        return self.session.info

    @property
    def scratch_bytes(self) -> int:
        """See `Searcher`."""
        return self.session.scratch_bytes

    @property
    def state(self) -> list[Any]:
        """See `Searcher`."""
        session, cube = self.session, self.session.target.cube
        return [session.parameters, cube.url, cube.generation, session.sensitive]

    @property
    def scene_item(self) -> QueryItem:
        """See `Searcher`."""
        return self.session.scene_item

    def key(self, item: QueryItem) -> str:
        """See `Searcher`."""
        return self.session.key(item)

    def search(
        self,
        items: Sequence[QueryItem],
        executor: Executor | None = None,
        progress: Progress | None = None,
        scratch: Path | None = None,
    ) -> list[Found]:
        """See `Searcher`."""
        every = self.session.search(items, executor, progress, scratch)
        return [Found((found,), scratch) for found in every]

    def search_scene(self, progress: Progress | None = None, scratch: Path | None = None) -> Found:
        """See `Searcher`."""
        return Found((self.session.search_scene(progress, scratch),), scratch)

    def answer(self, item: QueryItem, found: Found, truth: Truth = None) -> QueryResult:
        """See `Searcher`."""
        return with_truth(self.session.answer(item, found.maps[0], self.model), truth)


def answer_by(
    searcher: Searcher,
    paths: Sequence[Path],
    out: Path | None,
    progress: Stages,
    origins: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[list[QueryResult], dict[str, str]]:
    """An answer for each photo, and failures by path; written where ``out`` is given.

    ``origins``: see `encode`. Raises as `geoloc.query.answer_photos` does.
    """
    options = searcher.session.options
    truth = known_truth(options.truth, searcher.session.grid)
    if out is not None:
        check_writable(out)
    with open_cluster(options.searched_by) as executor:
        advance = progress("reading the photos")
        photos, vectors, failures = encode(
            paths, searcher.models, views_of(options), origins=origins, progress=advance
        )
        items = list(items_of(photos, vectors, options.fuse))
        every = searcher.search(items, executor, progress("searching the cube"), out)
    results, advance = list[QueryResult](), progress("ranking the places")
    folders = None if out is None else Folders(out)
    for item, found in zip(items, every, strict=True):
        results.append(answered(searcher, item, found, folders, truth))
        advance(len(results), len(items))
    return results, failures


def answered(
    searcher: Searcher,
    item: QueryItem,
    found: Found,
    folders: Folders | None,
    truth: Truth = None,
) -> QueryResult:
    """The answer, its files in a folder of its own where there are to be any."""
    if folders is None:
        return searcher.answer(item, found, truth)
    with folders.claim(item.name, searcher.key(item)) as folder:
        result = searcher.answer(replace(item, folder=folder), found, truth)
        target = searcher.session.target
        write_report(result, folder, target.source, target.overview)
        return result
