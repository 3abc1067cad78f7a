"""Where feature vectors belong: a regular grid of cells, and the chunks that it is worked on in."""

from __future__ import annotations

from .chunk import CHUNK_SIZE, Chunk, Domain, Index
from .grid import Grid

__all__ = ["CHUNK_SIZE", "Chunk", "Domain", "Grid", "Index"]
