"""Networks from exported files, without executing code in them.

ONNX runs in onnxruntime, which contains no Python: the safe and recommended format.

``torch.export.load`` is never called. Read in torch 2.14, it trusts the file in five ways:
sample inputs and legacy weights are unpickled (``weights_only=True`` first, but on *any* failure
again with ``weights_only=False``); payloads marked ``use_pickle``, custom and opaque constants
are unpickled outright; ``data/aotinductor`` holds compiled code; shape expressions go through
``sympy.sympify``, which evaluates them; and a node's target may name any attribute of ``torch``,
``operator`` or ``math`` (``torch.os.system`` among them). None of it is needed to compute a
vector, so a .pt2 is read here as what it is, a zip of a JSON graph and raw tensors, and the graph
is interpreted with a list of allowed operators. A graph that needs anything else is refused.
"""

from __future__ import annotations

import json
import math
import operator
import threading
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ...arrays import F32
from ...errors import ModelError, one_line
from ..memory import is_out_of_memory

if TYPE_CHECKING:
    from ...models.spec import NetworkSpec
    from ..runtime import Engine

_ADVICE = "export the network as ONNX instead"
_SCHEMA_MAJOR = 8
_MAX_BYTES = 4 << 30
_MOST_SWOLLEN, _SMALL = 20, 64 << 20
"""Weights are stored uncompressed: an archive that unpacks to so many times its size, and to more
bytes than these, is not a network."""
_CONSTANT = 1 << 20  # elements of a constant that repeats stored values
_MOST_COPIES = 2  # of all stored values, for tied weights
_LARGEST = 1 << 62

_MOST_VALUES, _ANY_VALUES = 128, 1 << 27
"""Limits of a value in a graph: bytes per byte of its images, or bytes in all; all values held at
once may have `_MOST_HELD` times as much. The widest known networks (VGG-16) need 22 per byte."""

_MOST_HELD = 4
_MOST_STEPS = 50_000
_PATIENCE, CHECK_PATIENCE = 600.0, 120.0
"""s for a network's first result, which may be for a large tile; and during an import."""

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


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Arithmetic of sizes only, and bounded: on lists it would repeat them without limit."""

    def bounded(*numbers: Any) -> Any:
        if not all(isinstance(number, int | float) for number in numbers):
            raise TypeError("arithmetic on values that are not numbers")
        if abs(result := function(*numbers)) > _LARGEST:
            raise ValueError("a size is out of bounds")
        return result

    return bounded


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": _of_numbers(getattr(operator, name))
    for name in ("add", "sub", "mul", "floordiv", "mod", "neg")
} | {"_operator.getitem": operator.getitem}
_DTYPES = {4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32, 8: torch.float64,
           12: torch.bool, 13: torch.bfloat16}  # torch._export.serde.schema.ScalarType  # fmt: skip

_DAMAGED = (
    OSError, zipfile.BadZipFile, zlib.error, KeyError, IndexError, ValueError, TypeError,
    AttributeError, RuntimeError, OverflowError, RecursionError, EOFError,
)  # fmt: skip
"""Errors raised by reading a damaged archive."""

_Values = dict[str, Any]

CHECK_BYTES, _COMPUTE_BYTES = 1 << 30, 2 << 30
"""Limits of memory for ONNX networks: during an import, and at any other time."""

_CONFINED: list[int] = []


def open_network(
    _spec: NetworkSpec, path: Path, _dim: int, engine: Engine
) -> Callable[[Tensor], Tensor]:
    """The network of a file on the engine's device; see `open_exported`."""
    return open_exported(path, engine.device)


def open_exported(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A callable ``(n, 3, h, w) float32 -> (n, D)`` from a .onnx or .pt2 file.

    Raises ModelError for a damaged, unsafe or unsuitable file.
    """
    return OnnxNetwork(path, device) if path.suffix == ".onnx" else GraphNetwork(path, device)


def confine(most: int) -> None:
    """Limit the CPU memory of all ONNX networks in this process to ``most`` bytes.

    Weights do not count. The first call in a process counts: later ones change nothing. Beyond the
    limit networks fail as out of memory (`geoloc.encoders.memory`).
    """
    import onnxruntime

    if _CONFINED:
        return
    _CONFINED.append(most)
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg(
        {"max_mem": most, "arena_extend_strategy": -1, "initial_chunk_size_bytes": -1,
         "max_dead_bytes_per_chunk": -1}
    )  # fmt: skip
    onnxruntime.create_and_register_allocator(memory, arena)


class OnnxNetwork:
    """An ONNX network in onnxruntime; single file, no custom operators."""

    def __init__(self, path: Path, device: torch.device) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        confine(_COMPUTE_BYTES)
        wanted = ["CPUExecutionProvider"]
        if device.type == "cuda":
            wanted.insert(0, "CUDAExecutionProvider")
        usable = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            # from bytes: a file that refers to other files on this disk cannot reach them
            session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=usable)
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds for a bad file
            reason = one_line(error)
            raise ModelError(f"{path} cannot be loaded by onnxruntime: {reason}") from None
        if len(session.get_inputs()) != 1:
            raise ModelError(f"{path} has {len(session.get_inputs())} inputs: one image is needed")
        self._path = path
        self.patience, self._answered = _PATIENCE, False
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` -> ``(n, D)``."""
        pixels = x.float().contiguous().cpu().numpy()
        with _explained(self._path, x):
            answer = self._run(pixels)
        self._answered = True
        return torch.from_numpy(answer)

    def _run(self, pixels: F32) -> F32:
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        timer = threading.Timer(self.patience, setattr, (options, "terminate", True))
        timer.daemon = True
        if not self._answered:
            timer.start()
        try:
            output: F32 = self._session.run(None, {self._input: pixels}, options)[0]
        except Exception:
            if options.terminate:
                raise _too_slow(self._path, self.patience) from None
            raise
        finally:
            timer.cancel()
        return output


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
            if len(graph["nodes"]) > _MOST_STEPS:
                raise ModelError(f"{path} has {len(graph['nodes']):,} operators: {_ADVICE}")
            self._steps = [_step(node, path) for node in graph["nodes"]]
        except _DAMAGED as error:
            if is_out_of_memory(error):
                raise
            reason = one_line(error, 150)
            raise ModelError(f"{path} is damaged ({reason}): {_ADVICE}") from None
        _plan_release(self._steps, self._output)
        self._sizes: set[tuple[int, ...]] = set()
        self.patience = _PATIENCE

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` -> ``(n, D)``."""
        patience = math.inf if self._sizes else self.patience
        with _explained(self._path, x):
            if tuple(x.shape) not in self._sizes:
                self._require_sane(x)
                self._sizes.add(tuple(x.shape))
            return self._run({**self._constants, self._input: x}, patience)

    def _run(self, values: _Values, patience: float) -> Tensor:
        end = time.monotonic() + patience
        for step in self._steps:
            step.run(values)
            if time.monotonic() > end:
                raise _too_slow(self._path, patience)
        return cast(Tensor, values[self._output])

    def _require_sane(self, x: Tensor) -> None:
        """Raise ModelError if values would become too large; by sizes alone, without computing."""
        most = max(_MOST_VALUES * x.numel() * x.element_size(), _ANY_VALUES)
        fixed = {name: t.to("meta") for name, t in self._constants.items()}
        values: _Values = {**fixed, self._input: x.to("meta")}
        held = _Held(_tensors(values.values()))
        for step in self._steps:
            gone = [values[name] for name in step.release]
            step.run(values)
            size = held.update([values.get(name) for name in step.outputs], gone)
            if size > most or held.bytes > _MOST_HELD * most:
                raise ModelError(
                    f"{self._path} computes a value of {size >> 20:,} MiB and holds "
                    f"{held.bytes >> 20:,} MiB for images {tuple(x.shape)}: no network needs "
                    f"more than {most >> 20:,} and {_MOST_HELD * most >> 20:,} MiB; {_ADVICE}"
                )


class _Held:
    """The bytes of the values of a graph; views of other values take none."""

    def __init__(self, fixed: Iterable[Tensor]) -> None:
        self._counts = Counter({_storage(t): 1 for t in fixed})
        self.bytes = 0

    def update(self, new: list[Any], gone: list[Any]) -> int:
        """Count new and released values; bytes of the largest new one if contiguous."""
        came, went = (_tensors(values) for values in (new, gone))
        for t in came:
            self.bytes += 0 if self._counts[_storage(t)] else t.untyped_storage().nbytes()
            self._counts[_storage(t)] += 1
        for t in went:
            self._counts[_storage(t)] -= 1
            self.bytes -= 0 if self._counts[_storage(t)] > 0 else t.untyped_storage().nbytes()
        return max((t.numel() * t.element_size() for t in came), default=0)


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among values and in lists of values."""
    parts = (value if isinstance(value, list | tuple) else [value] for value in values)
    return [t for part in parts for t in part if isinstance(t, Tensor)]


def _storage(t: Tensor) -> int:
    return int(t.untyped_storage()._cdata)


def _too_slow(path: Path, patience: float) -> ModelError:
    return ModelError(f"{path} gives no result within {patience:g} s: use a smaller network")


@contextmanager
def _explained(path: Path, x: Tensor) -> Iterator[None]:
    """Raise ModelError for what a network raises, but for a lack of memory."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"{path} fails on images {tuple(x.shape)} ({one_line(error)}): correct the size in the "
            "model's specification, or export the network with a dynamic batch"
        ) from None


@dataclass
class _Step:
    """One operator of a graph; ``release``: the values not needed after it."""

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
    """Free every value after its last use, so that features do not pile up in memory."""
    needed = {output}
    for step in reversed(steps):
        step.release = sorted(step.inputs() - needed)
        needed |= step.inputs()


def require_no_swelling(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise ModelError if an archive of weights unpacks to far more than its own size."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(_SMALL, _MOST_SWOLLEN * path.stat().st_size):
        raise ModelError(f"{path} unpacks to {unpacked:,} bytes: {_ADVICE}")


class _Archive:
    """The parts of a .pt2 that are data: the graph (JSON) and raw tensors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(info.file_size for info in archive.infolist()) > _MAX_BYTES:
                    raise ModelError(f"{path} unpacks to more than 4 GB: {_ADVICE}")
                require_no_swelling(archive, path)
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
            raise ModelError(f"{path} is not a torch.export file ({error!r}): {_ADVICE}") from None
        if major != _SCHEMA_MAJOR:
            raise ModelError(f"{path}: torch.export schema {major} is unknown: {_ADVICE}")
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
        self._room = _MOST_COPIES * sum(map(len, self._files.values())) + _SMALL
        weights = self._payload("weights")
        constants = self._payload("constants")
        by_name = {}
        for spec in self._inputs:
            for kind, key in (("parameter", "parameter_name"), ("buffer", "buffer_name"),
                              ("tensor_constant", "tensor_constant_name")):  # fmt: skip
                if kind in spec:
                    name = spec[kind][key]
                    source = weights if name in weights else constants
                    by_name[spec[kind]["arg"]["name"]] = source[name]
        return by_name

    def _payload(self, kind: str) -> dict[str, Tensor]:
        config = json.loads(self._files[f"data/{kind}/model_{kind}_config.json"])["config"]
        return {name: self._tensor(kind, meta) for name, meta in config.items()}

    def _tensor(self, kind: str, meta: dict[str, Any]) -> Tensor:
        if meta.get("use_pickle") or not meta.get("tensor_meta"):
            raise ModelError(f"{self.path} has a pickled {kind[:-1]}, which is refused: {_ADVICE}")
        about = meta["tensor_meta"]
        sizes, strides = ([int(v["as_int"]) for v in about[k]] for k in ("sizes", "strides"))
        dtype = _DTYPES.get(about["dtype"])
        if dtype is None:
            raise ModelError(f"{self.path}: tensor type {about['dtype']} is unknown: {_ADVICE}")
        if math.prod(sizes) == 0:
            return torch.zeros(sizes, dtype=dtype)
        raw = self._files[f"data/{kind}/{meta['path_name']}"]
        offset = int(about["storage_offset"]["as_int"])
        if math.prod(sizes) > max(len(raw) // dtype.itemsize, _CONSTANT):
            raise ModelError(f"{self.path}: a tensor {sizes} exceeds its stored data: {_ADVICE}")
        self._room -= math.prod(sizes) * dtype.itemsize
        if self._room < 0:
            raise ModelError(f"{self.path}: its tensors are larger than the stored data: {_ADVICE}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about read-only bytes, which are copied below
            stored = torch.frombuffer(raw, dtype=dtype)
        return stored.as_strided(sizes, strides, offset).clone()

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
            raise ModelError(f"{self.path} has code or pickles ({pickled[0]}), refused: {_ADVICE}")


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
        return None  # device and memory layout are the engine's choice
    raise ModelError(f"{path}: argument {kind} is unknown: {_ADVICE}")


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
