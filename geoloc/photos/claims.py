"""What a file claims of its time and place: read as it is, or not at all.

Claims are evidence to report, never an answer. What is absent, damaged, impossible or a place
holder is no claim; the time of the last edit is no time of capture.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from PIL import ExifTags, Image

Place = dict[str, float]
"""lon, lat in degrees (WGS 84)."""

_TIME = re.compile(
    r"(\d{4})[:\-/.](\d{2})[:\-/.](\d{2})[ T]+(\d{2}):(\d{2})(?::(\d{2}))?(?:[.,]\d*)?\s*"
    r"(Z|[+-]\d{2}:?\d{2})?"
)
_NO_DATES = ("1904-01-01T00:00:00", "1970-01-01T00:00:00", "1980-01-01T00:00:00")
"""The zeros of clocks: of QuickTime, of Unix, of DOS."""
_FIRST_PHOTO, _FIRST_VIDEO_FILE = 1826, 1971  # years; what is before is some zero, and a zone
_HEMISPHERES = {
    "N": 1, "NORTH": 1, "E": 1, "EAST": 1, "S": -1, "SOUTH": -1, "W": -1, "WEST": -1, "\x01": -1,
}  # fmt: skip
_DAY = 24 * 60  # minutes
_OF_LATITUDE, _OF_LONGITUDE = "NS\x01", "EW\x01"
_OTHER_DATUM = "TOKYO"  # 450 m away from WGS 84, and written by phones
_ISO_6709 = re.compile(r"([+-]\d+(?:\.\d*)?)([+-]\d+(?:\.\d*)?)(?=[+\-/A-Z\s\x00]|$)")
_XMP = r"""(?:<{0}>\s*([^<]*?)\s*</|\b{0}\s*=\s*["']([^"']*)["'])"""
_XMP_DEGREES = re.compile(r"(\d+)(?:,(\d+(?:\.\d+)?))?(?:,(\d+(?:\.\d+)?))?([NSEW])")
_POINTERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_DAMAGED = "its EXIF block is damaged: what it says of time and place is not known"

Tags = Mapping[int, Any]


def photo_claims(image: Image.Image) -> tuple[dict[str, Any], tuple[str, ...]]:
    """``time`` (ISO 8601; with a zone only where the file tells one) and ``gps`` (lon, lat) of an
    opened photo, by its EXIF and, where that does not tell, by its XMP; and what is damaged."""
    try:
        exif = image.getexif()
        damaged = any(isinstance(exif.get(ifd), str | bytes) for ifd in _POINTERS)
    except Exception:  # noqa: BLE001  (damaged blocks raise anything)
        exif, damaged = Image.Exif(), True
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return xmp_claims(xmp) | exif_claims(exif), (_DAMAGED,) if damaged else ()


def exif_claims(exif: Image.Exif) -> dict[str, Any]:
    """What EXIF claims."""
    return tag_claims(_directory(exif, ExifTags.IFD.Exif), _directory(exif, ExifTags.IFD.GPSInfo))


def tag_claims(times: Tags, places: Tags) -> dict[str, Any]:
    """What the tags of an EXIF and of a GPS directory claim."""
    return _present(time=_taken(times), gps=_place(places), gps_time=_fixed_at(places))


def xmp_claims(xmp: bytes | str) -> dict[str, Any]:
    """What XMP (ISO 16684-1) claims; text that is no sound XML may still hold it."""
    text = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
    time = _xmp(text, "exif:DateTimeOriginal") or _xmp(text, "photoshop:DateCreated")
    lat, lon = (_xmp(text, f"exif:GPS{name}") for name in ("Latitude", "Longitude"))
    return _present(time=parse_time(time), gps=_xmp_place(lat, lon))


def video_claims(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a video's container claims of its recording."""
    tags = {key.lower(): value for key, value in metadata.items()}
    times = (_of_a_file(parse_time(tags.get(key))) for key in _VIDEO_TIMES)
    places = [value for key, value in tags.items() if key.endswith("iso6709")]
    places += [value for key, value in tags.items() if key.startswith("location")]
    found = filter(None, map(parse_iso_6709, places))
    return _present(time=next(filter(None, times), None), gps=next(found, None))


def _of_a_file(time: str | None) -> str | None:
    """A time at which there were such files; clocks that were not set tell others."""
    return time if time and int(time[:4]) >= _FIRST_VIDEO_FILE else None


_VIDEO_TIMES = ("com.apple.quicktime.creationdate", "creation_time", "date_recorded")


def parse_time(text: object, zone: object = None) -> str | None:
    """ISO 8601 of a time as EXIF or XMP write it; None for none, and for place holders.

    zone: its offset where it is told apart from it; one that cannot be read leaves the time
    without a zone.
    """
    found = _TIME.fullmatch(_text(text))
    if not found:
        return None
    year, month, day, hour, minute, second, offset = found.groups()
    try:
        told = f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}"
        time = dt.datetime.fromisoformat(told).replace(tzinfo=_zone(offset or _text(zone)))
    except ValueError:
        return None
    return None if told in _NO_DATES or time.year < _FIRST_PHOTO else time.isoformat()


def parse_iso_6709(text: object) -> Place | None:
    """lon, lat of ``+50.4501+030.5234/``, in degrees, degrees and minutes, or with seconds."""
    found = _ISO_6709.match(_text(text))
    if not found:
        return None
    return _sound(_sexagesimal(found[1], 2), _sexagesimal(found[2], 3))


def _present(**claims: Any) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}


def _directory(exif: Image.Exif, ifd: int) -> Tags:
    try:
        return exif.get_ifd(ifd)
    except Exception:  # noqa: BLE001  (its offsets may point anywhere)
        return {}


def _taken(tags: Tags) -> str | None:
    """When the picture was taken or, where that is not told, digitised."""
    base = ExifTags.Base
    return parse_time(tags.get(base.DateTimeOriginal), tags.get(base.OffsetTimeOriginal)) or (
        parse_time(tags.get(base.DateTimeDigitized), tags.get(base.OffsetTimeDigitized))
    )


def _fixed_at(tags: Tags) -> str | None:
    """When the position was found, by the satellites' clock (UTC)."""
    parts = _numbers(tags.get(ExifTags.GPS.GPSTimeStamp))
    if parts is None or len(parts) != 3 or not all(0 <= part < 61 for part in parts):
        return None
    clock = ":".join(f"{int(part):02d}" for part in parts)
    return parse_time(f"{_text(tags.get(ExifTags.GPS.GPSDateStamp))} {clock}", "Z")


def _place(tags: Tags) -> Place | None:
    names = ExifTags.GPS
    if _OTHER_DATUM in _text(tags.get(names.GPSMapDatum)).upper():
        return None
    lat = _degrees(tags.get(names.GPSLatitude), tags.get(names.GPSLatitudeRef), _OF_LATITUDE)
    lon = _degrees(tags.get(names.GPSLongitude), tags.get(names.GPSLongitudeRef), _OF_LONGITUDE)
    return _sound(lat, lon)


def _degrees(value: Any, reference: Any, known: str) -> float | None:
    """Degrees of (degrees, minutes, seconds), north and east positive; None where it is not told
    of which hemisphere they are."""
    name, parts = _letters(reference), _numbers(value)
    sign = _HEMISPHERES.get(name) if name[:1] in known else None
    if not name or sign is None or parts is None or len(parts) not in (2, 3):
        return None
    degrees, *small = parts
    if degrees < 0 < sign or not all(0 <= part <= 60 for part in small):
        return None  # contradicts itself, or is no number
    return sign * _in_degrees([abs(degrees), *small])


def _letters(reference: Any) -> str:
    """A reference of any type as text: N, S, E, W, a word, or the 1 that some write for S, W."""
    if isinstance(reference, tuple | list) and len(reference) == 1:
        reference = reference[0]
    if isinstance(reference, int):
        return chr(reference) if 0 < reference < 128 else ""
    return _text(reference).upper()


def _numbers(value: Any) -> list[float] | None:
    """The numbers of a tag of any type; None where one is none."""
    if isinstance(value, bytes | str):
        value = [part for part in re.split(r"[\s,;:°'\"]+", _text(value)) if part]
    parts = value if isinstance(value, tuple | list) else [value]
    try:
        found = [float(Fraction(p) if isinstance(p, str) else p) for p in parts]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return found if found and all(map(math.isfinite, found)) else None


def _sound(lat: float | None, lon: float | None) -> Place | None:
    """A place on Earth; 0, 0 is what is written where none is known."""
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180 or lat == lon == 0:
        return None
    return {"lon": lon, "lat": lat}


def _in_degrees(parts: Sequence[float]) -> float:
    """Of degrees, minutes and seconds."""
    return sum((part / 60**n for n, part in enumerate(parts)), start=0.0)


def _zone(offset: str) -> dt.timezone | None:
    found = re.fullmatch(r"([+-])(\d{2}):?(\d{2})", offset)
    if not found:
        return dt.UTC if offset.upper() in ("Z", "UTC") else None
    minutes = 60 * int(found[2]) + int(found[3])
    if minutes >= _DAY:
        return None
    return dt.timezone(dt.timedelta(minutes=-minutes if found[1] == "-" else minutes))


def _sexagesimal(text: str, digits: int) -> float | None:
    """±D.D, ±DDMM.M or ±DDMMSS.S, whose degrees have so many digits (ISO 6709)."""
    sign, value = (-1 if text[0] == "-" else 1), text[1:]
    whole = len(value.partition(".")[0])
    if whole <= digits:
        return sign * float(value)
    if whole not in (digits + 2, digits + 4):
        return None
    cuts = [0, digits, digits + 2][: (whole - digits) // 2 + 1]
    degrees, *small = (float(value[a:b]) for a, b in zip(cuts, [*cuts[1:], None], strict=True))
    if any(part >= 60 for part in small):
        return None
    return sign * _in_degrees([degrees, *small])


def _xmp(text: str, name: str) -> str | None:
    found = re.search(_XMP.format(name), text)
    return found and (found[1] or found[2])


def _xmp_place(lat: str | None, lon: str | None) -> Place | None:
    """XMP's own form: degrees,minutes.decimals or degrees,minutes,seconds, and a letter."""
    values = []
    for text, known in ((lat, _OF_LATITUDE), (lon, _OF_LONGITUDE)):
        found = _XMP_DEGREES.fullmatch(text or "")
        values.append(found and _degrees([p for p in found.groups()[:3] if p], found[4], known))
    return _sound(*values)


def _text(value: object) -> str:
    """Text of a tag of any type, without the zeros and blanks that fill it."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return "" if value is None else str(value).strip("\x00 \t\r\n").partition("\x00")[0].rstrip()
