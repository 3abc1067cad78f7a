"""Exported networks: computed right, and nothing in them is ever run or unpickled."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from geoloc.encoders.formats.exported import GraphNetwork, open_exported
from geoloc.encoders.formats.networks import build_network
from geoloc.encoders.memory import is_out_of_memory
from geoloc.errors import ModelError

CPU = torch.device("cpu")
SIDE = 64


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def export(path: Path, network: nn.Module) -> Path:
    batch = torch.export.Dim("n", min=1, max=64)
    program = torch.export.export(
        network.eval(), (torch.rand(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(tmp_path_factory.mktemp("pt2") / "n.pt2", build_network("shufflenet_v2_x0_5", 5))


def rewrite(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of an archive whose files (without the root folder) have been changed."""
    with zipfile.ZipFile(source) as archive:
        files = {i.filename.partition("/")[2]: archive.read(i) for i in archive.infolist()}
    change(files)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"n/{name}", data)
    return target


def test_a_graph_computes_what_its_network_does(plain: Path) -> None:
    torch.manual_seed(0)
    network = build_network("shufflenet_v2_x0_5", 5).eval()
    loaded = open_exported(plain, CPU)
    for n in (1, 3):
        x = torch.rand(n, 3, SIDE, SIDE)
        with torch.inference_mode():
            torch.testing.assert_close(loaded(x), network(x))


def test_shapes_that_follow_the_batch_are_computed(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            first, second = x.mean(3).reshape(x.shape[0] * 3, -1).split([30, SIDE - 30], 1)
            y = torch.cat([first * 2, second.clamp(min=0.4)], 1)
            return y.reshape(x.shape[0], -1)[:, ::50].softmax(dim=-1)

    loaded = open_exported(export(tmp_path / "n.pt2", Odd()), CPU)
    x = torch.rand(5, 3, SIDE, SIDE)
    torch.testing.assert_close(loaded(x), Odd()(x))


def test_running_out_of_memory_is_no_fault_of_the_file(plain: Path) -> None:
    """It is let through, so that fewer images are tried; these would need petabytes."""
    images = torch.zeros(1, 3, SIDE, SIDE).expand(1 << 36, -1, -1, -1)
    with pytest.raises(RuntimeError) as caught:
        open_exported(plain, CPU)(images)
    assert is_out_of_memory(caught.value)


def _pickled_sample_inputs(files: dict[str, bytes], mark: Path) -> None:
    files["data/sample_inputs/model.pt"] = pickle.dumps(Bomb(mark))


def _legacy_weights(files: dict[str, bytes], mark: Path) -> None:
    files["data/weights/model.pt"] = pickle.dumps(Bomb(mark))


def _pickled_weight(files: dict[str, bytes], mark: Path) -> None:
    config = json.loads(files["data/weights/model_weights_config.json"])
    first = next(iter(config["config"].values()))
    first["use_pickle"] = True
    files[f"data/weights/{first['path_name']}"] = pickle.dumps(Bomb(mark))
    files["data/weights/model_weights_config.json"] = json.dumps(config).encode()


def _custom_object(files: dict[str, bytes], mark: Path) -> None:
    files["data/constants/custom_obj_0"] = pickle.dumps(Bomb(mark))


def _opaque_object(files: dict[str, bytes], mark: Path) -> None:
    files["data/constants/opaque_obj_0"] = pickle.dumps(Bomb(mark))


def _compiled_code(files: dict[str, bytes], mark: Path) -> None:
    files["data/aotinductor/model/code.so"] = bytes(str(mark), "utf-8")


def _graph(files: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> None:
    program = json.loads(files["models/model.json"])
    change(program)
    files["models/model.json"] = json.dumps(program).encode()


def _target(name: str) -> Callable[[dict[str, bytes], Path], None]:
    def change(files: dict[str, bytes], mark: Path) -> None:
        def edit(program: dict[str, Any]) -> None:
            node = program["graph_module"]["graph"]["nodes"][0]
            node["target"] = name
            node["inputs"] = [{"name": "x", "arg": {"as_string": f"touch {mark}"}, "kind": 1}]

        _graph(files, edit)

    return change


def _unknown_schema(files: dict[str, bytes], mark: Path) -> None:  # noqa: ARG001
    _graph(files, lambda program: program["schema_version"].update(major=99))


@pytest.mark.parametrize(
    "change",
    [
        _legacy_weights,
        _pickled_weight,
        _custom_object,
        _opaque_object,
        _compiled_code,
        _unknown_schema,
        _target("torch.os.system"),
        _target("torch.load"),
        _target("torch.hub.load"),
        _target("torch.ops.aten.from_file.default"),
        _target("torch.ops.aten.__class__.default"),
        _target("_operator.methodcaller"),
        _target("_operator.attrgetter"),
        _target("math.gcd"),
    ],
)
def test_code_in_an_archive_is_refused(
    plain: Path, tmp_path: Path, change: Callable[[dict[str, bytes], Path], None]
) -> None:
    mark = tmp_path / "ran"
    hostile = rewrite(plain, tmp_path / "n.pt2", lambda files: change(files, mark))
    with pytest.raises(ModelError, match="ONNX") as refused:
        open_exported(hostile, CPU)(torch.rand(1, 3, SIDE, SIDE))
    assert "\n" not in str(refused.value)
    assert not mark.exists()


def test_sample_inputs_and_shape_expressions_are_never_read(plain: Path, tmp_path: Path) -> None:
    """torch.export.load would unpickle the one and evaluate the other."""
    mark = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def change(files: dict[str, bytes]) -> None:
        _pickled_sample_inputs(files, mark)
        text = files["models/model.json"].decode()
        program = json.loads(text)
        _poison(program, code)
        files["models/model.json"] = json.dumps(program).encode()

    hostile = rewrite(plain, tmp_path / "n.pt2", change)
    x = torch.rand(2, 3, SIDE, SIDE)
    torch.testing.assert_close(open_exported(hostile, CPU)(x), open_exported(plain, CPU)(x))
    assert not mark.exists()


def _poison(value: Any, code: str) -> None:
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    if isinstance(value, dict) and "expr_str" in value:
        value["expr_str"] = code
    for child in children:
        _poison(child, code)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04 nor this"])
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_damaged_files_are_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"n{suffix}"
    path.write_bytes(data)
    with pytest.raises(ModelError) as refused:
        open_exported(path, CPU)
    assert "\n" not in str(refused.value)


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    program = torch.export.export(Two(), (torch.rand(2, 3), torch.rand(2, 3)))
    torch.export.save(program, tmp_path / "n.pt2")
    with pytest.raises(ModelError, match="one image"):
        GraphNetwork(tmp_path / "n.pt2", CPU)


def test_onnx_computes(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    onnx.save(_mean_model(), path)
    x = torch.rand(3, 3, SIDE, SIDE)
    torch.testing.assert_close(open_exported(path, CPU)(x), x.mean((2, 3)))


def test_onnx_cannot_reach_other_files(tmp_path: Path) -> None:
    """Weights outside the file (external data) could name any file of this disk."""
    (tmp_path / "outside.bin").write_bytes(np.ones(3, dtype=np.float32).tobytes())
    model = _mean_model()
    extra = TensorProto(name="extra", data_type=TensorProto.FLOAT, dims=[3])
    extra.data_location = TensorProto.EXTERNAL
    extra.external_data.add(key="location", value="outside.bin")
    model.graph.initializer.append(extra)
    model.graph.node.append(helper.make_node("Add", ["y", "extra"], ["z"]))
    model.graph.output[0].name = "z"
    buffer = io.BytesIO(model.SerializeToString())
    (tmp_path / "n.onnx").write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match="onnxruntime"):
        open_exported(tmp_path / "n.onnx", CPU)


def _mean_model() -> onnx.ModelProto:
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    vector = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    graph = helper.make_graph([node], "mean", [image], [vector], [axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
