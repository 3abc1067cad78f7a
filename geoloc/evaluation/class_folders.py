"""Does a model find overhead images of the right class for photos? Measured on class folders.

Definitions. A photo's average precision (AP) is that of ranking *all* overhead images by their
distance to it, those of the overhead classes that its own class goes with being right. ``map`` is
the mean over ground classes of the mean AP of each one's photos, so that no class counts more for
having more photos. ``map_5_photos`` is the same of mean vectors of five photos of a class, dealt
without repetition by a seeded shuffle (of a class with fewer, of all of them). ``chance`` is the
same mean of the expected AP of a random order. ``top1pct`` is the percentage of right images among
the best 1 % (``rank * 100 <= N``, but at least the first), the mean over classes of that over
photos. That *some* right image is there says nothing: of 30 classes chance reaches 70 %. Ties count
against throughout. With feedback, photos and means ask anew by what the gallery's images nearest to
them are like (`search.feedback`), which knows no class of any; ``map_class_match`` does not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64, I64, Bools
from ..errors import UsageError
from ..models import FeatureSpace
from ..models.model import Model
from ..pairs import class_images, read_class_mapping
from ..progress import Stages, silent
from ..search.feedback import with_feedback
from .bootstrap import Figure, class_mean, mean_figure
from .calibration import calibrate
from .paired import unlikely
from .ranks import Ranks
from .retrieval import chance_precision, precision_of, ranked_hits
from .vectors import ImageVectors, ground_vectors, overhead_vectors

FUSED = 5
"""Photos that are averaged for ``map_5_photos``."""

_VALUES = 4_000_000  # distances of a block of photos


@dataclass(frozen=True, eq=False)
class Gallery:
    """Overhead images: vectors ``(image, feature)`` and the class ``(image,)`` of each."""

    vectors: F32
    classes: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos of one ground class: their files, vectors ``(photo, feature)``, and the overhead
    classes that are right for them."""

    name: str
    files: tuple[str, ...]
    vectors: F32
    right: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The scores of one ground class, of each photo ``(photo,)``: average precision; the share
    (0..1) of the gallery that holds one right image, drawn at random as its place; percentage
    of right images among the best 1 %; average precision of means of five photos (fewer of them),
    and by the photo's first scene alone. ``chance``: the average precision that chance gives;
    ``base``: the percentage of right images in the gallery."""

    name: str
    files: tuple[str, ...]
    precision: F64
    shares: F64
    top1pct: F64
    fused: F64
    class_match: F64
    chance: float
    base: float

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "class": self.name,
            "photos": len(self.precision),
            "ap": round(float(self.precision.mean()), 4),
            "chance": round(self.chance, 4),
        }


@dataclass(frozen=True, eq=False)
class ClassEvaluation:
    """A model on class folders. ``skipped``: one line for each thing that was left out;
    ``feedback``: whether photos asked with it."""

    model: str
    digest: str
    scores: tuple[ClassScores, ...]
    overhead: int
    skipped: tuple[str, ...] = ()
    seed: int = 0
    feedback: bool = False

    @property
    def figures(self) -> dict[str, Figure]:
        """By name; intervals over the photos of these classes."""
        chance = float(np.mean([one.chance for one in self.scores]))
        best = float(np.mean([one.base for one in self.scores]))
        return {
            "map": self._figure("precision", chance),
            "map_5_photos": self._figure("fused", chance),
            "map_class_match": self._figure("class_match", chance),
            "top1pct": self._figure("top1pct", best),
        }

    def _figure(self, name: str, chance: float) -> Figure:
        mean = class_mean([getattr(one, name) for one in self.scores], seed=self.seed)
        return Figure(mean.value, mean.low, mean.high, chance)

    def to_json(self) -> dict[str, Any]:
        """For machines: each figure with its interval, the classes, what was left out."""
        record: dict[str, Any] = {"model": self.model, "digest": self.digest}
        for name, figure in self.figures.items():
            facts = figure.to_json()
            record |= {name: facts["value"], f"{name}_ci": facts["ci"]}
        record["chance"] = round(float(np.mean([one.chance for one in self.scores])), 4)
        record["top1pct_chance"] = round(float(np.mean([o.base for o in self.scores])), 4)
        return {
            **record,
            "n_ground": sum(len(one.precision) for one in self.scores),
            "n_overhead": self.overhead,
            "n_ground_classes": len(self.scores),
            "search": self.search(),
            "seed": self.seed,
            "feedback": self.feedback,
            "classes": [one.to_json() for one in self.scores],
            "skipped": list(self.skipped),
        }

    def tables(self) -> dict[str, dict[str, dict[str, Figure]]]:
        """Figures by table, row and metric."""
        rows = {
            one.name: {"photos": Figure(len(one.precision)),
                       "ap": mean_figure(one.precision, seed=self.seed),
                       "chance ap": Figure(one.chance)}
            for one in self.scores
        }  # fmt: skip
        return {"all": {self.model: self.figures}, "class": rows}

    def search(self) -> dict[str, Any]:
        """By probability (%): the share of the gallery that holds the place of a photo, which is
        one right image drawn at random, and how often (%) that held for photos left out.

        Of a gallery like this one: of a map, calibrate on photos of known places in it.
        """
        shares = np.concatenate([one.shares for one in self.scores])
        ranks, groups = Ranks.of(shares, 1), range(len(shares))
        measured = calibrate(
            ranks, groups, model=self.digest, source="class folders", seed=self.seed
        )
        return {str(percent): one.model_dump() for percent, one in measured.levels.items()}

    def items(self) -> list[dict[str, Any]]:
        """Each photo's own scores, by which two evaluations are compared."""
        return [
            {"photo": file, "group": one.name, "ap": round(float(ap), 6), "top1pct": float(best)}
            for one in self.scores
            for file, ap, best in zip(one.files, one.precision, one.top1pct, strict=True)
        ]


def evaluate_class_folders(
    mapping: str | Path,
    ground: str | Path,
    overhead: str | Path,
    model: Model,
    *,
    seed: int = 0,
    feedback: bool = False,
    progress: Stages | None = None,
) -> ClassEvaluation:
    """Measure a model on folders with a subfolder of images per class; see the module.

    ``mapping``: see `read_class_mapping`. Overhead classes that it does not name are in the gallery
    as wrong images; ground classes that it does not name are not asked about. Images that cannot be
    read, classes without any and names without a folder are left out, and reported. Raises
    UsageError where nothing is left, ModelError for a model without an overhead network.
    """
    table = read_class_mapping(mapping)
    skipped: list[str] = []
    above, below = _folders(Path(overhead)), _folders(Path(ground))
    right = _right_classes(table, above, below, Path(mapping), skipped)
    stage = progress or silent
    if model.spec.overhead is None:
        overhead_vectors(model, [])  # raises, before any photo is read
    named = {name: below[name] for name in sorted(right)}
    photos = ground_vectors(model, _all(named), stage("encoding the photos"))
    images = overhead_vectors(model, _all(above), stage("encoding the overhead images"))
    skipped += [*photos.failures.values(), *images.failures.values()]
    gallery = Gallery(images.vectors, np.array([f.parent.name for f in images.files], dtype=str))
    asked = _asked(photos, named, right, gallery, skipped)
    if not asked:
        raise UsageError(
            f"{ground}, {overhead}: no photo and overhead image of classes that go together "
            f"in {mapping}: {_first(skipped)}"
        )
    scores = tuple(
        score_class(one, gallery, model.features, seed=seed, feedback=feedback) for one in asked
    )
    return ClassEvaluation(
        model.name, model.digest, scores, len(gallery.vectors), tuple(skipped), seed, feedback
    )


def _first(lines: Sequence[str]) -> str:
    return lines[0] if lines else "write the names of their folders there"


def _folders(root: Path) -> dict[str, list[Path]]:
    """The images of each class folder. Raises UsageError where there are no such folders."""
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder: name one with a subfolder of images per class")
    try:
        folders = {
            folder.name: class_images(folder)
            for folder in sorted(root.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        }
    except OSError as error:
        raise UsageError(f"{root} cannot be read: {error.strerror}") from None
    if not folders:
        raise UsageError(f"{root} has no class folders: make a subfolder of images per class")
    return folders


def _right_classes(
    table: Mapping[str, Sequence[str]],
    above: Mapping[str, Sequence[Path]],
    below: Mapping[str, Sequence[Path]],
    mapping: Path,
    skipped: list[str],
) -> dict[str, tuple[str, ...]]:
    """The overhead classes that are right for each ground class, both with images."""
    right: dict[str, list[str]] = {}
    for overhead, grounds in table.items():
        if not above.get(overhead):
            why = "has no images" if overhead in above else "has no folder of overhead images"
            skipped.append(f"{mapping.name}: class {overhead!r} {why}")
            continue
        for ground in grounds:
            right.setdefault(ground, []).append(overhead)
    for name in dict.fromkeys(name for grounds in table.values() for name in grounds):
        if not below.get(name):
            why = "has no photos" if name in below else "has no folder of photos"
            skipped.append(f"{mapping.name}: class {name!r} {why}")
            right.pop(name, None)
    return {name: tuple(classes) for name, classes in right.items()}


def _all(folders: Mapping[str, Sequence[Path]]) -> list[Path]:
    return [file for files in folders.values() for file in files]


def _asked(
    photos: ImageVectors[Path],
    named: Mapping[str, Sequence[Path]],
    right: Mapping[str, tuple[str, ...]],
    gallery: Gallery,
    skipped: list[str],
) -> list[Photos]:
    """The readable photos of each class, where a right image could be read too."""
    classes = np.array([file.parent.name for file in photos.files], dtype=str)
    by_class = []
    for name in named:
        own = classes == name
        if not own.any():
            skipped.append(f"class {name!r}: none of its photos can be read")
        elif not np.isin(gallery.classes, right[name]).any():
            skipped.append(
                f"class {name!r}: none of the overhead images of its classes can be read"
            )
        else:
            files = tuple(f"{name}/{file.name}" for file in np.array(photos.files)[own])
            by_class.append(Photos(name, files, photos.vectors[own], right[name]))
    return by_class


def score_class(
    photos: Photos,
    gallery: Gallery,
    space: FeatureSpace,
    *,
    seed: int = 0,
    feedback: bool = False,
) -> ClassScores:
    """The scores of one ground class."""
    distance = space.distance()
    right = np.isin(gallery.classes, photos.right)
    images = distance.apply(gallery.vectors)

    def ranking(vectors: F32) -> tuple[F64, F64, F64]:
        asked = with_feedback(vectors, gallery.vectors, distance) if feedback else vectors
        return _ranking(distance.apply(asked), images, right, seed)

    precision, top1pct, shares = ranking(photos.vectors)
    fused = [photos.vectors[rows].mean(axis=0) for rows in fives(len(photos.vectors), seed)]
    means, _, _ = ranking(np.stack(fused))
    return ClassScores(
        photos.name,
        photos.files,
        precision,
        shares,
        top1pct,
        means,
        _class_match(space.logits(photos.vectors), space.logits(gallery.vectors), right),
        chance_precision(int(right.sum()), len(right)),
        100 * float(right.mean()),
    )


def fives(count: int, seed: int = 0, size: int = FUSED) -> list[I64]:
    """Rows dealt into groups of ``size``, the rest left out; of fewer, all in one group."""
    order = np.random.default_rng(seed).permutation(count)
    whole = count // size
    return list(order[: whole * size].reshape(whole, size)) if whole else [order]


def _ranking(photos: F64, images: F64, right: Bools, seed: int) -> tuple[F64, F64, F64]:
    """Of each photo ``(photo,)``: average precision, the percentage right among the best 1 %, and
    the share of the images that holds one right image, drawn at random."""
    norms, items = (images**2).sum(axis=1), len(images)
    rows, best = max(1, _VALUES // items), max(1, items // 100)
    drawn = np.random.default_rng(seed).integers(1, right.sum() + 1, len(photos))
    precision, first, shares = (np.empty(len(photos)) for _ in range(3))
    for start in range(0, len(photos), rows):
        part = slice(start, start + rows)
        # without the photo's own norm, which changes no order
        hits = _hits(norms[None] - 2 * photos[part] @ images.T, right)
        precision[part] = precision_of(hits)
        first[part] = 100 * hits[:, :best].mean(axis=1)
        reached = np.cumsum(hits, axis=1) == drawn[part, None]
        shares[part] = (reached.argmax(axis=1) + 1) / items
    return precision, first, shares


def _hits(scores: F64, right: Bools) -> Bools:
    return ranked_hits(scores, np.broadcast_to(right, scores.shape))


def _class_match(photos: F32, images: F32, right: Bools) -> F64:
    """Average precision of ranking images by how likely the photo's first scene is there."""
    top = photos.argmax(axis=1)
    share = {
        scene: precision_of(_hits(unlikely(images, scene)[None], right))[0]
        for scene in np.unique(top)
    }
    return np.array([share[scene] for scene in top], np.float64)
