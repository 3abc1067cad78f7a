"""What a cube says of its own imagery, and how far it is followed.

A cube may come from a stranger, and what it says is then the stranger's: opening it could send a
key to their server, ask a server inside of the house, or put a picture of this disk on a page. So
only files that lie where the cube lies are opened by themselves. Whatever else it names is opened
where the user names the area file, or says so (``--fetch-imagery``); variables of the
environment are filled in even then only as the user's own rules allow (`geoloc.imagery.keys`).
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ..area import Area, GeotiffImagery, Imagery, LayeredImagery, StacImagery, XyzImagery
from ..cube import CubeSpec
from ..errors import CubeError, GeolocError
from ..imagery.keys import host_of, require_allowed_keys
from ..imagery.opening import is_vrt
from ..net.hosts import refusal
from ..stores import local_path, without_secrets

_OWN = (
    "keep", "cache", "cache_mb", "tile_cache", "tile_cache_mb", "rate", "connections", "timeout",
    "retries", "user_agent",
)  # fmt: skip
"""How imagery is fetched and kept: the user's matter, never a cube's."""

_POINTS = "points.parquet"
"""Stands for a file that is never read: a cube holds its points."""

_PLAIN = ("http://", "https://", "s3://", "gs://", "az://", "file://", "/vsicurl/http")
_SHOWN = 120  # characters of a place in a message


def remembered_area(url: str, spec: CubeSpec, attrs: Mapping[str, Any]) -> Area:
    """The area as far as a cube remembers it: without its polygon and its name of the model.

    Raises ValidationError where it remembers no imagery.
    """
    facts = {
        "name": attrs["area"],
        "imagery": TypeAdapter[Imagery](Imagery).validate_python(_not_own(spec.imagery)),
        "model": attrs["model_name"],
        "cube": url,
    }
    if spec.step is None:  # its points are in the cube itself
        return Area.model_validate({**facts, "points": Path(_POINTS)})
    grid = spec.grid
    place = {"crs": grid.crs, "bounds": grid.bounds, "step": grid.step}
    return Area.model_validate({**facts, **place})


def _not_own(imagery: Mapping[str, Any]) -> dict[str, Any]:
    """What a cube says of its imagery, without what is not its matter."""
    plain = {key: value for key, value in imagery.items() if key not in _OWN}
    if isinstance(layers := plain.get("layers"), list):
        plain["layers"] = [
            _not_own(layer) if isinstance(layer, dict) else layer for layer in layers
        ]
    return plain


def withheld(imagery: Imagery, cube: str, *, fetch: bool = False) -> str:
    """Why imagery that only a cube names is not opened; empty where it may be.

    ``fetch``: the user wants it opened wherever it is.
    """
    if not _variables_of(imagery) and _lies_beside(imagery, cube):
        return ""
    if not fetch:
        return (
            f"the cube itself names its imagery, {_place(imagery)}, and may come from anyone: "
            "name its area file, or add --fetch-imagery, to have it opened"
        )
    if odd := [text for text in _named(imagery) if not _is_plain(text)]:
        return f"a cube may name files, http(s) and object stores only, not {odd[0][:_SHOWN]!r}"
    try:
        require_allowed_keys(imagery)
    except GeolocError as error:
        return str(error)
    return next(
        (f"{_place(imagery)}: {reason}" for url in _urls(imagery) if (reason := refusal(url))), ""
    )


def require_open(imagery: Imagery, cube: str, *, fetch: bool) -> None:
    """Raise CubeError where `withheld` gives a reason, to compute cells anew.

    Plain files of this disk may be read for that wherever they lie: none of them is shown.
    """
    if not _variables_of(imagery) and _are_files(imagery):
        return
    if reason := withheld(imagery, cube, fetch=fetch):
        raise CubeError(f"cube {cube}: {reason}")


def _urls(imagery: Imagery) -> list[str]:
    """Addresses of servers that it names."""
    plain = (text.removeprefix("/vsicurl/") for text in _named(imagery))
    return [text for text in plain if text.startswith(("http://", "https://"))]


def _named(imagery: Imagery) -> list[str]:
    """All places that it names."""
    if isinstance(imagery, LayeredImagery):
        return [text for layer in imagery.layers for text in _named(layer)]
    if isinstance(imagery, GeotiffImagery):
        return list(imagery.paths)
    if isinstance(imagery, StacImagery):
        return [imagery.url, *([imagery.sign] if imagery.sign and ":/" in imagery.sign else [])]
    return [imagery.url if isinstance(imagery, XyzImagery) else imagery.path]


def _is_plain(text: str) -> bool:
    """Whether it is a file, or an address of which it is known who is asked for it."""
    if text.startswith(_PLAIN):
        return "::" not in text.partition("?")[0].partition("://")[0]
    return not text.startswith(("/vsi", "<")) and ":" not in text.partition("/")[0]


def _variables_of(imagery: Imagery) -> bool:
    return "${" in imagery.model_dump_json()


def _lies_beside(imagery: Imagery, cube: str) -> bool:
    """Whether all of it are files in the folder of the cube, or below it, links followed.

    A folder that holds all of a user's files, or more, is none that a cube came with.
    """
    own = local_path(cube)
    if own is None or Path.home().resolve().is_relative_to(own.resolve().parent):
        return False
    return _are_files(imagery, own.resolve().parent)


def _are_files(imagery: Imagery, folder: Path | None = None) -> bool:
    """Whether all of it are plain files or folders of this disk, below ``folder``."""
    if isinstance(imagery, LayeredImagery):
        return all(_are_files(layer, folder) for layer in imagery.layers)
    if isinstance(imagery, StacImagery | XyzImagery):
        return False  # a catalog may name whatever it likes
    paths = imagery.paths if isinstance(imagery, GeotiffImagery) else [imagery.path]
    return all(_is_below(path, folder or Path("/")) for path in paths)


def _is_below(path: str, folder: Path) -> bool:
    """Whether a path, or all that a pattern matches, are plain files or folders in ``folder``."""
    where = None if path.startswith("/vsi") else local_path(path)
    if where is None:
        return False
    matches = glob.glob(str(where), recursive=True) if glob.has_magic(str(where)) else []  # noqa: PTH207
    paths = [Path(match) for match in matches] or [where]
    return all(one.resolve().is_relative_to(folder) and not is_vrt(one) for one in paths)


def _place(imagery: Imagery) -> str:
    """Where it is, as people may see it: a host, or a path."""
    if isinstance(imagery, LayeredImagery):
        return ", ".join(dict.fromkeys(map(_place, imagery.layers)))
    if isinstance(imagery, GeotiffImagery):
        text = imagery.paths[0]
    else:
        text = imagery.path if not isinstance(imagery, StacImagery | XyzImagery) else imagery.url
    shown = (host_of(text) or "an unknown host") if "://" in text else text
    return without_secrets(shown)[:_SHOWN]
