"""The flow on an area of several models, without a server; its runs are in test_flows.py."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prefect")

from flows import artifacts
from flows import evaluate as module
from geoloc.progress import silent
from geoloc.query import evaluate_truth
from geoloc.query.options import QueryOptions, Use
from geoloc.query.tandem import evaluate_tandem, open_tandem
from tests.tandem_place import NAMES, World, write_world

SIDE = 300.0  # m of a region


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))


def test_several_models_are_scored_alone_and_together(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are those of the command; the tables show each model's."""
    area, truth = str(world.area(tmp_path)), world.folder / "truth.csv"
    shown: dict[str, list[dict[str, Any]]] = {}
    monkeypatch.setattr(
        artifacts, "create_table_artifact", lambda rows, key, **_: shown.update({key: rows})
    )
    monkeypatch.setattr(module, "progress", lambda *_, **__: lambda _done, _total: None)
    monkeypatch.setattr(module, "score_together", module.score_together.fn)
    told = module.evaluate.fn(area, str(truth), SIDE)
    options = QueryOptions.of(Use.QUERY, regions=SIDE)
    assert told == evaluate_tandem(open_tandem([area], options=options), truth).to_json()
    for ranking, found in told["regions"].items():
        own = {row["ranked by"]: row for row in shown[f"evaluation-regions-{ranking}"]}
        assert set(own) == set(found["methods"]) and {*NAMES, "tandem"} <= set(own)
    rows = {row["ranked by"]: row for row in shown["evaluation"]}
    assert {*NAMES, "tandem"} <= set(rows)
    median = told["methods"]["tandem"]["median_percentile"]
    low, high = (f"{bound:.3g}" for bound in median["ci"])
    assert rows["tandem"]["median_percentile"] == rf"{median['value']:.3g} \[{low}, {high}\]"
    assert "evaluation-left-out" not in shown
    (gain,) = shown["evaluation-gains"]
    assert gain["figure"] == "tandem: mean percentile"


def test_photos_that_were_not_ranked_are_shown(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, list[dict[str, Any]]] = {}
    monkeypatch.setattr(
        artifacts, "create_table_artifact", lambda rows, key, **_: shown.update({key: rows})
    )
    area, truth = str(world.area(tmp_path)), world.folder / "truth.csv"
    found = evaluate_tandem(open_tandem([area]), truth)
    artifacts.show_evaluation_of_models(replace(found, skipped=("a.png: outside",)))
    assert shown["evaluation-left-out"] == [{"left out": "a.png: outside"}]


def test_true_regions_of_one_model_are_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[dict[str, Any]]] = {}
    monkeypatch.setattr(
        artifacts, "create_table_artifact", lambda rows, key, **_: shown.update({key: rows})
    )
    monkeypatch.setenv("GEOLOC_MODELS", str(world.folder / "models"))
    monkeypatch.setattr(module, "score", module.score.fn)
    monkeypatch.setattr(module, "progress", silent)
    monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("evaluate"))
    truth = str(world.folder / "truth.csv")
    module.evaluate.fn(world.cubes[0], truth)
    assert "evaluation-regions" not in shown
    module.evaluate.fn(world.cubes[0], truth, SIDE)
    expected = evaluate_truth(world.cubes[0], truth, regions=SIDE).tables()["regions"]
    rows = {row.pop("ranked by"): row for row in shown["evaluation-regions"]}
    assert "minimum" in rows and set(rows) == set(expected)
    assert rows["minimum"].keys() == expected["minimum"].keys()
