"""``geoloc models make landuse``: a model of real land use from folders of images by class.

Each image goes once through the trunks, which is nearly all of the work, and is kept (see
`evaluation.vectors`): a run that was cut off, or is repeated with more classes, goes on from there.
The heads are trained twice: on every second image, to measure on the others, then on all of them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import save
from torch import nn

from ..encoders.formats.landuse import (
    INPUT_PX,
    PHOTO_FEATURES,
    PLACE_FEATURES,
    TRUNKS,
    Head,
    PlaceLanduse,
)
from ..encoders.formats.lite import NORMALIZATION
from ..encoders.formats.networks import weights_bytes
from ..encoders.text import fit_text_head
from ..errors import NotInstalledError
from ..evaluation.class_folders import ClassEvaluation, Gallery, Photos, score_class
from ..evaluation.vectors import kept_vectors
from ..models.features import FeatureSpace
from ..models.model import Model, read_model, write_model
from ..models.quantizer import code_range_of
from ..models.spec import MODEL_NAME
from ..models.store import publish, refuse_other_folder
from ..models.trunks import trunk_sha256
from ..progress import Progress, Stages, silent
from ..scenes import canonical
from .class_images import ClassImages, class_pairs, read_class_folders
from .landuse_features import PHOTO_PX, PHOTO_VIEWS, PLACE_VIEWS, photo_features, place_features
from .shared_space import Space, SpaceSpec, Views, embed, train_space

F32 = NDArray[np.float32]
GSD = (0.4, 1.5625, 3.2)
"""Smallest, best and largest m per px: `INPUT_PX` px are 77 to 614 m, as in the images it has seen
(UC Merced 77 m, AID 300 m and more)."""


class LanduseSpec(BaseModel):
    """What a model is made of: class folders, which classes go together, and the training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overhead: Annotated[tuple[Path, ...], Field(min_length=1)]
    ground: Path
    pairs: Path
    out: Path
    name: Annotated[str, Field(pattern=MODEL_NAME, max_length=100)] = "landuse"
    training: SpaceSpec = SpaceSpec()


@dataclass(frozen=True)
class Material:
    """Features of the readable images, and which classes go together ``(ground, overhead)``."""

    ground: ClassImages
    overhead: ClassImages
    photos: Views
    places: Views
    together: NDArray[np.bool_]


@dataclass(frozen=True)
class Made:
    """The model, how it did on images kept back (by heads trained on the others), and one line for
    each image that was left out."""

    model: Model
    figures: ClassEvaluation
    skipped: tuple[str, ...]


def make_landuse(spec: LanduseSpec, progress: Stages | None = None) -> Made:
    """Make a model; an existing one stays whole until the new one is there.

    Raises UsageError, one line and before any work, for folders or pairs that no model can be made
    of, and ModelError where ``out`` is something else.
    """
    refuse_other_folder(spec.out)
    stage = progress or silent
    material, skipped = read_material(spec, stage)
    figures = measure(material, spec, stage("measuring"))
    space = train_space(
        material.photos, material.places, material.together, spec.training, stage("training")
    )
    return Made(write_landuse(spec, material, space, figures), figures, skipped)


def read_material(spec: LanduseSpec, stage: Stages) -> tuple[Material, tuple[str, ...]]:
    """Read the folders and pass what is new in them through the trunks."""
    ground = read_class_folders([spec.ground], "photos")
    overhead = read_class_folders(spec.overhead, "overhead images")
    class_pairs(spec.pairs, ground, overhead)  # refuse before the work
    photos = kept_vectors(
        ground.files,
        _key("photo-1"),
        PHOTO_VIEWS * PHOTO_FEATURES,
        lambda: photo_features,
        stage("photos through the trunks"),
    )
    places = kept_vectors(
        overhead.files, _key("place-4"), (PLACE_VIEWS + 1) * PLACE_FEATURES, lambda: place_features,
        stage("overhead images through the trunks"),
    )  # fmt: skip
    ground, overhead = ground.only(photos.files), overhead.only(places.files)
    each = _split(places.vectors, PLACE_VIEWS + 1)
    return Material(
        ground,
        overhead,
        Views(_split(photos.vectors, PHOTO_VIEWS), np.array(ground.labels)),
        Views(each[:, :PLACE_VIEWS], np.array(overhead.labels), each[:, PLACE_VIEWS]),
        class_pairs(spec.pairs, ground, overhead),
    ), (*photos.failures.values(), *places.failures.values())


def measure(
    material: Material, spec: LanduseSpec, progress: Progress | None = None
) -> ClassEvaluation:
    """Train on every second image of each class, and find the others."""
    unseen, above = material.ground.held_back, material.overhead.held_back
    space = train_space(
        material.photos[~unseen],
        material.places[~above],
        material.together,
        spec.training,
        progress,
    )
    names = class_names(material)
    features = FeatureSpace(names=names, readout=readout_of(space, material, spec))
    photos = embed(space.ground, material.photos[unseen].mean())
    gallery = Gallery(
        embed(space.overhead, material.places[above].mean()),
        np.array(material.overhead.classes)[material.places[above].labels],
    )
    scores = []
    for number, name in enumerate(material.ground.classes):
        rows = material.photos[unseen].labels == number
        right = tuple(np.array(material.overhead.classes)[material.together[number]].tolist())
        if right:
            asked = Photos(
                name, tuple(f"{name}/{i}" for i in range(rows.sum())), photos[rows], right
            )
            scores.append(score_class(asked, gallery, features))
    return ClassEvaluation(spec.name, "", tuple(scores), len(gallery.vectors))


def class_names(material: Material) -> tuple[str, ...]:
    """Scene names of all classes: those on the ground, then those from above that are none."""
    names = [*material.ground.classes, *material.overhead.classes]
    return tuple(dict.fromkeys(scene_name(name) for name in names))


def scene_name(folder: str) -> str:
    """The scene that the name of a class folder means: ``DenseResidential``: dense_residential."""
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in folder).strip("_")
    return canonical(words.replace(" ", "_"))


def readout_of(space: Space, material: Material, spec: LanduseSpec) -> F32:
    """Logits ``(name, dim)`` of vectors: as in training, a class of both sides by their mean."""
    folders = [*material.ground.classes, *material.overhead.classes]
    vectors = np.concatenate([space.ground_classes, space.overhead_classes])
    own = np.array([scene_name(folder) for folder in folders])
    rows = [vectors[own == name].mean(0) for name in class_names(material)]
    unit = [row / np.linalg.norm(row) for row in rows]
    return np.asarray(spec.training.scale * np.stack(unit), np.float32)


def write_landuse(
    spec: LanduseSpec, material: Material, space: Space, figures: ClassEvaluation
) -> Model:
    """The model directory, whole or not at all."""
    names, readout = class_names(material), readout_of(space, material, spec)
    vectors = embed(space.overhead, material.places.mean())
    files = {
        "ground.safetensors": _head_bytes(space.ground),
        "overhead.safetensors": _head_bytes(space.overhead),
        "readout.safetensors": save({"readout": readout}),
    }
    text = None
    with contextlib.suppress(NotInstalledError):  # words are an extra
        head = fit_text_head(names, readout / spec.training.scale)
        files["text.safetensors"] = head.to_bytes()
        text = {"encoder": "usem3", "weights": "text.safetensors", "known": names}
    mean, std = NORMALIZATION
    network = {"format": "torchvision", "mean": mean, "std": std}
    low, best, high = GSD
    raw: dict[str, Any] = {
        "name": spec.name,
        "classes": names,
        "dim": vectors.shape[1],
        "ground": {
            **network, "arch": "photo_landuse_discriminant", "weights": "ground.safetensors",
            "input_px": PHOTO_PX,
        },
        "overhead": {
            **network, "arch": "place_landuse_discriminant", "weights": "overhead.safetensors",
            "patch_px": PlaceLanduse.POOL + 2 * PlaceLanduse.HALO, "gsd": (low, high),
            "preferred_gsd": best, "methods": ("dense", "patch"), "scene_px": INPUT_PX,
            "dense": {"stride": PlaceLanduse.STRIDE, "pool_px": PlaceLanduse.POOL},
        },
        "code_range": code_range_of(vectors),
        "readout": "readout.safetensors",
        "trunks": {name: trunk_sha256(name) for name in TRUNKS},
        "text": text,
        "training": told_of(spec, material, figures),
    }  # fmt: skip
    draft = spec.out.with_name(f".{spec.out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    spec.out.parent.mkdir(parents=True, exist_ok=True)
    write_model(draft, json.loads(json.dumps(raw)), files)
    publish(draft, spec.out)
    return read_model(spec.out)


def told_of(spec: LanduseSpec, material: Material, figures: ClassEvaluation) -> dict[str, Any]:
    """What the model says of its training (JSON types)."""
    told = figures.to_json()
    kept = ("map", "map_ci", "map_5_photos", "map_5_photos_ci", "chance", "n_ground", "n_overhead")
    return {
        "command": f"geoloc models make {spec.name}",
        "trunks": "EfficientNet-Lite0 and -Lite2, ImageNet weights (Apache-2.0), frozen",
        "heads": spec.training.model_dump(mode="json"),
        "photos": len(material.photos.labels),
        "overhead_images": len(material.places.labels),
        "ground_classes": list(material.ground.classes),
        "overhead_classes": list(material.overhead.classes),
        "measured_on": "every second image of each class, by heads trained on the others; the "
        "model's own heads are trained on all",
        "figures": {name: told[name] for name in kept},
    }


def _key(kind: str) -> str:
    """What the kept features of images of a kind and version depend on besides the images."""
    return "-".join([f"landuse-{kind}", *(trunk_sha256(name)[:8] for name in TRUNKS)])


def _head_bytes(head: Head) -> bytes:
    return weights_bytes(nn.ModuleDict({"head": head}), half=True)


def _split(vectors: F32, views: int) -> F32:
    return vectors.reshape(len(vectors), views, -1)
