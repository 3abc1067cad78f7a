"""Good regions: where in a country to look first, by the best distance of each region.

The study's rule: a region is good where ``d <= best + 0.1 (worst - best)``, over the regions'
smallest distances. A single place decides over a region then, however little it is like the rest
of it, and regions with many points come first whatever they are like: of more draws the smallest
is smaller. So other scores can be ranked by in its place:

- ``nearest``: the mean of a region's k smallest distances, k a fifth of the usual number of points
  of a region: how many places there are like the photo, not only how good the best one is.
- ``quantile``: the distance below which a tenth of a region's points lie, which does not depend
  on how many there are, but takes no notice of a single place that fits. In regions of more than
  32 points it is estimated from 32 of them, drawn alike for all photos: what is told as a tenth
  is the distance below which 12 % of the points lie on average, and between 4.5 % and 23 % in nine
  regions of ten (of uniform order statistics). Two regions whose tenths are nearer than that may
  change places.
- ``corrected``: the smallest distance of n points, as it would be of the usual number of points.
  With F the distribution of the distances of all points, ``p = 1 - (1 - F(d))^n`` is the chance
  that n points drawn anywhere come so near; the score is the d' that has the same p with the
  median number of points: ``F(d') = 1 - (1 - F(d))^(n / median)``.

Measured on two sandbox countries (seeds 31 and 32, 3,000 points and 50 photos each): the true
region is good for 26 % of the photos by the minimum, where 11.5 % of the regions are good, 39 %
(12.9 %) by the nearest, 15 % (7.4 %) by the quantile, 11 % (6.7 %) corrected; it is among the best
15 % of the regions for 31, 43, 35 and 23 %. Who knew the kind of scene for sure would find 49 to
54 % there (`geoloc.sandbox.country.limits`). On two countries that nothing was chosen on (101 and
102): 20 % (9.1 %), 32 % (12.2 %), 14 % (7.2 %) and 9 % (5.8 %); 32, 39, 27 and 23 %, of at most 57.
Photos are taken where roads are, as points are drawn: what a correction takes from crowded regions
was likely. The minimum stays the default, as it is the study's; ``nearest`` is the one to use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import MultiPolygon

from ..arrays import F32, F64, I64, Bools
from ..domain import Domain, Regions
from ..ranking import Ranking
from ..search import MOST_NEAREST, SAMPLE, RegionMinima
from .areas import SearchArea
from .candidate import Candidate

GOOD_SHARE = 0.1
"""Of the way from the best to the worst region, as far as regions are good (the study's)."""

LOW_QUANTILE = 0.1
"""Of a region's points, where regions are ranked by a quantile."""


DISTANCE = "distance"
"""What the minima of regions are of, if nothing else is said."""

_OF_USUAL = 5  # one in so many of a usual region's points is among its nearest


def places_kept(ranking: Ranking) -> int:
    """How many places a scan has to keep that stand for each region, for a ranking."""
    return SAMPLE if ranking is Ranking.QUANTILE else 0


def nearest_kept(ranking: Ranking, layout: Regions, places: int) -> int:
    """How many smallest distances a scan of ``places`` has to keep of each region, for a ranking.

    The more, the less a single place decides: best was a third of a usual region's points to a
    tenth of them, at 5 to 50 points a region.
    """
    if ranking is not Ranking.NEAREST:
        return 0
    usual = places / max(int(np.count_nonzero(layout.is_region)), 1)
    return int(np.clip(round(usual / _OF_USUAL), 2, MOST_NEAREST))


def scores(minima: RegionMinima, ranking: Ranking = Ranking.MINIMUM) -> F64:
    """A distance of each region ``(region,)``, small is good, NaN where nothing is known."""
    if ranking is Ranking.QUANTILE:
        return _low_quantile(minima)
    if ranking is Ranking.CORRECTED:
        return _corrected(minima)
    if ranking is Ranking.NEAREST:
        return _mean_nearest(minima)
    return minima.best.astype(np.float64)


def _mean_nearest(minima: RegionMinima) -> F64:
    assert minima.nearest is not None, "a scan for the nearest places keeps their distances"
    mean, known = np.full(len(minima.best), np.nan), minima.count > 0
    mean[known] = np.nanmean(minima.nearest[known].astype(np.float64), axis=1)
    return mean


def _low_quantile(minima: RegionMinima) -> F64:
    assert minima.sample is not None, "a scan for quantiles keeps a sample of each region"
    quantile, known = np.full(len(minima.best), np.nan), minima.count > 0
    sample = minima.sample[known].astype(np.float64)
    quantile[known] = np.nanquantile(sample, LOW_QUANTILE, axis=1) if len(sample) else 0.0
    return quantile


def _corrected(minima: RegionMinima) -> F64:
    known = minima.count > 0
    corrected = np.full(len(minima.best), np.nan)
    if known.any():
        times = minima.count[known] / np.median(minima.count[known])
        with np.errstate(divide="ignore"):  # of the largest distance of all the log is -inf
            none_nearer = times * np.log1p(-minima.background.share(minima.best[known]))
        corrected[known] = minima.background.quantile(-np.expm1(none_nearer))
    return corrected


def good_regions(score: F64, share: float = GOOD_SHARE) -> Bools:
    """Which regions ``(region,)`` are good, by the study's rule on any score; NaN is not."""
    known = np.isfinite(score)
    if not known.any():
        return known
    low, high = float(score[known].min()), float(score[known].max())
    return known & (np.where(known, score, np.inf) <= low + share * (high - low))


@dataclass(frozen=True, eq=False)
class RankedRegions:
    """The regions of one answer, in the order of their layout ``(region,)``.

    score: what they are ranked by; rank: from 1, 0 where nothing is known; good: by the study's
    rule. xy: the best place of each in the layout's CRS, lonlat: in degrees, ``(region, 2)``,
    NaN where there is none. measure: what the minima are of.
    """

    minima: RegionMinima
    ranking: Ranking
    score: F64
    rank: I64
    good: Bools
    xy: F64
    lonlat: F64
    measure: str = DISTANCE

    @classmethod
    def of(
        cls, minima: RegionMinima, domain: Domain, ranking: Ranking = Ranking.MINIMUM
    ) -> RankedRegions:
        """Rank what one photo found; equal scores by their smallest distance, then in order."""
        score = scores(minima, ranking)
        order = np.lexsort((np.arange(len(score)), minima.best, score))
        known = np.isfinite(score)
        rank = np.zeros(len(score), np.int64)
        rank[order[: int(known.sum())]] = np.arange(1, int(known.sum()) + 1)
        xy = np.full((len(score), 2), np.nan)
        xy[known] = domain.centres(minima.index[known])
        good = good_regions(score)
        own, lonlat = (_moved(xy, domain.crs, to) for to in (minima.layout.grid.crs, "EPSG:4326"))
        return cls(minima, ranking, score, rank, good, own, lonlat)

    @property
    def best_name(self) -> str:
        """What files call the smallest distance, or what stands in its place."""
        return DISTANCE if self.measure == DISTANCE else f"best_{self.measure}"

    @property
    def words(self) -> str:
        """What the score of a region is, for people."""
        return self.ranking.words.replace(DISTANCE, self.measure)

    @property
    def layout(self) -> Regions:
        """Where the regions lie."""
        return self.minima.layout

    @cached_property
    def order(self) -> I64:
        """The known regions, the best first."""
        known = np.flatnonzero(self.rank)
        return np.asarray(known[np.argsort(self.rank[known])], np.int64)

    @property
    def best_good(self) -> I64:
        """The good regions, the best first."""
        return self.order[self.good[self.order]]

    def raster(self, values: NDArray[Any]) -> F32:
        """Values of the regions as float32 ``(y, x)``, NaN where nothing is known."""
        shown = np.where(self.rank > 0, values, np.nan).astype(np.float32)
        return shown.reshape(self.layout.grid.shape)

    def candidates(self, top: int) -> list[Candidate]:
        """The best places of the ``top`` best regions, in the regions' order."""
        return [self._candidate(int(region)) for region in self.order[:top]]

    def _candidate(self, region: int) -> Candidate:
        distance, background = float(self.minima.best[region]), self.minima.background
        known = max(background.total, 1)
        share = max(float(background.share(np.array(distance))), 1 / known)
        row, col = divmod(region, self.layout.grid.nx)
        x, y = self.xy[region].tolist()
        lon, lat = self.lonlat[region].tolist()
        return Candidate(
            int(self.rank[region]), row, col, x, y, lon, lat, distance, 100 * share,
            point=int(self.minima.index[region]),
        )  # fmt: skip

    def region_of(self, lon: float, lat: float) -> int | None:
        """The region that a place in degrees lies in; None outside of all."""
        region = self.regions_at(np.array([[lon, lat]]))[0]
        return None if region < 0 else int(region)

    def regions_at(self, lonlat: F64) -> NDArray[np.int32]:
        """The region ``(place,)`` of places in degrees ``(place, 2)``; -1 outside of all."""
        return Regions(self.layout.grid, "EPSG:4326", self.layout.polygon).index(lonlat)

    def record(self, region: int) -> dict[str, Any]:
        """What is reported of a region (JSON types)."""
        second = float(self.minima.second[region])
        lon, lat = self.lonlat[region].tolist()
        return {
            "rank": int(self.rank[region]),
            "good": bool(self.good[region]),
            self.best_name: float(self.minima.best[region]),
            "second": second if np.isfinite(second) else None,
            "score": float(self.score[region]),
            "count": int(self.minima.count[region]),
            "lon": round(lon, 7),
            "lat": round(lat, 7),
            "region": region,
        }

    def to_json(self) -> dict[str, Any]:
        """For machines: the layout, how many regions there are, and the good ones in order."""
        known = len(self.order)
        return {
            **self.layout.to_json(),
            "ranking": self.ranking.value,
            "regions": known,
            "unknown": int(np.count_nonzero(self.layout.is_region)) - known,
            "points": int(self.minima.count.sum()),
            "points_outside": self.minima.outside,
            "good": len(self.best_good),
            "good_share": len(self.best_good) / known if known else 0.0,
            "good_regions": [self.record(int(region)) for region in self.best_good],
        }


def region_areas(ranked: RankedRegions, candidates: Sequence[Candidate]) -> tuple[SearchArea, ...]:
    """The regions of the candidates as areas to search, one each."""
    nx = ranked.layout.grid.nx
    regions = np.array([c.row * nx + c.col for c in candidates], np.int64)
    outlines = ranked.layout.outline(regions)
    return tuple(
        SearchArea(
            c.rank, (c.rank,), int(ranked.minima.count[region]), shape.area / 1e6, c.lon, c.lat,
            shape if isinstance(shape, MultiPolygon) else MultiPolygon([shape]),
        )
        for c, region, shape in zip(candidates, regions, outlines, strict=True)
    )  # fmt: skip


def _moved(xy: F64, source: str, target: str) -> F64:
    if source == target:
        return xy.copy()
    moved = Transformer.from_crs(source, target, always_xy=True).transform(xy[:, 0], xy[:, 1])
    return np.where(np.isfinite(xy), np.stack(moved, axis=1), np.nan)


@dataclass(frozen=True)
class PlaceRecall:
    """How many named places lie in good regions.

    places: those with more people than ``above`` in a known region; found: their names that lie in
    good regions, the largest first, missed: the others. good_regions, regions: how many;
    good_with: how many good regions hold a place. elsewhere: places outside of all known regions.
    """

    above: float
    found: tuple[str, ...]
    missed: tuple[str, ...]
    good_regions: int
    good_with: int
    regions: int
    elsewhere: int

    @property
    def places(self) -> int:
        """How many places count."""
        return len(self.found) + len(self.missed)

    @property
    def recall(self) -> float | None:
        """The share of the places that lie in good regions; None without places."""
        return len(self.found) / self.places if self.places else None

    @property
    def precision(self) -> float | None:
        """The share of the good regions that hold such a place; None without good regions."""
        return self.good_with / self.good_regions if self.good_regions else None

    @property
    def share(self) -> float:
        """The share of the known regions that are good: what recall is worth less the larger."""
        return self.good_regions / self.regions if self.regions else 0.0

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "above": self.above,
            "places": self.places,
            "found": list(self.found),
            "missed": list(self.missed),
            "elsewhere": self.elsewhere,
            "recall": self.recall,
            "precision": self.precision,
            "good_share": self.share,
        }


def place_recall(
    ranked: RankedRegions, names: list[str], population: F64, lonlat: F64, above: float
) -> PlaceRecall:
    """Which places of more than ``above`` people lie in good regions.

    ``names``, ``population`` ``(place,)``, NaN for unknown, which does not count; ``lonlat``
    ``(place, 2)``, degrees.
    """
    with np.errstate(invalid="ignore"):
        large = np.flatnonzero(population > above)
    large = large[np.argsort(-population[large], kind="stable")]
    region = ranked.regions_at(lonlat[large])
    is_known = (region >= 0) & (ranked.rank[region] > 0)
    good = is_known & ranked.good[region]
    return PlaceRecall(
        above,
        tuple(names[i] for i in large[good]),
        tuple(names[i] for i in large[is_known & ~good]),
        len(ranked.best_good),
        len(np.unique(region[good])),
        len(ranked.order),
        int(np.count_nonzero(~is_known)),
    )
