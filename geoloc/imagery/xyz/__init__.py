"""Imagery of a map server: web tiles."""

from __future__ import annotations

from ...extras import extra

with extra("xyz", "imagery of kind xyz"):
    from .source import XyzSource

__all__ = ["XyzSource"]
