"""Metrics of retrieval.

For a photo of a known place and a heatmap: the rank of the true cell (`place`, summarized by
`summarize`). For photos and a gallery of images of known class: whether the right class comes first
(`evaluate_classes`). Distances: lower is better, NaN is missing.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .search import Heatmap, standing

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """The rank (1 is best) of one photo's true cell among ``cells`` with a distance."""

    photo: str
    rank: float
    cells: int

    @property
    def percentile(self) -> float:
        """100 * rank / cells: lower is better, chance is 50."""
        return 100 * self.rank / self.cells

    def within(self, percent: float) -> bool:
        """Whether the true cell is among the best ``percent``."""
        return self.rank * 100 <= percent * self.cells


def place(
    photo: str,
    heatmap: Heatmap,
    cell: tuple[int, int],
    ties: Literal["worst", "middle"] = "worst",
) -> Placement | None:
    """The placement of a photo taken in ``cell`` of a heatmap ``(y, x)``; None if that is missing.

    Its rank is how many cells are at least as near. ``ties="worst"`` counts every equal cell, as
    the study does; "middle" counts half of the other equal ones, which is fair to a method with
    few distinct values.
    """
    value = float(heatmap[cell])
    if not math.isfinite(value):
        return None
    true = standing(heatmap, value)
    equal = true.equal if ties == "worst" else (true.equal + 1) / 2
    return Placement(photo, float(true.smaller + equal), true.known)


@dataclass(frozen=True)
class Summary:
    """Figures over many photos; ``top…``: percentage of photos, 0 to 100."""

    photos: int
    missing: int
    median_percentile: float
    mean_percentile: float
    top1pct: float
    top5pct: float
    top10pct: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.photos} photos: true cell at the {self.median_percentile:.1f}th percentile "
            f"(median; chance 50), in the best 1 % for {self.top1pct:.0f} %, "
            f"5 % for {self.top5pct:.0f} %, 10 % for {self.top10pct:.0f} %"
        )


def summarize(placements: Iterable[Placement | None]) -> Summary:
    """Median percentile and top-k figures; photos without a placement are counted as missing."""
    given = list(placements)
    placed = [placement for placement in given if placement is not None]
    percentiles = [placement.percentile for placement in placed] or [math.nan]

    def share(percent: float) -> float:
        return 100 * sum(p.within(percent) for p in placed) / len(placed) if placed else math.nan

    return Summary(
        photos=len(placed),
        missing=len(given) - len(placed),
        median_percentile=float(np.median(percentiles)),
        mean_percentile=float(np.mean(percentiles)),
        top1pct=share(1),
        top5pct=share(5),
        top10pct=share(10),
    )


@dataclass(frozen=True)
class Truth:
    """Where a photo was taken: its file name and degrees (WGS84)."""

    file: str
    lon: float
    lat: float


def read_truth(path: str | Path) -> tuple[Truth, ...]:
    """Rows of a truth file: a CSV with at least the columns file, lon, lat.

    Raises UsageError, naming the line, for anything else.
    """
    path = Path(path)
    line = 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            truths = []
            for row in reader:
                line = reader.line_num
                truths.append(Truth(row["file"], float(row["lon"]), float(row["lat"])))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot read this truth file ({error})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}:{line}: needs file, lon, lat (degrees) in every row") from error
    return tuple(truths)


def average_precision(distances: Floats, relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean precision at each relevant item ``(query,)``, 0 to 1; NaN if nothing is relevant.

    ``distances`` ``(query, item)``; ``relevant``: of that shape.
    """
    order = np.argsort(distances, axis=1, kind="stable")
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    total = hits.sum(axis=1)
    sums = (precision * hits).sum(axis=1)
    result: NDArray[np.float64] = np.full(len(sums), np.nan)
    np.divide(sums, total, out=result, where=total > 0)
    return result


def precision_at_best(distances: Floats, relevant: NDArray[np.bool_], percent: float) -> float:
    """Share of relevant items among the best ``percent`` of the gallery (at least one item)."""
    count = max(1, math.ceil(distances.shape[1] * percent / 100))
    best = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return float(np.take_along_axis(relevant, best, axis=1).mean())


@dataclass(frozen=True)
class ClassRetrieval:
    """Figures of retrieving overhead images of the right class for photos."""

    queries: int
    gallery: int
    mean_average_precision: float
    precision_best1pct: float
    chance: float

    def __str__(self) -> str:
        return (
            f"{self.queries} photos against {self.gallery} images: mean average precision "
            f"{self.mean_average_precision:.3f}, right in the best 1 % "
            f"{100 * self.precision_best1pct:.1f} % (chance {self.chance:.3f})"
        )


def evaluate_classes(distances: Floats, relevant: NDArray[np.bool_]) -> ClassRetrieval:
    """The figures of class retrieval from distances ``(query, item)``; chance is the base rate."""
    return ClassRetrieval(
        queries=distances.shape[0],
        gallery=distances.shape[1],
        mean_average_precision=float(np.nanmean(average_precision(distances, relevant))),
        precision_best1pct=precision_at_best(distances, relevant, 1.0),
        chance=float(relevant.mean()),
    )
