"""A new imagery source is a file and a line: areas name it, cubes are built from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import yaml

from geoloc.area import load_area
from geoloc.area.imagery import FURTHER, OriginImagery
from geoloc.cube import Cube
from geoloc.domain import Grid
from geoloc.errors import AreaError
from geoloc.imagery import ArraySource, open_source, register_source
from geoloc.imagery.registry import SOURCES
from geoloc.jobs.build import build_cube
from geoloc.query import query_photos
from tests.encoder_models import imagery
from tests.small_place import GSD, LEFT, TOP, write_place


class PlasmaImagery(OriginImagery):
    """The imagery of this test: a seed stands for pixels."""

    kind: Literal["plasma"] = "plasma"
    seed: int
    folder: str = "."

    def resolve(self, base: Path) -> PlasmaImagery:
        return self.model_copy(update={"folder": str(base / self.folder)})


class PlasmaSource(ArraySource):
    def __init__(self, spec: PlasmaImagery) -> None:
        grid = Grid("EPSG:32636", LEFT, TOP, GSD, 300, 400)
        super().__init__(imagery(300, 400, spec.seed), grid)


@pytest.fixture
def plasma() -> Iterator[None]:
    register_source("plasma", PlasmaImagery, f"{__name__}:PlasmaSource")
    yield
    del FURTHER["plasma"], SOURCES["plasma"]


@pytest.mark.usefixtures("plasma")
def test_a_new_source_is_built_from_and_searched(tmp_path: Path) -> None:
    place = write_place(tmp_path / "here", ny=20, nx=30)
    told = yaml.safe_load(place.area.read_text())
    place.area.write_text(yaml.safe_dump({**told, "imagery": {"kind": "plasma", "seed": 4}}))
    area = load_area(place.area)
    assert isinstance(area.imagery, PlasmaImagery) and area.imagery.seed == 4
    assert build_cube(area).blocks_done == 1
    cube = Cube.open(place.cube)
    assert cube.spec.imagery["seed"] == 4 and np.isfinite(cube.vector(10, 15)).all()
    answer = query_photos(place.area, place.photos[:1], tmp_path / "out", top=3).results[0]
    assert len(answer.candidates) == 3


@pytest.mark.usefixtures("plasma")
def test_its_specification_is_checked_like_others(tmp_path: Path) -> None:
    place = write_place(tmp_path / "here", ny=20, nx=30)
    told = yaml.safe_load(place.area.read_text())
    for wrong in ({"seed": "x"}, {"seed": 1, "sead": 2}, {}):
        place.area.write_text(yaml.safe_dump({**told, "imagery": {"kind": "plasma", **wrong}}))
        with pytest.raises(AreaError, match=r"se[ae]d"):
            load_area(place.area)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    place = write_place(tmp_path / "here", ny=20, nx=30)
    told = yaml.safe_load(place.area.read_text())
    place.area.write_text(yaml.safe_dump({**told, "imagery": {"kind": "plasma", "seed": 4}}))
    with pytest.raises(AreaError, match="plasma"):
        load_area(place.area)


@pytest.mark.usefixtures("plasma")
def test_a_source_takes_its_resolved_specification(tmp_path: Path) -> None:
    source = open_source(PlasmaImagery(seed=1), tmp_path)
    other = open_source(PlasmaImagery(seed=2), tmp_path)
    window = replace(source.grid, ny=9, nx=7)
    assert source.fingerprint(window) != other.fingerprint(window)
