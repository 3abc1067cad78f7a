"""Where cubes and tiled imagery live: local folders, ``s3://`` and what else obstore knows."""

from __future__ import annotations

from .opening import local_path, open_objects, open_store
from .reasons import may_pass, reason_of

__all__ = ["local_path", "may_pass", "open_objects", "open_store", "reason_of"]
