"""The root of a cube: which generation readers open, and what all of them hold.

Nothing in geoloc reads the index of the root. It is there for others: xarray and zarr open all
generations, or one by name, without listing anything and without warnings.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..errors import CubeError, UnavailableError
from .reader import generation_exists
from .spec import FORMAT_VERSION
from .store import (
    CURRENT,
    LOCK,
    generation_names,
    list_folder,
    number_of,
    open_store,
    read_attributes,
    read_text,
    storage_errors,
    write_text,
)

_IGNORED = re.compile(rf"{LOCK}.*|.*\.partial|\..*|lost\+found|Thumbs\.db|desktop\.ini|")
"""Names of what a killed build, a file system or a desktop leaves in an empty folder."""

_OF_ITS_MAKING = ("created", "finished", "geoloc_version", "sealed", "contents")
"""Attributes that the index leaves out: equal cubes have equal indexes."""


def create_root(url: str | Path) -> None:
    """Make sure that there is a place for generations.

    The root's own metadata is written anew where it is lost.
    Raises CubeError where there can be no place, or where something else lies there.
    """
    if _is_root(url):
        return
    if not any(generation_exists(url, name) for name in generation_names(url)):
        _require_empty(url)
    index_generations(url)


def _is_root(url: str | Path) -> bool:
    try:
        return "geoloc_cube" in (read_attributes(url) or {})
    except UnavailableError:
        raise
    except CubeError:  # damaged
        return False


def _require_empty(url: str | Path) -> None:
    """Nobody's files are mixed with a cube's, or overwritten by it."""
    with storage_errors(url):
        names = list_folder(open_store(url))
    foreign = [name for name in names if not _IGNORED.fullmatch(name)]
    if foreign:
        raise CubeError(
            f"{url} holds something else ({', '.join(foreign[:3])}), not a feature cube: "
            "name another place for the cube"
        )


def publish(url: str | Path, generation: str) -> None:
    """Let readers open this generation from now on; those that read another go on with it."""
    index_generations(url, generation)
    with storage_errors(url):
        write_text(open_store(url, read_only=False), CURRENT, generation + "\n")


def index_generations(
    url: str | Path, current: str | None = None, without: tuple[str, ...] = ()
) -> None:
    """Write the root's metadata: consolidated, that of all generations up to ``current``, and of
    others that are finished.

    ``without``: generations that are about to be deleted.
    """
    with storage_errors(url):
        store = open_store(url, read_only=False)
        index: dict[str, Any] = {}
        for name in generation_names(url):
            if name not in without:
                published = current is not None and number_of(name) <= number_of(current)
                index |= _entries(name, read_text(store, f"{name}/zarr.json"), published)
        root = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"geoloc_cube": FORMAT_VERSION},
            "consolidated_metadata": {
                "kind": "inline",
                "must_understand": False,
                "metadata": index,
            },
        }
        write_text(store, "zarr.json", json.dumps(root, sort_keys=True))


def _entries(generation: str, text: str | None, published: bool) -> dict[str, Any]:
    """What a generation's metadata says of itself and of what is in it.

    Nothing where it is damaged, or of one that readers could never open.
    """
    try:
        document = json.loads(text or "")
        inside = document.pop("consolidated_metadata")["metadata"]
        within = {f"{generation}/{name}": part for name, part in inside.items()}
        about = dict(document["attributes"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    if not published and not about.get("finished"):
        return {}
    document["attributes"] = {k: v for k, v in about.items() if k not in _OF_ITS_MAKING}
    return {generation: document, **within}
