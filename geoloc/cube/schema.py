"""Lays out one generation of a cube: arrays, attributes, CF conventions."""

from __future__ import annotations

import json
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.sync import sync

from .. import __version__
from ..domain import Grid
from ..errors import CubeError, UnavailableError
from ..models import MISSING, FeatureSpace
from .checks import NOTHING, PARTS, UNRECORDED
from .reader import generation_exists
from .seal import CONTENTS, contents_of, write_sealed
from .spec import FORMAT_VERSION, CubeSpec, Status
from .store import (
    LOCK,
    generation_names,
    ledger_of,
    list_folder,
    open_group,
    open_store,
    read_attributes,
    read_text,
    storage_errors,
)

LEDGER_CHUNK = 32
"""Blocks along a side of the ledger's chunks: marking one block rewrites 1 KiB, and a country
of 400,000 blocks is read in 400 small pieces."""

LOST = 255
"""What a ledger says of blocks whose part of it is not there any more; never a Status."""

_IGNORED = re.compile(rf"{LOCK}.*|.*\.partial|\..*|lost\+found|Thumbs\.db|desktop\.ini|")
"""Names of what a killed build, a file system or a desktop leaves in an empty folder."""

_LIGHT = ZstdCodec(level=1)


def create_root(url: str | Path) -> None:
    """Make sure that there is a place for generations.

    The root's own metadata, which says no more than that, is written anew where it is lost.
    Raises CubeError where there can be no place, or where something else lies there.
    """
    if _is_root(url):
        return
    whole = any(generation_exists(url, name) for name in generation_names(url))
    if not whole:
        _require_empty(url)
    with storage_errors(url):
        store = open_store(url, read_only=False)
        if whole:
            sync(store.delete("zarr.json"))
        zarr.open_group(store, mode="a", attributes={"geoloc_cube": FORMAT_VERSION})


def _is_root(url: str | Path) -> bool:
    try:
        return "geoloc_cube" in (read_attributes(url) or {})
    except UnavailableError:
        raise
    except CubeError:  # damaged
        return False


def _require_empty(url: str | Path) -> None:
    """Nobody's files are mixed with a cube's, or overwritten by it."""
    with storage_errors(url):
        found = list_folder(open_store(url))
    foreign = [name for name in found if not _IGNORED.fullmatch(name)]
    if foreign:
        raise CubeError(
            f"{url} holds something else ({', '.join(foreign[:3])}), not a feature cube: "
            "name another place for the cube"
        )


def create_generation(
    url: str | Path,
    generation: str,
    spec: CubeSpec,
    features: FeatureSpace,
    ledger: NDArray[np.uint8],
    *,
    model_name: str,
    area: str = "",
) -> None:
    """Write the empty generation; ``ledger`` ``(block_y, block_x)`` holds its first states.

    ``features``: of the model, with a code.

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
        _create_coordinates(group, spec.grid)
        _create_ledger(group, ledger)
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
        "coordinates": "class_name spatial_ref",
        "geoloc_cube": FORMAT_VERSION,
        "geoloc_version": __version__,
        "area": area,
        "model_name": model_name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "spec": spec.model_dump(mode="json"),
        "spec_digest": spec.digest,
    }


def _create_features(group: zarr.Group, spec: CubeSpec, features: FeatureSpace) -> None:
    dim, side = features.dim, spec.block_size
    group.create_array(
        "features",
        shape=(spec.ny, spec.nx, dim),
        chunks=(side, side, dim),
        dtype="int8",
        fill_value=MISSING,
        # int8 features shrink by 12-15 % and then read four times slower: not worth it.
        compressors=None,
        dimension_names=("y", "x", "feature"),
        attributes={
            "_FillValue": MISSING,
            "grid_mapping": "spatial_ref",
            "long_name": "scene class logits, as codes",
            "decoding": "value = code * scale + offset, per feature; code -128 is missing",
        },
    )
    group.create_array(
        "norm",
        shape=(spec.ny, spec.nx),
        chunks=(side, side),
        dtype="float32",
        fill_value=float("nan"),
        compressors=None,
        dimension_names=("y", "x"),
        attributes={
            "grid_mapping": "spatial_ref",
            "long_name": "squared norm of the decoded feature vector under the model's metric",
        },
    )


def _create_space(group: zarr.Group, features: FeatureSpace) -> None:
    code, count = features.stored_code, len(features.names)
    _small(group, "scale", code.scale, "feature")
    _small(group, "offset", code.offset, "feature")
    named = "feature" if features.readout is None else "name"
    names = group.create_array(
        "class_name", shape=(count,), chunks=(count,), dtype=str, dimension_names=(named,)
    )
    names[:] = np.array(features.names, dtype=object)
    if features.weights is not None:
        _small(group, "distance_weight", features.weights.astype(np.float32), "feature")
    if features.metric is not None:
        _small(group, "metric", features.metric.astype(np.float32), "feature", "component")
    if features.readout is not None:
        _small(group, "readout", features.readout.astype(np.float32), "name", "feature")


def _create_coordinates(group: zarr.Group, grid: Grid) -> None:
    from pyproj import CRS

    _small(group, "y", grid.y, "y", standard_name="projection_y_coordinate", units="m")
    _small(group, "x", grid.x, "x", standard_name="projection_x_coordinate", units="m")
    a, b, c, d, e, f = grid.transform
    mapping = {**CRS(grid.crs).to_cf(), "GeoTransform": f"{c!r} {a!r} {b!r} {f!r} {d!r} {e!r}"}
    _small(group, "spatial_ref", np.array(0, np.int64), **mapping)


def _create_ledger(group: zarr.Group, ledger: NDArray[np.uint8]) -> None:
    side = LEDGER_CHUNK
    names = ("block_y", "block_x")
    states = group.create_array(
        "done",
        shape=ledger.shape,
        chunks=(side, side),
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
        chunks=(1, 1),
        dtype=str,
        fill_value="",
        compressors=_LIGHT,
        dimension_names=names,
    )
    provenance.create_array(
        "fingerprint",
        shape=(*ledger.shape, 32),
        chunks=(side, side, 32),
        dtype="uint8",
        fill_value=0,
        compressors=None,
        dimension_names=(*names, "byte"),
    )
    provenance.create_array(
        "check",
        shape=(*ledger.shape, len(PARTS)),
        chunks=(side, side, len(PARTS)),
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
