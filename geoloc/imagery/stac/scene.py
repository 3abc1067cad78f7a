"""What a STAC item says of its imagery, of versions 1.0 and 1.1 alike. No I/O.

Items tell their projection as ``proj:epsg`` (1.0), ``proj:code`` (1.1) or not at all, on the
item or on each asset, and their bands as ``eo:bands`` (1.0) or ``bands`` (1.1).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyproj import CRS
from pyproj.exceptions import ProjError

from ...area import Bounds, StacImagery
from ..crs import LONLAT, box_in
from ..raster import is_remote

Json = dict[str, Any]

_COLOURS = ("red", "green", "blue")
_VERSIONS = ("file:checksum", "updated", "version", "s2:processing_baseline", "processing:version")


@dataclass(frozen=True)
class Band:
    """One band of a file, counted from 1; ``unit`` is its scale and offset to physical values."""

    href: str
    number: int
    unit: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """An item as far as it is used; ``box`` is its footprint in ``crs``.

    ``version`` is what the catalog says of the files' version, ``gsd`` their m per pixel, each
    None where it says nothing.
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
    """Where the item itself lies, if that is known; ids are unique in a collection only."""

    @property
    def hrefs(self) -> tuple[str, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(band.href for band in self.bands))

    def bounds(self, crs: str) -> Bounds:
        """The box around the footprint in ``crs``; not finite where it cannot be mapped."""
        return box_in(self.box, self.crs, crs)


def scene_of(item: Json, spec: StacImagery) -> Scene | None:
    """The scene of an item whose asset hrefs are absolute; None where it has not the bands asked.

    Raises KeyError, TypeError or ValueError for what is not a STAC item.
    """
    bands = _bands(item["assets"], spec)
    if bands is None:
        return None
    properties, asset = item["properties"], item["assets"][bands[0][0]]
    crs, box = _footprint(item, asset)
    chosen = tuple(_band(item["assets"][name], number) for name, number in bands)
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
    )


def _bands(assets: Json, spec: StacImagery) -> list[tuple[str, int]] | None:
    """Asset and band number for red, green and blue."""
    names = spec.assets
    if names is None:
        if "visual" in assets:
            names = ["visual"]
        elif found := _by_colour(assets):
            return found
        else:
            images = [n for n, a in assets.items() if "tiff" in str(a.get("type", ""))]
            names = images if len(images) == 1 else []
    if not names or any(name not in assets for name in names):
        return None
    if len(names) == 1:
        return [(names[0], number) for number in spec.bands]
    return [(name, 1) for name in names]


def _by_colour(assets: Json) -> list[tuple[str, int]] | None:
    """Where the bands are that are called red, green and blue."""
    places: dict[str, tuple[str, int]] = {}
    for name, asset in assets.items():
        for number, band in enumerate(_described(asset), 1):
            for key in ("eo:common_name", "common_name", "name"):
                places.setdefault(str(band.get(key)), (name, number))
    found = [places[colour] for colour in _COLOURS if colour in places]
    return found if len(found) == len(_COLOURS) else None


def _described(asset: Json) -> list[Json]:
    return asset.get("bands") or asset.get("eo:bands") or []


def _band(asset: Json, number: int) -> Band:
    raster = asset.get("raster:bands") or asset.get("bands") or []
    facts = raster[number - 1] if number <= len(raster) else {}
    scale = facts.get("raster:scale") or facts.get("scale") or asset.get("raster:scale") or 1
    offset = facts.get("raster:offset") or facts.get("offset") or asset.get("raster:offset") or 0
    return Band(asset["href"], number, (float(scale), float(offset)))


def _footprint(item: Json, asset: Json) -> tuple[str, Bounds]:
    """In the imagery's own CRS where that is told, else the item's box in degrees."""
    for facts in (asset, item["properties"]):
        crs = _crs({**item["properties"], **facts})
        if crs is not None and (box := _projected_box(facts)) is not None:
            return crs, box
    return LONLAT, _flat(item.get("bbox") or _box_of(_coordinates(item.get("geometry"))))


def _crs(facts: Json) -> str | None:
    code = facts.get("proj:code") or facts.get("proj:epsg")
    text = f"EPSG:{code}" if isinstance(code, int) else code or facts.get("proj:wkt2")
    return str(text) if text and _known(str(text)) else None


@lru_cache(maxsize=256)
def _known(crs: str) -> bool:
    try:
        return bool(CRS.from_user_input(crs))
    except ProjError:
        return False


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
        raise ValueError("it has neither bbox nor geometry: nobody knows where it lies")
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


def _version(item: Json, bands: list[tuple[str, int]]) -> str | None:
    """What the catalog says; files on disk are asked themselves."""
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
