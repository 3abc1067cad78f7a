"""Initial weights of a student: those of a network that was trained for scenes of photos."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..encoders.formats.networks import rename_keys
from ..encoders.importing import read_state_dict
from ..errors import ModelError, UsageError
from ..models.load import load_model
from ..models.spec import SPEC_FILE


def initial_file(name: str) -> Path:
    """The file that ``init`` names: a checkpoint, or the photo network of a model in the store or
    a directory. Raises UsageError, ModelError."""
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in (".safetensors", ".pth", ".pt", ".tar") and not path.is_dir():
        raise UsageError(f"init {name} does not exist: correct the path")
    model = load_model(path if (path / SPEC_FILE).is_file() else name)
    return model.file(model.spec.ground.weights)


def load_initial(network: nn.Module, path: Path, arch: str) -> None:
    """Load weights into ``network``, strictly but for a last layer with other outputs.

    Raises ModelError for a file that is no checkpoint, or one of another architecture.
    """
    given, own = rename_keys(read_state_dict(path)), network.state_dict()
    last = _last_names(network)
    odd = {name for name in given if name in own and given[name].shape != own[name].shape}
    missing = set(own) ^ set(given)
    missing -= {name for name in own if name.endswith("num_batches_tracked")}
    if missing or odd - last:
        first = sorted(missing or odd - last)[0]
        raise ModelError(f"{path} does not fit {arch} ({first} differs): name weights of {arch}")
    kept = {name: own[name] if name in odd else value for name, value in given.items()}
    network.load_state_dict(kept, strict=False)


def last_linear(network: nn.Module) -> nn.Linear | None:
    """The last linear layer, which gives the vectors."""
    layers = [part for part in network.modules() if isinstance(part, nn.Linear)]
    return layers[-1] if layers else None


def _last_names(network: nn.Module) -> set[str]:
    """Names of its weights."""
    last = last_linear(network)
    owner = next((name for name, part in network.named_modules() if part is last), "")
    return {f"{owner}.{part}" for part in ("weight", "bias")}
