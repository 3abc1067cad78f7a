"""RAW files: their full-size preview is queried, or none."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from geoloc.errors import PhotoError
from geoloc.photos import Photo, read_photo
from tests.media import picture
from tests.tiff_files import Directory, tiff

WIDTH, HEIGHT = 320, 200
SHOWN = picture(5, HEIGHT, WIDTH)
MOSAIC, LINEAR = 32803, 34892


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, "JPEG", quality=95, subsampling=0, **options)
    return memory.getvalue()


FULL, SMALL = jpeg(SHOWN), jpeg(SHOWN[::4, ::4])


def thumbnail(**more: object) -> Directory:
    """What Pillow would open: a small copy, as the first directory of NEF and DNG has it."""
    pixels = np.ascontiguousarray(SHOWN[::4, ::4])
    tags = {254: 1, 256: WIDTH // 4, 257: HEIGHT // 4, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3,
            278: HEIGHT // 4, 274: more.get("orientation", 1)}  # fmt: skip
    tags |= {271: b"NIKON CORPORATION\0", 306: b"2024:05:06 07:08:09\0"}
    return Directory(tags | more.get("tags", {}), pixels.tobytes(), more.get("below", ()))


def sensor(photometric: int = MOSAIC) -> Directory:
    values = np.arange(WIDTH * HEIGHT, dtype=np.uint16).tobytes()
    told = {254: 0, 256: WIDTH, 257: HEIGHT, 258: 16, 259: 1, 262: photometric, 277: 1, 278: HEIGHT}
    return Directory(told, values)


def preview(content: bytes = FULL, width: int = WIDTH, height: int = HEIGHT) -> Directory:
    return Directory({254: 1, 256: width, 257: height, 259: 6}, jpeg=content)


def nef(order: str = ">", orientation: int = 1, content: bytes = FULL) -> bytes:
    below = (preview(content), sensor())
    return tiff(thumbnail(below=below, orientation=orientation), order=order)


def cr2() -> bytes:
    """The full JPEG is the strip of the first directory; a name of its own follows the head."""
    first = Directory({256: WIDTH, 257: HEIGHT, 258: (8, 8, 8), 259: 6, 274: 1}, FULL)
    content = bytearray(tiff(first, preview(SMALL, 80, 50), sensor(), order="<", magic=b"II*\0"))
    return bytes(content)


def arw() -> bytes:
    return tiff(thumbnail(below=(sensor(),)), preview())


def dng() -> bytes:
    tags = {50706: (1, 4, 0, 0)}
    return tiff(thumbnail(below=(sensor(LINEAR), preview()), tags=tags))


def orf() -> bytes:
    page = Directory({256: WIDTH, 257: HEIGHT, 274: 1}, FULL)
    return tiff(page, magic=b"IIRO")


def rw2() -> bytes:
    page = Directory({2: WIDTH, 3: HEIGHT, 274: 1}, FULL)
    return tiff(page, magic=b"IIU\0")


def raf() -> bytes:
    size = struct.pack(">IHHHH", 1, 0x0100, 4, HEIGHT, WIDTH)
    head = b"FUJIFILMCCD-RAW 0201".ljust(92, b"\0") + struct.pack(">II", 100, len(size))
    return head + size + jpeg(SHOWN, exif=exif()) + bytes(5000)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def cr3() -> bytes:
    times = tiff(Directory({36867: b"2022:03:04 11:30:05\0"}))
    places = tiff(Directory({1: b"S\0", 3: b"W\0"}))
    entry = bytes(24) + struct.pack(">HH", WIDTH, HEIGHT) + bytes(30)
    moov = box(b"CMT1", tiff(Directory({274: 1}))) + box(b"CMT2", times) + box(b"CMT4", places)
    return (box(b"ftyp", b"crx \0\0\0\1crx isom") + box(b"moov", moov + box(b"CRAW", entry))
            + box(b"mdat", FULL + bytes(5000)))  # fmt: skip


def exif() -> Image.Exif:
    found = Image.Exif()
    found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2022:03:04 11:30:05"
    return found


def read(path: Path, content: bytes) -> Photo:
    path.write_bytes(content)
    return read_photo(path)


@pytest.mark.parametrize("made", [nef, cr2, arw, dng, orf, rw2, raf, cr3], ids=lambda f: f.__name__)
def test_the_full_preview_is_looked_at(tmp_path: Path, made: Callable[[], bytes]) -> None:
    photo = read(tmp_path / f"a.{made.__name__}", made())
    assert photo.size == (WIDTH, HEIGHT)
    assert np.abs(photo.pixels.astype(int) - SHOWN).mean() < 4
    (note,) = photo.notes
    assert "a RAW photo, queried by the camera's own full-size preview" in note
    assert photo.exif.get("time") == ("2022-03-04T11:30:05" if made in (raf, cr3) else None)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["a.nef", "a.tif", "a.jpg"])
def test_a_raw_file_is_known_by_its_content(tmp_path: Path, order: str, name: str) -> None:
    assert read(tmp_path / name, nef(order)).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (nef(content=SMALL), "whose preview has only 80 x 50 px of 320 x 200 px"),
        (nef(content=FULL[:300]), "is damaged or cut short|has no preview"),
        (tiff(thumbnail(below=(sensor(),))), "has no readable preview"),
        (tiff(thumbnail(below=(sensor(LINEAR),), tags={50706: (1, 4, 0, 0)})),
         "no readable preview"),
        (tiff(Directory({262: LINEAR, 256: WIDTH, 257: HEIGHT, 258: (8, 8, 8)}, FULL)),
         "no readable preview"),
        (b"FOVb" + bytes(100) + FULL, "320 x 200 px of an unknown size"),
        (b"FUJIFILMCCD-RAW 0201", "no readable preview"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "no readable preview"),
        (cr2()[:-40000], "cut short|no preview|whose preview"),
    ],
)  # fmt: skip
def test_no_thumbnail_is_taken_for_the_photo(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason) as caught:
        read(tmp_path / "a.dng", content)
    assert "\n" not in str(caught.value)
    assert "damaged" in str(caught.value) or "save it as JPEG or TIFF" in str(caught.value)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_preview_is_turned_as_its_file_says(tmp_path: Path, orientation: int) -> None:
    photo = read(tmp_path / "a.nef", nef(orientation=orientation))
    turns = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    expected = np.rot90(SHOWN, turns)
    assert photo.size == expected.shape[1::-1]
    assert np.abs(photo.pixels.astype(int) - expected).mean() < 4


def test_a_preview_that_is_upright_already_is_left_so(tmp_path: Path) -> None:
    standing = np.ascontiguousarray(np.rot90(SHOWN, -1))
    photo = read(tmp_path / "a.nef", nef(orientation=6, content=jpeg(standing)))
    assert np.abs(photo.pixels.astype(int) - standing).mean() < 4


@pytest.mark.parametrize(("content", "name"), [
    (b"\xff\x0a\xfa\x7f\x01\x90", "a JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "a JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "a JPEG 2000"),
    (b"8BPS\0\1" + bytes(40), "a Photoshop"),
])  # fmt: skip
def test_kinds_that_are_not_read_are_named(tmp_path: Path, content: bytes, name: str) -> None:
    with pytest.raises(PhotoError, match=f"is {name}.*save it as JPEG, PNG or TIFF"):
        read(tmp_path / "a.jpg", content)


def test_damaged_raw_files_raise_nothing_else(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(3), tmp_path / "a.raw"
    for made in (nef, cr2, dng, raf, cr3):
        content = made()
        for _ in range(12):
            broken = bytearray(content)
            for at in rng.integers(0, min(len(broken), 3000), 20):
                broken[at] = rng.integers(0, 256)
            path.write_bytes(broken[: rng.integers(20, len(broken))])
            try:
                read_photo(path)
            except PhotoError as error:
                assert "\n" not in str(error)
