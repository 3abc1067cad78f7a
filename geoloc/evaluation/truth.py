"""Truth files: where photos were taken, and what kind of place that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..domain.points import geocentric
from ..errors import UsageError
from ..pairs.table import NAMES, known_columns, read_rows

SAME_PLACE = 50.0
"""Photos that lie so near together, m, were taken at one place."""

_SPELT = {"file": ("file", *NAMES["photo"]), "lon": NAMES["lon"], "lat": NAMES["lat"]}


@dataclass(frozen=True)
class Truth:
    """Where a photo was taken: its file name and degrees (WGS84).

    scene, stratum: what kind of place it is, such as ``market`` and ``urban``; place: a name that
    photos of one place share; all may be empty.
    """

    file: str
    lon: float
    lat: float
    scene: str = ""
    stratum: str = ""
    place: str = ""


def read_truth(path: str | Path) -> tuple[Truth, ...]:
    """Rows of a truth file: a CSV with at least the columns file, lon, lat.

    Any table that `pairs.table.read_rows` reads. Optional columns: scene (or else landuse),
    stratum, place. Raises UsageError, naming the line, for anything else.
    """
    return tuple(_truth(path, line, row) for line, row in _rows(Path(path)))


def read_strata(path: str | Path, truths: Sequence[Truth]) -> tuple[Truth, ...]:
    """Truths with the scene and stratum that another table has: columns file, scene, stratum.

    Raises UsageError for a file without ``file`` and one of the others, or a file name that no
    truth has.
    """
    known, told = {truth.file for truth in truths}, dict[str, Mapping[str, str]]()
    for line, row in _rows(Path(path)):
        if "file" not in row or not {"scene", "stratum"} & set(row):
            raise UsageError(f"{path}:{line}: needs the columns file, and scene or stratum")
        if row["file"] not in known:
            raise UsageError(f"{path}:{line}: {row['file']!r} is not in the truth file")
        told[row["file"]] = row
    return tuple(_with_strata(truth, told.get(truth.file, {})) for truth in truths)


def _with_strata(truth: Truth, row: Mapping[str, str]) -> Truth:
    return replace(
        truth,
        scene=row.get("scene") or truth.scene,
        stratum=row.get("stratum") or truth.stratum,
    )


def _truth(path: str | Path, line: int, row: Mapping[str, str]) -> Truth:
    try:
        lon, lat = float(row["lon"]), float(row["lat"])
        if not row["file"] or not (abs(lon) <= 360 and abs(lat) <= 90):  # also refuses NaN
            raise ValueError
    except (KeyError, ValueError):
        raise UsageError(f"{path}:{line}: needs file, lon, lat (degrees) in every row") from None
    scene = row.get("scene") or row.get("landuse", "")
    return Truth(row["file"], lon, lat, scene, row.get("stratum", ""), row.get("place", ""))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells of each row, by our own names of columns; those not there are empty."""
    columns: Mapping[str, str] = {}
    for row in read_rows(path):
        if not row.line:
            columns = known_columns(list(row.cells), _SPELT)
        else:
            own = {name: row.cells.get(spelt, "") for name, spelt in columns.items()}
            yield row.line, {**row.cells, **own}


def place_groups(truths: Sequence[Truth], near: float = SAME_PLACE) -> list[int]:
    """The place of each photo, as a number: by its name, else photos near together are one place.

    ``near``: m; photos are also of one place where others lie between them.
    """
    if not truths:
        return []
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    tree = cKDTree(geocentric(np.array([(truth.lon, truth.lat) for truth in truths])))
    linked = tree.sparse_distance_matrix(tree, near + 1e-9).tocsr()
    linked.data[:] = 1  # of distance 0 too
    _, numbers = connected_components(linked, directed=False)
    names = [truth.place or int(number) for truth, number in zip(truths, numbers, strict=True)]
    order = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return [order[name] for name in names]


def metres_between(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Between two places (lon, lat) in degrees, in a straight line."""
    one, other = geocentric(np.array([a, b]))
    return math.dist(one, other)
