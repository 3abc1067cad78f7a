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
    <cube>/g0001/provenance/         record (JSON text) and fingerprint (sha256) of each block

``xarray.open_zarr(f"{cube}/g0001")`` opens it; CF's ``scale_factor`` knows only one number an
array, so the per-class ``scale`` and ``offset`` are arrays of their own:
``ds.features * ds.scale + ds.offset`` is the features, missing cells NaN.

Workers write blocks (``BlockWriter``), each block being exactly one chunk; the client alone
writes the ledger (``Ledger``), after the block's data: what the ledger does not name does not
count, so a kill at any moment loses at most the blocks in flight. Before there is a code to
write them in, finished blocks wait in ``.sample`` (``Parking``).
"""

from __future__ import annotations

from .copying import BlockCopier
from .encoding import MISSING, Quantizer, distance_operator, squared_norm
from .generations import (
    FIRST_GENERATION,
    Generation,
    finish_generation,
    generation_of_date,
    list_generations,
    next_generation,
    prune_generations,
)
from .lock import CubeLock, hold_lock
from .parking import Parked, Parking
from .plan import cells_inside, plan_blocks
from .reader import Cube, generation_exists, stored_encoding, stored_spec
from .schema import create_generation, create_root
from .spec import CubeSpec, ItemRecord, Provenance, Status
from .store import current_generation, publish
from .writer import BlockWriter, Ledger, Written, remember_imagery, require_spec, resume_generation

__all__ = [
    "FIRST_GENERATION",
    "MISSING",
    "BlockCopier",
    "BlockWriter",
    "Cube",
    "CubeLock",
    "CubeSpec",
    "Generation",
    "ItemRecord",
    "Ledger",
    "Parked",
    "Parking",
    "Provenance",
    "Quantizer",
    "Status",
    "Written",
    "cells_inside",
    "create_generation",
    "create_root",
    "current_generation",
    "distance_operator",
    "finish_generation",
    "generation_exists",
    "generation_of_date",
    "hold_lock",
    "list_generations",
    "next_generation",
    "plan_blocks",
    "prune_generations",
    "publish",
    "remember_imagery",
    "require_spec",
    "resume_generation",
    "squared_norm",
    "stored_encoding",
    "stored_spec",
]
