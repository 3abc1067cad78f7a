"""What a file says of its pixels is followed: depth, palettes, alpha, profiles, orientation."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from geoloc.errors import PhotoError
from geoloc.photos import read_photo
from geoloc.photos.hdr import PQ
from geoloc.photos.profiles import ADOBE_GAMMA, ADOBE_RGB, D65, matrix_profile
from tests.media import picture
from tests.tiff_files import Directory, tiff

P3 = (D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
PROPHOTO = ((0.3457, 0.3585), (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
LEVELS = [0, 40, 128, 255]


def grey_page(bits: int, values: bytes, white_is_zero: bool = False, **more: Any) -> Directory:
    """One row of four greys."""
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 277: 1, 278: 1}
    return Directory(tags | more.get("tags", {}), values)


def first_row(path: Path, content: bytes) -> NDArray[np.uint8]:
    path.write_bytes(content)
    return read_photo(path).pixels[0]


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
def test_greys_of_every_depth_and_either_polarity(
    tmp_path: Path, bits: int, order: str, white_is_zero: bool
) -> None:
    most = (1 << bits) - 1
    stored = [0, most, most // 3, most]
    if bits in (8, 16):
        values = struct.pack(f"{order}4{'B' if bits == 8 else 'H'}", *stored)
    else:  # packed, most significant bits first
        packed = sum(value << bits * (3 - n) for n, value in enumerate(stored))
        spare = -4 * bits % 8
        values = (packed << spare).to_bytes((4 * bits + 7) // 8)
    path = tmp_path / "a.tif"
    content = tiff(grey_page(bits, values, white_is_zero), order=order)
    if (bits == 12 and (white_is_zero or order == ">")) or (bits, white_is_zero, order) == (
        16, True, ">",
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(PhotoError, match=r"unsupported kind of TIFF.*save it as JPEG"):
            read_photo(path)
        return
    row = first_row(path, content)
    shares = np.array(stored) / most
    expected = np.rint(255 * (1 - shares if white_is_zero else shares))
    assert np.abs(row - expected[:, None]).max() <= 1


def test_the_largest_value_that_a_file_tells_is_white(tmp_path: Path) -> None:
    values = struct.pack("<4H", 0, 1024, 2048, 4095)
    told = tiff(grey_page(16, values, tags={281: 4095}))
    assert first_row(tmp_path / "a.tif", told)[:, 0].tolist() == [0, 64, 128, 255]
    lie = tiff(grey_page(16, values, tags={281: 1000}))
    assert first_row(tmp_path / "b.tif", lie)[:, 0].tolist() == [0, 4, 8, 16]


def test_signed_and_floating_greys(tmp_path: Path) -> None:
    signed = tiff(grey_page(16, struct.pack("<4h", -5, 0, 16384, 32767), tags={339: 2}))
    assert first_row(tmp_path / "a.tif", signed)[:, 0].tolist() == [0, 0, 128, 255]
    values = struct.pack("<4f", 0, 0.25, 0.5, 1)
    for white_is_zero, expected in ((False, [0, 64, 128, 255]), (True, [255, 191, 128, 0])):
        page = grey_page(32, values, white_is_zero, tags={339: 3})
        row = first_row(tmp_path / "f.tif", tiff(page))[:, 0]
        assert np.abs(row.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("scale", [1, 257, 256])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [4, 8])
def test_palettes_of_8_bit_values_in_16_bit_fields(
    tmp_path: Path, scale: int, order: str, bits: int
) -> None:
    """Where no colour of a palette is above 255 it is of 8 bits, as libtiff has it."""
    colours = np.zeros((3, 1 << bits), int)
    colours[:, :4] = np.array([(10, 20, 30), (200, 0, 5), (0, 255, 90), (7, 99, 240)]).T
    values = bytes(range(4)) if bits == 8 else b"\x01\x23"
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 3, 277: 1, 278: 1,
            320: (colours * scale).ravel().tolist()}  # fmt: skip
    row = first_row(tmp_path / "a.tif", tiff(Directory(tags, values), order=order))
    assert row.tolist() == colours[:, :4].T.tolist()


@pytest.mark.parametrize(("extra", "expected"), [
    (0, [100, 50, 200]),  # of no known use
    (1, [227, 177, 255]),  # associated: already multiplied
    (2, [177, 152, 227]),
])  # fmt: skip
def test_alpha_as_the_file_says(tmp_path: Path, extra: int, expected: list[int]) -> None:
    tags = {256: 2, 257: 1, 258: (8, 8, 8, 8), 259: 1, 262: 2, 277: 4, 278: 1, 338: extra}
    values = bytes((100, 50, 200, 128)) * 2
    row = first_row(tmp_path / "a.tif", tiff(Directory(tags, values)))
    assert np.abs(row[0].astype(int) - expected).max() <= 1
    grey = {256: 2, 257: 1, 258: (8, 8), 259: 1, 262: 1, 277: 2, 278: 1, 338: extra}
    row = first_row(tmp_path / "g.tif", tiff(Directory(grey, bytes((100, 128)) * 2)))
    assert np.abs(row[0].astype(int) - expected[0]).max() <= 1


def test_lab(tmp_path: Path) -> None:
    tags = {256: 2, 257: 1, 258: (8, 8, 8), 259: 1, 262: 8, 277: 3, 278: 1}
    values = bytes((138, 81, 70)) + bytes((255, 0, 0))  # L 54.1, a 81, b 70: red; and white
    row = first_row(tmp_path / "a.tif", tiff(Directory(tags, values)))
    assert row[0, 0] > 240 and row[0, 1:].max() < 60 and row[1].min() >= 253


def test_a_small_copy_before_the_photo_is_passed_over(tmp_path: Path) -> None:
    def page(kind: int, width: int, level: int) -> Directory:
        tags = {254: kind, 256: width, 257: width, 258: 8, 259: 1, 262: 1, 277: 1, 278: width}
        return Directory(tags, bytes([level]) * width**2)

    (tmp_path / "a.tif").write_bytes(tiff(page(1, 8, 10), page(0, 100, 99)))
    photo = read_photo(tmp_path / "a.tif")
    assert photo.size == (100, 100) and photo.pixels.max() == photo.pixels.min() == 99


def oriented(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    """By the meaning of each (EXIF 2.32, 4.6.4): where row 0 and column 0 of the file are."""
    seen = picture(3, 100, 140)
    stored = {1: seen, 2: seen[:, ::-1], 3: seen[::-1, ::-1], 4: seen[::-1],
              5: seen.transpose(1, 0, 2), 6: np.rot90(seen),
              7: np.rot90(seen, 2).transpose(1, 0, 2),
              8: np.rot90(seen, -1)}[orientation]  # fmt: skip
    options = {"lossless": True} if suffix == "webp" else {"quality": 98} if suffix == "jpg" else {}
    path = tmp_path / f"a.{suffix}"
    image = Image.fromarray(np.ascontiguousarray(stored))
    image.save(path, exif=oriented(orientation), **options)
    photo = read_photo(path)
    assert photo.size == (140, 100)
    assert np.abs(photo.pixels.astype(int) - seen).mean() < 8


@pytest.mark.parametrize("orientation", [0, 9, 42, b"abc\0", b"\0", (9, 6)])
def test_an_orientation_that_is_none_turns_nothing(
    tmp_path: Path, orientation: int | bytes | tuple[int, ...]
) -> None:
    block = b"Exif\0\0" + tiff(Directory({274: orientation}))
    Image.fromarray(picture(3, 100, 140)).save(tmp_path / "a.png", exif=block)
    assert b"eXIf" in (tmp_path / "a.png").read_bytes()
    assert (read_photo(tmp_path / "a.png").pixels == picture(3, 100, 140)).all()


def test_an_orientation_of_another_type_is_followed(tmp_path: Path) -> None:
    block = b"Exif\0\0" + tiff(Directory({274: (6, 6)}))
    Image.fromarray(picture(3, 100, 140)).save(tmp_path / "a.png", exif=block)
    assert (read_photo(tmp_path / "a.png").pixels == np.rot90(picture(3, 100, 140), -1)).all()


@pytest.mark.parametrize("suffix", ["heic", "avif"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_that_turn_themselves_are_not_turned_twice(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    pillow_heif.register_heif_opener()
    seen = picture(3, 100, 140)
    stored = np.rot90(seen, {3: 2, 6: 1, 8: -1}[orientation])
    image = Image.fromarray(np.ascontiguousarray(stored))
    image.save(tmp_path / f"a.{suffix}", exif=oriented(orientation).tobytes(), quality=90)
    photo = read_photo(tmp_path / f"a.{suffix}")
    assert photo.size == (140, 100)
    assert np.abs(photo.pixels.astype(int) - seen).mean() < 12


def through(profile: bytes, pixels: NDArray[np.uint8]) -> Image.Image:
    """A picture as it is stored under a profile."""
    srgb, other = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    done = ImageCms.profileToProfile(Image.fromarray(pixels), srgb, other)
    assert done is not None
    return done


MUTED = np.asarray(picture(8, 100, 140) // 2 + 60, np.uint8)
"""Colours that every space has."""


@pytest.mark.parametrize("space", [P3, PROPHOTO, ADOBE_RGB], ids=["P3", "ProPhoto", "Adobe RGB"])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg", "heic"])
def test_profiles_are_followed(
    tmp_path: Path, space: tuple[tuple[float, float], ...], suffix: str
) -> None:
    pillow_heif.register_heif_opener()
    profile = matrix_profile(space, 1.8 if space is PROPHOTO else 2.2)
    stored = through(profile, MUTED)
    assert np.abs(np.asarray(stored).astype(int) - MUTED).max() > 8
    options = {"png": {}, "tif": {}, "webp": {"lossless": True}}.get(suffix, {"quality": 98})
    stored.save(tmp_path / f"a.{suffix}", icc_profile=profile, **options)
    photo = read_photo(tmp_path / f"a.{suffix}")
    off = np.abs(photo.pixels.astype(int) - MUTED)
    assert off.mean() < (2 if suffix in ("png", "tif") else 9) and photo.notes == ()


def test_srgb_by_whatever_profile_stays_to_the_last_bit(tmp_path: Path) -> None:
    image = Image.fromarray(picture(8, 100, 140))
    image.save(tmp_path / "a.png")
    plain = read_photo(tmp_path / "a.png").pixels
    for n, profile in enumerate((
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"\0" * 64,
    )):  # fmt: skip
        image.save(tmp_path / f"{n}.png", icc_profile=profile)
        assert (read_photo(tmp_path / f"{n}.png").pixels == plain).all()


@pytest.mark.parametrize("profile", [b"rubbish" * 40, b"\0" * 128, b"x"])
def test_a_damaged_profile_is_left_aside_and_told(tmp_path: Path, profile: bytes) -> None:
    image = Image.fromarray(picture(8, 100, 140))
    image.save(tmp_path / "a.png", icc_profile=profile)
    photo = read_photo(tmp_path / "a.png")
    assert (photo.pixels == picture(8, 100, 140)).all()
    (note,) = photo.notes
    assert note.startswith("a.png: its colour profile is damaged") and "sRGB" in note


def test_a_profile_for_other_pictures_is_left_aside_and_told(tmp_path: Path) -> None:
    Image.fromarray(picture(8, 100, 140)).save(tmp_path / "a.png", icc_profile=grey_profile(1.8))
    photo = read_photo(tmp_path / "a.png")
    assert (photo.pixels == picture(8, 100, 140)).all() and len(photo.notes) == 1


def icc(space: bytes, tags: dict[bytes, bytes], kind: bytes, pcs: bytes) -> bytes:
    """An ICC profile of these tags (ICC.1:2010, 7)."""
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table, body = (
            table + name + struct.pack(">II", at + len(body), len(content)),
            body + content,
        )
    head = struct.pack(">I4sI4s4s4s12x4s28xiii48x", at + len(body), bytes(4), 0x02400000, kind,
                       space, pcs, b"acsp", 63190, 65536, 54061)  # fmt: skip
    return head + struct.pack(">I", len(tags)) + table + body


def grey_profile(gamma: float) -> bytes:
    white = struct.pack(">4s4xiii", b"XYZ ", 63190, 65536, 54061)
    curve = struct.pack(">4s4xIH", b"curv", 1, round(256 * gamma))
    return icc(b"GRAY", {b"wtpt": white, b"kTRC": curve}, b"mntr", b"XYZ ")


def cmyk_profile() -> bytes:
    """Of an odd printer whose cyan ink is red: all of it gives L 50, a 70, b 60 (mft1)."""
    white = struct.pack(">4s4xiii", b"XYZ ", 63190, 65536, 54061)
    lab = {(1, 0, 0, 0): (128, 198, 188)}
    grid = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    points = b"".join(bytes(lab.get(ink, (0 if any(ink) else 255, 128, 128))) for ink in grid)
    straight = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = struct.pack(">4s4xBBBx", b"mft1", 4, 3, 2) + identity + straight * 4 + points
    tags = {b"wtpt": white, b"A2B0": table + straight * 3, b"A2B1": table + straight * 3}
    return icc(b"CMYK", tags, b"prtr", b"Lab ")


def test_profiles_of_greys(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8)[:, None] + 100, (1, 100))
    Image.fromarray(ramp).save(tmp_path / "a.png", icc_profile=grey_profile(1.0))
    pixels = read_photo(tmp_path / "a.png").pixels
    assert abs(int(pixels[28, 0, 0]) - 188) <= 2  # half of the light
    assert (pixels[..., 0] == pixels[..., 2]).all()
    with_alpha = Image.merge("LA", (Image.fromarray(ramp), Image.new("L", (100, 100), 255)))
    with_alpha.save(tmp_path / "b.png", icc_profile=grey_profile(1.0))
    assert (read_photo(tmp_path / "b.png").pixels == pixels).all()
    rgb = matrix_profile(ADOBE_RGB, 1.0)  # greys under a profile for colours: greys all the same
    Image.fromarray(ramp).save(tmp_path / "c.png", icc_profile=rgb)
    assert np.abs(read_photo(tmp_path / "c.png").pixels.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_profiles_of_inks(tmp_path: Path, suffix: str) -> None:
    cyan = Image.new("CMYK", (120, 100), (255, 0, 0, 0))
    cyan.paste((0, 0, 0, 0), (60, 0, 120, 100))
    cyan.save(tmp_path / f"a.{suffix}", icc_profile=cmyk_profile())
    pixels = read_photo(tmp_path / f"a.{suffix}").pixels
    assert pixels[50, 20, 0] > 150 > 100 > pixels[50, 20, 2]
    assert pixels[50, 100].min() > 245
    cyan.save(tmp_path / f"b.{suffix}")
    assert read_photo(tmp_path / f"b.{suffix}").pixels[50, 20, 0] < 80


def test_adobe_rgb_that_a_camera_only_names(tmp_path: Path) -> None:
    """By the interoperability tag R03, as cameras write it without a profile (DCF 2.0)."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: "R03", 2: b"0100"}
    stored = through(matrix_profile(ADOBE_RGB, ADOBE_GAMMA), MUTED)
    stored.save(tmp_path / "a.jpg", quality=98, subsampling=0, exif=exif)
    assert b"R03" in (tmp_path / "a.jpg").read_bytes()
    off = np.abs(read_photo(tmp_path / "a.jpg").pixels.astype(int) - MUTED)
    before = np.abs(np.asarray(stored).astype(int) - MUTED)
    assert off.mean() < before.mean() / 2


def png(pixels: NDArray[np.uint8], *chunks: tuple[bytes, bytes]) -> bytes:
    """RGB with these chunks before the pixels."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    every = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in every
    )


def test_gamma_of_a_png(tmp_path: Path) -> None:
    pixels = np.full((100, 100, 3), 128, np.uint8)
    linear, usual = struct.pack(">I", 100_000), struct.pack(">I", 45_455)
    (tmp_path / "a.png").write_bytes(png(pixels, (b"gAMA", linear)))
    assert abs(int(read_photo(tmp_path / "a.png").pixels[0, 0, 0]) - 188) <= 1
    for n, chunks in enumerate([[(b"gAMA", usual)], [(b"sRGB", b"\0"), (b"gAMA", linear)],
                                [(b"gAMA", bytes(4))]]):  # fmt: skip
        (tmp_path / f"{n}.png").write_bytes(png(pixels, *chunks))
        assert (read_photo(tmp_path / f"{n}.png").pixels == pixels).all()


def test_primaries_of_a_png(tmp_path: Path) -> None:
    numbers = [round(100_000 * value) for pair in P3 for value in pair]
    stored = np.asarray(through(matrix_profile(P3, 2.2), MUTED))
    chunks = [(b"gAMA", struct.pack(">I", 45_455)), (b"cHRM", struct.pack(">8I", *numbers))]
    (tmp_path / "a.png").write_bytes(png(stored, *chunks))
    assert np.abs(read_photo(tmp_path / "a.png").pixels.astype(int) - MUTED).mean() < 2


def test_hdr_of_a_png(tmp_path: Path) -> None:
    """A white page of 203 nits has the code 0.58 under PQ: it is nearly white, not grey."""
    pixels = np.full((100, 100, 3), 148, np.uint8)
    (tmp_path / "a.png").write_bytes(png(pixels, (b"cICP", bytes((9, PQ, 0, 1)))))
    assert read_photo(tmp_path / "a.png").pixels.min() > 235
    (tmp_path / "b.png").write_bytes(png(pixels, (b"cICP", bytes((1, 13, 0, 1)))))
    assert (read_photo(tmp_path / "b.png").pixels == pixels).all()


def test_hdr_of_a_heif(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    image = Image.fromarray(np.full((100, 100, 3), 148, np.uint8))
    image.save(tmp_path / "a.heic", quality=98, color_primaries=9, transfer_characteristics=PQ,
               matrix_coefficients=9, full_range_flag=1, save_nclx_profile=True)  # fmt: skip
    assert b"colrnclx" in (tmp_path / "a.heic").read_bytes()
    assert read_photo(tmp_path / "a.heic").pixels.min() > 225


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_picture_of_one_colour_is_said_to_show_nothing(tmp_path: Path, mode: str) -> None:
    one = Image.fromarray(picture(8, 100, 140)).convert(mode)
    if mode == "RGBA":
        one.putalpha(0)  # pixels that nobody sees
    else:
        one.paste(0, (0, 0, *one.size))
    one.save(tmp_path / "one.png")
    (note,) = (n for n in read_photo(tmp_path / "one.png").notes if "one colour" in n)
    assert note.startswith("one.png: ")
    one.putpixel((3, 3), {"RGB": (9, 9, 9), "L": 9, "RGBA": (9, 9, 9, 255)}[mode])
    one.save(tmp_path / "two.png")
    assert not any("one colour" in n for n in read_photo(tmp_path / "two.png").notes)
