"""Two heads that bring photos and overhead images of like classes to like unit vectors.

Either is a linear discriminant of its own classes, found in closed form, and small networks that
are trained. These know the classes by vectors of their own in the same space (prototypes). Three
losses add up: either image to the prototypes of the overhead classes that it goes with, a photo to
that of its own ground class, and images of a batch to one another (InfoNCE).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from ..encoders.formats.landuse import (
    EMBEDDED,
    HALF,
    MEMBERS,
    PHOTO_FEATURES,
    Head,
    joined,
    photo_head,
    place_head,
    shaped,
)
from ..progress import Progress, unheard
from .discriminant import fit_discriminant

F32 = NDArray[np.float32]
_SAMPLED = 4000  # feature vectors that a projection is found from
_CLOSER = 1 / 3  # of what is shown, the share of closer views
_HALFWAY = 0.5  # variance of the means and of the deviations of half the way; of the end's: 1


class SpaceSpec(BaseModel):
    """How the heads are trained. ``scale``: of cosines, before the softmax. ``shrinkage``: of the
    discriminant, see `fit_discriminant`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=1)] = 40
    batch: Annotated[int, Field(ge=2)] = 256
    rate: Annotated[float, Field(gt=0)] = 3e-3
    decay: Annotated[float, Field(ge=0)] = 0.05
    scale: Annotated[float, Field(gt=0)] = 12.0
    ground_weight: Annotated[float, Field(ge=0)] = 1.0
    shrinkage: Annotated[float, Field(gt=0, le=1)] = 0.7
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Views:
    """Features ``(image, view, feature)`` of images, and the class ``(image,)`` of each.

    ``closer``: features ``(image, feature)`` of the images' middles, which the networks are shown
    as well, so that they depend less on scale.
    """

    features: F32
    labels: NDArray[np.int64]
    closer: F32 | None = None

    def __getitem__(self, rows: NDArray[np.bool_]) -> Views:
        closer = None if self.closer is None else self.closer[rows]
        return Views(self.features[rows], self.labels[rows], closer)

    def mean(self) -> F32:
        """``(image, feature)``, averaged over the views: what a network computes."""
        return np.asarray(self.features.mean(1))


@dataclass(frozen=True)
class Space:
    """Trained heads, and unit vectors of the classes: ``(ground class, dim)``, ``(overhead …)``."""

    ground: Head
    overhead: Head
    ground_classes: F32
    overhead_classes: F32


def train_space(
    ground: Views,
    overhead: Views,
    together: NDArray[np.bool_],
    spec: SpaceSpec,
    progress: Progress | None = None,
) -> Space:
    """Train both heads; ``together`` ``(ground class, overhead class)``: which go together.

    Each member is trained for itself, as their errors then differ.
    """
    steps = spec.epochs * max(1, max(len(ground.labels), len(overhead.labels)) // spec.batch)
    tell = progress or unheard
    goes = torch.from_numpy(together).float()
    classes = []
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)  # the members' first weights
        dim = EMBEDDED + together.shape[1]
        sides = _Side(ground, photo_head(dim)), _Side(overhead, place_head(dim))
        for number in range(MEMBERS):
            torch.manual_seed(spec.seed + number)
            trainer = _Trainer(sides, number, goes, spec)
            for step in trainer.steps(steps):
                tell(number * steps + step, MEMBERS * steps)
            classes.append(trainer.classes())
    own, above = (torch.stack(parts) for parts in zip(*classes, strict=True))
    itself = torch.eye(len(goes.T))
    for side, known, meant in zip(sides, (own, above), (goes, itself), strict=True):
        side.head.eval().set_classes(known, meant)
        set_discriminant(side.head, side.views, spec.shrinkage)
    return Space(sides[0].head, sides[1].head, _vectors(own, goes), _vectors(above, itself))


def _vectors(known: Tensor, meant: Tensor) -> F32:
    """Unit vectors ``(class, dim)`` of classes, given as a `Head` has them."""
    return np.asarray(joined(meant, torch.cat(list(known), 1)).numpy(), np.float32)


def embed(head: Head, features: F32) -> F32:
    """Unit vectors ``(image, dim)`` of features ``(image, feature)``."""
    with torch.inference_mode():
        return np.asarray(head.eval()(torch.from_numpy(features)).numpy(), np.float32)


class _Side:
    """One head with its images, whose projected features are kept, as the projection is fixed."""

    def __init__(self, views: Views, head: Head) -> None:
        self.head, self.views = head, views
        whole = torch.from_numpy(views.mean())
        set_projection(self.head, whole)
        each = [torch.from_numpy(views.features[:, v]) for v in range(views.features.shape[1])]
        self.projected = torch.stack([self._projected(features) for features in (*each, whole)])
        self.closer = None
        if views.closer is not None:
            self.closer = self._projected(torch.from_numpy(views.closer))
        self.labels = torch.from_numpy(views.labels)

    def _projected(self, features: Tensor) -> Tensor:
        with torch.no_grad():
            projected: Tensor = self.head.project(self.head.centred(features))
        return projected

    def draw(self, count: int, member: int) -> tuple[Tensor, Tensor]:
        """Vectors of images drawn at random, each by one view or by all, and their classes."""
        rows = torch.randint(len(self.labels), (count,))
        vectors = self.head.members[member](self.shown(rows))
        return functional.normalize(vectors, dim=1), self.labels[rows]

    def shown(self, rows: Tensor) -> Tensor:
        """What is seen ``(n, value)`` of each image: a view, all of them, or its middle."""
        shown = self.projected[torch.randint(len(self.projected), rows.shape), rows]
        if self.closer is None:
            return shown
        closer = torch.rand(len(rows), 1) < _CLOSER
        return torch.where(closer, self.closer[rows], shown)


class _Trainer:
    """One member of both heads, and its vectors of the classes."""

    def __init__(
        self, sides: tuple[_Side, _Side], member: int, together: Tensor, spec: SpaceSpec
    ) -> None:
        self.ground, self.overhead = sides
        self.member, self.together, self.spec = member, together, spec
        self.own, self.above = (
            nn.Parameter(torch.randn(count, EMBEDDED // MEMBERS)) for count in together.shape
        )

    def steps(self, count: int) -> Iterator[int]:
        """Train, and yield the number of steps made."""
        learnt = [p for side in (self.ground, self.overhead)
                  for p in side.head.members[self.member].train().parameters()]  # fmt: skip
        optimizer = torch.optim.AdamW(
            [*learnt, self.own, self.above], self.spec.rate, weight_decay=self.spec.decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.spec.rate, total_steps=count, pct_start=0.1
        )
        for step in range(count):
            optimizer.zero_grad()
            self.loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            yield step + 1

    def loss(self) -> Tensor:
        """Of one batch."""
        spec = self.spec
        photos, own = self.ground.draw(spec.batch, self.member)
        places, above = self.overhead.draw(spec.batch, self.member)
        known = spec.scale * functional.normalize(self.above, dim=1).T
        named = spec.scale * functional.normalize(self.own, dim=1).T
        right = self.together[own]
        pairs = right[:, above]
        both = spec.scale * photos @ places.T
        return (
            functional.cross_entropy(places @ known, above)
            + soft_cross_entropy(photos @ known, right)
            + spec.ground_weight * functional.cross_entropy(photos @ named, own)
            + (soft_cross_entropy(both, pairs) + soft_cross_entropy(both.T, pairs.T)) / 2
        )

    def classes(self) -> tuple[Tensor, Tensor]:
        """Unit vectors of the ground classes and the overhead classes."""
        own, above = (functional.normalize(c.detach(), dim=1) for c in (self.own, self.above))
        return own, above


def soft_cross_entropy(logits: Tensor, right: Tensor) -> Tensor:
    """Mean over the rows that have a right answer, which is spread evenly over all right ones."""
    total = right.sum(1)
    some = total > 0
    if not some.any():
        return logits.sum() * 0
    share = right[some] / total[some, None]
    return -(share * logits[some].log_softmax(1)).sum(1).mean()


def set_projection(head: Head, features: Tensor) -> None:
    """The principal components of images by features ``(n, feature)``, half whitened, of spread
    1."""
    sample = np.random.default_rng(0).permutation(len(features))[:_SAMPLED]
    x = shaped(features[torch.from_numpy(sample)])
    shift = x.mean(0)
    x = x - shift
    scale = balance(x)
    x = x * scale
    width = head.project.out_features
    spread, axes = _components(x, width)
    spread = spread.clamp(min=1e-3 * float(spread[0]))  # few images span few directions
    matrix = (axes / spread**0.25).T  # half: the first ones stay somewhat larger
    matrix /= (x @ matrix.T).std()
    with torch.no_grad():
        head.shift.copy_(shift.half())  # as it is stored
        head.project.weight.copy_(matrix * scale)
    head.project.requires_grad_(False)


def balance(x: Tensor) -> Tensor:
    """By what to multiply shaped features ``(n, feature)`` around zero, to make their parts of
    like weight: those of the end as they are, those of half the way each of the same spread."""
    last, inner = x.tensor_split((PHOTO_FEATURES,), 1)
    weights = [(1 / last.square().sum(1).mean().sqrt()).expand(PHOTO_FEATURES)]
    if inner.shape[1]:
        spread = inner.std(0)
        spread = spread.clamp(min=1e-3 * float(spread.mean()))
        weights.append((_HALFWAY / HALF) ** 0.5 / spread)
    return torch.cat(weights)


def set_discriminant(head: Head, views: Views, shrinkage: float) -> None:
    """That of the classes of images, whose features the head shifts already."""
    with torch.inference_mode():
        x = head.centred(torch.from_numpy(views.mean()))
        scale = balance(x - x.mean(0))
    found = fit_discriminant((x * scale).numpy(), views.labels, shrinkage)
    head.set_discriminant(torch.from_numpy(found.weights) * scale, torch.from_numpy(found.bias))


def _components(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The variances ``(width,)`` of the principal components, and their axes ``(feature, width)``.

    Where images are too few for so many, the last axes are zero.
    """
    if len(x) > x.shape[1]:
        spread, axes = torch.linalg.eigh(x.T @ x / len(x))
        return spread.flip(0)[:width], axes.flip(1)[:, :width]
    _, sizes, rows = torch.linalg.svd(x, full_matrices=False)
    lacking = max(0, width - len(sizes))
    spread = functional.pad(sizes[:width] ** 2 / len(x), (0, lacking))
    return spread, functional.pad(rows[:width].T, (0, lacking))
