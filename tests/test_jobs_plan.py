"""What is settled before a build: the cube's identity, precision, and what it will cost."""

from __future__ import annotations

import pickle
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geoloc.area import Area, load_area
from geoloc.cube import Cube, CubeSpec, plan_blocks
from geoloc.cube.seal import update_attributes
from geoloc.errors import CubeError, ImageryError, ModelError, SpecMismatchError
from geoloc.executors import InlineExecutor
from geoloc.jobs import estimate
from geoloc.jobs.build import build_blocks, build_cube
from geoloc.jobs.cache import tile_imagery
from geoloc.jobs.estimate import Measured, _cost, _growth, measure, plan_cube
from geoloc.jobs.plan import BuildPlan, ModelEncoder, OpenStored, plan_build
from geoloc.jobs.report import BuildReport
from geoloc.jobs.rim import foresee_rim
from geoloc.models import load_model
from geoloc.query import open_target

from .cubes import TinyEncoder, grid_of, mosaic, plan_of
from .encoder_models import imagery, tiny_model
from .model_server import serving


def spec_of(*paths: str) -> CubeSpec:
    return CubeSpec.of(
        grid_of(5, 6),
        polygon=None,
        imagery={"kind": "geotiff", "paths": list(paths), "bands": [1, 2, 3]},
        model="m",
        encoding={},
    )


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        (["/a/b/t/*.tif"], ["/c/t/*.tif"], True),
        (["/a/b/t1/x.tif", "/a/b/t2/y.tif"], ["/t1/x.tif", "/t2/y.tif"], True),
        (["/a/b/t1/x.tif", "/a/b/t2/y.tif"], ["/a/b/t2/x.tif", "/a/b/t1/y.tif"], False),
        (["/a/x.tif"], ["/a/y.tif"], False),
        (["s3://one/x.tif"], ["s3://two/x.tif"], False),
        (["file:///a/x.tif"], ["/b/x.tif"], True),
    ],
)
def test_where_a_folder_lies_does_not_matter(here: list[str], there: list[str], same: bool) -> None:
    assert (spec_of(*here).digest == spec_of(*there).digest) is same
    assert bool(spec_of(*here).differences(spec_of(*there))) is not same


@pytest.fixture
def area(tmp_path: Path) -> Area:
    """An area file beside a GeoTIFF and a small model."""
    from .test_jobs_build import write_area

    (tmp_path / "first").mkdir()
    tiny_model(tmp_path / "first" / "model")
    return write_area(tmp_path / "first", imagery(400, 500))


def test_a_moved_area_goes_on(area: Area, tmp_path: Path) -> None:
    build_cube(area, method="patch", cluster="inline")
    (tmp_path / "first").rename(tmp_path / "second")
    moved = load_area(tmp_path / "second" / "area.yaml")
    report = build_cube(moved, method="patch", cluster="inline")
    assert (report.blocks_reused, report.blocks_done, report.notes) == (1, 0, [])
    target = open_target(tmp_path / "second" / "cube.zarr")  # by the cube alone
    assert target.source is not None
    assert target.source.read(grid_of(5, 5, 2)).coords["valid"].values.all()


def test_precision_and_method_are_settled_once(area: Area) -> None:
    plan = plan_build(area)
    assert isinstance(plan.open_encoder, ModelEncoder)
    assert plan.open_encoder.precision == "auto"
    pinned = plan.pinned({"method": "patch", "precision": "bfloat16"}).open_encoder
    assert isinstance(pinned, ModelEncoder)
    assert pickle.loads(pickle.dumps(pinned)) == pinned  # noqa: S301 as workers receive it
    assert (pinned.method, pinned.precision) == ("patch", "bfloat16")
    assert pinned().describe()["precision"] == "bfloat16"
    asked = plan_build(area, "dense").pinned({"method": "patch", "precision": "float32"})
    assert isinstance(asked.open_encoder, ModelEncoder)
    assert asked.open_encoder.method == "dense"  # who asks for another method is told so


def build_elsewhere(plan: BuildPlan, models: Path) -> BuildReport:
    """By a worker process whose model store is another than this one's."""
    from distributed import LocalCluster

    elsewhere = {"GEOLOC_MODELS": str(models)}
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", env=elsewhere
    ) as cluster:
        return build_blocks(plan, cluster=cluster.scheduler_address)


def test_a_worker_with_another_model_writes_nothing(
    area: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_build(area, "patch")
    shutil.copytree(area.model, tmp_path / "here" / "copy")
    other = tiny_model(Path(area.model), preferred_gsd=1.5)
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "here"))
    with pytest.raises(CubeError) as refused:
        build_elsewhere(plan, tmp_path / "there").raise_if_incomplete()
    text = str(refused.value)
    assert plan.model_digest[:12] in text and other.digest[:12] in text
    assert "models fetch" in text
    files = [path.name for path in Path(area.cube).rglob("*") if path.is_file()]
    assert set(files) <= {"zarr.json"}  # no block, no ledger
    # who has that very model, under whatever name, goes on
    assert build_blocks(plan, cluster="inline").blocks_done == 1


def test_a_worker_elsewhere_fetches_its_model(
    area: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "here"))
    file = Path(area.cube).with_name("area.yaml")
    with serving(file.parent) as server:
        file.write_text(file.read_text().replace("model: ./model", f"model: {server.url('model')}"))
        plan = plan_build(load_area(file), "patch")
        report = build_elsewhere(plan, tmp_path / "there")
    assert (report.blocks_done, report.blocks_failed) == (1, 0)
    for store in ("here", "there"):
        assert load_model(tmp_path / store / "tiny").digest == plan.model_digest
    assert server.asked("overhead.safetensors") == 2  # once in each


def test_a_resumed_cube_keeps_its_precision(area: Area) -> None:
    """One that a processor with bfloat16 began is not ended in this one's float32."""
    build_cube(area, method="patch", cluster="inline")
    spec = Cube.open(area.cube).spec
    lower = spec.model_copy(update={"encoding": {**spec.encoding, "precision": "bfloat16"}})
    update_attributes(area.cube, "g0001", {"spec": lower.model_dump(mode="json")})
    assert build_cube(area, cluster="inline").blocks_reused == 1  # this machine's own may differ
    plan = plan_build(area, "patch")
    assert isinstance(plan.open_encoder, ModelEncoder)
    other = replace(plan.open_encoder, precision="float32")
    with pytest.raises(SpecMismatchError, match="precision: bfloat16 -> float32"):
        build_blocks(replace(plan, open_encoder=other), cluster="inline")


def test_costs(area: Area) -> None:
    found = plan_cube(area, method="patch", cluster="inline", steps=[20, 40, 5], price=2.5)
    assert [row.step for row in found.rows] == [5, 10, 20, 40]
    _, ten, twenty, _ = found.rows
    assert found.own == ten
    assert (ten.step, ten.cells, ten.blocks) == (10, 600, 1)
    assert found.to_json()["cells_unsearchable"] == 0
    assert (twenty.step, twenty.cells, twenty.blocks) == (20, 150, 1)
    dim = len(plan_build(area).features.names)
    assert ten.cube_bytes == 128 * 128 * (dim + 4)
    assert ten.imagery_bytes > twenty.imagery_bytes / 8
    assert ten.hours == pytest.approx(600 * found.sample.seconds / found.sample.cells / 3600)
    assert ten.cost == pytest.approx(2.5 * ten.hours)
    assert found.cells_in(2 * ten.hours, ten) == pytest.approx(1200, abs=1)
    extent, _, budget = found.summary().splitlines()
    assert extent == "testville: 0.3 x 0.2 km [300000, 5599800, 300300, 5600000] in EPSG:32636"
    assert budget.startswith("the whole area takes ") and "%" not in budget
    dear = replace(found, rows=tuple(replace(row, hours=400.0) for row in found.rows))
    assert dear.summary().endswith("100 CPU worker-hours buy 150 cells at 10 m: 25 % of the area")
    assert found.to_json()["rows"][0]["cells_per_100_hours"] > 0
    assert len(ten.texts()) == len(found.headings())
    assert not Path(area.cube).exists()


@pytest.mark.parametrize("shape", [(300, 420), (128, 256), (1, 129), (5, 6), (130, 2)])
@pytest.mark.parametrize("method", ["patch", "dense"])
@pytest.mark.parametrize("within", [None, (0, 0, 0.6, 0.6), (0.5, 0.5, 1, 1)])
def test_blocks_at_the_edge_count_as_they_are(
    tmp_path: Path,
    shape: tuple[int, int],
    method: str,
    within: tuple[float, float, float, float] | None,
) -> None:
    grid = grid_of(*shape)
    left, bottom, right, top = grid.bounds
    wide, high = right - left, top - bottom
    polygon = None
    if within is not None:
        x0, y0, x1, y1 = within
        polygon = shapely.box(left + x0 * wide, top - y1 * high, left + x1 * wide, top - y0 * high)
    plan = plan_of(tmp_path, grid, mosaic(grid_of(5, 6)), polygon=polygon)
    row = _cost(plan, Measured(2.0, 64, 4096, method, False), workers=1)
    built = [grid.chunk(*at) for at in np.argwhere(plan_blocks(grid, polygon) == 0).tolist()]
    parts = [grid.window(*block.slices) for block in built]
    pixels = sum(TinyEncoder().window(part).size for part in parts)
    share = sum(part.size for part in parts) / 64 if method == "patch" else pixels / 4096
    assert row.blocks == len(built) > 0
    assert row.imagery_bytes == 3 * pixels
    assert row.hours == pytest.approx(2.0 * share / 3600)


def test_a_build_decodes_and_stores_what_was_planned(tmp_path: Path) -> None:
    grid = grid_of(140, 150)
    plan = plan_of(tmp_path / "cube.zarr", grid, mosaic(grid))
    row = _cost(plan, Measured(1.0, 64, 4096, "dense", False), workers=1)
    report = build_blocks(plan, cluster="inline")
    assert report.stage_bytes["decode"] == row.imagery_bytes
    arrays = [path for name in ("features", "norm") for path in tmp_path.rglob(f"{name}/c/**/*")]
    assert sum(p.stat().st_size for p in arrays if p.is_file()) == row.cube_bytes


def refuse() -> TinyEncoder:
    raise ModelError("step 0.7 m is too fine")


def test_a_step_that_the_model_refuses_is_told_in_its_row(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, grid_of(5, 6), mosaic(grid_of(5, 6)), open_encoder=refuse)
    row = _cost(plan, Measured(1.0, 64, 4096, "patch", False), workers=1)
    assert row.problem == "step 0.7 m is too fine"
    assert row.hours == 0
    assert len(row.texts()) == 10


def test_the_sample_grows_until_it_takes_long_enough(tmp_path: Path) -> None:
    grid = grid_of(300, 420)
    plan = plan_of(tmp_path, grid, mosaic(grid))
    measured = measure(plan, plan_blocks(grid, None), InlineExecutor())
    assert measured.cells >= 36 * 44  # quick: all of a block, perhaps one at the edge
    assert measured.seconds > 0
    assert TinyEncoder().window(grid_of(128, 128)).size >= measured.pixels


def test_one_slow_run_does_not_end_the_growth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, runs = grid_of(300, 420), iter([9.0, 9.0])  # the first is not counted, the second is
    plan = plan_of(tmp_path, grid, mosaic(grid))
    monkeypatch.setattr(estimate, "_run", lambda *_: next(runs, 0.01))
    measured = measure(plan, plan_blocks(grid, None), InlineExecutor())
    assert measured.seconds == 0.01 and measured.cells >= 36 * 44


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("seconds", [1e-6, 0.001, 0.03, 0.24, 0.26, 0.9])
def test_a_sample_does_not_grow_far_beyond_what_is_enough(seconds: float, axes: int) -> None:
    wider = _growth(seconds, axes)
    assert wider >= 2 and wider & (wider - 1) == 0
    assert wider == 2 or 1 >= seconds * wider**axes > 2.0**-axes


def test_a_country_is_planned_in_seconds_and_little_memory() -> None:
    grid = grid_of(77_440, 77_440)  # 6 billion cells
    around = np.linspace(0, 2 * np.pi, 20_000)
    reach = 330_000 * (1 + 0.1 * np.sin(40 * around))
    x, y = grid.center(grid.ny // 2, grid.nx // 2)
    polygon = shapely.Polygon(np.c_[x + reach * np.cos(around), y + reach * np.sin(around)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    for step in (10, 16, 25, 100):
        there = replace(grid, step=step, ny=774_400 // step, nx=774_400 // step)
        plan = plan_of("nowhere", there, mosaic(grid_of(5, 6)), polygon=polygon)
        assert _cost(plan, Measured(1.0, 64, 4096, "patch", False), workers=1).hours > 0
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def test_a_build_with_nothing_to_do_loads_no_network(area: Area) -> None:
    """Which takes seconds: the model's digest and what the cube says of its encoder are enough."""
    build_cube(area, cluster="inline")
    file = Path(area.cube).with_name("area.yaml")
    code = (
        "import sys; from geoloc.area import load_area; from geoloc.jobs.build import build_cube;"
        "from geoloc.jobs.refresh import refresh_cube;"
        f"report = build_cube(load_area({str(file)!r}));"
        f"again = refresh_cube(load_area({str(file)!r}));"
        "print(report.blocks_reused, again.blocks_reused,"
        " *sorted({'torch', 'xarray', 'pandas', 'scipy.sparse'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def _begun(area: Area) -> CubeSpec:
    """What a cube of the area says of itself."""
    plan = plan_build(area)
    return plan.spec(plan.open_encoder().describe())


def test_a_network_that_has_become_another_is_not_used(area: Area) -> None:
    """As when a later version computes otherwise: the cube says what it was begun with."""
    there = _begun(area)
    plan = plan_build(area).resuming(there)
    assert isinstance(plan.open_encoder, OpenStored)
    sent = pickle.loads(pickle.dumps(plan.open_encoder))  # noqa: S301 as workers receive it
    opened = sent()
    assert opened.describe() == there.encoding
    assert opened.dim == 5
    other = there.model_copy(update={"encoding": {**there.encoding, "patch_px": 60}})
    opened = plan_build(area).resuming(other).open_encoder()
    with pytest.raises(SpecMismatchError, match="begun by an encoder"):
        opened.encode(*[None] * 4)  # type: ignore[arg-type]


def test_another_model_or_method_is_opened_itself(area: Area) -> None:
    there = _begun(area)
    plan = plan_build(area)
    assert isinstance(plan.resuming(None).open_encoder, ModelEncoder)
    dense = plan_build(area, "dense").resuming(there).open_encoder
    assert isinstance(dense, ModelEncoder)
    other = replace(plan, model_digest="0" * 64).resuming(there).open_encoder
    assert isinstance(other, ModelEncoder)


@pytest.mark.parametrize("job", [build_cube, plan_cube, tile_imagery])
def test_imagery_too_coarse_for_the_model_is_refused_before_any_work(
    area: Area, job: Callable[..., Any]
) -> None:
    tiny_model(Path(area.model), gsd=(0.1, 0.5), preferred_gsd=0.3)  # the imagery has 1 m
    here = Path(area.cube).parent
    before = sorted(path.name for path in here.iterdir())
    with pytest.raises(ImageryError, match=r"1 m per pixel.* 0.5 m at most") as refusal:
        job(area, method="patch", cluster="inline")
    assert "\n" not in str(refusal.value)
    assert sorted(path.name for path in here.iterdir()) == before


def test_imagery_a_little_coarser_than_the_model_serves_is_noted(area: Area) -> None:
    tiny_model(Path(area.model), gsd=(0.1, 0.8), preferred_gsd=0.5)
    report = build_cube(area, method="patch", cluster="inline")
    assert report.blocks_done == 1 and "1 m per pixel" in " ".join(report.notes)


def test_a_plan_foresees_what_cannot_be_searched(area: Area) -> None:
    left, bottom, right, top = area.grid.bounds
    wide = {"bounds": (left - 200, bottom - 150, right + 100, top + 100), "cube": area.cube}
    area = Area.model_validate({**area.model_dump(exclude={"geometry"}), **wide})
    plan = plan_build(area)
    rim = foresee_rim(plan.domain, plan.source, plan.open_encoder().describe(), None)
    report = build_cube(area, cluster="inline")
    assert report.missing_cells > 0
    assert rim.share * report.cells == pytest.approx(report.missing_cells, abs=0.05 * report.cells)
    assert f"of {report.cells:,} cells" in rim.summary(report.cells)
