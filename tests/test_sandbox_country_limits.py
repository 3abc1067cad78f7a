"""What can be found at most by the kind of scene: by hand, and of a small country."""

from __future__ import annotations

import numpy as np
import pytest

from geoloc.sandbox.country.limits import best_flagged, best_recall, report, site_shares
from geoloc.sandbox.country.photos import targets_of
from geoloc.sandbox.country.plan import make_plan

SHARES = {"rare": np.array([1.0, 0, 0, 0]), "common": np.array([0.4, 0.3, 0.2, 0.1])}


def test_the_best_regions_are_those_with_most_sites() -> None:
    found = best_recall(SHARES, (0.25, 0.5))
    assert found["rare"].tolist() == [1, 1]
    assert found["common"] == pytest.approx([0.4, 0.7])


def test_flags_go_where_they_find_most() -> None:
    """Of eight regions of the two kinds two: all of the rare kind, 40 % of the common one."""
    assert best_flagged(SHARES, 0.25) == pytest.approx((1 + 0.4) / 2)
    assert best_flagged(SHARES, 1) == pytest.approx(1)


def test_shares_of_a_country_are_of_all_its_sites() -> None:
    plan = make_plan(3, 14.0)
    shares = site_shares(plan, 4000.0)
    assert {"village", "forest-broadleaf"} <= set(shares)
    assert all(len(targets_of(plan, site)) for site in shares)
    lengths = {len(found) for found in shares.values()}
    assert len(lengths) == 1 and 9 <= lengths.pop() <= 25
    for found in shares.values():
        assert found.sum() == pytest.approx(1) and (np.diff(found) <= 0).all()


def test_the_report_has_a_row_for_each_kind() -> None:
    text = report(3, 14.0)
    assert text.startswith("country 3") and "all kinds alike" in text and "village" in text
