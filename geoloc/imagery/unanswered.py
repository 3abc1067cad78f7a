"""What a server may report of a file instead of its version."""

MISSING = "missing"
"""The version of a file that does not exist."""


class Unanswered(Exception):  # noqa: N818  (no fault of ours, and never shown)
    """A server that cannot be reached now, and why; it may answer later."""
