"""``evaluate``: how good a cube's answers are where it is known where the photos were taken."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger

from geoloc.query import Evaluation, evaluate_truth

from .artifacts import progress, show_evaluation
from .parameters import CubeRef, FilePath
from .running import run_name, say_why, stage


@flow(name="evaluate", flow_run_name=run_name("truth", "cube"), on_failure=[say_why])
def evaluate(cube: CubeRef, truth: FilePath) -> dict[str, Any]:
    """How high the true places of photos rank: percentile (chance 50) and best 1, 5, 10 %.

    Args:
        cube: area file, path or URL of a cube
        truth: CSV file with file, lon, lat; the photos lie beside it

    Returns the figures.
    """
    found = score(cube, truth)
    show_evaluation(found)
    return found.to_json()


@stage("answer and score")
def score(cube: str, truth: str) -> Evaluation:
    """See `geoloc.query.evaluate_truth`."""
    found = evaluate_truth(cube, truth, progress=progress)
    get_run_logger().info(str(found.summary))
    return found
