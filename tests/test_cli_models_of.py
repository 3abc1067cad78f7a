"""Commands on an area of several models: done for each, and which is which is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from geoloc.area import load_areas
from geoloc.cli import app
from geoloc.cli.models_of import each_model
from geoloc.cube import Cube
from geoloc.errors import CubeError, GeolocError, ModelError
from tests.encoder_models import dense_section, tiny_model
from tests.small_place import SmallPlace, write_place


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    """A small area of two models: ``near`` and ``far`` from the imagery's pixels."""
    folder = tmp_path_factory.mktemp("several")
    found = write_place(folder, ny=9, nx=12)
    gsd = {"gsd": (1.0, 5.0), "preferred_gsd": 4.0}
    for number, name in enumerate(("near", "far")):
        tiny_model(folder / name, **gsd, **dense_section(pool_px=32 + 32 * number))
    named(found, ["./near", "./far"])
    return found


def named(place: SmallPlace, models: list[Any]) -> None:
    values = yaml.safe_load(place.area.read_text())
    values.pop("model", None)
    place.area.write_text(yaml.safe_dump({**values, "models": models}))


def test_each_model_gets_a_cube_of_its_own_and_says_so(place: SmallPlace) -> None:
    planned = run("cube", "plan", place.area, "--step", 32, "--json")
    assert set(json.loads(planned.stdout)["models"]) == {"near", "far"}
    built = run("cube", "build", place.area, "--cluster", "inline", "--json")
    assert built.exit_code == 0, built.output
    assert "model near:" in built.stderr and "model far:" in built.stderr
    reports = json.loads(built.stdout)["models"]
    parts = load_areas(place.area).named_parts
    for name, part in parts.items():
        assert part.cube == str(place.folder / f"cube-{name}.zarr") and Cube.open(part.cube)
        assert reports[name]["url"] == part.cube and reports[name]["blocks_done"] == 1
    again = run("cube", "build", place.area, "--cluster", "inline", "--json")
    assert {one["blocks_reused"] for one in json.loads(again.stdout)["models"].values()} == {1}
    facts = json.loads(run("cube", "info", place.area, "--json").stdout)["models"]
    assert len({one["model_digest"] for one in facts.values()}) == 2
    listed = json.loads(run("cube", "generations", place.area, "--json").stdout)["models"]
    assert all(len(one["generations"]) == 1 for one in listed.values())
    checked = json.loads(run("cube", "verify", place.area, "--cells", "4", "--json").stdout)
    assert set(checked["models"]) == {"near", "far"}


def test_a_model_that_does_not_serve_the_area_keeps_no_other_from_it(
    place: SmallPlace, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "coarse", gsd=(20.0, 40.0), preferred_gsd=30.0)
    area = tmp_path / "area.yaml"
    values = yaml.safe_load(place.area.read_text())
    values["imagery"]["paths"] = [str(place.folder / "tile.tif")]
    values["models"] = ["./coarse", str(place.folder / "near")]
    area.write_text(yaml.safe_dump(values))
    done = run("cube", "build", area, "--cluster", "inline", "--json")
    assert done.exit_code == 1 and isinstance(done.exception, GeolocError | SystemExit)
    told = json.loads(done.stdout)["models"]
    assert "error" in told["coarse"] and told["near"]["blocks_done"] == 1
    assert Cube.open(tmp_path / "cube-near.zarr").complete


def test_the_error_of_one_model_alone_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_name: str, _part: int) -> dict[str, Any]:
        raise CubeError("no cube")

    with pytest.raises(CubeError, match=r"^no cube$"):
        each_model({"": 1}, fail, as_json=True)
    assert capsys.readouterr().out == ""


def test_failures_come_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    def work(name: str, part: int) -> dict[str, Any]:
        if part:
            raise ModelError(f"{name} is not there")
        return {"done": True}

    with pytest.raises(ModelError, match=r"^2 of 3 models failed; a: a is not there$"):
        each_model({"a": 1, "b": 0, "c": 2}, work, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "models": {"a": {"error": "a is not there"}, "b": {"done": True},
                   "c": {"error": "c is not there"}}
    }  # fmt: skip
