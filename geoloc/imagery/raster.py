"""One georeferenced raster file: the content of its header."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.session import DummySession
from rasterio.transform import Affine

from ..area import Bounds
from ..arrays import F64
from ..domain import Grid
from ..errors import ImageryError
from ..net.gated import Rights, gate, place_named
from ..stores import s3_settings, without_secrets
from .colours import BandChoice, colours_of, is_another_model, transparent
from .crs import LONLAT, off_earth, pixel_side, to_crs, turn_of
from .opening import VSI_OPTIONS, is_vrt, on_disk, open_raster, require_own_pixels

READ_ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError)
"""Errors of opening or reading a missing, damaged or truncated file."""

_GDAL = {
    "GDAL_CACHEMAX": 128,  # MB for the whole process
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    **VSI_OPTIONS,
    "VSI_CACHE": True,
    "VSI_CACHE_SIZE": 8_000_000,  # bytes a file
}
_S3_NAMES = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "region": "AWS_REGION",
    "skip_signature": "AWS_NO_SIGN_REQUEST",
}
_S3 = ("s3://", "/vsis3/")
_OBJECTS = (*_S3, "gs://", "/vsigs/", "az://", "/vsiaz/")  # strangers cannot make these redirect
_last_read: dict[str, str] = {}
"""Versions of the remote files last read by this process, which may be a long-lived worker."""

_EDGE_POINTS = 21  # along each side of a footprint; sides are curves in another CRS
_SAME_POINT = 1e-3  # of a raster's extent: tolerated error of projecting there and back
_BIG_TIFF = 43
_LARGEST_PART = 256 << 20  # bytes of a block
_MOST_BANDS = 1000  # hyperspectral sensors have some 400
_POLE, _TWICE_AROUND = 90.001, 720.0  # degrees
_LAB = (9, 10)  # TIFF photometric interpretations that GDAL does not convert: ICC, ITU
_TIFF_TIMES = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y:%m:%d")


@dataclass(frozen=True)
class RasterFile:
    """The content of the header; ``gsd`` in m on the ground, ``files`` that the raster consists of.

    ``version`` identifies its content, if it was determined. ``alpha`` numbers the alpha bands,
    ``palette`` the band of colour indices (0: none), ``masked``: whether there is a mask beside
    the bands. ``nodata`` and ``units`` (scale and offset) are per band. ``bits``: used bits of a
    byte; ``inverted``: 0 is white. ``known``: see `gdal_environment`. ``others``: images in the
    same file that are not read.
    """

    href: str
    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    bands: int
    dtype: str
    nodata: tuple[float | None, ...]
    alpha: tuple[int, ...]
    masked: bool
    palette: int
    overviews: tuple[int, ...]
    gsd: float
    datetime: dt.datetime | None
    files: tuple[str, ...]
    colours: BandChoice
    units: tuple[tuple[float, float], ...]
    bits: int
    inverted: bool
    version: str = ""
    known: str | None = None
    others: int = 0

    @property
    def id(self) -> str:
        """The file's name without folder and extension."""
        return Path(self.href.split("?")[0]).stem

    @property
    def shown(self) -> str:
        """The href without secrets, for display and storage."""
        return without_secrets(self.href)

    @property
    def upright(self) -> bool:
        """Whether columns run east and rows run south."""
        a, b, _, d, e, _ = self.transform
        return a > 0 > e and b == d == 0

    @property
    def holes_differ(self) -> bool:
        """Whether it marks missing data in several ways, all of which count."""
        valued = any(value is not None for value in self.nodata)
        return sum(map(bool, (self.alpha, self.masked, valued))) > 1

    @property
    def box(self) -> Bounds:
        """Left, bottom, right, top in its own CRS."""
        x, y = Affine(*self.transform) @ _corners(self.width, self.height)
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def bounds(self, crs: str) -> Bounds:
        """The box around the file's footprint in ``crs``; not finite if it cannot be projected.

        Of a footprint that is projected in part (of the whole world, into a zone) it is roughly
        the box around that part; `placing` is exact.
        """
        return next(
            (box for points in (_outline, _inside) if (box := self._box(crs, points)) is not None),
            (math.inf,) * 4,
        )

    def _box(self, crs: str, points: Callable[[int, int], tuple[F64, ...]]) -> Bounds | None:
        """The box around points of the file in ``crs``; None if an outline cannot be projected."""
        at = Affine(*self.transform) @ points(self.width, self.height)
        x, y = to_crs(self.crs, crs)(*at)
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any():
            return None
        if points is _outline and not (known.all() and self._returns(crs, at, x, y)):
            return None
        x, y = x[known], y[known]
        return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))

    def _returns(self, crs: str, at: tuple[F64, ...], x: F64, y: F64) -> bool:
        """Whether projected points lead back to their origin, or a turn away from it."""
        back = to_crs(crs, self.crs)(x, y)
        left, bottom, right, top = self.box
        missed = np.abs(back[0] - at[0])
        if (turn := turn_of(self.crs)) is not None:
            missed = np.abs((missed + turn / 2) % turn - turn / 2)
        near = _SAME_POINT * max(right - left, top - bottom)
        return bool((missed < near).all() and (np.abs(back[1] - at[1]) < near).all())

    def shrinkage(self, window: Grid) -> float:
        """How many of the file's pixels, along a side, make one of the window's.

        At the window's middle, or at another place if that cannot be projected.
        """
        for down, across in ((2, 2), (4, 4), (4, 4 / 3), (4 / 3, 4), (4 / 3, 4 / 3)):
            x, y = window.center(int(window.ny / down), int(window.nx / across))
            ends = np.array([x, x + window.step, x]), np.array([y, y, y + window.step])
            xs, ys = to_crs(window.crs, self.crs)(*ends)
            if (turn := turn_of(self.crs)) is not None:
                xs = xs - np.rint((xs - xs[0]) / turn) * turn
            cols, rows = ~Affine(*self.transform) @ (xs, ys)
            if math.isfinite(area := _parallelogram(cols, rows)):
                return math.sqrt(area)
        return 1.0


@contextmanager
def gdal_environment(href: str, known: str | None = None, **options: str) -> Iterator[None]:
    """GDAL with bounded caches and time-outs; sidecar files are only looked up on disk.

    Servers are reached through `geoloc.net.gate`: private ones only at ``known`` (host:port; by
    default the place in the href itself), none for an image on this disk. S3 is reached as for
    cubes. Raises ValueError for a refused request, CubeError for an unusable profile.
    """
    look = "EMPTY_DIR" if is_remote(href) else "TRUE"
    # without one, rasterio asks boto3 anew for the keys of a store, if its environment names any
    session = _S3Session() if href.startswith(_S3) else DummySession()
    rights, through = _through_gate(href, known)
    before = rights.refused if rights else 0
    settings = {**_GDAL, **through, **options, "GDAL_DISABLE_READDIR_ON_OPEN": look}
    with rasterio.Env(session, **settings):
        try:
            yield
        except (RasterioError, CPLE_BaseError):
            if rights and rights.refused > before:
                source = f"{without_secrets(href)} redirects to, or names, a refused address"
                raise ValueError(f"{source}: {rights.reason}") from None
            raise


def _through_gate(href: str, known: str | None) -> tuple[Rights | None, dict[str, str]]:
    """The rights with which servers are reached for a file, and GDAL's options for that."""
    if href.startswith(_OBJECTS) or (guard := gate()) is None:
        return None, {}
    local = on_disk(href)
    shut = local is not None and not is_vrt(local)
    rights = guard.rights(
        place_named(href) if known is None and not local else known or "", shut=shut
    )
    return rights, rights.options() | ({"GDAL_HTTP_MAX_RETRY": "0"} if shut else {})


def forget_other_versions(file: RasterFile) -> None:
    """Make GDAL drop cached remote parts of a file if they are of another version."""
    if not file.version:
        return
    parts = (file.href,) if is_remote(file.href) else tuple(filter(is_remote, file.files))
    for part in parts:
        name = re.split("[?#]", part)[0]  # signatures differ each time
        if _last_read.setdefault(name, file.version) != file.version:
            with contextlib.suppress(*READ_ERRORS), _opened_anew(part, file.known):
                pass
            _last_read[name] = file.version


@contextmanager
def _opened_anew(href: str, known: str | None) -> Iterator[rasterio.DatasetReader]:
    """A file as it is now: GDAL uses and keeps no cache of a remote one."""
    # closing a file marked as not cached drops everything cached of it
    options = {"CPL_VSIL_CURL_NON_CACHED": "/vsi"} if is_remote(href) else {}
    with gdal_environment(href, known, **options), open_raster(href) as data:
        yield data


class _S3Session(DummySession):  # type: ignore[misc]
    """The keys, region and endpoint of our stores, as GDAL options."""

    def get_credential_options(self) -> dict[str, str]:
        """GDAL's options; an endpoint in GDAL's own variables takes precedence."""
        settings = s3_settings()
        options = {_S3_NAMES[name]: settings[name] for name in _S3_NAMES if name in settings}
        if "access_key_id" in settings:  # a token of other keys must not be used
            options.setdefault("AWS_SESSION_TOKEN", "")
        if "endpoint" in settings and "AWS_S3_ENDPOINT" not in os.environ:
            scheme, _, host = settings["endpoint"].rpartition("://")
            options["AWS_S3_ENDPOINT"] = host.rstrip("/")
            options["AWS_HTTPS"] = "NO" if scheme == "http" else "YES"
            options["AWS_VIRTUAL_HOSTING"] = "FALSE"  # as in our stores
        return options


def is_remote(href: str) -> bool:
    """Whether a path is a URL or one of GDAL's virtual paths."""
    return ("://" in href and not href.startswith("file://")) or href.startswith("/vsi")


def probe(href: str, known: str | None = None) -> RasterFile:
    """Read a file's header, as it is now. Raises one of READ_ERRORS if that is impossible.

    ``known``: see `gdal_environment`.
    """
    with _opened_anew(href, known) as data:
        _require_an_image(data)
        require_own_pixels(data, without_secrets(href))
        _require_georeference(data)
        _require_pixels(data)
        kinds = [kind.name for kind in data.colorinterp]
        facts = data.tags(ns="IMAGE_STRUCTURE")
        inverted = facts.get("MINISWHITE") == "YES" and "palette" not in kinds
        return RasterFile(
            href=href,
            crs=_crs_text(data.crs),
            transform=tuple(data.transform)[:6],
            width=data.width,
            height=data.height,
            bands=data.count,
            dtype=data.dtypes[0],
            nodata=tuple(data.nodatavals),
            alpha=transparent(kinds, data.descriptions),
            masked=_masked(data),
            palette=kinds.index("palette") + 1 if "palette" in kinds else 0,
            overviews=tuple(data.overviews(1)),
            gsd=_ground_gsd(data),
            datetime=_sidecar_time(href) or _tag_time(data),
            files=(href,) if is_remote(href) else tuple(data.files) or (href,),
            colours=colours_of(kinds, data.descriptions),
            units=_units(data),
            bits=_bits(data),
            inverted=inverted,
            known=known,
            others=max(len(data.subdatasets) - 1, 0),
        )


def fault_line(
    href: str, error: BaseException, hide: Callable[[str], str] = without_secrets
) -> str:
    """One line: which file, and the deepest known reason; ``hide`` removes secrets."""
    while error.__cause__ is not None:
        error = error.__cause__
    shown, reason = hide(href), hide(" ".join(str(error).split()))[:300]
    return reason if shown in reason else f"{shown} cannot be read: {reason}"


def _require_an_image(data: rasterio.DatasetReader) -> None:
    """Raise ImageryError if a file holds no image itself, but a list of several."""
    if data.count == 0:
        names = ", ".join(name.rpartition(":")[2][:60] for name in data.subdatasets[:5])
        held = f"{len(data.subdatasets)} images ({names})" if names else "no image"
        raise ImageryError(
            f"{without_secrets(data.name)} holds {held}: save each that is needed as a GeoTIFF, "
            "with gdal_translate"
        )


def _require_georeference(data: rasterio.DatasetReader) -> None:
    """Raise ImageryError, with the remedy, if the file is not georeferenced."""
    name, placed = without_secrets(data.name), not data.transform.is_identity
    points, crs = data.gcps
    if points and not placed:
        raise ImageryError(
            f"{name} has ground control points only ({len(points)}): rectify it, with "
            f"gdalwarp -tps -t_srs {_named(crs or data.crs)} IN OUT"
        )
    if data.rpcs is not None and not placed:
        raise ImageryError(
            f"{name} has rational polynomial coefficients (RPC) only: orthorectify it with a "
            "height model, with gdalwarp -rpc -to RPC_DEM=HEIGHTS -t_srs EPSG:… IN OUT"
        )
    if data.tags(ns="GEOLOCATION") and not placed:
        raise ImageryError(
            f"{name} has arrays of longitude and latitude only: rectify it, with "
            "gdalwarp -geoloc -t_srs EPSG:… IN OUT"
        )
    if data.crs is None:
        raise ImageryError(
            f"{name} has no CRS: assign the one it was made in, with rio edit-info --crs EPSG:…"
        )
    if not placed:
        raise ImageryError(f"{name} is not georeferenced: give orthorectified imagery")
    _require_place(name, data)


def _require_place(name: str, data: rasterio.DatasetReader) -> None:
    if reason := off_earth(_crs_text(data.crs)):
        raise ImageryError(
            f"{name} has a CRS that is not on the Earth, {reason}: assign the one it was made "
            "in, with rio edit-info --crs EPSG:…, or leave the file out"
        )
    cols, rows = _inside(data.width, data.height)
    x, y = data.transform @ (cols, rows)
    lon, lat = to_crs(_crs_text(data.crs), LONLAT)(x, y)
    on_earth = (np.abs(lat) <= _POLE) & (np.abs(lon) <= _TWICE_AROUND) & np.isfinite(lon)
    if data.transform.determinant == 0 or not on_earth.any():
        raise ImageryError(
            f"{name} begins at {x[0]:.10g}, {y[0]:.10g}, which is outside its CRS "
            f"{_named(data.crs)}: assign the one it was made in, with rio edit-info --crs EPSG:…"
        )


def _named(crs: rasterio.crs.CRS | None) -> str:
    code = crs.to_epsg() if crs else None
    return f"EPSG:{code}" if code else "EPSG:…"


def _require_pixels(data: rasterio.DatasetReader) -> None:
    """Raise ImageryError if bands hold anything but brightness or colours."""
    name, kinds = without_secrets(data.name), [kind.name for kind in data.colorinterp]
    if any(dtype.startswith("complex") for dtype in data.dtypes):
        raise ImageryError(f"{name} holds {data.dtypes[0]} values, which are not an image")
    if is_another_model(kinds):
        raise ImageryError(
            f"{name} holds the colours {', '.join(kinds)}, not red, green and blue: convert it"
        )
    if set(kinds) == {"undefined"} and _photometric(data) in _LAB:
        raise ImageryError(f"{name} holds CIE L*a*b* colours: convert it to red, green and blue")
    if data.count > _MOST_BANDS:
        raise ImageryError(f"{name} has {data.count:,} bands: give one of at most {_MOST_BANDS:,}")
    if (part := _part_bytes(data)) > _LARGEST_PART:
        raise ImageryError(
            f"{name} is stored in blocks of {part >> 20:,} MiB, which must be read whole: "
            "store it in tiles, with gdal_translate -co TILED=YES IN OUT"
        )


def _part_bytes(data: rasterio.DatasetReader) -> int:
    """Bytes of the largest block, with all bands if these are interleaved."""
    together = data.count if data.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL" else 1
    shapes = zip(data.block_shapes, data.dtypes, strict=True)
    return max(
        int(rows * cols * np.dtype(kind).itemsize * together) for (rows, cols), kind in shapes
    )


def _photometric(data: rasterio.DatasetReader) -> int | None:
    """The photometric tag of a TIFF on disk, which GDAL does not report."""
    from PIL import TiffImagePlugin

    if data.driver != "GTiff" or is_remote(data.name):
        return None
    try:
        with Path(data.name).open("rb") as file:
            header = file.read(8)
            header += file.read(8) if _BIG_TIFF in header[2:4] else b""
            directory = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(directory.next)
            directory.load(file)
            return int(directory[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION])
    except (OSError, ValueError, KeyError, SyntaxError, AttributeError, TypeError, struct.error):
        return None


def _masked(data: rasterio.DatasetReader) -> bool:
    """Whether there is a mask besides the bands, in this file or another; alpha is a band."""
    flags = data.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _units(data: rasterio.DatasetReader) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(scale), float(offset))
        for scale, offset in zip(data.scales, data.offsets, strict=True)
    )


def _bits(data: rasterio.DatasetReader) -> int:
    """How many bits of each number hold values; 0 if the file does not state it."""
    bits = data.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return int(bits) if bits.isdigit() else 0


def _crs_text(crs: rasterio.crs.CRS) -> str:
    """``EPSG:…`` if the CRS has such a code, else WKT."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def _corners(width: int, height: int) -> tuple[F64, F64]:
    return np.array([0.0, width, 0.0, width]), np.array([0.0, 0.0, height, height])


def _parallelogram(cols: F64, rows: F64) -> float:
    """The area spanned by a corner and its two neighbours."""
    across = (cols[1] - cols[0]) * (rows[2] - rows[0])
    return abs(float(across - (cols[2] - cols[0]) * (rows[1] - rows[0])))


def _inside(width: int, height: int) -> tuple[F64, F64]:
    """Points ``(col, row)`` all over a raster."""
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    cols, rows = np.meshgrid(along * width, along * height)
    return cols.ravel(), rows.ravel()


def _outline(width: int, height: int) -> tuple[F64, F64]:
    """Points ``(col, row)`` along the four sides of a raster."""
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    zero, one = np.zeros_like(along), np.ones_like(along)
    cols = np.concatenate([along, along, zero, one]) * width
    rows = np.concatenate([zero, one, along, along]) * height
    return cols, rows


def _ground_gsd(data: rasterio.DatasetReader) -> float:
    """m on the ground along a pixel's side at the file's middle, for any CRS.

    If the middle is not on the Earth, as in a corner of its disc, at the nearest place that is.
    """
    cols, rows = _inside(data.width, data.height)
    order = np.argsort(np.hypot(cols - data.width / 2, rows - data.height / 2))
    for col, row in zip(cols[order].tolist(), rows[order].tolist(), strict=True):
        x, y = data.transform @ (np.array([col, col + 1, col]), np.array([row, row, row + 1]))
        if math.isfinite(side := pixel_side(_crs_text(data.crs), x, y)):
            return side
    return math.inf


def _sidecar_time(href: str) -> dt.datetime | None:
    """The time in a STAC item beside a file on disk, with the same name."""
    path = Path(href).with_suffix(".json")
    if is_remote(href) or not path.is_file():
        return None
    try:
        properties = json.loads(path.read_text(encoding="utf-8"))["properties"]
        return _utc(properties.get("datetime") or properties["start_datetime"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None  # some other JSON


def _tag_time(data: rasterio.DatasetReader) -> dt.datetime | None:
    """The time in the TIFF header, or in GDAL's metadata of satellite imagery."""
    text = data.tags(ns="IMAGERY").get("ACQUISITIONDATETIME") or data.tags().get(
        "TIFFTAG_DATETIME", ""
    )
    for form in _TIFF_TIMES:
        try:
            return dt.datetime.strptime(text.strip(), form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
    return None


def _utc(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
