"""The imagery of a STAC item, of versions 1.0 and 1.1 alike. No I/O.

Items state their projection as ``proj:epsg`` (1.0), ``proj:code`` (1.1) or not at all, on the
item or on each asset, and their bands as ``eo:bands`` (1.0) or ``bands`` (1.1).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ...area import Bounds, StacImagery
from ..colours import Rgb, by_name, of_light
from ..crs import LONLAT, box_in, on_earth
from ..raster import is_remote
from ..source import union_of

Json = dict[str, Any]

_NO_DATA_ROLES = {"thumbnail", "overview"}
_NAMES = ("eo:common_name", "common_name", "name", "description")
_LIGHT = {"blue": (0.45, 0.51), "green": (0.53, 0.59), "red": (0.63, 0.69)}
"""Wavelengths of current instruments, µm; narrower than those of the common names."""
_SHIFTED_SINCE = 4.0  # baseline of Sentinel-2 since which values are 1000 too high
_REFLECTANCE = 1e-4, 0.0
_SHIFTED = 1e-4, -0.1
_SLACK = 0.02  # of a box's sides: how far another that is the same may go beyond it
_VERSIONS = ("file:checksum", "updated", "version", "s2:processing_baseline", "processing:version")


@dataclass(frozen=True)
class Band:
    """One band of a file, counted from 1; ``number`` None: the file determines which one.

    ``units``: scale and offset of each band of the file to physical values, if stated;
    ``counts`` the same for digital numbers of Sentinel-2, if the item is of it. ``nodata``: the
    item's nodata value; ``light``: numbers of the bands that it names as parts of the spectrum.
    """

    href: str
    number: int | None
    units: tuple[tuple[float, float], ...] = ()
    counts: tuple[float, float] | None = None
    nodata: float | None = None
    light: tuple[int, ...] = ()
    whole: Rgb | None = None
    """The red, green and blue bands by the item's, not its one asset's, list of ``count`` bands;
    that may be the instrument's, and applies to a file with as many."""
    count: int = 0


@dataclass(frozen=True)
class Scene:
    """The parts of an item that are used; ``box`` is its footprint in ``crs``.

    ``version``: of the files, ``gsd``: their m per pixel; each None unless the catalog states it.
    """

    id: str
    collection: str
    datetime: dt.datetime | None
    cloud: float | None
    bands: tuple[Band, Band, Band]
    crs: str
    box: Bounds
    gsd: float | None
    version: str | None
    place: str = ""
    """The item's own href, if known; ids are only unique within a collection."""
    shift: float = 0.0
    """The offset by which its digital numbers are too high, if stated."""

    @property
    def hrefs(self) -> tuple[str, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(band.href for band in self.bands))

    def bounds(self, crs: str) -> Bounds:
        """The box around the footprint in ``crs``; not finite if it cannot be projected."""
        return box_in(self.box, self.crs, crs)


def scene_of(item: Json, spec: StacImagery) -> Scene | None:
    """The scene of an item with absolute asset hrefs; None if it lacks the requested bands.

    Raises KeyError, TypeError or ValueError for an invalid STAC item.
    """
    properties = item["properties"]
    bands = _bands(item["assets"], spec)
    if bands is None:
        return None
    asset = item["assets"][bands[0][0]]
    crs, box = _footprint(item, asset)
    chosen = tuple(_band(item["assets"][name], number, properties) for name, number in bands)
    if bands[0][1] is None and len([n for n, a in item["assets"].items() if _is_image(n, a)]) == 1:
        whole = _described(properties)
        chosen = tuple(replace(b, whole=_named(whole), count=len(whole)) for b in chosen)
    return Scene(
        id=str(item["id"]),
        collection=str(item.get("collection") or ""),
        datetime=_time(properties),
        cloud=properties.get("eo:cloud_cover"),
        bands=(chosen[0], chosen[1], chosen[2]),
        crs=crs,
        box=box,
        gsd=_gsd(asset, properties),
        version=_version(item, bands),
        place=str(item.get("self") or ""),
        shift=_shift(chosen[0]),
    )


def _bands(assets: Json, spec: StacImagery) -> list[tuple[str, int | None]] | None:
    """Asset and band number for red, green and blue; number None: the file determines it."""
    names = spec.assets
    if names is None:
        if "visual" in assets:
            names = ["visual"]
        elif by_colour := _by_colour(assets):
            return by_colour
        else:
            images = [name for name in assets if _is_image(name, assets[name])]
            names = images if len(images) == 1 else []
    if not names or any(name not in assets for name in names):
        return None
    if len(names) == 1:
        numbers = spec.bands or _colours(assets[names[0]]) or (None, None, None)
        return [(names[0], number) for number in numbers]
    return [(name, 1) for name in names]


def _is_image(name: str, asset: Json) -> bool:
    return "tiff" in str(asset.get("type", "")) and not _is_preview(name, asset)


def _is_preview(name: str, asset: Json) -> bool:
    """Whether an asset is a preview of the item, described like the item itself."""
    return name in _NO_DATA_ROLES or bool(set(asset.get("roles") or []) & _NO_DATA_ROLES)


def _by_colour(assets: Json) -> list[tuple[str, int | None]] | None:
    """The bands named red, green and blue, in one asset or in one asset each."""
    data = {name: asset for name, asset in assets.items() if not _is_preview(name, asset)}
    for name, asset in data.items():
        if rgb := _colours(asset):
            return [(name, number) for number in rgb]
    bands = [
        (name, number, band)
        for name in data
        for number, band in enumerate(_described(data[name]), 1)
    ]
    if rgb := _named([band for _, _, band in bands]):
        return [bands[at - 1][:2] for at in rgb]
    rgb = by_name([name if _is_image(name, data[name]) else None for name in data])
    return [(list(data)[at - 1], 1) for at in rgb] if rgb else None


def _colours(asset: Json) -> Rgb | None:
    """The bands of an asset that are named red, green and blue."""
    return _named(_described(asset))


def _named(bands: list[Json]) -> Rgb | None:
    words = ([band.get(key) for band in bands] for key in _NAMES)
    return by_name(*words) or by_name([_by_wavelength(band) for band in bands])


def _by_wavelength(band: Json) -> str | None:
    """The colour of a band without a name by its wavelength, if stated."""
    center = band.get("eo:center_wavelength", band.get("center_wavelength"))
    if not isinstance(center, int | float):
        return None
    return next((colour for colour, (low, high) in _LIGHT.items() if low <= center <= high), None)


def _described(asset: Json) -> list[Json]:
    """Bands of an asset, or of a whole item; a plain string is a band's name."""
    return _objects(asset.get("bands") or asset.get("eo:bands"))


def _objects(bands: Any) -> list[Json]:
    entries = bands if isinstance(bands, list) else []
    return [band if isinstance(band, dict) else {"name": band} for band in entries]


def _band(asset: Json, number: int | None, properties: Json) -> Band:
    applied = properties.get("earthsearch:boa_offset_applied") is True
    raster = _objects(asset.get("raster:bands") or asset.get("bands")) or [{}]
    units = tuple(_unit(facts, asset, applied=applied) for facts in raster)
    stated = any(unit is not None for unit in units)
    return Band(
        asset["href"],
        number,
        tuple(unit or (1.0, 0.0) for unit in units) if stated else (),
        None if stated else _sentinel_counts(properties, applied=applied),
        _nodata(raster[(number or 1) - 1 : number or 1], asset),
        tuple(n for n, band in enumerate(_described(asset), 1) if _of_light(band, n)),
    )


def _of_light(band: Json, number: int) -> bool:
    return any(of_light(band.get(key), number) for key in _NAMES)


def _nodata(band: list[Json], asset: Json) -> float | None:
    """The nodata value of a band, or of all: a number, or a word such as "nan"."""
    holders = (*band, asset)
    stated = [h[key] for h in holders for key in ("nodata", "raster:nodata") if key in h]
    try:
        return None if not stated or stated[0] is None else float(stated[0])
    except (TypeError, ValueError):
        return None


def _unit(facts: Json, asset: Json, *, applied: bool) -> tuple[float, float] | None:
    """Scale and offset of a band; an offset already ``applied`` to the file is 0."""
    holders = (facts, "raster:scale", "raster:offset"), (facts, "scale", "offset"), (
        asset, "raster:scale", "raster:offset",
    )  # fmt: skip
    for holder, scale, offset in holders:
        if holder.get(scale) is not None or holder.get(offset) is not None:
            factor = float(holder.get(scale) or 1)
            return factor, 0.0 if applied else float(holder.get(offset) or 0)
    return None


def _sentinel_counts(properties: Json, *, applied: bool) -> tuple[float, float] | None:
    """Scale and offset of Sentinel-2, by baseline (ESA, Sentinel-2 Products Specification 15)."""
    try:
        baseline = float(properties["s2:processing_baseline"])
    except (KeyError, TypeError, ValueError):
        return None
    return _SHIFTED if baseline >= _SHIFTED_SINCE and not applied else _REFLECTANCE


def _shift(band: Band) -> float:
    at = (band.number or 1) - 1
    scale, offset = band.units[at] if at < len(band.units) else band.counts or (1.0, 0.0)
    return round(0.0 - offset / scale, 6)


def _footprint(item: Json, asset: Json) -> tuple[str, Bounds]:
    """CRS and box: in the imagery's own CRS if stated, else the item's box in degrees.

    Where the two contradict each other, as by a shape of width and height, the box around both:
    files are placed by their own georeference, and none must be passed over.
    """
    for facts in (asset, item["properties"]):
        crs = _crs({**item["properties"], **facts})
        if crs is not None and (box := _projected_box(facts)) is not None:
            return _around_both(crs, box, item)
    return LONLAT, _degrees_of(item)


def _around_both(crs: str, box: Bounds, item: Json) -> tuple[str, Bounds]:
    """A projected box, unless the item's box in degrees goes beyond it."""
    projected = _onward(box_in(box, crs, LONLAT))
    try:
        stated = _degrees_of(item)
    except (KeyError, TypeError, ValueError, IndexError):
        return crs, box  # the projected one is enough
    if not all(map(math.isfinite, stated)):
        return crs, box
    if not all(map(math.isfinite, projected)):
        return LONLAT, stated
    width, height = projected[2] - projected[0], projected[3] - projected[1]
    room = (-_SLACK * width, -_SLACK * height, _SLACK * width, _SLACK * height)
    grown = [edge + by for edge, by in zip(projected, room, strict=True)]
    if all(low <= edge for low, edge in zip(grown[:2], stated[:2], strict=True)) and all(
        high >= edge for high, edge in zip(grown[2:], stated[2:], strict=True)
    ):
        return crs, box
    return LONLAT, union_of((projected, stated))


def _degrees_of(item: Json) -> Bounds:
    """The item's own box in degrees; around its geometry too if that lies elsewhere, as where
    latitude comes first."""
    stated, geometry = item.get("bbox"), item.get("geometry")
    if not stated:
        return _onward(_flat(_box_of(_coordinates(geometry))))
    box = _onward(_flat(stated))
    with suppress(KeyError, TypeError, ValueError, IndexError):
        drawn = _onward(_flat(_box_of(_coordinates(geometry))))
        beside = drawn[0] > box[2] or box[0] > drawn[2]
        return union_of((box, drawn)) if beside or drawn[1] > box[3] or box[1] > drawn[3] else box
    return box


def _onward(box: Bounds) -> Bounds:
    """A box in degrees that goes on beyond 180; across it, one of GeoJSON begins in the east
    (RFC 7946, 5.2)."""
    west, south, east, north = box
    return west, south, east + 360 if east < west else east, north


def _crs(facts: Json) -> str | None:
    code = facts.get("proj:code") or facts.get("proj:epsg")
    text = f"EPSG:{code}" if isinstance(code, int) else code or facts.get("proj:wkt2")
    return str(text) if text and on_earth(str(text)) else None


def _projected_box(facts: Json) -> Bounds | None:
    """From ``proj:shape`` and ``proj:transform``, or ``proj:bbox``, of an asset or item."""
    transform, shape = facts.get("proj:transform"), facts.get("proj:shape")
    if transform and shape:
        a, b, c, d, e, f = map(float, transform[:6])
        corners = [(x, y) for x in (0, shape[1]) for y in (0, shape[0])]
        xs = [a * x + b * y + c for x, y in corners]
        ys = [d * x + e * y + f for x, y in corners]
        return min(xs), min(ys), max(xs), max(ys)
    if box := facts.get("proj:bbox"):
        return _flat(box)
    return None


def _flat(box: list[float]) -> Bounds:
    """A bbox of four numbers, or of six with heights."""
    west, south = box[:2]
    east, north = box[len(box) // 2 :][:2]
    return float(west), float(south), float(east), float(north)


def _coordinates(geometry: Json | None) -> Any:
    if geometry is None:
        raise ValueError("it has neither bbox nor geometry")
    return geometry["coordinates"]


def _box_of(coordinates: Any) -> list[float]:
    points = list(_points(coordinates))
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return [min(xs), min(ys), max(xs), max(ys)]


def _points(coordinates: Any) -> Iterator[list[float]]:
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
    else:
        for part in coordinates:
            yield from _points(part)


def _time(properties: Json) -> dt.datetime | None:
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        return None
    time = dt.datetime.fromisoformat(text)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _gsd(asset: Json, properties: Json) -> float | None:
    value = asset.get("gsd") or asset.get("raster:spatial_resolution") or properties.get("gsd")
    return float(value) if value else None


def _version(item: Json, bands: list[tuple[str, int | None]]) -> str | None:
    """The catalog's version of remote files; files on disk have their own."""
    assets = [item["assets"][name] for name in dict.fromkeys(name for name, _ in bands)]
    if not all(is_remote(asset["href"]) for asset in assets):
        return None
    facts = [
        f"{key}={holder[key]}"
        for holder in (*assets, item["properties"])
        for key in _VERSIONS
        if holder.get(key)
    ]
    return " ".join(facts) or None
