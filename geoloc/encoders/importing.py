"""A model directory from a user's own files: two networks and a list of classes."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ..errors import ModelError, UsageError, one_line
from ..models.load import load_model
from ..models.model import Model, write_model
from ..models.spec import IMAGENET_MEAN, IMAGENET_STD, GroundSpec, NetworkSpec, OverheadSpec, Triple
from ..models.store import publish, refuse_other_folder, store_dir
from ..scenes import canonical
from .formats.exported import (
    CHECK_BYTES,
    CHECK_PATIENCE,
    GraphNetwork,
    OnnxNetwork,
    confine,
    require_no_swelling,
)
from .formats.networks import build_network, load_state, weights_bytes
from .memory import is_out_of_memory
from .overhead import check_method, open_overhead
from .preprocess import to_input
from .runtime import check_output, open_engine, open_network

_PLACES_LINE = re.compile(r"^/[a-z]/(?P<name>\S+?)(?:\s+\d+)?$")
_CHECK_BATCHES = (1, 3)


class _Import(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkImport(_Import):
    """A network file: .onnx or .pt2; or .safetensors, .pth or .tar with an ``arch``.

    ``normalisation``: ``imagenet``, ``inside`` (the network does it), or mean and std.
    """

    file: Path
    arch: str | None = None
    input_max: Literal[1, 255] = 1
    normalisation: Literal["imagenet", "inside"] | tuple[Triple, Triple] = "imagenet"

    def network_fields(self, weights: str) -> dict[str, Any]:
        """The fields of a ``NetworkSpec``."""
        mean: Triple | None = None
        std: Triple | None = None
        if self.normalisation == "imagenet":
            mean, std = IMAGENET_MEAN, IMAGENET_STD
        elif self.normalisation != "inside":
            mean, std = self.normalisation
        return {
            "format": "torchvision" if self.arch else "exported",
            "arch": self.arch,
            "weights": weights,
            "input_max": self.input_max,
            "mean": mean,
            "std": std,
        }


class GroundImport(NetworkImport):
    """The ground network: photos stretched to ``resize_px``, centre-cropped to ``input_px``."""

    input_px: int = 224
    resize_px: int | None = None


class OverheadImport(NetworkImport):
    """The overhead network: patches of ``patch_px`` at ``gsd`` (min, max) m per px."""

    patch_px: int
    gsd: tuple[float, float]
    preferred_gsd: float | None = None


class ImportSpec(_Import):
    """What ``import_model`` needs; paths are resolved against the file that holds it.

    ``classes``: a text file with a name per line, plain or as in Places365's list
    (``/a/abbey 0``). ``metric``: a .npy matrix (D, D), see ``DistanceSpec``.
    """

    name: str
    classes: Path
    ground: GroundImport
    overhead: OverheadImport | None = None
    metric: Path | None = None
    distance_weights: tuple[float, ...] | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    def resolved(self, base: Path) -> ImportSpec:
        """The same with absolute paths."""
        parts = {
            part: network.model_copy(update={"file": base / network.file})
            for part, network in (("ground", self.ground), ("overhead", self.overhead))
            if network is not None
        }
        metric = None if self.metric is None else base / self.metric
        return self.model_copy(update={"classes": base / self.classes, "metric": metric, **parts})


def read_import_spec(path: str | Path) -> ImportSpec:
    """An ``ImportSpec`` from a .toml or .json file. Raises UsageError naming the invalid value."""
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name the .toml or .json file of the model")
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return ImportSpec.model_validate(raw).resolved(path.resolve().parent)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {key}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML or JSON: {error}") from None


def import_model(
    spec: ImportSpec, *, store: str | Path | None = None, replace: bool = False
) -> Model:
    """Write a model directory ``store/name`` and check that both networks compute.

    Raises UsageError if the name is in use, and ModelError if a file is unsafe, does not match its
    description, or does not return one value per class for any number of images; then nothing is
    left in the store.
    """
    target = Path(store or store_dir()) / spec.name
    if target.exists() and not replace:
        raise UsageError(
            f"model {spec.name!r} exists at {target}: choose another name, or replace it"
        )
    refuse_other_folder(target)
    draft = target.with_name(f".{spec.name}.importing")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        check_model(_write(spec, draft))
        publish(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load_model(target)


def check_model(model: Model) -> None:
    """Load both networks and run them on noise: output (n, dim), finite, for several n.

    Raises ModelError otherwise.
    """
    confine(CHECK_BYTES)
    side = model.spec.ground.input_px
    _check_network(model, model.spec.ground, side, "ground")
    overhead = model.spec.overhead
    if overhead is not None:
        _check_network(model, overhead, overhead.patch_px, "overhead")
        open_overhead(model, 10.0, check_method(model, None), "cpu")
    _ = model.features


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names in the order of the features, one per line: ``abbey``, or ``/a/abbey 0``.

    Raises ModelError for an unreadable or empty list.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a readable list of class names: {error}") from None
    names = tuple(_class_name(line) for line in lines if line.strip())
    if not names:
        raise ModelError(f"{path} has no class names: write one per line")
    known: dict[str, str] = {}
    for name in names:
        if (other := known.setdefault(canonical(name), name)) != name:
            raise ModelError(f"{path}: {other!r} and {name!r} are the same class: write it once")
    return names


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Weights from .safetensors, or from .pth/.pt/.tar without executing pickled code.

    Of a checkpoint, its ``state_dict``. Raises ModelError for anything but plain tensors.
    """
    from safetensors.torch import load_file

    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                require_no_swelling(archive, Path(path))
        loaded = _load_plain(Path(path))
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - a hostile file may fail in any way
        reason = _what_it_is(Path(path)) or one_line(error, 150)
        raise ModelError(
            f"{path} has no plain tensors ({reason}): copy it again if it was cut short, else save "
            "the network's state_dict"
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{path} has no state dict: save network.state_dict()")
    return cast(dict[str, Tensor], state)


def _what_it_is(path: Path) -> str:
    """What lies where weights should, as far as its beginning shows; "" where it does not."""
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip().lower()
    except OSError as error:
        return error.strerror or "it cannot be read"
    if not start:
        return "it is empty"
    if start.startswith(b"<"):
        return "it is a web page"
    if start.startswith(b"version https://git-lfs"):
        return "it only names a file of Git LFS"
    return "it is cut short" if start.startswith(b"pk\x03\x04") else ""


def _load_plain(path: Path) -> Any:
    """Tensors, numbers and text, also as Python 2 wrote them, whose text is bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that encodings are only for unsafe loading: they are not
        return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")


def _write(spec: ImportSpec, directory: Path) -> Model:
    classes = read_classes(spec.classes)
    files: dict[str, Path | bytes] = {}
    ground = _add(files, "ground", spec.ground, len(classes))
    overhead = spec.overhead and _add(files, "overhead", spec.overhead, len(classes))
    if spec.metric is not None:
        files["metric.npy"] = spec.metric
    raw = {
        "name": spec.name,
        "classes": classes,
        "dim": len(classes),
        "ground": ground,
        "overhead": overhead,
        "distance": {
            "weights": spec.distance_weights,
            "metric": "metric.npy" if spec.metric else None,
        },
        "training": spec.provenance,
    }
    return write_model(directory, raw, files)


def _add(
    files: dict[str, Path | bytes], part: str, network: GroundImport | OverheadImport, dim: int
) -> dict[str, Any]:
    """Add a network's file under its name in the model; the fields of its specification."""
    suffix = ".safetensors" if network.arch else network.file.suffix
    files[f"{part}{suffix}"] = _weights(network, dim) if network.arch else network.file
    fields = network.network_fields(f"{part}{suffix}")
    extra = network.model_dump(exclude=set(NetworkImport.model_fields))
    if isinstance(network, OverheadImport):
        low, high = network.gsd
        extra["preferred_gsd"] = network.preferred_gsd or (low * high) ** 0.5
    return {**fields, **extra}


def _weights(network: NetworkImport, dim: int) -> bytes:
    built = build_network(str(network.arch), dim)
    load_state(built, read_state_dict(network.file), str(network.file))
    return weights_bytes(built)


def _check_network(model: Model, spec: GroundSpec | OverheadSpec, side: int, part: str) -> None:
    engine = open_engine(spec, "cpu", "float32")
    network = open_network(model, spec, engine)
    if isinstance(network, OnnxNetwork | GraphNetwork):
        network.patience = CHECK_PATIENCE
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (max(_CHECK_BATCHES), 3, side, side), generator=generator)
    where = f"{part} network {cast(NetworkSpec, spec).weights} of model {model.name}"
    for n in _CHECK_BATCHES:
        try:
            y = engine.run(network, to_input(noise[:n].to(torch.uint8), spec))
        except Exception as error:  # onnxruntime has its own kinds for out of memory
            if not isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            reason = one_line(error)
            if is_out_of_memory(error):
                reason = f"it needs more memory than an import may use ({CHECK_BYTES >> 20:,} MiB)"
            raise ModelError(f"{where} fails on images of {side} px: {reason}") from None
        check_output(y, n, model.dim, where)
        if not torch.isfinite(y).all():
            raise ModelError(f"{where} returns values that are not finite: check its input range")


def _class_name(line: str) -> str:
    match = _PLACES_LINE.match(line.strip())
    return match["name"] if match else line.strip()
