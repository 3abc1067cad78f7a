"""Whether bytes are the start of a video, whatever the file is called."""

from __future__ import annotations

_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM (RFC 8794)
    b"FLV\x01", b".RMF", b"YUV4MPEG2 ",
    b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3",  # MPEG program stream, and bare MPEG video
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\x1f\x07\x00",  # DV tapes
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",  # MXF
)  # fmt: skip
_RIFF_FORMS = (b"AVI ", b"CDXA")
_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # first ones of old QuickTime files
_NOT_MOVING = (b"M4A ", b"M4B ", b"M4P ", b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2",
               b"msf1", b"hevc", b"hevx", b"hevm", b"hevs", b"avif", b"avis", b"crx ", b"jxl ",
               b"jp2 ", b"jpx ", b"jpm ")  # fmt: skip
_TEXT = 0x20202020  # four letters as a number: "I am free" begins no file
_SYNC = 0x47
_PACKETS = (188, 192, 204)  # bytes: plain, with time codes (camcorders, Blu-ray), with parity
_LEAST_PACKETS = 4


def is_video_content(head: bytes) -> bool:
    """Whether a file that begins with ``head``, its first KiB or more, is a video: MPEG-TS,
    MPEG-PS, AVI, ASF, MP4/MOV, Matroska, FLV, Ogg with video, DV, MXF. Audio alone in a container
    that also holds video can only be recognized by opening it."""
    if head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] in _RIFF_FORMS):
        return True
    if head[:4] == b"OggS":
        return b"\x80theora" in head or b"\x01video" in head
    return _is_mp4(head) or _is_transport_stream(head)


def _is_mp4(head: bytes) -> bool:
    size, name = int.from_bytes(head[:4]), head[4:8]
    if name == b"ftyp":
        return size >= 16 and head[8:12] not in _NOT_MOVING
    return name in _BOXES and (size in (0, 1) or 8 <= size < _TEXT)


def _is_transport_stream(head: bytes) -> bool:
    """Whether packets begin at regular distances (ISO 13818-1) from any first one."""
    if head.isascii():
        return False  # a G may stand at any place of a text
    return any(
        _all_begin(head, range(first, len(head) - 3, size))
        for size in _PACKETS
        for first in range(size)
        if head[first : first + 1] == bytes([_SYNC])
    )


def _all_begin(head: bytes, starts: range) -> bool:
    """A packet begins with the sync byte, has no error flag, and is not empty."""
    return len(starts) >= _LEAST_PACKETS and all(
        head[at] == _SYNC and not head[at + 1] & 0x80 and head[at + 3] & 0x30 for at in starts
    )
