"""Imagery of a STAC API or static catalog."""

from __future__ import annotations

from ...extras import extra

with extra("stac", "imagery of kind stac"):
    from .source import StacSource

__all__ = ["StacSource"]
