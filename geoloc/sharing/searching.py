"""Every byte of a copy, searched for what was left out.

The copy is written from named values alone, so nothing should be found. This looks again, with
other means: for each text of the record that the copy's record lacks, in every way in which
writers of files encode text, in every file, packed or not.
"""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import rasterio
from markupsafe import escape as markup
from PIL import Image
from pyproj import CRS
from rasterio.errors import RasterioError

from ..scenes import display_name
from .options import KINDS

_LEAST = 4  # characters of a text that can be told from chance
_NUMBER = re.compile(r"[\d\s.,:;+%-]{1,7}")  # such as 2024: any answer may have it of its own
_HEX = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LONG = 40  # of a long text its ends are searched for: it may have been cut
_URI = re.compile(rb"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")
_PACKED = re.compile(rb'"(H4sI[A-Za-z0-9+/=]+)"')  # gzip in base64, as the page has it
_MOST_UNPACKED = 1 << 28
_PLAIN = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive",
          "progression", "transparency", "gamma", "interlace"}  # fmt: skip
"""What a picture may say of itself beside its pixels."""


_OTHERWISE = ("candidates", "areas", "notes")
"""Parts of a record whose texts are links, of which the coordinates are looked for, and sentences,
of which the names and paths are."""


_LEAST_PACKED = 6  # bytes of a text that chance does not make in compressed data
_OF_FORMATS = (
    "STATISTICS_MINIMUM STATISTICS_MAXIMUM STATISTICS_MEAN STATISTICS_STDDEV "
    "STATISTICS_VALID_PERCENT STATISTICS_APPROXIMATE DESCRIPTION GDALMetadata Item name sample "
    "role description GDAL_STRUCTURAL_METADATA_SIZE LAYOUT=IFDS_BEFORE_DATA BLOCK_ORDER=ROW_MAJOR "
    "BLOCK_LEADER=SIZE_AS_UINT4 BLOCK_TRAILER=LAST_4_BYTES_REPEATED KNOWN_INCOMPATIBLE_EDITION=NO "
    "COMPRESSION INTERLEAVE BAND LAYOUT COG AREA_OR_POINT Area IMAGE_STRUCTURE DEFLATE DERIVED "
    "WGS 84 / UTM zone JFIF Exif Adobe IHDR PLTE IDAT IEND tRNS tEXt doc.kml ZipInfo filename "
    "compress_type deflate file_size compress_size filemode external_attr"
)
"""Words that formats have of themselves."""


@dataclass(frozen=True)
class Secret:
    """What must not be found: texts that each tell of it, all of them; ``kind`` for people."""

    kind: str
    texts: tuple[str, ...]

    def is_in(self, content: bytes) -> bool:
        """Whether all its texts are there, each in some form."""
        least = _LEAST_PACKED if b"\0" in content else _LEAST
        return all(
            any(len(form) >= least and _stands_in(form, content) for form in self.forms(text))
            for text in self.texts
        )

    @staticmethod
    @lru_cache(maxsize=10_000)
    def forms(text: str) -> frozenset[bytes]:
        """See `forms`."""
        return frozenset(forms(text))


def secrets_of(
    original: Mapping[str, Any], copied: Mapping[str, Any], home: str = ""
) -> list[Secret]:
    """What a record tells and its copy does not."""
    vocabulary = "\n".join([_fixed(), *_vocabulary(original, copied)])
    kept = {part for leaf in _leaves(copied) for part in (leaf, leaf.rpartition(".")[0])}
    found: dict[str, str] = {}
    told = {key: value for key, value in original.items() if key not in _OTHERWISE}
    for kind, text in _texts(told):
        for part in _parts(text) if text not in kept else ():
            if len(part) < _LEAST or _NUMBER.fullmatch(part) or part in kept:
                continue
            if part not in vocabulary:
                found.setdefault(part, KINDS.get(kind, kind))
    if len(home) > 1 and home not in vocabulary:
        found.setdefault(home.rstrip("/") + "/", "the home folder")
    places = [Secret(kind, pair) for kind, pair in _places(original, copied)]
    return [*(Secret(kind, (text,)) for text, kind in found.items()), *places]


def _stands_in(form: bytes, content: bytes) -> bool:
    """Whether a text is there; one of hex digits alone by itself, as digests have all of them."""
    if form not in content or not _HEX.fullmatch(form):
        return form in content
    return re.search(rb"(?<![0-9A-Za-z])" + form + rb"(?![0-9A-Za-z])", content) is not None


def findings(folder: Path, secrets: Iterable[Secret], expected: Iterable[str]) -> Iterator[str]:
    """A line for each secret that a file of a folder tells, and for each file that is unknown."""
    known, secrets = set(expected), list(secrets)
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            continue
        if path.name not in known or path.is_symlink():
            yield f"{path.name} is no file of an answer"
            continue
        for content in contents(path.read_bytes(), path):
            yield from (f"{name} tells {one.kind}" for one in secrets if one.is_in(content))
        yield from (f"{name}: {told}" for told in metadata(path.read_bytes()))


def contents(data: bytes, path: Path | None = None) -> Iterator[bytes]:
    """A file's bytes, and all that is packed in them, unpacked."""
    rest = _PACKED.sub(b'""', _URI.sub(b"", data))
    yield rest
    for uri in _URI.finditer(data):
        yield base64.b64decode(uri[1])
    for packed in _PACKED.finditer(data):
        with gzip.open(io.BytesIO(base64.b64decode(packed[1]))) as file:
            yield file.read(_MOST_UNPACKED)
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                yield repr(entry).encode() + entry.extra + entry.comment
                yield from contents(archive.read(entry))
    if data.startswith((b"II", b"MM")) and path is not None:
        yield json.dumps(_tags(path), ensure_ascii=False).encode()
    if data.startswith((b"\x89PNG", b"\xff\xd8")):
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            yield repr(image.info).encode()


def metadata(data: bytes) -> Iterator[str]:
    """What pictures say beside their pixels that they should not: EXIF, XMP, IPTC, comments."""
    pictures = [base64.b64decode(uri[1]) for uri in _URI.finditer(data)]
    for picture in [*pictures, data]:
        if picture.startswith((b"\x89PNG", b"\xff\xd8")):
            with Image.open(io.BytesIO(picture)) as image:
                image.load()
                told = {key: value for key, value in image.info.items() if key not in _PLAIN}
                if image.getexif() or told not in ({}, {"Software": "geoloc"}):
                    yield f"a picture has metadata ({', '.join(map(str, told)) or 'exif'})"


def forms(text: str) -> set[bytes]:
    """A text as files may hold it: encodings, escapes of HTML, XML, JSON and addresses."""
    composed = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text}
    told = set[str]()
    for one in composed:
        ascii_json, wide_json = (json.dumps(one, ensure_ascii=wide)[1:-1] for wide in (True, False))
        told |= {
            one, html.escape(one), html.escape(html.escape(one)), escape(one), escape(escape(one)),
            str(markup(one)), ascii_json, wide_json, quote(one, errors="replace"),
            quote(one, safe="", errors="replace"),
        }  # fmt: skip
    encoded = {one.encode("utf-8", "replace") for one in told}
    encoded |= {one.encode(code, "replace") for one in composed for code in _WIDE}
    return encoded | {part for one in composed for part in _in_base64(one)}


_WIDE = ("utf-16-le", "utf-16-be")


def _in_base64(text: str) -> Iterator[bytes]:
    """What base64 of anything with the text in it must hold: one for each way it may lie."""
    data = text.encode("utf-8", "replace")
    if len(data) < 9:
        return  # too little of it is certain
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data)
        yield whole[4 if before else 0 : len(whole) - 4]


def _texts(value: Any, kind: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a record with the key that it stands under."""
    if isinstance(value, str):
        yield kind, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(one, str(key))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one, kind)


def _leaves(value: Any) -> Iterator[str]:
    yield from (text for _, text in _texts(value))


def _parts(text: str) -> Iterator[str]:
    """A text, both ends of a long one, and of a path the folders above and the name."""
    yield text
    if len(text) > 2 * _LONG:
        yield from (text[:_LONG], text[-_LONG:])
    if re.match(r"/|[A-Za-z]:\\|\w+://", text):
        folders = re.split(r"[/\\]", text)
        yield folders[-1]
        yield folders[-1].rpartition(".")[0]
        least = 5 if "://" in text else 3  # a host alone tells nothing of a person
        yield from ("/".join(folders[:n]) for n in range(least, len(folders)))
    elif re.search(r"\.\w{2,5}$", text):
        yield text.rpartition(".")[0]


def _places(
    original: Mapping[str, Any], copied: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Coordinates that the copy must not tell, as their first five decimals: a metre."""
    there = set(_pairs(copied))
    for kind, (lat, lon) in dict.fromkeys(_named_pairs(original)):
        if not any(abs(lat - a) < 1e-5 and abs(lon - b) < 1e-5 for a, b in there):
            yield KINDS.get(kind, f"coordinates of {kind}"), (_digits(lat), _digits(lon))


def _digits(value: float) -> str:
    return f"{value:.7f}"[:-2]


def _named_pairs(value: Any, kind: str = "") -> Iterator[tuple[str, tuple[float, float]]]:
    if isinstance(value, Mapping):
        lat, lon = value.get("lat"), value.get("lon")
        if isinstance(lat, int | float) and isinstance(lon, int | float):
            yield kind, (float(lat), float(lon))
        for key, one in value.items():
            yield from _named_pairs(one, str(key))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _named_pairs(one, kind)


def _pairs(value: Any) -> Iterator[tuple[float, float]]:
    yield from (pair for _, pair in _named_pairs(value))


def _tags(path: Path) -> dict[str, Any]:
    """All tags of a GeoTIFF, of its bands too."""
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            spaces = set(raster.tag_namespaces()) - {"DERIVED_SUBDATASETS"}  # GDAL's, of its name
            found: dict[str, Any] = {space: raster.tags(ns=space) for space in spaces}
            bands = {str(band): raster.tags(band) for band in raster.indexes}
            return {**found, "": raster.tags(), **bands, "names": raster.descriptions}
    except RasterioError:
        return {}


@cache
def _fixed() -> str:
    """Words that any copy has: those of the pages and of the code that writes the files."""
    report = files("geoloc.report")
    folders = (report, report / "templates", files("geoloc.sharing"))
    found = [one for folder in folders for one in folder.iterdir() if one.is_file()]
    return "\n".join([*(one.read_text(encoding="utf-8") for one in found), _OF_FORMATS])


def _vocabulary(original: Mapping[str, Any], copied: Mapping[str, Any]) -> Iterator[str]:
    """Words of the copy that say nothing of people: of scenes, of the cube, of its files."""
    yield CRS(copied["grid"]["crs"]).to_wkt()
    yield from (key for key in copied)
    for part in ("cube", "model", "versions", "parameters", "original", "summary", "grid"):
        yield from (text for _, text in _texts(copied.get(part)))
        yield from (str(key) for key in copied.get(part) or {})
    for name in original["vector"]:
        yield from (name, display_name(name))
    yield from (photo["file"] for photo in copied["photos"])
    yield copied["title"]
