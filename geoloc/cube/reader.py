"""Reading a cube."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from ..arrays import F32, U8, Bools
from ..domain import Chunk, Domain, Grid, Index, Points, Status
from ..errors import CubeError, SpecMismatchError
from ..models import MISSING, FeatureSpace, Quantizer
from ..stores import local_path
from .checks import NOTHING, PARTS
from .chunks import PlainChunks
from .guard import BlockGuard
from .readers import mark_read
from .seal import document_of, name_array, require_contents, require_layout, require_seal
from .spec import FORMAT_VERSION, CubeSpec, PointsSpec
from .store import (
    absent,
    array_of,
    current_generation,
    generation_errors,
    generation_names,
    open_group,
    optional_values_of,
    read_attributes,
    require_there,
    storage_errors,
)

ATTRIBUTES = "attributes"
"""The group of what is known of each point besides where it is."""

_MOST_RECORDS = 1024  # blocks whose provenance ``info`` looks at


class Cube:
    """A generation of a feature cube, open for reading; safe to use from several threads.

    ``features``: what its vectors mean, from the model that made them.
    """

    def __init__(self, url: str | Path, generation: str, *, check_digests: bool = False) -> None:
        self.url, self.generation, self.check_digests = str(url), generation, check_digests
        group, self.spec = open_generation(url, generation)
        self.attrs: dict[str, Any] = dict(group.attrs)
        with generation_errors(url, generation):
            self._codes, self._norm = array_of(group, "features"), array_of(group, "norm")
            root = local_path(url)
            dims = self._norm.ndim
            self._chunks = PlainChunks.of(self._codes, dims, root)
            self._norms = PlainChunks.of(self._norm, dims, root)
            self._guard = BlockGuard(self.url, generation, group, digests=check_digests)
            self.features = feature_space_of(group)
            self.domain = domain_of(group, self.spec)

    @classmethod
    def open(
        cls, url: str | Path, generation: str | None = None, *, check_digests: bool = False
    ) -> Cube:
        """The generation that CURRENT names, or another. Raises CubeError where none is.

        ``check_digests``: compare the sha256 of each block that is read too, 2 GB/s a core,
        beside the checksum that is always compared.
        """
        name = generation or current_generation(url)
        if name is None:
            raise CubeError(_not_finished(url))
        cube = cls(url, name, check_digests=check_digests)
        cube.mark_read()
        return cube

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent elsewhere is how to open it, whatever folder the other process runs in."""
        path = local_path(self.url)
        url = self.url if path is None else str(path.absolute())
        return partial(Cube, check_digests=self.check_digests), (url, self.generation)

    def seen_by(self, features: FeatureSpace) -> Cube:
        """The same cube, its vectors named and compared as a model does that has the same ones.

        Its code stays, and its norms where that model measures the same distance. Raises
        SpecMismatchError for vectors of another length.
        """
        if features.dim != self.features.dim:
            raise SpecMismatchError(
                f"cube {self.url} has vectors of {self.features.dim} values, not {features.dim}"
            )
        own, other = self.features.distance(), features.distance()
        holds = own.own and np.array_equal(own.operator, other.operator)
        seen = copy.copy(self)
        seen.features = replace(features, code=self.features.stored_code, norms_stored=holds)
        return seen

    def mark_read(self) -> None:
        """Leave word that this generation is being read, for `prune_generations` to spare it."""
        mark_read(self.url, self.generation)

    @property
    def grid(self) -> Grid:
        """The lattice of cells. Raises CubeError where this is a cube of points."""
        return self.spec.grid

    def attributes(self, index: Sequence[int] | None = None) -> dict[str, NDArray[Any]]:
        """What is known of points besides where they are: arrays by name, of all points or of
        some by their ``index``; empty of a grid. Raises CubeError where it is damaged."""
        with generation_errors(self.url, self.generation):
            group = open_group(self.url, self.generation)
            if ATTRIBUTES not in group:
                return {}
            arrays = [array for _, array in group.require_group(ATTRIBUTES).arrays()]
            wanted: Any = slice(None) if index is None else np.asarray(index, np.int64)
            return {
                str(array.attrs["name"]): _plain(np.asarray(array.oindex[wanted]))
                for array in arrays
            }

    @property
    def points(self) -> Points | None:
        """The points of a cube of such, with their attributes; None of a grid."""
        domain, spec = self.domain, self.spec.domain
        if not isinstance(domain, Points) or not isinstance(spec, PointsSpec):
            return None
        return Points(domain.crs, domain.coordinates, self.attributes(), spec.sequence)

    @property
    def model_digest(self) -> str:
        """Digest of the model whose overhead encoder made the features."""
        return self.spec.model

    @property
    def model_name(self) -> str:
        """Name of that model."""
        return str(self.attrs["model_name"])

    @property
    def chunk_status(self) -> U8:
        """The ledger, uint8 of Status in the blocks' grid, as it was when first asked."""
        return self._guard.status

    @property
    def complete(self) -> bool:
        """Whether every block of the area is there, with all its imagery."""
        return bool(np.isin(self.chunk_status, (Status.DONE, Status.OUTSIDE)).all())

    def blocks(self) -> Iterator[Chunk]:
        """The blocks that hold data, in row-major order."""
        for index in np.argwhere(np.isin(self.chunk_status, (Status.DONE, Status.BROKEN))).tolist():
            yield self.domain.chunk(*index, size=self.spec.block_size)

    def read(self, *cells: slice) -> NDArray[np.int8]:
        """Codes ``(*cells, feature)`` of the cells in a slice of each of the domain's dimensions;
        missing cells are all MISSING (-128).

        Quickest for whole blocks. Raises CubeError, naming it, where a block is not what was
        written: the checksum of each is compared when it is first read.
        """
        with generation_errors(self.url, self.generation):
            if self._chunks and _forward(cells):
                return self._chunks.read(cells, self._guard.of("features", self._chunks))
            codes = np.asarray(self._codes[cells])
            if (codes[..., 0] == MISSING).any():  # zarr takes a chunk that is not there for that
                require_there(self.url, self.generation)
        uncounted = self._uncounted(cells)
        if uncounted is not None:
            codes[uncounted] = MISSING
        return codes

    def read_norm(self, *cells: slice) -> F32:
        """`Distance.squared_norm` of the decoded vectors of these cells; NaN where missing.

        Under the distance of the model that made the cube: it does not hold for weights changed at
        query time, nor for another model that the cube is `seen_by`.
        """
        with generation_errors(self.url, self.generation):
            if self._norms and _forward(cells):
                return self._norms.read(cells, self._guard.of("norm", self._norms))
            norm = np.asarray(self._norm[cells])
            if np.isnan(norm).any():
                require_there(self.url, self.generation)
        uncounted = self._uncounted(cells)
        if uncounted is not None:
            norm[uncounted] = np.nan
        return norm

    def vector(self, *cell: int) -> F32 | None:
        """Feature vector ``(feature,)`` of a cell, or None where missing or outside."""
        if not all(0 <= i < count for i, count in zip(cell, self.domain.shape, strict=True)):
            return None
        codes = self.read(*(slice(i, i + 1) for i in cell)).reshape(1, -1)
        return None if codes[0, 0] == MISSING else self.features.decode(codes)[0]

    def provenance(self, block: Chunk) -> dict[str, Any]:
        """Items, dates and fingerprint of a block's imagery; empty where it is not done.

        Raises CubeError where it is damaged.
        """
        with generation_errors(self.url, self.generation):
            return self._guard.record(block.index)

    def inspect(self, block: Chunk) -> tuple[str | None, int]:
        """What is wrong with a stored block, or None, and how many bytes were read to tell."""
        place, size = block.index, 0
        with storage_errors(self.url):
            for part, chunks in enumerate((self._chunks, self._norms)):
                raw = None if chunks is None else chunks.raw(place)
                size += 0 if raw is None else raw.content.size
                why = chunks and self._guard.fault(part, place, raw, chunks.nbytes)
                if why:
                    return f"its {PARTS[part]} chunk {why}", size
        why = self._guard.record_fault(place)
        return (f"its {PARTS[2]} {why}" if why else None), size

    def may_hold(self, part: int, place: Index, size: int | None) -> bool:
        """Whether a stored part of a block may be sound by its size, None for not there."""
        chunks = (self._chunks, self._norms, None)[part]
        recorded = self._guard.recorded(part, place)
        if size is None:
            return recorded == NOTHING
        return recorded != NOTHING and (chunks is None or size == chunks.nbytes)

    def require_model(self, name: str, digest: str) -> None:
        """Raises SpecMismatchError where another model made this cube."""
        if digest != self.model_digest:
            raise SpecMismatchError(
                f"cube {self.url} was built by model {self.model_name} "
                f"({self.model_digest[:12]}), not by {name} ({digest[:12]}): query it with the "
                "former, or build a cube with the latter"
            )

    def info(self) -> dict[str, Any]:
        """Facts for people: area, model, imagery dates, how complete it is."""
        domain = self.domain
        records = self._records_of_some()
        dates = _dates(records)
        return {
            "cube": self.url,
            "generation": self.generation,
            "area": self.attrs["area"],
            "crs": domain.crs,
            "bounds": list(domain.bounds),
            "step": domain.step if isinstance(domain, Grid) else None,
            "cells": domain.size,
            "classes": len(self.features.names),
            "model": self.model_name,
            "model_digest": self.model_digest,
            "metric": self.features.metric is not None,
            "encoding": self.spec.encoding,
            **{
                f"blocks_{status.name.lower()}": int((self.chunk_status == status).sum())
                for status in (Status.DONE, Status.BROKEN, Status.MISSING, Status.OUTSIDE)
            },
            "missing_cells": sum(r.get("missing", 0) for r in records),
            "saturated_values": sum(r.get("saturated", 0) for r in records),
            "imagery_first": dates[0] if dates else None,
            "imagery_last": dates[-1] if dates else None,
            "created": self.attrs["created"],
        }

    def imagery_dates(self) -> list[str]:
        """Dates of the images under (at most _MOST_RECORDS) blocks, oldest first."""
        return _dates(self._records_of_some())

    def _records_of_some(self) -> list[dict[str, Any]]:
        blocks = list(self.blocks())
        step = max(1, len(blocks) // _MOST_RECORDS)
        return [self.provenance(block) for block in blocks[::step]]

    def _uncounted(self, cells: tuple[slice, ...]) -> Bools | None:
        """Cells of blocks that the ledger does not name: whatever lies there does not count."""
        if self.chunk_status.all():
            return None
        spans = zip(cells, self.domain.shape, strict=True)
        blocks = [np.arange(*part.indices(n)) // self.spec.block_size for part, n in spans]
        mask: Bools = self.chunk_status[np.ix_(*blocks)] == Status.MISSING
        return mask


def feature_space_of(group: zarr.Group) -> FeatureSpace:
    """What a generation says of its vectors."""
    return FeatureSpace(
        names=tuple(map(str, np.asarray(array_of(group, name_array(group))[:]))),
        code=_code_of(group),
        weights=optional_values_of(group, "distance_weight"),
        metric=optional_values_of(group, "metric"),
        readout=optional_values_of(group, "readout"),
    )


def domain_of(group: zarr.Group, spec: CubeSpec) -> Domain:
    """Where a generation's vectors are. Raises ValueError for other points than were written."""
    if spec.domain.kind == "grid":
        return spec.grid
    axes = (np.asarray(array_of(group, axis)[:], np.float64) for axis in ("x", "y"))
    points = Points(spec.domain.crs, np.stack([*axes], axis=1))
    if points.digest != spec.domain.digest:
        raise ValueError("its points are not those that it was made for")
    return points


def _code_of(group: zarr.Group) -> Quantizer:
    attributes = array_of(group, "features").attrs
    pair: list[Any] = [attributes[name] for name in ("scale_factor", "add_offset")]
    return Quantizer(*(np.asarray(part, np.float32) for part in pair))


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers as they are, text as NumPy's."""
    return values if values.dtype.kind in "biuf" else np.array(values.tolist(), dtype=np.str_)


def _dates(records: list[dict[str, Any]]) -> list[str]:
    return sorted({i["date"] for r in records for i in r.get("items", ()) if i.get("date")})


def _forward(cells: tuple[slice, ...]) -> bool:
    return all(part.step is None or part.step > 0 for part in cells)


def _not_finished(url: str | Path) -> str:
    names = [name for name in generation_names(url) if generation_exists(url, name)]
    if any((read_attributes(url, name) or {}).get("finished") for name in names):
        return (
            f"cube {url} has lost its CURRENT, the name of the generation that readers open: "
            f"'geoloc cube repair {url}' writes it anew"
        )
    begun = "is not finished" if names else "does not exist"
    return f"cube {url} {begun}: run {how_to_build(url)}"


def how_to_build(url: str | Path) -> str:
    """The command that builds or completes a cube, by what was begun of it."""
    for name in generation_names(url):
        with contextlib.suppress(CubeError):  # a damaged one tells nothing
            points = stored_spec(url, name).domain.kind == "points"
            return "'geoloc points build'" if points else "'geoloc cube build'"
    return "'geoloc cube build', or of points 'geoloc points build'"


def open_generation(
    url: str | Path, generation: str, mode: str = "r"
) -> tuple[zarr.Group, CubeSpec]:
    """A generation whose metadata and small arrays are what was written, and its specification.

    Raises CubeError where they are not, naming what is damaged, before anything is decoded.
    """
    spec = stored_spec(url, generation)
    with generation_errors(url, generation):
        group = open_group(url, generation, mode)
        require_layout(url, generation, group, spec)
        require_contents(url, generation, group)
    return group, spec


def generation_exists(url: str | Path, generation: str) -> bool:
    """Whether a generation was laid out completely (not whether its blocks are done)."""
    return "spec_digest" in (read_attributes(url, generation) or {})


def stored_spec(url: str | Path, generation: str) -> CubeSpec:
    """What a generation was made from."""
    return _sound_attributes(url, generation)[1]


def _sound_attributes(url: str | Path, generation: str) -> tuple[dict[str, Any], CubeSpec]:
    document = document_of(url, generation)
    if document is None:
        raise CubeError(absent(url, generation))
    spec = _parse_spec(url, document["attributes"])
    require_seal(url, generation, document)
    return document["attributes"], spec


def stored_attributes(url: str | Path, generation: str) -> dict[str, Any]:
    """The attributes of a generation whose metadata is sound; see `stored_spec`."""
    return _sound_attributes(url, generation)[0]


def stored_encoding(url: str | Path, generation: str) -> dict[str, Any] | None:
    """What the encoder of a generation said of itself, or None where there is no generation."""
    if not generation_exists(url, generation):
        return None
    return stored_spec(url, generation).encoding


def _parse_spec(url: str | Path, attrs: dict[str, Any]) -> CubeSpec:
    version = attrs.get("geoloc_cube")
    if not isinstance(version, int):
        raise CubeError(f"{url} is not a feature cube of geoloc")
    if version != FORMAT_VERSION:
        newer = version > FORMAT_VERSION
        raise CubeError(
            f"cube {url} has format {version}, this geoloc reads {'up to ' * newer}"
            f"{FORMAT_VERSION}: {'install a newer geoloc' if newer else 'build it again'}"
        )
    try:
        return CubeSpec.model_validate(attrs.get("spec"))
    except ValidationError as error:
        what = error.errors()[0]
        where = ".".join(map(str, what["loc"])) or "spec"
        raise CubeError(f"cube {url} is damaged: {where}: {what['msg']}") from error
