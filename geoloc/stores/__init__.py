"""Stores of cubes and tiled imagery: local folders, ``s3://`` and others that obstore supports.

Also URLs without their secrets, and the S3 settings, for other readers of S3.
"""

from __future__ import annotations

from .credentials import s3_settings
from .hiding import secret_in, without_secrets
from .opening import local_path, open_objects, open_store
from .reasons import may_pass, reason_of

__all__ = [
    "local_path",
    "may_pass",
    "open_objects",
    "open_store",
    "reason_of",
    "s3_settings",
    "secret_in",
    "without_secrets",
]
