"""The specification of a training of a student."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .augment import Augmentation
from .frozen import POOLED
from .loop import LoopSpec
from .photo_views import PhotoViews
from .student import LossSpec
from .study import StudyWindows


class TrainSpec(BaseModel):
    """Everything that determines the result of a training; `recipes` has sets of its fields.

    ``pairs``: a pairs file, or a folder of shards. ``arch``: one with a frozen trunk
    (`frozen`), or a network that is trained whole. ``method`` dense: of ``patch_px`` the central
    ``pool_px`` are pooled and the rest is context; ``method`` patch: the network as it is.
    ``chip_px``: to which overhead images are stretched before windows are cut of them; null:
    ``patch_px``. ``init``: a file of initial weights, or a model with such a photo network.
    ``gsd``: smallest, preferred and largest m/px of the imagery it will be used on.
    ``hard``: share of a batch that is chosen for photos that are alike. ``photo_views``: views of
    each photo that are shown. ``select``: by what the best epoch is chosen.
    ``metric``: "within-group" gives the model the teacher's inverse within-group covariance as
    its distance; it suits ``l2`` and harms contrastive students.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: Path
    teacher: str
    out: Path
    name: str = Field(default="student", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    recipe: str = ""
    arch: str = POOLED
    method: Literal["dense", "patch"] = "dense"
    patch_px: int = Field(default=160, ge=32, le=1024)
    chip_px: int | None = Field(default=None, ge=32, le=4096)
    pool_px: int = Field(default=96, ge=8)
    stride: int = Field(default=32, ge=4, le=32)
    init: str | None = None
    gsd: tuple[float, float, float] = (1.0, 1.6, 4.0)
    hidden: int = Field(default=512, ge=8)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    views: int = Field(default=6, ge=1, description="views of each chip for a frozen trunk")
    batch: int = Field(default=256, ge=2)
    batches: int = Field(default=1, ge=1, description="fewest of an epoch: few pairs, small ones")
    loss: LossSpec = LossSpec(kind="l2", photos=16)
    augment: Augmentation | StudyWindows = Augmentation()
    photo_views: PhotoViews = PhotoViews()
    hard: float = Field(default=0.0, ge=0, le=1)
    from_mean: bool = Field(default=True, description="begin near the teacher's mean vector")
    select: Literal["retrieval", "loss"] = "retrieval"
    metric: Literal["none", "within-group"] = "within-group"
    loop: LoopSpec = LoopSpec(epochs=60, lr=1e-3, schedule="cosine", weight_decay=1e-4)

    @property
    def side(self) -> int:
        """px to which chips are stretched."""
        return self.chip_px or self.patch_px

    def batch_of(self, pairs: int) -> int:
        """Pairs of a batch where there are so many in all: fewer than ``batch``, and a number that
        processes can share, where an epoch would else have too few steps to learn by."""
        most = pairs // self.batches
        if self.batches == 1 or most >= self.batch:
            return self.batch
        parts = self.loop.accumulate
        share = next(n for n in (8 * parts, 2 * parts, parts) if most >= n or n == parts)
        return max(most - most % share, share, 2)

    def told(self) -> dict[str, Any]:
        """What the result depends on besides the data, JSON types."""
        return self.model_dump(mode="json", exclude={"pairs", "out", "teacher", "init"})


def run_folder(spec: TrainSpec) -> Path:
    """Where a run keeps its checkpoints, caches and logs: ``<out>.run``."""
    return spec.out.with_name(spec.out.name + ".run")
