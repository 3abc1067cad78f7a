"""The true place in an answer: where it is marked, and how it ranks."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Transformer

from geoloc.errors import UsageError
from geoloc.query.truth import known_truth, true_point, with_truth
from geoloc.report.evidence import evidence
from tests.report_sample import GRID, HOSTILE, heatmap, sample


def degrees(row: int, col: int) -> tuple[float, float]:
    lon, lat = Transformer.from_crs(GRID.crs, 4326, always_xy=True).transform(
        *GRID.center(row, col)
    )
    return lat, lon


def test_truth_ranks_as_a_naive_count_does() -> None:
    marked = with_truth(sample(), degrees(60, 40))
    values = heatmap()
    naive = 100 * np.sum(values <= values[60, 40]) / np.sum(np.isfinite(values))
    assert marked.truth == degrees(60, 40)
    record = evidence(marked)["truth"]
    assert record["lat"] == pytest.approx(50.55, abs=0.01)
    assert record["lon"] == pytest.approx(30.19, abs=0.01)
    assert record["percentile"] == pytest.approx(naive)


def test_truth_by_file_name_is_that_of_the_photo() -> None:
    assert with_truth(sample(), {"other.jpg": (50.0, 30.0)}).truth is None
    name = sample().photos[0].path.name
    assert with_truth(sample(), {name: (50.0, 30.0)}).truth == (50.0, 30.0)
    assert HOSTILE.split("/")[0] in name


@pytest.mark.parametrize("place", [degrees(85, 5), (51.0, 31.0), (-80.0, -150.0)])
def test_truth_on_no_known_cell_has_no_percentile(place: tuple[float, float]) -> None:
    marked = with_truth(sample(), place)
    assert marked.truth == place
    assert evidence(marked)["truth"]["percentile"] is None


@pytest.mark.parametrize("text", ["50.5576,30.1933", "30.1933,50.5576", "50.5576N 30.1933E"])
def test_truth_as_text_is_the_place_in_the_area(text: str) -> None:
    assert known_truth(text, GRID) == (50.5576, 30.1933)


def test_truth_outside_of_the_area_is_latitude_first() -> None:
    assert known_truth("10.5,20.5", GRID) == (10.5, 20.5)
    with pytest.raises(UsageError, match="write LAT,LON"):
        known_truth("somewhere", GRID)


def test_a_point_that_the_crs_does_not_reach_is_none() -> None:
    assert true_point(GRID, 50.5, 30.2) == pytest.approx((300_700, 5_598_200), abs=3000)
    assert true_point(GRID, 0.0, 123.0) is None or abs(true_point(GRID, 0.0, 123.0)[0]) > 1e6  # type: ignore[index]
