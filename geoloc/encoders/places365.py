"""CSAIL's Places365 networks: fetched, and turned into models of the store.

As in the study: photos stretched to a square (aspect not kept), normalised by ImageNet's mean and
standard deviation, raw logits of the 365 classes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..models.fetch import Fetched
from ..models.model import Model, read_model, write_model, write_whole
from ..models.published import (
    LICENCE,
    OFFICIAL,
    Published,
    known_digest,
    published,
    receive_checkpoint,
    remember_digest,
)
from ..models.store import alone, publish, refuse_other_folder, store_dir, writing
from ..models.transfer import Progress, arriving
from ..scenes import PLACES365, Group, groups_of
from .formats.networks import build_network, load_state, weights_bytes
from .importing import check_model, read_state_dict

_WEIGHTS = "ground.safetensors"


def fetch_places365(
    name: str, *, mirror: str | None = None, replace: bool = False, progress: Progress | None = None
) -> Fetched:
    """The model of a published network, in the store; see `PLACES365_MODELS` for the names.

    An interrupted download goes on where it was cut off. ``mirror``: URL or path of a folder with
    the same file. Raises ModelError for a file that is not the network's weights, or not those of
    the first use, or where the name belongs to another model; then nothing in the store changes.
    """
    what, store = published(name), store_dir()
    target, draft = store / what.name, store / f".{what.name}.fetching"
    with writing(store), alone(store / f".{what.name}.lock"):
        there = _there(target, what, replace)
        if there is None:
            with arriving(draft):
                checkpoint, digest = receive_checkpoint(what, draft, mirror, progress)
                _make(what, checkpoint, digest, target)
            shutil.rmtree(draft)
        return Fetched(read_model(target, verify=False), there is None)


def _there(target: Path, what: Published, replace: bool) -> Model | None:
    """The model, if it is in the store whole. Raises ModelError for another of that name."""
    refuse_other_folder(target)
    if not target.is_dir():
        return None
    try:
        found = read_model(target)
    except ModelError:
        return None  # damaged
    digest = found.spec.training.get("sha256")
    if found.spec.training.get("file") == what.file and digest == (known_digest(what) or digest):
        remember_digest(what, str(digest))
        return found
    if not replace:
        raise ModelError(
            f"model {what.name!r} at {target} is another than the published one: move it away, or "
            "--replace it"
        )
    return None


def _make(what: Published, checkpoint: Path, digest: str, target: Path) -> None:
    """The model of a checkpoint, whole or not at all; one that is no good is thrown away."""
    draft = target.with_name(f".{what.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        network = build_network(what.arch, len(PLACES365))
        load_state(network, read_state_dict(checkpoint), f"{checkpoint.name} ({what.arch})")
        files: dict[str, Path | bytes] = {_WEIGHTS: weights_bytes(network)}
        check_model(write_model(draft, _spec(what, digest), files))
        write_whole(draft / "card.md", _card(what, digest).encode())
        remember_digest(what, digest)
        publish(draft, target)
    except ModelError:
        checkpoint.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _spec(what: Published, digest: str) -> dict[str, Any]:
    """Without the mirror: the same file makes the same model, wherever it came from."""
    return {
        "name": what.name,
        "classes": PLACES365,
        "dim": len(PLACES365),
        "ground": {
            "format": "torchvision", "arch": what.arch, "weights": _WEIGHTS,
            "input_px": what.input_px,
        },
        "training": {
            "source": f"{OFFICIAL}/{what.file}", "file": what.file, "sha256": digest,
            "licence": LICENCE,
        },
    }  # fmt: skip


def _card(what: Published, digest: str) -> str:
    counts = {group: sum(group in groups_of(name) for name in PLACES365) for group in Group}
    groups = ", ".join(f"{count} {group.value}" for group, count in counts.items())
    return (
        f"# {what.name}\n\n"
        f"{what.arch} of MIT CSAIL, trained on the photos of Places365: it names what a ground "
        f"photo shows, as raw logits of 365 scene classes ({groups}; a class may be in two "
        "groups).\n\n"
        f"It takes photos stretched to {what.input_px} x {what.input_px} px. It has no overhead "
        "network: it describes photos, and is a teacher for 'geoloc train'.\n\n"
        f'Weights: {what.file}, sha256 {digest}. {LICENCE}. Cite Zhou et al., "Places: A 10 '
        'Million Image Database for Scene Recognition", 2017.\n'
    )
