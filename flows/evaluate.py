"""``evaluate``: how good a cube's answers are where it is known where the photos were taken."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger

from geoloc.area import Area
from geoloc.query import Evaluation, evaluate_truth
from geoloc.query.options import QueryOptions, Use
from geoloc.query.tandem import TandemEvaluation, evaluate_tandem, open_tandem
from geoloc.query.target import several_models

from .artifacts import progress, show_evaluation, show_evaluation_of_models
from .parameters import CubeRef, FilePath, Side
from .running import run_name, say_why, stage


@flow(name="evaluate", flow_run_name=run_name("truth", "cube"), on_failure=[say_why])
def evaluate(cube: CubeRef, truth: FilePath, regions: Side = None) -> dict[str, Any]:
    """How high the true places of photos rank: percentile (chance 50) and best 1, 5, 10 %.

    Where the area file names several models, those of each and of all together.

    Args:
        cube: area file, path or URL of a cube
        truth: CSV file with file, lon, lat; the photos lie beside it
        regions: side (m) of square regions that are ranked too; by default 25000 for points, and
            none for grids

    Returns the figures.
    """
    several = several_models(cube)
    if several is not None:
        together = score_together(several, truth, regions)
        show_evaluation_of_models(together)
        return together.to_json()
    found = score(cube, truth, regions)
    show_evaluation(found)
    return found.to_json()


@stage("answer and score")
def score(cube: str, truth: str, regions: float | None = None) -> Evaluation:
    """See `geoloc.query.evaluate_truth`."""
    found = evaluate_truth(cube, truth, regions=regions, progress=progress)
    get_run_logger().info(str(found.summary))
    return found


@stage("answer and score by each model and by all")
def score_together(area: Area, truth: str, regions: float | None = None) -> TandemEvaluation:
    """See `geoloc.query.tandem.evaluate_tandem`; the bank is that of the area."""
    options = QueryOptions.of(Use.QUERY, regions=regions)
    tandem = open_tandem([area], options=options, progress=partial(progress, key="bank"))
    return evaluate_tandem(tandem, Path(truth), progress=progress("ranking the true places"))
