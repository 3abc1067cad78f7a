"""Points of a country: drawn along its roads, kept in one file, read back in the order drawn."""

from __future__ import annotations

from .file import PointSet, read_points, writing_points

__all__ = ["PointSet", "read_points", "writing_points"]
