"""Where cubes and tiled imagery live: local folders, ``s3://`` and what else obstore knows.

Also what of a URL may be shown, and what is set for S3, for others that read from there.
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
