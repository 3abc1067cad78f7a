"""Parts of a photo: crops and turns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geoloc.errors import UsageError
from geoloc.photos import Photo, PhotoView, inscribed, read_photo, turned


def photo(width: int = 40, height: int = 30, kept: float = 1.0) -> Photo:
    y, x = np.mgrid[0 : int(height * kept), 0 : int(width * kept)]
    pixels = np.stack([x * 5, y * 7, x + y], axis=-1).astype(np.uint8)
    return Photo(Path("a.jpg"), "a", "ab" * 32, pixels, (width, height))


def test_a_crop_is_these_very_pixels() -> None:
    part = PhotoView((3, 5, 23, 17)).of(photo())
    np.testing.assert_array_equal(part.pixels, photo().pixels[5:17, 3:23])
    assert part.origin == {"crop": [3, 5, 23, 17]}


def test_a_crop_counts_in_pixels_of_the_whole_photo() -> None:
    part = PhotoView((10, 10, 30, 20)).of(photo(kept=0.5))
    np.testing.assert_array_equal(part.pixels, photo(kept=0.5).pixels[5:10, 5:15])


@pytest.mark.parametrize(
    ("degrees", "quarters"), [(90, -1), (180, 2), (270, 1), (-90, 1), (450, -1)]
)
def test_quarter_turns_are_exact_and_clockwise(degrees: float, quarters: int) -> None:
    part = PhotoView(rotate=degrees).of(photo())
    np.testing.assert_array_equal(part.pixels, np.rot90(photo().pixels, quarters))


@pytest.mark.parametrize("degrees", [-33.3, -2.5, 1, 45, 89.9, 133])
@pytest.mark.parametrize("size", [(400, 300), (300, 400), (500, 90)])
def test_a_turned_picture_has_no_blank_corners(degrees: float, size: tuple[int, int]) -> None:
    image = turned(Image.new("RGB", size, (200, 200, 200)), degrees)
    edge = np.asarray(image)
    assert np.asarray(edge[2:-2, 2:-2]).min() > 150
    assert min(image.size) > 20


@given(st.integers(20, 900), st.integers(20, 900), st.floats(0, math.pi / 2))
def test_the_inscribed_rectangle_lies_inside(width: int, height: int, angle: float) -> None:
    w, h = inscribed(width, height, angle)
    for sx, sy in ((1, 1), (1, -1)):
        x, y = sx * w / 2, sy * h / 2
        u = abs(x * math.cos(angle) + y * math.sin(angle))
        v = abs(y * math.cos(angle) - x * math.sin(angle))
        assert u <= width / 2 + 1
        assert v <= height / 2 + 1


@pytest.mark.parametrize("crop", [(0, 0, 41, 5), (-1, 0, 5, 5), (5, 5, 5, 9), (9, 0, 3, 5)])
def test_a_crop_outside_is_refused(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError, match="40 x 30 px"):
        PhotoView(crop).of(photo())
    with pytest.raises(UsageError, match="degrees"):
        PhotoView(rotate=math.nan).of(photo())


def test_small_photos_and_parts_are_told(tmp_path: Path) -> None:
    def notes(width: int, height: int, look: PhotoView = PhotoView()) -> tuple[str, ...]:  # noqa: B008
        path = tmp_path / "a.png"
        Image.linear_gradient("L").resize((width, height)).save(path)
        return look.of(read_photo(path)).notes

    assert notes(640, 480) == notes(96, 96) == ()
    (note,) = notes(20, 20)
    assert note.startswith("a.png has only 20 x 20 px: too few to recognize a scene")
    assert notes(500, 95)[0].startswith("a.png has only 500 x 95 px")
    (note,) = notes(640, 480, PhotoView((10, 10, 60, 400)))
    assert note.startswith("the part of a.png that was looked at has only 50 x 390 px")
    assert notes(640, 480, PhotoView((10, 10, 600, 400))) == ()
    assert len(notes(64, 48, PhotoView((10, 10, 60, 40)))) == 1
    assert notes(9000, 300, PhotoView((0, 0, 9000, 300))) == ()
    assert len(notes(9000, 300, PhotoView((0, 0, 9000, 50)))) == 1
