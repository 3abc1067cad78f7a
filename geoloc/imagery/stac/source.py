"""A STAC catalog as a source of imagery.

An API is searched for the area once, by the first call that needs to know what is covered; the
items are pickled for the workers, so that all blocks are made from the same ones. Files are opened
as blocks are read.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...area import Bounds, StacImagery
from ...arrays import U8, Bools
from ...domain import Grid
from ...errors import ImageryError
from ...stores import without_secrets
from ..byte_counter import ByteCounter
from ..colours import Rgb
from ..keys import fill_keys, hide_keys
from ..manner import Manner, manner_of, remarks
from ..placing import Places
from ..raster import READ_ERRORS, RasterFile, fault_line, is_remote, probe
from ..reading import read_onto
from ..source import Item, as_window, fill_gaps
from ..version import Versions
from .catalog import WORLD, Catalog, search_boxes
from .reach import Reach
from .scene import Band, Json, Scene, scene_of
from .sign import Signer
from .stack import BANDS, stack_scenes

if TYPE_CHECKING:
    import xarray as xr

_MOST_REMARKS = 5
_MEDIAN_BYTES = 200_000_000  # of all scenes' pixels, held at once

Layers = U8


class StacSource:
    """Items of a catalog as one mosaic; see ``Source``. ``order`` determines what is uppermost."""

    def __init__(self, spec: StacImagery) -> None:
        self.spec = spec
        self._signer = Signer(spec.sign)
        self._catalog: Catalog | None = None
        self._searched: list[Bounds] = []
        self._scenes: dict[tuple[str, ...], Scene] = {}
        self._names: dict[tuple[str, str], int] = {}  # how many scenes share a name
        self._remarks: dict[str, None] = {}
        self._in_order: tuple[tuple[Scene, ...], Places] | None = None
        self._lacking: dict[str, tuple[str, ...]] = {}
        self._invalid: dict[str, None] = {}
        self._files: dict[str, RasterFile] = {}
        self._versions = Versions()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        # a catalog holds connections
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_catalog", "_reach")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _catalog=None)
        self._lock = threading.RLock()

    @property
    def gsd(self) -> float:
        """m on the ground per pixel of the finest known item; see ``Source.gsd``."""
        scenes = self._known() or self._any()
        if stated := [scene.gsd for scene in scenes if scene.gsd]:
            return min(stated)
        scene = scenes[0]
        try:
            return self._file(scene, scene.bands[0].href).gsd
        except READ_ERRORS as error:
            raise ImageryError(fault_line(scene.hrefs[0], error, self._hide)) from None

    @property
    def lacking(self) -> dict[str, tuple[str, ...]]:
        """Items left out for lack of the requested assets, and the assets they have."""
        return dict(self._lacking)

    @property
    def notes(self) -> tuple[str, ...]:
        """Items left out or sharing an id, assumptions, and files without a version."""
        namesakes = sum(count for count in self._names.values() if count > 1)
        alike = (
            f"{namesakes} items share their id with an item elsewhere in the catalog: each is "
            "read, and named with its path",
        )
        return (
            *self._remarks,
            *tuple(self._invalid)[:_MOST_REMARKS],
            *self._note_of_lacking(),
            *(alike if namesakes else ()),
            *self._note_of_shifts(),
            *self._assumed(),
            *self._versions.notes,
        )

    def _note_of_shifts(self) -> tuple[str, ...]:
        """A note if one scale is applied to values with different zeros."""
        if self.spec.scale is None or self.spec.rescale:
            return ()
        shifts = sorted({scene.shift for scene in self._known()})
        zeros = ", ".join(f"{shift:g}" for shift in shifts)
        return () if len(shifts) < 2 else (
            f"items have different zero values ({zeros}): one scale makes some of them brighter; "
            "give scale in physical units and rescale: true",
        )  # fmt: skip

    def _assumed(self) -> tuple[str, ...]:
        """What the files read here leave open and their items do not state."""
        open_bands = {
            b.href
            for s in self._known()
            for b in s.bands
            if b.number is None
            and not (b.href in self._files and _of_the_item(b, self._files[b.href], self.spec))
        }
        return tuple(
            f"{self._hide(file.shown)} {remark}"
            for href, file in sorted(self._files.items())
            for remark in remarks(file, self.spec, bands_open=href in open_bands)
        )[:_MOST_REMARKS]

    def _note_of_lacking(self) -> tuple[str, ...]:
        lacking = self.lacking
        if not lacking:
            return ()
        name, assets = next(iter(lacking.items()))
        items = "1 item is" if len(lacking) == 1 else f"{len(lacking)} items are"
        first = "" if len(lacking) == 1 else "the first, "
        return (
            f"{items} left out, as {'it lacks' if len(lacking) == 1 else 'they lack'} "
            f"{self._wanted}: {first}{name} has {', '.join(assets) or 'no assets'}",
        )

    @property
    def _wanted(self) -> str:
        return ", ".join(self.spec.assets or ["visual, or bands named red, green and blue"])

    def extent(self, crs: str) -> Bounds:
        """The box around all items of a static catalog.

        Raises ImageryError if a catalog has none, or answers searches and so cannot be walked.
        """
        with self._lock:
            if self._opened().searchable:
                raise ImageryError(
                    f"STAC catalog {self.spec.url} answers searches, so its extent is not an "
                    "area: write bounds or geometry"
                )
            if not any(_inside(WORLD, done) for done in self._searched):
                self._find(WORLD)
        return self.bounds(crs)

    def bounds(self, crs: str) -> Bounds:
        """The box around all items found so far. Raises ImageryError if there are none."""
        boxes = [scene.bounds(crs) for scene in self._known() or self._any()]
        finite = [box for box in boxes if all(map(math.isfinite, box))]
        if not finite:
            raise ImageryError(f"the imagery cannot be mapped in {crs}: use the UTM zone there")
        edges = np.array(finite)
        left, bottom = edges[:, :2].min(axis=0).tolist()
        right, top = edges[:, 2:].max(axis=0).tolist()
        return left, bottom, right, top

    def covers(self, window: Grid) -> bool:
        """Whether any item's footprint touches the window. Raises ImageryError if none is found."""
        return bool(self._touching(window))

    def read(self, window: Grid) -> xr.DataArray:
        """The mosaic's pixels in the window (see ``Source.read``)."""
        scenes = self._touching(window)
        errors: dict[str, None] = {}
        counter = ByteCounter()

        def read(scene: Scene, part: Grid) -> Layers:
            return self._layers(scene, part, counter, lambda error: errors.setdefault(error))

        pixels = np.zeros((3, *window.shape), np.uint8)
        valid = np.zeros(window.shape, np.bool_)
        seen: list[int] = []
        if scenes:
            compose = _median if self.spec.order == "median" else _uppermost
            rows = _strip_rows(len(scenes), window) if self.spec.order == "median" else None
            seen = compose(stack_scenes(scenes, window, read, rows), pixels, valid)
        items = tuple(self._item(scenes[index]) for index in seen)
        if not valid.all():  # their extent is unknown
            errors.update(dict.fromkeys(tuple(self._invalid)[:_MOST_REMARKS]))
        return as_window(pixels, valid, window, items, tuple(errors), counter.total)

    def fingerprint(self, window: Grid) -> str:
        """SHA-256 over how items are read, and the ids and versions of those in the window.

        Raises ImageryError if a server cannot be reached now.
        """
        facts: list[object] = [self.spec.model_dump(mode="json", exclude={"url", "sign", "cache"})]
        scenes = self._touching(window)
        self._ask_versions(scenes, sure=True)  # all at once
        facts += [[s.collection, self._name(s), self._version(s)] for s in scenes]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _touching(self, window: Grid) -> list[Scene]:
        """Scenes that may reach into the window, uppermost first."""
        for box, wide in search_boxes(window.bounds, window.crs):
            self._search(box, wide)
        scenes, places = self._ranked()
        return [scenes[index] for index, _ in places.touching(window)]

    def _ranked(self) -> tuple[tuple[Scene, ...], Places]:
        """All known scenes, uppermost first, and their places."""
        with self._lock:
            if self._in_order is None:
                rank = _least_cloud if self.spec.order == "least-cloud" else _newest
                scenes = tuple(sorted(self._scenes.values(), key=rank))
                self._in_order = scenes, Places(scenes)
            return self._in_order

    def _known(self) -> list[Scene]:
        with self._lock:
            return list(self._scenes.values())

    def _any(self) -> list[Scene]:
        """One item from anywhere, to represent all. Raises ImageryError if there is none."""
        with self._lock:
            self._take(self._opened().find(WORLD, most=1)[1])
        if known := self._known():
            return known
        raise ImageryError(
            f"STAC catalog {self.spec.url} has no item for this area: check collections, "
            "datetime, max_cloud and query"
        )

    def _search(self, box: Bounds, wide: Bounds) -> None:
        with self._lock:
            if any(_inside(box, done) for done in self._searched):
                return
            self._find(wide)

    def _find(self, box: Bounds) -> None:
        """Search a box of degrees and store its items."""
        catalog = self._opened()
        done, items = catalog.find(box)
        self._take(items)
        self._searched.append(done)
        self._remarks.update(dict.fromkeys(catalog.notes))

    def _opened(self) -> Catalog:
        with self._lock:
            self._catalog = self._catalog or Catalog(self.spec)
            return self._catalog

    def _take(self, items: list[Json]) -> None:
        """Store items; an invalid one is skipped and noted.

        Raises ImageryError if none is valid or none has the assets.
        """
        self._in_order = None
        for item in items:
            try:
                scene = scene_of(item, self.spec)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                name, reason = item.get("id", "?"), self._hide(_fault_of(error))
                note = f"{self.spec.url}: item {name} is not valid: {reason}; it is left out"
                self._invalid[note] = None
                continue
            scene = scene and replace(scene, place=self._place(scene))
            if scene is None:
                self._lacking[str(item["id"])] = tuple(item["assets"])
            else:
                self._keep(scene)
        if self._invalid and not self._scenes:
            raise ImageryError(next(iter(self._invalid)).removesuffix("; it is left out"))
        if self._lacking and not self._scenes:
            name, assets = next(iter(self._lacking.items()))
            raise ImageryError(
                f"{self.spec.url}: no item has {self._wanted}; {name} has "
                f"{', '.join(assets) or 'no assets'}: name them as imagery assets"
            )

    def _keep(self, scene: Scene) -> None:
        """Store a scene once, however often it is found.

        An API's ids are unique in their collection. In static catalogs items with the same id but
        other files are different items.
        """
        files = tuple(href.partition("?")[0] for href in scene.hrefs)  # signatures differ each time
        unique = self._opened().searchable and scene.collection
        key = (scene.collection, scene.id, *(() if unique else files))
        if (known := self._scenes.get(key)) is None:
            self._scenes[key] = scene
            name = scene.collection, scene.id
            self._names[name] = self._names.get(name, 0) + 1
        elif files != tuple(href.partition("?")[0] for href in known.hrefs):
            self._remarks[
                f"item {scene.id} of {scene.collection} was found twice with different files: "
                "those found first are read"
            ] = None

    def _place(self, scene: Scene) -> str:
        """Its path in the catalog, so that a copied catalog gives the same; without keys."""
        place = self._opened().place(scene.place or scene.hrefs[0])
        return self._hide(without_secrets(place))

    def _name(self, scene: Scene) -> str:
        """A scene's id, with its path in the catalog if others share the id."""
        if self._names.get((scene.collection, scene.id), 0) < 2:
            return scene.id
        return f"{scene.id} ({scene.place})"

    def _layers(
        self, scene: Scene, window: Grid, counter: ByteCounter, report: Callable[[str], object]
    ) -> Layers:
        """A scene's pixels ``(r g b valid, y, x)``; zeros, and a report, if it is broken."""
        layers = np.zeros((len(BANDS), *window.shape), np.uint8)
        valid = np.ones(window.shape, np.bool_)
        for href in scene.hrefs:
            try:
                file = self._file(scene, href)
                manner = _manner(scene, file, self.spec)
                href_now = self._signed(href, scene.collection)
                signed = replace(file, href=href_now, version=" ".join(self._version(scene)))
                with counter.count(file.files):
                    pixels, present = read_onto(signed, window, manner)
            except READ_ERRORS as error:
                report(fault_line(href, error, self._hide))
                return np.zeros_like(layers)
            for at, band in enumerate(scene.bands):
                if band.href == href:
                    layers[at] = pixels[at]
            valid &= present
        layers[3] = np.where(valid, 255, 0)
        return layers

    def _file(self, scene: Scene, href: str) -> RasterFile:
        """A file's header, read once per process. Raises one of READ_ERRORS."""
        if href not in self._files:
            signed = self._signed(href, scene.collection)
            if reason := self._reach.refused_on_the_way(signed):
                raise ValueError(f"{self._hide(without_secrets(href))}: {reason}")
            try:
                file = probe(signed, self._reach.known)
            except ImageryError as error:  # no georeference: broken like any other
                raise ValueError(str(error)) from None
            parts = (href,) if is_remote(href) else file.files
            self._files[href] = replace(file, href=href, files=parts)
        return self._files[href]

    @functools.cached_property
    def _reach(self) -> Reach:
        return Reach(fill_keys(self.spec.url))

    def _signed(self, href: str, collection: str) -> str:
        """An href as it is opened. Raises ValueError if it is out of the catalog's reach."""
        if reason := self._reach.refusal(href):
            raise ValueError(f"{self._hide(without_secrets(href))[:200]} is not opened: {reason}")
        return self._signer.sign(href, collection)

    def _version(self, scene: Scene) -> list[str]:
        return [scene.version] if scene.version is not None else self._ask_versions([scene])

    def _ask_versions(self, scenes: list[Scene], *, sure: bool = False) -> list[str]:
        """Versions of the files of scenes for which the catalog gives none."""
        holders = {
            href: scene.collection
            for scene in scenes
            if scene.version is None
            for href in scene.hrefs
            if not self._reach.refusal(href)
        }
        return self._versions.of(
            holders, lambda href: self._signer.sign(href, holders[href]), sure=sure
        )

    def _item(self, scene: Scene) -> Item:
        href = self._hide(without_secrets(scene.hrefs[0]))
        return Item(self._name(scene), href, scene.datetime, " ".join(self._version(scene)))

    def _hide(self, text: str) -> str:
        """A message or an href without tokens and the catalog's keys."""
        return hide_keys(self.spec.url, self._signer.scrub(text))


def _of_the_item(band: Band, file: RasterFile, spec: StacImagery) -> Rgb | None:
    """The bands of an item's one file by the item, if the file itself does not state them."""
    silent = spec.bands is None and not file.colours.stated
    return band.whole if silent and band.count == file.bands else None


def _fault_of(error: Exception) -> str:
    """Why an item cannot be read."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    return str(error) if isinstance(error, ValueError) else "a value in it is of the wrong type"


def _manner(scene: Scene, file: RasterFile, spec: StacImagery) -> Manner:
    """How a file of a scene is read; bands that are not in it are placeholders."""
    own = [band for band in scene.bands if band.href == file.href]
    numbers = [(band if band.href == file.href else own[0]).number for band in scene.bands]
    red, green, blue = numbers
    chosen = None if red is None or green is None or blue is None else (red, green, blue)
    chosen = chosen or _of_the_item(own[0], file, spec)
    units = own[0].units
    if not units and own[0].counts and file.dtype != "uint8":
        units = (own[0].counts,)
    units += units[-1:] * (file.bands - len(units))
    manner = manner_of(file, spec, chosen, units)
    silent = manner.nodata is None and not any(value is not None for value in file.nodata)
    nodata = own[0].nodata if silent else manner.nodata
    return replace(manner, nodata=nodata, light=own[0].light)


def _uppermost(stack: xr.DataArray, pixels: Layers, valid: Bools) -> list[int]:
    """Fill gaps scene by scene until nothing is missing; the indices of those used."""
    seen = []
    for layer, index in zip(stack, stack.id.values, strict=True):
        values = layer.compute(scheduler="synchronous").values
        if fill_gaps(pixels, valid, values[:3], values[3] > 0):
            seen.append(int(index))
        if valid.all():
            break
    return seen


def _median(stack: xr.DataArray, pixels: Layers, valid: Bools) -> list[int]:
    """The median of all valid scenes, pixel by pixel; the indices of those used."""
    seen = np.zeros(len(stack), np.bool_)
    strip = stack.chunks[2][0]  # type: ignore[index]
    for start in range(0, stack.shape[2], strip):
        rows = slice(start, start + strip)
        values = stack[:, :, rows].compute(scheduler="synchronous").values
        present = values[:, 3] > 0
        seen |= present.any(axis=(1, 2))
        valid[rows] = present.any(axis=0)
        holes = np.repeat(~present[:, None], 3, axis=1)
        bands = np.where(holes, np.float32(np.nan), values[:, :3])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # no scene at all: becomes 0
            middle = np.nan_to_num(np.nanmedian(bands, axis=0))
        pixels[:, rows] = np.rint(middle).astype(np.uint8)
    return [int(index) for index in stack.id.values[seen]]


def _strip_rows(scenes: int, window: Grid) -> int:
    return max(min(_MEDIAN_BYTES // (scenes * len(BANDS) * window.nx * 4), window.ny), 1)


def _newest(scene: Scene) -> tuple[float, str, str]:
    return (-scene.datetime.timestamp() if scene.datetime else math.inf), scene.id, scene.place


def _least_cloud(scene: Scene) -> tuple[float, float, str, str]:
    return (math.inf if scene.cloud is None else scene.cloud, *_newest(scene))


def _inside(box: Bounds, other: Bounds) -> bool:
    return box[0] >= other[0] and box[1] >= other[1] and box[2] <= other[2] and box[3] <= other[3]
