"""Files written by GDAL where the disk may be full.

GDAL must not meet a full disk: libtiff then crashes, or goes on and leaves an image without its
overviews; a GeoPackage may lack its last pages. So the room is tried first, and whatever GDAL
reports while it writes is a failure.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil

from ..errors import one_line

_HEADERS = 1 << 17
"""Bytes of tags, colour table, statistics and the parts of a file that GDAL writes for itself."""
_TILE = 256  # px
_COSTS_OF_DEFLATE = 1.01
_CANNOT_TELL = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Of a file system that reserves no room."""
_WRITERS = ("rasterio", "pyogrio")


def raster_bytes(
    shape: tuple[int, int], pixel: int, *, tile: int = _TILE, overviews: bool = True
) -> int:
    """What a raster ``(y, x)`` of ``pixel`` bytes takes at most, compressed or not.

    ``tile``: its side in pixels, 1 where rows are not padded.
    """
    ny, nx = (-(-side // tile) for side in shape)
    tiles = ny * nx
    while overviews:  # one at least
        overviews = max(ny, nx) > 2
        ny, nx = -(-ny // 2), -(-nx // 2)
        tiles += ny * nx
    return int(tiles * tile**2 * pixel * _COSTS_OF_DEFLATE) + _HEADERS


@contextmanager
def gdal_writing(path: Path, *sizes: int) -> Iterator[None]:
    """Write files with rasterio or pyogrio below this, beside ``path``: at most these bytes each.

    Raises OSError where there is no room for all of them, and where GDAL reported anything
    while they were written; ``path`` is then removed.
    """
    _check_room(path.parent, sizes)
    try:
        with _reports() as reports, _own_errors():
            yield
        if reports:
            raise OSError(errno.EIO, one_line(reports[0]))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_cog(path: Path, size: int, write_plain: Callable[[Path], None], **options: Any) -> None:
    """Write a Cloud Optimized GeoTIFF with the pixels of a plain GeoTIFF of ``size`` bytes at most.

    ``write_plain`` writes that to the path it is given; ``options`` are those of GDAL's driver.
    Raises OSError; nothing of ``path`` is left then.
    """
    # One name, not a random one: what a killed run left is written over and removed by the next.
    plain = path.with_name(f".{path.name}.part")
    try:
        for torn in (plain, path):
            torn.unlink(missing_ok=True)  # GDAL reads what it replaces, and may choke on it
        with gdal_writing(path, size, size):
            write_plain(plain)
            rasterio.shutil.copy(plain, path, driver="COG", **options)
    finally:
        plain.unlink(missing_ok=True)


def _check_room(folder: Path, sizes: tuple[int, ...]) -> None:
    """Raise OSError where files of these sizes would not fit, all at once."""
    if not hasattr(os, "posix_fallocate"):
        return
    with ExitStack() as files:
        for size in sizes:  # without names: nothing stays if killed here
            file = files.enter_context(tempfile.TemporaryFile(dir=folder))
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in _CANNOT_TELL:
                    raise


@contextmanager
def _own_errors() -> Iterator[None]:
    """What rasterio raises becomes an OSError with a reason."""
    try:
        yield
    except OSError as error:
        if error.strerror:
            raise
        raise OSError(errno.EIO, one_line(error.__cause__ or error)) from error
    except Exception as error:
        if type(error).__module__.startswith(_WRITERS):
            raise OSError(errno.EIO, one_line(error)) from error
        raise


class _Kept(logging.Handler):
    """Keeps what one thread has GDAL report as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.kept: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.kept.append(record.getMessage())


@contextmanager
def _reports() -> Iterator[list[str]]:
    """What GDAL reports as an error to its users' loggers, some of which they raise nowhere."""
    handler, loggers = _Kept(), [logging.getLogger(name) for name in _WRITERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with rasterio.Env():  # without one GDAL prints instead
            yield handler.kept
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
