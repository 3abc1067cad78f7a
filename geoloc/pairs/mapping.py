"""What was found of pairs, as files: where they lie, by split, for people and for a GIS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..arrays import I64
from ..errors import OutputError
from ..files.whole import whole_file, write_whole
from .checking import Checked
from .splitting import SPLITS

MAP, POINTS, REPORT = "map.png", "pairs.geojson", "check.json"
_COLOURS = {"train": "#4c78a8", "valid": "#f2a900", "test": "#54a24b"}
_WRONG = "#d62728"
_WIDE = 30.0  # degrees of latitude: nearer the poles maps are not drawn wider


def write_check(checked: Checked, folder: Path) -> None:
    """``check.json``; ``map.png`` and ``pairs.geojson`` of the pairs whose place is known.

    Raises OutputError where the folder cannot be written.
    """
    placed = np.flatnonzero(np.isfinite(checked.lonlat).all(axis=1))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _draw(checked, placed, folder / MAP)
        _write_points(checked, placed, folder / POINTS)
        write_whole(folder / REPORT, json.dumps(checked.to_json(), indent=1) + "\n")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from None


def _draw(checked: Checked, placed: I64, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    lon, lat = checked.lonlat[placed].T
    splits, wrong = checked.splits[placed], checked.wrong[placed]
    size = 9 if len(placed) > 1000 else 25
    for number, name in enumerate(SPLITS):
        here = splits == number
        if here.any():
            axes.scatter(
                lon[here], lat[here], s=size, color=_COLOURS[name], label=f"{name}: {here.sum():,}",
                linewidths=0, rasterized=True,
            )  # fmt: skip
    if wrong.any():
        axes.scatter(
            lon[wrong], lat[wrong], s=50, facecolors="none", edgecolors=_WRONG, linewidths=1.2,
            label=f"wrong: {wrong.sum():,}",
        )  # fmt: skip
    if len(placed):
        middle = np.clip(np.median(lat), -90 + _WIDE, 90 - _WIDE)
        axes.set_aspect(1 / np.cos(np.radians(middle)), adjustable="datalim")
        axes.legend(loc="best", fontsize=8)
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    axes.set_title(f"{len(placed):,} of {checked.count:,} pairs have a place", fontsize=10)
    with whole_file(path) as part:
        figure.savefig(part)


def _write_points(checked: Checked, placed: I64, path: Path) -> None:
    """A FeatureCollection, one point a line, as there may be millions."""
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, row in enumerate(placed.tolist()):
            file.write(",\n" if number else "\n")
            lon, lat = (round(float(value), 7) for value in checked.lonlat[row])
            feature = {
                "type": "Feature",
                "properties": {
                    "split": SPLITS[checked.splits[row]],
                    "wrong": bool(checked.wrong[row]),
                    "pair": row,
                },
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
            }
            file.write(json.dumps(feature))
        file.write("\n]}\n")
