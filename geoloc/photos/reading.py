"""Photos, read safely: any common format becomes upright 8-bit RGB with the file's claims."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import PhotoError, UsageError, one_line
from .claims import heading_claim, photo_claims
from .colour import Signal, orientation_of, to_rgb, upright
from .kinds import photo_kind
from .metadata import without_metadata
from .photo import Photo, size_notes
from .raw import Raw, read_raw

MAX_PIXELS = 200_000_000
"""Limit of a photo's pixels, by its header: that of the largest phone sensors."""

MAX_BYTES = 500_000_000
"""Limit of a photo file's bytes."""

MAX_SIDE = 4096
"""Longest side that is kept, px; encoders see a few hundred."""

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "GIF", "BMP")
_REFUSED = {"jxl": "a JPEG XL", "jp2": "a JPEG 2000", "psd": "a Photoshop file"}
_BITS, _COMPRESSION, _PLANES = 258, 259, 284  # tags of TIFF 6.0
_RAW, _SEPARATE = 1, 2  # values of the last two
_NEW_SUBFILE, _SUBFILE = 254, 255
_REDUCED, _MASK = 1, 4  # bits of the first
_MOST_PAGES = 100
_HEAD = 1 << 16  # bytes that hold a file's colour metadata

# Pillow's own limit is a global; this module checks each header against the caller's limit.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Damaged metadata is common and loses only the evidence in it.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class _Picture:
    """A decoded file; ``size``: before it was reduced, upright."""

    image: Image.Image
    size: tuple[int, int]
    claims: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def read_photo(path: str | Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read and decode a photo; of a RAW file, its full-size preview.

    Raises UsageError for a missing file or a URL; PhotoError for a file that is empty, damaged, of
    another kind, a RAW without a full-size preview, or has more than ``max_pixels``.
    """
    path = photo_path(path)
    return decode_photo(path, _read_bytes(path), max_pixels)


def decode_photo(path: Path, data: bytes, max_pixels: int = MAX_PIXELS) -> Photo:
    """`read_photo` of bytes that are there already, as of an archive; ``path`` names them.

    Raises PhotoError as `read_photo` does.
    """
    kind = photo_kind(data)
    if kind in _REFUSED:
        raise PhotoError(
            f"{path} is {_REFUSED[kind]}, which cannot be read: save it as JPEG, PNG or TIFF"
        )
    read = _read_raw if kind == "raw" else _read
    picture = read(path, kind, data, max_pixels)
    photo = Photo(
        path=path,
        name=path.stem,
        sha256=hashlib.sha256(data).hexdigest(),
        pixels=np.asarray(picture.image, np.uint8).copy(),
        size=picture.size,
        exif=picture.claims,
    )
    notes = tuple(f"{photo.file}: {note}" for note in picture.notes)
    return replace(photo, notes=notes + size_notes(photo.file, photo.size))


def read_heading(path: Path) -> float | None:
    """Degrees clockwise from north of where a photo's camera looked, None if the file does not
    say. Nothing is decoded."""
    _register_heif()
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return heading_claim(image)
    except Exception:  # noqa: BLE001  (decoders raise anything on damaged bytes)
        return None


def photo_path(photo: str | Path) -> Path:
    """The path of a photo's file.

    Raises UsageError for a URL (nothing is fetched here), a folder and a missing file, before any
    long work.
    """
    if "://" in str(photo):
        shown = re.sub(r"(?<=//)[^/]*@|[?#].*", "", str(photo))  # without possible secrets
        raise UsageError(f"{shown} is a URL, and photos are read from files: download it first")
    path = Path(photo)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name the photos in it, or give it to 'geoloc bulk'")
    if not path.is_file():
        raise UsageError(f"photo {path} does not exist: correct the path")
    return path


def _read_bytes(path: Path) -> bytes:
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


def _read(path: Path, kind: str | None, data: bytes, max_pixels: int) -> _Picture:
    """The picture; if only its metadata is damaged, without that."""
    try:
        return _decode(path, kind, data, max_pixels)
    except PhotoError as error:
        bare = without_metadata(kind, data) if kind else None
        if bare is None or bare == data:
            raise
        with suppress(PhotoError):
            picture = _decode(path, kind, bare, max_pixels)
            note = "its metadata is damaged and was ignored; its pixels are intact"
            return replace(picture, notes=(*picture.notes, note))
        raise error


def _read_raw(path: Path, _: str | None, data: bytes, max_pixels: int) -> _Picture:
    """The full preview of a RAW file, upright, with the claims of the file."""
    raw = read_raw(data)
    if not raw.is_full:
        raise PhotoError(f"{path} is a RAW photo, {_no_preview(raw)}: save it as JPEG or TIFF")
    shown = _decode(path, "jpeg", raw.preview, max_pixels, raw.turned_by)
    note = "a RAW photo, queried by the camera's own full-size preview"
    return replace(shown, claims={**shown.claims, **raw.claims}, notes=(*shown.notes, note))


def _no_preview(raw: Raw) -> str:
    if raw.size == (0, 0):
        return "and has no readable preview"
    width, height = raw.size
    of = "{} x {} px".format(*raw.sensor) if max(raw.sensor) else "an unknown size"
    return f"whose preview has only {width} x {height} px of {of}"


def _decode(
    path: Path, kind: str | None, data: bytes, max_pixels: int, orientation: int | None = None
) -> _Picture:
    """The first picture of a file of ``kind``; ``orientation``: the default without EXIF's."""
    _register_heif()
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            others = _to_full_page(image) or _frames_after(image)
            _check_size(path, image.size, max_pixels)
            _check_planes(path, image)
            picture = _picture(image, _signal(kind, data), orientation)
            return replace(picture, notes=picture.notes + _note_of_others(others))
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(_unidentified(path, kind)) from None
    except Image.DecompressionBombError:
        raise PhotoError(_too_large(path, f"more than {2 * MAX_PIXELS:,}", max_pixels)) from None
    except Exception as error:  # noqa: BLE001  (decoders raise anything on damaged bytes)
        raise PhotoError(f"{path} is damaged or cut short: {one_line(error)}") from None


def _picture(image: Image.Image, signal: Signal | None, orientation: int | None) -> _Picture:
    """Upright RGB, its longest side at most MAX_SIDE."""
    size = image.size
    if max(size) > MAX_SIDE:
        # lets the JPEG decoder itself decode at 1/2, 1/4 or 1/8, but never below MAX_SIDE
        image.draft(None, (MAX_SIDE, MAX_SIDE))
    image.load()  # first: reading the claims, Pillow would hide damaged pixels
    claims, damage = photo_claims(image)
    picture, notes = to_rgb(image, signal)
    picture = upright(picture, orientation_of(image) or orientation or 1)
    on_its_side = (picture.width > picture.height) != (size[0] > size[1])
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    if picture.getcolors(1) is not None:
        notes += ("it is of one colour all over and shows nothing: its answer means nothing",)
    return _Picture(picture, size[::-1] if on_its_side else size, claims, damage + notes)


def _to_full_page(image: Image.Image) -> int:
    """Skip pages of a TIFF that are small copies or masks of another; how many pages remain
    besides the one that is looked at."""
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages == 1:
        return 0
    whole = [] if _is_copy(image) else [0]
    with suppress(Exception):  # a damaged page does not spoil those before it
        for page in range(1, min(pages, _MOST_PAGES)):
            image.seek(page)
            whole += [] if _is_copy(image) else [page]
    image.seek(whole[0] if whole else 0)
    return max(len(whole) - 1, 0)


def _is_copy(image: Image.Image) -> bool:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return bool(tags.get(_NEW_SUBFILE, 0) & (_REDUCED | _MASK)) or tags.get(_SUBFILE) == 2


def _frames_after(image: Image.Image) -> int:
    """How many pictures follow the first one of an animation or a collection.

    Of a camera's JPEG (MPO) these are previews and maps of depth or brightness.
    """
    if image.format in ("TIFF", "MPO"):
        return 0
    with suppress(Exception):  # counting may meet damage after the first picture
        return int(getattr(image, "n_frames", 1)) - 1
    return 0


def _note_of_others(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    what = "another picture" if count == 1 else f"{count:,} more pictures"
    return (
        f"it holds {what}, not looked at: an animation or a document of several pages; save what "
        "is needed of it as files of their own",
    )


def _signal(kind: str | None, data: bytes) -> Signal | None:
    """Primaries and transfer curve that a HEIF, AVIF (ISO 14496-12) or PNG states."""
    if kind in ("heif", "avif"):
        at = data.find(b"colrnclx", 0, _HEAD)
        if 0 <= at <= len(data) - 12:
            primaries, transfer = struct.unpack_from(">HH", data, at + 8)
            return primaries, transfer
    if kind == "png":
        at = data.find(b"cICP", 0, data.find(b"IDAT", 0, _HEAD))
        if 0 <= at <= len(data) - 8:
            return data[at + 4], data[at + 5]
    return None


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    """Refuse by the header, before a decoder allocates anything."""
    if size[0] * size[1] > max_pixels:
        raise PhotoError(_too_large(path, f"{size[0]:,} x {size[1]:,}", max_pixels))


def _check_planes(path: Path, image: Image.Image) -> None:
    """Refuse the one layout of TIFF that Pillow silently decodes wrongly: uncompressed planes of
    more than 8 bits."""
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


def _unidentified(path: Path, kind: str | None) -> str:
    if kind is None:
        return f"{path} is not a photo (JPEG, PNG, WebP, TIFF, HEIC or AVIF)"
    return (
        f"{path} is damaged or cut short, or an unsupported kind of {kind.upper()}: get the file "
        "again, or save it as JPEG or PNG"
    )


@cache
def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
