"""Photos: every common format becomes upright RGB; whatever is damaged is told in one line."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import ExifTags, Image

from geoloc.errors import PhotoError, UsageError
from geoloc.photos import MAX_SIDE, Photo, read_photo
from tests import tiff_files

SHARED = Path(os.environ.get("GEOLOC_SHARED", Path(__file__).parents[2] / "shared"))
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 40), (30, 40, 210), (230, 220, 40)
Save = Callable[..., Path]


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Red and green above, blue and yellow below: no turn or flip leaves it as it is."""
    picture = Image.new("RGB", (width, height))
    for i, colour in enumerate((RED, GREEN, BLUE, YELLOW)):
        left, top = (i % 2) * width // 2, (i // 2) * height // 2
        picture.paste(colour, (left, top, left + width // 2, top + height // 2))
    return picture


def assert_quarters(pixels: NDArray[np.uint8], tolerance: int = 25) -> None:
    height, width, _ = pixels.shape
    for i, colour in enumerate((RED, GREEN, BLUE, YELLOW)):
        y, x = height * (1 + 2 * (i // 2)) // 4, width * (1 + 2 * (i % 2)) // 4
        assert np.abs(pixels[y, x].astype(int) - colour).max() <= tolerance, (i, pixels[y, x])


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(image: Image.Image, name: str, **options: Any) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif", "a.gif", "a.bmp", "a.heic"]
)
def test_formats(save: Save, name: str) -> None:
    pillow_heif.register_heif_opener()
    path = save(quarters(), name)
    photo = read_photo(path)
    assert_quarters(photo.pixels, 45)
    assert photo.pixels.shape == (48, 64, 3) and photo.pixels.dtype == np.uint8
    assert photo.size == (64, 48)
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (photo.path, photo.name, photo.exif) == (path, "a", {})


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA", "RGBA", "PA"])
def test_modes(save: Save, mode: str) -> None:
    picture = quarters().convert(mode)
    photo = read_photo(save(picture, "a.tif" if mode in ("YCbCr", "CMYK", "PA") else "a.png"))
    assert photo.pixels.shape == (48, 64, 3)
    if mode in ("CMYK", "YCbCr", "RGBA", "P"):
        assert_quarters(photo.pixels, 60)


def test_cmyk_jpeg(save: Save) -> None:
    assert_quarters(read_photo(save(quarters().convert("CMYK"), "a.jpg")).pixels, 60)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled(save: Save, name: str) -> None:
    deep = np.array([[0, 257, 32896, 65535]] * 3, np.uint16)
    pixels = read_photo(save(Image.fromarray(deep), name)).pixels
    assert pixels[1].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


def test_16_bit_colour_is_scaled(tmp_path: Path) -> None:
    row = struct.pack(">6H", 65535, 32896, 0, 257, 514, 65278)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )
    assert read_photo(path).pixels[0].tolist() == [[255, 128, 0], [1, 2, 254]]


def test_float_and_32_bit_grey(save: Save) -> None:
    unit = np.array([[0.0, 0.5, 1.0, np.nan]], np.float32)
    assert read_photo(save(Image.fromarray(unit), "f.tif")).pixels[0, :, 0].tolist() == [
        0,
        128,
        255,
        0,
    ]
    whole = np.array([[0, 65535]], np.int32)
    assert read_photo(save(Image.fromarray(whole), "i.tif")).pixels[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.avif"])
def test_transparency_is_laid_on_white(save: Save, name: str) -> None:
    picture = quarters().convert("RGBA")
    picture.paste((0, 0, 0, 0), (32, 24, 64, 48))
    pixels = read_photo(save(picture, name)).pixels
    assert pixels[40, 56].min() >= 250
    assert np.abs(pixels[8, 8].astype(int) - RED).max() < 30


def test_transparent_palettes(save: Save) -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putpixel((0, 0), 0)
    pixels = read_photo(save(picture, "a.png", transparency=0)).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[2, 2].tolist() == [200, 0, 0]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.avif", "a.tif"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_picture_stands_for_an_animation_or_a_document(
    save: Save, name: str, count: int
) -> None:
    rest = [Image.new("RGB", (64, 48), (9 * n, 9, 9)) for n in range(1, count)]
    photo = read_photo(save(quarters(), name, save_all=True, append_images=rest, duration=50))
    assert_quarters(photo.pixels, 45)
    told = [note for note in photo.notes if "not looked at" in note]
    assert [note.split(",")[0] for note in told] == [
        *[f"{name}: it holds another picture"][: count == 2],
        *[f"{name}: it holds 2 more pictures"][: count == 3],
    ]


def _page(kind: int, picture: Image.Image) -> tiff_files.Directory:
    width, height = picture.size
    return tiff_files.Directory(
        {254: kind, 256: width, 257: height, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 278: height},
        picture.tobytes(),
    )


def test_previews_and_masks_in_a_file_are_no_other_pictures(save: Save, tmp_path: Path) -> None:
    small = quarters(32, 24)
    camera = save(quarters(), "a.mpo", save_all=True, append_images=[small])
    pages = save(quarters(), "b.tif", save_all=True, append_images=[small.copy()] * 2)
    parts = [_page(kind, picture) for kind, picture in (
        (1, small), (0, quarters()), (1, small), (4, quarters()))]  # fmt: skip
    (tmp_path / "c.tif").write_bytes(tiff_files.tiff(*parts))
    assert not any("not looked at" in note for note in read_photo(camera).notes)
    assert any("2 more pictures" in note for note in read_photo(pages).notes)
    assert not any("not looked at" in note for note in read_photo(tmp_path / "c.tif").notes)
    assert read_photo(tmp_path / "c.tif").size == (64, 48)


TURNS = {
    1: (), 2: (Image.Transpose.FLIP_LEFT_RIGHT,), 3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,), 5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,), 7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}  # fmt: skip
"""How a camera would have stored the upright picture, by EXIF orientation."""


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif", "a.png"])
def test_photos_are_turned_upright(save: Save, orientation: int, name: str) -> None:
    stored = quarters()
    for turn in TURNS[orientation]:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photo = read_photo(save(stored, name, exif=exif))
    assert_quarters(photo.pixels, 45)
    assert photo.pixels.shape == (48, 64, 3) and photo.size == (64, 48)


def test_square_photos_turn_too(save: Save) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = quarters(64, 64).transpose(Image.Transpose.ROTATE_90)
    assert_quarters(read_photo(save(stored, "a.jpg", exif=exif)).pixels)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_huge_photos_are_reduced(save: Save, name: str) -> None:
    photo = read_photo(save(quarters(9000, 600), name))
    assert photo.size == (9000, 600)
    assert photo.pixels.shape == (273, MAX_SIDE, 3)
    assert_quarters(photo.pixels)


def with_exif(time: str = "2022:03:04 11:30:05", **gps: Any) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = time
    place = {"GPSLatitudeRef": "S", "GPSLatitude": (33.0, 27.0, 36.0),
             "GPSLongitudeRef": "W", "GPSLongitude": (70.0, 39.0, 0.0)} | gps  # fmt: skip
    for key, value in place.items():
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS[key]] = value
    return exif


def test_exif_time_and_place_are_evidence(save: Save) -> None:
    exif = read_photo(save(quarters(), "a.jpg", exif=with_exif())).exif
    assert exif["time"] == "2022-03-04T11:30:05"
    assert exif["gps"] == pytest.approx({"lat": -33.46, "lon": -70.65})
    offset = with_exif()
    offset.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.OffsetTimeOriginal] = "+02:00"
    assert read_photo(save(quarters(), "b.jpg", exif=offset)).exif["time"].endswith("05+02:00")


@pytest.mark.parametrize(
    "exif",
    [
        with_exif(time="0000:00:00 00:00:00", GPSLatitude=(95.0, 0.0, 0.0)),
        with_exif(time="yesterday", GPSLatitude=(1.0,)),
        with_exif(time="", GPSLongitude=(Fraction(200), Fraction(0), Fraction(0))),
    ],
)
def test_absurd_exif_is_left_out(save: Save, exif: Image.Exif) -> None:
    assert read_photo(save(quarters(), "a.jpg", exif=exif)).exif == {}


def test_damaged_exif_does_not_cost_the_photo(save: Save) -> None:
    path = save(quarters(), "a.jpg", exif=with_exif())
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif\0\0") + 14
    data[start : start + 60] = bytes(range(200, 255)) + bytes(5)
    path.write_bytes(data)
    assert read_photo(path).pixels.shape == (48, 64, 3)


def fails(path: Path, message: str, kind: type[Exception] = PhotoError, **options: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        read_photo(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("dear diary\n")
    fails(path, "is not a photo")
    path.write_bytes(b"")
    fails(path, "is empty")
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    fails(path, "is not a photo")
    fails(tmp_path, "is a folder", UsageError)
    fails(tmp_path / "no.jpg", "does not exist", UsageError)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif", "a.heic"])
def test_photos_cut_short_are_refused(save: Save, name: str) -> None:
    pillow_heif.register_heif_opener()
    grain = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    path = save(Image.fromarray(grain), name)
    data = path.read_bytes()
    for share in (0.05, 0.5, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        fails(path, "is damaged|is not a photo")


def bomb(path: Path, side: int) -> Path:
    """A few bytes of PNG that announce ``side`` x ``side`` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )  # fmt: skip
    return path


@pytest.mark.parametrize(("side", "pixels"), [(15_000, "15,000 x 15,000"), (40_000, "more than")])
def test_bombs_are_refused_by_their_header(tmp_path: Path, side: int, pixels: str) -> None:
    fails(bomb(tmp_path / "a.png", side), f"has {pixels}.*limit is 200,000,000")


def test_the_limit_is_the_callers(save: Save) -> None:
    path = save(quarters(), "a.png")
    fails(path, "64 x 48 pixels, the limit is 3,071", max_pixels=3071)
    assert read_photo(path, max_pixels=3072).size == (64, 48)


def test_real_photos() -> None:
    folder = SHARED / "data/photos"
    if not folder.is_dir():
        pytest.skip(f"no real photos in {folder}")
    photos: list[Photo] = [read_photo(path) for path in sorted(folder.glob("*.jpg"))]
    assert len(photos) >= 5
    assert all(photo.pixels.std() > 20 for photo in photos)


def tiff(path: Path, dtype: str, interleave: str, **options: Any) -> Path:
    """The quarters as GDAL writes them."""
    pixels = np.asarray(quarters()).astype(dtype) * (257 if dtype == "uint16" else 1)
    profile = {"driver": "GTiff", "width": 64, "height": 48, "count": 3, "photometric": "rgb"}
    with rasterio.open(path, "w", dtype=dtype, interleave=interleave, **profile, **options) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_deep_channels_in_separate_planes_are_never_read_wrongly(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"16 bits in separate planes.*save it with interleaved"):
        read_photo(tiff(tmp_path / "a.tif", "uint16", "band"))
    for n, (dtype, interleave, options) in enumerate([
        ("uint16", "pixel", {}), ("uint8", "band", {}), ("uint8", "pixel", {}),
        ("uint16", "band", {"compress": "deflate"}), ("uint8", "band", {"compress": "lzw"}),
    ]):  # fmt: skip
        path = tiff(tmp_path / f"{n}.tif", dtype, interleave, **options)
        assert_quarters(read_photo(path).pixels, 1)


@pytest.mark.parametrize("scheme", ["http", "https", "s3", "file"])
def test_a_url_is_no_file(scheme: str) -> None:
    url = f"{scheme}://example.org/y.jpg"
    with pytest.raises(UsageError, match=f"{url} is a URL.*download it first") as caught:
        read_photo(url.replace("//", "//user:secret@") + "?key=secret")
    assert "secret" not in str(caught.value)
