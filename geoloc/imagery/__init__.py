"""Overhead imagery: whatever it is stored as, it is read as RGB on the lattice asked for."""

from __future__ import annotations

from .registry import open_source
from .source import ArraySource, Item, Source, notes_of, require_overlap

__all__ = ["ArraySource", "Item", "Source", "notes_of", "open_source", "require_overlap"]
