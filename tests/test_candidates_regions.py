"""Good regions and their ranking, against the rule and against what chance does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.candidates.regions import (
    RankedRegions,
    good_regions,
    nearest_kept,
    place_recall,
    places_kept,
    region_areas,
    scores,
)
from geoloc.domain import Grid, Points, Regions
from geoloc.ranking import Ranking
from geoloc.search import MOST_NEAREST, RegionMin, RegionMinima

CRS = "EPSG:32636"


def minima_of(domain: Any, layout: Regions, distances: NDArray[np.float32]) -> RegionMinima:
    """What one map found, with what every ranking needs."""
    nearest = nearest_kept(Ranking.NEAREST, layout, domain.size)
    kept = RegionMin.of(layout, 1, places_kept(Ranking.QUANTILE), nearest)
    for chunk in domain.chunks():
        kept.add(chunk, distances[None][:, *chunk.slices])
    return kept.result()[0]


def row_of_regions(counts: list[int], distances: NDArray[np.float32]) -> tuple[Any, RegionMinima]:
    """Regions from west to east with so many points each."""
    x = np.repeat(np.arange(len(counts)) * 1000.0, counts) + 300_500
    points = Points(CRS, np.stack([x, np.full(len(x), 5_500_500.0)], axis=1))
    return points, minima_of(points, Regions.of(points, 1000), distances)


@given(st.lists(st.one_of(st.just(float("nan")), st.floats(0.01, 100)), min_size=1, max_size=30))
def test_good_regions_are_those_of_the_rule(values: list[float]) -> None:
    score = np.array(values)
    known = score[np.isfinite(score)]
    good = good_regions(score)
    for value, flag in zip(values, good, strict=True):
        limit = known.min() + 0.1 * (known.max() - known.min()) if len(known) else -np.inf
        assert flag == (value <= limit)
    assert good.any() == bool(len(known))


def test_with_as_many_points_everywhere_the_correction_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    values = rng.gamma(4, 1, 40 * 25).astype(np.float32)
    _, minima = row_of_regions([25] * 40, values)
    corrected = scores(minima, Ranking.CORRECTED)
    np.testing.assert_allclose(corrected, minima.best, rtol=1e-5)


def test_the_nearest_places_count_and_not_one_alone() -> None:
    """Of 10 points a region two are kept: the mean of these, whatever the others are."""
    values = np.array([1.0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 3, 2, 8, 8, 8, 8, 8, 8, 8, 8], np.float32)
    points, minima = row_of_regions([10, 10], values)
    assert minima.nearest is not None and minima.nearest.shape == (2, 2)
    assert scores(minima, Ranking.NEAREST).tolist() == [5.0, 2.5]
    ranked = RankedRegions.of(minima, points, Ranking.NEAREST)
    assert ranked.order.tolist() == [1, 0] and ranked.good.tolist() == [False, True]
    assert RankedRegions.of(minima, points).order.tolist() == [0, 1]


def test_how_many_nearest_places_are_kept_follows_the_points_of_a_region() -> None:
    points = Points(CRS, np.random.default_rng(1).uniform((3e5, 5.5e6), (3.4e5, 5.51e6), (200, 2)))
    layout = Regions.of(points, 10_000)
    assert nearest_kept(Ranking.NEAREST, layout, 50 * layout.count) == 10
    assert nearest_kept(Ranking.NEAREST, layout, 10**9) == MOST_NEAREST
    assert nearest_kept(Ranking.NEAREST, layout, 1) == 2
    assert [nearest_kept(one, layout, 9999) for one in Ranking if one is not Ranking.NEAREST] == [
        0, 0, 0
    ]  # fmt: skip


def test_a_region_with_few_or_no_known_points_has_the_mean_of_those_or_none() -> None:
    values = np.array([np.nan, np.nan, 4.0, np.nan, 1.0, 2.0], np.float32)
    points, minima = row_of_regions([2, 2, 2], values)
    assert scores(minima, Ranking.NEAREST).tolist()[1:] == [4.0, 1.5]
    ranked = RankedRegions.of(minima, points, Ranking.NEAREST)
    assert ranked.rank.tolist() == [0, 2, 1] and ranked.order.tolist() == [2, 1]


def test_the_correction_takes_away_what_chance_gives_to_many_points() -> None:
    """All points are drawn alike: by the minimum the crowded regions come first, corrected not."""
    rng = np.random.default_rng(4)
    counts = [400] * 20 + [20] * 20
    crowded = np.array(counts) == 400
    shares = {ranking: [] for ranking in Ranking}
    for _ in range(12):
        values = rng.normal(10, 1, sum(counts)).astype(np.float32)
        points, minima = row_of_regions(counts, values)
        for ranking in Ranking:
            ranked = RankedRegions.of(minima, points, ranking)
            shares[ranking].append(crowded[ranked.order[:20]].mean())
    found = {ranking: float(np.mean(share)) for ranking, share in shares.items()}
    assert found[Ranking.MINIMUM] > 0.8
    assert found[Ranking.CORRECTED] == pytest.approx(0.5, abs=0.12)
    assert found[Ranking.QUANTILE] == pytest.approx(0.5, abs=0.15)


def test_the_quantile_of_many_points_is_as_near_as_is_said() -> None:
    """Of 32 uniform draws what is told as a tenth has a share of 0.124 below it on average."""
    regions, each = 600, 500
    distances = np.random.default_rng(4).gamma(9, 1, regions * each).astype(np.float32)
    _, minima = row_of_regions([each] * regions, distances)
    told = scores(minima, Ranking.QUANTILE)
    below = (distances.reshape(regions, each) <= told[:, None]).mean(axis=1)
    assert below.mean() == pytest.approx(0.124, abs=0.008)
    assert np.mean((below >= 0.045) & (below <= 0.23)) == pytest.approx(0.9, abs=0.03)


def test_the_quantile_of_few_points_is_that_of_all() -> None:
    values = np.array([5, 4, 3, 2, 9, 8], np.float32)
    _, minima = row_of_regions([4, 2], values)
    expected = [np.quantile([5, 4, 3, 2], 0.1), np.quantile([9, 8], 0.1)]
    np.testing.assert_allclose(scores(minima, Ranking.QUANTILE), expected)


def test_regions_are_ranked_and_told() -> None:
    grid = Grid(CRS, 300_000.0, 5_600_000.0, 10.0, 6, 9)
    y, x = np.mgrid[0:6, 0:9]
    values = (1 + np.hypot(y - 1, x - 7)).astype(np.float32)
    values[:3, :3] = np.nan
    ranked = RankedRegions.of(minima_of(grid, Regions.of(grid, 30), values), grid)
    assert ranked.order[0] == 2 and ranked.rank[0] == 0 and sorted(ranked.rank) == list(range(6))
    told = ranked.record(2)
    assert (told["rank"], told["good"], told["distance"], told["second"]) == (1, True, 1.0, 2.0)
    assert told["count"] == 9 and tuple(ranked.xy[2]) == grid.center(1, 7)
    assert ranked.region_of(told["lon"], told["lat"]) == 2
    assert ranked.region_of(0.0, 0.0) is None
    record = ranked.to_json()
    assert (record["regions"], record["unknown"], record["points"]) == (5, 1, 45)
    assert record["good_regions"][0] == told and record["size"] == 30
    assert np.isnan(ranked.raster(ranked.rank)).sum() == 1
    first = ranked.candidates(2)[0]
    assert (first.rank, first.row, first.col, first.point) == (1, 0, 2, 1 * 9 + 7)
    assert region_areas(ranked, ranked.candidates(2))[0].km2 == pytest.approx(0.0009)


def test_of_one_region_that_one_is_good_and_of_none_none() -> None:
    points, minima = row_of_regions([3], np.array([3, 1, 2], np.float32))
    ranked = RankedRegions.of(minima, points)
    assert ranked.good.tolist() == [True] and ranked.to_json()["good_share"] == 1
    for ranking in Ranking:
        points, minima = row_of_regions([2, 2], np.full(4, np.nan, np.float32))
        ranked = RankedRegions.of(minima, points, ranking)
        assert not ranked.good.any() and ranked.candidates(3) == []
        assert ranked.to_json()["good_share"] == 0


def test_large_places_in_good_regions_are_counted() -> None:
    points, minima = row_of_regions([2] * 5, np.array([1, 9, 1.1, 9, 5, 9, 6, 9, 7, 9], np.float32))
    ranked = RankedRegions.of(minima, points)
    assert ranked.good.tolist() == [True, True, False, False, False]
    lonlat = np.concatenate([ranked.lonlat[[0, 0, 2, 3, 4]], [[0.0, 0.0]]])
    names = ["Small", "Large", "Missed", "Unknown", "Larger", "Abroad"]
    people = np.array([10, 500, 800, np.nan, 100, 1000], float)
    told = place_recall(ranked, names, people, lonlat, above=100)
    assert (told.found, told.missed, told.elsewhere) == (("Large",), ("Missed",), 1)
    assert (told.recall, told.precision, told.share) == (0.5, 0.5, 0.4)
    nobody = place_recall(ranked, names, people, lonlat, above=1e9)
    assert nobody.recall is None and nobody.to_json()["places"] == 0
