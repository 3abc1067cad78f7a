"""Attacks by networks: small files that need much memory, or no end of time, once they compute."""

from __future__ import annotations

import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from geoloc.encoders.formats import exported
from geoloc.encoders.formats.exported import open_exported
from geoloc.encoders.formats.networks import build_network
from geoloc.encoders.importing import GroundImport, ImportSpec, import_model, read_state_dict
from geoloc.encoders.memory import is_out_of_memory
from geoloc.errors import ModelError
from tests.test_encoders_formats_exported import CPU, SIDE, export, rewrite

CLASSES = 5
MANY = 1 << 34


class _Swelling(nn.Module):
    """A network that answers as it should, after a detour."""

    def __init__(self, detour: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.head = nn.Linear(3, CLASSES)
        self.detour = detour

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3))
        return self.head(pooled) + self.detour(pooled)


def _piled(x: Tensor) -> Tensor:
    """Many values of 100 MB that are all held to the end."""
    wide = [x[:, :1].expand(-1, 25_000_000) + n for n in range(40)]
    total = wide[0]
    for one in wide[1:]:
        total = total + one
    return total.amax(1, keepdim=True)


DETOURS: dict[str, Callable[[Tensor], Tensor]] = {
    "expand": lambda x: x[:, :1].expand(-1, MANY).contiguous().amax(1, keepdim=True),
    "view": lambda x: x[:, :1].expand(-1, MANY).sum(1, keepdim=True),
    "pad": lambda x: nn.functional.pad(x, (0, MANY)).amax(1, keepdim=True),
    "outer": lambda x: (
        x[:, :1].expand(-1, 1 << 18)[:, :, None] * x[:, :1].expand(-1, 1 << 18)[:, None]
    ).amax((1, 2))[:, None],
    "upsample": lambda x: nn.functional.interpolate(x[:, :, None, None], size=1 << 17).amax(
        (1, 2, 3)
    )[:, None],
    "cat": lambda x: torch.cat([x.expand(-1, 3)] * 3 + [x[:, :1].expand(-1, MANY)], 1).amax(
        1, keepdim=True
    ),
    "piled": _piled,
}


@pytest.mark.parametrize("detour", DETOURS)
def test_a_graph_that_swells_as_it_computes_is_one_line(detour: str, tmp_path: Path) -> None:
    path = export(tmp_path / "n.pt2", _Swelling(DETOURS[detour]))
    start = time.process_time()
    with pytest.raises(ModelError, match="no network needs more than") as refused:
        open_exported(path, CPU)(torch.rand(2, 3, SIDE, SIDE))
    assert time.process_time() - start < 5
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_an_import_of_one_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    path = export(tmp_path / "n.pt2", _Swelling(DETOURS["expand"]))
    (tmp_path / "classes.txt").write_text("\n".join(["abbey", "airfield", "alley", "beach", "bar"]))
    spec = ImportSpec(
        name="bomb",
        classes=tmp_path / "classes.txt",
        ground=GroundImport(file=path, input_px=SIDE),
    )
    with pytest.raises(ModelError, match="no network needs more than"):
        import_model(spec, store=tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_each_size_of_images_is_judged(tmp_path: Path) -> None:
    """A graph that is harmless for one image, and grows with the square of their number."""

    def detour(x: Tensor) -> Tensor:
        n = x.shape[0]
        wide = x[:, :1].expand(-1, n * n * n * n * n * n)
        return wide.contiguous().amax(1, keepdim=True)

    network = open_exported(export(tmp_path / "n.pt2", _Swelling(detour)), CPU)
    assert network(torch.rand(2, 3, SIDE, SIDE)).shape == (2, CLASSES)
    with pytest.raises(ModelError, match="no network needs more than"):
        network(torch.rand(60, 3, SIDE, SIDE))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build_network("shufflenet_v2_x0_5", CLASSES)
    return export(tmp_path_factory.mktemp("pt2") / "n.pt2", network)


def _graph(files: dict[str, bytes]) -> Any:
    return json.loads(files["models/model.json"])


def _with_steps(target: str, first: dict[str, Any], times: int) -> Any:
    """Begin the graph with arithmetic on its own results."""

    def change(files: dict[str, bytes]) -> None:
        program = _graph(files)
        value, steps = first, []
        for n in range(times):
            output = {"as_sym_int": {"as_name": f"v{n}"}}
            args = [{"name": name, "arg": value, "kind": 1} for name in ("a", "b")]
            steps.append({"target": target, "inputs": args, "outputs": [output], "metadata": {}})
            value = output
        program["graph_module"]["graph"]["nodes"][:0] = steps
        files["models/model.json"] = json.dumps(program).encode()

    return change


@pytest.mark.parametrize(
    ("target", "first"),
    [
        ("_operator.mul", {"as_int": 1 << 30}),
        ("_operator.add", {"as_ints": [1, 2, 3]}),
        ("_operator.mul", {"as_string": "ab"}),
        ("_operator.floordiv", {"as_int": 0}),
        ("_operator.getitem", {"as_ints": []}),
    ],
)
def test_arithmetic_that_grows_or_fails_is_one_line(
    target: str, first: dict[str, Any], good: Path, tmp_path: Path
) -> None:
    bad = rewrite(good, tmp_path / "n.pt2", _with_steps(target, first, 60))
    with pytest.raises(ModelError) as refused:
        open_exported(bad, CPU)(torch.rand(1, 3, SIDE, SIDE))
    assert "\n" not in str(refused.value)


def test_constants_that_repeat_what_is_stored_are_counted(good: Path, tmp_path: Path) -> None:
    """Each of two thousand would be within bounds; together they are 8 GB."""

    def change(files: dict[str, bytes]) -> None:
        config = json.loads(files["data/weights/model_weights_config.json"])
        meta = next(iter(config["config"].values()))
        meta["tensor_meta"] |= {
            "sizes": [{"as_int": 1 << 20}], "strides": [{"as_int": 0}],
            "storage_offset": {"as_int": 0},
        }  # fmt: skip
        config["config"] |= {f"more{n}": meta for n in range(2000)}
        files["data/weights/model_weights_config.json"] = json.dumps(config).encode()

    with pytest.raises(ModelError, match="larger than the stored data"):
        open_exported(rewrite(good, tmp_path / "n.pt2", change), CPU)


def swelling_onnx(path: Path, shape: list[int], kind: str = "Expand") -> Path:
    """A network that answers as it should, after a value of this shape."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], keepdims=0),
        helper.make_node(kind, ["shape"] if kind == "ConstantOfShape" else ["mean", "shape"], ["w"])
        if kind != "Tile"
        else helper.make_node("Tile", ["flat", "shape"], ["w"]),
        helper.make_node("ReduceMax", ["w"], ["most"], keepdims=0),
        helper.make_node("Add", ["flat", "most"], ["moved"]),
        helper.make_node("Concat", ["moved", "moved"], ["both"], axis=1),
        helper.make_node("Slice", ["both", "start", "stop", "axis"], ["y"]),
    ]
    values = {"shape": shape, "start": [0], "stop": [CLASSES], "axis": [1]}
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])]
    known = [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in values.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("Expand", [10**6, 10**6]), ("ConstantOfShape", [10**5, 10**5]), ("Tile", [1, 10**8])],
)
def test_an_onnx_network_that_swells_does_not_fit(
    kind: str, shape: list[int], tmp_path: Path
) -> None:
    network = open_exported(swelling_onnx(tmp_path / "n.onnx", shape, kind), CPU)
    with pytest.raises(Exception, match="smaller than requested bytes") as failed:
        network(torch.rand(2, 3, SIDE, SIDE))
    assert is_out_of_memory(failed.value)  # which is one line wherever networks are run


def test_an_onnx_network_that_is_harmless_answers(tmp_path: Path) -> None:
    network = open_exported(swelling_onnx(tmp_path / "n.onnx", [10, 10]), CPU)
    assert network(torch.rand(2, 3, SIDE, SIDE)).shape == (2, CLASSES)


def test_importing_an_onnx_bomb_is_one_line(tmp_path: Path) -> None:
    path = swelling_onnx(tmp_path / "n.onnx", [10**6, 10**6])
    (tmp_path / "classes.txt").write_text("\n".join(["abbey", "airfield", "alley", "beach", "bar"]))
    ground = GroundImport(file=path, input_px=SIDE)
    spec = ImportSpec(name="bomb", classes=tmp_path / "classes.txt", ground=ground)
    with pytest.raises(ModelError, match="more memory than an import may use") as refused:
        import_model(spec, store=tmp_path / "store")
    assert "\n" not in str(refused.value)


def _endless(path: Path) -> Path:
    """A loop of 2^62 rounds."""
    number = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["value", "value"], ["next"]),
        ],
        "body",
        [number("i", TensorProto.INT64, []), number("go", TensorProto.BOOL, []),
         number("value", TensorProto.FLOAT, ["n", 3])],
        [number("on", TensorProto.BOOL, []), number("next", TensorProto.FLOAT, ["n", 3])],
    )  # fmt: skip
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Loop", ["rounds", "yes", "flat"], ["y"], body=body),
    ]
    known = [
        numpy_helper.from_array(np.array(1 << 62, np.int64), "rounds"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    shape = ["n", 3, SIDE, SIDE]
    inputs = [number("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", inputs, [number("y", TensorProto.FLOAT, ["n", 3])], known)
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    return path


def test_a_loop_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "_PATIENCE", 0.3)
    network = open_exported(_endless(tmp_path / "n.onnx"), CPU)
    others = set(threading.enumerate())
    with pytest.raises(ModelError, match=r"no result within 0\.3 s"):
        network(torch.rand(2, 3, SIDE, SIDE))
    for timer in set(threading.enumerate()) - others:
        timer.join(60)
        assert not timer.is_alive()


def test_a_checkpoint_that_swells_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p/data.pkl", bytes(200_000_000))
        archive.writestr("p/version", "3")
    with pytest.raises(ModelError, match="unpacks to 200,000,001 bytes"):
        read_state_dict(tmp_path / "p.pth")


def test_an_onnx_network_reaches_no_other_file(tmp_path: Path) -> None:
    """Weights that lie in another file, by a path out of the folder or a link."""
    (tmp_path / "secret").write_bytes(bytes(1000))
    (tmp_path / "m").mkdir()
    path = swelling_onnx(tmp_path / "m" / "n.onnx", [10, 10])
    model = onnx.load(str(path))
    for place in (str(tmp_path / "secret"), "../secret", "beside"):
        (tmp_path / "m" / "beside").unlink(missing_ok=True)
        (tmp_path / "m" / "beside").symlink_to(tmp_path / "secret")
        first = model.graph.initializer[0]
        first.ClearField("raw_data")
        first.data_location = TensorProto.EXTERNAL
        del first.external_data[:]
        for key, value in (("location", place), ("offset", "0"), ("length", "16")):
            entry = first.external_data.add()
            entry.key, entry.value = key, value
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="cannot be loaded by onnxruntime") as refused:
            open_exported(path, CPU)
        assert "\n" not in str(refused.value)
