"""Imagery of a STAC API or static catalog."""

from __future__ import annotations

from .source import StacSource

__all__ = ["StacSource"]
