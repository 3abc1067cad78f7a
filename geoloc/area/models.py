"""Several models of one area: what its file says of each, and where the cube of each lies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ..names import alike
from .spec import Spec, resolve_path

_SUFFIX = ".zarr"


class AreaModel(Spec):
    """One of several models: its weight in an answer, and its cube where that has a place of its
    own."""

    model: str = Field(min_length=1, description="a name in the model store, a folder or a URL")
    cube: str | None = Field(None, min_length=1, description="by default beside the area's cube")
    weight: float = Field(1.0, ge=0, description="in an answer, relative to the others")

    @property
    def name(self) -> str:
        """The model in a word: the last part of a folder or URL, without an archive's suffix."""
        last = re.split(r"[?#]", self.model)[0].rstrip("/\\")
        word = re.split(r"[/\\]", last)[-1]
        plain = re.sub(r"\.(zip|tar|tgz|tar\.\w+)$", "", word)
        return re.sub(r"[^\w.-]+", "-", plain).strip(".-") or "model"

    def beside(self, cube: str) -> str:
        """Where its cube lies, if the area names ``cube``: ``cube-NAME.zarr``."""
        return self.cube or f"{cube.rstrip('/').removesuffix(_SUFFIX)}-{self.name}{_SUFFIX}"

    def resolve(self, base: Any) -> AreaModel:
        """The same with absolute paths; names and URLs are unchanged."""
        model = resolve_path(self.model, base) if is_folder(self.model) else self.model
        cube = self.cube and resolve_path(self.cube, base)
        return self.model_copy(update={"model": model, "cube": cube})


def one_of_models(value: Any) -> Any:
    """A model written by its name alone is one without further wishes."""
    if not isinstance(value, list):
        return value
    return [{"model": one} if isinstance(one, str) else one for one in value]


def require_distinct(models: Sequence[AreaModel], cube: str) -> None:
    """Raise ValueError where models cannot be asked together, or would share a cube."""
    if len(models) < 2:
        raise ValueError("models: name two or more, such as [landuse, ./mine]; one alone is model:")
    if not any(one.weight for one in models):
        raise ValueError("models: all weights are 0: give one of them a weight above 0")
    named = [one.model.rstrip("/\\") for one in models]
    if twice := [name for name in named if named.count(name) > 1]:
        raise ValueError(f"models: {twice[0]!r} is named twice: name different models")
    cubes = [one.beside(cube).rstrip("/") for one in models]
    keys = [alike(one) for one in cubes]
    if twice := [one for one, key in zip(cubes, keys, strict=True) if keys.count(key) > 1]:
        raise ValueError(
            f"models: two of them would write the cube {twice[0]}: give each a cube of its own, "
            "as {model: ./mine, cube: mine.zarr}"
        )


def is_folder(model: str) -> bool:
    """Whether a model is given by its folder rather than its name in the store."""
    return "/" in model or "\\" in model or model.startswith((".", "~"))
