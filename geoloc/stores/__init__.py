"""Where cubes and tiled imagery live: local folders, ``s3://`` and what else obstore knows."""

from __future__ import annotations

from .opening import local_path, open_objects, open_store

__all__ = ["local_path", "open_objects", "open_store"]
