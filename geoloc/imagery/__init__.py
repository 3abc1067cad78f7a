"""Overhead imagery of any kind of storage, read as RGB on the requested lattice."""

from __future__ import annotations

from .registry import open_source, register_source
from .source import ArraySource, Item, Source, notes_of, require_overlap, require_sharp

__all__ = [
    "ArraySource",
    "Item",
    "Source",
    "notes_of",
    "open_source",
    "register_source",
    "require_overlap",
    "require_sharp",
]
