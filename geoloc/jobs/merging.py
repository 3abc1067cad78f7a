"""Makes one cube of several cubes of points: of two extracts, or of two machines.

Vectors of one model under one encoding compare with each other wherever they were made, so they
are taken over as they are stored; only where their codes differ they are stored in a common one.
Points that lie exactly where one of an earlier cube lies are dropped, unless only the later one
has a vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, I64, Bools
from ..cube import (
    FIRST_GENERATION,
    BlockWriter,
    Cube,
    CubeSpec,
    ItemRecord,
    Ledger,
    Provenance,
    Status,
    create_generation,
    create_root,
    current_generation,
    finish_generation,
    generation_exists,
    hold_lock,
    plan_blocks,
    stored_spec,
)
from ..domain import Chunk, Points
from ..errors import CubeError, SpecMismatchError, UsageError
from ..models import MISSING, FeatureSpace, Quantizer
from ..models.quantizer import CODE_LIMIT
from .points import ORDER

_MOST_LAYERS = 8  # of imagery that a specification may name
_FILLED: dict[str, Any] = {"i": -1, "u": 0, "f": np.nan, "b": False}


@dataclass(frozen=True)
class MergeReport:
    """What came together: points in all, of each cube, and how many were dropped as copies."""

    url: str
    points: int
    of: tuple[int, ...]
    dropped: int

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def summary(self) -> str:
        """For people, one line."""
        each = " + ".join(f"{count:,}" for count in self.of)
        return (
            f"{self.url}: {self.points:,} points ({each}, of which {self.dropped:,} lay where "
            "others do); to ask it, and to draw borders and places, name it in an area file: "
            f"cube: {self.url}"
        )


@dataclass(frozen=True, eq=False)
class _Origin:
    """Of each point, in which cube ``(point,)`` and where in it ``(point,)`` its vector is."""

    cube: NDArray[np.intp]
    index: I64


def merge_cubes(urls: Sequence[str], out: str) -> MergeReport:
    """Write the points of several cubes into one new cube at ``out``.

    Raises UsageError for fewer than two cubes, CubeError where one is not of points or not
    complete, or where a cube lies at ``out`` already; SpecMismatchError, naming what differs,
    where their vectors are not comparable.
    """
    if len(urls) < 2:
        raise UsageError("merging takes two cubes of points or more")
    cubes = [_opened(url) for url in urls]
    for other in cubes[1:]:
        _require_comparable(cubes[0], other)
    points, origin = _points_of(cubes)
    spec = _spec_of(cubes, points)
    create_root(out)
    space = cubes[0].features.with_code(code_of(cubes))
    with hold_lock(out, "points merge"):
        if current_generation(out) is not None:
            raise CubeError(f"cube {out} already exists: choose another place for the merged one")
        if generation_exists(out, FIRST_GENERATION):
            _require_own_remains(out, spec)
        _lay_out(out, cubes, spec, space, points)
        dates = _write(out, cubes, points, origin)
        finish_generation(out, FIRST_GENERATION, dates)
    sizes = tuple(cube.domain.size for cube in cubes)
    return MergeReport(out, points.size, sizes, sum(sizes) - points.size)


def _opened(url: str) -> Cube:
    cube = Cube.open(url)
    if cube.spec.domain.kind != "points":
        raise CubeError(f"cube {url} holds a grid of cells: only cubes of points are merged")
    if not cube.complete:
        raise CubeError(f"cube {url} is not complete: 'geoloc points build' completes it")
    return cube


def _require_comparable(one: Cube, other: Cube) -> None:
    facts: list[dict[str, Any]] = [
        {
            "model": cube.model_digest,
            "encoding": cube.spec.encoding,
            "crs": cube.domain.crs,
            "block_size": cube.spec.block_size,
        }
        for cube in (one, other)
    ]
    a, b = facts
    different = [key for key in a if a[key] != b[key]]
    if not different:
        return
    key = different[0]
    words = [f"{v[key][:12]}" if key == "model" else f"{v[key]}" for v in (a, b)]
    raise SpecMismatchError(
        f"cubes {one.url} and {other.url} cannot be merged, their {key} differs "
        f"({words[0][:150]}, and {words[1][:150]}): build both with the same model and method"
    )


def _points_of(cubes: Sequence[Cube]) -> tuple[Points, _Origin]:
    """All points, those of each cube in its order behind the others', and where they are from."""
    every = [cube.points for cube in cubes]
    parts = [points for points in every if points is not None]
    xy = np.concatenate([points.coordinates for points in parts])
    number = np.repeat(np.arange(len(parts)), [points.size for points in parts])
    index = np.concatenate([np.arange(points.size) for points in parts])
    known = np.concatenate([_known(cube) for cube in cubes])
    _, group = np.unique(xy, axis=0, return_inverse=True)
    group = group.reshape(-1)
    # of each group its first point stays, with the vector of the first that has one
    ranked = np.lexsort((np.arange(len(xy)), ~known, group))
    first_place, first_known = (
        order[np.unique(group[order], return_index=True)[1]]
        for order in (np.argsort(group, kind="stable"), ranked)
    )
    kept = np.argsort(first_place, kind="stable")
    places, vectors = first_place[kept], first_known[kept]
    same = len({points.sequence for points in parts}) == 1 and bool(parts[0].sequence)
    attributes = _attributes(parts, continued=not same)
    points = Points(
        parts[0].crs,
        xy[places],
        {name: values[places] for name, values in attributes.items()},
        parts[0].sequence if same else "",
    )
    return points, _Origin(number[vectors], index[vectors])


def _known(cube: Cube) -> Bools:
    """Which points have a vector."""
    known = np.zeros(cube.domain.size, np.bool_)
    for chunk in cube.domain.chunks(size=cube.spec.block_size):
        known[chunk.slices] = cube.read(*chunk.slices)[:, 0] != MISSING
    return known


def _attributes(parts: Sequence[Points], *, continued: bool) -> dict[str, NDArray[Any]]:
    """Those of all points, filled up where a cube has none of a name.

    ``continued``: of different sequences, whose numbers go on from one cube to the next.
    """
    names = dict.fromkeys(name for points in parts for name in points.attributes)
    merged: dict[str, NDArray[Any]] = {}
    for name in names:
        example = next(p.attributes[name] for p in parts if name in p.attributes)
        fill = _FILLED.get(example.dtype.kind, "")
        values = [p.attributes.get(name, np.full(p.size, fill, example.dtype)) for p in parts]
        merged[name] = np.concatenate(values)
    if continued and ORDER in merged:
        ends = np.cumsum([0, *(p.attributes[ORDER].max() + 1 for p in parts[:-1])])
        merged[ORDER] = merged[ORDER] + np.repeat(ends, [points.size for points in parts])
    return merged


def _spec_of(cubes: Sequence[Cube], points: Points) -> CubeSpec:
    first = cubes[0].spec
    polygons = {cube.spec.polygon for cube in cubes}
    return CubeSpec.of(
        points,
        polygon=polygons.pop() if len(polygons) == 1 else None,
        imagery=_imagery_of(cubes),
        model=first.model,
        encoding=first.encoding,
        block_size=first.block_size,
    )


def _imagery_of(cubes: Sequence[Cube]) -> dict[str, Any]:
    """That of all cubes; of several, as sources that stand in for each other."""
    layers: list[dict[str, Any]] = []
    for cube in cubes:
        imagery = cube.spec.imagery
        for layer in imagery.get("layers", [imagery]):
            if layer not in layers:
                layers.append(layer)
    if len(layers) == 1:
        return layers[0]
    kind = "layers" if len(layers) <= _MOST_LAYERS else "merged"
    return {"kind": kind, "layers": layers}


def _require_own_remains(out: str, spec: CubeSpec) -> None:
    if stored_spec(out, FIRST_GENERATION) != spec:
        raise CubeError(f"another cube was begun at {out}: choose another place for the merged one")


def code_of(cubes: Sequence[Cube]) -> Quantizer:
    """The code of all cubes; where a model brings none and each has chosen its own, one that has
    room for the values of all, in which they are stored anew."""
    codes = [cube.features.stored_code for cube in cubes]
    scales, offsets = ([getattr(code, name) for code in codes] for name in ("scale", "offset"))
    if all(np.array_equal(v, values[0]) for values in (scales, offsets) for v in values):
        return codes[0]
    ends = [
        o + sign * CODE_LIMIT * s for s, o in zip(scales, offsets, strict=True) for sign in (-1, 1)
    ]
    return Quantizer.of_range(float(np.min(ends)), float(np.max(ends)))


def _lay_out(
    out: str, cubes: Sequence[Cube], spec: CubeSpec, space: FeatureSpace, points: Points
) -> None:
    names = dict.fromkeys(str(cube.attrs["area"]) for cube in cubes)
    create_generation(
        out,
        FIRST_GENERATION,
        spec,
        space,
        plan_blocks(points, None, spec.block_size),
        model_name=cubes[0].model_name,
        area=" + ".join(names)[:100],
        points=points,
    )


def _write(out: str, cubes: Sequence[Cube], points: Points, origin: _Origin) -> set[str]:
    """Write all blocks; the dates of the images that they were made from."""
    writer, ledger = BlockWriter(out, FIRST_GENERATION), Ledger(out, FIRST_GENERATION)
    dates: set[str] = set()
    for block in points.chunks(size=cubes[0].spec.block_size):
        features, provenance = _gathered(cubes, origin, block)
        written = writer.write(block, features)
        facts = {"digests": written.digests, "saturated": written.saturated}
        provenance = provenance.model_copy(update=facts)
        check = writer.record(block, provenance)
        ledger.mark(block.index, Status.DONE, provenance.fingerprint, (*written.checks, check))
        dates |= {item.date for item in provenance.items if item.date}
    return dates


def _gathered(cubes: Sequence[Cube], origin: _Origin, block: Chunk) -> tuple[F32, Provenance]:
    """Vectors ``(point, feature)`` of a block, and what they were made from."""
    cube_of, index_of = origin.cube[block.slices], origin.index[block.slices]
    features = np.full((len(cube_of), cubes[0].features.dim), np.nan, np.float32)
    sources: list[Provenance] = []
    for number, cube in enumerate(cubes):
        here = np.flatnonzero(cube_of == number)
        if not len(here):
            continue
        wanted = index_of[here]
        for place, slices in _spans(wanted, cube.spec.block_size):
            codes = cube.read(slices)[wanted[place] - slices.start]
            features[here[place]] = cube.features.decode(codes)
        sources += _provenances(cube, wanted)
    missing = int(np.isnan(features[:, 0]).sum())
    items = dict.fromkeys(item for source in sources for item in source.items)
    notes = dict.fromkeys(note for source in sources for note in source.notes)
    return features, Provenance(
        fingerprint=_fingerprint(sources),
        items=tuple(items),
        missing=missing,
        notes=tuple(notes),
    )


def _spans(wanted: I64, size: int) -> Iterator[tuple[NDArray[np.intp], slice]]:
    """Which of the points ``wanted`` lie in each block of a cube, and the block."""
    blocks = wanted // size
    for number in np.unique(blocks).tolist():
        yield np.flatnonzero(blocks == number), slice(number * size, (number + 1) * size)


def _provenances(cube: Cube, wanted: I64) -> list[Provenance]:
    size = cube.spec.block_size
    records = [
        cube.provenance(cube.domain.chunk(number, size=size))
        for number in np.unique(wanted // size).tolist()
    ]
    return [
        Provenance(
            fingerprint=record["fingerprint"],
            items=tuple(ItemRecord.model_validate(item) for item in record.get("items", ())),
            notes=tuple(record.get("notes", ())),
        )
        for record in records
        if record
    ]


def _fingerprint(sources: Sequence[Provenance]) -> str:
    """Of the blocks that one is made of; that of its only one, so that a refresh knows it."""
    if len(sources) == 1:
        return sources[0].fingerprint
    return hashlib.sha256(" ".join(source.fingerprint for source in sources).encode()).hexdigest()
