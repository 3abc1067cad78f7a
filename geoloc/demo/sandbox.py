"""The whole job on the sandbox world: imagery, cube, photos, answers, and how good they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..area import load_area
from ..evaluation import read_truth
from ..files.whole import write_whole
from ..jobs.build import build_cube
from ..progress import Stages, silent
from ..query import query_photos
from ..query.evaluating import score
from ..query.scores import Evaluation
from ..sandbox.write import write_sandbox

SEED = 7
"""A world that the shipped model was not trained on (see `geoloc.sandbox.recipe`)."""


@dataclass(frozen=True)
class Demo:
    """What a demo run gave; figures of photos as in `Evaluation`."""

    cells: int
    build_seconds: float
    evaluation: Evaluation
    answers: Path

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        seconds = round(self.build_seconds, 2)
        return {"cells": self.cells, "build_seconds": seconds, **self.evaluation.to_json()}


def run_demo(
    out: str | Path,
    *,
    seed: int = SEED,
    km: float = 3.0,
    photos: int = 40,
    progress: Stages = silent,
) -> Demo:
    """Write a world to ``out``, build its cube, answer its photos, and score the answers.

    ``progress`` gives, for the name of a stage, what is called with how far the stage has come.
    Raises OutputError where ``out`` cannot be written. What is there already is kept: a cube
    that is complete is not built again.
    """
    out = Path(out)
    write_sandbox(out, seed=seed, km=km, photos=photos, stages=progress)
    area = load_area(out / "area.yaml")
    report = build_cube(area, progress=progress("encoding the imagery"))
    report.raise_if_incomplete()
    truths = read_truth(out / "photos" / "truth.csv")
    paths = [out / "photos" / truth.file for truth in truths]
    places = {truth.file: (truth.lat, truth.lon) for truth in truths}
    answers = query_photos(
        out / "area.yaml", paths, out / "answers", truth=places, progress=progress
    )
    evaluation = Evaluation(tuple(score(answers.results, truths)), answers.failures)
    demo = Demo(report.cells, report.seconds, evaluation, out / "answers")
    write_whole(out / "demo.json", json.dumps(demo.to_json(), indent=1))
    return demo
