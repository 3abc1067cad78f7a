"""Cubes of points: built, appended to, interrupted, refreshed, repaired like those of cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import Transformer
from typer.testing import CliRunner

from geoloc.area import Area
from geoloc.cli import app
from geoloc.cube import Cube, generation_names
from geoloc.cube.writer import require_spec
from geoloc.domain import Grid, Points
from geoloc.encoders import open_overhead, open_patches
from geoloc.errors import AreaError, CubeError, ImageryError, SpecMismatchError, UsageError
from geoloc.imagery import open_source
from geoloc.jobs import calibration
from geoloc.jobs.build import build_cube
from geoloc.jobs.estimate import plan_cube
from geoloc.jobs.refresh import refresh_cube
from geoloc.jobs.repair import repair_cube
from geoloc.jobs.update import update_cube
from geoloc.jobs.verify import verify_cube
from geoloc.models import load_model

from .cubes import (
    s3_bucket,  # noqa: F401 a fixture
    write_cube,
)
from .dying import die
from .point_area import (
    BLOCK,
    CRS,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    lonlat_of,
    point_set,
    write_area,
    write_image,
    write_points,
)
from .tile_server import serve_tiles

COUNT, FIRST = 70, 40


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Small blocks, and a code from the first 16 points: any cube of these tests has as many."""
    patch.setattr(Points, "chunk_size", BLOCK)
    patch.setattr(calibration, "WINDOWS", 4)
    patch.setattr(calibration, "_TOGETHER", 4)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cube of all points, built at once."""
    folder = tmp_path_factory.mktemp("ways")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        report = build_cube(write_area(folder), cluster="inline")
    assert report.complete and report.cells_encoded == COUNT
    return folder


def by_order(url: str | Path) -> tuple[NDArray[np.int8], dict[str, NDArray[Any]]]:
    """Codes ``(point, feature)`` and attributes in the order of the sequence."""
    cube = Cube.open(url)
    attributes = cube.attributes()
    rows = np.argsort(attributes["order"])
    codes = cube.read(slice(0, cube.domain.size))
    return codes[rows], {name: values[rows] for name, values in attributes.items()}


def files_of(url: Path, generation: str) -> dict[str, bytes]:
    folder = url / generation
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("features/c", "norm/c")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


def test_each_vector_is_of_the_patch_around_the_point_in_its_own_zone(built: Path) -> None:
    area = write_area(built)
    encoder = open_patches(load_model(area.model), None)
    source, side = open_source(area.imagery), encoder.spec.patch_px * encoder.gsd
    lonlat, patches, zones = lonlat_of(COUNT), [], set()
    for lon, lat in lonlat.tolist():
        code = f"EPSG:326{int((lon + 180) // 6) + 1}"
        zones.add(code)
        x, y = Transformer.from_crs(4326, code, always_xy=True).transform(lon, lat)
        px = encoder.spec.patch_px
        patches.append(
            source.read(Grid(code, x - side / 2, y + side / 2, encoder.gsd, px, px)).values
        )
    assert zones == {"EPSG:32635", "EPSG:32636"}
    codes, attributes = by_order(area.cube)
    cube = Cube.open(area.cube)
    expected = encoder.encode_patches(np.stack(patches))
    step = float(cube.features.stored_code.scale.max())
    np.testing.assert_allclose(cube.features.decode(codes), expected, atol=0.51 * step)
    np.testing.assert_array_equal(attributes["order"], np.arange(COUNT))
    np.testing.assert_array_equal(attributes["way_id"], np.arange(COUNT) + 100)
    assert attributes["highway"][:3].tolist() == ["primary", "path", "фут"]
    near = np.linalg.norm(np.diff(cube.domain.centres(np.arange(COUNT)), axis=0), axis=1)
    assert np.median(near) < 0.5 * np.median(np.linalg.norm(np.diff(lonlat, axis=0), axis=1))


def test_dense_vectors_are_those_of_single_tiles(tmp_path: Path) -> None:
    area = write_area(tmp_path, 20, dense=True)
    report = build_cube(area, method="dense", cluster="inline")
    assert report.complete
    cube = Cube.open(area.cube)
    assert cube.spec.encoding["method"] == "dense" and cube.spec.encoding["interpolation"] is None
    encoder, source = (
        open_overhead(load_model(area.model), None, "dense"),
        open_source(area.imagery),
    )
    codes, _ = by_order(area.cube)
    step = float(cube.features.stored_code.scale.max())
    for point, (lon, lat) in enumerate(lonlat_of(20)[:5].tolist()):
        code = f"EPSG:326{int((lon + 180) // 6) + 1}"
        x, y = Transformer.from_crs(4326, code, always_xy=True).transform(lon, lat)
        cell = Grid(code, x - 8, y + 8, 16, 1, 1)
        image = source.read(encoder.window(cell))
        valid = image.coords["valid"].values
        expected = encoder.encode(image.values, valid, encoder.window(cell), cell)[0, 0]
        found = cube.features.decode(codes[point : point + 1])[0]
        np.testing.assert_allclose(found, expected, atol=0.51 * step)


def test_points_are_encoded_patch_by_patch_unless_asked_for_otherwise(tmp_path: Path) -> None:
    area = write_area(tmp_path, 5, dense=True)
    assert build_cube(area, cluster="inline").complete
    assert Cube.open(area.cube).spec.encoding["method"] == "patch"


def test_appended_points_equal_those_built_at_once(built: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    first = build_cube(area, cluster="inline", n=FIRST)
    before = files_of(tmp_path / "cube.zarr", "g0001")
    report = build_cube(area, cluster="inline")
    assert (first.cells_encoded, report.generation) == (FIRST, "g0002")
    full = FIRST // BLOCK
    assert report.blocks_copied == full and report.complete and report.published
    assert files_of(tmp_path / "cube.zarr", "g0001") == before
    after = files_of(tmp_path / "cube.zarr", "g0002")
    for block in range(full):
        assert after[f"features/c/{block}/0"] == before[f"features/c/{block}/0"]
    (codes, facts), (other, others) = by_order(area.cube), by_order(built / "cube.zarr")
    np.testing.assert_array_equal(codes, other)
    assert {n: v.tolist() for n, v in facts.items()} == {n: v.tolist() for n, v in others.items()}
    again = build_cube(area, cluster="inline")
    assert (again.generation, again.blocks_done, again.cells) == ("g0002", 0, COUNT)
    fewer = build_cube(area, cluster="inline", n=FIRST)  # it holds them already
    assert (fewer.generation, fewer.blocks_done) == ("g0002", 0)


_APPEND = """
from geoloc.domain import Points
from geoloc.jobs import calibration
Points.chunk_size = {block}
calibration.WINDOWS = calibration._TOGETHER = 4
from geoloc.area import load_area
from geoloc.jobs.build import build_cube
build_cube(load_area({area!r}), cluster="inline", n={n})
"""


@pytest.mark.parametrize("change", ["g0001/features/c/1/", "g0002/features/c/3/", "CURRENT"])
def test_killed_and_resumed_is_the_same(built: Path, tmp_path: Path, change: str) -> None:
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    begun = FIRST if change.startswith("g0001") else COUNT
    if begun == COUNT:
        build_cube(area, cluster="inline", n=FIRST)
    code = _APPEND.format(block=BLOCK, area=str(tmp_path / "area.yaml"), n=begun)
    die(code, rf"rename .*{change}")
    report = build_cube(area, cluster="inline")
    assert report.complete and Cube.open(area.cube).generation == "g0002"
    np.testing.assert_array_equal(by_order(area.cube)[0], by_order(built / "cube.zarr")[0])


def test_more_points_than_an_interrupted_append(built: Path, tmp_path: Path) -> None:
    """What was begun is finished first, and nothing of it lost."""
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    build_cube(area, cluster="inline", n=20)
    die(
        _APPEND.format(block=BLOCK, area=str(tmp_path / "area.yaml"), n=50),
        "rename .*g0002/features/c/2/",
    )
    report = build_cube(area, cluster="inline")
    assert report.generation == "g0003" and report.complete
    np.testing.assert_array_equal(by_order(area.cube)[0], by_order(built / "cube.zarr")[0])


def test_fewer_points_than_a_cube_holds_leave_it_and_are_told(built: Path) -> None:
    report = build_cube(write_area(built), cluster="inline", n=20)
    assert report.cells_encoded == 0 and Cube.open(built / "cube.zarr").domain.size == COUNT
    assert any("more than the 20 wanted" in note for note in report.notes)
    assert not build_cube(write_area(built), cluster="inline", n=COUNT).notes


def test_an_area_without_points_does_not_fit_a_cube_of_points(built: Path, tmp_path: Path) -> None:
    write_cube(tmp_path / "grid.zarr", np.zeros((4, 4, 3), np.float32))
    there, wanted = Cube.open(built / "cube.zarr").spec, Cube.open(tmp_path / "grid.zarr").spec
    with pytest.raises(SpecMismatchError, match=r"holds points.*: write points: FILE in it"):
        require_spec("cube.zarr", there, wanted)


def test_what_does_not_fit_is_refused_in_one_line(built: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    build_cube(area, cluster="inline", n=20)
    other = write_points(tmp_path / "b.parquet", point_set(lonlat_of(30), "0ther"))
    moved = write_points(tmp_path / "c.parquet", point_set(lonlat_of(30, seed=1)))
    for path in (other, moved):
        with pytest.raises(SpecMismatchError, match="another sequence"):
            build_cube(area.with_points(path), cluster="inline")
    with pytest.raises(UsageError, match="fewer than the 900"):
        build_cube(area, cluster="inline", n=900)
    far = write_points(tmp_path / "d.parquet", point_set(lonlat_of(9) + 20))
    with pytest.raises(ImageryError, match="none of 9 points"):
        build_cube(area.with_points(far).model_copy(update={"cube": "e.zarr"}), cluster="inline")
    with pytest.raises(AreaError, match="points or bounds"):
        write_area(tmp_path, bounds=[1e5, 2e5, 3e5, 4e5], crs="EPSG:32636")
    with pytest.raises(AreaError, match="points or step"):
        write_area(tmp_path, step=5)


def test_copies_of_a_point_are_left_out(built: Path, tmp_path: Path) -> None:
    lonlat = lonlat_of(20)
    lonlat[[7, 19]] = lonlat[[2, 2]]
    write_points(tmp_path / "points.parquet", point_set(lonlat))
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    assert build_cube(area, cluster="inline", n=10).cells == 9
    assert build_cube(area, cluster="inline").cells == 18
    orders = sorted(Cube.open(area.cube).attributes()["order"].tolist())
    assert orders == [i for i in range(20) if i not in (7, 19)]


def test_a_refresh_computes_what_changed(tmp_path: Path) -> None:
    write_image(tmp_path / "b.tif", seed=3, width=450)  # the western half, on top when it is there
    (tmp_path / "b.tif").rename(tmp_path / "later")
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": ["?.tif"], "order": "listed"})
    build_cube(area, cluster="inline")
    codes = by_order(area.cube)[0]
    assert not refresh_cube(area, cluster="inline").blocks_done
    (tmp_path / "later").rename(tmp_path / "Z.tif")
    report = refresh_cube(area, cluster="inline")
    assert report.complete and report.generation == "g0002"
    assert report.blocks_done + report.blocks_copied == 5 and report.blocks_done
    changed = (by_order(area.cube)[0] != codes).any(axis=1)
    assert changed.any() and not changed.all()
    steps = update_cube(area, cluster="inline").steps
    assert all(not step.blocks_done for step in steps.values())


def test_an_update_appends_points_that_the_file_has_more_of(built: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    build_cube(area, cluster="inline", n=FIRST)
    steps = update_cube(area, cluster="inline").steps
    assert (steps["build"].cells, steps["refresh"].blocks_done) == (COUNT, 0)
    np.testing.assert_array_equal(by_order(area.cube)[0], by_order(built / "cube.zarr")[0])
    assert list(update_cube(area, cluster="inline").steps) == ["refresh"]


def test_points_built_in_place_of_an_extent_are_kept_up_by_the_same_area(
    built: Path, tmp_path: Path
) -> None:
    """As by 'geoloc points build POINTS AREA', where the area has bounds and a step."""
    told = {"kind": "geotiff", "paths": [str(built / "a.tif")]}
    points = write_area(tmp_path, imagery=told)
    values = {"bounds": [LEFT, TOP - HEIGHT, LEFT + WIDTH, TOP], "step": 10, "crs": CRS}
    area = Area.model_validate(
        {**points.model_dump(exclude={"points", "step", "crs"}), **values, "imagery": told}
    )
    build_cube(area.with_points(tmp_path / "points.parquet"), cluster="inline", n=FIRST)
    assert not refresh_cube(area, cluster="inline").blocks_done
    assert list(update_cube(area, cluster="inline").steps) == ["refresh"]
    (tmp_path / "cube.zarr/g0001/features/c/1/0").write_bytes(b"")
    steps = update_cube(area, cluster="inline").steps
    assert steps["build"].blocks_damaged == 1 and Cube.open(area.cube).domain.size == FIRST
    assert repair_cube(area, cluster="inline").notes == ["nothing was damaged"]
    with pytest.raises(SpecMismatchError, match="use 'geoloc points build'"):
        build_cube(area, cluster="inline")


def test_an_unfinished_cube_of_points_names_their_command(built: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    for unbuilt in (lambda: Cube.open(area.cube), lambda: refresh_cube(area, cluster="inline")):
        with pytest.raises(CubeError, match="'geoloc cube build', or of points 'geoloc points"):
            unbuilt()
    die(_APPEND.format(block=BLOCK, area=str(tmp_path / "area.yaml"), n=FIRST), "rename .*c/1/")
    for begun in (lambda: Cube.open(area.cube), lambda: refresh_cube(area, cluster="inline")):
        with pytest.raises(CubeError, match="run 'geoloc points build'"):
            begun()


def test_plan_verify_and_repair(built: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    plan = plan_cube(area, cluster="inline")
    assert (plan.own.cells, plan.own.blocks, len(plan.rows)) == (COUNT, 5, 1)
    assert plan.own.imagery_bytes == COUNT * 64 * 64 * 3
    report = build_cube(area, cluster="inline")
    assert "points/s" in report.summary() and f"{COUNT:,} points in " in report.summary()
    codes = by_order(area.cube)[0]
    found = verify_cube(Cube.open(area.cube), area, load_model(area.model), cells=30)
    assert found.error.relative_error < 0.1 < found.jitter.relative_error
    said = (plan.summary(), *plan.headings(), report.summary(), found.summary())
    assert not any("cell" in words for words in said)
    (tmp_path / "cube.zarr/g0001/features/c/2/0").write_bytes(b"")
    (tmp_path / "points.parquet").unlink()  # the cube holds its points
    report = repair_cube(area, cluster="inline")
    assert (report.blocks_damaged, report.blocks_done) == (1, 1)
    np.testing.assert_array_equal(by_order(area.cube)[0], codes)


def test_a_polygon_bounds_the_points(built: Path, tmp_path: Path) -> None:
    lonlat = lonlat_of(COUNT)
    west, south, east, north = *lonlat.min(axis=0) - 0.001, *lonlat.max(axis=0) + 0.001
    middle = (west + east) / 2
    ring = [[west, south], [middle, south], [middle, north], [west, north], [west, south]]
    half = {"type": "Polygon", "coordinates": [ring]}
    (tmp_path / "half.geojson").write_text(json.dumps(half))
    area = write_area(
        tmp_path, geometry="half.geojson",
        imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]},
    )  # fmt: skip
    build_cube(area, cluster="inline")
    inside = (by_order(area.cube)[0] != -128).all(axis=1)
    np.testing.assert_array_equal(inside, lonlat[:, 0] < middle)


def test_s3_holds_the_same(
    built: Path,
    tmp_path: Path,
    s3_bucket: str,  # noqa: F811
) -> None:
    told = {"kind": "geotiff", "paths": [str(built / "a.tif")]}
    area = write_area(tmp_path, imagery=told, cube=f"{s3_bucket}/points.zarr")
    build_cube(area, cluster="inline", n=FIRST)
    assert build_cube(area, cluster="inline").complete
    np.testing.assert_array_equal(by_order(area.cube)[0], by_order(built / "cube.zarr")[0])


@pytest.mark.slow
def test_worker_processes_give_the_same(built: Path, tmp_path: Path) -> None:
    area = write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    assert build_cube(area, cluster="inline", n=FIRST).complete
    assert build_cube(area, cluster="local").complete
    np.testing.assert_array_equal(by_order(area.cube)[0], by_order(built / "cube.zarr")[0])


def test_a_quota_that_ends_stops_the_build_and_the_same_command_goes_on(tmp_path: Path) -> None:
    def tile(zoom: int, x: int, y: int) -> NDArray[np.uint8]:
        values = np.random.default_rng([zoom, x, y]).integers(0, 255, (256, 256, 3))
        return values.astype(np.uint8)

    def told(url: str) -> dict[str, Any]:
        return {
            "kind": "xyz", "url": url, "zoom": 17, "tile_cache": str(tmp_path), "rate": 1000,
            "retries": 1,
        }  # fmt: skip

    with serve_tiles(tile) as server:
        area = write_area(tmp_path, imagery=told(server.url()))
        build_cube(area, cluster="inline", n=BLOCK)
        asked, server.always = len(server.requests), "429:86400"
        stopped = build_cube(area, cluster="inline")
        assert "86400" in str(stopped.stopped) and "\n" not in str(stopped.stopped)
        assert len(server.requests) < asked + 12
        assert Cube.open(area.cube).domain.size == BLOCK
        server.always = ""
        report = build_cube(area.model_copy(), cluster="inline")
        assert report.complete and report.cells_encoded == COUNT - BLOCK
        assert len(set(server.requests)) + 12 >= len(server.requests)


def test_the_command_line(built: Path, tmp_path: Path) -> None:
    write_area(tmp_path, imagery={"kind": "geotiff", "paths": [str(built / "a.tif")]})
    points, area, run = str(tmp_path / "points.parquet"), str(tmp_path / "area.yaml"), CliRunner()
    done = run.invoke(app, ["points", "build", points, area, "--n", "20", "--cluster", "inline"])
    assert done.exit_code == 0, done.output
    done = run.invoke(app, ["cube", "build", area, "--cluster", "inline", "--json"])
    assert json.loads(done.stdout)["cells"] == COUNT
    facts = json.loads(run.invoke(app, ["cube", "info", area, "--json"]).stdout)
    assert facts["cells"] == COUNT and facts["step"] is None
    names = json.loads(run.invoke(app, ["cube", "generations", area, "--json"]).stdout)
    assert [one["name"] for one in names["generations"]] == ["g0001", "g0002"]
    assert generation_names(tmp_path / "cube.zarr") == ["g0001", "g0002"]
