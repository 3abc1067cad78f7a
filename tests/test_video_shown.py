"""Frames are shown as they are meant: upright, of square pixels, in a screen's colours."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.photos.hdr import BT2020, DISPLAY_P3, HLG, PQ, tone_mapped
from geoloc.video import Sampling, read_frame, read_frames
from geoloc.video.shown import square_size
from tests.media import U8, shot, video

HEIGHT, WIDTH = 96, 144
QUARTERS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)]
QUARTERS += [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return video(folder / "a.mp4", shot(3, 30, HEIGHT, WIDTH))


def with_matrix(source: Path, path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The same file with a, b, c, d of its display matrix (ISO 14496-12, 8.3.2)."""
    a, b, c, d = matrix
    x, y = max(0, -a * WIDTH, -c * HEIGHT), max(0, -b * WIDTH, -d * HEIGHT)
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    numbers = [a << 16, b << 16, 0, c << 16, d << 16, 0, x << 16, y << 16, 1 << 30]
    content[at : at + 36] = struct.pack(">9i", *numbers)
    path.write_bytes(content)
    return path


def mapped(pixels: U8, matrix: tuple[int, int, int, int]) -> U8:
    """Pixel by pixel to x' = a x + c y, y' = b x + d y, moved so that all is seen."""
    a, b, c, d = matrix
    height, width = pixels.shape[:2]
    places = {
        (a * x + c * y, b * x + d * y): (y, x)
        for y, x in itertools.product(range(height), range(width))
    }
    left, top = min(x for x, _ in places), min(y for _, y in places)
    shape = (width, height) if b else (height, width)
    shown = np.zeros((*shape, 3), np.uint8)
    for (x, y), (from_y, from_x) in places.items():
        shown[y - top, x - left] = pixels[from_y, from_x]
    return shown


@pytest.mark.parametrize("matrix", QUARTERS)
def test_every_turn_and_mirror(
    plain: Path, tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    before = list(read_frames(plain, Sampling(gap=1)))
    after = list(read_frames(with_matrix(plain, tmp_path / "m.mp4", matrix), Sampling(gap=1)))
    assert len(after) == len(before) >= 2
    for one, other in zip(before, after, strict=True):  # later frames too
        np.testing.assert_array_equal(other.pixels, mapped(one.pixels, matrix))


def test_a_matrix_that_shows_nothing_is_left_aside(plain: Path, tmp_path: Path) -> None:
    path = with_matrix(plain, tmp_path / "m.mp4", (0, 0, 0, 0))
    np.testing.assert_array_equal(next(read_frames(path)).pixels, next(read_frames(plain)).pixels)


def test_other_angles_are_turned_without_blank_corners(plain: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "m.mp4", bytearray(plain.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    cos, sin = round(65536 * np.cos(np.pi / 6)), round(65536 * np.sin(np.pi / 6))
    content[at : at + 36] = struct.pack(">9i", cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    pixels = next(read_frames(path)).pixels
    assert pixels.shape[0] < HEIGHT and pixels[[0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1).min() > 8


def encoded(
    path: Path,
    frames: NDArray[Any],
    source: str = "rgb24",
    pixel_format: str = "yuv420p",
    codec: str = "libx264",
    **signal: Any,
) -> Path:
    """A video of one picture whose codec tells what ``signal`` says of it."""
    told = {"crf": "6", "x265-params": "log-level=none"}
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10)
        stream.height, stream.width = frames.shape[:2]
        stream.pix_fmt, stream.options = pixel_format, told if codec == "libx265" else {"crf": "6"}
        for name, value in signal.items():
            setattr(stream.codec_context, name, value)
        space, range_ = signal.get("colorspace"), signal.get("color_range")
        for n in range(8):
            frame = av.VideoFrame.from_ndarray(frames, format=source).reformat(
                format=pixel_format, dst_colorspace=space, dst_color_range=range_
            )
            frame.pts, frame.time_base = n, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("space", [1, 5, 9])
@pytest.mark.parametrize("range_", [1, 2])
def test_matrices_and_ranges_of_yuv(tmp_path: Path, space: int, range_: int) -> None:
    pixels = shot(6, 1, HEIGHT, WIDTH)[0]
    path = encoded(tmp_path / "a.mp4", pixels, colorspace=space, color_range=range_)
    assert np.abs(next(read_frames(path)).pixels.astype(int) - pixels).mean() < 6


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(64, 45), Fraction(1, 2)])
def test_oblong_pixels(tmp_path: Path, suffix: str, aspect: Fraction) -> None:
    pixels = shot(6, 1, HEIGHT, WIDTH)[0]
    path = encoded(tmp_path / f"a.{suffix}", pixels, sample_aspect_ratio=aspect)
    frame = next(read_frames(path))
    height, width = frame.pixels.shape[:2]
    assert width / height == pytest.approx(WIDTH / HEIGHT * float(aspect), rel=0.02)
    assert width >= WIDTH and height >= HEIGHT  # nothing is lost
    photo = frame.photo(path, "0")
    assert photo.size == (width, height)
    assert read_frame(path, frame.time).sha256 == frame.sha256


def test_oblong_pixels_that_only_the_codec_tells(tmp_path: Path) -> None:
    """A transport stream has no word for it."""
    pixels = shot(6, 1, HEIGHT, WIDTH)[0]
    path = encoded(tmp_path / "a.ts", pixels, sample_aspect_ratio=Fraction(4, 3))
    assert next(read_frames(path)).pixels.shape == (HEIGHT, WIDTH * 4 // 3, 3)


def test_oblong_pixels_are_turned_afterwards(tmp_path: Path) -> None:
    pixels = shot(6, 1, HEIGHT, WIDTH)[0]
    source = encoded(tmp_path / "a.mp4", pixels, sample_aspect_ratio=Fraction(4, 3))
    before = next(read_frames(source)).pixels
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    content[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "b.mp4").write_bytes(content)
    after = next(read_frames(tmp_path / "b.mp4")).pixels
    np.testing.assert_array_equal(after, np.rot90(before, -1))


@pytest.mark.parametrize("aspect", [None, Fraction(0), Fraction(1), Fraction(1, 100), Fraction(99)])
def test_absurd_pixels_are_taken_as_square(aspect: Fraction | None) -> None:
    assert square_size(320, 240, aspect) == (320, 240)


TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def light_of(pixels: U8) -> NDArray[np.float64]:
    value = pixels / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def as_pq(pixels: U8) -> NDArray[np.uint16]:
    """Levels of PQ whose white is 203 nits (SMPTE ST 2084), BT.2020."""
    y = np.clip(light_of(pixels) @ TO_2020.T * 203 / 10_000, 0, 1) ** 0.1593017578125
    code = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    return np.asarray(np.rint(code * 65535), np.uint16)


def as_hlg(pixels: U8) -> NDArray[np.uint16]:
    """Levels of HLG for a display of 1,000 nits (BT.2100), BT.2020."""
    shown = light_of(pixels) @ TO_2020.T * 203 / 1000
    luma = np.maximum(shown @ [0.2627, 0.678, 0.0593], 1e-9)[..., None]
    scene = shown * luma ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    high = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    code = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    return np.asarray(np.rint(code.clip(0, 1) * 65535), np.uint16)


MUTED = np.asarray(shot(6, 1, HEIGHT, WIDTH)[0] // 2 + 40, np.uint8)


@pytest.mark.parametrize(("transfer", "levels"), [(PQ, as_pq), (HLG, as_hlg)])
def test_hdr_is_mapped_to_what_a_screen_shows(tmp_path: Path, transfer: int, levels: Any) -> None:
    assert np.abs(tone_mapped(levels(MUTED), BT2020, transfer).astype(int) - MUTED).max() <= 3
    for primaries in (BT2020, 2):  # or not told
        path = encoded(tmp_path / f"{primaries}.mp4", levels(MUTED), "rgb48le", "yuv420p10le",
                       "libx265", colorspace=9, color_range=1, color_trc=transfer,
                       color_primaries=primaries)  # fmt: skip
        frame = next(read_frames(path))
        assert np.abs(frame.pixels.astype(int) - MUTED).mean() < 6
        assert read_frame(path, frame.time).sha256 == frame.sha256


def test_highlights_are_compressed_and_not_cut() -> None:
    nits = np.array([0, 50, 150, 203, 400, 1000])
    y = (nits / 10_000) ** 0.1593017578125
    code = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    levels = np.rint(code * 65535).astype(np.uint16)[None, :, None].repeat(3, -1)
    shown = tone_mapped(levels, BT2020, PQ)[0, :, 0].astype(int)
    assert (np.diff(shown[:5]) > 0).all() and shown[0] == 0 and shown[3] > 235 and shown[-1] == 255


def test_wide_colours_of_ordinary_range() -> None:
    levels = np.array([[[65535, 0, 0], [30000, 30000, 30000]]], np.uint16)
    shown = tone_mapped(levels, DISPLAY_P3, 13)[0]
    assert shown[0].tolist() == [255, 0, 0]
    assert np.abs(shown[1].astype(int) - round(30000 / 257)).max() <= 1
