"""Answers made fit for others: copies without what tells of people, places and machines.

An answer holds whatever was known when it was asked. Its copy is not the answer with things struck
out: it is written anew, from those values of the record alone that are named here, so that what
nobody thought of stays at home. Then every byte of it is searched for what was left out.

``options``    what may stay, how the photo is shown, how coarse coordinates are
``pages``      what a report shows, read back: pictures, and how strongly both show a scene
``answers``    an answer as it lies on the disk, certainly whole
``rounding``   coordinates made coarse, everywhere alike
``scrub``      the values of a record that a copy may have
``results``    the answer again, of these values, to be written like any other
``searching``  every byte of a copy, searched for what was left out
``statement``  what was left out and kept, in words
``run``        all of it in order
"""

from __future__ import annotations

from .options import KEEP, Options, read_keep, read_rounding
from .run import Shared, share

__all__ = ["KEEP", "Options", "Shared", "read_keep", "read_rounding", "share"]
