"""What a file claims about its time and place, read unchanged or not at all.

Claims are evidence to report, never an answer. Absent, damaged, impossible and placeholder values
are not claims; the time of the last edit is not a time of capture.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping, Sequence
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
"""The zeros of the clocks of QuickTime, Unix and DOS."""
_FIRST_PHOTO, _FIRST_VIDEO_FILE = (
    1826,
    1971,
)  # years; earlier is a zero in some zone
_HEMISPHERES = {
    "N": 1, "NORTH": 1, "E": 1, "EAST": 1, "S": -1, "SOUTH": -1, "W": -1, "WEST": -1, "\x01": -1,
}  # fmt: skip
_DAY = 24 * 60  # minutes
_OF_LATITUDE, _OF_LONGITUDE = "NS\x01", "EW\x01"
_OTHER_DATUM = "TOKYO"  # 450 m off WGS 84, and written by some phones
_GLOBAL_DATUMS = re.compile(
    r"WGS(19)?84|WORLDGEODETICSYSTEM(19)?84|ITRF|ETRS(19)?89|NAD(19)?83|JGD20|GDA|CGCS2000|"
    r"NZGD2000|SIRGAS2000|EPSG4326"
)  # within some metres of each other
_DEGREE = 111_195.0  # m along a meridian
_APART = 500.0  # m: XMP is often written with a few decimals of a minute
_LATER = 2.0  # s
_FOLLOWED = "EXIF is followed; editors often change only one of them"
_ISO_6709 = re.compile(r"([+-]\d+(?:\.\d*)?)([+-]\d+(?:\.\d*)?)(?=[+\-/A-Z\s\x00]|$)")
_XMP = r"""(?:<{0}>\s*([^<]*?)\s*</|\b{0}\s*=\s*["']([^"']*)["'])"""
_XMP_DEGREES = re.compile(r"(\d+)(?:,(\d+(?:\.\d+)?))?(?:,(\d+(?:\.\d+)?))?([NSEW])")
_POINTERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_DAMAGED = "its EXIF block is damaged: its claims of time and place are unknown"

Tags = Mapping[int, Any]


def photo_claims(image: Image.Image) -> tuple[dict[str, Any], tuple[str, ...]]:
    """``time`` (ISO 8601; with a zone only if the file has one) and ``gps`` (lon, lat) of an
    opened photo, from its EXIF, else from its XMP; and notes of damage, of contradictions between
    the two, and of a position in another datum."""
    try:
        exif = image.getexif()
        damaged = any(isinstance(exif.get(ifd), str | bytes) for ifd in _POINTERS)
    except Exception:  # noqa: BLE001  (damaged blocks raise anything)
        exif, damaged = Image.Exif(), True
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    stated, also = exif_claims(exif), xmp_claims(xmp)
    notes = (_DAMAGED,) if damaged else ()
    return also | stated, (*notes, *_contradictions(stated, also), *_notes_on_datum(exif))


def heading_claim(image: Image.Image) -> float | None:
    """Where the camera looked, degrees clockwise from true north, 0 to 360; None if not told.

    A heading from magnetic north is some degrees off, by how many is not known here: not told.
    """
    try:
        tags = _directory(image.getexif(), ExifTags.IFD.GPSInfo)
    except Exception:  # noqa: BLE001  (damaged blocks raise anything)
        return None
    names = ExifTags.GPS
    parts = _numbers(tags.get(names.GPSImgDirection))
    reference = _letters(tags.get(names.GPSImgDirectionRef))
    if parts is None or len(parts) != 1 or not 0 <= parts[0] <= 360 or reference == "M":
        return None
    return parts[0] % 360


def exif_claims(exif: Image.Exif) -> dict[str, Any]:
    """The claims of EXIF."""
    return tag_claims(_directory(exif, ExifTags.IFD.Exif), _directory(exif, ExifTags.IFD.GPSInfo))


def tag_claims(times: Tags, places: Tags) -> dict[str, Any]:
    """The claims of the tags of an EXIF and a GPS directory."""
    return _present(time=_capture_time(times), gps=_place(places), gps_time=_gps_time(places))


def _contradictions(stated: Mapping[str, Any], also: Mapping[str, Any]) -> Iterator[str]:
    """A note for each claim of EXIF that XMP contradicts; notes hold no place and no time, as
    copies of an answer for others keep them."""
    one, other = stated.get("gps"), also.get("gps")
    if one and other and (apart := _metres(one, other)) > _APART:
        yield f"its XMP claims a place {apart / 1000:.1f} km from that of its EXIF: {_FOLLOWED}"
    one, other = stated.get("time"), also.get("time")
    if one and other and (apart := _seconds(one, other)) > _LATER:
        apart_for = dt.timedelta(seconds=round(apart))
        yield f"its XMP claims a time {apart_for} from that of its EXIF: {_FOLLOWED}"


def _metres(one: Place, other: Place) -> float:
    """Roughly, between two places."""
    east = (one["lon"] - other["lon"] + 180) % 360 - 180
    east *= math.cos(math.radians(one["lat"]))
    return _DEGREE * math.hypot(east, one["lat"] - other["lat"])


def _seconds(one: str, other: str) -> float:
    """Between two times; of local ones where either has no zone."""
    a, b = map(dt.datetime.fromisoformat, (one, other))
    if a.tzinfo is None or b.tzinfo is None:
        a, b = a.replace(tzinfo=None), b.replace(tzinfo=None)
    return abs((a - b).total_seconds())


def _notes_on_datum(exif: Image.Exif) -> Iterator[str]:
    """A note on a position in a datum that differs from WGS 84."""
    tags = _directory(exif, ExifTags.IFD.GPSInfo)
    name = _text(tags.get(ExifTags.GPS.GPSMapDatum))[:40]
    if _place(tags, any_datum=True) is None or _is_global(name):
        return
    if _OTHER_DATUM in name.upper():
        yield f"its GPS position is not claimed, as it is in the datum {name}, not in WGS 84"
    else:
        yield f"its GPS position is in the datum {name!r}, which may be 100 m or more off WGS 84"


def _is_global(datum: str) -> bool:
    """Whether a datum is WGS 84, or as good as that; EXIF's default is WGS 84."""
    letters = re.sub(r"[^A-Z0-9]", "", datum.upper())
    return not letters or bool(_GLOBAL_DATUMS.match(letters))


def xmp_claims(xmp: bytes | str) -> dict[str, Any]:
    """The claims of XMP (ISO 16684-1), also from invalid XML."""
    text = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
    time = _xmp(text, "exif:DateTimeOriginal") or _xmp(text, "photoshop:DateCreated")
    lat, lon = (_xmp(text, f"exif:GPS{name}") for name in ("Latitude", "Longitude"))
    elsewhere = _OTHER_DATUM in (_xmp(text, "exif:GPSMapDatum") or "").upper()
    return _present(time=parse_time(time), gps=None if elsewhere else _xmp_place(lat, lon))


def video_claims(metadata: Mapping[str, str]) -> dict[str, Any]:
    """A video container's claims about its recording."""
    tags = {key.lower(): value for key, value in metadata.items()}
    times = (_plausible_file_time(parse_time(tags.get(key))) for key in _VIDEO_TIMES)
    places = [value for key, value in tags.items() if key.endswith("iso6709")]
    places += [value for key, value in tags.items() if key.startswith("location")]
    positions = filter(None, map(parse_iso_6709, places))
    return _present(time=next(filter(None, times), None), gps=next(positions, None))


def _plausible_file_time(time: str | None) -> str | None:
    """The time if video files existed then; clocks that were never set give earlier ones."""
    return time if time and int(time[:4]) >= _FIRST_VIDEO_FILE else None


_VIDEO_TIMES = ("com.apple.quicktime.creationdate", "creation_time", "date_recorded")


def parse_time(text: object, zone: object = None) -> str | None:
    """ISO 8601 of a time as EXIF or XMP write it; None for invalid times and placeholders.

    zone: its offset, if stored separately; an invalid one leaves the time without a zone.
    """
    match = _TIME.fullmatch(_text(text))
    if not match:
        return None
    year, month, day, hour, minute, second, offset = match.groups()
    try:
        local = f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}"
        time = dt.datetime.fromisoformat(local).replace(tzinfo=_zone(offset or _text(zone)))
    except ValueError:
        return None
    return None if local in _NO_DATES or time.year < _FIRST_PHOTO else time.isoformat()


def parse_iso_6709(text: object) -> Place | None:
    """lon, lat of ``+50.4501+030.5234/``, in degrees, degrees and minutes, or with seconds."""
    match = _ISO_6709.match(_text(text))
    if not match:
        return None
    return _checked_place(_sexagesimal(match[1], 2), _sexagesimal(match[2], 3))


def _present(**claims: Any) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}


def _directory(exif: Image.Exif, ifd: int) -> Tags:
    try:
        return exif.get_ifd(ifd)
    except Exception:  # noqa: BLE001  (its offsets may point anywhere)
        return {}


def _capture_time(tags: Tags) -> str | None:
    """When the picture was taken, else when it was digitised."""
    base = ExifTags.Base
    return parse_time(tags.get(base.DateTimeOriginal), tags.get(base.OffsetTimeOriginal)) or (
        parse_time(tags.get(base.DateTimeDigitized), tags.get(base.OffsetTimeDigitized))
    )


def _gps_time(tags: Tags) -> str | None:
    """When the position was fixed, by the satellites' clock (UTC)."""
    parts = _numbers(tags.get(ExifTags.GPS.GPSTimeStamp))
    if parts is None or len(parts) != 3 or not all(0 <= part < 61 for part in parts):
        return None
    clock = ":".join(f"{int(part):02d}" for part in parts)
    return parse_time(f"{_text(tags.get(ExifTags.GPS.GPSDateStamp))} {clock}", "Z")


def _place(tags: Tags, *, any_datum: bool = False) -> Place | None:
    names = ExifTags.GPS
    if not any_datum and _OTHER_DATUM in _text(tags.get(names.GPSMapDatum)).upper():
        return None
    lat = _degrees(tags.get(names.GPSLatitude), tags.get(names.GPSLatitudeRef), _OF_LATITUDE)
    lon = _degrees(tags.get(names.GPSLongitude), tags.get(names.GPSLongitudeRef), _OF_LONGITUDE)
    return _checked_place(lat, lon)


def _degrees(value: Any, reference: Any, known: str) -> float | None:
    """Decimal degrees of (degrees, minutes, seconds), north and east positive; None without a
    hemisphere."""
    name, parts = _letters(reference), _numbers(value)
    sign = _HEMISPHERES.get(name) if name[:1] in known else None
    if not name or sign is None or parts is None or len(parts) not in (2, 3):
        return None
    degrees, *small = parts
    if degrees < 0 < sign or not all(0 <= part <= 60 for part in small):
        return None  # contradicts itself, or is not a number
    return sign * _decimal_degrees([abs(degrees), *small])


def _letters(reference: Any) -> str:
    """A reference of any type as text: N, S, E, W, a word, or 1 as some write S and W."""
    if isinstance(reference, tuple | list) and len(reference) == 1:
        reference = reference[0]
    if isinstance(reference, int):
        return chr(reference) if 0 < reference < 128 else ""
    return _text(reference).upper()


def _numbers(value: Any) -> list[float] | None:
    """The numbers of a tag of any type; None if one of them is not a number."""
    if isinstance(value, bytes | str):
        value = [part for part in re.split(r"[\s,;:°'\"]+", _text(value)) if part]
    parts = value if isinstance(value, tuple | list) else [value]
    try:
        numbers = [float(Fraction(p) if isinstance(p, str) else p) for p in parts]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return numbers if numbers and all(map(math.isfinite, numbers)) else None


def _checked_place(lat: float | None, lon: float | None) -> Place | None:
    """A place on Earth, or None; 0, 0 is written for an unknown one."""
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180 or lat == lon == 0:
        return None
    return {"lon": lon, "lat": lat}


def _decimal_degrees(parts: Sequence[float]) -> float:
    """Decimal degrees of degrees, minutes and seconds."""
    return sum((part / 60**n for n, part in enumerate(parts)), start=0.0)


def _zone(offset: str) -> dt.timezone | None:
    match = re.fullmatch(r"([+-])(\d{2}):?(\d{2})", offset)
    if not match:
        return dt.UTC if offset.upper() in ("Z", "UTC") else None
    minutes = 60 * int(match[2]) + int(match[3])
    if minutes >= _DAY:
        return None
    return dt.timezone(dt.timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _sexagesimal(text: str, digits: int) -> float | None:
    """Degrees of ±D.D, ±DDMM.M or ±DDMMSS.S; ``digits`` of the degrees (ISO 6709)."""
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
    return sign * _decimal_degrees([degrees, *small])


def _xmp(text: str, name: str) -> str | None:
    match = re.search(_XMP.format(name), text)
    return match and (match[1] or match[2])


def _xmp_place(lat: str | None, lon: str | None) -> Place | None:
    """A place in XMP's form: degrees,minutes.decimals or degrees,minutes,seconds, and a letter."""
    values = []
    for text, known in ((lat, _OF_LATITUDE), (lon, _OF_LONGITUDE)):
        match = _XMP_DEGREES.fullmatch(text or "")
        values.append(match and _degrees([p for p in match.groups()[:3] if p], match[4], known))
    return _checked_place(*values)


def _text(value: object) -> str:
    """Text of a tag of any type, without padding zeros and blanks."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return "" if value is None else str(value).strip("\x00 \t\r\n").partition("\x00")[0].rstrip()
