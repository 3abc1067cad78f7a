"""A model is a directory: ``model.json`` beside the files of its two networks.

Everything that changes a feature vector is in the specification, and every file is known by
its sha256, so a model's ``digest`` names exactly one function from pixels to vectors.
This module never imports torch: reading a model's facts must stay cheap.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..errors import ModelError
from ..files import file_sha256, whole_file
from .spec import SPEC_FILE, ModelSpec

SHIPPED = Path(__file__).parent.parent / "sandbox" / "model"


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
        """What one calls it on this machine: the name of its folder, which may be another."""
        return "sandbox" if self.path == SHIPPED else self.path.name

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
        return hashlib.sha256(_canonical(self.spec).encode()).hexdigest()

    @cached_property
    def metric(self) -> NDArray[np.float32] | None:
        """``L`` (feature, feature) of ``d = |(a - b) L| / sqrt(D)``, or None."""
        name = self.spec.distance.metric
        return None if name is None else _read_metric(self.path / name, self.dim)

    @property
    def distance_weights(self) -> NDArray[np.float32] | None:
        """The model's own weight of each class (feature,), or None for all ones."""
        weights = self.spec.distance.weights
        return None if weights is None else np.asarray(weights, dtype=np.float32)

    def file(self, name: str) -> Path:
        """Path of one of the model's files."""
        return self.path / name


def parse_spec(text: bytes, where: str) -> ModelSpec:
    """The content of a ``model.json``, from anywhere. Raises ModelError naming ``where``."""
    try:
        raw = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is not readable JSON ({error}): write the model again") from None
    if not isinstance(raw, dict):
        raise ModelError(f"{where} holds no JSON object: write the model again")
    return _validate(raw, where)


def is_url(model: str | Path) -> bool:
    """Whether a model is given by the URL of its directory."""
    return "://" in str(model)


def store_dir() -> Path:
    """Where models live: ``$GEOLOC_MODELS``, else the user's data directory (XDG)."""
    chosen = os.environ.get("GEOLOC_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "geoloc" / "models"


def find_model(name_or_path: str | Path) -> Path:
    """Directory of a model: a path, a name in the store, the shipped ``sandbox``, or a URL.

    What a URL names is fetched into the store once (see ``fetching``).
    Raises ModelError where there is none, naming the models that exist.
    """
    text = str(name_or_path)
    if is_url(text):
        from .fetching import model_at_url

        return model_at_url(text)
    places = [Path(text).expanduser()]
    if Path(text).name == text:
        places += [store_dir() / text, *([SHIPPED] if text == "sandbox" else [])]
    for place in places:
        if (place / SPEC_FILE).is_file():
            return place
    known = ", ".join(name for name in known_models()) or "none"
    raise ModelError(
        f"model {text!r} is neither a directory with {SPEC_FILE} nor in the store {store_dir()} "
        f"(known: {known}): bring it in with 'geoloc models fetch' or 'import', or correct the name"
    )


def load_model(name_or_path: str | Path, *, verify: bool = True) -> Model:
    """Read and check a model; no network is loaded yet.

    Raises ModelError for a missing, invalid or altered model (wrong sha256 of a file).
    """
    path = find_model(name_or_path).resolve()
    model = Model(path, _read_spec(path / SPEC_FILE))
    for name in model.spec.used_files():
        _check_file(model, name, verify)
    return model


def list_models() -> list[Model]:
    """The models of the store and the shipped one, by name; invalid ones are left out."""
    found = []
    for path in known_models().values():
        try:
            found.append(load_model(path, verify=False))
        except ModelError:
            continue
    return found


def model_of_digest(digest: str) -> Model | None:
    """An installed model that is this very function, under whatever name; its files checked."""
    for model in list_models():
        if model.digest == digest:
            try:
                return load_model(model.path)
            except ModelError:  # damaged: perhaps there is another copy
                continue
    return None


def load_exact(name_or_path: str | Path, digest: str) -> Model:
    """The model of this digest: an installed one under whatever name, else the one named.

    Raises ModelError where there is none: another function's vectors are never taken for its.
    """
    found = model_of_digest(digest)
    if found is not None:
        return found
    try:
        named = load_model(name_or_path)
        what = f"is {named.digest[:12]}"
        if named.digest != digest and is_url(name_or_path):
            named = _fetched_again(str(name_or_path)) or named
        if named.digest == digest:
            return named
    except ModelError as error:
        what = f"cannot be used ({error})"
    raise ModelError(
        f"the work is planned for model {digest[:12]}, but on this machine {name_or_path} {what}: "
        "install the same model here ('geoloc models fetch' or 'import'), or start the work again "
        "with this one"
    )


def _fetched_again(url: str) -> Model | None:
    """What the URL holds today, where it can be had: what was fetched earlier may be older."""
    from .fetching import fetch_aside

    with contextlib.suppress(ModelError):
        return fetch_aside(url)
    return None


def model_info(model: Model) -> dict[str, Any]:
    """Facts about a model for people and for evidence files (JSON types only)."""
    overhead = model.spec.overhead
    return {
        "name": model.name,
        "digest": model.digest,
        "path": str(model.path),
        "dim": model.dim,
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

    The specification is written last, so a directory without it was never finished.
    Raises ModelError where the specification is not valid or a file that it names is not given.
    """
    directory = Path(directory)
    contents = {name: _content(source) for name, source in files.items()}
    raw = dict(spec.model_dump(mode="json") if isinstance(spec, ModelSpec) else spec)
    raw["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    checked = _validate(raw, str(directory))
    missing = set(checked.used_files()) - set(contents)
    if missing:
        raise ModelError(f"model {checked.name}: no file given for {', '.join(sorted(missing))}")
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        write_whole(directory / name, data)
    text = json.dumps(checked.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_whole(directory / SPEC_FILE, (text + "\n").encode())
    return Model(directory.resolve(), checked)


def known_models() -> dict[str, Path]:
    """Directories of the models of the store and of the shipped one, by the name of each."""
    store = store_dir()
    folders = sorted(store.iterdir()) if store.is_dir() else []
    found = {
        path.name: path
        for path in folders
        if not path.name.startswith(".") and (path / SPEC_FILE).is_file()  # drafts are hidden
    }
    if (SHIPPED / SPEC_FILE).is_file():
        found.setdefault("sandbox", SHIPPED)
    return found


def _read_spec(path: Path) -> ModelSpec:
    try:
        return parse_spec(path.read_bytes(), str(path))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): write it again") from None


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


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


def _canonical(spec: ModelSpec) -> str:
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise ModelError(f"{source} cannot be read ({error.strerror}): correct the path") from None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is never seen unfinished. Raises ModelError."""
    try:
        with whole_file(path, alone=True) as part:
            part.write_bytes(data)
    except OSError as error:
        raise ModelError(f"{path} cannot be written ({error.strerror})") from None


def refuse_other_folder(target: Path) -> None:
    """Raise ModelError where something lies there that is no model, and so is not ours."""
    if target.exists() and not (target / SPEC_FILE).is_file():
        raise ModelError(f"{target} is there and is no model: move it away, or choose another name")


def publish(draft: Path, target: Path) -> None:
    """Rename a finished model into place; what was there goes away after it."""
    old = draft.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    try:
        draft.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _read_metric(path: Path, dim: int) -> NDArray[np.float32]:
    try:
        if path.suffix == ".npy":
            matrix = np.load(path, allow_pickle=False)
        else:
            from safetensors.numpy import load_file

            matrix = load_file(path)["metric"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} holds no metric ({error}): import the model again") from None
    if matrix.shape != (dim, dim) or not np.isfinite(matrix).all():
        raise ModelError(f"{path}: metric {matrix.shape} must be {dim} x {dim} finite numbers")
    return np.ascontiguousarray(matrix, dtype=np.float32)
