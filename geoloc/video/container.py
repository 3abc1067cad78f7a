"""A video file being decoded; whatever the decoder raises becomes a PhotoError."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import PhotoError
from ..extras import extra
from ..photos.claims import video_claims
from .clock import Clock
from .judging import Sampling
from .shown import square_size

# Their headers state a length that stays when the rest is cut off; others state what is left.
_STATE_LENGTH = ("matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "flv", "asf")
_CLOCK_RESETS = ("mpegts", "mpeg")  # streams whose clock may be reset; their length is a guess
_ONLY = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,av1,obu,ivf,"
    "flv,live_flv,asf,ogg,rm,mxf,dv,nut,gif,apng,mjpeg,nsv,wtv,swf,vc1,h263,3dostr,ty,vob,amv,"
    "yuv4mpegpipe,vvc,cavsvideo,avs2,avs3,dirac,dnxhd,gxf",
}
"""What is opened: files that contain their own pictures. Lists of other files (concat, HLS, DASH,
SDP) and numbered images are not opened; a .mp4 from a chat may be such a text."""

_TIME_BASE = 1e6  # of a container's times, per s (FFmpeg's AV_TIME_BASE)
_UNKNOWN_LENGTH = 0xFFFFFFFF
_MISSING_S, _MISSING = 1.0, 0.05  # s, and share of the length, that no intact file lacks


@dataclass
class Survey:
    """What packets state without being decoded. ``keys``: number and time (s) of each key frame's
    packet; ``end``: s; ``timed``: whether all frames have timestamps; ``whole``: whether all
    packets could be read."""

    keys: list[tuple[int, float]] = field(default_factory=list)
    end: float = 0.0
    timed: bool = True
    whole: bool = False

    def first_before(self, time: float) -> int:
        """The packet to begin with so that the frame at ``time`` is decoded as from the start:
        a whole group of pictures precedes its own."""
        before = [number for number, key in self.keys if key <= time]
        return before[-2] if self.timed and len(before) > 1 else 0

    @property
    def longest(self) -> float:
        """The longest time between two key frames, s."""
        times = [0.0, *(time for _, time in self.keys), self.end]
        return max(after - before for before, after in pairwise(times))


class VideoReader:
    """A video file being decoded; whatever the decoder raises becomes a PhotoError.

    ``notes``: what a reader of its frames must know of the file, one sentence each.
    """

    def __init__(self, path: Path, sampling: Sampling) -> None:
        self.path, self.sampling = path, sampling
        self.notes: tuple[str, ...] = ()
        self._end = 0.0

    def __enter__(self) -> VideoReader:
        if not self.path.stat().st_size:
            raise PhotoError(f"{self.path} is empty (0 bytes): get the file again")
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _open(self) -> None:
        with extra("video", f"{self.path} is a video and"):
            import av

        try:
            self._container = av.open(
                str(self.path), metadata_errors="replace", options=dict(_ONLY)
            )
        except Exception as error:  # noqa: BLE001  (av raises OS errors and its own)
            raise PhotoError(f"{self.path} is not a video: {_reason(error)}") from None
        try:
            self._stream: Any = self._pictures()
            self._check(self._stream.width or 0, self._stream.height or 0)
        except PhotoError:
            self._container.close()
            raise
        self._stream.thread_type = "AUTO"

    def _pictures(self) -> Any:
        """The largest video stream that can be decoded, the first of several; cover art is not
        one, and cameras may put a small copy first."""
        from av.stream import Disposition

        streams = self._container.streams.video
        moving = [s for s in streams if not s.disposition & Disposition.attached_pic]
        if not moving:
            cover = " with a cover" if streams else ""
            raise PhotoError(f"{self.path} has no video stream: it is audio only{cover}")
        known = [s for s in moving if getattr(s, "codec_context", None) is not None]
        if not known:
            raise PhotoError(
                f"{self.path} is encoded with a codec that cannot be decoded: convert it to H.264"
            )
        if len(moving) > 1:
            count = len(moving) - 1
            others = "another video stream" if count == 1 else f"{count} more video streams"
            self.notes = (f"it holds {others}, not looked at: save each as a file of its own",)
        return max(known, key=lambda stream: (stream.width or 0) * (stream.height or 0))

    def _rewind(self) -> None:
        """Back to the first packet; seeking is by timestamps, which may not be in order."""
        self._container.close()
        self._open()

    @property
    def aspect(self) -> Fraction | None:
        """Width by height of a pixel, from the container, else from the codec."""
        aspect: Fraction | None = self._stream.sample_aspect_ratio
        return aspect or self._stream.codec_context.sample_aspect_ratio

    @property
    def start(self) -> float:
        """The timestamp of the first picture, s."""
        stream = self._stream
        if stream.start_time is not None and stream.time_base:
            return float(stream.start_time * stream.time_base)
        return float(self._container.start_time or 0) / _TIME_BASE

    @cached_property
    def claims(self) -> Mapping[str, Any]:
        """Time and place of the recording, as the file claims them."""
        return video_claims({**self._stream.metadata, **self._container.metadata})

    @cached_property
    def duration(self) -> float:
        """Length in s; 0 if unknown."""
        if self._container.format.name in _CLOCK_RESETS:
            return self.survey.end
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return float(self._container.duration or 0) / _TIME_BASE

    @cached_property
    def survey(self) -> Survey:
        """Read through all packets without decoding, then rewind."""
        survey, clock = Survey(), self._clock()
        with suppress(Exception):  # damage is reported when it is decoded
            for number, packet in enumerate(self._container.demux(self._stream)):
                if not packet.size:
                    continue
                if clock.jumps(packet):
                    clock.restart(packet)
                time = clock.note(packet)
                survey.timed &= time is not None
                if packet.is_keyframe and time is not None:
                    survey.keys.append((number, time))
            survey.whole = True
        survey.end = clock.end
        self._rewind()
        return survey

    def frames(self, due: Callable[[float], bool]) -> Iterator[tuple[float, Any]]:
        """(time, frame) for each decoded frame whose time is ``due``."""
        if self.duration > self.sampling.long and self._keys_are_close():
            self._stream.codec_context.skip_frame = "NONKEY"
        yield from self._read(due, 0)
        self._check_end()

    def frames_near(self, time: float) -> Iterator[tuple[float, Any]]:
        """(time, frame) from a safe distance before ``time`` on."""
        yield from self._read(lambda _: True, self.survey.first_before(time))

    def _read(self, due: Callable[[float], bool], first: int) -> Iterator[tuple[float, Any]]:
        last = 0.0
        try:
            for time, frame in self._decoded(first):
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

    def _decoded(self, first: int) -> Iterator[tuple[float, Any]]:
        """Times and frames in order, decoded from the video packet ``first`` on; records how far
        the packets of all streams reach."""
        clock, number = self._clock(), -1
        for packet in self._container.demux():
            self._end = max(self._end, _end_of(packet))
            if packet.stream.index != self._stream.index:
                continue
            number += 1
            if clock.jumps(packet):  # earlier frames come out first, timed by the old clock
                yield from ((clock.of(frame), frame) for frame in self._drained(number > first))
                clock.restart(packet)
            clock.note(packet)
            if number >= first:
                yield from ((clock.of(frame), frame) for frame in packet.decode())

    def _drained(self, begun: bool) -> Iterator[Any]:
        """The frames still in the decoder, which is then ready for other packets."""
        if begun:
            yield from self._stream.decode(None)
            self._stream.codec_context.flush_buffers()

    def _clock(self) -> Clock:
        rate = self._stream.average_rate or self._stream.guessed_rate
        return Clock(self.start, self._container.format.name in _CLOCK_RESETS, rate)

    def _check_end(self) -> None:
        """Raise PhotoError if all streams end well before the stated length."""
        kind = self._container.format.name
        if kind == "avi" and (lacks := _missing_of_avi(self.path)):
            raise PhotoError(
                f"{self.path} lacks {lacks:,} bytes that it announces: it was cut short, get the "
                "whole file"
            )
        if kind not in _STATE_LENGTH or (kind == "matroska,webm" and _is_whole(self.path)):
            return
        stated = float(self._container.duration or 0) / _TIME_BASE
        length = min(stated, self.duration)  # if they differ, the shorter: reject no intact file
        end = self._end - min(0.0, float(self._container.start_time or 0) / _TIME_BASE)
        if length - end > max(_MISSING_S, _MISSING * length):
            raise PhotoError(
                f"{self.path} ends at {end:.1f} s of {length:.1f} s: it was cut short, get the "
                "whole file"
            )

    def _keys_are_close(self) -> bool:
        """Whether key frames are no farther apart than sampled frames may be."""
        survey = self.survey
        return survey.whole and survey.timed and survey.longest <= 3 * self.sampling.gap

    def _check(self, width: int, height: int) -> None:
        width, height = square_size(width, height, self.aspect)
        if width * height > self.sampling.pixels:
            raise PhotoError(
                f"{self.path} has frames of {width} x {height} px, "
                f"the limit is {self.sampling.pixels:,} pixels: reduce it"
            )


def _end_of(packet: Any) -> float:
    """When a packet's picture or sound ends, s; 0 without a timestamp."""
    start = packet.dts if packet.pts is None else packet.pts
    if start is None or packet.stream.type not in ("video", "audio", "subtitle"):
        return 0.0
    return float((start + (packet.duration or 0)) * packet.time_base)


def _is_whole(path: Path) -> bool:
    """Whether a Matroska file has all bytes that its segment announces, or announces none.

    Its duration proves nothing: live recordings have an estimate, others a frozen last frame.
    """
    with path.open("rb") as file:
        before, marker, rest = file.read(4096).partition(b"\x18\x53\x80\x67")  # RFC 8794: its ID,
    if not marker or not rest or not rest[0]:
        return True
    length = 9 - rest[0].bit_length()  # and its size, whose first set bit gives its number of bytes
    most = (1 << 7 * length) - 1
    size = int.from_bytes(rest[:length]) & most
    begins = len(before) + len(marker) + length
    return size == most or begins + size <= path.stat().st_size  # all bits set: unknown


def _missing_of_avi(path: Path) -> int:
    """How many bytes of an AVI's parts (RIFF) are missing; 0 for few, or where none are announced.

    Their numbers of frames prove nothing, as decoders correct them by what is left.
    """
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while (head := file.read(8))[:4] == b"RIFF":
            length = int.from_bytes(head[4:], "little")
            end = at + len(head) + length
            if length == _UNKNOWN_LENGTH or end - size > _MISSING * end:
                return 0 if length == _UNKNOWN_LENGTH else end - size
            at = end + length % 2
            file.seek(at)
    return 0


def _reason(error: BaseException) -> str:
    """The decoder's message, without the path and number that it adds."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]
