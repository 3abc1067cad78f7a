"""torchvision networks, split into a convolutional trunk and a head, at a chosen stride.

Two functions of an overhead network are distinguished:

- the *patch* function ``network(x)``: zero padding at the patch's edge, global pooling;
- the *dense* function ``dense_forward(net, x, pool_px)``: the trunk sees context on all sides and
  only the central window is pooled. It is the same at every position of a larger tile
  (``dense_features``), up to the zero padding at the tile's far edge, which a halo keeps away.

Both training and inference of dense-native networks use this module.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from ...errors import ModelError, one_line
from ...extras import extra
from .landuse import PhotoLanduse, PlaceLanduse
from .lite0 import PhotoLite0, PlaceLite0, TunedLite0
from .vision import torchvision

if TYPE_CHECKING:
    from ...models.spec import NetworkSpec
    from ..runtime import Engine

_PROBE_PX = 256  # input side at which a trunk's feature sizes are measured
_AUXILIARY = ("googlenet", "inception_v3")  # their training heads do not fit one vector out
_PARALLEL_KEY = re.compile(r"(?:^|(?<=\.))module\.")
_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")

Layer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Family:
    """How a family of torchvision networks is split into trunk and head."""

    prefixes: tuple[str, ...]
    trunk: Callable[[Any, Tensor], Tensor]
    head: Callable[[Any, Tensor], Tensor]


def _resnet_trunk(net: Any, x: Tensor) -> Tensor:
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    return cast(Tensor, net.layer4(net.layer3(net.layer2(net.layer1(x)))))


def _shufflenet_trunk(net: Any, x: Tensor) -> Tensor:
    x = net.maxpool(net.conv1(x))
    return cast(Tensor, net.conv5(net.stage4(net.stage3(net.stage2(x)))))


def _squeezenet_trunk(net: Any, x: Tensor) -> Tensor:
    # the classifier is a 1 x 1 convolution before the pooling, so all of it belongs to the trunk
    return cast(Tensor, net.classifier[:-1](net.features(x)))


def _convnext_head(net: Any, pooled: Tensor) -> Tensor:
    return cast(Tensor, net.classifier(pooled[:, :, None, None]))


_FAMILIES = (
    _Family(
        ("densenet",), lambda n, x: functional.relu(n.features(x)), lambda n, p: n.classifier(p)
    ),
    _Family(("resnet", "resnext", "wide_resnet"), _resnet_trunk, lambda n, p: n.fc(p)),
    _Family(("regnet",), lambda n, x: n.trunk_output(n.stem(x)), lambda n, p: n.fc(p)),
    _Family(("shufflenet",), _shufflenet_trunk, lambda n, p: n.fc(p)),
    _Family(("squeezenet",), _squeezenet_trunk, lambda _, p: p),
    _Family(("mnasnet",), lambda n, x: n.layers(x), lambda n, p: n.classifier(p)),
    _Family(("convnext",), lambda n, x: n.features(x), _convnext_head),
    _Family(
        ("mobilenet", "efficientnet"), lambda n, x: n.features(x), lambda n, p: n.classifier(p)
    ),
)


_OWN: dict[str, Callable[[int], nn.Module]] = {
    "photo_lite0": PhotoLite0,
    "place_lite0": PlaceLite0,
    "place_lite0_tuned": TunedLite0,
    "photo_landuse_discriminant": PhotoLanduse,
    "place_landuse_discriminant": PlaceLanduse,
}
"""Architectures of our own, by the name that a model directory gives them."""

_FORMER = ("photo_landuse", "place_landuse", "photo_landuse_kinds", "place_landuse_kinds")
"""Names that were given to other functions: heads without a discriminant, on fewer features."""

_PLACE_LITE0 = _Family((), lambda n, x: n.trunk(x), lambda n, p: n.head(p))
_OWN_DENSE: dict[str, tuple[type[PlaceLite0 | PlaceLanduse], _Family]] = {
    "place_lite0": (PlaceLite0, _PLACE_LITE0),
    "place_lite0_tuned": (TunedLite0, _PLACE_LITE0),
    "place_landuse_discriminant": (
        PlaceLanduse,
        _Family((), lambda n, x: n.trunk(x), lambda n, p: n.vector(p)),
    ),
}


def is_lite(arch: str) -> bool:
    """Whether an architecture takes pixels as EfficientNet-Lite does, not as torchvision's do."""
    return arch in _OWN


class SplitNetwork(nn.Module):
    """A torchvision network as ``head(mean(trunk(x)))``; ``network`` holds all parameters.

    ``stride``: px between feature positions. ``halo_px``: margin of real imagery beyond which
    a feature cannot see (an upper bound of the receptive field's reach). ``tile_px``: side of the
    largest input that it should be given, where that is less than is usual.
    Feature position ``i`` belongs to the pixels ``[i * stride, (i + 1) * stride)``.
    """

    def __init__(
        self, network: nn.Module, family: _Family, stride: int, halo_px: int,
        tile_px: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = network
        self.stride = stride
        self.halo_px = halo_px
        self.tile_px = tile_px
        self._family = family

    def trunk(self, x: Tensor) -> Tensor:
        """``(n, 3, H, W)`` -> features ``(n, C, ~H/stride, ~W/stride)``."""
        return self._family.trunk(self.network, x)

    def head(self, pooled: Tensor) -> Tensor:
        """Pooled features ``(n, C)`` -> vectors ``(n, D)``."""
        return self._family.head(self.network, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, H, W)`` -> ``(n, D)``, pooled over the whole input."""
        return self.head(self.trunk(x).mean((2, 3)))


class LocalAverage(nn.Module):
    """Mean over a window of ``size`` (odd) positions, clipped at the edge; keeps the shape.

    Stands in for the global pooling of squeeze-and-excitation, which would make a feature
    depend on the whole tile, and so on how tiles are cut.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """``(n, C, h, w)`` -> ``(n, C, h, w)``."""
        for kernel in ((self.size, 1), (1, self.size)):
            padding = (kernel[0] // 2, kernel[1] // 2)
            x = functional.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
        return x


def build_network(arch: str, dim: int) -> nn.Module:
    """Any torchvision classification network with ``dim`` outputs, random weights.

    Raises ModelError for an unknown or unsuitable architecture.
    """
    if arch in _OWN:
        return _OWN[arch](dim)
    if arch in _FORMER:
        raise ModelError(
            f"arch {arch!r} belongs to a model of land use of an earlier version, which this one "
            "computes differently: make it again with 'geoloc models make landuse'"
        )
    with extra("train", f"arch {arch!r}"):
        models = torchvision("models")  # takes a second, which other models do not need

    known = models.list_models(module=models)
    if arch not in known or arch in _AUXILIARY:
        raise ModelError(
            f"arch {arch!r} is not a torchvision classification network with one output: "
            "use one such as densenet161, resnet50, mobilenet_v2 or shufflenet_v2_x0_5"
        )
    return cast(nn.Module, models.get_model(arch, weights=None, num_classes=dim))


def build_dense(arch: str, dim: int, stride: int, pool_px: int) -> SplitNetwork:
    """A dense-native network with random weights: split, dilated to ``stride``, all local.

    ``pool_px`` is also the window over which squeeze-and-excitation averages.
    Raises ModelError, with the reason, if the architecture cannot run densely.
    """
    if arch in _OWN_DENSE:
        return _split_own(arch, dim, stride, pool_px)
    _family_of(arch)  # refuse before a large network is built
    return split_network(build_network(arch, dim), arch, stride=stride, local_px=pool_px)


def _split_own(arch: str, dim: int, stride: int, pool_px: int) -> SplitNetwork:
    """They are dense-native by themselves. Raises ModelError for another stride or window."""
    kind, family = _OWN_DENSE[arch]
    if (stride, pool_px) != (kind.STRIDE, kind.POOL):
        raise ModelError(
            f"{arch} needs stride {kind.STRIDE} and pool_px {kind.POOL}, not {stride} and {pool_px}"
        )
    return SplitNetwork(kind(dim), family, stride, kind.HALO, kind.TILE_PX)


def split_network(
    network: nn.Module, arch: str, *, stride: int | None = None, local_px: int | None = None
) -> SplitNetwork:
    """Split ``network`` (changed in place) into trunk and head.

    ``stride`` below the network's own dilates its last stages (à trous: the features at every
    second position stay what they were). ``local_px`` makes squeeze-and-excitation local.
    Raises ModelError for a network without a convolutional trunk or an impossible stride.
    """
    family = _family_of(arch)
    layers = _measure(network, family)
    native = max(layer.out_stride for layer in layers)
    stride = stride or native
    if stride > native or native % stride or not math.log2(stride).is_integer():
        raise ModelError(f"{arch} has stride {native}: dense stride {stride} must divide it")
    reach = _Reach()
    for layer in layers:
        layer.dilate(arch, stride)
        reach.add(layer, stride)
    if local_px is not None:
        reach.widen(_localise(layers, stride, local_px))
    return SplitNetwork(network, family, stride, reach.halo(stride))


def dense_forward(net: SplitNetwork, x: Tensor, pool_px: int) -> Tensor:
    """The dense-native function: the vector of the centre of each window.

    ``x`` (n, 3, P, P) -> (n, D). The trunk runs over the whole window, only the features of the
    central ``pool_px`` are averaged. P - pool_px must be a multiple of two strides.
    """
    k = pool_px // net.stride
    top, left = ((side // net.stride - k) // 2 for side in x.shape[-2:])
    features = net.trunk(x)[..., top : top + k, left : left + k]
    return net.head(features.float().mean((2, 3)))


def dense_features(net: SplitNetwork, x: Tensor, pool_px: int) -> Tensor:
    """The same function at every position of a tile: ``(n, 3, H, W)`` -> pooled (n, C, h, w).

    Position (i, j) is pooled over the pixels ``[i*stride, i*stride + pool_px)``; feed it to
    ``head`` as rows ``(positions, C)``.
    """
    return sliding_mean(net.trunk(x).float(), pool_px // net.stride)


def sliding_mean(x: Tensor, size: int) -> Tensor:
    """Mean over windows of ``size`` x ``size``: ``(n, C, h, w)`` -> ``(n, C, h-size+1, …)``."""
    # separable: 2 * size additions instead of size ** 2
    return functional.avg_pool2d(functional.avg_pool2d(x, (size, 1), 1), (1, size), 1)


def open_network(spec: NetworkSpec, path: Path, dim: int, engine: Engine) -> Layer:
    """A whole network with its weights, on the engine's device. Raises ModelError."""
    network = build_network(cast(str, spec.arch), dim)
    load_weights(network, path)
    return engine.place(network)


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load a safetensors state dict strictly (after renaming of old keys); eval mode.

    Raises ModelError naming the first keys or shapes that do not fit.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a safetensors file ({error}): import it again") from None
    load_state(network, state, str(path))


def load_state(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Strict loading of a state dict; half precision is widened. Raises ModelError.

    Frozen parts, which come from a package, are left unchanged.
    """
    built = cast(Any, network.state_dict())
    frozen = {k: v for k, v in built.items() if _is_frozen(network, k)}
    given: Any = OrderedDict(frozen | rename_keys(state))
    # mnasnet asks for the version of what it loads; layers are not, as old files lack counters
    given._metadata = {"": built._metadata[""]}
    try:
        network.load_state_dict(given, strict=True)
    except RuntimeError as error:
        reason = one_line(error, 300)
        raise ModelError(f"{where} does not fit the architecture: {reason}") from None
    network.eval()


def _is_frozen(network: nn.Module, key: str) -> bool:
    """Whether a parameter belongs to a part that comes with a package, not with a model."""
    prefix = getattr(network, "FROZEN", None)
    return prefix is not None and key.startswith(prefix)


def rename_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Current names for old ones: ``module.`` dropped, DenseNet's ``norm.1`` -> ``norm1``.

    DataParallel, which adds ``module.``, is put around a whole network or, as in checkpoints of
    AlexNet, around a part of it: ``features.module.0``.
    """
    return {_DENSENET_KEY.sub(r"\1\2", _PARALLEL_KEY.sub("", k)): v for k, v in state.items()}


def weights_bytes(net: nn.Module, *, half: bool = False) -> bytes:
    """The parameters of a network (split or not) as safetensors, optionally in half precision."""
    network = net.network if isinstance(net, SplitNetwork) else net
    state = {
        key: value.detach().cpu().contiguous()
        for key, value in network.state_dict().items()
        if not _is_frozen(network, key)
    }
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    return save(state)


def _family_of(arch: str) -> _Family:
    family = next((f for f in _FAMILIES if arch.startswith(f.prefixes)), None)
    if family is None:
        raise ModelError(
            f"{arch} has no convolutional trunk followed by a small pooled head, so it cannot run "
            "densely: use method patch, or a network such as densenet, resnet or mobilenet"
        )
    return family


@dataclass
class _Layer:
    """A spatial layer of a trunk, with the network's own strides before and after it."""

    module: nn.Module
    in_stride: int
    out_stride: int

    @property
    def kernel(self) -> int:
        size = getattr(self.module, "kernel_size", 1)
        return int(size[0] if isinstance(size, tuple) else size)

    def get(self, name: str) -> int:
        value = getattr(self.module, name, 1 if name == "dilation" else 0)
        return int(value[0] if isinstance(value, tuple) else value)

    def dilate(self, arch: str, stride: int) -> None:
        """Change the layer so that the trunk's stride never exceeds ``stride``."""
        before, after = min(self.in_stride, stride), min(self.out_stride, stride)
        factor = self.in_stride // before
        if after // before == self.out_stride // self.in_stride and (
            factor == 1 or self.kernel == 1
        ):
            return
        if factor > 1 and self.kernel > 1 and not isinstance(self.module, nn.Conv2d):
            raise ModelError(f"{arch} cannot be dilated to stride {stride}: use {2 * stride}")
        self._set("stride", after // before)
        if factor > 1 and self.kernel > 1:
            self._set("dilation", self.get("dilation") * factor)
            self._set("padding", self.get("padding") * factor)

    def _set(self, name: str, value: int) -> None:
        pair = isinstance(self.module, nn.Conv2d)
        setattr(self.module, name, (value, value) if pair else value)


class _Reach:
    """How many pixels a feature can see before and behind its own ``stride`` pixels."""

    def __init__(self) -> None:
        self.before = 0
        self.span = 1

    def add(self, layer: _Layer, stride: int) -> None:
        jump = min(layer.in_stride, stride)
        self.before += layer.get("padding") * jump
        self.span += (layer.kernel - 1) * layer.get("dilation") * jump

    def widen(self, pixels: int) -> None:
        self.before += pixels
        self.span += 2 * pixels

    def halo(self, stride: int) -> int:
        """Whole strides on each side."""
        reach = max(self.before, self.span - self.before - stride, 0)
        return math.ceil(reach / stride) * stride


def _measure(network: nn.Module, family: _Family) -> list[_Layer]:
    """The trunk's spatial layers in the order of execution, with their strides."""
    layers: list[_Layer] = []

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = inputs[0].shape[-1], output.shape[-1]
        if before > 1:  # 1 x 1 maps are squeeze-and-excitation's inner layers
            layers.append(_Layer(module, _stride_of(before), _stride_of(after)))

    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, torchvision("ops").SqueezeExcitation)
    hooks = [m.register_forward_hook(seen) for m in network.modules() if isinstance(m, kinds)]
    training = network.training
    try:
        network.eval()
        with torch.no_grad():
            family.trunk(network, torch.zeros(1, 3, _PROBE_PX, _PROBE_PX))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return layers


def _stride_of(size: int) -> int:
    return int(2 ** round(math.log2(_PROBE_PX / size)))


def _localise(layers: list[_Layer], stride: int, local_px: int) -> int:
    """Make squeeze-and-excitation local; returns the pixels by which that widens the reach."""
    squeezing, widened = torchvision("ops").SqueezeExcitation, 0
    for layer in layers:
        if isinstance(layer.module, squeezing):
            jump = min(layer.in_stride, stride)
            half = max(local_px // jump // 2, 1)
            layer.module.avgpool = LocalAverage(2 * half + 1)
            widened += half * jump
    return widened
