"""Querying a cube: photos or a scene class in, ranked places and their reports out.

A part is imported when it is named: looking at a cube's facts does not wait for reports.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import Repetition
    from .describing import describe_photos, describe_place
    from .evaluating import evaluate_truth, score
    from .options import QueryOptions
    from .repeat import repeat_query
    from .run import QueryResults, answer_photos, query_photos, search_scene
    from .scores import Evaluation, Score
    from .target import (
        Ref,
        Target,
        cube_model,
        cube_url,
        open_cube,
        open_target,
        parts_of,
        repair_cube_at,
        verify_cube_at,
    )
    from .zoom import ZoomOptions, zoom_answer

__all__ = [
    "Evaluation",
    "QueryOptions",
    "QueryResults",
    "Ref",
    "Repetition",
    "Score",
    "Target",
    "ZoomOptions",
    "answer_photos",
    "cube_model",
    "cube_url",
    "describe_photos",
    "describe_place",
    "evaluate_truth",
    "open_cube",
    "open_target",
    "parts_of",
    "query_photos",
    "repair_cube_at",
    "repeat_query",
    "score",
    "search_scene",
    "verify_cube_at",
    "zoom_answer",
]

_PARTS = {
    "run": ("QueryResults", "answer_photos", "query_photos", "search_scene"),
    "describing": ("describe_photos", "describe_place"),
    "evaluating": ("evaluate_truth", "score"),
    "scores": ("Evaluation", "Score"),
    "options": ("QueryOptions",),
    "comparison": ("Repetition",),
    "repeat": ("repeat_query",),
    "target": (
        "Ref",
        "Target",
        "cube_model",
        "cube_url",
        "open_cube",
        "open_target",
        "parts_of",
        "repair_cube_at",
        "verify_cube_at",
    ),
    "zoom": ("ZoomOptions", "zoom_answer"),
}
_PART_OF = {name: part for part, names in _PARTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PART_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PART_OF[name]}", __name__), name)
