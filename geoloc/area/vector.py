"""Which vector files are opened: those that contain their own shapes.

By default the reader (OGR) uses whatever driver a file's first bytes demand: a ``.geojson`` may be
a list of other files or servers (``<OGRVRTDataSource>``), or a pipeline of commands.
"""

from __future__ import annotations

import contextlib
import io
import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import IO

_ROOTS = ("kml", "gpx", "osm", "FeatureCollection")
"""Root elements of XML files, without namespace: KML, GPX, OpenStreetMap, GML."""

_TEXTS = (".tab", ".mif", ".dxf", ".csv")
"""Suffixes of other text formats with shapes."""

_PARTS = (
    ".shp", ".shx", ".dbf", ".prj", ".cpg", ".qpj", ".qix", ".sbn", ".sbx", ".xml", ".txt",
    ".geojson", ".json", ".gpkg", ".kml", ".gml", ".xsd", ".fgb", ".png", ".jpg", ".md", ".pdf",
)  # fmt: skip
"""Suffixes of files allowed in an archive."""

_MAGIC = (b"\0\0\x27\x0a", b"fgb", b"SQLite format 3\0", b"OSM", b"\0\0\0\x0d\x0a\x09OSMHeader")
_PIPELINE = b"gdal_streamed_alg"
_HEAD = 1 << 20
_MOST_SWOLLEN, _SMALL = 100, 256 << 20  # times its size, and bytes, that an archive may unpack to

READER_OPTIONS = {"GML_DOWNLOAD_SCHEMA": "NO", "GML_SKIP_RESOLVE_ELEMS": "ALL"}
"""Options that keep the reader from opening other files."""


def reason_to_refuse(file: Path) -> str:
    """Why a vector file is not opened; empty if it may be. Raises OSError."""
    if zipfile.is_zipfile(file):
        return _of_archive(file)
    with file.open("rb") as stream:
        return _of_content(stream, file.suffix.lower())


def _of_archive(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > max(_SMALL, _MOST_SWOLLEN * file.stat().st_size):
                return f"it unpacks to {unpacked:,} bytes"
            for info in archive.infolist():
                ending = Path(info.filename).suffix.lower()
                if info.is_dir() or "__MACOSX" in info.filename:
                    continue
                if ending not in _PARTS:
                    return f"it contains {info.filename[:80]!r}, which is not part of a vector file"
                if ending in (".geojson", ".json", ".kml", ".gml"):
                    with archive.open(info) as stream:
                        if reason := _of_content(stream, ending):
                            return reason
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError):
        return "it is a damaged archive"
    return ""


def _of_content(stream: IO[bytes], ending: str) -> str:
    head = stream.read(_HEAD)
    if head.startswith(_MAGIC):
        return ""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return _of_xml(text)
    if _PIPELINE in head:
        return "it is a pipeline of commands, not a file of shapes"
    if text.startswith((b"{", b"[")) or text.startswith(b"\x1e{") or ending in _TEXTS:
        return ""
    return "it is not GeoJSON, GeoPackage, shapefile, KML, GML, GPX or FlatGeobuf: save it as one"


def _of_xml(text: bytes) -> str:
    if re.search(rb"<!(DOCTYPE|ENTITY)", text):
        return "it is XML with a document type"
    root = ""
    with contextlib.suppress(ET.ParseError):  # a file broken further on still has a root
        root = next(e.tag for _, e in ET.iterparse(io.BytesIO(text), ["start"]))
    name = root.rpartition("}")[2]
    if name in _ROOTS:
        return ""
    return f"it is XML of the kind {name[:40] or 'unknown'}, which may name other files or servers"
