"""Imagery windows -> feature vectors of cells: methods ``patch`` and ``dense``.

``patch`` runs every cell's window separately: the definition. ``dense`` runs the trunk once over
tiles and pools in a sliding window; for a network trained that way it is the same function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ..arrays import F32, I64, U8, Bools
from ..domain import Grid
from ..errors import ModelError, UsageError
from ..models.model import Model
from ..models.spec import DenseSpec, OverheadSpec
from ..pulse import tell
from . import lattice
from .formats.networks import SplitNetwork, build_dense, dense_features, dense_forward, load_weights
from .lattice import MIN_VALID, Reading, Sampling
from .memory import BatchSize, fits, halved
from .preprocess import fill_missing, to_input
from .runtime import Engine, Network, Precision, check_output, open_engine, open_network

EXACT_HALO_PX = 320
"""Receptive fields up to this reach are covered in full: blocks then agree exactly."""

COMMON_HALO_PX = 128
"""Margin for receptive fields too wide for a tile (such as DenseNet's)."""

TILE_PX = 2560
"""Largest side of a trunk's input, which bounds memory. A block of 128 cells at stride 16 with its
halo just fits; smaller tiles would compute more halo than tile."""

_BATCH_PX = {"cpu": 8 * 224 * 224, "cuda": 128 * 224 * 224}
"""Pixels per batch of patches. On a CPU more is slower, as features exceed the caches."""


class OverheadEncoder:
    """A model's overhead network with one encoding method; made by ``open_overhead``."""

    method = ""

    def __init__(
        self, model: Model, engine: Engine, step: float | None, sampling: Sampling
    ) -> None:
        self.model = model
        self.spec = _overhead(model)
        self.dim = model.dim
        self.step = step
        self.gsd = sampling.gsd
        self._every = sampling.every
        self._engine = engine

    def window(self, cells: Grid) -> Grid:
        """The pixels that ``encode`` needs for these cells, at ``gsd`` m per px."""
        raise NotImplementedError

    def encode(self, pixels: U8, valid: Bools, window: Grid, cells: Grid) -> F32:
        """Vectors ``(y, x, feature)`` of the cells; NaN where there is too little imagery.

        ``pixels`` RGB (3, H, W) and ``valid`` (H, W) are on ``window``, which must be
        ``self.window(cells)``. A cell's vector does not depend on the other cells.
        """
        self._check(pixels, valid, window, cells)
        filled = fill_missing(pixels, valid, self.spec)
        return self._encode(self._engine.upload(filled), valid, cells)

    def encode_alone(self, pixels: U8, valid: Bools) -> F32:
        """Vectors ``(n, feature)`` of cells each of which has a window of its own.

        ``pixels`` RGB (n, 3, H, W) and ``valid`` (n, H, W) are of the size of the window of one
        cell, which is at its middle. NaN where there is too little imagery.
        """
        side = self._alone_px
        if pixels.shape[1:] != (3, side, side) or valid.shape != (len(pixels), side, side):
            raise UsageError(
                f"pixels {pixels.shape} are not windows of single cells: (n, 3, {side}, {side})"
            )
        at = np.array([(side - self._seen_px) // 2])
        vectors = np.full((len(pixels), self.dim), np.nan, dtype=np.float32)
        there = [i for i, one in enumerate(valid) if _seen(one, at, at, self._seen_px)[0, 0]]
        done = 0
        for part in _parts(there, self._alone_batch):
            # a full batch always: kernels for fewer windows differ in the last bits
            full = part + part[-1:] * (self._alone_batch - len(part))
            filled = np.stack([fill_missing(pixels[i], valid[i], self.spec) for i in full])
            vectors[part] = self._encode_alone(filled)[: len(part)]
            done += len(part)
            tell(done / len(there))
        return vectors

    @property
    def _alone_px(self) -> int:
        """The side of the window of one cell."""
        raise NotImplementedError

    @property
    def _seen_px(self) -> int:
        """The side of the part of it most of which must be imagery."""
        raise NotImplementedError

    @property
    def _alone_batch(self) -> int:
        """How many windows are uploaded at once."""
        raise NotImplementedError

    def _encode_alone(self, windows: U8) -> F32:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What determines the vectors besides the model's digest (JSON types)."""
        return {
            "method": self.method,
            "gsd": self.gsd,
            "patch_px": self.spec.patch_px,
            "precision": self._engine.precision,
        }

    def _encode(self, pixels: Tensor, valid: Bools, cells: Grid) -> F32:
        raise NotImplementedError

    def _check(self, pixels: U8, valid: Bools, window: Grid, cells: Grid) -> None:
        wanted = self.window(cells)
        close = np.allclose(window.bounds, wanted.bounds, rtol=0, atol=self.gsd / 1000)
        if pixels.shape != (3, *wanted.shape) or valid.shape != wanted.shape or not close:
            raise UsageError(
                f"pixels {pixels.shape} at {window.bounds} are not the window that these cells "
                f"need, {wanted.shape} at {wanted.bounds}: read encoder.window(cells)"
            )


class PatchEncoder(OverheadEncoder):
    """Every cell's window separately through the network.

    For a dense-native model it computes the function that was trained (``dense_forward``), and so
    is the reference for the dense method.
    """

    method = "patch"

    def __init__(
        self, model: Model, network: Network, engine: Engine, step: float | None, sampling: Sampling
    ) -> None:
        super().__init__(model, engine, step, sampling)
        self._network = network
        self._batch = BatchSize(max(1, _BATCH_PX[engine.device.type] // self.spec.patch_px**2))

    def window(self, cells: Grid) -> Grid:
        """The pixels of all patches; centres are exact if the step is a whole number of pixels."""
        side, every = self.spec.patch_px, self._every
        return Reading(self.gsd, every or 1, side, "cells" if every else "nearest").window(cells)

    def encode_patches(self, patches: U8) -> F32:
        """RGB patches ``(n, 3, P, P)`` -> vectors ``(n, feature)``, in bounded batches."""
        side = self.spec.patch_px
        if patches.shape[1:] != (3, side, side):
            raise UsageError(f"patches {patches.shape}: the model takes (n, 3, {side}, {side})")
        return self._in_batches(patches)

    def encode_scenes(self, images: U8) -> F32:
        """Images ``(n, 3, S, S)`` of one scene each, of the model's scene size."""
        side = self.spec.image_px
        if images.shape[1:] != (3, side, side):
            raise UsageError(f"images {images.shape}: the model takes (n, 3, {side}, {side})")
        return self._in_batches(images)

    def describe(self) -> dict[str, Any]:
        """Adds the alignment of patch centres with cell centres."""
        alignment = "exact" if self._every else "nearest pixel"
        return {**super().describe(), "alignment": alignment}

    def _in_batches(self, images: U8) -> F32:
        vectors = np.empty((len(images), self.dim), dtype=np.float32)

        def encode(part: slice) -> None:
            vectors[part] = self._run(self._engine.upload(images[part]))

        self._batch.run(len(images), encode, self._one)
        return vectors

    def _encode(self, pixels: Tensor, valid: Bools, cells: Grid) -> F32:
        side = self.spec.patch_px
        rows, cols = self._starts(cells)
        seen = _seen(valid, rows, cols, side)
        vectors = np.full((*cells.shape, self.dim), np.nan, dtype=np.float32)
        windows = pixels.unfold(1, side, 1).unfold(2, side, 1)  # a view: nothing is copied
        at = np.argwhere(seen)

        def encode(part: slice) -> None:
            i, j = at[part].T
            vectors[i, j] = self._run(windows[:, rows[i], cols[j]].transpose(0, 1))

        self._batch.run(len(at), encode, self._one)
        return vectors

    @property
    def _alone_px(self) -> int:
        return self.spec.patch_px

    @property
    def _seen_px(self) -> int:
        return self.spec.patch_px

    @property
    def _alone_batch(self) -> int:
        return self._batch.items

    def _encode_alone(self, windows: U8) -> F32:
        return self.encode_patches(windows)

    def _starts(self, cells: Grid) -> tuple[I64, I64]:
        if self._every is None:
            return lattice.starts_nearest(cells, self.gsd, self.spec.patch_px)
        return np.arange(cells.ny) * self._every, np.arange(cells.nx) * self._every

    @property
    def _one(self) -> str:
        return f"model {self.model.name}: a patch of {self.spec.patch_px} px"

    def _run(self, patches: Tensor) -> F32:
        y = self._engine.run(self._network, to_input(patches, self.spec))
        check_output(y, len(patches), self.dim, f"overhead network of model {self.model.name}")
        return y.cpu().numpy()


class DenseEncoder(OverheadEncoder):
    """The trunk once over each tile, features averaged in a sliding window, the head per node.

    Tiles overlap by a halo of real imagery, so a vector does not depend on how tiles and blocks are
    cut: exactly if the halo covers the receptive field, otherwise up to the faint influence of zero
    padding more than ``halo_px`` away (``fidelity`` measures it).
    """

    method = "dense"

    def __init__(
        self,
        model: Model,
        network: SplitNetwork,
        engine: Engine,
        step: float | None,
        sampling: Sampling,
    ) -> None:
        super().__init__(model, engine, step, sampling)
        self.dense = cast(DenseSpec, self.spec.dense)
        self.halo_px = halo_of(self.spec, network)
        self._network = network
        self._node_px = sampling.every or self.dense.stride
        largest = min(TILE_PX, network.tile_px or TILE_PX)
        useful = largest - self.dense.pool_px - 2 * self.halo_px
        side = self.dense.pool_px + 2 * self.halo_px
        placing: Literal["cells", "between"] = "cells" if sampling.every else "between"
        self._reading = Reading(self.gsd, self._node_px, side, placing)
        self._most_nodes = max(useful // self._node_px, 0) + 1  # along a side of a tile

    def window(self, cells: Grid) -> Grid:
        """The pixels of all pooling windows and the halo around them."""
        return self._reading.window(cells)

    def describe(self) -> dict[str, Any]:
        """Adds the lattice: its spacing in m, and whether cells are interpolated from it."""
        return {
            **super().describe(),
            "pool_px": self.dense.pool_px,
            "stride": self.dense.stride,
            "halo_px": self.halo_px,
            "lattice_m": self._node_px * self.gsd,
            "interpolation": None if self._every else "bilinear",
        }

    def _encode(self, pixels: Tensor, valid: Bools, cells: Grid) -> F32:
        nodes = self._reading.nodes(cells)
        rows, cols = (self.halo_px + np.arange(n) * self._node_px for n in nodes.shape)
        seen = _seen(valid, rows, cols, self.dense.pool_px)
        vectors = np.full((*nodes.shape, self.dim), np.nan, dtype=np.float32)
        todo = [block.slices for block in nodes.chunks(size=self._nodes_per_tile(max(nodes.shape)))]
        done = 0
        while todo:
            part = todo.pop()
            encode = partial(self._encode_tile, pixels, part, seen, vectors)
            if seen[part].any() and not fits(encode):
                todo += self._quarters(part)
                continue
            done += seen[part].size
            tell(done / seen.size)
        return vectors if self._every else lattice.interpolate(vectors, nodes, cells)

    @property
    def _alone_px(self) -> int:
        return self.dense.pool_px + 2 * self.halo_px

    @property
    def _seen_px(self) -> int:
        return self.dense.pool_px

    @property
    def _alone_batch(self) -> int:
        return max(1, _BATCH_PX[self._engine.device.type] // self._alone_px**2)

    def _encode_alone(self, windows: U8) -> F32:
        """Like a tile of one node each; windows that do not fit in memory together, in parts."""
        vectors = np.empty((len(windows), self.dim), dtype=np.float32)

        def encode(part: slice) -> None:
            x = to_input(self._engine.upload(windows[part]), self.spec)
            pooled = self._engine.run(self._pooled_alone, x)
            with torch.inference_mode():
                vectors[part] = self._network.head(pooled).cpu().numpy()

        what = f"model {self.model.name}: a window of {self._alone_px} px"
        BatchSize(len(windows)).run(len(windows), encode, what)
        return vectors

    def _pooled_alone(self, x: Tensor) -> Tensor:
        """Pooled features ``(n, C)`` of the only node of each window."""
        at = self.halo_px // self.dense.stride
        return dense_features(self._network, x, self.dense.pool_px)[:, :, at, at]

    def _encode_tile(
        self, pixels: Tensor, part: tuple[slice, ...], seen: Bools, vectors: F32
    ) -> None:
        reach = self.dense.pool_px + 2 * self.halo_px
        rows, cols = (
            slice(s.start * self._node_px, (s.stop - 1) * self._node_px + reach) for s in part
        )
        x = to_input(pixels[None, :, rows, cols], self.spec)
        pooled = self._engine.run(lambda t: self._pooled(t, part), x)
        wanted = torch.from_numpy(seen[part]).to(pooled.device)
        with torch.inference_mode():
            vectors[part][seen[part]] = self._network.head(pooled[wanted]).cpu().numpy()

    def _pooled(self, x: Tensor, part: tuple[slice, ...]) -> Tensor:
        """Pooled features ``(y, x, C)`` of the nodes of a tile."""
        features = dense_features(self._network, x, self.dense.pool_px)[0]
        first, every = self.halo_px // self.dense.stride, self._node_px // self.dense.stride
        rows, cols = (slice(first, first + (s.stop - s.start - 1) * every + 1, every) for s in part)
        return features[:, rows, cols].permute(1, 2, 0)

    def _nodes_per_tile(self, nodes: int) -> int:
        tiles = math.ceil(nodes / self._most_nodes)
        return math.ceil(nodes / tiles)  # tiles of equal size, without a sliver at the end

    def _quarters(self, part: tuple[slice, ...]) -> list[tuple[slice, ...]]:
        """A tile that did not fit in memory, in smaller ones; no later tile is as large."""
        longest = max(s.stop - s.start for s in part)
        side = halved(longest, f"model {self.model.name}: a tile of one vector")
        self._most_nodes = min(self._most_nodes, side)
        rows, cols = (
            [slice(at, min(at + side, s.stop)) for at in range(s.start, s.stop, side)] for s in part
        )
        return [(row, col) for row in rows for col in cols]


def open_overhead(
    model: Model,
    step: float | None,
    method: str | None = None,
    device: str = "auto",
    *,
    gsd: float | None = None,
    precision: Precision = "auto",
    threads: int | None = None,
) -> OverheadEncoder:
    """Load a model's overhead network for cells ``step`` m apart; None: for points anywhere.

    ``method``: ``dense`` or ``patch``; None: the fastest that the weights support, which for
    points is ``patch``, as it needs no halo around each. ``gsd``: m per px instead of the best
    one for this step.
    Raises ModelError for a method, GSD or step that the model does not support.
    """
    spec = _overhead(model)
    chosen = check_method(model, method or ("patch" if step is None else None))
    engine = open_engine(spec, device, precision, threads)
    sampling = _sampling(spec, step, chosen, gsd)
    if chosen == "dense":
        return DenseEncoder(model, _split(model, engine), engine, step, sampling)
    return PatchEncoder(model, _patch_network(model, engine), engine, step, sampling)


def open_patches(
    model: Model, step: float | None, device: str = "auto", *, gsd: float | None = None,
    precision: Precision = "auto", threads: int | None = None,
) -> PatchEncoder:  # fmt: skip
    """``open_overhead`` with method ``patch``, the definition, which every model supports."""
    opened = open_overhead(
        model, step, "patch", device, gsd=gsd, precision=precision, threads=threads
    )
    return cast(PatchEncoder, opened)


def check_method(model: Model, method: str | None) -> str:
    """The method to use. Raises ModelError, with the reason, for an unsupported one."""
    spec = _overhead(model)
    if method is None:
        return "dense" if spec.dense else "patch"
    if method not in ("patch", "dense"):
        raise UsageError(f"method {method!r} is unknown: use dense or patch")
    if method == "dense" and spec.dense is None:
        raise ModelError(
            f"model {model.name} was trained on single patches, and run densely its network is a "
            "different function: use method patch, or train a dense-native one with 'geoloc train'"
        )
    return method


def halo_of(spec: OverheadSpec, network: SplitNetwork) -> int:
    """Margin of real imagery around a tile, in px: a whole number of strides, at least one."""
    dense = cast(DenseSpec, spec.dense)
    context = (spec.patch_px - dense.pool_px) // 2
    wanted = dense.halo_px
    if wanted is None:
        covered = network.halo_px <= EXACT_HALO_PX
        wanted = network.halo_px if covered else max(context, COMMON_HALO_PX)
    return max(-(-wanted // dense.stride), 1) * dense.stride


def _overhead(model: Model) -> OverheadSpec:
    if model.spec.overhead is None:
        raise ModelError(f"model {model.name} has no overhead network: train or import one")
    return model.spec.overhead


def _sampling(spec: OverheadSpec, step: float | None, method: str, gsd: float | None) -> Sampling:
    low, high = spec.gsd
    if gsd is not None and not low * (1 - 1e-6) <= gsd <= high * (1 + 1e-6):
        raise ModelError(f"GSD {gsd:g} m is outside the model's range {low:g}-{high:g} m per px")
    limits, preferred = ((gsd, gsd), gsd) if gsd is not None else (spec.gsd, spec.preferred_gsd)
    unit = spec.dense.stride if method == "dense" and spec.dense else 1
    if step is None:  # each point is a node of its own
        return Sampling(preferred, unit)
    sampling = lattice.choose_sampling(step, unit, limits, preferred)
    if method == "dense" and sampling.every is None:
        lattice.check_spacing(step, unit * sampling.gsd, unit * limits[0])
    return sampling


def _split(model: Model, engine: Engine) -> SplitNetwork:
    spec = _overhead(model)
    dense = cast(DenseSpec, spec.dense)
    split = build_dense(cast(str, spec.arch), model.dim, dense.stride, dense.pool_px)
    load_weights(split.network, model.file(spec.weights))
    return engine.place(split)


def _patch_network(model: Model, engine: Engine) -> Network:
    spec = _overhead(model)
    if spec.dense is None:
        return open_network(model, spec, engine)
    split, pool_px = _split(model, engine), spec.dense.pool_px
    return lambda x: dense_forward(split, x, pool_px)


def _parts(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _seen(valid: Bools, rows: I64, cols: I64, side: int) -> Bools:
    """Which windows ``(y, x)`` have imagery at their centre and enough of it around."""
    centre = valid[np.ix_(rows + side // 2, cols + side // 2)]
    return centre & (lattice.valid_share(valid, rows, cols, side) >= MIN_VALID)
