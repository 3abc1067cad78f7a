"""Common to all parts of an area file: strict models, paths, and faults explained in words."""

from __future__ import annotations

import difflib
import glob
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from ..stores import without_secrets

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Spec(BaseModel):
    """Strict about keys and numbers: invalid input is refused, never ignored."""

    # `explain` repeats the input only where that is safe: a URL may contain a key
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def resolve_path(path: str, base: Path) -> str:
    """An absolute path; URLs and GDAL's virtual paths unchanged."""
    if "://" in path or path.startswith("/vsi"):
        return path
    return str(base / Path(path).expanduser())


def resolve_pattern(path: str, base: Path) -> str:
    """The same for a path that may be a glob; its folder is not part of the pattern."""
    absolute = resolve_path(path, base)
    if absolute == path or not glob.has_magic(path):
        return absolute
    return resolve_path(path, Path(glob.escape(str(base))))


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a ``model`` in words, and how many more there are."""
    faults = error.errors()
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return _explain_one(faults[0], model) + more


def shorten(value: object) -> str:
    """A value as it was written, without secrets, cut if it is long."""
    text = without_secrets(str(value) if isinstance(value, date) else repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _explain_one(fault: ErrorDetails, model: type[BaseModel]) -> str:
    keys, owner = _keys(fault["loc"], model)
    where = ".".join(keys)
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown key {where!r}{_nearest_key(keys[-1], owner)}"
        case "missing" if isinstance(fault["loc"][-1], int):
            which = where.rpartition(".")[0]
            return f"{which} {shorten(fault['input'])} has too few values{_order_of(which)}"
        case "missing":
            return f"key {where!r} is missing{_hint(where, fault['input'], owner)}"
        case "value_error":
            return str(fault["ctx"]["error"])
        case "union_tag_invalid":
            context = fault["ctx"]
            return (
                f"{where}.kind: write one of {context['expected_tags']}; found {context['tag']!r}"
            )
        case "union_tag_not_found":
            return (
                f"{where}: write {where}: {{kind: geotiff, paths: [tiles/*.tif]}}; "
                f"found {shorten(fault['input'])}"
            )
        case "string_type" | "path_type" if isinstance(fault["input"], int | float | date):
            return f"{where}: found {shorten(fault['input'])}, no text: write it in quotes"
        case _:
            return f"{where}: {fault['msg']}; found {shorten(fault['input'])}"


def _order_of(key: str) -> str:
    return ": write left, bottom, right, top" if key == "bounds" else ""


def _hint(key: str, given: Any, owner: type[BaseModel]) -> str:
    """What to write for a key that is missing, where that is no matter of course."""
    if key == "crs":
        return ": write a code such as EPSG:32636, the UTM zone there or a national grid"
    unknown = [k for k in given if k not in owner.model_fields] if isinstance(given, dict) else []
    near = difflib.get_close_matches(key.rpartition(".")[2], map(str, unknown), n=1)
    return f": is {near[0]!r} meant?" if near else ""


def _keys(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """The keys as in the file, without a union's tags, and the model of the last one."""
    keys: list[str] = []
    owner: type[BaseModel] | None = model
    for part in map(str, loc):
        variants = _variants(model, keys)
        if part in variants:
            owner = variants[part]
            continue
        keys.append(part)
    return keys, owner or model


def _variants(model: type[BaseModel], keys: list[str]) -> dict[str, type[BaseModel]]:
    """The models possible under the keys walked so far, by their ``kind``."""
    if len(keys) != 1 or keys[0] not in model.model_fields:
        return {}
    kinds = get_args(model.model_fields[keys[0]].annotation)
    return {_kind(variant): variant for variant in map(_bare, kinds) if _kind(variant)}


def _bare(annotated: Any) -> Any:
    return get_args(annotated)[0] if hasattr(annotated, "__metadata__") else annotated


def _kind(variant: Any) -> str:
    fields = getattr(variant, "model_fields", {})
    return str(fields["kind"].default) if "kind" in fields else ""


def _nearest_key(key: str, owner: type[BaseModel]) -> str:
    near = difflib.get_close_matches(key, owner.model_fields, n=1)
    keys = ", ".join(owner.model_fields)
    return f": did you mean {near[0]!r}?" if near else f": the keys are {keys}"
