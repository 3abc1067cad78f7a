"""Pictures are known by their first bytes."""

from __future__ import annotations

import io
import struct

import pillow_heif
import pytest
from PIL import Image

from geoloc.photos import photo_kind
from tests.media import picture


@pytest.mark.parametrize(
    ("saved", "kind"),
    [("JPEG", "jpeg"), ("PNG", "png"), ("GIF", "gif"), ("WEBP", "webp"), ("TIFF", "tiff"),
     ("BMP", "bmp"), ("HEIF", "heif"), ("AVIF", "avif"), ("JPEG2000", "jp2")],
)  # fmt: skip
def test_kinds_by_content(saved: str, kind: str) -> None:
    pillow_heif.register_heif_opener()
    memory = io.BytesIO()
    Image.fromarray(picture(1)).save(memory, saved)
    assert photo_kind(memory.getvalue()[:1024]) == kind
    assert photo_kind(memory.getvalue()) == kind


def directory(order: str, *entries: tuple[int, int]) -> bytes:
    """The head of a TIFF whose first directory holds these numbers."""
    magic = b"II*\x00" if order == "<" else b"MM\x00*"
    packed = (struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries)
    count = struct.pack(order + "IH", 8, len(entries))
    return magic + count + b"".join(packed) + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sensors_values_are_no_ordinary_tiff(order: str) -> None:
    assert photo_kind(directory(order, (256, 640), (262, 2))) == "tiff"
    assert photo_kind(directory(order, (254, 1), (262, 2))) == "tiff"
    assert photo_kind(directory(order, (254, 0), (330, 8))) == "tiff"
    assert photo_kind(directory(order, (254, 1), (330, 8))) == "raw"  # NEF, DNG
    assert photo_kind(directory(order, (262, 32803))) == "raw"
    assert photo_kind(directory(order, (262, 34892))) == "raw"
    assert photo_kind(directory(order, (262, 2), (50706, 1))) == "raw"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "raw"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "raw"),
        (b"FUJIFILMCCD-RAW 0201", "raw"), (b"IIRO\x08\x00\x00\x00", "raw"),
        (b"IIU\x00\x18\x00\x00\x00", "raw"), (b"II\x1a\x00\x00\x00HEAPCCDR", "raw"),
        (b"\xff\x0a\xfa\x7f\x01\x90", "jxl"), (b"\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00", "jxl"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avifmiaf", "avif"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x01isomavc1", None),
        (b"BM is how the letter begins, and no picture", None), (b"", None), (b"II*\x00", "tiff"),
        (b"%PDF-1.7", None), (b"RIFF\x00\x00\x00\x00AVI LIST", None),
    ],
)  # fmt: skip
def test_heads(head: bytes, kind: str | None) -> None:
    assert photo_kind(head) == kind
