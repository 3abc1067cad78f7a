"""A model is a directory: ``model.json`` beside the files of its two networks.

Everything that changes a feature vector is in the specification, and every file is identified by
its sha256, so a model's ``digest`` identifies exactly one function from pixels to vectors.
This module never imports torch: reading a model's metadata must stay cheap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..arrays import F32
from ..errors import ModelError
from ..files.whole import file_sha256, whole_file
from .features import FeatureSpace
from .quantizer import Quantizer
from .spec import SPEC_FILE, ModelSpec
from .trunks import check_trunks

SHIPPED_MODELS = Path(__file__).parent / "shipped"
SHIPPED = SHIPPED_MODELS / "sandbox"


@dataclass(frozen=True)
class Model:
    """A model directory whose files have been checked against their digests."""

    path: Path
    spec: ModelSpec

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.spec.name

    @property
    def installed_as(self) -> str:
        """Its name on this machine: that of its folder, which may differ."""
        return self.path.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Scene class of each feature."""
        return self.spec.classes

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.spec.dim

    @cached_property
    def digest(self) -> str:
        """sha256 over the canonical specification, which holds the sha256 of every file."""
        return digest_of(self.spec)

    @cached_property
    def bases(self) -> tuple[ModelSpec, ...]:
        """Of the models that this one was derived from, the first one first.

        Raises ModelError where their file cannot be read.
        """
        if self.spec.bases is None:
            return ()
        path = self.file(self.spec.bases)
        try:
            told = json.loads(path.read_bytes())
            return tuple(_validate(one, str(path)) for one in told)
        except (OSError, ValueError, TypeError):
            raise ModelError(f"{path} holds no specifications: make the model again") from None

    def serves(self, digest: str) -> bool:
        """Whether cubes of the model with this digest hold the vectors of this one: it is this one,
        or one that this was derived from without changing a vector."""
        own = self.spec.vector_facts()
        return digest == self.digest or any(
            digest_of(base) == digest and base.vector_facts() == own for base in self.bases
        )

    @cached_property
    def features(self) -> FeatureSpace:
        """What its vectors mean. Raises ModelError where a matrix cannot be read."""
        spec, dim = self.spec, self.dim
        weights = spec.distance.weights
        return FeatureSpace(
            names=spec.classes,
            code=None if spec.code_range is None else Quantizer.of_range(*spec.code_range),
            weights=None if weights is None else np.asarray(weights, np.float32),
            metric=self._matrix("metric", spec.distance.metric, dim, dim),
            readout=self._matrix("readout", spec.readout, len(spec.classes), dim),
        )

    def _matrix(self, what: str, name: str | None, rows: int, columns: int) -> F32 | None:
        return None if name is None else _read_matrix(self.path / name, what, (rows, columns))

    def file(self, name: str) -> Path:
        """Path of one of the model's files."""
        return self.path / name


def parse_spec(text: bytes, where: str) -> ModelSpec:
    """The content of a ``model.json``, from anywhere. Raises ModelError naming ``where``."""
    try:
        raw = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is not readable JSON ({error}): write the model again") from None
    if not isinstance(raw, dict):
        raise ModelError(f"{where} is not a JSON object: write the model again")
    return _validate(raw, where)


def read_model(directory: Path, *, verify: bool = True) -> Model:
    """Read and check a model directory without loading its networks.

    Raises ModelError for a missing, invalid or altered model (wrong sha256 of a file).
    """
    path = directory.resolve()
    model = Model(path, _read_spec(path / SPEC_FILE))
    for name in model.spec.used_files():
        _check_file(model, name, verify)
    if verify and model.spec.trunks:
        check_trunks(model.name, model.spec.trunks)
    return model


def model_info(model: Model) -> dict[str, Any]:
    """Facts about a model for display and for evidence files (JSON types only)."""
    overhead = model.spec.overhead
    return {
        "name": model.name,
        "digest": model.digest,
        "path": str(model.path),
        "dim": model.dim,
        "names": len(model.classes),
        "words": model.spec.text is not None,
        "ground": f"{model.spec.ground.format} {model.spec.ground.arch or ''}".strip(),
        "overhead": f"{overhead.format} {overhead.arch or ''}".strip() if overhead else None,
        "methods": list(overhead.methods) if overhead else [],
        "gsd": list(overhead.gsd) if overhead else None,
        "patch_px": overhead.patch_px if overhead else None,
        "metric": model.spec.distance.metric is not None,
        "files": dict(model.spec.files),
        "training": model.spec.training,
    }


def write_model(
    directory: str | Path, spec: Mapping[str, Any] | ModelSpec, files: Mapping[str, Path | bytes]
) -> Model:
    """Write a model directory; the digests of ``files`` (name -> path or content) are added.

    The specification is written last, so a directory without it is unfinished.
    Raises ModelError if the specification is invalid or a file that it names is not given.
    """
    directory = Path(directory)
    contents = {name: _content(source) for name, source in files.items()}
    raw = dict(spec.facts() if isinstance(spec, ModelSpec) else spec)
    raw["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    checked = _validate(raw, str(directory))
    missing = set(checked.used_files()) - set(contents)
    if missing:
        raise ModelError(f"model {checked.name}: no file given for {', '.join(sorted(missing))}")
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        write_whole(directory / name, data)
    text = json.dumps(checked.facts(), indent=1, ensure_ascii=False)
    write_whole(directory / SPEC_FILE, (text + "\n").encode())
    return Model(directory.resolve(), checked)


def _read_spec(path: Path) -> ModelSpec:
    try:
        return parse_spec(path.read_bytes(), str(path))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): write it again") from None


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys all differ; JSON's readers keep the last of equal ones in silence."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for at, key in enumerate(keys) if key in keys[:at])
        raise ValueError(f"the key {twice[:40]!r} stands twice")
    return value


def _validate(raw: Mapping[str, Any], where: str) -> ModelSpec:
    try:
        return ModelSpec.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "model"
        reason = first["msg"].removeprefix("Value error, ")
        raise ModelError(f"{where}: {key}: {reason}") from None


def _check_file(model: Model, name: str, verify: bool) -> None:
    path = model.path / name
    expected = model.spec.files.get(name)
    if expected is None:
        raise ModelError(f"{model.path / SPEC_FILE} has no sha256 of {name}: write the model again")
    if not path.is_file():
        raise ModelError(f"{path} is missing: fetch or import the model {model.name} again")
    actual = file_sha256(path) if verify else expected
    if actual != expected:
        raise ModelError(
            f"{path}: sha256 is {actual[:12]}…, {SPEC_FILE} says {expected[:12]}…: the file was "
            f"altered or damaged; fetch or import the model {model.name} again"
        )


def digest_of(spec: ModelSpec) -> str:
    """The digest of a model: that of its specification, which holds those of its files."""
    return hashlib.sha256(_canonical(spec).encode()).hexdigest()


def _canonical(spec: ModelSpec) -> str:
    return json.dumps(spec.facts(), sort_keys=True, separators=(",", ":"))


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise ModelError(f"{source} cannot be read ({error.strerror}): correct the path") from None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is never visible unfinished. Raises ModelError."""
    try:
        with whole_file(path, alone=True) as part:
            part.write_bytes(data)
    except OSError as error:
        raise ModelError(f"{path} cannot be written ({error.strerror})") from None


def _read_matrix(path: Path, what: str, shape: tuple[int, int]) -> F32:
    try:
        if path.suffix == ".npy":
            matrix = np.load(path, allow_pickle=False)
        else:
            from safetensors.numpy import load_file

            matrix = load_file(path)[what]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} has no {what} ({error}): import the model again") from None
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ModelError(
            f"{path}: {what} {matrix.shape} must be {shape[0]} x {shape[1]} finite numbers"
        )
    return np.ascontiguousarray(matrix, dtype=np.float32)
