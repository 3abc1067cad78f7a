"""Existing networks: lines of GeoPackage, GeoParquet, shapefile, GeoJSON …, or of GraphML.

A street that is there in both directions, as OSMnx writes networks, counts once.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..area.polygon import file_and_layer, plainly_named, vector_layers
from ..area.vector import reason_to_refuse
from ..arrays import F64, I64, Bools
from ..errors import UsageError, one_line
from .degrees import in_degrees
from .file import NO_WAY
from .graphml import read_graphml
from .lines import Lines
from .ways import has_class, key_of

U64 = NDArray[np.uint64]

_BATCH = 1 << 16  # lines
_PARQUET = (".parquet", ".geoparquet")
_IDS = ("osmid", "osm_id", "way_id", "osm_way_id", "full_id")
_CLASS = "fclass"  # in Geofabrik's shapefiles
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"w?(\d{1,18})(\.0)?")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Table:
    """Some rows of a network: their shapes, the CRS these are in, and text by column."""

    shapes: NDArray[np.object_]
    crs: str | None
    columns: Mapping[str, Sequence[Any]]


def read_network(path: Path, network: str) -> Iterator[Lines]:
    """The lines of a network, in batches, each street once.

    ``FILE|layername=NAME`` names one of several layers. Raises UsageError for a file without
    lines, of no format that is read, or without the classes that ``network`` asks for.
    """
    seen = _Seen()
    try:
        for table in _tables(path):
            lines = _lines(table, network, path)
            yield lines.select(seen.new(lines))
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  (its readers raise errors of many libraries)
        raise UsageError(f"roads {path} cannot be read: {one_line(error)}") from None


def _tables(path: Path) -> Iterator[Table]:
    file, layer = file_and_layer(path)
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise UsageError(f"roads {path} {what}: give an extract or a network")
    if file.suffix.lower() == ".graphml":
        yield from (Table(*parts) for parts in read_graphml(file, _BATCH))
    elif file.suffix.lower() in _PARQUET:
        yield _of_parquet(file)
    else:
        if reason := reason_to_refuse(file):
            raise UsageError(f"roads {path} is not opened: {reason}")
        with plainly_named(file.absolute()) as plain, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its reader's warnings about formats
            yield from _of_layer(plain, _layer_with_lines(plain, layer, path))


def _layer_with_lines(file: Path, layer: str | None, path: Path) -> str:
    import pyogrio

    names = [name for name in vector_layers(file) if layer in (None, name)]
    kinds = {name: str(pyogrio.read_info(file, layer=name)["geometry_type"]) for name in names}
    drawn = [name for name in names if "Line" in kinds[name] or kinds[name] in ("Unknown", "")]
    if not drawn:
        raise UsageError(f"roads {path} has no lines: give a network of roads")
    if len(drawn) > 1:
        raise UsageError(
            f"roads {path} has lines in {len(drawn)} layers ({', '.join(drawn[:10])}): write "
            f"{path}|layername=NAME"
        )
    return drawn[0]


def _of_layer(file: Path, layer: str) -> Iterator[Table]:
    import pyogrio
    import shapely

    with pyogrio.open_arrow(file, layer=layer, use_pyarrow=True, batch_size=_BATCH) as opened:
        meta, batches = opened
        geometry = meta["geometry_name"] or "wkb_geometry"
        for batch in batches:
            shapes = shapely.from_wkb(batch[geometry].to_numpy(zero_copy_only=False))
            yield Table(shapes, meta["crs"], _text_columns(batch))


def _of_parquet(file: Path) -> Table:
    import geopandas

    frame = geopandas.read_parquet(file)
    names = [name for name in _wanted(frame.columns) if name != frame.geometry.name]
    crs = None if frame.crs is None else frame.crs.to_wkt()
    columns = {name: frame[name].astype(str).tolist() for name in names}
    return Table(frame.geometry.to_numpy(), crs, columns)


def _wanted(names: Sequence[str]) -> list[str]:
    return [name for name in names if name in (*_IDS, _CLASS, "highway", "railway")]


def _text_columns(batch: Any) -> dict[str, Sequence[Any]]:
    return {name: batch[name].to_pylist() for name in _wanted(batch.schema.names)}


def _lines(table: Table, network: str, path: Path) -> Lines:
    """The rows that belong to a network, as lines in degrees."""
    import shapely

    parts, row = shapely.get_parts(table.shapes, return_index=True)
    lying = shapely.get_type_id(parts) == int(shapely.GeometryType.LINESTRING)
    parts, row = parts[lying], row[lying]
    classes, ids = _classes(table, network, path), _ids(table)
    if classes is not None:
        keep = has_class(network, classes)[row]
        parts, row = parts[keep], row[keep]
    else:
        classes = np.full(len(table.shapes), "", np.str_)
    xy, line = shapely.get_coordinates(shapely.force_2d(parts), return_index=True)
    return Lines.of(_degrees(xy, table.crs, path), line, ids[row], classes[row])


def _classes(table: Table, network: str, path: Path) -> NDArray[np.str_] | None:
    """The class of each row; None where the network has none and none is asked for."""
    key = key_of(network)
    column = table.columns.get(key, table.columns.get(_CLASS))
    if column is None and network == "all":
        return None
    if column is None:
        raise UsageError(
            f"roads {path} has no column {key}, so --network {network} cannot be applied: leave it "
            "out to take all lines"
        )
    return np.array([_first_word(value) for value in column] or [""], np.str_)[: len(column)]


def _first_word(value: Any) -> str:
    """Of a name, or of several: ``['residential', 'service']``, as OSMnx joins ways."""
    match = None if value is None else _WORD.search(str(value))
    return match[0] if match and match[0] not in ("None", "nan") else ""


def _ids(table: Table) -> I64:
    """Numbers of ways; NO_WAY where a row is made of several, or none is given."""
    column = next((table.columns[name] for name in _IDS if name in table.columns), None)
    if column is None:
        return np.full(len(table.shapes), NO_WAY, np.int64)
    matches = [_NUMBER.fullmatch(str(value)) for value in column]
    return np.array([int(match[1]) if match else NO_WAY for match in matches], np.int64)


def _degrees(xy: F64, crs: str | None, path: Path) -> F64:
    """Longitude and latitude. Raises UsageError where coordinates are off the globe."""
    from pyproj import CRS

    if crs is None:
        raise UsageError(f"roads {path} names no CRS: save it in EPSG:4326")
    known = CRS.from_user_input(crs)
    xy = in_degrees(xy, known)
    if not ((np.abs(xy[:, 0]) <= 180) & (np.abs(xy[:, 1]) <= 90)).all():
        raise UsageError(
            f"roads {path} has coordinates off the globe for its CRS, {known.name}: save it in "
            "EPSG:4326"
        )
    return np.asarray(xy, np.float64)


@dataclass
class _Seen:
    """Lines that were there before, in whichever direction: by a hash of their edges."""

    hashes: U64 = field(default_factory=lambda: np.empty(0, np.uint64))

    def new(self, lines: Lines) -> Bools:
        """Bool ``(line,)``: the first of each line alone."""
        hashes = _hashes(lines)
        _, first = np.unique(hashes, return_index=True)
        new = np.zeros(len(lines), np.bool_)
        new[first] = True
        new &= ~np.isin(hashes, self.hashes)
        self.hashes = np.concatenate([self.hashes, hashes[new]])
        return new


def _hashes(lines: Lines) -> U64:
    """One number a line, the same for both directions: a sum over its edges."""
    if not len(lines):
        return np.empty(0, np.uint64)
    bits = (lines.coordinates + 0.0).view(np.uint64)  # -0 is 0
    with np.errstate(over="ignore"):
        node = _scattered(bits[:, 0] + _scattered(bits[:, 1]))
        edge = np.zeros(len(node), np.uint64)
        first = lines.edges()
        edge[first] = _scattered(node[first] + node[first + 1])
        return np.add.reduceat(edge, lines.offsets[:-1])


def _scattered(bits: U64) -> U64:
    """Bits spread over all 64: the finalizer of splitmix64 (Steele, Lea, Flood, 2014)."""
    mixed = bits + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
