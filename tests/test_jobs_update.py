"""Updates: what is missing is built, what has changed is refreshed, the rest is let be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.area import Area
from geoloc.cli import app
from geoloc.cube import Cube, Ledger, current_generation
from geoloc.errors import CubeError
from geoloc.jobs import plan as planning
from geoloc.jobs.build import build_cube
from geoloc.jobs.update import UpdateReport, update_cube

from .cubes import TinyEncoder
from .test_jobs_cache import area as area_of
from .test_jobs_cache import renew, write_world


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Area:
    """An area of 3 x 4 blocks and eight files, without a cube."""
    monkeypatch.setattr(planning, "_open_encoder", lambda _: TinyEncoder())
    write_world(tmp_path)
    return area_of(tmp_path, cache=False)


def update(area: Area, **options: Any) -> UpdateReport:
    report = update_cube(area, cluster="inline", **options)
    assert all(step.cells == area.grid.size for step in report.steps.values())
    return report


def computed(report: UpdateReport) -> dict[str, int]:
    return {name: step.blocks_done for name, step in report.steps.items()}


def test_from_nothing_to_what_is_there_today(here: Area) -> None:
    told: list[tuple[str, float, int]] = []
    first = update(here, progress=lambda step: lambda *n: told.append((step, *n)))
    assert computed(first) == {"build": 12} and told[-1] == ("build", 12, 12)
    assert computed(update(here)) == {"refresh": 0}
    renew(Path(here.cube).parent)
    second = update(here)
    assert computed(second) == {"refresh": 4} and second.blocks_done == 4
    assert current_generation(here.cube) == "g0002"
    assert computed(update(here)) == {"refresh": 0}


def test_missing_and_damaged_blocks_come_first(here: Area) -> None:
    update(here)
    Ledger(here.cube, "g0001").forget(np.array([[0, 1], [2, 3]]))
    (Path(here.cube) / "g0001/features/c/1/1/0").unlink()
    renew(Path(here.cube).parent)
    report = update(here)
    assert computed(report) == {"build": 3, "refresh": 3}
    assert Cube.open(here.cube).complete and Cube.open(here.cube).generation == "g0002"
    assert "damaged" in report.summary() and set(report.to_json()) == {"build", "refresh"}
    report.raise_if_incomplete()


def test_a_build_that_was_interrupted_is_refreshed_where_its_imagery_has_changed(
    here: Area,
) -> None:
    def stop(done: float, _: int) -> None:
        if done >= 12 - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cube(here, cluster="inline", progress=stop)
    renew(Path(here.cube).parent)
    report = update(here)
    assert computed(report) == {"build": 1, "refresh": 3}
    assert Cube.open(here.cube).complete


def test_other_imagery_is_refreshed_first_as_a_build_would_refuse_it(here: Area) -> None:
    update(here)
    Ledger(here.cube, "g0001").forget(np.array([[0, 0], [1, 1]]))
    folder = Path(here.cube).parent
    other = area_of(folder, cache=False, imagery={"paths": ["tiles/r*.tif"]})
    report = update(other)
    assert list(report.steps) == ["refresh", "build"] and computed(report)["build"] == 2
    assert Cube.open(here.cube).complete


def test_what_stays_incomplete_ends_the_update(here: Area) -> None:
    broken = Path(here.cube).parent / "tiles" / "r0c0.tif"
    whole = broken.read_bytes()
    update(here)
    Ledger(here.cube, "g0001").forget(np.array([[0, 0]]))
    broken.write_bytes(whole[: len(whole) // 2])
    report = update(here)
    assert list(report.steps) == ["build"] and not report.steps["build"].complete
    with pytest.raises(CubeError, match="blocks are incomplete"):
        report.raise_if_incomplete()


def test_the_command(here: Area) -> None:
    words = ["cube", "update", str(Path(here.cube).with_suffix(".yaml")), "--cluster", "inline"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["build"]["blocks_done"] == 12
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0 and "has not changed" in again.output
