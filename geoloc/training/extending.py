"""``geoloc models extend``: further names for the vectors of a model, learnt from a few examples.

Both networks stay what they are. A name is one more row of the readout: the softmax regression of
all names, of which only the new rows are fitted, with a ridge that cross-validation chooses. So
cubes that the model has made are searched by the new names at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..errors import UsageError
from ..evaluation.bootstrap import DRAWS, Figure, interval, known
from ..evaluation.retrieval import average_precision, chance_precision
from ..evaluation.vectors import ImageVectors, ground_vectors, overhead_vectors
from ..models.derived import check_out, derive
from ..models.features import FeatureSpace
from ..models.model import Model
from ..pairs import class_images
from ..progress import Progress
from ..scenes import canonical, display_name
from .class_images import class_folders
from .landuse import scene_name

Side = Literal["overhead", "ground"]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

OTHER = "other"
"""The folder of images that show none of the new names."""

FEWEST = 20
"""Images that a name needs, and others to tell it from; every second one is kept back."""

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_FOLDS = 4
_SHRINK = 0.1
_READOUT = "readout.safetensors"


@dataclass(frozen=True, eq=False)
class Examples:
    """Vectors ``(image, feature)``, and which of the new ``names`` each shows, -1 for none."""

    names: tuple[str, ...]
    vectors: F32
    labels: I64

    def __getitem__(self, rows: NDArray[np.generic]) -> Examples:
        return Examples(self.names, self.vectors[rows], self.labels[rows])

    @property
    def held_back(self) -> NDArray[np.bool_]:
        """``(image,)``: every second image of each name, and of the others."""
        odd = np.zeros(len(self.labels), bool)
        for label in np.unique(self.labels):
            odd[np.flatnonzero(self.labels == label)[1::2]] = True
        return odd


@dataclass(frozen=True)
class Learnt:
    """How well a name is found among images kept back, by a row learnt from the others."""

    name: str
    examples: int
    precision: Figure

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        told = self.precision.to_json()
        return {"name": self.name, "examples": self.examples, "ap": told["value"],
                "ap_ci": told["ci"], "chance": known(self.precision.chance or 0.0)}  # fmt: skip

    def __str__(self) -> str:
        found = self.precision
        return (
            f"{display_name(self.name)}: average precision {found.value:.2f} "
            f"[{found.low:.2f}, {found.high:.2f}], chance {found.chance:.2f} "
            f"({self.examples} examples)"
        )


@dataclass(frozen=True)
class Extended:
    """The new model, what it has learnt, and a line for each image that was left out."""

    model: Model
    learnt: tuple[Learnt, ...]
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "learnt": [one.to_json() for one in self.learnt],
            "skipped": list(self.skipped),
            "digest": self.model.digest,
            "out": str(self.model.path),
        }


def extend(
    model: Model,
    labels: Path,
    out: Path,
    *,
    side: Side = "overhead",
    seed: int = 0,
    progress: Progress | None = None,
) -> Extended:
    """Write a model with the vectors of another and a name for each class folder in ``labels``.

    The folder ``other``, which may be left out where there are several names, shows none of them.
    ``side``: whether the images are from above, each as one patch of the model, or ground photos.
    Raises UsageError for a name that the model has, and for too few images; ModelError for a model
    without an overhead network.
    """
    check_out(model, out)
    folders = _named_folders(labels, model)
    for name, files in folders.items():
        _require_enough(name, len(files), "")
    images = _vectors(model, [file for files in folders.values() for file in files], side, progress)
    examples = _examples(folders, images)
    _require_negatives(examples, labels)
    learnt = measured(model.features, examples, seed)
    rows = fitted_rows(model.features, examples, seed)
    made = _write(model, examples.names, rows, learnt, side, out)
    return Extended(made, learnt, tuple(images.failures.values()))


def measured(space: FeatureSpace, examples: Examples, seed: int = 0) -> tuple[Learnt, ...]:
    """Each name found among the images kept back, as a search of a cube finds it."""
    out = examples.held_back
    rows = fitted_rows(space, examples[~out], seed)
    kept = examples[out]
    unlikely = -_log_softmax(_logits(space, kept.vectors), _times(kept.vectors, rows))
    found = []
    for number, name in enumerate(examples.names):
        right = kept.labels == number
        figure = precision_figure(unlikely[:, number], right, seed)
        found.append(Learnt(name, int((examples.labels == number).sum()), figure))
    return tuple(found)


def precision_figure(scores: F64, right: NDArray[np.bool_], seed: int = 0) -> Figure:
    """Average precision of scores ``(image,)``, lower for better ones, with the interval of drawing
    right and wrong images anew."""
    rng, parts = np.random.default_rng(seed), [np.flatnonzero(right), np.flatnonzero(~right)]
    drawn = []
    for _ in range(DRAWS):
        rows = np.concatenate([part[rng.integers(len(part), size=len(part))] for part in parts])
        drawn.append(_precision(scores[rows], right[rows]))
    chance = chance_precision(int(right.sum()), len(right))
    return Figure(_precision(scores, right), *interval(np.array(drawn)), chance)


def fitted_rows(space: FeatureSpace, examples: Examples, seed: int = 0) -> F64:
    """Rows of the readout ``(name, feature)`` of the new names, the ridge chosen by folds."""
    old = _logits(space, examples.vectors)
    folds = np.random.default_rng(seed).permutation(len(old)) % _FOLDS
    losses = []
    for ridge in RIDGES:
        loss = 0.0
        for fold in range(_FOLDS):
            inside = folds != fold
            rows = _fit(old[inside], examples[inside], ridge)
            out = examples[~inside]
            loss += _loss(_log_softmax(old[~inside], _times(out.vectors, rows)), out.labels)
        losses.append(loss)
    return _fit(old, examples, RIDGES[int(np.argmin(losses))])


def _fit(old: F64, examples: Examples, ridge: float) -> F64:
    """The rows that make the names of the examples likely, beside the names that were there.

    Minimises ``-log p`` of each image's own name, of the others ``-log(1 - p(new names))``, and
    the ridge on the variance of the new logits, so that what all vectors share costs nothing.
    """
    from scipy.optimize import minimize

    axes = _whitening(examples.vectors.astype(np.float64))
    x, labels, count = examples.vectors @ axes, examples.labels, len(examples.names)
    weight = ridge * len(x)
    wanted = (labels[:, None] == np.arange(count)).astype(np.float64)

    def objective(flat: F64) -> tuple[float, F64]:
        rows = flat.reshape(count, -1)
        log_p = _log_softmax(old, x @ rows.T)
        value = _loss(log_p, labels) + weight * float((rows**2).sum())
        # also of -log(1 - q) the slope is p, as the old names share what the new ones leave
        slope = (np.exp(log_p) - wanted).T @ x + 2 * weight * rows
        return value, slope.ravel()

    start = np.zeros(count * x.shape[1])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x.reshape(count, -1) @ axes.T, np.float64)


def _whitening(vectors: F64) -> F64:
    """``(feature, feature)``: where vectors differ by about 1 in every direction; the covariance is
    shrunk towards a multiple of the identity (Ledoit & Wolf 2004)."""
    apart = vectors - vectors.mean(axis=0)
    covariance = apart.T @ apart / len(apart)
    mean = float(np.trace(covariance)) / len(covariance) or 1.0
    values, axes = np.linalg.eigh(
        (1 - _SHRINK) * covariance + _SHRINK * mean * np.eye(len(covariance))
    )
    return np.asarray(axes / np.sqrt(values))


def _loss(log_p: F64, labels: I64) -> float:
    """``-log`` of the probability of each image's new name, or that it is none of them."""
    shown = labels >= 0
    own = log_p[shown, labels[shown]].sum()
    none = np.log(np.clip(1 - np.exp(log_p[~shown]).sum(1), 1e-12, None)).sum()
    return -float(own + none)


def _log_softmax(old: F64, new: F64) -> F64:
    """``log p`` ``(image, new name)`` of the new logits among all."""
    every = np.concatenate([old, new], axis=1)
    most = every.max(axis=1, keepdims=True)
    return np.asarray(new - most - np.log(np.exp(every - most).sum(axis=1, keepdims=True)))


def _logits(space: FeatureSpace, vectors: F32) -> F64:
    return np.asarray(space.logits(vectors), np.float64)


def _times(vectors: F32, rows: F64) -> F64:
    return np.asarray(vectors.astype(np.float64) @ rows.T)


def _precision(scores: F64, right: NDArray[np.bool_]) -> float:
    return float(average_precision(scores[None], right[None])[0])


def _named_folders(root: Path, model: Model) -> dict[str, list[Path]]:
    """Images by new name, those of none of them under `OTHER`. Raises UsageError."""
    folders: dict[str, list[Path]] = {}
    for folder in class_folders(root, "images"):
        name = OTHER if folder.name.lower() == OTHER else scene_name(folder.name)
        if name != OTHER and canonical(name) in map(canonical, model.classes):
            raise UsageError(f"{folder}: {name!r} is a name of model {model.name} already")
        if name in folders:
            raise UsageError(f"{root}: two folders are both {name!r}: put their images together")
        folders[name] = class_images(folder)
    if set(folders) <= {OTHER}:
        raise UsageError(f"{root} has no folder of a new name: make one with {FEWEST} images")
    return folders


def _require_enough(name: str, count: int, kind: str) -> None:
    if count < FEWEST:
        raise UsageError(
            f"{name!r}: {count} {kind}images are too few to learn from: at least {FEWEST} are "
            "needed, as every second one is kept back to measure by"
        )


def _vectors(
    model: Model, files: Sequence[Path], side: Side, progress: Progress | None
) -> ImageVectors[Path]:
    read = overhead_vectors if side == "overhead" else ground_vectors
    return read(model, files, progress)


def _examples(folders: dict[str, list[Path]], images: ImageVectors[Path]) -> Examples:
    """The images that could be read."""
    names = tuple(name for name in folders if name != OTHER)
    name_of = {file: name for name, files in folders.items() for file in files}
    rows = _once(images, name_of)
    shown = [name_of[images.files[row]] for row in rows]
    kind = "readable " if len(rows) == len(images.files) else "different "
    for name in folders:
        _require_enough(name, shown.count(name), kind)
    labels = np.array([names.index(one) if one != OTHER else -1 for one in shown])
    return Examples(names, images.vectors[rows], labels)


def _once(images: ImageVectors[Path], name_of: Mapping[Path, str]) -> list[int]:
    """Rows of the images, copies left out: one that is learnt from must not be measured by, too.

    Raises UsageError for an image in the folders of two names.
    """
    first: dict[bytes, int] = {}
    for row, file in enumerate(images.files):
        other = images.files[first.setdefault(images.vectors[row].tobytes(), row)]
        if name_of[other] != name_of[file]:
            raise UsageError(
                f"{other} and {file} are the same image under two names: leave it in one folder"
            )
    return list(first.values())


def _require_negatives(examples: Examples, root: Path) -> None:
    """Of one name alone nothing is learnt."""
    if len(np.unique(examples.labels)) < 2:
        raise UsageError(
            f"{root} shows {examples.names[0]!r} alone: add a folder {OTHER!r} with at least "
            f"{FEWEST} images that do not show it, such as of its surroundings"
        )


def _write(
    model: Model,
    names: tuple[str, ...],
    rows: F64,
    learnt: Sequence[Learnt],
    side: Side,
    out: Path,
) -> Model:
    space = model.features
    old = np.eye(model.dim, dtype=np.float32) if space.readout is None else space.readout
    readout = np.vstack([old, rows]).astype(np.float32)
    told = {"from": model.digest, "side": side, "learnt": [one.to_json() for one in learnt]}
    before = model.spec.training.get("extended", [])
    changes = {
        "name": out.name,
        "classes": (*model.classes, *names),
        "readout": _READOUT,
        "training": {**model.spec.training, "extended": [*before, told]},
    }
    files = {_READOUT: save({"readout": readout})}
    return derive(model, out, changes, files, card=_card(learnt, side), same_distance=True)


def _card(learnt: Sequence[Learnt], side: Side) -> str:
    images = "images from above" if side == "overhead" else "ground photos"
    lines = "".join(f"- {one}\n" for one in learnt)
    return (
        f"## Further names\n\nLearnt from {images}, on the vectors as they were; measured on every "
        f"second image, by rows learnt from the others (95 % intervals over images):\n\n{lines}"
    )
