"""One georeferenced raster file: what its header says."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.session import DummySession
from rasterio.transform import Affine

from ..area import Bounds, GeotiffImagery
from ..errors import ImageryError
from ..grid import Grid
from ..stores import s3_settings, without_secrets
from .crs import pixel_side, to_crs

READ_ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError)
"""What a missing, damaged or truncated file may raise while it is opened or read."""

_GDAL = {
    "GDAL_CACHEMAX": 128,  # MB for the whole process
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
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
_last_read: dict[str, str] = {}
"""Versions of the remote files that this process, maybe a cluster's worker for weeks, has read."""

_EDGE_POINTS = 21  # along each side of a footprint; sides are curves in another CRS
_TIFF_TIMES = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y:%m:%d")


@dataclass(frozen=True)
class RasterFile:
    """What the header says; ``gsd`` is in m on the ground, ``files`` are what it consists of.

    ``version`` tells its content from what it was or will be, where somebody asked.
    """

    href: str
    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    bands: int
    dtype: str
    nodata: float | None
    alpha: bool
    masked: bool
    palette: bool
    overviews: tuple[int, ...]
    gsd: float
    datetime: dt.datetime | None
    files: tuple[str, ...]
    version: str = ""

    @property
    def id(self) -> str:
        """The file's name without folder and extension."""
        return Path(self.href.split("?")[0]).stem

    @property
    def shown(self) -> str:
        """The href as people may see it and a cube may keep it."""
        return without_secrets(self.href)

    @property
    def upright(self) -> bool:
        """Whether columns run east and rows run south."""
        a, b, _, d, e, _ = self.transform
        return a > 0 > e and b == d == 0

    def bounds(self, crs: str) -> Bounds:
        """The box around the file's footprint in ``crs``; not finite where it cannot be mapped."""
        cols, rows = _outline(self.width, self.height)
        x, y = to_crs(self.crs, crs)(*(Affine(*self.transform) @ (cols, rows)))
        return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))

    def shrinkage(self, window: Grid) -> float:
        """How many of the file's pixels, along a side, make one of the window's."""
        x, y = window.center(window.ny // 2, window.nx // 2)
        ends = np.array([x, x + window.step, x]), np.array([y, y, y + window.step])
        cols, rows = ~Affine(*self.transform) @ np.array(to_crs(window.crs, self.crs)(*ends))
        area = (cols[1] - cols[0]) * (rows[2] - rows[0]) - (cols[2] - cols[0]) * (rows[1] - rows[0])
        return math.sqrt(abs(area)) if math.isfinite(area) else 1.0


@contextmanager
def gdal_environment(href: str, **options: str) -> Iterator[None]:
    """GDAL with bounded caches and time-outs; sidecar files are only looked for on disk.

    S3 is reached as cubes are. Raises CubeError for a profile that is of no use.
    """
    look = "EMPTY_DIR" if is_remote(href) else "TRUE"
    session = _S3Session() if href.startswith(_S3) else None
    with rasterio.Env(session, GDAL_DISABLE_READDIR_ON_OPEN=look, **_GDAL, **options):
        yield


def forget_other_versions(file: RasterFile) -> None:
    """Have GDAL drop what it remembers of a file's remote parts if that was of another version."""
    if not file.version:
        return
    parts = (file.href,) if is_remote(file.href) else tuple(filter(is_remote, file.files))
    for part in parts:
        name = re.split("[?#]", part)[0]  # a signature is another each time
        if _last_read.setdefault(name, file.version) != file.version:
            with contextlib.suppress(RasterioError, CPLE_BaseError), _opened_anew(part):
                pass
            _last_read[name] = file.version


@contextmanager
def _opened_anew(href: str) -> Iterator[rasterio.DatasetReader]:
    """A file as it is now; GDAL remembers nothing of a remote one, nor what it did before."""
    # closed again, a file that is not to be cached takes all with it that was
    options = {"CPL_VSIL_CURL_NON_CACHED": "/vsi"} if is_remote(href) else {}
    with gdal_environment(href, **options), rasterio.open(href) as data:
        yield data


class _S3Session(DummySession):  # type: ignore[misc]
    """The keys, region and endpoint that our stores use, in GDAL's words."""

    def get_credential_options(self) -> dict[str, str]:
        """GDAL's options; what GDAL's own variables say of an endpoint is left to them."""
        found = s3_settings()
        options = {_S3_NAMES[name]: found[name] for name in _S3_NAMES if name in found}
        if "access_key_id" in found:  # a token that belongs to other keys is not to be used
            options.setdefault("AWS_SESSION_TOKEN", "")
        if "endpoint" in found and "AWS_S3_ENDPOINT" not in os.environ:
            scheme, _, host = found["endpoint"].rpartition("://")
            options["AWS_S3_ENDPOINT"] = host.rstrip("/")
            options["AWS_HTTPS"] = "NO" if scheme == "http" else "YES"
            options["AWS_VIRTUAL_HOSTING"] = "FALSE"  # as in our stores
        return options


def is_remote(href: str) -> bool:
    """Whether a path is a URL or one of GDAL's virtual paths."""
    return ("://" in href and not href.startswith("file://")) or href.startswith("/vsi")


def probe(href: str) -> RasterFile:
    """Read a file's header, as it is now. Raises one of READ_ERRORS where that is impossible."""
    with _opened_anew(href) as data:
        _require_georeference(data)
        kinds = data.colorinterp
        return RasterFile(
            href=href,
            crs=_crs_text(data.crs),
            transform=tuple(data.transform)[:6],
            width=data.width,
            height=data.height,
            bands=data.count,
            dtype=data.dtypes[0],
            nodata=data.nodata,
            alpha=ColorInterp.alpha in kinds,
            masked=MaskFlags.per_dataset in data.mask_flag_enums[0],
            palette=kinds[0] == ColorInterp.palette,
            overviews=tuple(data.overviews(1)),
            gsd=_ground_gsd(data),
            datetime=_sidecar_time(href) or _tag_time(data),
            files=(href,) if is_remote(href) else tuple(data.files) or (href,),
        )


def fault_line(
    href: str, error: BaseException, hide: Callable[[str], str] = without_secrets
) -> str:
    """One line: which file, and the deepest reason that is known; ``hide`` takes out secrets."""
    while error.__cause__ is not None:
        error = error.__cause__
    shown, reason = hide(href), hide(" ".join(str(error).split()))[:300]
    return reason if shown in reason else f"{shown} cannot be read: {reason}"


def rgb_bands(file: RasterFile, spec: GeotiffImagery) -> tuple[int, int, int]:
    """The bands that become red, green and blue; grey files give their only band thrice."""
    colours = file.bands - file.alpha
    grey = colours < 3 and spec.bands == type(spec).model_fields["bands"].default
    return (1, 1, 1) if grey else spec.bands


def require_fit(file: RasterFile, spec: GeotiffImagery) -> None:
    """Raise ImageryError where the specification cannot be applied to the file."""
    if file.dtype.startswith("complex"):
        raise ImageryError(f"{file.shown} holds {file.dtype} values, which are not a picture")
    if file.dtype != "uint8" and spec.scale is None:
        raise ImageryError(
            f"{file.shown} is {file.dtype}: add to imagery the values that become black and "
            "white, for instance scale: [0, 3000]"
        )
    if not file.palette and max(rgb_bands(file, spec)) > file.bands:
        raise ImageryError(
            f"{file.shown} has {file.bands} bands and imagery asks for bands {list(spec.bands)}"
        )


def _require_georeference(data: rasterio.DatasetReader) -> None:
    if data.crs is None:
        raise ImageryError(f"{data.name} has no CRS: assign one, for instance with rio edit-info")
    if data.transform.is_identity:
        raise ImageryError(f"{data.name} is not georeferenced: give orthorectified imagery")


def _crs_text(crs: rasterio.crs.CRS) -> str:
    """``EPSG:…`` where the CRS has such a code, else WKT."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def _outline(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points ``(col, row)`` along the four sides of a raster."""
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    zero, one = np.zeros_like(along), np.ones_like(along)
    cols = np.concatenate([along, along, zero, one]) * width
    rows = np.concatenate([zero, one, along, along]) * height
    return cols, rows


def _ground_gsd(data: rasterio.DatasetReader) -> float:
    """m on the ground along a pixel's side at the file's middle, whatever its CRS."""
    col, row = data.width / 2, data.height / 2
    x, y = data.transform @ (np.array([col, col + 1, col]), np.array([row, row, row + 1]))
    return pixel_side(_crs_text(data.crs), x, y)


def _sidecar_time(href: str) -> dt.datetime | None:
    """The time in a STAC item of the same name beside a file on disk."""
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
