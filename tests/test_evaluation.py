"""Metrics against their definitions, computed the slow way."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoloc.errors import UsageError
from geoloc.evaluation import (
    average_precision,
    evaluate_classes,
    place,
    precision_at_best,
    read_truth,
    summarize,
)

HEATMAPS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.one_of(st.integers(0, 4).map(float), st.just(math.nan)),
)


@given(HEATMAPS, st.data())
def test_rank_counts_the_distances_not_above_the_true_one(
    heatmap: np.ndarray, data: st.DataObject
) -> None:
    cell = tuple(data.draw(st.integers(0, side - 1)) for side in heatmap.shape)
    true = heatmap[cell]
    placed, middle = (place("photo", heatmap, cell, ties) for ties in ("worst", "middle"))
    if placed is None or middle is None:
        assert math.isnan(true) and placed is middle
        return
    values = [value for value in heatmap.ravel().tolist() if not math.isnan(value)]
    rank = sum(value <= true for value in values)
    assert (placed.rank, placed.cells) == (rank, len(values))
    assert placed.percentile == pytest.approx(100 * rank / len(values))
    best = 1 + sum(value < true for value in values)
    assert middle.rank == pytest.approx((best + rank) / 2)
    figures = summarize([placed]).as_dict()
    for k in (1, 5, 10):
        assert figures[f"top{k}pct"] == 100 * (rank * 100 <= k * len(values))


def test_the_best_percent_needs_a_whole_rank() -> None:
    heatmap = np.arange(200, dtype=np.float32).reshape(10, 20)
    second, third = (place("photo", heatmap, (0, col)) for col in (1, 2))
    assert summarize([second]).top1pct == 100  # rank 2 of 200
    assert summarize([third]).top1pct == 0


def test_photos_are_summed_up() -> None:
    heatmap = np.arange(100, dtype=np.float32).reshape(4, 25)
    heatmap[3, 24] = np.nan
    summary = summarize([place("a", heatmap, (1, 0)), place("b", heatmap, (3, 24)), None])
    assert (summary.photos, summary.missing) == (1, 2)
    assert summary.median_percentile == pytest.approx(100 * 26 / 99)
    assert (summary.top1pct, summary.top10pct) == (0, 0)
    assert "; 2 of 3 photos are not counted" in str(summary)
    assert str(summarize([None])).startswith("1 of 1 photos are not counted")
    assert math.isnan(summarize([]).top1pct) and str(summarize([])) == "no photos to count"


def test_average_precision_against_its_definition() -> None:
    rng = np.random.default_rng(5)
    distances = rng.random((7, 30)).astype(np.float32)
    relevant = rng.random((7, 30)) < 0.2
    relevant[0] = False
    expected = []
    for row, hits in zip(distances, relevant, strict=True):
        ranked = [bool(hits[i]) for i in np.argsort(row)]
        found = [sum(ranked[: n + 1]) / (n + 1) for n in range(30) if ranked[n]]
        if found:
            expected.append(sum(found) / len(found))
    precision = average_precision(distances, relevant)
    assert math.isnan(precision[0]) and precision[1:] == pytest.approx(expected)
    figures = evaluate_classes(distances, relevant)
    assert figures.mean_average_precision == pytest.approx(np.mean(expected))


def test_precision_at_best_counts_one_percent_of_the_gallery() -> None:
    distances = np.arange(300, dtype=np.float32)[None]
    relevant = np.zeros((1, 300), dtype=bool)
    relevant[0, [0, 2, 3]] = True
    assert precision_at_best(distances, relevant, 1) == pytest.approx(2 / 3)
    figures = evaluate_classes(distances, relevant)
    assert (figures.queries, figures.gallery, figures.chance) == (1, 300, 0.01)


def test_truth_is_read_or_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("file,lon,lat,heading\na.jpg,30.5,50.1,12\n")
    (row,) = read_truth(path)
    assert (row.file, row.lon, row.lat) == ("a.jpg", 30.5, 50.1)
    path.write_text("file,lon,lat\na.jpg,30.5,50.1\nb.jpg,east,50\n")
    with pytest.raises(UsageError, match=r"truth.csv:3"):
        read_truth(path)
    with pytest.raises(UsageError, match="nowhere"):
        read_truth(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbffile;lon;lat;stratum\r\na b.jpg;30.5;50.1;urban\r\n\r\n",
        b"Filename\tLatitude\tLongitude\tStratum\na b.jpg\t50.1\t30.5\turban\n",
        b"file , lon , lat , stratum\n a b.jpg , 30.5 , 50.1 , urban ,\n",
    ],
)
def test_truth_of_any_table_is_the_same(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes(content)
    (row,) = read_truth(path)
    assert (row.file, row.lon, row.lat, row.stratum) == ("a b.jpg", 30.5, 50.1, "urban")
