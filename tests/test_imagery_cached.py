"""Imagery tiled into Zarr: the same pixels, resumable, readable on any lattice."""

from __future__ import annotations

import http.server
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr as zarr_library
from numpy.typing import NDArray
from typer.testing import CliRunner

from geoloc.area import Area, GeotiffImagery, ZarrImagery, load_area
from geoloc.cli import app
from geoloc.domain import Grid
from geoloc.errors import AreaError, ImageryError, SpecMismatchError
from geoloc.imagery import open_source, require_overlap
from geoloc.imagery.cached import source as tiled
from geoloc.imagery.cached import tiles as tiling
from geoloc.imagery.cached.source import ZarrSource
from geoloc.imagery.source import Source
from geoloc.jobs import cache as tile

from .loopback import serving_on_loopback
from .test_imagery_geotiff import CRS, LEFT, TOP, noise, ramp, write

LATTICE = Grid(CRS, LEFT - 3.5, TOP + 4.25, 0.5, 150, 210)


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 64 px, chunks of 32: several of each in small imagery."""
    for module in (tile, tiling, tiled):
        monkeypatch.setattr(module, "TILE", 64)
    monkeypatch.setattr(tiling, "_CHUNK", 32)
    monkeypatch.setattr(tile, "encoder_lattice", lambda *_: LATTICE)


def area(folder: Path, **changes: Any) -> Area:
    """60 x 90 m of imagery in two files with a hole between them, tiled at 0.5 m."""
    if not (folder / "a.tif").exists():
        write(folder / "a.tif", noise(1, size=(60, 50)), tags={"TIFFTAG_DATETIME": "2024:05:06"})
        write(folder / "b.tif", noise(2, size=(60, 40)), left=LEFT + 55)
    values = {
        "name": "here",
        "crs": CRS,
        "bounds": [LEFT, TOP - 60, LEFT + 95, TOP],
        "step": 5,
        "imagery": {"paths": ["a.tif", "b.tif"]},
        "model": "sandbox",
        "cube": "cube.zarr",
        **changes,
    }
    (folder / "area.yaml").write_text(yaml.safe_dump(values))
    return load_area(folder / "area.yaml")


def copy_of(here: Area) -> ZarrSource:
    report = tile.tile_imagery(here, cluster="inline")
    report.raise_if_incomplete()
    return ZarrSource(here.tiled)


def test_a_copy_gives_the_origins_pixels(tmp_path: Path) -> None:
    here = area(tmp_path)
    copy, origin = copy_of(here), open_source(here.imagery)
    require_overlap(copy, here.grid)
    for window in (
        LATTICE,
        LATTICE.window(slice(60, 70), slice(3, 200)),
        LATTICE.pad(7),
        LATTICE.window(slice(-20, 3), slice(200, 230)),
    ):
        data, plain = copy.read(window), origin.read(window)
        np.testing.assert_array_equal(data.values, plain.values)
        np.testing.assert_array_equal(data.valid, plain.valid)
    assert not data.valid.values[:20].any()
    seen = {item.id: item for item in copy.read(LATTICE).attrs["items"]}
    assert set(seen) == {"a", "b"} and str(seen["a"].datetime).startswith("2024-05-06")
    assert copy.gsd == pytest.approx(0.5, rel=2e-3)
    left, bottom, right, top = copy.bounds(CRS)
    assert (left, bottom, right, top) == LATTICE.bounds
    far = Grid(CRS, LEFT + 5000, TOP, 0.5, 9, 9)
    assert not copy.covers(far) and not copy.read(far).valid.values.any()


@pytest.mark.parametrize("crs", [CRS, "EPSG:32635"])
@pytest.mark.parametrize("step", [0.3, 0.5, 0.8, 2.6])
def test_other_lattices_are_resampled(tmp_path: Path, crs: str, step: float) -> None:
    from pyproj import Transformer

    grid = Grid(CRS, LEFT, TOP, 1.0, 60, 60)
    write(tmp_path / "r.tif", ramp(*np.meshgrid(grid.x, grid.y)).astype(np.float32))
    here = area(tmp_path, imagery={"paths": "r.tif", "scale": [0, 255]})
    copy = copy_of(here)
    x, y = Transformer.from_crs(CRS, crs, always_xy=True).transform(LEFT + 12, TOP - 12)
    window = Grid(crs, x, y, step, int(30 / step), int(33 / step))
    data = copy.read(window)
    there = Transformer.from_crs(crs, CRS, always_xy=True).transform(
        *np.meshgrid(window.x, window.y)
    )
    assert data.valid.values.all()
    assert np.abs(data.values - ramp(*there)).max() <= 1.7  # 3 levels a metre


def test_tiling_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = area(tmp_path)
    finish, count = tiling.TileTask.finish, [0]

    def dies(self: Any, *args: Any) -> Any:
        count[0] += 1
        if count[0] == 5:
            raise KeyboardInterrupt
        return finish(self, *args)

    monkeypatch.setattr(tiling.TileTask, "finish", dies)
    with pytest.raises(KeyboardInterrupt):
        tile.tile_imagery(here, cluster="inline")
    half = ZarrSource(here.tiled).read(LATTICE)
    assert any("not written yet" in error for error in half.attrs["errors"])
    monkeypatch.setattr(tiling.TileTask, "finish", finish)
    report = tile.tile_imagery(here, cluster="inline")
    assert (report.tiles_reused, report.tiles_done) == (4, 8)
    again = tile.tile_imagery(here, cluster="inline")
    assert (again.tiles_reused, again.tiles_done, again.cluster) == (12, 0, "")
    whole = copy_of(area(tmp_path, cube="other.zarr")).read(LATTICE)
    assert ZarrSource(here.tiled).read(LATTICE).identical(whole)


def test_broken_files_are_reported_and_tiled_again(tmp_path: Path) -> None:
    good = (write(tmp_path / "a.tif", noise(1, size=(60, 50)))).read_bytes()
    write(tmp_path / "b.tif", noise(2, size=(60, 40)), left=LEFT + 55)
    here = area(tmp_path)
    (tmp_path / "a.tif").write_bytes(good[:-4000])
    report = tile.tile_imagery(here, cluster="inline")
    with pytest.raises(ImageryError, match=r"tiles are incomplete \(.*a\.tif"):
        report.raise_if_incomplete()
    broken, whole = report.tiles_broken, report.tiles_done
    assert broken and whole
    data = ZarrSource(here.tiled).read(LATTICE)
    assert any("a.tif" in error for error in data.attrs["errors"])
    before = ZarrSource(here.tiled).fingerprint(LATTICE)
    (tmp_path / "a.tif").write_bytes(good)
    report = tile.tile_imagery(here, cluster="inline")
    assert (report.tiles_done, report.tiles_reused) == (broken, whole)
    data = ZarrSource(here.tiled).read(LATTICE)
    assert data.attrs["errors"] == ()
    np.testing.assert_array_equal(data.values, open_source(here.imagery).read(LATTICE).values)
    assert ZarrSource(here.tiled).fingerprint(LATTICE) != before


def test_only_tiles_that_the_polygon_needs_are_read(tmp_path: Path) -> None:
    from pyproj import Transformer

    back = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    corners = [(0, 0), (20, 0), (20, -20), (0, -20), (0, 0)]
    ring = [list(back.transform(LEFT + x, TOP + y)) for x, y in corners]
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    report = tile.tile_imagery(area(tmp_path, bounds=None, geometry="p.geojson"), cluster="inline")
    assert report.tiles_outside > 0 and report.tiles_done + report.tiles_outside == 12


def test_another_specification_is_refused(tmp_path: Path) -> None:
    copy_of(area(tmp_path))
    with pytest.raises(SpecMismatchError, match="made from another area, imagery or lattice"):
        tile.tile_imagery(area(tmp_path, imagery={"paths": "a.tif"}), cluster="inline")
    copied = area(tmp_path, imagery={"kind": "zarr", "path": "cube-imagery.zarr"})
    with pytest.raises(AreaError, match="tiled already"):
        tile.tile_imagery(copied)


def test_what_is_read_of_a_copy_is_counted(tmp_path: Path) -> None:
    copy = copy_of(area(tmp_path))
    size = {
        name: sum(p.stat().st_size for p in (Path(copy.spec.path) / name).rglob("*") if p.is_file())
        for name in ("pixels", "valid", "done", "record")
    }
    ledgers = size["done"] + size["record"]  # looked at before and after
    whole = copy.read(LATTICE).attrs["read_bytes"]
    assert whole == pytest.approx(size["pixels"] + size["valid"] + 2 * ledgers, rel=0.01)
    part = copy.read(LATTICE.window(slice(0, 20), slice(0, 20))).attrs["read_bytes"]
    assert 0 < part < whole / 4
    beyond = Grid(CRS, LEFT + 5000, TOP, 0.5, 9, 9)
    assert copy.read(beyond).attrs["read_bytes"] == 0


def test_threads_count_their_own_reads(tmp_path: Path) -> None:
    copy = copy_of(area(tmp_path))
    windows = [LATTICE, LATTICE.window(slice(0, 20), slice(0, 20))] * 8

    def count(window: Grid) -> int:
        return int(copy.read(window).attrs["read_bytes"])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, windows)) == [count(window) for window in windows]


def test_what_is_no_copy(tmp_path: Path) -> None:
    nothing = ZarrSource(ZarrImagery(path=str(tmp_path / "none.zarr")))
    with pytest.raises(ImageryError, match=r"no tiled imagery at .*none\.zarr: write it"):
        nothing.covers(LATTICE)
    zarr_library.create_group(tmp_path / "cube.zarr")
    with pytest.raises(ImageryError, match="not imagery tiled by this version"):
        ZarrSource(ZarrImagery(path=str(tmp_path / "cube.zarr"))).gsd  # noqa: B018
    later = {"geoloc_imagery": tiled.FORMAT_VERSION + 1}
    zarr_library.create_group(tmp_path / "later.zarr", attributes=later)
    with pytest.raises(ImageryError, match="install a newer geoloc"):
        ZarrSource(ZarrImagery(path=str(tmp_path / "later.zarr"))).gsd  # noqa: B018


def test_fingerprints_follow_the_origin(tmp_path: Path) -> None:
    here = area(tmp_path)
    copy = copy_of(here)
    before = copy.fingerprint(LATTICE)
    assert pickle.loads(pickle.dumps(copy)).fingerprint(LATTICE) == before  # noqa: S301
    corner = LATTICE.window(slice(0, 20), slice(0, 20))
    assert copy.fingerprint(corner) != before
    same = copy_of(area(tmp_path, cube="other.zarr"))
    assert same.fingerprint(corner) == copy.fingerprint(corner)


def test_a_kept_copy_is_what_is_read(tmp_path: Path) -> None:
    kept = area(tmp_path, imagery={"paths": ["a.tif", "b.tif"], "cache": True})
    fused = area(tmp_path)
    assert fused.read_imagery is fused.imagery
    assert kept.read_imagery == ZarrImagery(path=str(tmp_path / "cube-imagery.zarr"))
    assert isinstance(kept.imagery, GeotiffImagery)
    assert kept.imagery.recorded() == fused.imagery.recorded()  # the same cube
    with pytest.raises(ImageryError, match="geoloc imagery tile"):
        require_overlap(open_source(kept.read_imagery), kept.grid)
    source: Source = copy_of(kept)
    origin = open_source(fused.imagery).read(LATTICE)
    np.testing.assert_array_equal(source.read(LATTICE).values, origin.values)


def test_a_copys_server_may_need_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if "sig=s3cret" in self.path:
                super().do_GET()
            else:
                self.send_error(403)

        def log_message(self, *_: Any) -> None:
            pass

    copy_of(area(tmp_path))
    with serving_on_loopback(partial(Guarded, directory=str(tmp_path))) as port:
        spec = ZarrImagery(path=f"http://127.0.0.1:{port}/cube-imagery.zarr?sig=${{ZARR_KEY}}")
        monkeypatch.setenv("ZARR_KEY", "wrong-key")
        with pytest.raises(ImageryError, match="tiled imagery http") as caught:
            _ = ZarrSource(spec).lattice
        assert "wrong-key" not in str(caught.value)
        monkeypatch.setenv("ZARR_KEY", "s3cret")
        assert ZarrSource(spec).lattice == LATTICE


def test_the_command(tmp_path: Path) -> None:
    area(tmp_path)
    out = tmp_path / "copy.zarr"
    command = ["imagery", "tile", str(tmp_path / "area.yaml"), "--cluster", "inline"]
    done = CliRunner().invoke(app, [*command, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    there = open_source(load_area(tmp_path / "area.yaml").imagery).read(LATTICE).valid
    assert facts["tiles_done"] == 12 and facts["valid_pixels"] == int(there.sum())
    group = zarr_library.open_group(out, mode="r")
    pixels = group["pixels"]
    assert isinstance(pixels, zarr_library.Array)
    assert pixels.metadata.zarr_format == 3 and pixels.shards == (3, 64, 64)
    values: NDArray[np.uint8] = np.asarray(pixels[:])
    assert values.shape == (3, *LATTICE.shape)
    assert replace(LATTICE) == Grid(**group.attrs["lattice"])  # type: ignore[arg-type]
