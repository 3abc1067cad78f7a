"""Every byte of a copy, searched for what was left out.

The copy is written from listed values alone, so nothing should be found. This checks again by
other means: for each text of the record that the copy's record lacks, in every encoding used by
writers of files, in every file, compressed or not.
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

_LEAST = 4  # characters of a text that is unlikely to occur by chance
_NUMBER = re.compile(r"[\d\s.,:;+%-]{1,7}")  # such as 2024: any answer may contain it
_HEX = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LONG = 40  # characters of both ends to search for, as a long text may have been cut
_URI = re.compile(rb"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")
_PACKED = re.compile(rb'"(H4sI[A-Za-z0-9+/=]+)"')  # gzip in base64, as the page has it
_MOST_UNPACKED = 1 << 28
_PLAIN = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive",
          "progression", "transparency", "gamma", "interlace"}  # fmt: skip
"""Metadata that a picture may have."""


_PROSE_PARTS = ("candidates", "areas", "notes")
"""Parts of a record whose texts are links and sentences: only the coordinates, names and paths in
them are searched for."""


_LEAST_PACKED = 6  # bytes of a text that do not occur by chance in compressed data
_OF_FORMATS = (
    "STATISTICS_MINIMUM STATISTICS_MAXIMUM STATISTICS_MEAN STATISTICS_STDDEV "
    "STATISTICS_VALID_PERCENT STATISTICS_APPROXIMATE DESCRIPTION GDALMetadata Item name sample "
    "role description GDAL_STRUCTURAL_METADATA_SIZE LAYOUT=IFDS_BEFORE_DATA BLOCK_ORDER=ROW_MAJOR "
    "BLOCK_LEADER=SIZE_AS_UINT4 BLOCK_TRAILER=LAST_4_BYTES_REPEATED KNOWN_INCOMPATIBLE_EDITION=NO "
    "COMPRESSION INTERLEAVE BAND LAYOUT COG AREA_OR_POINT Area IMAGE_STRUCTURE DEFLATE DERIVED "
    "WGS 84 / UTM zone JFIF Exif Adobe IHDR PLTE IDAT IEND tRNS tEXt doc.kml ZipInfo filename "
    "compress_type deflate file_size compress_size filemode external_attr"
)
"""Words that the formats themselves contain."""


@dataclass(frozen=True)
class Secret:
    """What must not be found: texts that together reveal it; ``kind``: for messages."""

    kind: str
    texts: tuple[str, ...]

    def is_in(self, content: bytes) -> bool:
        """Whether ``content`` contains all its texts, each in some form."""
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
    """What a record contains and its copy must not."""
    vocabulary = "\n".join([_fixed(), *_vocabulary(original, copied)])
    kept = {part for leaf in _leaves(copied) for part in (leaf, leaf.rpartition(".")[0])}
    kinds: dict[str, str] = {}
    searched = {key: value for key, value in original.items() if key not in _PROSE_PARTS}
    for kind, text in _texts(searched):
        for part in _parts(text) if text not in kept else ():
            if len(part) < _LEAST or _NUMBER.fullmatch(part) or part in kept:
                continue
            if part not in vocabulary:
                kinds.setdefault(part, KINDS.get(kind, kind))
    if len(home) > 1 and home not in vocabulary:
        kinds.setdefault(home.rstrip("/") + "/", "the home folder")
    places = [Secret(kind, pair) for kind, pair in _places(original, copied)]
    return [*(Secret(kind, (text,)) for text, kind in kinds.items()), *places]


def _stands_in(form: bytes, content: bytes) -> bool:
    """Whether a text occurs; hex digits only as a separate word, as digests contain them all."""
    if form not in content or not _HEX.fullmatch(form):
        return form in content
    return re.search(rb"(?<![0-9A-Za-z])" + form + rb"(?![0-9A-Za-z])", content) is not None


def findings(folder: Path, secrets: Iterable[Secret], expected: Iterable[str]) -> Iterator[str]:
    """A line for each secret in a file of a folder, and for each unknown file."""
    known, secrets = set(expected), list(secrets)
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            continue
        if path.name not in known or path.is_symlink():
            yield f"{path.name} is not a file of an answer"
            continue
        for content in contents(path.read_bytes(), path):
            yield from (f"{name} reveals {one.kind}" for one in secrets if one.is_in(content))
        yield from (f"{name}: {line}" for line in metadata(path.read_bytes()))


def contents(data: bytes, path: Path | None = None) -> Iterator[bytes]:
    """A file's bytes, and all compressed parts, decompressed."""
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
    """Metadata that pictures must not have: EXIF, XMP, IPTC, comments."""
    pictures = [base64.b64decode(uri[1]) for uri in _URI.finditer(data)]
    for picture in [*pictures, data]:
        if picture.startswith((b"\x89PNG", b"\xff\xd8")):
            with Image.open(io.BytesIO(picture)) as image:
                image.load()
                extra = {key: value for key, value in image.info.items() if key not in _PLAIN}
                if image.getexif() or extra not in ({}, {"Software": "geoloc"}):
                    yield f"a picture has metadata ({', '.join(map(str, extra)) or 'exif'})"


def forms(text: str) -> set[bytes]:
    """A text as files may contain it: in encodings and in escapes of HTML, XML, JSON and URLs."""
    composed = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text}
    escaped = set[str]()
    for one in composed:
        ascii_json, wide_json = (json.dumps(one, ensure_ascii=wide)[1:-1] for wide in (True, False))
        escaped |= {
            one, html.escape(one), html.escape(html.escape(one)), escape(one), escape(escape(one)),
            str(markup(one)), ascii_json, wide_json, quote(one, errors="replace"),
            quote(one, safe="", errors="replace"),
        }  # fmt: skip
    encoded = {one.encode("utf-8", "replace") for one in escaped}
    encoded |= {one.encode(code, "replace") for one in composed for code in _WIDE}
    return encoded | {part for one in composed for part in _in_base64(one)}


_WIDE = ("utf-16-le", "utf-16-be")


def _in_base64(text: str) -> Iterator[bytes]:
    """What base64 of any data with the text must contain, for each of the three alignments."""
    data = text.encode("utf-8", "replace")
    if len(data) < 9:
        return  # too little of it is certain
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + data)
        yield whole[4 if before else 0 : len(whole) - 4]


def _texts(value: Any, kind: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a record with its key."""
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
    """A text, both ends of a long one, and the name and parent folders of a path."""
    yield text
    if len(text) > 2 * _LONG:
        yield from (text[:_LONG], text[-_LONG:])
    if re.match(r"/|[A-Za-z]:\\|\w+://", text):
        folders = re.split(r"[/\\]", text)
        yield folders[-1]
        yield folders[-1].rpartition(".")[0]
        least = 5 if "://" in text else 3  # a host alone reveals nothing about a person
        yield from ("/".join(folders[:n]) for n in range(least, len(folders)))
    elif re.search(r"\.\w{2,5}$", text):
        yield text.rpartition(".")[0]


def _places(
    original: Mapping[str, Any], copied: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Coordinates that the copy must not contain, to five decimals, which is a metre."""
    copied_pairs = set(_pairs(copied))
    for kind, (lat, lon) in dict.fromkeys(_named_pairs(original)):
        if not any(abs(lat - a) < 1e-5 and abs(lon - b) < 1e-5 for a, b in copied_pairs):
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
    """All tags of a GeoTIFF and of its bands."""
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            spaces = set(raster.tag_namespaces()) - {"DERIVED_SUBDATASETS"}  # GDAL's own
            tags: dict[str, Any] = {space: raster.tags(ns=space) for space in spaces}
            bands = {str(band): raster.tags(band) for band in raster.indexes}
            return {**tags, "": raster.tags(), **bands, "names": raster.descriptions}
    except RasterioError:
        return {}


@cache
def _fixed() -> str:
    """Words in any copy: those of the pages and of the code that writes the files."""
    report = files("geoloc.report")
    folders = (report, report / "templates", files("geoloc.sharing"))
    sources = [source for folder in folders for source in folder.iterdir() if source.is_file()]
    return "\n".join([*(source.read_text(encoding="utf-8") for source in sources), _OF_FORMATS])


def _vocabulary(original: Mapping[str, Any], copied: Mapping[str, Any]) -> Iterator[str]:
    """Words of the copy that reveal nothing about people: of scenes, the cube and its files."""
    yield CRS(copied["grid"]["crs"]).to_wkt()
    yield from (key for key in copied)
    for part in (
        "cube",
        "model",
        "versions",
        "parameters",
        "original",
        "summary",
        "grid",
        "tandem",
    ):
        yield from (text for _, text in _texts(copied.get(part)))
        yield from (str(key) for key in copied.get(part) or {})
    for name in original["vector"]:
        yield from (name, display_name(name))
    yield from (photo["file"] for photo in copied["photos"])
    yield copied["title"]
