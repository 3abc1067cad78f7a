"""Answers made fit for others: copies without data on people, places and machines.

An answer contains everything known when the query was made. Its copy is not a redacted answer: it
is written from scratch, from an explicit list of values of the record, so that nothing is copied by
oversight. Then every byte of it is searched for what was left out.

``options``    what may stay, how the photo is shown, how coarse coordinates are
``pages``      the content of a report, read back: pictures, and how strongly both show a scene
``answers``    an answer on disk, verified to be whole
``regions``    the regions of an answer of points
``tandem``     what each of several models says
``rounding``   coordinates made coarse, everywhere alike
``scrub``      the values of a record that a copy may have
``results``    the answer rebuilt from these values, to be written like any other
``searching``  every byte of a copy, searched for what was left out
``statement``  what was left out and kept, in words
``run``        all of it in order
"""

from __future__ import annotations

from .options import KEEP, Options, read_keep, read_rounding
from .run import Shared, share

__all__ = ["KEEP", "Options", "Shared", "read_keep", "read_rounding", "share"]
