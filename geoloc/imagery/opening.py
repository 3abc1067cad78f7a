"""Opens rasters with GDAL's image drivers only.

By default GDAL uses whatever driver a file's first bytes demand: a ``.tif`` may be the description
of a map server, or a VRT that shows other files of this disk as pixels. So only drivers that read
the file itself are tried. A VRT is opened if it is on this disk and consists of nothing but images
(`require_plain_vrt`), as mosaics of a user's own files do.
"""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._path import _parse_path
from rasterio.drivers import is_blacklisted
from rasterio.io import DatasetReader
from rasterio.session import DummySession

from ..net.hosts import refusal
from .sharing import kept

REMOTE = ("GTiff", "JP2OpenJPEG", "JP2KAK", "PNG", "JPEG", "WEBP", "GIF")
"""Drivers of remote files."""

LOCAL = (*REMOTE, "BMP", "HFA", "ENVI", "ECW", "MrSID", "JP2ECW", "JP2MrSID", "GPKG", "MBTiles")
"""Drivers of files on this disk."""

VSI_OPTIONS = {"GDAL_VRT_ENABLE_PYTHON": "NO", "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO"}
"""What GDAL must refuse in any VRT."""

_MAGIC = (
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM",
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"EHFA_HEADER_TAG", b"ecw",
)  # fmt: skip
"""First bytes of image files."""

_SIDECARS = (".ovr", ".OVR", ".msk", ".MSK", ".msk.ovr")
_SUBCLASSES = (None, "VRTSourcedRasterBand", "VRTWarpedRasterBand", "VRTWarpedDataset")
_NAMES_FILES = ("SourceFilename", "SourceDataset")
_COMPUTED = (
    "Group",
    "PixelFunctionType",
    "PixelFunctionCode",
    "ProcessingSteps",
    "SourceTranslate",
)
_OBJECTS = ("/vsis3/", "/vsigs/", "/vsiaz/", "/vsicurl/http://", "/vsicurl/https://")
_URLS = ("http://", "https://", "s3://", "gs://", "az://")
_MOST_XML = 256 << 20  # bytes of a VRT
_DEEPEST = 3  # VRTs within each other
_HEAD = 1024


@contextmanager
def open_raster(href: str, **options: Any) -> Iterator[DatasetReader]:
    """A raster opened by an image driver. Raises RasterioError, or ValueError for a bad VRT.

    Call it within `geoloc.imagery.raster.gdal_environment`. While reads are shared, it stays open.
    """
    if (shared := kept()) is not None:
        key = (href, *sorted(options.items()))
        yield shared.get(key, lambda stack: stack.enter_context(_open(href, options)))
        return
    with _open(href, options) as data:
        yield data


def _open(href: str, options: dict[str, Any]) -> DatasetReader:
    return DatasetReader(_parse_path(href), driver=_drivers(href), sharing=False, **options)


def require_own_pixels(data: DatasetReader, href: str) -> None:
    """Raise ValueError if a file takes pixels from other files."""
    if data.tags(ns="OVERVIEWS").get("OVERVIEW_FILE") or data.tags(1, ns="OVERVIEWS"):
        raise ValueError(f"{href} names another file as its overviews: remove that from it")
    local = on_disk(href)
    for ending in _SIDECARS if local is not None else ():
        beside = Path(f"{local}{ending}")
        if beside.is_file() and not _head(beside).startswith(_MAGIC[:4]):
            raise ValueError(f"{beside} is not a TIFF: remove it, or build the overviews again")


def on_disk(href: str) -> Path | None:
    """The file that a path or a ``file://`` URL names; None if there is none."""
    if href.startswith(("/vsi", "<")) or ("://" in href and not href.startswith("file://")):
        return None
    path = Path(href.removeprefix("file://"))
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def is_vrt(path: Path) -> bool:
    """Whether a file is a VRT, whatever it is called."""
    return b"<VRTDataset" in (head := _head(path)) and not head.startswith(_MAGIC)


def require_plain_vrt(path: Path) -> None:
    """Raise ValueError if a VRT does anything but mosaic images."""
    status = path.stat()
    if reason := _fault(str(path), status.st_mtime_ns, status.st_size, 0):
        raise ValueError(f"{path}: {reason}")


def _drivers(href: str) -> list[str]:
    local = on_disk(href)
    if local is None:
        return _registered(REMOTE)
    if is_vrt(local):
        require_plain_vrt(local)
        return ["VRT"]
    return _registered(LOCAL)


@functools.lru_cache(maxsize=4)
def _registered(names: tuple[str, ...]) -> list[str]:
    with rasterio.Env(DummySession()) as environment:  # it needs no keys: see `gdal_environment`
        known = environment.drivers()
    return [name for name in names if name in known and not is_blacklisted(name, "r")]


@functools.lru_cache(maxsize=1024)
def _fault(path: str, _changed: int, size: int, depth: int) -> str:
    """Why a VRT is not opened; empty if it may be. Read once per version."""
    if size > _MOST_XML or depth > _DEEPEST:
        return "a VRT this large, or nested this deeply, is not opened"
    text = Path(path).read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return "a VRT with a document type is not opened"
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        return f"the VRT is not XML ({error})"
    return next(filter(None, (_element_fault(one, Path(path), depth) for one in root.iter())), "")


def _element_fault(element: ET.Element, vrt: Path, depth: int) -> str:
    kind = element.get("subClass")
    if kind not in _SUBCLASSES or element.tag in _COMPUTED:
        return f"a VRT with {kind or element.tag} may compute pixels or read any bytes: not opened"
    if element.tag not in _NAMES_FILES:
        return ""
    name = (element.text or "").strip()
    if name.startswith((*_OBJECTS, *_URLS)):
        return _remote_fault(name)
    beside = element.get("relativeToVRT", element.get("relativetoVRT", "0")) == "1"
    return _file_fault(vrt.parent / name if beside else Path(name), name, depth)


def _file_fault(path: Path, name: str, depth: int) -> str:
    """The fault of a source on this disk; a missing one is reported with its pixels."""
    if name.startswith(("<", "/vsi")) or (not path.is_file() and ":" in name):
        return f"its source {name[:80]!r} is not a plain file"
    if not path.is_file():
        return ""
    if is_vrt(path):
        status = path.stat()
        return _fault(str(path), status.st_mtime_ns, status.st_size, depth + 1)
    return "" if _head(path).startswith(_MAGIC) else f"its source {name[:80]!r} is not an image"


def _remote_fault(name: str) -> str:
    """The fault of a remote source, which must open as an image; costs a request."""
    url = name.removeprefix("/vsicurl/")
    if url.startswith(("http://", "https://")) and (reason := refusal(url)):
        return f"its source {url.partition('?')[0][:80]!r} is not requested: {reason}"
    try:
        with DatasetReader(_parse_path(name), driver=_registered(REMOTE), sharing=False):
            return ""
    except (rasterio.errors.RasterioError, OSError) as error:
        missing = "404" in str(error) or "does not exist" in str(error)
        return "" if missing else f"its source {name.partition('?')[0][:80]!r} is not an image"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
