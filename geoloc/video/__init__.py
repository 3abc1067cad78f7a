"""Videos: the frames worth analysing, each identified by its time."""

from __future__ import annotations

from .content import is_video_content
from .frames import SUFFIXES, Frame, read_frame, read_frames
from .judging import Reason, Sampling, is_blank, is_cut, is_title, sharpness
from .shown import upright

__all__ = [
    "SUFFIXES",
    "Frame",
    "Reason",
    "Sampling",
    "is_blank",
    "is_cut",
    "is_title",
    "is_video_content",
    "read_frame",
    "read_frames",
    "sharpness",
    "upright",
]
