"""A generation that is deleted while it is read: an error of that query, never "no imagery".

What a cube does not have any more looks like what it never had: whoever reads on would call
places unknown that were searched, or better ones the best that are left.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.bulk import run_bulk
from geoloc.cli import app
from geoloc.cube import Cube, prune_generations
from geoloc.cube.seal import update_attributes
from geoloc.errors import CubeError, UsageError
from geoloc.executors import open_cluster
from geoloc.jobs.refresh import prune_cube
from geoloc.query import query_photos
from geoloc.search import Query
from tests import cubes
from tests.array_cube import heatmaps
from tests.bulk_place import Place
from tests.cubes import write_cube
from tests.encoder_models import CLASSES
from tests.media import save

s3_bucket = cubes.s3_bucket  # the fixture

HOUR = 3600.0
TOLD = r"g0001 was deleted .* while it was read.*ask the current one, g0002$"


def write(url: str | Path, generation: str, seed: int, ny: int = 20) -> None:
    """A generation, some cells of which are missing for good; it becomes the current one."""
    features = np.random.default_rng(seed).normal(0, 2, (ny, 160, 5)).astype(np.float32)
    features[:3, :4] = np.nan
    write_cube(url, features, generation=generation)


@pytest.fixture(params=["disk", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A cube of two generations."""
    place = str(tmp_path / "cube.zarr")
    if request.param == "s3":
        # a name of its own: moto's buckets outlive its servers
        place = f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}/cube.zarr"
    for number in (1, 2):
        write(place, f"g000{number}", number)
    return place


def refused(work: Callable[[], Any]) -> None:
    with pytest.raises(CubeError, match=TOLD) as told:
        work()
    assert "\n" not in str(told.value)


QUERY = Query(np.ones((1, 5), np.float32), None)


@pytest.mark.parametrize("read", [False, True], ids=["just opened", "its ledger is read"])
def test_a_generation_that_vanished_is_no_lack_of_imagery(url: str, read: bool) -> None:
    cube = Cube.open(url, "g0001")
    if read:
        assert np.isfinite(heatmaps(cube, QUERY)).any()
    assert prune_generations(url, 1) == ["g0001"]
    fresh = (slice(0, 20), slice(129, 160)) if read else (slice(0, 20), slice(0, 160))
    refused(lambda: cube.read(*fresh))
    refused(lambda: cube.read(slice(None, None, 1), slice(None)))
    refused(lambda: cube.read_norm(*fresh))
    refused(lambda: heatmaps(cube, QUERY))
    refused(lambda: cube.provenance(next(iter(cube.grid.chunks()))))
    assert np.isfinite(heatmaps(Cube.open(url), QUERY)).any()


def test_workers_of_a_cluster_say_the_same(url: str, scheduler: str) -> None:
    cube = Cube.open(url, "g0001")
    prune_generations(url, 1)
    with (
        open_cluster(scheduler) as executor,
        pytest.raises(CubeError, match=r"g0001.*g0002"),
    ):
        heatmaps(cube, QUERY, executor=executor)


def test_a_cube_that_was_deleted_is_told(tmp_path: Path) -> None:
    write(tmp_path / "cube.zarr", "g0001", 1)
    cube = Cube.open(tmp_path / "cube.zarr")
    (tmp_path / "cube.zarr").rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(CubeError, match="was deleted or moved while its generation g0001"):
        heatmaps(cube, QUERY)


# --- whole queries ------------------------------------------------------------------------


@pytest.fixture
def moving(place: Place, tmp_path: Path) -> Path:
    """A cube of two generations whose model is in the store."""
    digest = Cube.open(place.cube).model_digest
    for number in (1, 2):
        features = np.random.default_rng(number).normal(0, 2, (15, 22, len(CLASSES)))
        write_cube(
            tmp_path / "cube.zarr", features.astype(np.float32), classes=CLASSES,
            model_digest=digest, generation=f"g000{number}",
        )  # fmt: skip
    return tmp_path / "cube.zarr"


def pruning(cube: Path, stage: str) -> Any:
    """Stages of a query in which somebody prunes the cube."""

    def begin(title: str) -> Any:
        if title == stage:
            prune_generations(cube, 1)
        return lambda _done, _total: None

    return begin


@pytest.mark.parametrize(
    "stage", ["reading the photos", "searching the cube", "ranking the places"]
)
def test_a_query_ends_with_one_line_and_leaves_nothing(
    moving: Path, tmp_path: Path, stage: str
) -> None:
    save(tmp_path / "a.jpg", 1)
    out = tmp_path / "out"
    refused(
        lambda: query_photos(
            moving, [tmp_path / "a.jpg"], out, epoch="g0001", progress=pruning(moving, stage)
        )
    )
    assert list(out.iterdir()) == []
    assert query_photos(moving, [tmp_path / "a.jpg"], out).results[0].candidates


def test_a_bulk_run_ends_and_the_next_one_answers_all(moving: Path, tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / "in" / f"{seed}.jpg", seed)
    (moving / "CURRENT").write_text("g0001\n")

    def stages(title: str) -> Any:
        if title == "searching the cube":
            (moving / "CURRENT").write_text("g0002\n")
            prune_generations(moving, 1)
        return lambda _done, _total: None

    refused(lambda: run_bulk(moving, tmp_path / "in", tmp_path / "out", top=1, progress=stages))
    assert not list((tmp_path / "out").rglob("query.json"))
    assert run_bulk(moving, tmp_path / "in", tmp_path / "out", top=1).answered == 3


# --- what pruning spares ------------------------------------------------------------------


@pytest.fixture
def epochs(url: str) -> str:
    """Three generations: g0002 was finished at 1970-01-02 00:00, g0003 two hours later."""
    write(url, "g0003", 3)
    day = dt.datetime(1970, 1, 2, tzinfo=dt.UTC)
    for number, hours in ((1, 0), (2, 0), (3, 2)):
        finished = (day + dt.timedelta(hours=hours)).isoformat()
        update_attributes(url, f"g000{number}", {"finished": finished})
    used(url, 0)
    return url


def used(url: str, seconds: float, *generations: int) -> None:
    """When these were opened last, as far as that is known."""
    if "://" not in url:
        for number in generations or (1, 2, 3):
            os.utime(Path(url) / f"g000{number}", (seconds, seconds))


DAY = 86400.0


def test_what_was_current_within_the_grace_stays(
    epochs: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "geoloc")
    now = DAY + 2 * HOUR + 1800  # half an hour after g0002 was superseded
    assert prune_cube(epochs, 1, grace=HOUR, now=now) == ["g0001"]
    assert "g0002 is kept for now" in caplog.text
    assert "0:30:00 ago" in caplog.text
    assert "1:00:00" in caplog.text
    assert prune_cube(epochs, 1, grace=HOUR, now=now + 1799) == []
    assert prune_cube(epochs, 1, grace=HOUR, now=now + 1800) == ["g0002"]
    assert Cube.open(epochs).generation == "g0003"


def test_what_was_opened_within_the_grace_stays(tmp_path: Path) -> None:
    url = tmp_path / "cube.zarr"
    for number in (1, 2, 3):
        write(url, f"g000{number}", number)
        update_attributes(url, f"g000{number}", {"finished": "1970-01-01T00:00:00+00:00"})
    used(str(url), 0)
    Cube.open(url, "g0001")
    opened = (url / "g0001").stat().st_mtime
    assert prune_generations(url, 1, grace=HOUR, now=opened + 60) == ["g0002"]
    assert prune_generations(url, 1, grace=HOUR, now=opened + HOUR) == ["g0001"]


def test_without_grace_and_for_remains_nothing_is_spared(epochs: str) -> None:
    assert prune_generations(epochs, 1, now=DAY + 2 * HOUR) == ["g0001", "g0002"]


def test_the_command_spares_by_default_and_says_so(tmp_path: Path) -> None:
    url = tmp_path / "cube.zarr"
    for number in (1, 2):
        write(url, f"g000{number}", number)
    runner = CliRunner()
    done = runner.invoke(app, ["cube", "prune", str(url), "--keep", "1"])
    assert done.exit_code == 0
    assert "g0001 is kept for now" in done.output
    assert "nothing to delete" in done.output
    for wrong in ("1", "x", "-1h", "1y"):
        done = runner.invoke(app, ["cube", "prune", str(url), "--keep", "1", f"--grace={wrong}"])
        assert isinstance(done.exception, UsageError)
    done = runner.invoke(app, ["cube", "prune", str(url), "--keep", "1", "--grace", "0"])
    assert "deleted g0001" in done.output
