"""The feature cube: one feature vector a cell, computed once, kept as plain Zarr v3.

FORMAT.md says what lies where. `Cube` reads a generation of it, `opening.open_cube` gives one as
an xarray Dataset. What is damaged is refused, never answered from.

Workers write blocks (``BlockWriter``), each block being exactly one chunk; the client alone
writes the ledger (``Ledger``), after the block's data: what the ledger does not name does not
count, so a kill at any moment loses at most the blocks in flight.

"""

from __future__ import annotations

from ..domain import Status
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
from .plan import plan_blocks
from .reader import (
    Cube,
    generation_exists,
    how_to_build,
    stored_attributes,
    stored_encoding,
    stored_spec,
)
from .restoring import LedgerState, restore_contents, restore_ledger
from .root import create_root, publish
from .schema import create_generation
from .spec import CubeSpec, ItemRecord, Provenance
from .store import current_generation, generation_names
from .writer import BlockWriter, Ledger, remember_imagery, require_spec, resume_generation

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
    "Provenance",
    "Status",
    "create_generation",
    "create_root",
    "current_generation",
    "damaged_blocks",
    "finish_generation",
    "generation_exists",
    "generation_names",
    "generation_of_date",
    "hold_lock",
    "how_to_build",
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
