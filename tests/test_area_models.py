"""An area file that names several models: each with a cube of its own, old files as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from geoloc.area import Area, load_area, load_areas
from geoloc.errors import AreaError
from geoloc.jobs.plan import plan_build

GOOD: dict[str, Any] = {
    "name": "town",
    "crs": "EPSG:32636",
    "bounds": [300_000, 5_600_000, 301_000, 5_601_000],
    "imagery": {"kind": "geotiff", "paths": ["tiles/*.tif"]},
    "cube": "cube.zarr",
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "area.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    return path


def test_each_model_has_a_cube_beside_the_one_that_is_named(tmp_path: Path) -> None:
    models = ["landuse", {"model": "./mine", "weight": 2}, "https://x.org/m/third.tar.gz"]
    whole = load_areas(written(tmp_path, models=models, bank="photos"))
    assert [one.weight for one in whole.models] == [1, 2, 1] and whole.bank == tmp_path / "photos"
    assert list(whole.named_parts) == ["landuse", "mine", "third"]
    parts = whole.parts
    assert [part.model for part in parts] == [
        "landuse", str(tmp_path / "mine"), "https://x.org/m/third.tar.gz",
    ]  # fmt: skip
    assert [part.cube for part in parts] == [
        str(tmp_path / f"cube-{name}.zarr") for name in ("landuse", "mine", "third")
    ]
    assert all(part.parts == (part,) and part.bank is None for part in parts)
    assert parts[0].grid == whole.grid and parts[0].imagery == whole.imagery
    assert Area.model_validate_json(whole.model_dump_json()) == whole
    assert whole.with_bounds((300_000, 5_600_000, 300_500, 5_600_500)).models == whole.models


def test_a_cube_that_is_there_already_can_be_named(tmp_path: Path) -> None:
    models = [{"model": "landuse", "cube": "old.zarr"}, {"model": "./mine", "cube": "s3://b/c"}]
    parts = load_areas(written(tmp_path, models=models)).parts
    assert [part.cube for part in parts] == [str(tmp_path / "old.zarr"), "s3://b/c"]


def test_a_file_of_one_model_is_as_before(tmp_path: Path) -> None:
    path = written(tmp_path, model="./mine")
    assert load_areas(path) == load_area(path)
    assert load_area(path).named_parts == {"": load_area(path)}


def test_what_works_with_one_model_names_the_way(tmp_path: Path) -> None:
    path = written(tmp_path, models=["landuse", "./mine"])
    with pytest.raises(AreaError, match=r"landuse, mine.*cube-landuse\.zarr.*--model") as told:
        load_area(path)
    assert "\n" not in str(told.value)
    for chosen in ("mine", "./mine", str(tmp_path / "mine")):
        assert load_area(path, chosen).cube == str(tmp_path / "cube-mine.zarr")
    with pytest.raises(AreaError, match="several models"):
        load_area(path, "other")
    with pytest.raises(AreaError, match="several models"):
        plan_build(load_areas(path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "key 'model' is missing"),
        ({"models": ["landuse"]}, "two or more"),
        ({"models": []}, "key 'model' is missing"),
        ({"model": "a", "models": ["b", "c"]}, "either model or models"),
        ({"models": ["landuse", "landuse"]}, "named twice"),
        ({"models": ["./mine", "./mine/"]}, "named twice"),
        ({"models": ["a/m", "b/m"]}, "cube-m.zarr"),
        ({"models": ["Mine", "x/mine"]}, "cube of its own"),
        ({"models": [{"model": "a", "cube": "c.zarr"}, {"model": "b", "cube": "c.zarr/"}]}, "c.z"),
        ({"models": [{"model": "a", "weight": 0}, {"model": "b", "weight": 0}]}, "weights are 0"),
        ({"models": [{"model": "a", "weight": -1}, "b"]}, "weight"),
        ({"models": [{"model": "a", "wieght": 1}, "b"]}, "wieght"),
        ({"models": "landuse"}, "models"),
        ({"model": "a", "bank": "photos"}, "several models"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(AreaError, match=words) as told:
        load_areas(written(tmp_path, **changes))
    assert "\n" not in str(told.value)
    with pytest.raises(ValidationError):
        Area.model_validate(GOOD | changes)
