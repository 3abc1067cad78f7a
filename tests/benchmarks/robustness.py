"""What it costs to ask with photos that are upside down, of other colours, or small.

    geoloc sandbox DIR --seed 3001 --km 1 --photos 20
    python -m tests.benchmarks.robustness DIR/area.yaml … [--model MODEL]

Each alteration of the photos of all areas is asked of their cubes, as a user's files would be; rows
of a table: the percentile of the true cell, with intervals over photos, and its mean change.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from geoloc.area import load_area
from geoloc.evaluation.bootstrap import figures, mean_figure
from geoloc.evaluation.ranks import MiddlePercentile, Placement, Ranks, TopPercent
from geoloc.jobs.build import build_cube
from geoloc.photos import read_photo
from geoloc.query.evaluating import evaluate_truth

from .train_recipes import of_model

METRICS = (MiddlePercentile(median=True), TopPercent(1), TopPercent(10))
Pixels = np.ndarray


def _small(photo: Pixels) -> Pixels:
    image = Image.fromarray(photo)
    image.thumbnail((160, 160))
    return np.asarray(image)


ALTERED: Mapping[str, Callable[[Pixels], Pixels]] = {
    "as they are": lambda photo: photo,
    "mirrored": lambda photo: photo[:, ::-1],
    "upside down": lambda photo: photo[::-1, ::-1],
    "red and blue swapped": lambda photo: photo[..., ::-1],
    "colours rotated": lambda photo: np.roll(photo, 1, axis=2),
    "160 px": _small,
}


def altered(area: Path, alter: Callable[[Pixels], Pixels], folder: Path) -> Path:
    """Altered copies of an area's photos, losslessly, with their truth file."""
    source = area.parent / "photos"
    with (source / "truth.csv").open(newline="") as file:
        rows = [(row["file"], row["lon"], row["lat"]) for row in csv.DictReader(file)]
    names = [f"{number}.png" for number in range(len(rows))]
    for name, (file, *_) in zip(names, rows, strict=True):
        pixels = alter(read_photo(source / file).pixels)
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    with (folder / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("file", "lon", "lat"), *((n, *row[1:]) for n, row in zip(names, rows, strict=True))]
        )
    return folder / "truth.csv"


def placements(areas: Sequence[Path], name: str, model: str | None) -> list[Placement | None]:
    """Of all photos of all areas, so altered; the cube of another model is built beside."""
    found: list[Placement | None] = []
    for path in areas:
        own = path if model is None else of_model(path, model)
        build_cube(load_area(own), cluster="inline").raise_if_incomplete()
        with tempfile.TemporaryDirectory() as folder:
            truth = altered(path, ALTERED[name], Path(folder))
            found += [score.placement for score in evaluate_truth(str(own), truth).scores]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.robustness")
    parser.add_argument("areas", type=Path, nargs="+", metavar="AREA.yaml")
    parser.add_argument("--model", help="default: that of the areas, whose cubes are there")
    parser.add_argument("--only", nargs="+", choices=list(ALTERED), default=list(ALTERED))
    chosen = parser.parse_args()
    print("| photos | median percentile | best 1 % | best 10 % | mean change |")
    print("|---|---|---|---|---|")
    first: list[Placement | None] = []
    for name in chosen.only:
        found = placements(chosen.areas, name, chosen.model)
        first = first or found
        both = [(a, b) for a, b in zip(first, found, strict=True) if a and b]
        columns = figures(METRICS, Ranks.of_placements(b for _, b in both))
        change = mean_figure(np.array([b.percentile - a.percentile for a, b in both]))
        cells = [f"{f.value:.1f} [{f.low:.1f}, {f.high:.1f}]" for f in (*columns.values(), change)]
        print(f"| {name} ({len(both)}) | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
