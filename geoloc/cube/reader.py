"""Reading a cube."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from ..errors import CubeError, SpecMismatchError
from ..grid import Block, Grid
from ..stores import local_path
from .chunks import PlainChunks
from .encoding import MISSING, Quantizer
from .spec import FORMAT_VERSION, CubeSpec
from .store import (
    array_of,
    current_generation,
    open_group,
    optional_values_of,
    read_attributes,
    storage_errors,
    values_of,
)

_MOST_RECORDS = 1024  # blocks whose provenance ``info`` looks at


class Cube:
    """A generation of a feature cube, open for reading; safe to use from several threads.

    ``scale``, ``offset``: float32 ``(feature,)``. ``weights`` ``(feature,)`` and ``metric``
    ``(feature, component)`` are the model's own, or None.
    """

    def __init__(self, url: str | Path, generation: str) -> None:
        self.url, self.generation = str(url), generation
        with _fast_codecs(url):
            group = open_group(url, generation)
            self.attrs: dict[str, Any] = dict(group.attrs)
            self.spec = _parse_spec(url, self.attrs)
            with storage_errors(url):
                self._features, self._norm = array_of(group, "features"), array_of(group, "norm")
                self._chunks = PlainChunks.of(self._features, local_path(url))
                self._records = array_of(group, "provenance/record")
                self._done = array_of(group, "done")
                self.scale, self.offset = values_of(group, "scale"), values_of(group, "offset")
                names = np.asarray(array_of(group, "class_name")[:])
                self.classes: tuple[str, ...] = tuple(map(str, names))
                self.weights = optional_values_of(group, "distance_weight")
                self.metric = optional_values_of(group, "metric")

    @classmethod
    def open(cls, url: str | Path, generation: str | None = None) -> Cube:
        """The generation that CURRENT names, or another. Raises CubeError where none is."""
        name = generation or current_generation(url)
        if name is None:
            begun = "is not finished" if generation_exists(url, "g0001") else "does not exist"
            raise CubeError(f"cube {url} {begun}: run 'geoloc cube build'")
        return cls(url, name)

    @property
    def grid(self) -> Grid:
        """The lattice of cells."""
        return self.spec.grid

    @property
    def model_digest(self) -> str:
        """Digest of the model whose overhead encoder made the features."""
        return self.spec.model

    @property
    def model_name(self) -> str:
        """Name of that model."""
        return str(self.attrs["model_name"])

    @cached_property
    def done(self) -> NDArray[np.uint8]:
        """The ledger, uint8 ``(block_y, block_x)`` of Status, as it was when first asked."""
        with storage_errors(self.url):
            return np.asarray(self._done[:])

    @property
    def complete(self) -> bool:
        """Whether every block of the area is there, with all its imagery."""
        return bool(np.isin(self.done, (1, 3)).all())

    @property
    def quantizer(self) -> Quantizer:
        """Decodes the codes that ``read`` returns."""
        return Quantizer(self.scale, self.offset)

    def blocks(self) -> Iterator[Block]:
        """The blocks that hold data, row by row."""
        for row, col in np.argwhere(np.isin(self.done, (1, 2))):
            yield self.grid.block(int(row), int(col), self.spec.block_size)

    def read(self, rows: slice, cols: slice) -> NDArray[np.int8]:
        """Codes ``(y, x, feature)`` of these cells; missing cells are all MISSING (-128).

        Quickest for whole blocks.
        """
        with storage_errors(self.url):
            codes = self._chunks.read(rows, cols) if self._chunks else None
            if codes is None:
                codes = np.asarray(self._features[rows, cols])
        uncounted = self._uncounted(rows, cols)
        if uncounted is not None:
            codes[uncounted] = MISSING
        return codes

    def read_norm(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """``squared_norm`` ``(y, x)`` of the decoded vectors; NaN where missing.

        Under ``distance_operator(D, weights, metric)`` of this cube, that is with the model's
        own weights: it does not hold for weights changed at query time.
        """
        with storage_errors(self.url):
            norm = np.asarray(self._norm[rows, cols])
        uncounted = self._uncounted(rows, cols)
        if uncounted is not None:
            norm[uncounted] = np.nan
        return norm

    def vector(self, row: int, col: int) -> NDArray[np.float32] | None:
        """Feature vector ``(feature,)`` of a cell, or None where missing or outside."""
        if not (0 <= row < self.grid.ny and 0 <= col < self.grid.nx):
            return None
        codes = self.read(slice(row, row + 1), slice(col, col + 1))[0, 0]
        return None if codes[0] == MISSING else self.quantizer.decode(codes[None])[0]

    def provenance(self, block: Block) -> dict[str, Any]:
        """Items, dates and fingerprint of a block's imagery; empty where it is not done."""
        with storage_errors(self.url):
            text = str(self._records[block.row, block.col])
            return json.loads(text) if text else {}

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
        done, grid = self.done, self.grid
        records = self._records_of_some()
        dates = _dates(records)
        return {
            "cube": self.url,
            "generation": self.generation,
            "area": self.attrs["area"],
            "crs": grid.crs,
            "bounds": list(grid.bounds),
            "step": grid.step,
            "cells": grid.size,
            "classes": len(self.classes),
            "model": self.model_name,
            "model_digest": self.model_digest,
            "metric": self.metric is not None,
            "encoding": self.spec.encoding,
            "blocks_done": int((done == 1).sum()),
            "blocks_broken": int((done == 2).sum()),
            "blocks_missing": int((done == 0).sum()),
            "blocks_outside": int((done == 3).sum()),
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

    def _uncounted(self, rows: slice, cols: slice) -> NDArray[np.bool_] | None:
        """Cells of blocks that the ledger does not name: whatever lies there does not count."""
        if self.done.all():
            return None
        side, grid = self.spec.block_size, self.grid
        y = np.arange(*rows.indices(grid.ny)) // side
        x = np.arange(*cols.indices(grid.nx)) // side
        mask: NDArray[np.bool_] = self.done[np.ix_(y, x)] == 0
        return mask


def _dates(records: list[dict[str, Any]]) -> list[str]:
    return sorted({i["date"] for r in records for i in r.get("items", ()) if i.get("date")})


def generation_exists(url: str | Path, generation: str) -> bool:
    """Whether a generation was laid out completely (not whether its blocks are done)."""
    return "spec_digest" in (read_attributes(url, generation) or {})


def stored_spec(url: str | Path, generation: str) -> CubeSpec:
    """What a generation was made from."""
    return _parse_spec(url, dict(open_group(url, generation).attrs))


def stored_encoding(url: str | Path, generation: str) -> dict[str, Any] | None:
    """What the encoder of a generation said of itself, or None where there is no generation."""
    if not generation_exists(url, generation):
        return None
    return stored_spec(url, generation).encoding


def _parse_spec(url: str | Path, attrs: dict[str, Any]) -> CubeSpec:
    version = attrs.get("geoloc_cube")
    if not isinstance(version, int):
        raise CubeError(f"{url} is not a feature cube of geoloc")
    if version > FORMAT_VERSION:
        raise CubeError(
            f"cube {url} has format {version}, this geoloc reads up to {FORMAT_VERSION}: "
            "install a newer geoloc"
        )
    try:
        return CubeSpec.model_validate(attrs.get("spec"))
    except ValidationError as error:
        what = error.errors()[0]
        where = ".".join(map(str, what["loc"])) or "spec"
        raise CubeError(f"cube {url} is damaged: {where}: {what['msg']}") from error


@contextlib.contextmanager
def _fast_codecs(url: str | Path) -> Iterator[None]:
    """Read local cubes through zarrs where it is installed: 1.4 times as many cells a second."""
    if local_path(url) is None or importlib.util.find_spec("zarrs") is None:
        yield
        return
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        yield
