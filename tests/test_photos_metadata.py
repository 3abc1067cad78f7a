"""Damaged metadata cost the evidence in them, not the photo."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoloc.errors import PhotoError
from geoloc.photos import read_photo
from geoloc.photos.metadata import without_metadata
from tests.media import damaged_png, picture

SEEN = picture(4, 100, 120)


def saved(kind: str, **options: object) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(SEEN).save(memory, kind, **options)
    return memory.getvalue()


def chunk(name: bytes, data: bytes, check: int | None = None) -> bytes:
    check = zlib.crc32(name + data) if check is None else check
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"tEXt", b"a\0b", check=1), chunk(b"zTXt", b"a\0\0" + b"no zlib"),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000))), chunk(b"iCCP", b"a\0\0no zlib"),
        chunk(b"pHYs", b"ab"), chunk(b"eXIf", b"\xff" * 50),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0"),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 99\nnot hexadecimal"),
        chunk(b"cHRM", b"abc"), chunk(b"sRGB", b""), chunk(b"gAMA", b""),
    ],
)  # fmt: skip
def test_damaged_chunks_of_a_png(tmp_path: Path, extra: bytes) -> None:
    whole = saved("PNG")
    (tmp_path / "a.png").write_bytes(whole[:33] + extra + whole[33:])
    assert (read_photo(tmp_path / "a.png").pixels == SEEN).all()


def test_what_was_left_aside_is_told(tmp_path: Path) -> None:
    whole = saved("PNG")
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk(b"tEXt", b"a\0b", check=1) + whole[33:])
    assert read_photo(tmp_path / "a.png").notes == (
        "a.png: its metadata is damaged and was ignored; its pixels are intact",)  # fmt: skip


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED, 0xFE, 0xE0])
@pytest.mark.parametrize("content", [
    b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MPF\0MM\0*\0\0\0\x08\xff\xff",
    b"ICC_PROFILE\0\x09\x01x", b"Photoshop 3.0\x008BIM\xff\xff\xff\xff", b"JFIF\0",
    b"http://ns.adobe.com/xap/1.0/\0<x", bytes(60_000),
])  # fmt: skip
def test_damaged_segments_of_a_jpeg(tmp_path: Path, marker: int, content: bytes) -> None:
    whole = saved("JPEG", quality=95)
    segment = struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
    (tmp_path / "a.jpg").write_bytes(whole[:2] + segment + whole[2:])
    (tmp_path / "b.jpg").write_bytes(whole)
    expected = read_photo(tmp_path / "b.jpg").pixels
    assert (read_photo(tmp_path / "a.jpg").pixels == expected).all()


def test_damaged_chunks_of_a_webp(tmp_path: Path) -> None:
    whole = saved("WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", icc_profile=b"x" * 40)
    (tmp_path / "a.webp").write_bytes(whole)
    assert (read_photo(tmp_path / "a.webp").pixels == SEEN).all()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_pixels_are_the_same_without_metadata(kind: str) -> None:
    options = (
        {"lossless": True} if kind == "webp" else {"comment": b"hello"} if kind == "jpeg" else {}
    )
    whole = saved(kind.upper(), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", **options)
    bare = without_metadata(kind, whole)
    assert bare is not None and len(bare) < len(whole) and b"II*" not in bare
    with Image.open(io.BytesIO(bare)) as a, Image.open(io.BytesIO(whole)) as b:
        assert (np.asarray(a.convert("RGB")) == np.asarray(b.convert("RGB"))).all()
    assert without_metadata("tiff", whole) is None


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_damaged_pixels_are_refused_as_before(tmp_path: Path, kind: str) -> None:
    whole = saved(kind.upper())
    (tmp_path / "a.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match="is damaged or cut short"):
        read_photo(tmp_path / "a.bin")
    for cut in range(0, 60, 7):
        assert isinstance(without_metadata(kind, whole[:cut]), bytes)


def test_damaged_pixels_are_not_taken_for_damaged_metadata(tmp_path: Path) -> None:
    damaged_png(tmp_path / "a.png")
    with pytest.raises(PhotoError, match="is damaged or cut short"):
        read_photo(tmp_path / "a.png")
