"""What the flows take: bounds that the Prefect form shows and the server checks before a run.

Paths are absolute, since a run works in a folder of its own on whatever machine takes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import BaseMetadata
from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from geoloc.area import Area
from geoloc.executors import kinds
from geoloc.query.options import Option, QueryOptions, Use
from geoloc.query.parameters import Given, spread

from .addresses import EveryText, holding_no_secret

R = TypeVar("R")

_ABSOLUTE = r"^/[^\x00-\x1f]*$"
_CUBE = holding_no_secret(
    r"^(/|[A-Za-z][A-Za-z0-9+.-]*://)[^\x00-\x1f]+$",
    "keys of a store come from the worker's environment, such as AWS_SECRET_ACCESS_KEY",
)
_PHOTO = holding_no_secret(
    r"^(/|https?://)[^\x00-\x1f]+$",
    "instead of a password or signature write the name of a variable of the worker's environment "
    "in braces after a dollar sign, see deploy/README.md",
)
_AREA = holding_no_secret(
    "^",
    "an area's addresses show no password, key or signature, a store's come from the worker's "
    "environment and those of imagery are written as the name of a variable of it in braces "
    "after a dollar sign, see deploy/README.md",
)


def _matching(pattern: str, what: str) -> AfterValidator:
    """Checks words by a pattern that pydantic's own engine does not know."""

    def check(words: str) -> str:
        if not re.search(pattern, words):
            raise ValueError(what)
        return words

    return AfterValidator(check)


FilePath = Annotated[str, Field(pattern=_ABSOLUTE, description="absolute path of a file")]
FolderPath = Annotated[str, Field(pattern=_ABSOLUTE, description="absolute path of a folder")]
CubeRef = Annotated[
    str,
    _matching(_CUBE, "an absolute path, or a URL without user, password or signature"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _CUBE,
            "title": "cube",
            "description": "absolute path of an area file or a cube, or a cube's URL",
        }
    ),
]
PhotoRef = Annotated[
    str,
    _matching(_PHOTO, "an absolute path, or an address with secrets as ${NAME} only"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _PHOTO,
            "title": "photo",
            "description": "absolute path or http(s) address of a photo, secrets as ${NAME}",
        }
    ),
]
Photos = Annotated[list[PhotoRef], Field(min_length=1, max_length=10_000)]
Cubes = CubeRef | Annotated[list[CubeRef], Field(min_length=1, max_length=100)]
InlineArea = Annotated[
    Area,
    EveryText(
        _AREA,
        "write passwords, keys and signatures of imagery as ${NAME}; those of stores and models "
        "come from the worker's environment",
    ),
]
Areas = Annotated[list[FilePath | InlineArea], Field(min_length=1, max_length=1000)]
Cells = Annotated[int, Field(ge=0, le=100_000, description="cells to recompute; 0 for none")]
Generations = Annotated[int, Field(ge=1, le=100, description="how many stay, the newest")]
SceneName = Annotated[
    str, Field(min_length=1, max_length=100, description="a scene class, as 'soccer stadium'")
]
Side = Annotated[float, Field(gt=0, le=5e6, description="m")] | None
Method = Literal["dense", "patch"] | None
Cluster = Annotated[
    str,
    Field(
        pattern=rf"^({'|'.join(kinds())}|[a-z]+://.+)$",
        description=f"{', '.join(kinds())}, or the address of a Dask scheduler",
    ),
]


def with_options(use: Use) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """A flow that has the options of a use as parameters, and takes them as ``options``."""
    return lambda function: spread(function, use, served)


def served(model: type[QueryOptions], use: Use) -> list[Given]:
    """The parameters of a flow, as Prefect reads them."""
    return [
        Given(name, name, _served_as(info, option), info.default, option.described(info, use))
        for name, (info, option) in model.options().items()
        if option.served and use in option.uses
    ]


def _served_as(info: FieldInfo, option: Option) -> Any:
    """The type of an option with its bounds, where there are any the server's own."""
    kind = FilePath | None if info.annotation == Path | None else info.annotation
    own = [one for one in info.metadata if isinstance(one, BaseMetadata)]
    return Annotated[kind, *([] if option.bounds else own), option.bounds or Field()]
