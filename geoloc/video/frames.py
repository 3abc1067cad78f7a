"""Frames of a video worth analysing, each identified by its time.

The number of frames is bounded for any length; in long videos they are spread over all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import U8
from ..errors import PhotoError, UsageError
from ..photos import Photo, size_notes
from .container import VideoReader
from .judging import SMALL, Picker, Reason, Sampling
from .shown import upright

SUFFIXES = frozenset((".mp4", ".mov", ".webm", ".mkv", ".m4v", ".avi", ".3gp", ".mpg", ".mpeg",
                      ".ts", ".gifv", ".ogv", ".wmv", ".flv"))  # fmt: skip
"""Suffixes of video files."""

_SAME_TIME = 0.0005  # s


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame: ``time`` s from the start, ``pixels`` uint8 ``(h, w, 3)`` RGB, upright, of square
    pixels; ``claims``: time and place as the video file claims them, like `Photo.exif`; ``notes``:
    what a reader of the answer must know about the file, one sentence each."""

    time: float
    pixels: U8
    reason: Reason
    claims: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of the upright pixels, row by row, as this version of the decoder gives them."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).data).hexdigest()

    def photo(self, path: Path, sha256: str) -> Photo:
        """The frame as a photo; ``sha256`` of the video's file."""
        height, width = self.pixels.shape[:2]
        origin = {"time": self.time, "reason": self.reason, "sha256": self.sha256}
        photo = Photo(path, path.stem, sha256, self.pixels, (width, height), self.claims,
                      {"frame": origin})  # fmt: skip
        notes = tuple(f"{photo.file}: {note}" for note in self.notes)
        return replace(photo, notes=notes + size_notes(photo.file, photo.size))


def read_frames(path: str | Path, sampling: Sampling | None = None) -> Iterator[Frame]:
    """The frames of a video worth analysing, in order of time.

    Raises UsageError for a missing file; PhotoError for a file that is not a video, has no usable
    frame, is damaged or cut short, after yielding what could be decoded.
    """
    path, sampling = Path(path), sampling or Sampling()
    if not path.is_file():
        raise UsageError(f"video {path} does not exist: correct the path")
    picker, count = Picker(sampling), 0
    with VideoReader(path, sampling) as reader:
        picker.spread(reader.duration)
        for time, frame in reader.frames(picker.due):
            reason = picker.look(time, _small(frame))
            if reason is None:
                continue
            shown = upright(frame, reader.aspect)
            yield Frame(time, shown, reason, reader.claims, reader.notes)
            count += 1
            if count >= sampling.most:
                return
    if not count:
        raise PhotoError(f"{path} has no usable frame: all are black, flat, blurred or title cards")


def read_frame(path: str | Path, time: float, sampling: Sampling | None = None) -> Frame:
    """The frame at ``time`` (s), for repeating a query.

    Raises UsageError for a missing file or frame, PhotoError as `read_frames`.
    """
    path, sampling = Path(path), sampling or Sampling()
    if not path.is_file():
        raise UsageError(f"video {path} does not exist: correct the path")
    with VideoReader(path, sampling) as reader:
        for at, frame in reader.frames_near(time):
            if abs(at - time) < _SAME_TIME:
                shown = upright(frame, reader.aspect)
                return Frame(at, shown, "first", reader.claims, reader.notes)
            if at > time + 1:
                break
    raise UsageError(f"{path} has no frame at {time:.3f} s: use the version that was queried")


def _small(frame: Any) -> U8:
    copy = frame.reformat(width=SMALL[0], height=SMALL[1], format="rgb24")
    return np.asarray(copy.to_ndarray())
