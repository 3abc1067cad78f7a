"""Frames of a video that are worth a look: after each cut, and at least every few seconds.

Frames are judged on small copies: one that is nearly black, flat, blurred or a title card is
passed over, and the next good one stands in for it. The number of frames is bounded, whatever
the length; they are then spread over all of it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import PhotoError, UsageError
from ..photos import Photo

SUFFIXES = frozenset((".mp4", ".mov", ".webm", ".mkv", ".m4v", ".avi", ".3gp", ".mpg", ".mpeg",
                      ".ts", ".gifv", ".ogv", ".wmv", ".flv"))  # fmt: skip
"""How names of video files end."""

Reason = Literal["first", "cut", "gap"]
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Sampling:
    """Which frames are taken.

    gap: s, at most so far apart; apart: s, at least so far, cuts or not; most: frames of one
    video; pixels: what a frame may have; every: s, how often a frame is looked at; long: s, of
    longer videos only the key frames are decoded where they are close enough together.
    """

    gap: float = 4.0
    apart: float = 1.0
    most: int = 60
    pixels: int = 40_000_000
    every: float = 0.2
    long: float = 180.0


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame: ``time`` s from the start, ``pixels`` uint8 ``(h, w, 3)`` RGB, upright."""

    time: float
    pixels: U8
    reason: Reason

    @property
    def sha256(self) -> str:
        """Digest of the upright pixels, row by row, as this version of the decoder gives them."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).data).hexdigest()

    def photo(self, path: Path, sha256: str) -> Photo:
        """The frame as a photo; ``sha256`` of the video's file."""
        height, width = self.pixels.shape[:2]
        told = {"time": self.time, "reason": self.reason, "sha256": self.sha256}
        return Photo(path, path.stem, sha256, self.pixels, (width, height), origin={"frame": told})


def read_frames(path: str | Path, sampling: Sampling | None = None) -> Iterator[Frame]:
    """The frames of a video that are worth a look, in order of time.

    Raises UsageError where there is no such file; PhotoError where it is no video, has no usable
    frame, is damaged or cut short: what could be decoded before has been yielded then.
    """
    path, sampling = Path(path), sampling or Sampling()
    if not path.is_file():
        raise UsageError(f"video {path} does not exist: correct the path")
    picker, count = _Picker(sampling), 0
    with _Opened(path, sampling) as opened:
        picker.spread(opened.duration)
        for time, frame in opened.frames(picker.due):
            reason = picker.look(time, _small(frame))
            if reason is None:
                continue
            yield Frame(time, upright(frame), reason)
            count += 1
            if count >= sampling.most:
                return
    if not count:
        raise PhotoError(f"{path} has no usable frame: all are black, flat, blurred or titles")


def read_frame(path: str | Path, time: float, sampling: Sampling | None = None) -> Frame:
    """The frame that was at ``time`` (s), for repeating an answer.

    Raises UsageError where there is no such file or frame, PhotoError as `read_frames`.
    """
    path, sampling = Path(path), sampling or Sampling()
    if not path.is_file():
        raise UsageError(f"video {path} does not exist: correct the path")
    with _Opened(path, sampling) as opened:
        opened.seek(time)
        for at, frame in opened.frames(lambda _: True):
            if abs(at - time) < 0.0005:
                return Frame(at, upright(frame), "first")
            if at > time + 1:
                break
    raise UsageError(f"{path} has no frame at {time:.3f} s: it is another version of the video")


def upright(frame: Any) -> U8:
    """RGB ``(h, w, 3)`` of a decoded frame, turned as the file says."""
    return _turned(np.asarray(frame.to_ndarray(format="rgb24")), frame)


class _Opened:
    """A video file being decoded; whatever the decoder raises becomes a PhotoError."""

    def __init__(self, path: Path, sampling: Sampling) -> None:
        self.path, self.sampling = path, sampling
        self._end = 0.0

    def __enter__(self) -> _Opened:
        import av

        if not self.path.stat().st_size:
            raise PhotoError(f"{self.path} is empty (0 bytes): get the file again")
        try:
            self._container = av.open(str(self.path), metadata_errors="replace")
        except Exception as error:  # noqa: BLE001  (av raises OS errors and its own)
            raise PhotoError(f"{self.path} is no video: {_reason(error)}") from None
        streams = self._container.streams.video
        if not streams:
            self._container.close()
            raise PhotoError(f"{self.path} has no pictures in it: it is sound alone")
        self._stream: Any = streams[0]
        self._check(self._stream.width or 0, self._stream.height or 0)
        self._stream.thread_type = "AUTO"
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def duration(self) -> float:
        """Length in s; 0 where the file does not tell."""
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return float(self._container.duration or 0) / 1e6

    def seek(self, time: float) -> None:
        """Go to the key frame before ``time``; a file that cannot is read from its start."""
        try:
            self._container.seek(int(max(0.0, time - 0.5) * 1e6), backward=True)
        except Exception:  # noqa: BLE001
            self._container.seek(0)

    def frames(self, due: Any) -> Iterator[tuple[float, Any]]:
        """(time, frame) for each decoded frame whose time is ``due``."""
        if self.duration > self.sampling.long and self._keys_are_close():
            self._stream.codec_context.skip_frame = "NONKEY"
        last = 0.0
        try:
            for frame in self._decoded():
                time = last if frame.time is None else float(frame.time)
                if not due(time):
                    continue
                last = time
                self._check(frame.width, frame.height)
                yield time, frame
        except PhotoError:
            raise
        except Exception as error:  # noqa: BLE001  (decoders raise anything on damaged bytes)
            raise PhotoError(
                f"{self.path} is damaged after {last:.1f} s: {_reason(error)}"
            ) from None
        self._check_end()

    def _decoded(self) -> Iterator[Any]:
        """Frames in order; how far the packets of all streams reach is noted on the way."""
        for packet in self._container.demux():
            self._end = max(self._end, _end_of(packet))
            if packet.stream.index == self._stream.index:
                yield from packet.decode()

    def _check_end(self) -> None:
        """Raises PhotoError where all streams end clearly before the file says that they do."""
        kind = self._container.format.name
        if kind not in _TELL_LENGTH or (kind == "matroska,webm" and _is_whole(self.path)):
            return
        told = float(self._container.duration or 0) / 1e6
        length = min(told, self.duration)  # where they differ, the shorter one: accuse no good file
        end = self._end - min(0.0, float(self._container.start_time or 0) / 1e6)
        if length - end > max(_MISSING_S, _MISSING * length):
            raise PhotoError(
                f"{self.path} ends at {end:.1f} s of {length:.1f} s: it was cut short, get the "
                "whole file"
            )

    def _keys_are_close(self) -> bool:
        """Whether no two key frames are farther apart than frames may be; reads, no decoding."""
        last = gap = 0.0
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None and packet.is_keyframe:
                    time = float(packet.pts * packet.time_base)
                    gap, last = max(gap, time - last), time
            self._container.seek(0)
        except Exception:  # noqa: BLE001  (damage is told when it is decoded)
            return False
        return max(gap, self.duration - last) <= 3 * self.sampling.gap

    def _check(self, width: int, height: int) -> None:
        if width * height > self.sampling.pixels:
            self._container.close()
            raise PhotoError(
                f"{self.path} has frames of {width} x {height} px, "
                f"the limit is {self.sampling.pixels:,} pixels: reduce it"
            )


@dataclass
class _Picker:
    """Decides, frame by frame, from small copies ``(54, 96, 3)``."""

    sampling: Sampling
    apart: float = 0.0
    _seen: float | None = None
    _taken: float | None = None
    _previous: NDArray[np.float32] | None = None
    _wanted: Reason | None = "first"
    _sharpness: deque[float] = field(default_factory=lambda: deque(maxlen=40))

    def spread(self, duration: float) -> None:
        """Keep frames so far apart that their number lasts for the whole video."""
        self.apart = max(self.sampling.apart, duration / self.sampling.most)

    def due(self, time: float) -> bool:
        """Whether the frame at ``time`` shall be looked at."""
        return self._seen is None or not 0 <= time - self._seen < self.sampling.every - 1e-6

    def look(self, time: float, small: U8) -> Reason | None:
        """Why this frame is taken, or None."""
        self._seen = time
        values = small.astype(np.float32)
        if self._previous is not None and is_cut(self._previous, values):
            self._wanted = self._wanted or "cut"
            self._sharpness.clear()
        self._previous = values
        since = np.inf if self._taken is None else time - self._taken
        if since >= max(self.sampling.gap, self.apart):
            self._wanted = self._wanted or "gap"
        if self._wanted is None or 0 <= since < self.apart or self._unusable(values):
            return None
        reason, self._wanted, self._taken = self._wanted, None, time
        return reason

    def _unusable(self, values: NDArray[np.float32]) -> bool:
        sharp = sharpness(values)
        usual = float(np.median(self._sharpness)) if self._sharpness else 0.0
        self._sharpness.append(sharp)
        return is_blank(values) or is_title(values) or sharp < max(_BLURRED, usual / 2)


# Whose head tells a length that stays when the rest is cut off. Others' is that of what is left.
_TELL_LENGTH = ("matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "flv", "asf")
_MISSING_S, _MISSING = 1.0, 0.05  # s, and share of the length, that no good file lacks

_SMALL = (96, 54)  # w, h of the copies that frames are judged by
_DARK, _FLAT = 24.0, 6.0  # grey levels
_BLURRED = 36.0  # `sharpness` of small copies: photos have 100 and more, out of focus 12 to 35
_CUT = 26.0  # grey levels that a px of the small copy changes by, in the mean
_ONE_COLOR = 0.6  # share of both the upper and the lower half that a title's ground covers


def is_cut(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether another shot begins: the picture changed and not merely its brightness."""
    steady = after - (after.mean() - before.mean())
    return bool(np.abs(steady - before).mean() > _CUT)


def is_blank(values: NDArray[np.float32]) -> bool:
    """Nearly black, or of one grey."""
    return bool(np.percentile(values, 95) < _DARK or values.std() < _FLAT)


def is_title(values: NDArray[np.float32]) -> bool:
    """A card with text: one colour is the ground of both halves (a clear sky is of one only)."""
    codes = (values // 16).astype(np.int64) @ np.array([256, 16, 1])
    common = np.bincount(codes.ravel()).argmax()
    center = values[codes == common].mean(axis=0)
    ground = (np.abs(values - center) < 10).all(axis=-1)
    half = len(ground) // 2
    return bool(min(ground[:half].mean(), ground[half:].mean()) > _ONE_COLOR)


def sharpness(values: NDArray[np.float32]) -> float:
    """The sharpest edges of the grey picture: the 99th percentile of its second differences
    between neighbouring px, % of its contrast. A picture with much sky has sharp edges too."""
    grey = values.mean(axis=-1)
    bends = np.concatenate([np.abs(np.diff(grey, 2, axis=axis)).ravel() for axis in (0, 1)])
    return float(100 * np.percentile(bends, 99) / max(float(grey.std()), 1.0))


def _end_of(packet: Any) -> float:
    """When what it shows or plays is over, s; 0 where it tells no time."""
    start = packet.dts if packet.pts is None else packet.pts
    if start is None or packet.stream.type not in ("video", "audio", "subtitle"):
        return 0.0
    return float((start + (packet.duration or 0)) * packet.time_base)


def _is_whole(path: Path) -> bool:
    """Whether a Matroska file has all bytes that its segment announces, or announces none.

    Its duration is no measure: live recordings have an estimate, others a last frame that stays.
    """
    with path.open("rb") as file:
        before, found, told = file.read(4096).partition(b"\x18\x53\x80\x67")  # RFC 8794: its ID,
    if not found or not told or not told[0]:
        return True
    length = 9 - told[0].bit_length()  # and its size, the first set bit tells of how many bytes
    most = (1 << 7 * length) - 1
    size = int.from_bytes(told[:length]) & most
    begins = len(before) + len(found) + length
    return size == most or begins + size <= path.stat().st_size  # all bits set: not known


def _small(frame: Any) -> U8:
    copy = frame.reformat(width=_SMALL[0], height=_SMALL[1], format="rgb24")
    return np.asarray(copy.to_ndarray())


def _turned(pixels: U8, frame: Any) -> U8:
    """By the display matrix, whose angle (degrees counter-clockwise) undoes the camera's."""
    return np.ascontiguousarray(np.rot90(pixels, round((frame.rotation or 0) / 90)))


def _reason(error: BaseException) -> str:
    """What a decoder says, without the path and number that it adds."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]
