"""Asking a cube: photos or a scene class in, ranked places and their reports out."""

from __future__ import annotations

from .answers import Answers, answer_photos, query_photos, query_scene
from .describing import describe_photos, describe_place
from .evaluating import Evaluation, Score, evaluate_truth, score
from .repeat import Repetition, repeat_query
from .target import Target, cube_model, cube_url, open_cube, open_target, verify_cube_at

__all__ = [
    "Answers",
    "Evaluation",
    "Repetition",
    "Score",
    "Target",
    "answer_photos",
    "cube_model",
    "cube_url",
    "describe_photos",
    "describe_place",
    "evaluate_truth",
    "open_cube",
    "open_target",
    "query_photos",
    "query_scene",
    "repeat_query",
    "score",
    "verify_cube_at",
]
