"""Paired differences of two stored evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.errors import UsageError
from geoloc.evaluation.comparing import compare

RNG = np.random.default_rng(3)
RANKS = RNG.integers(1, 900, 80)


def stored(path: Path, ranks: Any, kind: str = "cube", first: int = 0) -> Path:
    items = [
        {"photo": f"{n}.jpg", "group": n, "rank": int(rank), "cells": 1000}
        for n, rank in enumerate(ranks, start=first)
    ]
    path.mkdir()
    told = {"format": "geoloc-evaluation/1", "kind": kind, "items": items}
    (path / "evaluation.json").write_text(json.dumps(told))
    return path


def test_the_difference_is_paired_and_surer_than_either_figure(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", RANKS)
    b = stored(tmp_path / "b", [*np.maximum(RANKS - 20, 1), 5])
    found = compare(a, b)
    first, second, difference = found.figures["mean_percentile"]
    assert (first, second) == pytest.approx(
        (RANKS.mean() / 10, np.maximum(RANKS - 20, 1).mean() / 10)
    )
    assert difference.value == pytest.approx(second - first)
    assert difference.low < difference.value < difference.high < 0
    assert difference.high - difference.low < 0.5  # the ranks themselves spread by 90
    assert (found.photos, found.only) == (80, (0, 1))
    same = compare(a, a / "evaluation.json").to_json()["differences"]["top10pct"]["difference"]
    assert same == {"value": 0, "ci": [0, 0]}


def test_feedback_is_named_by_side(tmp_path: Path) -> None:
    a, b = stored(tmp_path / "a", RANKS), stored(tmp_path / "b", RANKS)
    file = b / "evaluation.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "feedback": True}))
    found = compare(a, b)
    assert found.feedback == (False, True)
    assert (found.to_json()["feedback_a"], found.to_json()["feedback_b"]) == (False, True)


def test_class_folders_are_averaged_over_classes(tmp_path: Path) -> None:
    for name, aps in (("a", (0.2, 0.4, 0.9)), ("b", (0.3, 0.5, 0.7))):
        (tmp_path / name).mkdir()
        items = [{"photo": f"{n}", "group": "xxy"[n], "ap": ap, "top1pct": 0}
                 for n, ap in enumerate(aps)]  # fmt: skip
        told = {"format": "geoloc-evaluation/1", "kind": "classes", "items": items}
        (tmp_path / name / "evaluation.json").write_text(json.dumps(told))
    found = compare(tmp_path / "a", tmp_path / "b").figures["map"]
    assert found[:2] == pytest.approx((0.6, 0.55)) and found[2].value == pytest.approx(-0.05)


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    a, other = stored(tmp_path / "a", RANKS), stored(tmp_path / "o", RANKS, first=200)
    pairs = stored(tmp_path / "p", RANKS, kind="pairs")
    (tmp_path / "bad.json").write_text('{"format": "geoloc-evaluation/1", "kind": "cube"}')
    for b, words in (
        (other, "no photo in common"),
        (pairs, "one kind"),
        (tmp_path / "nowhere", "cannot be read"),
        (tmp_path / "bad.json", "not an evaluation"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            compare(a, b)
        assert "\n" not in str(caught.value)
