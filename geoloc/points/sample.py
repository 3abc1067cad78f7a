"""``geoloc points sample``: points drawn along roads, in a polygon, or of one's own, in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..area.polygon import polygon_file
from ..arrays import F64, I64
from ..errors import UsageError
from ..files.whole import file_sha256
from ..progress import Progress, Stages, silent
from .boundary import Boundary
from .chance import require_seed, uniform_numbers
from .extracts import read_extracts, require_extract
from .file import HIGHWAY, NO_WAY, WAY, PointSet, require_writable, writing_points
from .lines import Lines, split_at_antimeridian
from .networks import read_network
from .places import Places, read_places
from .sampling import Roads, RoadsBuilder, draw_along, draw_within
from .ways import require_network

_SCHEME = 1  # of drawing: another one is another sequence
_SUFFIXES = (".parquet", ".geoparquet")  # of what is written
_EXTRACTS = (".osm", ".osh", ".pbf", ".o5m", ".o5c")  # anywhere in a name


@dataclass(frozen=True)
class Sampled:
    """What was written: the file, how many points, the sequence they begin, metres of roads."""

    path: Path
    points: int
    sequence: str
    metres: float | None = None

    def summary(self) -> str:
        """For people."""
        roads = "" if self.metres is None else f" along {self.metres / 1000:,.1f} km"
        return f"{self.points:,} points{roads} in {self.path}"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "out": str(self.path),
            "points": self.points,
            "sequence": self.sequence,
            "metres": self.metres,
        }


def sample_roads(
    roads: Sequence[str | Path],
    out: str | Path,
    n: int,
    *,
    within: str | Path | None = None,
    network: str = "all",
    seed: int = 0,
    stages: Stages | None = None,
) -> Sampled:
    """Draw ``n`` points along roads, uniform by length on the ellipsoid, and write them.

    ``roads``: OpenStreetMap extracts (.osm.pbf), or networks in GeoPackage, GraphML, GeoParquet …;
    their order does not matter, a way in several extracts counts once. ``within``: a file with
    polygons, or ``west,south,east,north`` in degrees. The first points of a larger ``n`` are the
    same. Raises UsageError for roads that cannot be read, are none, lie outside of the polygon,
    or are shorter than a metre a point; OutputError where ``out`` cannot be written.
    """
    out = Path(out)
    _require(out, n, seed, roads, within)
    require_network(network)
    if not roads:
        raise UsageError("no roads are named: give an .osm.pbf file, or --uniform or --from")
    sources = _sources([Path(path) for path in roads])
    polygon = None if within is None else Boundary.read(str(within))
    stage = stages or silent
    lines = _network(list(sources.values()), network, polygon, stage("reading roads"))
    if lines.metres < n:
        raise UsageError(
            f"{lines.metres:,.0f} m of roads are less than a metre for each of {n:,} points: "
            f"ask for fewer{' or widen the polygon' if polygon else ''}"
        )
    about = _about("roads", seed, polygon, sources, network=network)
    batches = (
        (drawn.coordinates, {WAY: lines.way_id[drawn.line], HIGHWAY: lines.highway(drawn.line)})
        for drawn in draw_along(lines, seed, n)
    )
    return _write(out, batches, n, about, stage, lines.metres)


def sample_area(
    within: str | Path, out: str | Path, n: int, *, seed: int = 0, stages: Stages | None = None
) -> Sampled:
    """Draw ``n`` points in a polygon, uniform by area, and write them: a contrast to roads.

    Raises UsageError for a polygon that cannot be read, OutputError where ``out`` cannot be
    written.
    """
    out = Path(out)
    _require(out, n, seed, (), within)
    polygon = Boundary.read(str(within))
    about = _about("area", seed, polygon, {})
    batches = ((drawn, _no_ways(len(drawn))) for drawn in draw_within(polygon, seed, n))
    return _write(out, batches, n, about, stages or silent)


def sample_places(
    places: str | Path,
    out: str | Path,
    n: int | None = None,
    *,
    within: str | Path | None = None,
    seed: int = 0,
    stages: Stages | None = None,
) -> Sampled:
    """Write points of one's own, the rows of a CSV, shuffled by the seed; all by default.

    So a prefix of them is a sample too. Raises UsageError for a file that is no such CSV, has no
    rows in the polygon, or fewer than ``n``.
    """
    out, path = Path(out), Path(places)
    _require(out, 1 if n is None else n, seed, [path], within)
    own = read_places(path)
    polygon = None if within is None else Boundary.read(str(within))
    rows = np.arange(len(own.coordinates))
    if polygon is not None:
        rows = rows[polygon.holds(own.coordinates)]
        if not len(rows):
            raise UsageError(f"no place of {path} lies in the polygon {within}")
    if n is not None and n > len(rows):
        raise UsageError(f"{path} has {len(rows):,} places there, fewer than {n:,}: ask for fewer")
    shuffled = np.argsort(next(uniform_numbers(seed, len(rows))), kind="stable")
    rows = rows[shuffled][:n]
    about = _about("places", seed, polygon, {file_sha256(path): path})
    return _write(out, iter([_rows(own, rows)]), len(rows), about, stages or silent)


def _require(
    out: Path, n: int, seed: int, sources: Sequence[str | Path], within: str | Path | None
) -> None:
    """What can be known before any work."""
    if n < 1:
        raise UsageError(f"--n {n}: write how many points, 1 or more")
    require_seed(seed)
    require_writable(out)
    read = [*map(Path, sources), *([] if within is None else [polygon_file(Path(within))])]
    if any(path.exists() and out.exists() and path.samefile(out) for path in read):
        raise UsageError(f"--out {out} is one of the input files: choose another for the points")
    if out.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"--out {out}: points are written as GeoParquet; give a name that ends in .parquet"
        )


def _sources(paths: list[Path]) -> dict[str, Path]:
    """Files by their SHA-256, in that order: however they were named, each once."""
    for path in paths:
        if _is_extract(path):
            require_extract(path)
        elif not polygon_file(path).is_file():
            raise UsageError(f"roads {path} does not exist: give an extract or a network")
    digests = {file_sha256(polygon_file(path)): path for path in paths}
    return dict(sorted(digests.items()))


def _is_extract(path: Path) -> bool:
    return any(suffix.lower() in _EXTRACTS for suffix in path.suffixes)


def _reach(lonlat: F64) -> F64:
    """The lower left and the upper right corner ``(2, 2)`` of places ``(n, 2)``; none of none."""
    return np.stack([lonlat.min(axis=0), lonlat.max(axis=0)]) if len(lonlat) else lonlat


def _network(
    paths: list[Path],
    network: str,
    polygon: Boundary | None,
    progress: Progress,
) -> Roads:
    """All roads of the files that lie in the polygon. Raises UsageError where there are none."""
    builder, reach = RoadsBuilder(), np.empty((0, 2))
    for lines in _lines(paths, network, progress):
        whole = split_at_antimeridian(lines)
        reach = _reach(np.concatenate([reach, _reach(whole.coordinates)]))
        builder.add(whole if polygon is None else polygon.clip(whole))
    roads = builder.roads()
    if roads is not None:
        return roads
    names = ", ".join(map(str, paths))
    kind = "" if network == "all" else f" of the network {network}"
    if len(reach) and polygon is not None:
        box = ",".join(f"{degrees:.6g}" for degrees in reach.ravel())
        raise UsageError(
            f"no roads{kind} of {names} lie in the polygon {polygon.name}: they lie in {box} "
            "(west,south,east,north in degrees)"
        )
    raise UsageError(f"{names} has no roads{kind}: is it an extract with roads?")


def _lines(paths: list[Path], network: str, progress: Progress) -> Iterator[Lines]:
    extracts = [path for path in paths if _is_extract(path)]
    if extracts:
        yield from read_extracts(extracts, network, progress)
    for path in paths:
        if path not in extracts:
            yield from read_network(path, network)


def _about(
    kind: str, seed: int, polygon: Boundary | None, sources: dict[str, Path], **more: str
) -> dict[str, Any]:
    """What the sequence depends on, and its name; never how many points are drawn."""
    facts = {
        "scheme": _SCHEME,
        "kind": kind,
        "seed": seed,
        "within": polygon and polygon.digest,
        "sources": list(sources),
        **more,
    }
    named = json.dumps(facts, sort_keys=True).encode()
    return {
        "sequence": hashlib.sha256(named).hexdigest(),
        **facts,
        "sources": [{"file": path.name, "sha256": sha256} for sha256, path in sources.items()],
    }


def _no_ways(count: int) -> dict[str, NDArray[Any]]:
    return {WAY: np.full(count, NO_WAY, np.int64), HIGHWAY: np.full(count, "", np.str_)}


def _rows(places: Places, rows: I64) -> tuple[F64, dict[str, NDArray[Any]]]:
    attributes = {name: values[rows] for name, values in places.attributes.items()}
    return places.coordinates[rows], attributes


def _write(
    out: Path,
    batches: Iterator[tuple[F64, dict[str, NDArray[Any]]]],
    n: int,
    about: dict[str, Any],
    stage: Stages,
    metres: float | None = None,
) -> Sampled:
    """Write the batches, each point with its number."""
    advance, done = stage("drawing points"), 0
    with writing_points(out, about) as write:
        for coordinates, attributes in batches:
            order = np.arange(done, done + len(coordinates))
            write(PointSet(coordinates, order, attributes, about["sequence"]))
            done += len(coordinates)
            advance(done, n)
    return Sampled(out, done, about["sequence"], metres)
