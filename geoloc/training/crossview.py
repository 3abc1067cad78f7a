"""Joint training of two heads: one for ground photos, one for places from above.

Both trunks are frozen, so their features are computed once; only the heads are trained. They learn
to classify scenes, and that the vectors of a photo and its place are nearer than those of a photo
and another place (InfoNCE, van den Oord et al. 2018, over the distance used in searches).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UsageError
from .losses import EXCLUDED, cross_distance, paired_distance, soft_cross_entropy


@dataclass(frozen=True)
class PlaceData:
    """Features of photos, of the places where they were taken, and of other places.

    photos: float ``(photo, view, feature)``; places: float ``(photo, view, feature)``, each on
    several days and rotated; labels, place_labels: float32 ``(photo, class)``, shares that sum to
    1, of the photo's content and of the camera's surroundings; spots: int ``(photo, 3)``: world,
    row and column of the camera (px); spares: float ``(spare, view, feature)``, places of the
    same worlds without photos; spare_spots: int ``(spare, 3)``.
    """

    photos: NDArray[np.float16]
    places: NDArray[np.float16]
    labels: NDArray[np.float32]
    place_labels: NDArray[np.float32]
    spots: NDArray[np.int64]
    spares: NDArray[np.float16]
    spare_spots: NDArray[np.int64]


class CrossViewSpec(BaseModel):
    """Weights of the losses. ``scale``: distances times this are the contrastive logits.

    ``photo_weight``, ``place_weight``: of classifying photos and places; ``contrast``: of
    distinguishing a photo's place from others; ``regression``: of the mean distance between a
    photo's vector and its place's. ``spares``: other places per photo that serve as negatives.
    ``apart_px``: closer places are not each other's negatives. ``photo_views``: shares in which the
    views of a photo are drawn, one for each view; none: equally.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    photo_weight: float = Field(default=1.0, ge=0)
    place_weight: float = Field(default=1.0, ge=0)
    contrast: float = Field(default=1.0, ge=0)
    regression: float = Field(default=0.05, ge=0)
    scale: float = Field(default=6.0, gt=0)
    spares: float = Field(default=1.0, ge=0)
    apart_px: float = Field(default=24.0, ge=0)
    photo_views: tuple[Annotated[float, Field(ge=0)], ...] | None = None

    @field_validator("photo_views")
    @classmethod
    def _whole(cls, shares: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if shares is not None and not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise ValueError(f"the shares {shares} must sum to 1")
        return shares


class Duo(nn.Module):
    """The heads of a ground and of an overhead network, as one set of weights."""

    def __init__(self, ground: nn.Module, overhead: nn.Module) -> None:
        super().__init__()
        self.ground, self.overhead = ground, overhead


class CrossViewTask:
    """Train both heads of a `Duo`."""

    name = "cross-view"

    def __init__(
        self, net: Duo, train: PlaceData, valid: PlaceData, *, spec: CrossViewSpec,
        batch: int, seed: int,
    ) -> None:  # fmt: skip
        """Raises UsageError where ``spec.photo_views`` has not one share for each view."""
        shares, views = spec.photo_views, train.photos.shape[1]
        if shares is not None and len(shares) != views:
            raise UsageError(
                f"photo_views: {len(shares)} shares for {views} views of each photo: "
                "give one for each, or compute the features anew"
            )
        self.net, self.train, self.valid, self.spec = net, train, valid, spec
        self.batch, self.seed = batch, seed

    def steps(self) -> int:
        return max(len(self.train.photos) // self.batch, 1)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Photos, places (the pairs' first, then spares), labels, place labels, too close."""
        data, rng = self.train, np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(data.photos))
        for step in range(self.steps()):
            index = order[step * self.batch : (step + 1) * self.batch]
            count = min(int(len(index) * self.spec.spares), len(data.spares))
            others = rng.choice(len(data.spares), count, replace=False)
            places = [_views(data.places, index, rng), _views(data.spares, others, rng)]
            spots = np.concatenate([data.spots[index], data.spare_spots[others]])
            yield (
                _views(data.photos, index, rng, self.spec.photo_views),
                torch.cat(places),
                torch.from_numpy(data.labels[index]),
                torch.from_numpy(data.place_labels[index]),
                torch.from_numpy(_near(data.spots[index], spots, self.spec.apart_px)),
            )

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        photos, places, labels, place_labels, near = batch
        of_photos, of_places = self.net.ground(photos), self.net.overhead(places)
        pairs = of_places[: len(of_photos)]
        loss = self.spec.regression * paired_distance(pairs, of_photos).mean()
        loss = loss + self.spec.contrast * self._contrast(of_photos, of_places, near)
        loss = loss + self.spec.place_weight * soft_cross_entropy(pairs, place_labels)
        return loss + self.spec.photo_weight * soft_cross_entropy(of_photos, labels)

    def _contrast(self, photos: Tensor, places: Tensor, near: Tensor) -> Tensor:
        """InfoNCE in both directions; the spares are negatives of the photos only."""
        n = len(photos)
        logits = (-self.spec.scale * cross_distance(photos, places)).masked_fill(near, EXCLUDED)
        labels = torch.arange(n)
        to_places = functional.cross_entropy(logits, labels)
        return (to_places + functional.cross_entropy(logits[:, :n].T, labels)) / 2

    def validate(self) -> Mapping[str, float]:
        """The ranks of true places among the spare places of their own world."""
        data = self.valid
        photos = self.net.ground(_first(data.photos))
        true, spare = (self.net.overhead(_first(part)) for part in (data.places, data.spares))
        percentiles = _percentiles(data, photos, true, spare)
        named = (photos.argmax(1) == torch.from_numpy(data.labels).argmax(1)).float().mean()
        return {
            "score": -float(np.log(percentiles).mean()),
            "median_percentile": float(np.median(percentiles)),
            "top1pct": float(100 * (percentiles <= 1).mean()),
            "top10pct": float(100 * (percentiles <= 10).mean()),
            "photo_accuracy": 100 * float(named),
        }


def _views(
    features: NDArray[np.float16], index: NDArray[np.int64], rng: np.random.Generator,
    shares: tuple[float, ...] | None = None,
) -> Tensor:  # fmt: skip
    """One random view of each, equally often or in these shares: float32 ``(index, feature)``."""
    views = rng.choice(features.shape[1], size=len(index), p=shares)
    return torch.from_numpy(features[index, views].astype(np.float32))


def _first(features: NDArray[np.float16]) -> Tensor:
    return torch.from_numpy(features[:, 0].astype(np.float32))


def _near(spots: NDArray[np.int64], others: NDArray[np.int64], pixels: float) -> NDArray[np.bool_]:
    """``(spot, other)``: whether too close to be a negative; never for the pair itself."""
    apart = spots[:, None, 1:] - others[None, :, 1:]
    near = (spots[:, None, 0] == others[None, :, 0]) & (np.square(apart).sum(2) < pixels**2)
    near[np.arange(len(spots)), np.arange(len(spots))] = False
    return np.asarray(near)


def _percentiles(
    data: PlaceData, photos: Tensor, true: Tensor, spare: Tensor
) -> NDArray[np.float64]:
    """Percentage of the spare places of the same world that are nearer than the true place."""
    own = torch.from_numpy(data.spots[:, :1] == data.spare_spots[None, :, 0])
    nearer = (cross_distance(photos, spare) <= paired_distance(photos, true)[:, None]) & own
    shares: NDArray[np.float64] = (100 * (nearer.sum(1) + 0.5) / (own.sum(1) + 1)).numpy()
    return shares
