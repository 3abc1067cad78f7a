"""What has become of a chunk, as the ledger of a resumable job says it."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """States of a chunk in a ledger; a run that resumes takes up those that are unfinished."""

    MISSING = 0
    DONE = 1
    BROKEN = 2
    """Written, but some of its imagery could not be read."""
    OUTSIDE = 3
    """Not touched by the area's polygon: nothing to compute."""
