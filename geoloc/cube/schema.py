"""Lays out one generation of a cube: arrays, attributes, CF conventions."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from .. import __version__
from ..arrays import U8
from ..domain import Grid, Points, Status
from ..errors import CubeError
from ..models import MISSING, FeatureSpace
from ..stores.ledger import PIECE
from .checks import NOTHING, PARTS, UNRECORDED
from .reader import ATTRIBUTES
from .root import create_root
from .seal import CONTENTS, contents_of, write_sealed
from .spec import FORMAT_VERSION, CubeSpec
from .store import (
    ledger_of,
    open_group,
    open_store,
    read_attributes,
    read_text,
    storage_errors,
)

LOST = 255
"""What a ledger says of blocks whose part of it is not there any more; never a Status."""

_ATTRIBUTE_ROWS = 1 << 16

_LIGHT = ZstdCodec(level=1)


def create_generation(
    url: str | Path,
    generation: str,
    spec: CubeSpec,
    features: FeatureSpace,
    ledger: U8,
    *,
    model_name: str,
    area: str = "",
    points: Points | None = None,
) -> None:
    """Write the empty generation; ``ledger``, of the blocks' grid, holds its first states.

    ``features``: of the model, with a code. ``points``: those of the specification, if it is of
    points.

    What an interrupted creation left under the same name is replaced. Raises CubeError where
    the store cannot be written.
    """
    create_root(url)
    _require_nothing_done(url, generation)
    with storage_errors(url), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings and consolidated metadata: not yet in the spec
        store = open_store(url, read_only=False)
        group = zarr.create_group(store, path=generation, overwrite=True)
        _create_features(group, spec, features)
        _create_space(group, features)
        _create_coordinates(group, spec.grid if points is None else points)
        if points is not None:
            _create_attributes(group, points)
        _create_ledger(group, ledger, spec.domain.dims)
        contents = contents_of(store, generation, group)
        zarr.consolidate_metadata(store, path=generation)
        document = json.loads(read_text(store, f"{generation}/zarr.json") or "{}")
        document["attributes"] = _attributes(spec, model_name, area) | {CONTENTS: contents}
        write_sealed(store, generation, document)  # last: makes it count


def _require_nothing_done(url: str | Path, generation: str) -> None:
    """What is replaced was never laid out to its end; else its attributes have been lost."""
    if (read_attributes(url, generation) or {"spec_digest": ""}).get("spec_digest") is not None:
        return
    group = open_group(url, generation)
    with storage_errors(url):
        done = np.asarray(ledger_of(group, "done")[:]) if "done" in group else np.zeros(0)
    if np.isin(done, (Status.DONE, Status.BROKEN, LOST)).any():
        raise CubeError(
            f"cube {url}: {generation}/zarr.json has lost its attributes, but blocks are there: "
            f"restore it from a copy, or delete the folder {generation}"
        )


def _attributes(spec: CubeSpec, model_name: str, area: str) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "coordinates": "spatial_ref" if spec.domain.kind == "grid" else "spatial_ref x y",
        "geoloc_cube": FORMAT_VERSION,
        "geoloc_version": __version__,
        "area": area,
        "model_name": model_name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "spec": spec.model_dump(mode="json"),
        "spec_digest": spec.digest,
    }


def _create_features(group: zarr.Group, spec: CubeSpec, features: FeatureSpace) -> None:
    dim, cells, dims = features.dim, spec.domain.shape, spec.domain.dims
    code, chunk = features.stored_code, (spec.block_size,) * len(cells)
    group.create_array(
        "features",
        shape=(*cells, dim),
        chunks=(*chunk, dim),
        dtype="int8",
        fill_value=MISSING,
        # int8 features shrink by 12-15 % and then read four times slower: not worth it.
        compressors=None,
        dimension_names=(*dims, "feature"),
        attributes={
            "_FillValue": MISSING,
            "grid_mapping": "spatial_ref",
            "long_name": "scene class logits" if features.readout is None else "embedding",
            "scale_factor": float(code.scale),
            "add_offset": float(code.offset),
        },
    )
    group.create_array(
        "norm",
        shape=cells,
        chunks=chunk,
        dtype="float32",
        fill_value=float("nan"),
        compressors=None,
        dimension_names=dims,
        attributes={
            "grid_mapping": "spatial_ref",
            "long_name": "squared norm of the decoded feature vector under the model's metric",
        },
    )


def _create_space(group: zarr.Group, features: FeatureSpace) -> None:
    count = len(features.names)
    named = "feature" if features.readout is None else "name"
    names = group.create_array(
        named, shape=(count,), chunks=(count,), dtype=str, dimension_names=(named,)
    )
    names[:] = np.array(features.names, dtype=object)
    if features.weights is not None:
        _small(group, "distance_weight", features.weights.astype(np.float32), "feature")
    if features.metric is not None:
        _small(group, "metric", features.metric.astype(np.float32), "feature", "component")
    if features.readout is not None:
        _small(group, "readout", features.readout.astype(np.float32), "name", "feature")


def _create_coordinates(group: zarr.Group, domain: Grid | Points) -> None:
    from pyproj import CRS

    crs = CRS(domain.crs)
    mapping = crs.to_cf()
    dims: tuple[str, ...] = domain.dims
    if isinstance(domain, Grid):
        x, y = domain.x, domain.y
        a, b, c, d, e, f = domain.transform
        mapping["GeoTransform"] = f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"
    else:
        x, y = domain.coordinates.T
    axes = {axis["axis"]: axis for axis in crs.cs_to_cf()}
    _small(group, "y", y, dims[0], **axes["Y"])
    _small(group, "x", x, dims[-1], **axes["X"])
    _small(group, "spatial_ref", np.array(0, np.int64), **mapping)


def _create_attributes(group: zarr.Group, points: Points) -> None:
    """A group of its own: what is known of the points besides where they are."""
    folder = group.create_group(ATTRIBUTES)
    for number, (name, values) in enumerate(sorted(points.attributes.items())):
        text = values.dtype.kind not in "biuf"
        array = folder.create_array(
            str(number),  # a file may call its columns what it likes
            shape=(points.size,),
            chunks=(min(points.size, _ATTRIBUTE_ROWS),),
            dtype=str if text else values.dtype,
            compressors=[_LIGHT, Crc32cCodec()],
            dimension_names=points.dims,
            attributes={"name": name},
        )
        array[:] = values.astype(object) if text else values


def _create_ledger(group: zarr.Group, ledger: U8, dims: tuple[str, ...]) -> None:
    names = tuple(f"block_{dim}" for dim in dims)
    piece = (PIECE,) * ledger.ndim
    states = group.create_array(
        "done",
        shape=ledger.shape,
        chunks=piece,
        dtype="uint8",
        fill_value=LOST,
        compressors=[Crc32cCodec()],
        config={"write_empty_chunks": True},
        dimension_names=names,
        attributes={"flag_values": [0, 1, 2, 3], "flag_meanings": "missing done broken outside"},
    )
    states[:] = ledger
    # A group of its own: chunks of one block would burden whoever opens the cube with xarray.
    provenance = group.create_group("provenance")
    provenance.create_array(
        "record",
        shape=ledger.shape,
        chunks=(1,) * ledger.ndim,
        dtype=str,
        fill_value="",
        compressors=_LIGHT,
        dimension_names=names,
    )
    provenance.create_array(
        "fingerprint",
        shape=(*ledger.shape, 32),
        chunks=(*piece, 32),
        dtype="uint8",
        fill_value=0,
        compressors=None,
        dimension_names=(*names, "byte"),
    )
    provenance.create_array(
        "check",
        shape=(*ledger.shape, len(PARTS)),
        chunks=(*piece, len(PARTS)),
        dtype="uint64",
        fill_value=UNRECORDED,
        compressors=[Crc32cCodec()],
        dimension_names=(*names, "part"),
        attributes={
            "long_name": "checksums of the stored bytes of each block's chunks",
            "parts": list(PARTS),
            "unrecorded": UNRECORDED,
            "nothing_stored": NOTHING,
        },
    )


def _small(
    group: zarr.Group, name: str, values: NDArray[Any], *dims: str, **attributes: Any
) -> None:
    """An array in one chunk."""
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        dimension_names=dims,
        attributes=attributes,
    )
    array[...] = values
