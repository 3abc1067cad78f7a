"""``points.parquet``: GeoParquet 1.1, one row a point, in the order in which they were drawn.

    geometry   Point, longitude and latitude (EPSG:4326)
    order      int64, 0, 1, 2, …: every prefix is a sample like the whole
    way_id     int64, the OpenStreetMap way that the point lies on; -1 where there is none
    highway    string, the class of that way; may be empty

Further columns are attributes of the points. The metadata key ``geoloc`` holds JSON, in it
``sequence``: what names the sequence that these points are the beginning of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64, I64, Bools
from ..errors import OutputError, UsageError, one_line
from ..files.whole import whole_file
from .degrees import in_degrees

if TYPE_CHECKING:
    import pyarrow as pa


GEOMETRY, ORDER, WAY, HIGHWAY = "geometry", "order", "way_id", "highway"
COLUMNS = (GEOMETRY, ORDER, WAY, HIGHWAY)
NO_WAY = -1

_WKB = np.dtype([("little", "u1"), ("kind", "<u4"), ("lon", "<f8"), ("lat", "<f8")])
_POINT = 1  # WKB's number of points
_WORDS = "write it with 'geoloc points sample'"
_NO_ORDER = f"column order is not 0, 1, 2, … in any order: {_WORDS}"
_PART = 1 << 18  # rows read at a time


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points in the order in which they were drawn.

    coordinates: float64 ``(n, 2)``, longitude and latitude in degrees; order: int64 ``(n,)``,
    which of its sequence each is; attributes: arrays ``(n,)`` by name, ``way_id`` (int64) and
    ``highway`` (str) among them; sequence: what names the sequence (hex), empty where the file
    does not say.
    """

    coordinates: F64
    order: I64
    attributes: Mapping[str, NDArray[Any]]
    sequence: str

    def __len__(self) -> int:
        return len(self.coordinates)


def read_points(path: str | Path, n: int | None = None) -> PointSet:
    """The first ``n`` points of a file in the order in which they were drawn; all by default.

    A file of others may lack ``order``: its rows are then in order. Points in another CRS are
    brought into longitude and latitude. Raises UsageError for a file that is no GeoParquet file,
    has no points or other geometry, or fewer than ``n``.
    """
    path = Path(path)
    with _reading(path), _opened(path) as (parquet, meta, sequence):
        table = parquet.read()
        coordinates = _coordinates(table, meta, path)
        order = _order(table, path)
        named = _attributes(table, meta.get("primary_column", GEOMETRY))
    if n is not None and n > len(order):
        raise UsageError(
            f"points {path} has {len(order):,} points, fewer than the {n:,} wanted: sample more"
        )
    rows = np.argsort(order, kind="stable")[:n]
    chosen = {name: values[rows] for name, values in named.items()}
    return PointSet(coordinates[rows], order[rows], chosen, sequence)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any], str]]:
    """The Parquet file, the geometry's metadata, and the sequence."""
    import pyarrow.parquet as pq

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"points {path} {what}: give a points.parquet")
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise UsageError(f"points {path} is not a Parquet file: {_WORDS}")
    with pq.ParquetFile(path, pre_buffer=False) as parquet:
        kept = parquet.metadata.metadata or {}
        meta = json.loads(kept.get(b"geo", b"null"))
        if not isinstance(meta, dict) or not isinstance(meta.get("columns"), dict):
            raise UsageError(f"points {path} is Parquet without geometry: {_WORDS}")
        if not parquet.metadata.num_rows:
            raise UsageError(f"points {path} has no points: {_WORDS}")
        about = json.loads(kept.get(b"geoloc", b"{}"))
        sequence = str(about.get("sequence", "")) if isinstance(about, dict) else ""
        yield parquet, meta, sequence


def _place_columns(parquet: Any, meta: dict[str, Any]) -> list[str]:
    """Those that say where the points are, and in which order."""
    wanted = (meta.get("primary_column", GEOMETRY), ORDER)
    return [name for name in parquet.schema_arrow.names if name in wanted]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of many kinds, of pyarrow and shapely, become a UsageError."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001
        raise UsageError(f"points {path} cannot be read: {one_line(error)}; {_WORDS}") from None


def read_in_parts(path: str | Path) -> Iterator[tuple[F64, int]]:
    """Longitude and latitude of some points at a time, as their rows lie; and how many there are.

    Raises UsageError as `read_points`.
    """
    import pyarrow as pa

    path = Path(path)
    with _reading(path), _opened(path) as (parquet, meta, _):
        count = parquet.metadata.num_rows
        columns, seen, start = _place_columns(parquet, meta), np.zeros(count, np.bool_), 0
        for batch in parquet.iter_batches(batch_size=_PART, columns=columns):
            table = pa.Table.from_batches([batch])
            if ORDER in columns:
                _mark(seen, table[ORDER].to_numpy(), path)
            yield _coordinates(table, meta, path, start), count
            start += len(batch)
        if ORDER in columns and not seen.all():
            raise UsageError(f"points {path}: {_NO_ORDER}")


def _mark(seen: Bools, order: NDArray[Any], path: Path) -> None:
    """Note numbers of points; raises UsageError where they are none."""
    if order.dtype.kind not in "iu" or not ((order >= 0) & (order < len(seen))).all():
        raise UsageError(f"points {path}: {_NO_ORDER}")
    seen[order] = True


def _coordinates(table: pa.Table, meta: dict[str, Any], path: Path, start: int = 0) -> F64:
    """Longitude and latitude of each row. Raises UsageError where a row is no point.

    ``start``: the number of the first row in the file.
    """
    import shapely

    name = meta.get("primary_column", GEOMETRY)
    column = meta["columns"].get(name)
    if not isinstance(column, dict) or column.get("encoding") != "WKB":
        raise UsageError(f"points {path}: its geometry is not encoded as WKB: {_WORDS}")
    plain = _plain_points(table[name])
    if plain is not None:
        return _degrees(plain, column, path)
    shapes = shapely.from_wkb(table[name].to_numpy())
    kinds = shapely.get_type_id(shapes)
    bad = (kinds != int(shapely.GeometryType.POINT)) | shapely.is_empty(shapes)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        kind = "nothing" if shapes[row] is None else f"a {shapes[row].geom_type}"
        raise UsageError(
            f"points {path}: row {start + row} has {kind} as geometry: give points alone"
        )
    return _degrees(shapely.get_coordinates(shapes), column, path)


def _plain_points(column: pa.ChunkedArray) -> F64 | None:
    """Coordinates ``(n, 2)`` of WKB as `_wkb` writes it, without an object for each; else None."""
    import pyarrow as pa

    parts = []
    for chunk in column.chunks:
        if chunk.type != pa.binary() or chunk.null_count:
            return None
        _, offsets, content = chunk.buffers()
        starts = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        if content is None or (np.diff(starts) != _WKB.itemsize).any():
            return None
        records = np.frombuffer(content, _WKB, len(chunk), starts[0]) if len(chunk) else None
        if records is None or (records["little"] != 1).any() or (records["kind"] != _POINT).any():
            return None
        parts.append(np.stack([records["lon"], records["lat"]], axis=1))
    found = np.concatenate(parts) if parts else None
    return None if found is None or np.isnan(found).any() else found.astype(np.float64)


def _degrees(xy: F64, column: dict[str, Any], path: Path) -> F64:
    """Coordinates as longitude and latitude. Raises UsageError where they are off the globe."""
    from pyproj import CRS

    named = column.get("crs", "OGC:CRS84")
    if named is None:
        raise UsageError(f"points {path} names no CRS: save it in EPSG:4326")
    crs = CRS.from_user_input(named)
    xy = in_degrees(xy, crs)
    off = ~((np.abs(xy[:, 0]) <= 180) & (np.abs(xy[:, 1]) <= 90))  # also where it is not a number
    if off.any():
        lon, lat = xy[np.flatnonzero(off)[0]]
        raise UsageError(
            f"points {path}: longitude {lon:g}, latitude {lat:g} is not on the globe: write "
            "longitude first, in degrees, or name the CRS"
        )
    return np.ascontiguousarray(xy)


def _order(table: pa.Table, path: Path) -> I64:
    if ORDER not in table.column_names:
        return np.arange(table.num_rows)
    order = table[ORDER].to_numpy()
    if order.dtype.kind not in "iu" or not (np.sort(order) == np.arange(len(order))).all():
        raise UsageError(f"points {path}: {_NO_ORDER}")
    return np.asarray(order, np.int64)


def _attributes(table: pa.Table, geometry: str) -> dict[str, NDArray[Any]]:
    """Every other column; way_id and highway are always there."""
    names = [name for name in table.column_names if name not in (geometry, ORDER)]
    values = {name: _plain(table[name].to_numpy()) for name in names}
    empty = {
        WAY: np.full(table.num_rows, NO_WAY, np.int64),
        HIGHWAY: np.full(table.num_rows, "", np.str_),
    }
    return empty | values


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Strings as NumPy has them; nothing is an empty one."""
    if values.dtype != np.object_:
        return values
    return np.array(["" if value is None else str(value) for value in values], np.str_)


def require_writable(path: Path) -> None:
    """Raises OutputError, before any work, where a file of points cannot be written."""
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder: name a file in it")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {path.parent}")


@contextmanager
def writing_points(path: Path, about: Mapping[str, Any]) -> Iterator[Callable[[PointSet], None]]:
    """Write a file part by part, whole or not at all: what is yielded takes the next points.

    ``about``: for the metadata key ``geoloc``, with ``sequence``. All parts have the same
    attributes. Raises OutputError where it cannot be written.
    """
    import pyarrow.parquet as pq

    box = np.array([np.inf, np.inf, -np.inf, -np.inf])
    try:
        with whole_file(path) as part:
            writer: list[pq.ParquetWriter] = []

            def write(points: PointSet) -> None:
                table = _as_table(points)
                if not writer:
                    writer.append(pq.ParquetWriter(part, table.schema, compression="zstd"))
                writer[0].write_table(table)
                box[:2] = np.minimum(box[:2], points.coordinates.min(axis=0))
                box[2:] = np.maximum(box[2:], points.coordinates.max(axis=0))

            try:
                yield write
                if writer:
                    meta = {"geo": _geo(box.tolist()), "geoloc": about}
                    writer[0].add_key_value_metadata(
                        {key: json.dumps(value) for key, value in meta.items()}
                    )
            finally:
                for opened in writer:
                    opened.close()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None


def _as_table(points: PointSet) -> pa.Table:
    import pyarrow as pa

    other = {key: value for key, value in points.attributes.items() if key not in COLUMNS}
    columns = {
        GEOMETRY: _wkb(points.coordinates),
        ORDER: pa.array(points.order, pa.int64()),
        WAY: pa.array(points.attributes[WAY], pa.int64()),
        HIGHWAY: pa.array(points.attributes[HIGHWAY], pa.string()),
        **{name: pa.array(values) for name, values in other.items()},
    }
    return pa.table(columns)


def _wkb(coordinates: F64) -> pa.Array:
    """Points as WKB, all 21 bytes long, without an object for each."""
    import pyarrow as pa

    records = np.zeros(len(coordinates), _WKB)
    records["little"], records["kind"] = 1, _POINT
    records["lon"], records["lat"] = coordinates.T
    offsets = np.arange(len(coordinates) + 1, dtype=np.int32) * _WKB.itemsize
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(records)]
    return pa.Array.from_buffers(pa.binary(), len(coordinates), buffers)


def _geo(box: list[float]) -> dict[str, Any]:
    """The metadata that GeoParquet 1.1 asks for."""
    from pyproj import CRS

    column = {
        "encoding": "WKB",
        "geometry_types": ["Point"],
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "bbox": box,
    }
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
