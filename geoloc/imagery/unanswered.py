"""What a server may say of a file instead of its version."""

MISSING = "missing"
"""The version of a file that is not there."""


class Unanswered(Exception):  # noqa: N818  (no fault of ours, and never shown)
    """A server that cannot be asked just now, and why; it may tell later."""
