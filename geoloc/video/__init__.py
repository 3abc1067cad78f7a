"""Videos: the frames worth analysing, each identified by its time."""

from __future__ import annotations

from .content import is_video_content
from .frames import SUFFIXES, Frame, read_frame, read_frames
from .judging import Sampling, is_title

__all__ = [
    "SUFFIXES",
    "Frame",
    "Sampling",
    "is_title",
    "is_video_content",
    "read_frame",
    "read_frames",
]
