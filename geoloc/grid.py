"""The regular grid of cells under its short public path; see `geoloc.domain`."""

from __future__ import annotations

from .domain import Grid

__all__ = ["Grid"]
