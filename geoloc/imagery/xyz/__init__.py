"""Imagery of a map server: web tiles."""

from __future__ import annotations

from .source import XyzSource

__all__ = ["XyzSource"]
