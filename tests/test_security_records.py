"""Attacks by a stranger's record of an answer: what repeating it would open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.errors import CubeError, UsageError
from geoloc.models import load_model
from geoloc.query import query_photos, repeat_query, search_scene
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, tiny_model
from tests.loopback import Listener, listening
from tests.media import picture, save


@pytest.fixture
def stranger() -> Iterator[Listener]:
    with listening() as server:
        yield server


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a photo's answer, which repeats."""
    folder = tmp_path_factory.mktemp("record")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOLOC_MODELS", str(folder / "models"))
        yield _answered(folder)


def _answered(tmp_path: Path) -> Path:
    tiny_model(tmp_path / "models" / "tiny")
    features = np.random.default_rng(3).normal(0, 2, (15, 22, len(CLASSES))).astype(np.float32)
    write_cube(
        tmp_path / "cube.zarr",
        features,
        classes=CLASSES,
        model_digest=load_model("tiny").digest,
        generation="g0001",
    )
    save(tmp_path / "a.png", picture(1))
    query_photos(tmp_path / "cube.zarr", [tmp_path / "a.png"], tmp_path / "out")
    (found,) = (tmp_path / "out").rglob("query.json")
    assert repeat_query(found).same
    return found


def _changed(record: Path, part: str, **values: Any) -> Path:
    told = json.loads(record.read_text())
    target = told["photos"][0] if part == "photo" else told[part]
    target.update(values)
    other = record.with_name("strange.json")
    other.write_text(json.dumps(told))
    return other


@pytest.mark.parametrize(
    "url",
    ["{root}/cube.zarr", "s3://bucket/cube.zarr", "gs://bucket/a", "memory://a", "ftp://{root}/a",
     "simplecache::{root}/a", "file::{root}/a", "reference://?fo={root}/a", "filecache::s3://a/b"],
)  # fmt: skip
def test_a_cube_elsewhere_is_not_opened_for_a_record(
    url: str, record: Path, stranger: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stranger.root)
    strange = _changed(record, "cube", cube=url.format(root=stranger.root))
    with pytest.raises((UsageError, CubeError)) as refused:
        repeat_query(strange)
    assert "\n" not in str(refused.value)
    done = CliRunner().invoke(app, ["repeat", str(strange)])
    assert done.exit_code in (1, 2) and "Traceback" not in done.output
    assert stranger.asked == []


def test_one_that_the_user_names_is(record: Path, stranger: Listener) -> None:
    strange = _changed(record, "cube", cube=f"{stranger.root}/cube.zarr")
    assert repeat_query(strange, cube=record.parents[2] / "cube.zarr").same
    with pytest.raises(CubeError):
        repeat_query(strange, cube=f"{stranger.root}/cube.zarr")
    assert stranger.asked != []


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/kcore", "/proc/self/environ", "/dev/zero",
                                  "/dev/fd/0", "/proc/self/fd/0"])  # fmt: skip
def test_files_that_a_record_names_are_not_shown(path: str, record: Path) -> None:
    strange = _changed(record, "photo", path=path, file=Path(path).name)
    with pytest.raises(UsageError) as refused:
        repeat_query(strange)
    assert "\n" not in str(refused.value) and "root:" not in str(refused.value)


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/kcore", "/dev/zero"])
def test_polygons_that_a_record_names_are_not_shown(path: str, record: Path) -> None:
    for digest in (None, "0" * 64):
        strange = _changed(record, "parameters", within=path, within_sha256=digest)
        with pytest.raises(UsageError) as refused:
            repeat_query(strange)
        assert "\n" not in str(refused.value) and "root:" not in str(refused.value)


def test_a_record_without_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "query.json").write_text("[" + "[]," * 12_000_000 + "[]]")
    for path in (tmp_path / "query.json", Path("/dev/zero")):
        with pytest.raises(UsageError, match="not a record of a query"):
            repeat_query(path)
    with pytest.raises(UsageError, match=r"is a folder: give the query\.json"):
        repeat_query(tmp_path)


def test_a_model_that_a_record_names_elsewhere_is_not_fetched(
    record: Path, stranger: Listener, tmp_path: Path
) -> None:
    for place in (f"{stranger.root}/model", "/proc/self", "/dev/zero", str(tmp_path)):
        assert repeat_query(_changed(record, "model", path=place)).same  # by its digest
    assert stranger.asked == []


@pytest.mark.parametrize("flow", ["query_photo", "geolocate_folder", "search_scene"])
def test_flows_ask_nobody_that_a_cube_names_unless_told_to(flow: str) -> None:
    import importlib

    found = getattr(importlib.import_module(f"flows.{flow}"), flow)
    told = found.parameters.properties["fetch_imagery"]
    assert told["type"] == "boolean" and told["default"] is False


def test_a_scene_search_fetches_where_it_is_told_to(stranger: Listener, tmp_path: Path) -> None:
    features = np.random.default_rng(3).normal(0, 2, (15, 22, 5)).astype(np.float32)
    classes = ("abbey", "airfield", "alley", "beach", "bridge")
    imagery = {"kind": "geotiff", "paths": [f"{stranger.root}/a.tif"]}
    write_cube(tmp_path / "cube.zarr", features, classes=classes, imagery=imagery)
    for fetch in (False, True):
        search_scene(tmp_path / "cube.zarr", "beach", tmp_path / "x", fetch_imagery=fetch)
        assert bool(stranger.asked) == fetch
