"""How often the true region can be found at all by what a photo shows, in a country of the sandbox.

    python -m geoloc.sandbox.country.limits --seeds 101-102

Photos are taken at sites of a kind, each as likely as any other (`photos.SITES`). Who knew the
kind of site beyond doubt, and how many there are in each region, would look in the regions with
most of them first: no ranking of regions by the kind of scene finds more than that.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from ...domain import Grid, Regions
from .photos import SITES, targets_of
from .plan import Plan, make_plan

F64 = NDArray[np.float64]

REGION_M = 25_000.0
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3)
"""Of the regions: where the part of the photos is given whose region is among them."""


def site_shares(plan: Plan, size: float = REGION_M) -> dict[str, F64]:
    """Which part of the sites of each kind lies in each region, the largest first ``(region,)``.

    Regions of ``size`` m that hold some of the country; kinds without any site are left out.
    """
    border = shapely.Polygon(plan.ring)
    regions = Regions(_cover(plan.ring, size, plan.crs), plan.crs, border)
    known = int(np.count_nonzero(regions.is_region))
    told = {}
    for site in SITES:
        at = regions.index(targets_of(plan, site))
        counts = np.bincount(at[at >= 0], minlength=regions.count)
        if counts.sum():
            told[site] = np.sort(counts / counts.sum())[::-1][:known]
    return told


def best_recall(shares: Mapping[str, F64], of: Sequence[float] = SHARES) -> dict[str, F64]:
    """Part of the photos ``(share,)`` of each kind whose region is among these shares of all."""
    return {
        site: np.array([found[: int(share * len(found))].sum() for share in of])
        for site, found in shares.items()
    }


def best_flagged(shares: Mapping[str, F64], share: float) -> float:
    """Part of the photos, each kind as often as any other, whose region is flagged, if a mean
    ``share`` of the regions may be: many for common kinds, few for others, as is best."""
    every = np.sort(np.concatenate(list(shares.values())))[::-1]
    return float(every[: int(share * len(every))].sum() / len(shares))


def _cover(ring: F64, size: float, crs: str) -> Grid:
    (left, bottom), (right, top) = ring.min(axis=0), ring.max(axis=0)
    low, high = np.floor(np.array([left, bottom]) / size), np.ceil(np.array([right, top]) / size)
    nx, ny = (high - low).astype(int).tolist()
    return Grid(crs, float(low[0] * size), float(high[1] * size), size, ny, nx)


def report(seed: int, km: float) -> str:
    """A table for one country, percentages."""
    shares = site_shares(make_plan(seed, km))
    recall = best_recall(shares)
    head = " ".join(f"{100 * share:5.0f}%" for share in SHARES)
    rows = {**recall, "all kinds alike": np.mean(list(recall.values()), axis=0)}
    rows["as is best for each kind"] = np.array([best_flagged(shares, share) for share in SHARES])
    lines = [f"{name:28s} " + " ".join(f"{100 * x:5.1f} " for x in row)
             for name, row in rows.items()]  # fmt: skip
    return "\n".join([f"country {seed}, best regions:     {head}", *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m geoloc.sandbox.country.limits")
    parser.add_argument("--seeds", default="101-102", help="as 7 or 101-102")
    parser.add_argument("--km", type=float, default=200.0)
    given = parser.parse_args(arguments)
    first, _, last = given.seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        print(report(seed, given.km), flush=True)


if __name__ == "__main__":
    main()
