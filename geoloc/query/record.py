"""``query.json`` read back: its shape is checked once, here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ..errors import UsageError
from ..report.evidence import FORMAT, SHARED_FORMAT, TANDEM_FORMAT
from .options import QueryOptions, first_fault

Record = Mapping[str, Any]
"""What ``query.json`` holds."""

_MOST_BYTES = 32 << 20
_Path = Annotated[str, Field(pattern=r"^[^\x00]+$")]


class _Part(BaseModel):
    """What a repetition reads of a record; all else may be there too."""

    model_config = ConfigDict(strict=True)


class _Parameters(_Part):
    """Those that every record has; what all of them are is for `QueryOptions` to say."""

    top: Any
    radius: Any
    within: Any


class _Frame(_Part):
    time: FiniteFloat
    sha256: str


class _Photo(_Part):
    file: _Path
    path: _Path
    sha256: str
    frame: _Frame | None = None
    crop: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)] | None = None
    rotate: FiniteFloat | None = None


class _Model(_Part):
    name: str
    path: _Path | None = None
    digest: str | None = None


class _Cube(_Part):
    cube: _Path
    generation: _Path


class _Candidate(_Part):
    rank: int
    lon: FiniteFloat
    lat: FiniteFloat
    distance: FiniteFloat


class _Summary(_Part):
    cells: int
    cells_known: int
    distance_quantiles: dict[str, FiniteFloat]


_Name = Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]  # beside the record, nowhere else


class _Record(_Part):
    title: str
    photos: list[_Photo]
    parameters: _Parameters
    model: _Model
    cube: _Cube
    grid: dict[str, Any]
    imagery: list[dict[str, Any]]
    vector: dict[str, FiniteFloat]
    summary: _Summary
    candidates: list[_Candidate]
    versions: dict[str, str] = {}
    outputs: dict[_Name, str] | None = None


class _Scored(_Part):
    """A candidate of several models."""

    rank: int
    lon: FiniteFloat
    lat: FiniteFloat
    score: FiniteFloat


class _BankPhoto(_Part):
    file: _Path = "a photo of the bank"
    path: _Path
    sha256: str


class _TandemModel(_Part):
    name: str
    weight: Annotated[FiniteFloat, Field(ge=0)]
    model: _Model
    cube: _Cube
    vector: Annotated[dict[str, FiniteFloat], Field(min_length=1)]
    candidates: list[_Candidate]
    scene: str | None = None


class _Tandem(_Part):
    calibration: str
    models: Annotated[list[_TandemModel], Field(min_length=2)]
    bank: list[_BankPhoto]


class _TandemRecord(_Record):
    candidates: list[_Scored]  # type: ignore[assignment]
    tandem: _Tandem


_SHAPES: dict[Any, type[_Record]] = {FORMAT: _Record, TANDEM_FORMAT: _TandemRecord}


def read_record(path: Path) -> dict[str, Any]:
    """A ``query.json``, be it of one model or of several; see `records_of_models`.

    Raises UsageError where it is none, or a part of it is not as written.
    """
    loaded = _load(path)
    value: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
    found = value.get("format")
    if found == SHARED_FORMAT:
        raise UsageError(_shared(path, value))
    if not isinstance(found, str) or found not in _SHAPES:
        raise UsageError(f"{path} is not a record of a query in the format {FORMAT}")
    try:
        record = _SHAPES[found].model_validate(value)
    except ValidationError as error:
        raise _damaged(path, first_fault(error)) from None
    try:
        options = QueryOptions.of_record(value["parameters"])
    except ValidationError as error:
        raise _damaged(path, f"parameters.{first_fault(error)}") from None
    if not options.scene and not record.photos:
        raise _damaged(path, "it has neither photos nor a scene")
    if options.scene and record.photos:
        raise _damaged(path, "it has photos and a scene, and one of them was asked for")
    if isinstance(record, _TandemRecord):
        _require_same_scene(path, options.scene, record.tandem.models)
    return value


def _require_same_scene(path: Path, scene: str | None, models: Sequence[_TandemModel]) -> None:
    """Raise UsageError where some models were asked for a scene and others were not, or where the
    record's scene is not as the first of them calls it."""
    if any((one.scene is None) != (scene is None) for one in models):
        raise _damaged(path, "tandem.models: not all of them were asked for a scene")
    if models[0].scene != scene:
        raise _damaged(path, "parameters.scene: the first model was asked for another one")


def records_of_models(record: Record) -> list[dict[str, Any]]:
    """A record as that of each of its models: with the model, the cube and the vector of that, and
    its own name of the scene."""
    if "tandem" not in record:
        return [dict(record)]
    return [_of_model(record, one) for one in record["tandem"]["models"]]


def _of_model(record: Record, model: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {**record["parameters"], "scene": model.get("scene")}
    own = {key: model[key] for key in ("model", "cube", "vector")}
    return {**record, **own, "parameters": parameters}


def _load(path: Path) -> Any:
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give the query.json in it")
        if path.exists() and not (path.is_file() and path.stat().st_size <= _MOST_BYTES):
            raise UsageError(f"{path} is not a record of a query: not a file, or too large")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a record of a query: {error}") from None


def _shared(path: Path, value: dict[str, Any]) -> str:
    """What a copy lacks, and of which record it is."""
    original = value.get("original")
    digest = original.get("sha256") if isinstance(original, dict) else None
    lacking = ["where the originals, the cube and the model are"]
    lacking += ["the vector", "the cell of each candidate"] if not value.get("vector") else []
    return (
        f"{path} is a shared copy of an answer, which cannot be repeated or shared again: it "
        f"lacks {', '.join(lacking)}. Ask whoever shared it for the original query.json, of "
        f"SHA-256 {str(digest)[:64]}"
    )


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} is damaged ({reason}): run 'geoloc query' again")
