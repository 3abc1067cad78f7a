"""Both encoders learnt together, from photos and imagery of the same places.

The ground network learns to name scene classes (soft labels) and, at the same time, to say
only what imagery can confirm: its vector is pulled to that of the overhead network at the same
place and pushed from those of other places. So each component stays a named class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from ..encoders.networks import SplitNetwork, dense_forward
from .augment import NONE, Augmentation, windows
from .losses import cross_distance, paired_distance, soft_cross_entropy

_CHUNK = 128  # images at once where nothing is learnt


@dataclass(frozen=True)
class PlaceData:
    """Photos of known places on a few mosaics of imagery.

    photos: uint8 ``(photo, 3, h, h)``; labels: float32 ``(photo, class)``, shares that sum
    to 1; mosaics: uint8 ``(flight, 3, y, x)`` each, the same ground seen on several days; spots:
    int ``(photo, 3)``: mosaic, row and column
    of the pixel under the camera; spares: int ``(spot, 3)``: other places, which no photo shows;
    place_labels: float32 ``(photo, class)``: what surrounds the camera, whatever it looks at.
    """

    photos: NDArray[np.uint8]
    labels: NDArray[np.float32]
    place_labels: NDArray[np.float32]
    mosaics: Sequence[NDArray[np.uint8]]
    spots: NDArray[np.int64]
    spares: NDArray[np.int64]

    def chips(self, spots: NDArray[np.int64], size: int, rng: np.random.Generator) -> Tensor:
        """Chips uint8 ``(spot, 3, size, size)`` around places, each of a flight drawn at random.

        Mosaics must reach that far beyond the places.
        """
        half = size // 2
        cut = []
        for number, row, col in spots:
            mosaic = self.mosaics[number]
            rows, cols = (slice(at - half, at - half + size) for at in (row, col))
            cut.append(mosaic[rng.integers(len(mosaic)), :, rows, cols])
        return torch.from_numpy(np.stack(cut))


class CrossViewSpec(BaseModel):
    """What counts how much. ``scale``: distances times this are the contrast's logits.

    ``photo_weight``, ``place_weight``: naming the classes of photos and of places;
    ``contrast``: telling the place of a photo from others; ``regression``: the mean distance
    between a photo's vector and its place's. ``spares``: per photo, other places that serve as
    negatives. ``apart_px``: closer places are not each other's negatives.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    photo_weight: float = Field(default=1.0, ge=0)
    place_weight: float = Field(default=0.5, ge=0)
    contrast: float = Field(default=1.0, ge=0)
    regression: float = Field(default=0.1, ge=0)
    scale: float = Field(default=4.0, gt=0)
    spares: float = Field(default=0.25, ge=0)
    apart_px: float = Field(default=24.0, ge=0)
    train_ground: bool = True


class Duo(nn.Module):
    """A ground network and an overhead network of the same classes, as one set of weights."""

    def __init__(self, ground: nn.Module, overhead: SplitNetwork) -> None:
        super().__init__()
        self.ground, self.overhead = ground, overhead


class CrossViewTask:
    """Learn both networks of a `Duo`, or with ``train_ground=False`` the overhead one alone."""

    name = "cross-view"

    def __init__(
        self,
        net: Duo,
        train: PlaceData,
        valid: PlaceData,
        *,
        spec: CrossViewSpec,
        size: int,
        pool: int,
        batch: int,
        seed: int,
        chip_augment: Augmentation,
        photo_augment: Augmentation,
        normalize: tuple[tuple[float, ...], tuple[float, ...]],
    ) -> None:
        self.net, self.train, self.valid, self.spec = net, train, valid, spec
        self.size, self.pool, self.batch, self.seed = size, pool, batch, seed
        self.chip_augment, self.photo_augment = chip_augment, photo_augment
        self.mean, self.std = (torch.tensor(v)[:, None, None] for v in normalize)
        net.ground.requires_grad_(spec.train_ground)

    def steps(self) -> int:
        return max(len(self.train.photos) // self.batch, 1)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Photos, chips (the pairs' first, then spares), labels, place labels, same-place mask."""
        rng = np.random.default_rng((self.seed, epoch))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        order = rng.permutation(len(self.train.photos))
        margin = int(self.size * 1.42)
        for step in range(self.steps()):
            index = order[step * self.batch : (step + 1) * self.batch]
            count = min(int(len(index) * self.spec.spares), len(self.train.spares))
            spares = self.train.spares[rng.integers(len(self.train.spares), size=count)]
            spots = np.concatenate([self.train.spots[index], spares])
            chips = windows(
                self.train.chips(spots, margin, rng), self.size, self.chip_augment, generator
            )
            photos = torch.from_numpy(self.train.photos[index])
            yield (
                windows(photos, photos.shape[-1], self.photo_augment, generator),
                chips,
                torch.from_numpy(self.train.labels[index]),
                torch.from_numpy(self.train.place_labels[index]),
                torch.from_numpy(_near(self.train.spots[index], spots, self.spec.apart_px)),
            )

    def ground(self, photos: Tensor) -> Tensor:
        """Photos in [0, 1] to vectors."""
        x = ((photos - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(self.spec.train_ground and torch.is_grad_enabled()):
            result: Tensor = self.net.ground(x)
        return result

    def overhead(self, chips: Tensor) -> Tensor:
        """Windows in [0, 1] to vectors, by the dense-native function."""
        x = ((chips - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return dense_forward(self.net.overhead, x, self.pool)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        photos, chips, labels, place_labels, near = batch
        if not self.spec.train_ground:
            self.net.ground.eval()  # a frozen teacher keeps its batch statistics
        said, seen = self.ground(photos).float(), self.overhead(chips).float()
        pairs = seen[: len(said)]
        loss = self.spec.regression * paired_distance(pairs, said).mean()
        loss = loss + self.spec.contrast * self._contrast(said, seen, near)
        loss = loss + self.spec.place_weight * soft_cross_entropy(pairs, place_labels)
        if self.spec.train_ground:
            loss = loss + self.spec.photo_weight * soft_cross_entropy(said, labels)
        return loss

    def _contrast(self, said: Tensor, seen: Tensor, near: Tensor) -> Tensor:
        """InfoNCE both ways; the spares are negatives of the photos only."""
        n = len(said)
        logits = (-self.spec.scale * cross_distance(said, seen)).masked_fill(near, -1e9)
        labels = torch.arange(n)
        there = functional.cross_entropy(logits, labels)
        return (there + functional.cross_entropy(logits[:, :n].T, labels)) / 2

    def validate(self) -> Mapping[str, float]:
        """Where true places rank among them and the spare places of their own mosaic."""
        data = self.valid
        said = self._map(self.ground, torch.from_numpy(data.photos))
        true = self._map_chips(data.spots)
        spare = self._map_chips(data.spares)
        percentiles = _percentiles(data, said, true, spare)
        named = (said.argmax(1) == torch.from_numpy(data.labels).argmax(1)).float().mean()
        return {
            "score": -float(np.log(percentiles).mean()),
            "median_percentile": float(np.median(percentiles)),
            "top1pct": float(100 * (percentiles <= 1).mean()),
            "top10pct": float(100 * (percentiles <= 10).mean()),
            "photo_accuracy": 100 * float(named),
        }

    def _map(self, function: object, images: Tensor) -> Tensor:
        assert callable(function)
        return torch.cat(
            [function(part.float() / 255).float() for part in torch.split(images, _CHUNK)]
        )

    def _map_chips(self, spots: NDArray[np.int64]) -> Tensor:
        """Vectors ``(spot, feature)`` of places, always of the same flights."""
        rng, generator = np.random.default_rng(self.seed), torch.Generator()
        parts = []
        for part in np.array_split(spots, max(len(spots) // _CHUNK, 1)):
            chips = self.valid.chips(part, self.size, rng)
            parts.append(self.overhead(windows(chips, self.size, NONE, generator)).float())
        return torch.cat(parts)


def _near(spots: NDArray[np.int64], others: NDArray[np.int64], pixels: float) -> NDArray[np.bool_]:
    """``(spot, other)``: too close for a negative; never the pair itself."""
    apart = spots[:, None, 1:] - others[None, :, 1:]
    near = (spots[:, None, 0] == others[None, :, 0]) & (np.square(apart).sum(2) < pixels**2)
    near[np.arange(len(spots)), np.arange(len(spots))] = False
    return np.asarray(near)


def _percentiles(data: PlaceData, said: Tensor, true: Tensor, spare: Tensor) -> NDArray[np.float64]:
    """Percentage of the spare places of the same mosaic that are nearer than the true place."""
    own = torch.from_numpy(data.spots[:, :1] == data.spares[None, :, 0])
    nearer = (cross_distance(said, spare) <= paired_distance(said, true)[:, None]) & own
    shares: NDArray[np.float64] = (100 * (nearer.sum(1) + 0.5) / (own.sum(1) + 1)).numpy()
    return shares
