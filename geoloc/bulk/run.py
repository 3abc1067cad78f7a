"""A folder of photos, videos and chats put to a cube, all at once, resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import GeolocError, OutputError, UsageError
from ..progress import Stages, silent
from ..query.options import QueryOptions, Use
from ..query.run import open_searcher
from ..query.searcher import Searcher
from ..report import check_writable
from ..report.placing import settle_all
from ..search import fuse
from ..video import Sampling
from .copies import Sight, evidence_of, led_by_its_own
from .entries import (
    Answer,
    Entry,
    Group,
    cluster_name,
    picture_of,
    sights_of,
)
from .layout import CLUSTERS, ITEMS, PROGRESS
from .media import Found, find_media
from .mishaps import kept_details
from .page import INDEX, is_index, write_index
from .pictures import Cluster, propose_clusters
from .reading import Reader
from .search import BulkItem, BulkSearch
from .store import Item, Store
from .tables import TABLES, write_tables

_ASKED_ANEW = (
    "pictures asked twice (feedback), the second time with what they found: each answer says what "
    "that means"
)


@dataclass(frozen=True)
class BulkReport:
    """What became of a folder.

    files: photos and videos found; pictures: different ones among them and their frames, each
    computed once; duplicates: files and frames that are the same as another; answered: new
    answers, of pictures and clusters; kept: answers of an earlier run; unanswered: pictures
    and clusters that have none; clusters: proposed; failures: a line for each thing that could
    not be read or answered; ignored: other files; left_out: how many of what kind are not looked
    at, chats' stickers and thumbnails too; notes: what is remarkable and cost nothing; folders: by
    picture (its file, and the second of a video), where its answer is below ``out``.
    """

    out: Path
    files: int
    pictures: int
    duplicates: int
    answered: int
    kept: int
    unanswered: int
    clusters: int
    ignored: int
    failures: Mapping[str, str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def index(self) -> Path:
        """The page that leads to all answers."""
        return self.out / INDEX

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "out": str(self.out), "index": str(self.index)}

    def raise_if_unanswered(self) -> None:
        """Raises GeolocError where a picture or cluster has no answer, or not one has."""
        failures, asked = self.out / "failures.csv", self.answered + self.kept + self.unanswered
        if not self.answered + self.kept:
            raise GeolocError(f"none of {self.files} files could be answered: see {failures}")
        if self.unanswered:
            raise GeolocError(
                f"{self.unanswered} of {asked} answers are missing: fix what {failures} reports "
                "and run the same command again"
            )


def run_bulk(
    cube: str | Path,
    folder: str | Path,
    out: str | Path,
    *,
    options: QueryOptions | None = None,
    sampling: Sampling | None = None,
    progress: Stages = silent,
    **keywords: Any,
) -> BulkReport:
    """Answer every photo, video frame and chat picture below ``folder``; write all to ``out``.

    All vectors come first, in batches; then one pass over the cube for as many as fit in
    memory. An answer goes to ``out/items/<name>/``, that of pictures which may show one place
    to ``out/clusters/<name>/``; beside them index.html, results.parquet, results.geojson and
    failures.csv. What an earlier run finished is kept; nothing bad stops the run, see
    `BulkReport.raise_if_unanswered`.

    Options are those of `QueryOptions`, as one model or as keywords, but that pictures are
    ``sensitive`` unless the area file or the user says that they are not; ``sampling``: which
    frames of videos. Raises UsageError, CubeError, ModelError or OutputError before any work;
    OutputError where another run writes to ``out``, or where answers of another cube, or other
    things under the names of the lists, lie there.
    """
    options, sampling = QueryOptions.of(Use.BULK, options, **keywords), sampling or Sampling()
    out, clock = Path(out), _Clock()
    if out.resolve() == Path(folder).resolve():
        raise UsageError(
            f"--out {out} is the folder of the media itself: give --out beside it or in a folder "
            "of its own"
        )
    searcher = open_searcher(cube, options, progress, usually_hidden=True)
    with kept_details(out):
        listing = find_media(folder, leave_out=out)
    if not (listing.media or listing.failures):
        raise UsageError(f"{folder} holds no photos or videos: choose another folder")
    check_writable(out)
    refuse_other_output(out)
    digests = "+".join(model.digest for model in searcher.models)
    store = Store(out, json.dumps([1, digests, asdict(sampling)]), searcher.cube_key)
    with closing(store), kept_details(out):
        run = _Run(searcher, store, out, listing)
        with clock("reading"):
            run.read(sampling, progress)
        with clock("answering"):
            run.answer(progress)
        with clock("listing"):
            return run.report(clock.seconds)


def refuse_other_output(out: Path) -> None:
    """Raises OutputError where lists lie in ``out`` that no run wrote there."""
    if (out / PROGRESS).is_file() or is_index(out / INDEX):
        return
    for name in (INDEX, *TABLES):
        if (out / name).exists():
            raise OutputError(
                f"{out} holds {name}, which was not written by a bulk run: choose another --out"
            )


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


@dataclass
class _Run:
    """One run between its stages."""

    searcher: Searcher
    store: Store
    out: Path
    found: Found
    _items: dict[int, Item] = field(default_factory=dict)
    _sights: dict[int, tuple[Sight, ...]] = field(default_factory=dict)
    _clusters: list[Cluster] = field(default_factory=list)
    _failures: dict[str, str] = field(default_factory=dict)
    _answered: int = 0
    _kept: int = 0
    _unanswered: int = 0

    def read(self, sampling: Sampling, progress: Stages) -> None:
        """Every picture of the folder to the store; then what may show one place."""
        models, cube = self.searcher.models, self.searcher.cube_key
        reader = Reader(self.store, self.out / ITEMS, models, sampling, cube)
        reader.read(self.found.media, progress("reading the media"))
        done = {medium.name: medium for medium in self.store.media()}
        self._sights = sights_of(self.found.media, done, self.store.items())
        reader.lead(self._sights, self._failures.__setitem__, progress)
        items = self.store.items()
        self._items = {number: items[number] for number in self._sights}
        self._sights = {
            number: led_by_its_own(items[number], sights) for number, sights in self._sights.items()
        }
        names = [medium.name for medium in self.found.media]
        failed = {name: reason for name in names if (reason := done[name].failure)}
        self._failures |= self.found.failures | failed
        self._clusters = propose_clusters([
            picture_of(item, self._sights[n], item.vector[: models[0].dim])
            for n, item in self._items.items()
        ])  # fmt: skip

    def answer(self, progress: Stages) -> None:
        """Ask what is not answered yet."""
        asked = [*self._single(), *self._fused()]
        proof = {number: evidence_of(sights) for number, sights in self._sights.items()}
        search = BulkSearch(self.searcher, self.store, self.out, self.out / ITEMS, proof)
        for folder in (ITEMS, CLUSTERS):
            settle_all(self.out / folder)
        pending = search.pending(asked, progress("checking the answers"))
        failed = search.answer(pending, progress) if pending else {}
        self._failures |= failed
        self._answered, self._unanswered = len(pending) - len(failed), len(failed)
        self._kept = len(asked) - len(pending)

    def report(self, seconds: Mapping[str, float]) -> BulkReport:
        """Write the tables and the page. Raises OutputError where they cannot be written."""
        entries = self._entries()
        groups = self._groups({entry.item.id: entry for entry in entries})
        try:
            write_tables(self.out, entries, groups, self.found.places, self._failures)
            write_index(
                self.out, entries, groups, self._failures, self.searcher.facts,
                self._remarks(), sensitive=self.searcher.session.sensitive,
            )  # fmt: skip
        except OSError as error:
            raise OutputError(f"cannot write to {self.out}: {error.strerror or error}") from error
        return BulkReport(
            out=self.out,
            files=len(self.found.media),
            pictures=len(entries),
            duplicates=sum(len(entry.sights) - 1 for entry in entries),
            answered=self._answered,
            kept=self._kept,
            unanswered=self._unanswered,
            clusters=len(groups),
            ignored=self.found.ignored,
            failures=dict(sorted(self._failures.items())),
            seconds=seconds,
            folders={entry.sights[0].name: entry.folder for entry in entries if entry.answer},
            left_out=dict(self.found.left_out),
            notes=self._remarks(),
        )

    def _remarks(self) -> tuple[str, ...]:
        """On what was found, and on how it was asked."""
        anew = (_ASKED_ANEW,) if self.searcher.session.options.feedback else ()
        return (*self.found.remarks(), *anew)

    def _single(self) -> Iterator[BulkItem]:
        for number, item in self._items.items():
            title = self._sights[number][0].name.rpartition("/")[2]
            yield BulkItem(f"{ITEMS}/{item.folder}", title, (item,), item.vector)

    def _fused(self) -> Iterator[BulkItem]:
        for cluster in self._clusters:
            members = tuple(self._items[number] for number in cluster.members)
            folder = f"{CLUSTERS}/{cluster_name(cluster, self._items)}"
            title = f"{len(members)} pictures that may show one place"
            yield BulkItem(folder, title, members, fuse([member.vector for member in members]))

    def _entries(self) -> list[Entry]:
        clusters = {
            number: cluster_name(cluster, self._items)
            for cluster in self._clusters
            for number in cluster.members
        }
        answers = self._known_answers()
        return [
            Entry(item, self._sights[n], answers.get(f"{ITEMS}/{item.folder}"), clusters.get(n))
            for n, item in self._items.items()
        ]

    def _groups(self, entries: Mapping[int, Entry]) -> list[Group]:
        answers, groups = self._known_answers(), []
        for cluster in self._clusters:
            name = cluster_name(cluster, self._items)
            members = tuple(entries[number] for number in cluster.members)
            answer = answers.get(f"{CLUSTERS}/{name}")
            groups.append(Group(name, members, cluster.reasons, answer))
        return groups

    def _known_answers(self) -> dict[str, Answer]:
        rows = self.store.answers().items()
        return {folder: answer for folder, (_, answer) in rows if folder not in self._failures}
