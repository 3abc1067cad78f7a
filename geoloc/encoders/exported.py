"""Networks from exported files, without running anybody's code.

ONNX runs in onnxruntime, which holds no Python: the safe route, and the one to recommend.

``torch.export.load`` is never called. Read in torch 2.14, it trusts the file in five ways:
sample inputs and legacy weights are unpickled (``weights_only=True`` first, but on *any* failure
again with ``weights_only=False``); payloads marked ``use_pickle``, custom and opaque constants
are unpickled outright; ``data/aotinductor`` holds compiled code; shape expressions go through
``sympy.sympify``, which evaluates them; and a node's target may name any attribute of ``torch``,
``operator`` or ``math`` (``torch.os.system`` among them). None of it is needed to compute a
vector, so a .pt2 is read here as what it is, a zip of a JSON graph and raw tensors, and the
graph is interpreted over a list of allowed operators. Whatever else a graph needs is refused.
"""

from __future__ import annotations

import json
import math
import operator
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import ModelError
from .memory import is_out_of_memory

_ADVICE = "export the network as ONNX instead"
_SCHEMA_MAJOR = 8
_MAX_BYTES = 4 << 30
_MOST_SWOLLEN, _SMALL = 20, 64 << 20
"""Weights are stored as they are: an archive that unpacks to so many times its size, and to more
bytes than these, is none of a network."""
_CONSTANT = 1 << 20  # elements of a constant that repeats what is stored

# fmt: off
_OPERATORS = frozenset((
    "conv2d", "convolution", "batch_norm", "_native_batch_norm_legit_no_training", "layer_norm",
    "group_norm", "linear", "addmm", "mm", "bmm", "matmul", "t", "scaled_dot_product_attention",
    "relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "silu", "gelu", "leaky_relu", "elu",
    "mish", "sigmoid", "tanh", "softmax", "log_softmax", "prelu", "clamp", "clamp_min", "clamp_max",
    "add", "sub", "rsub", "mul", "div", "neg", "pow", "sqrt", "rsqrt", "exp", "log", "abs",
    "reciprocal", "minimum", "maximum", "mean", "sum", "amax", "amin", "linalg_vector_norm", "var",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d", "upsample_bilinear2d",
    "upsample_nearest2d", "pad", "constant_pad_nd", "dropout", "feature_dropout",
    "cat", "stack", "split", "split_with_sizes", "chunk", "slice", "select", "narrow",
    "index_select", "flatten", "view", "reshape", "_unsafe_view", "unflatten", "permute",
    "transpose", "contiguous", "squeeze", "unsqueeze", "expand", "clone", "detach", "alias", "to",
    "_to_copy", "roll", "sym_size",
))
# fmt: on
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "getitem")
}
_DTYPES = {4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32, 8: torch.float64,
           12: torch.bool, 13: torch.bfloat16}  # torch._export.serde.schema.ScalarType  # fmt: skip

_DAMAGED = (
    OSError, zipfile.BadZipFile, zlib.error, KeyError, IndexError, ValueError, TypeError,
    AttributeError, RuntimeError, OverflowError, RecursionError, EOFError,
)  # fmt: skip
"""What an archive raises whose parts are not what they should be."""

_Values = dict[str, Any]


def open_exported(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A callable ``(n, 3, h, w) float32 -> (n, D)`` from a .onnx or .pt2 file.

    Raises ModelError for a damaged, unsafe or unsuitable file.
    """
    return OnnxNetwork(path, device) if path.suffix == ".onnx" else GraphNetwork(path, device)


class OnnxNetwork:
    """An ONNX network in onnxruntime; single file, no custom operators."""

    def __init__(self, path: Path, device: torch.device) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        wanted = ["CPUExecutionProvider"]
        if device.type == "cuda":
            wanted.insert(0, "CUDAExecutionProvider")
        usable = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            # from bytes: a file that refers to other files on this disk cannot reach them
            session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=usable)
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds for a bad file
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path} cannot be loaded by onnxruntime: {reason}") from None
        if len(session.get_inputs()) != 1:
            raise ModelError(f"{path} has {len(session.get_inputs())} inputs: one image is needed")
        self._path = path
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` -> ``(n, D)``."""
        pixels = x.float().contiguous().cpu().numpy()
        try:
            answer = self._session.run(None, {self._input: pixels})[0]
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _failed(self._path, x, error) from None
        return torch.from_numpy(answer)


class GraphNetwork:
    """A torch.export graph, interpreted operator by operator."""

    def __init__(self, path: Path, device: torch.device) -> None:
        archive = _Archive(path)
        graph = archive.graph
        self._path = path
        try:
            self._input = archive.input_name
            self._constants = {name: t.to(device) for name, t in archive.tensors().items()}
            self._output = str(graph["outputs"][0]["as_tensor"]["name"])
            self._steps = [_step(node, path) for node in graph["nodes"]]
        except _DAMAGED as error:
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:150]
            raise ModelError(f"{path} is damaged ({reason}): {_ADVICE}") from None
        _plan_release(self._steps, self._output)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` -> ``(n, D)``."""
        values: _Values = {**self._constants, self._input: x}
        try:
            for step in self._steps:
                step.run(values)
        except (RuntimeError, TypeError, KeyError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise _failed(self._path, x, error) from None
        return cast(Tensor, values[self._output])


def _failed(path: Path, x: Tensor, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200]
    return ModelError(
        f"{path} fails on images {tuple(x.shape)} ({reason}): correct the size in the model's "
        "specification, or export the network with a dynamic batch"
    )


@dataclass
class _Step:
    """One operator of a graph; ``release`` are the values that nobody needs after it."""

    function: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    outputs: list[str]
    release: list[str] = field(default_factory=list)

    def run(self, values: _Values) -> None:
        """Compute from ``values`` and add the result to them."""
        args = _resolve(self.args, values)
        kwargs = {key: _resolve(arg, values) for key, arg in self.kwargs.items()}
        result = self.function(*args, **kwargs)
        many = result if len(self.outputs) > 1 or isinstance(result, list) else [result]
        values.update(zip(self.outputs, many, strict=True))
        for name in self.release:
            del values[name]

    def inputs(self) -> set[str]:
        """Names of the values that it needs."""
        return set(_used([self.args, *self.kwargs.values()]))


def _plan_release(steps: list[_Step], output: str) -> None:
    """Free every value after its last use: else all features of a network pile up in memory."""
    needed = {output}
    for step in reversed(steps):
        step.release = sorted(step.inputs() - needed)
        needed |= step.inputs()


class _Archive:
    """The parts of a .pt2 that are data: the graph (JSON) and raw tensors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(info.file_size for info in archive.infolist())
                if unpacked > _MAX_BYTES:
                    raise ModelError(f"{path} unpacks to more than 4 GB: {_ADVICE}")
                if unpacked > max(_SMALL, _MOST_SWOLLEN * path.stat().st_size):
                    raise ModelError(f"{path} unpacks to {unpacked:,} bytes: {_ADVICE}")
                self._files = {
                    info.filename.partition("/")[2]: archive.read(info)
                    for info in archive.infolist()
                    if not info.filename.partition("/")[2].startswith("data/sample_inputs/")
                }
            program = json.loads(self._files["models/model.json"])
            self.graph: dict[str, Any] = program["graph_module"]["graph"]
            self._inputs: list[dict[str, Any]] = program["graph_module"]["signature"]["input_specs"]
            major = program["schema_version"]["major"]
        except _DAMAGED as error:
            raise ModelError(f"{path} is no torch.export archive ({error!r}): {_ADVICE}") from None
        if major != _SCHEMA_MAJOR:
            raise ModelError(f"{path}: torch.export schema {major} is not known here: {_ADVICE}")
        self._refuse_code()

    @property
    def input_name(self) -> str:
        """The graph's one image input."""
        names = [spec["user_input"]["arg"] for spec in self._inputs if "user_input" in spec]
        if len(names) != 1 or "as_tensor" not in names[0] or len(self.graph["outputs"]) != 1:
            raise ModelError(f"{self.path}: one image in, one vector out is needed: {_ADVICE}")
        return str(names[0]["as_tensor"]["name"])

    def tensors(self) -> dict[str, Tensor]:
        """Graph name -> weight, buffer or constant."""
        weights = self._payload("weights")
        constants = self._payload("constants")
        found = {}
        for spec in self._inputs:
            for kind, key in (("parameter", "parameter_name"), ("buffer", "buffer_name"),
                              ("tensor_constant", "tensor_constant_name")):  # fmt: skip
                if kind in spec:
                    name = spec[kind][key]
                    source = weights if name in weights else constants
                    found[spec[kind]["arg"]["name"]] = source[name]
        return found

    def _payload(self, kind: str) -> dict[str, Tensor]:
        config = json.loads(self._files[f"data/{kind}/model_{kind}_config.json"])["config"]
        return {name: self._tensor(kind, meta) for name, meta in config.items()}

    def _tensor(self, kind: str, meta: dict[str, Any]) -> Tensor:
        if meta.get("use_pickle") or not meta.get("tensor_meta"):
            raise ModelError(f"{self.path} holds a pickled {kind[:-1]}, refused: {_ADVICE}")
        about = meta["tensor_meta"]
        sizes, strides = ([int(v["as_int"]) for v in about[k]] for k in ("sizes", "strides"))
        dtype = _DTYPES.get(about["dtype"])
        if dtype is None:
            raise ModelError(f"{self.path}: tensor type {about['dtype']} is not known: {_ADVICE}")
        if math.prod(sizes) == 0:
            return torch.zeros(sizes, dtype=dtype)
        raw = bytearray(self._files[f"data/{kind}/{meta['path_name']}"])
        offset = int(about["storage_offset"]["as_int"])
        if math.prod(sizes) > max(len(raw) // dtype.itemsize, _CONSTANT):
            raise ModelError(f"{self.path}: a tensor {sizes} is larger than what is stored of it")
        return torch.frombuffer(raw, dtype=dtype).as_strided(sizes, strides, offset).clone()

    def _refuse_code(self) -> None:
        pickled = [
            name
            for name in self._files
            if name.startswith("data/aotinductor/")
            or (name.startswith("data/") and name.endswith(".pt"))
            or "custom_obj" in name
            or "opaque_obj" in name
        ]
        if pickled:
            raise ModelError(
                f"{self.path} holds code or pickles ({pickled[0]}), refused: {_ADVICE}"
            )


def _step(node: dict[str, Any], path: Path) -> _Step:
    target = str(node["target"])
    function = _ARITHMETIC.get(target) or _aten(target)
    if function is None:
        raise ModelError(f"{path}: operator {target} is not on the list of safe ones: {_ADVICE}")
    positional = [_argument(item["arg"], path) for item in node["inputs"] if item["kind"] == 1]
    named = {i["name"]: _argument(i["arg"], path) for i in node["inputs"] if i["kind"] != 1}
    outputs = [name for output in node["outputs"] for name in _names(output, path)]
    return _Step(function, positional, named, outputs)


def _aten(target: str) -> Callable[..., Any] | None:
    head, _, rest = target.partition("torch.ops.aten.")
    name, _, overload = rest.partition(".")
    plain = name if name in _OPERATORS else name.removesuffix("_")
    if head or plain not in _OPERATORS or not overload.isidentifier():
        return None
    packet = getattr(torch.ops.aten, name, None)
    return cast("Callable[..., Any] | None", getattr(packet, overload, None))


class _Name(str):
    """The name of a value computed earlier."""


def _argument(arg: dict[str, Any], path: Path) -> Any:
    """A JSON argument as a literal, a ``_Name``, or a list of them."""
    (kind, value), *more = arg.items()
    if not more and kind in ("as_tensor", "as_sym_int"):
        return _symbol(value)
    if not more and kind in ("as_tensors", "as_sym_ints"):
        return [_symbol(item) for item in value]
    if not more and kind == "as_optional_tensors":
        return [_symbol(item["as_tensor"]) if "as_tensor" in item else None for item in value]
    if not more and kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools"):
        return value
    if not more and kind == "as_string":
        return str(value)
    if not more and kind == "as_none":
        return None
    if not more and kind == "as_scalar_type" and value in _DTYPES:
        return _DTYPES[value]
    if not more and kind in ("as_device", "as_layout", "as_memory_format"):
        return None  # where and how a value lies in memory is the engine's choice
    raise ModelError(f"{path}: argument {kind} is not known: {_ADVICE}")


def _symbol(value: dict[str, Any]) -> Any:
    if "as_int" in value:
        return value["as_int"]
    return _Name(value["name"] if "name" in value else value["as_name"])


def _names(output: dict[str, Any], path: Path) -> list[str]:
    symbol = _argument(output, path)
    return [str(name) for name in (symbol if isinstance(symbol, list) else [symbol])]


def _used(arg: Any) -> Iterator[str]:
    if isinstance(arg, _Name):
        yield str(arg)
    elif isinstance(arg, list):
        for item in arg:
            yield from _used(item)


def _resolve(arg: Any, values: _Values) -> Any:
    if isinstance(arg, _Name):
        return values[arg]
    if isinstance(arg, list):
        return [_resolve(item, values) for item in arg]
    return arg
