"""RAW photos: the full-size preview that the camera stored beside the sensor's values.

The sensor's values themselves are not developed. A preview smaller than the photo is not used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from .claims import exif_claims, tag_claims
from .directories import BYTE_ORDERS, Directory, directories, number

_WIDTH, _HEIGHT, _PHOTOMETRIC, _STRIPS, _TILES = 256, 257, 262, 273, 324
_PIXELS_X, _PIXELS_Y = 40962, 40963  # of EXIF
_PANASONIC = b"IIU\x00"
_OF_A_SENSOR = (32803, 34892)
_RAF, _RAF_SIZE = b"FUJIFILMCCD-RAW", 0x0100
_FULL = 0.9  # of the sensor's longer side: cameras cut off margins
_MOST_STARTS = 4096
_FRAMES = (0xC0, 0xC1, 0xC2)  # JPEG frames that every decoder reads; sensor values have 0xC3
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_SCAN, _FILL = 0xDA, 0xFF
_LONE = (0x01, 0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7)  # markers without a length

Size = tuple[int, int]


@dataclass(frozen=True)
class Raw:
    """The content of a RAW file: ``preview`` its largest colour JPEG, ``size`` of that (w, h),
    ``sensor``: the photo's own size, (0, 0) if unknown; ``orientation`` and ``claims`` of the
    file."""

    preview: bytes
    size: Size
    sensor: Size
    orientation: int
    claims: Mapping[str, Any]

    @property
    def is_full(self) -> bool:
        """Whether the preview shows all of the photo at its full size."""
        return 0 < _FULL * max(self.sensor) <= max(self.size)

    @property
    def turned_by(self) -> int:
        """The EXIF orientation to apply to the preview: 1 if it is upright already."""
        aside = self.orientation >= 5
        lies = self.sensor[0] > self.sensor[1]
        return 1 if aside and lies != (self.size[0] > self.size[1]) else self.orientation


def read_raw(data: bytes) -> Raw:
    """Parse a RAW file; without any preview its size is (0, 0)."""
    parsed = list(directories(data))
    mosaic = {at for d in parsed if number(d, _PHOTOMETRIC) in _OF_A_SENSOR for at in _starts(d)}
    jpegs = ((size, at) for at, size in _jpegs(data) if at not in mosaic)
    size, at = max(jpegs, key=lambda jpeg: jpeg[0][0] * jpeg[0][1], default=((0, 0), len(data)))
    exif = _exif(data)
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return Raw(
        data[at:],
        size,
        _sensor(data, parsed),
        orientation if isinstance(orientation, int) else 1,
        _boxed_claims(data) or exif_claims(exif),
    )


def _starts(directory: Directory) -> Iterator[int]:
    for tag in (_STRIPS, _TILES):
        yield from directory.get(tag, ())


def _jpegs(data: bytes) -> Iterator[tuple[int, Size]]:
    """Offset and size of each JPEG with three 8-bit colours, anywhere in the file."""
    at = data.find(b"\xff\xd8\xff")
    for _ in range(_MOST_STARTS):
        if at < 0:
            return
        if size := _jpeg_size(data, at + 2):
            yield at, size
        at = data.find(b"\xff\xd8\xff", at + 3)


def _jpeg_size(data: bytes, at: int) -> Size | None:
    """Size by the frame header (ITU-T T.81, B.2.2), which must precede any scan."""
    while at + 10 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if kind in _FRAMES:
            depth, height, width, colours = struct.unpack_from(">BHHB", data, at + 4)
            return (width, height) if (depth, colours) == (8, 3) else None
        if kind == _FILL:
            at += 1
        elif kind in _LONE:
            at += 2
        elif length < 2 or kind == _SCAN or kind in _OTHER_FRAMES:
            return None
        else:
            at += 2 + length
    return None


def _sensor(data: bytes, parsed: list[Directory]) -> Size:
    """The photo's own size: the largest that the file states."""
    pairs = [(_WIDTH, _HEIGHT), (_PIXELS_X, _PIXELS_Y)]
    if data.startswith(_PANASONIC):
        pairs.append((2, 3))
    sizes = [(number(d, x), number(d, y)) for d in parsed for x, y in pairs]
    sizes += [*_canon_sizes(data), *_fuji_sizes(data)]
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def _canon_sizes(data: bytes) -> Iterator[Size]:
    """Sizes of the tracks of a CR3 (sample entries of ISO 14496-12)."""
    if data[4:12] != b"ftypcrx ":
        return
    at = data.find(b"CRAW", 0, 1 << 20)
    while 0 <= at <= len(data) - 32:
        yield struct.unpack_from(">HH", data, at + 28)
        at = data.find(b"CRAW", at + 4, 1 << 20)


def _fuji_sizes(data: bytes) -> Iterator[Size]:
    """Sizes in a RAF, whose header points to records of tag, length and value."""
    if not data.startswith(_RAF) or len(data) < 100:
        return
    at = int.from_bytes(data[92:96])
    count = min(int.from_bytes(data[at : at + 4]), 256)
    at += 4
    for _ in range(count):
        if at + 8 > len(data):
            return
        tag, length = struct.unpack_from(">HH", data, at)
        if tag == _RAF_SIZE:
            height, width = struct.unpack_from(">HH", data, at + 4)
            yield width, height
        at += 4 + length


def _exif(data: bytes) -> Image.Exif:
    """EXIF of a file based on TIFF, or from a box of a CR3; else empty."""
    exif = Image.Exif()
    block = data if data[:4] in BYTE_ORDERS else _box(data, b"CMT1")
    if order := BYTE_ORDERS.get(block[:4]):
        try:
            exif.load((b"II*\x00" if order == "<" else b"MM\x00*") + block[4:])
        except Exception:  # noqa: BLE001  (its offsets may point anywhere)
            return Image.Exif()
    return exif


def _boxed_claims(data: bytes) -> dict[str, Any]:
    """Claims of a CR3, whose EXIF and GPS directories are in separate boxes."""
    tags = []
    for name in (b"CMT2", b"CMT4"):
        exif = Image.Exif()
        try:
            exif.load(_box(data, name))
        except Exception:  # noqa: BLE001  (it may be absent or damaged)
            exif = Image.Exif()
        tags.append(exif)
    return tag_claims(*tags)


def _box(data: bytes, name: bytes) -> bytes:
    """The content of the first box of this name at the start of a CR3, or nothing."""
    at = data.find(name, 0, 1 << 20) if data[4:12] == b"ftypcrx " else -1
    return b"" if at < 4 else data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at])]
