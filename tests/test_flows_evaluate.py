"""The flow on an area of several models, without a server; its runs are in test_flows.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prefect")

from flows import artifacts
from flows import evaluate as module
from geoloc.query.tandem import evaluate_tandem, open_tandem
from tests.tandem_place import NAMES, World, write_world


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
    told = module.evaluate.fn(area, str(truth))
    assert told == evaluate_tandem(open_tandem([area]), truth).to_json()
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
