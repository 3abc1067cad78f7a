"""OpenStreetMap extracts (``.osm.pbf``), read as a stream.

Ways are read first, then the places of nodes, then ways again with their nodes' places. A way in
several extracts counts once, in its latest version; nodes that one extract lacks may come from
another.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import I64, Bools
from ..errors import UsageError, one_line
from ..progress import Progress
from .lines import Lines
from .ways import belongs, key_of

if TYPE_CHECKING:
    import osmium


_BATCH = 1 << 19  # nodes of one batch of lines
_MANY_BYTES = 1 << 30
"""From this size of all extracts on, only nodes of roads are kept while reading.

What tells them apart is a bitmap of all node numbers, up to 1.6 GB, however few roads there are;
below, the places of all nodes (16 bytes each) take less.
"""
_KINDS = {
    b"\xff\xe0\x04o5m2": "o5m", b"\xff\xe0\x04o5c2": "o5c", b"<?xml": "XML", b"<osm": "XML",
    b"BZh": "bzip2", b"\x1f\x8b": "gzip", b"PK": "zip",
}  # fmt: skip


def require_extract(path: Path) -> None:
    """Raises UsageError for what is no extract in PBF: another format, or one with a history."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"roads {path} {what}: give an .osm.pbf file, as from geofabrik.de")
    with path.open("rb") as file:
        head = file.read(64)
    if b"OSMHeader" not in head[:32]:
        kind = next((name for magic, name in _KINDS.items() if head.startswith(magic)), "not PBF")
        words = f"is {kind}" if head else "is empty"
        raise UsageError(
            f"roads {path} {words}: convert it with 'osmium cat {path.name} -o roads.osm.pbf'"
        )
    import osmium

    with _reading(path), osmium.io.Reader(_file(path), osmium.osm.NOTHING) as reader:
        history = reader.header().has_multiple_object_versions
    if history or ".osh" in path.suffixes:
        raise UsageError(
            f"roads {path} is a history of OpenStreetMap, with every state of each way: cut one "
            f"state from it with 'osmium time-filter {path.name} -o roads.osm.pbf'"
        )


@dataclass
class Course:
    """How far the reading of extracts is; ``progress`` takes passes done, and of how many."""

    passes: int
    progress: Progress | None
    done: int = 0

    def step(self) -> None:
        """One more pass is done."""
        self.done += 1
        if self.progress:
            self.progress(self.done, self.passes)


def read_extracts(
    paths: Sequence[Path],
    network: str,
    progress: Progress | None = None,
    *,
    many_bytes: int = _MANY_BYTES,
) -> Iterator[Lines]:
    """The lines of a network in extracts, in batches, each way once.

    Where an extract was cut through a way, and no other has the nodes, the rest of it remains.
    ``progress``: passes done, and of how many. ``many_bytes``: from this size of all files on,
    only nodes of roads are kept. Raises UsageError for a file that is broken or no extract.
    """
    import osmium

    many = sum(path.stat().st_size for path in paths) >= many_bytes
    tracker = osmium.IdTracker() if many else None
    course = Course(3 * len(paths), progress)
    every = [_ways(path, network, tracker, course) for path in paths]
    kept = latest([(ways.ids, ways.versions) for ways in every])
    table = osmium.index.create_map("sparse_mmap_array")
    places = osmium.NodeLocationsForWays(table)
    places.ignore_errors()
    for path, ways in zip(paths, every, strict=True):
        if not ways.placed:
            _nodes(path, places, tracker)
        course.step()
    for path, ways, own in zip(paths, every, kept, strict=True):
        yield from _lines(path, network, None if ways.placed else places, own)
        course.step()


def latest(versions: Sequence[tuple[I64, I64]]) -> list[Bools]:
    """Of ways by number and version in several files: which of each file's are read.

    Of each way the latest version, of equal ones the first, once.
    """
    counts = np.cumsum([len(ways) for ways, _ in versions])
    ways = np.concatenate([ways for ways, _ in versions])
    version = np.concatenate([version for _, version in versions])
    order = np.lexsort((np.arange(len(ways)), -version, ways))
    first = np.ones(len(ways), np.bool_)
    first[1:] = ways[order][1:] != ways[order][:-1]
    kept = np.zeros(len(ways), np.bool_)
    kept[order[first]] = True
    return np.split(kept, counts[:-1])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns the reader's errors into one line."""
    import osmium

    try:
        yield
    except (RuntimeError, ValueError, osmium.InvalidLocationError) as error:
        raise UsageError(
            f"roads {path} is damaged ({one_line(error)}): download it again"
        ) from None


def _file(path: Path) -> osmium.io.File:
    import osmium

    return osmium.io.File(str(path), "pbf")


def _ways_of(path: Path, network: str, *handlers: Any) -> Iterator[Any]:
    """The ways of a file that belong to a network."""
    import osmium

    tagged = osmium.filter.KeyFilter(key_of(network))
    with _reading(path), osmium.io.Reader(_file(path), osmium.osm.WAY) as reader:
        ways: Iterator[Any] = iter(osmium.OsmFileIterator(reader, tagged, *handlers))
        for way in ways:
            if way.visible and belongs(network, way.tags):
                yield way


@dataclass(frozen=True, eq=False)
class _Ways:
    """Numbers and versions of a file's ways, ``(way,)``; placed: they hold their nodes' places
    themselves, as 'osmium add-locations-to-ways' writes them, without the nodes."""

    ids: I64
    versions: I64
    placed: bool


def _ways(path: Path, network: str, tracker: osmium.IdTracker | None, course: Course) -> _Ways:
    ids, versions, placed = array("q"), array("q"), False
    for way in _ways_of(path, network):
        if not ids:  # a file is written in one manner
            placed = any(node.location.valid() for node in way.nodes)
        ids.append(way.id)
        versions.append(way.version)
        if tracker is not None:
            tracker.add_references(way)
    course.step()
    return _Ways(np.frombuffer(ids, np.int64), np.frombuffer(versions, np.int64), placed)


def _nodes(
    path: Path, places: osmium.NodeLocationsForWays, tracker: osmium.IdTracker | None
) -> None:
    """Learn the places of a file's nodes.

    Crossings and the like, of which there are many, come up to Python: so Ctrl-C is heard.
    """
    import osmium

    wanted = [] if tracker is None else [tracker.id_filter()]
    marked = osmium.filter.KeyFilter("highway", "barrier", "crossing")
    with _reading(path), osmium.io.Reader(_file(path), osmium.osm.NODE) as reader:
        for _ in osmium.OsmFileIterator(reader, *wanted, places, marked):
            pass


@dataclass
class _Batch:
    """Lines as they come, without an object for each."""

    coordinates: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("q", [0]))
    ways: array[int] = field(default_factory=lambda: array("q"))
    classes: list[str] = field(default_factory=list)

    @property
    def nodes(self) -> int:
        return len(self.coordinates) // 16

    def add(self, way: int, name: str, coordinates: bytes) -> None:
        self.coordinates += coordinates
        self.ends.append(self.nodes)
        self.ways.append(way)
        self.classes.append(name)

    def lines(self) -> Lines:
        return Lines(
            np.frombuffer(bytes(self.coordinates), np.float64).reshape(-1, 2),
            np.array(self.ends, np.int64),
            np.array(self.ways, np.int64),
            np.array(self.classes, np.str_),
        )


def _lines(
    path: Path, network: str, places: osmium.NodeLocationsForWays | None, kept: Bools
) -> Iterator[Lines]:
    """A file's ways that are to be read, in batches."""
    batch, key = _Batch(), key_of(network)
    ways = _ways_of(path, network, *([] if places is None else [places]))
    for way, wanted in zip(ways, kept.tolist(), strict=True):
        if not wanted:
            continue
        for run in _runs(way):
            batch.add(way.id, way.tags[key], run)
        if batch.nodes >= _BATCH:
            yield batch.lines()
            batch = _Batch()
    if batch.ways:
        yield batch.lines()


def _runs(way: Any) -> Iterator[bytes]:
    """Longitude and latitude of a way's nodes, as float64; runs of those whose place is known."""
    known: list[float] = []
    for node in way.nodes:
        place = node.location
        if place.valid():
            known += (place.lon_without_check(), place.lat_without_check())
            continue
        if len(known) > 2:
            yield array("d", known).tobytes()
        known = []
    if len(known) > 2:
        yield array("d", known).tobytes()
