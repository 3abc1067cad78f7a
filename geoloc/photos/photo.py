"""Photos, read safely: any common format becomes upright 8-bit RGB, with what the file tells."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..errors import PhotoError, UsageError
from ..names import path_text

MAX_PIXELS = 200_000_000
"""Pixels a photo may have, by its header: the largest phone sensors of today."""

MAX_BYTES = 500_000_000
"""Bytes a photo's file may have."""

Crop = tuple[int, int, int, int]
"""left, top, right, bottom, px."""

MAX_SIDE = 4096
"""Longest side that is kept, px; encoders look at a few hundred."""

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "GIF", "BMP")
_WHITE = (255, 255, 255, 255)
_BITS, _COMPRESSION, _PLANES = 258, 259, 284  # tags of TIFF 6.0
_RAW, _SEPARATE = 1, 2  # values of the last two

# Pillow's own limit is a global; this module checks each header against the caller's limit.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Damaged metadata is common and costs nothing but the evidence in it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as the encoder shall see it, and as evidence.

    ``pixels`` uint8 ``(h, w, 3)``, RGB, upright, at most MAX_SIDE on its longest side; ``size``
    ``(w, h)`` before it was reduced; ``sha256`` of the file's bytes. ``exif`` holds ``time``
    (ISO 8601, of the camera's clock) and ``gps`` (``lon``, ``lat``) where the file claims them:
    evidence to report, never an answer. ``origin`` tells what was looked at and where it came
    from, as far as that is more than the file: ``crop``, ``rotate``, ``frame`` of a video,
    ``messages`` of a chat, ``fetched_from`` and ``fetched_at`` of a photo of the web (JSON types
    only).
    """

    path: Path
    name: str
    sha256: str
    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    exif: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The name of its file, as text that can be written anywhere."""
        return path_text(self.path.name)


@dataclass(frozen=True)
class Look:
    """The part of a photo that is asked about.

    crop: left, top, right, bottom in pixels of the upright photo at its full size; rotate:
    degrees clockwise, after the crop.
    """

    crop: Crop | None = None
    rotate: float = 0.0

    def __str__(self) -> str:
        words = [f"crop {','.join(map(str, self.crop))}"] if self.crop else []
        return ", ".join(words + ([f"rotated {self.rotate:g}°"] if self.rotate else []))

    def of(self, photo: Photo) -> Photo:
        """The part of ``photo``, upright; its origin says which.

        Turned by any angle, the picture is cut to the largest upright rectangle that has
        no blank corners. Raises UsageError for a crop that is empty or
        reaches outside, and for an angle that is not a number.
        """
        if not math.isfinite(self.rotate):
            raise UsageError(f"rotate {self.rotate}: give degrees, such as 90 or -2.5")
        image = Image.fromarray(photo.pixels)
        origin = dict(photo.origin)
        if self.crop:
            image = image.crop(_crop_box(photo, self.crop))
            origin["crop"] = list(self.crop)
        if self.rotate:
            image = turned(image, self.rotate)
            origin["rotate"] = self.rotate
        return replace(photo, pixels=np.asarray(image, np.uint8).copy(), origin=origin)


def read_photo(path: str | Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read and decode a photo.

    Raises UsageError where there is no such file, or a URL in its place; PhotoError where it is
    empty, damaged, of another kind, or where its header announces more than ``max_pixels``.
    """
    path = photo_path(path)
    data = _read_bytes(path)
    _register_heif()
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(path, image.size, max_pixels)
            _check_planes(path, image)
            size, exif = image.size, image.getexif()
            picture = _decode(image)
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(f"{path} is not a photo (JPEG, PNG, WebP, TIFF, HEIC or AVIF)") from None
    except Image.DecompressionBombError:
        raise PhotoError(_too_large(path, f"more than {2 * MAX_PIXELS:,}", max_pixels)) from None
    except Exception as error:  # noqa: BLE001  (decoders raise anything on damaged bytes)
        raise PhotoError(f"{path} is damaged or cut short: {_one_line(error)}") from None
    on_its_side = (picture.width > picture.height) != (size[0] > size[1])
    return Photo(
        path=path,
        name=path.stem,
        sha256=hashlib.sha256(data).hexdigest(),
        pixels=np.asarray(picture, np.uint8).copy(),
        size=size[::-1] if on_its_side else size,
        exif=_evidence(exif),
    )


def photo_path(photo: str | Path) -> Path:
    """The path of a photo's file. Raises UsageError for a URL: nothing is fetched here."""
    if "://" in str(photo):
        shown = re.sub(r"(?<=//)[^/]*@|[?#].*", "", str(photo))  # without what may be secret
        raise UsageError(f"{shown} is a URL, and photos are read from files: download it first")
    return Path(photo)


def turned(image: Image.Image, degrees: float) -> Image.Image:
    """The image turned clockwise, without blank corners; by quarters nothing is resampled."""
    quarters, rest = divmod(degrees, 90)
    transpose = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180,
                 3: Image.Transpose.ROTATE_90}.get(int(quarters) % 4)  # fmt: skip
    image = image if transpose is None else image.transpose(transpose)
    if not rest:
        return image
    width, height = inscribed(image.width, image.height, math.radians(rest))
    whole = image.rotate(-rest, Image.Resampling.BICUBIC, expand=True)
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    return whole.crop((left, top, left + width, top + height))


def inscribed(width: int, height: int, angle: float) -> tuple[int, int]:
    """Width and height of the largest upright rectangle inside one turned by ``angle`` (rad).

    At most a quarter turn. Either two opposite corners touch the long sides (a thin rectangle),
    or all four corners touch a side.
    """
    sin, cos = math.sin(angle), math.cos(angle)
    long, short = max(width, height), min(width, height)
    if short <= 2 * sin * cos * long or abs(sin - cos) < 1e-9:
        half = short / 2
        w, h = (half / sin, half / cos) if width >= height else (half / cos, half / sin)
    else:
        double = cos * cos - sin * sin
        w = (width * cos - height * sin) / double
        h = (height * cos - width * sin) / double
    return max(1, int(w)), max(1, int(h))


def _crop_box(photo: Photo, crop: Crop) -> Crop:
    """The crop in kept pixels, which are fewer than the photo's own where it is very large."""
    left, top, right, bottom = crop
    width, height = photo.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UsageError(
            f"crop {','.join(map(str, crop))} does not lie in {photo.path.name}, which has "
            f"{width} x {height} px: give left,top,right,bottom"
        )
    sx, sy = photo.pixels.shape[1] / width, photo.pixels.shape[0] / height
    return int(left * sx), int(top * sy), math.ceil(right * sx), math.ceil(bottom * sy)


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name the photos in it")
    if not path.is_file():
        raise UsageError(f"photo {path} does not exist: correct the path")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PhotoError(f"{path} has {size:,} bytes, the limit is {MAX_BYTES:,}: reduce it")
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise PhotoError(f"{path} is empty (0 bytes): get the file again")
    return data


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    """Refuse by the header, before a decoder allocates anything."""
    if size[0] * size[1] > max_pixels:
        raise PhotoError(_too_large(path, f"{size[0]:,} x {size[1]:,}", max_pixels))


def _check_planes(path: Path, image: Image.Image) -> None:
    """Refuse the one layout of TIFF that Pillow decodes wrongly without a word: deep channels,
    one after the other, uncompressed."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS, (8,)))
    separate = tags.get(_PLANES) == _SEPARATE
    if separate and bits > 8 and tags.get(_COMPRESSION, _RAW) == _RAW:
        raise PhotoError(
            f"{path} has channels of {bits} bits in separate planes, which cannot be read: "
            "save it with interleaved channels, or of 8 bits"
        )


def _too_large(path: Path, pixels: str, limit: int) -> str:
    return f"{path} has {pixels} pixels, the limit is {limit:,}: reduce or crop it"


@cache
def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


def _decode(image: Image.Image) -> Image.Image:
    """The first frame, upright RGB, its longest side at most MAX_SIDE."""
    if max(image.size) > MAX_SIDE:
        # lets the JPEG decoder itself decode at 1/2, 1/4 or 1/8, but never below MAX_SIDE
        image.draft(None, (MAX_SIDE, MAX_SIDE))
    image.load()
    picture = _to_rgb(_transposed(image))
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return picture


def _transposed(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; a damaged EXIF block turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  (its tags may hold anything; the pixels are sound)
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; deep greys scaled instead of clipped, transparency laid on white."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, _WHITE)
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of 16 bits, or of any depth by the largest value that they hold."""
    grey = np.nan_to_num(values.astype(np.float64)).clip(0)
    largest = float(grey.max(initial=0.0))
    if values.dtype.kind == "f":
        white = next((limit for limit in (1.0, 255.0, 65535.0) if largest <= limit), largest)
    else:
        white = max(65535.0, largest)
    return np.rint(grey * (255.0 / white)).astype(np.uint8)


def _evidence(exif: Image.Exif) -> dict[str, Any]:
    """Time and place that the file claims; nothing where EXIF is absent or damaged."""
    found: dict[str, Any] = {}
    try:
        times = exif.get_ifd(ExifTags.IFD.Exif)
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # noqa: BLE001  (its offsets may point anywhere)
        return found
    if time := _time(times, exif.get(ExifTags.Base.DateTime)):
        found["time"] = time
    if place := _place(gps):
        found["gps"] = place
    return found


def _time(tags: Mapping[int, Any], fallback: object) -> str | None:
    text = str(tags.get(ExifTags.Base.DateTimeOriginal) or fallback or "")
    offset = str(tags.get(ExifTags.Base.OffsetTimeOriginal) or "").strip("\x00 ")
    try:
        time = dt.datetime.strptime(text.strip("\x00 "), "%Y:%m:%d %H:%M:%S").isoformat()
        return dt.datetime.fromisoformat(time + offset).isoformat()
    except ValueError:
        return None


def _place(tags: Mapping[int, Any]) -> dict[str, float] | None:
    try:
        lat = _degrees(tags[ExifTags.GPS.GPSLatitude], tags[ExifTags.GPS.GPSLatitudeRef], "S")
        lon = _degrees(tags[ExifTags.GPS.GPSLongitude], tags[ExifTags.GPS.GPSLongitudeRef], "W")
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    real = math.isfinite(lat) and math.isfinite(lon) and abs(lat) <= 90 and abs(lon) <= 180
    return {"lon": lon, "lat": lat} if real else None


def _degrees(parts: Any, reference: Any, negative: str) -> float:
    """Degrees from (degrees, minutes, seconds) and a letter of the compass."""
    degrees, minutes, seconds = (float(part) for part in parts)
    sign = -1.0 if str(reference).strip("\x00 ").upper().startswith(negative) else 1.0
    return sign * (degrees + minutes / 60 + seconds / 3600)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
