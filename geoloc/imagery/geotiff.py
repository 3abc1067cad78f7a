"""A mosaic of GeoTIFF, COG or VRT files, local or remote, warped onto the requested lattice."""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..area import Bounds, GeotiffImagery
from ..domain import Grid
from ..errors import ImageryError
from .byte_counter import ByteCounter
from .keys import fill_keys, hide_keys
from .manner import Manner, manner_of, remarks
from .placing import Part, Places
from .raster import READ_ERRORS, RasterFile, fault_line, is_remote, probe
from .reading import read_onto
from .source import Item, as_window, fill_gaps
from .version import Versions

if TYPE_CHECKING:
    import xarray as xr

_PROBES = 8  # headers read at once
_FIRST, _GREY = (1, 2, 3), (1, 1, 1)
_UNHASHED = {"paths", "cache", "bands", "rescale"}
"""Fields that a fingerprint leaves out: where files are, and what `Manner` covers."""


class GeotiffSource:
    """Many files as one: the uppermost valid pixel is visible, gaps are filled from below.

    The list of files is fixed when the source is made; their headers are read once, at the first
    use, and are pickled with the source. Files are opened for each read, so that threads share
    nothing.
    """

    def __init__(self, spec: GeotiffImagery) -> None:
        """Raises ImageryError if a glob matches nothing, a path is a folder or a key is unset."""
        self.spec = spec
        self._hrefs = list_files(spec.paths)
        for href in self._hrefs:
            fill_keys(href)
        self._files: tuple[RasterFile, ...] | None = None
        self._unreadable: tuple[str, ...] = ()
        self._places: Places | None = None
        self._versions = Versions()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def files(self) -> tuple[RasterFile, ...]:
        """The readable files, uppermost first. Raises ImageryError if there are none."""
        with self._lock:
            if self._files is None:
                self._files, self._unreadable = _index(self._hrefs, self.spec)
            return self._files

    @property
    def unreadable(self) -> tuple[str, ...]:
        """One line for each file whose header cannot be read, so that its extent is unknown."""
        return self._unreadable if self.files else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed about files, and which of them cannot be checked for changes."""
        return *self._assumed(), *self._versions.notes

    def _assumed(self) -> tuple[str, ...]:
        """A line for each point that files leave open or contradict."""
        by_remark: dict[str, list[RasterFile]] = {}
        for file in self._files or ():
            for remark in remarks(file, self.spec):
                by_remark.setdefault(remark, []).append(file)
        return tuple(_noted(remark, files) for remark, files in by_remark.items())

    @property
    def gsd(self) -> float:
        """m on the ground per pixel of the finest file."""
        return min(file.gsd for file in self.files)

    def bounds(self, crs: str) -> Bounds:
        """The box around all files in ``crs``: left, bottom, right, top."""
        boxes = np.array([file.bounds(crs) for file in self.files], np.float64)
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
        if not len(boxes):
            raise ImageryError(f"the imagery cannot be mapped in {crs}: use the UTM zone there")
        left, bottom = boxes[:, :2].min(axis=0)
        right, top = boxes[:, 2:].max(axis=0)
        return float(left), float(bottom), float(right), float(top)

    def extent(self, crs: str) -> Bounds:
        """The same. Raises ImageryError if the extent of any file is unknown."""
        if self.unreadable:
            raise ImageryError(
                f"the extent of the imagery is unknown, as {len(self.unreadable)} of its files "
                f"cannot be read ({self.unreadable[0]}): write bounds, or leave them out of paths"
            )
        return self.bounds(crs)

    def covers(self, window: Grid) -> bool:
        """Whether a file may reach into the window; an unreadable one may be anywhere."""
        return self.holds(window) or bool(self.unreadable)

    def holds(self, window: Grid) -> bool:
        """Whether a file of known extent may reach into the window."""
        return bool(self._touching(window))

    def read(self, window: Grid) -> xr.DataArray:
        """The mosaic's pixels in the window (see ``Source.read``)."""
        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        seen, errors, counter = [], [], ByteCounter()
        for file, part in self._touching(window):
            if valid[part].all():
                continue
            try:
                version = " ".join(self._version(file))
                opened = replace(file, href=fill_keys(file.href), version=version)
                manner = manner_of(file, self.spec)
                with counter.count(file.files):
                    new, valid_new = read_onto(opened, window.window(*part), manner)
                if fill_gaps(pixels[:, *part], valid[part], new, valid_new):
                    seen.append(Item(file.id, file.shown, file.datetime, version))
            except READ_ERRORS as error:
                errors.append(_fault_line(file.href, error))
        if not valid.all():
            errors += self.unreadable
        return as_window(pixels, valid, window, tuple(seen), tuple(errors), counter.total)

    def fingerprint(self, window: Grid) -> str:
        """SHA-256 over how files are read, and the ids and versions of those in the window.

        Raises ImageryError if a server cannot be reached now.
        """
        facts: list[object] = [
            self.spec.model_dump(exclude=_UNHASHED) | {"bands": self._usual.bands}
        ]
        touching = [file for file, _ in self._touching(window)]
        self._versions.of((path for file in touching for path in file.files), fill_keys)
        facts += [[file.id, *self._version(file), *self._unusual(file)] for file in touching]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def _usual(self) -> Manner:
        """How files are read that need nothing beyond the specification."""
        scale = self.spec.scale
        ranges = (scale, scale, scale) if scale else None
        return Manner(self.spec.bands or _FIRST, ranges, self.spec.nodata)

    def _unusual(self, file: RasterFile) -> list[str]:
        """What determines a file's pixels besides its version: how it is read, if unusual."""
        manner = manner_of(file, self.spec)
        grey = self.spec.bands is None and manner.bands == _GREY
        corrected = replace(manner, bands=_FIRST) if grey else manner
        unusual = [] if corrected == self._usual or file.palette else [repr(manner)]
        return unusual + (["holes of several kinds"] if file.holes_differ else [])

    def _touching(self, window: Grid) -> list[tuple[RasterFile, Part]]:
        """Files that may reach into the window, uppermost first, and the part they reach."""
        files = self.files
        with self._lock:
            self._places = self._places or Places(files)
        return [(files[index], part) for index, part in self._places.touching(window)]

    def _version(self, file: RasterFile) -> list[str]:
        """Values that change with the content of any part of a file."""
        return self._versions.of(file.files, fill_keys, sure=False)


def _noted(remark: str, files: list[RasterFile]) -> str:
    others = "" if len(files) == 1 else f" (so of {len(files)} files)"
    return f"{files[0].shown} {remark}{others}"


def list_files(paths: list[str]) -> list[str]:
    """Globs replaced by their matching files, sorted, each file once.

    Raises ImageryError if a glob matches nothing or a path is a folder.
    """
    files: dict[str, None] = {}
    for path in paths:
        if is_remote(path) or Path(path).is_file():
            files[path] = None
        elif Path(path).is_dir():
            raise ImageryError(f"imagery path {path} is a folder: write {path.rstrip('/')}/*.tif")
        elif glob.has_magic(path):
            matches = sorted(_glob(path))
            if not matches:
                raise ImageryError(f"no file matches the imagery path {path}: correct it")
            files.update(dict.fromkeys(matches))
        else:
            files[path] = None  # missing: reported with its missing pixels
    return list(files)


def _glob(pattern: str) -> list[str]:
    """Files that match a pattern; if none, files of that literal name."""
    return _matches(pattern) or _matches(_literally(pattern))


def _matches(pattern: str) -> list[str]:
    paths = glob.glob(pattern, recursive=True)  # noqa: PTH207  (Path's refuses absolute patterns)
    return [path for path in paths if Path(path).is_file()]


def _literally(pattern: str) -> str:
    """The pattern with leading folders escaped that exist by that very name: ``set [2024]``."""
    parts = Path(pattern).parts
    parent = Path()
    for count, part in enumerate(parts):
        plain = re.sub(r"\[([*?[])\]", r"\1", part)  # escaped already, as a base folder's name is
        name = next((name for name in (part, plain) if (parent / name).exists()), None)
        if name is None:
            return str(Path(glob.escape(str(parent)), *parts[count:]))
        parent /= name
    return glob.escape(str(parent))


def _index(
    hrefs: list[str], spec: GeotiffImagery
) -> tuple[tuple[RasterFile, ...], tuple[str, ...]]:
    """Headers of all files, uppermost first, and a line for each that cannot be read."""
    with ThreadPoolExecutor(min(_PROBES, len(hrefs))) as pool:
        probed = list(pool.map(_probe, hrefs))
    files = [file for file in probed if isinstance(file, RasterFile)]
    faults = tuple(fault for fault in probed if isinstance(fault, str))
    if not files:
        raise ImageryError(f"none of {len(hrefs)} imagery files can be read; first: {faults[0]}")
    for file in files:
        manner_of(file, spec)  # an inapplicable specification is refused before anything is read
    if spec.order == "newest":
        files.sort(key=lambda file: -file.datetime.timestamp() if file.datetime else np.inf)
    return tuple(files), faults


def _probe(href: str) -> RasterFile | str:
    try:
        file = probe(fill_keys(href))
    except (*READ_ERRORS, ImageryError) as error:
        return _fault_line(href, error)
    return replace(file, href=href, files=(href,)) if is_remote(href) else file


def _fault_line(href: str, error: BaseException) -> str:
    return fault_line(href, error, functools.partial(hide_keys, href))
