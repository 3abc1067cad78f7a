"""Asking a cube: photos or a scene class in, ranked places and their reports out."""

from __future__ import annotations

from .answers import Answers, query_photos, query_scene
from .describing import describe_photos, describe_place
from .target import Target, cube_model, open_cube, open_target

__all__ = [
    "Answers",
    "Target",
    "cube_model",
    "describe_photos",
    "describe_place",
    "open_cube",
    "open_target",
    "query_photos",
    "query_scene",
]
