"""The feature cube: one feature vector a cell, computed once, kept as plain Zarr v3.

On the store::

    <cube>/zarr.json                 root group; attribute ``geoloc_cube`` is the format version
    <cube>/CURRENT                   text: name of the generation that readers open
    <cube>/LOCK                      while somebody writes: who
    <cube>/.sample/                  until a code is chosen: blocks that wait for it
    <cube>/g0001/zarr.json           attributes: spec, area, model_name, created, finished…
    <cube>/g0001/features            int8 (y, x, feature); missing -128; chunks 128 x 128 x D
    <cube>/g0001/norm                float32 (y, x); missing NaN
    <cube>/g0001/scale, offset       float32 (feature,): value = code * scale + offset
    <cube>/g0001/class_name          str (feature,)
    <cube>/g0001/distance_weight     float32 (feature,), where the model names weights
    <cube>/g0001/metric              float32 (feature, component), where the model names one
    <cube>/g0001/y, x, spatial_ref   centres of the cells, CRS
    <cube>/g0001/done                uint8 (block_y, block_x): the ledger
    <cube>/g0001/provenance/         record (JSON text), fingerprint (sha256) and check (three
                                     checksums: features, norm, record) of each block

``xarray.open_zarr(f"{cube}/g0001")`` opens it; CF's ``scale_factor`` knows only one number an
array, so the per-class ``scale`` and ``offset`` are arrays of their own:
``ds.features * ds.scale + ds.offset`` is the features, missing cells NaN.

What is damaged is refused, never answered from. ``g0001/zarr.json`` carries its own sha256 and
those of the small arrays, the ledger its CRC-32C. Each block's chunks have a checksum, which is
compared when they are first read, and a sha256 in the block's record for who reads all of them
(``inspect_blocks``). All checks are of stored bytes, before anything is decoded.

Workers write blocks (``BlockWriter``), each block being exactly one chunk; the client alone
writes the ledger (``Ledger``), after the block's data: what the ledger does not name does not
count, so a kill at any moment loses at most the blocks in flight. Before there is a code to
write them in, finished blocks wait in ``.sample`` (``Parking``).
"""

from __future__ import annotations

from .copying import BlockCopier
from .damage import Inspection, damaged_blocks, inspect_blocks
from .generations import (
    FIRST_GENERATION,
    Generation,
    finish_generation,
    generation_of_date,
    list_generations,
    newest_finished,
    next_generation,
    prune_generations,
    restore_current,
)
from .lock import CubeLock, hold_lock
from .parking import Parked, Parking
from .plan import plan_blocks
from .reader import Cube, generation_exists, stored_attributes, stored_encoding, stored_spec
from .restoring import LedgerState, restore_contents, restore_ledger
from .schema import create_generation, create_root
from .spec import CubeSpec, ItemRecord, Provenance, Status
from .store import current_generation, generation_names, publish
from .writer import BlockWriter, Ledger, Written, remember_imagery, require_spec, resume_generation

__all__ = [
    "FIRST_GENERATION",
    "BlockCopier",
    "BlockWriter",
    "Cube",
    "CubeLock",
    "CubeSpec",
    "Generation",
    "Inspection",
    "ItemRecord",
    "Ledger",
    "LedgerState",
    "Parked",
    "Parking",
    "Provenance",
    "Status",
    "Written",
    "create_generation",
    "create_root",
    "current_generation",
    "damaged_blocks",
    "finish_generation",
    "generation_exists",
    "generation_names",
    "generation_of_date",
    "hold_lock",
    "inspect_blocks",
    "list_generations",
    "newest_finished",
    "next_generation",
    "plan_blocks",
    "prune_generations",
    "publish",
    "remember_imagery",
    "require_spec",
    "restore_contents",
    "restore_current",
    "restore_ledger",
    "resume_generation",
    "stored_attributes",
    "stored_encoding",
    "stored_spec",
]
