"""The feature cube: its code, its layout on disk and on S3, its ledger, its refusals."""

from __future__ import annotations

import datetime as dt
import http.server
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import obstore.store
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoloc.cube import (
    BlockWriter,
    Cube,
    CubeSpec,
    Ledger,
    Provenance,
    Status,
    create_generation,
    current_generation,
    list_generations,
    plan_blocks,
    publish,
    resume_generation,
)
from geoloc.cube.store import open_store, read_text, storage_errors, write_text
from geoloc.errors import CubeError, SpecMismatchError, UnavailableError
from geoloc.models import MISSING, FeatureSpace, Quantizer

from . import cubes
from .cubes import grid_of, step_of, write_cube
from .loopback import serving_on_loopback

s3_bucket = cubes.s3_bucket  # the fixture


def features_of(ny: int, nx: int, dim: int = 6, seed: int = 0) -> NDArray[np.float32]:
    """Asymmetric in every axis, one cell missing."""
    rng = np.random.default_rng(seed)
    ramp = np.arange(ny)[:, None, None] / 50 + np.arange(nx)[None, :, None] / 90
    values = rng.normal(0, 3, (ny, nx, dim)) + ramp * np.arange(dim) + 4
    values[2, 5] = np.nan
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def features() -> NDArray[np.float32]:
    return features_of(150, 300)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory, features: NDArray[np.float32]) -> Cube:
    metric = np.random.default_rng(1).normal(0, 1, (6, 6)).astype(np.float32)
    weights = np.array([1, 2, 0, 1, 0.5, 3], np.float32)
    path = tmp_path_factory.mktemp("cube") / "cube.zarr"
    return write_cube(path, features, weights=weights, metric=metric)


# --- reading ---------------------------------------------------------------------------------


def test_cells_come_back_where_they_were(cube: Cube, features: NDArray[np.float32]) -> None:
    rows, cols = slice(1, 140), slice(100, 290)  # across blocks
    values = cube.features.decode(cube.read(rows, cols))
    assert values.shape == (139, 190, 6)
    np.testing.assert_allclose(values, features[rows, cols], atol=step_of(cube))
    assert cube.vector(2, 5) is None
    assert cube.vector(150, 0) is None
    assert cube.vector(0, -1) is None
    np.testing.assert_array_equal(cube.vector(3, 104), values[2, 4])


@given(st.tuples(*[st.integers(0, 310)] * 4))
@settings(max_examples=40)
def test_mapped_chunks_are_what_zarr_reads(cube: Cube, edges: tuple[int, int, int, int]) -> None:
    rows, cols = slice(*sorted(edges[:2])), slice(*sorted(edges[2:]))
    assert cube._chunks is not None
    mapped = cube._chunks.read((rows, cols))
    by_zarr = np.asarray(cube._codes[rows, cols])
    np.testing.assert_array_equal(cube.read(rows, cols), by_zarr)
    if mapped is not None:
        np.testing.assert_array_equal(mapped, by_zarr)


def test_mapped_cells_may_be_changed_without_changing_the_cube(cube: Cube) -> None:
    rows, cols = slice(0, 128), slice(0, 128)
    before = cube.read(rows, cols).copy()
    cube.read(rows, cols)[:] = 7
    np.testing.assert_array_equal(cube.read(rows, cols), before)


def test_a_truncated_chunk_is_one_line(tmp_path: Path) -> None:
    cube = write_cube(tmp_path, features_of(20, 30))
    chunk = tmp_path / "g0001/features/c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:1000])
    with pytest.raises(CubeError) as caught:
        cube.read(slice(0, 5), slice(0, 5))
    assert "\n" not in str(caught.value)


def test_norm_is_that_of_the_decoded_vector(cube: Cube) -> None:
    rows, cols = slice(0, 20), slice(120, 140)
    values = cube.features.decode(cube.read(rows, cols))
    assert cube.features.weights is not None
    assert cube.features.metric is not None
    w = cube.features.weights / np.linalg.norm(cube.features.weights)
    naive = (((values * w) @ cube.features.metric) ** 2).sum(axis=-1)
    np.testing.assert_allclose(cube.read_norm(rows, cols), naive, rtol=1e-4)
    assert np.isnan(cube.read_norm(slice(2, 3), slice(5, 6))).all()


def test_xarray_opens_it(cube: Cube, features: NDArray[np.float32]) -> None:
    import rioxarray  # noqa: F401 registers .rio

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = xr.open_zarr(cube.url, group=cube.generation, chunks=None)
        tree = xr.open_datatree(cube.url, engine="zarr")
    assert tree.attrs == {"geoloc_cube": 2} and "features" in tree[cube.generation]
    assert ds.features.dims == ("y", "x", "feature")
    assert ds.rio.crs.to_epsg() == 32636
    np.testing.assert_array_equal(ds.y, cube.grid.y)
    np.testing.assert_array_equal(ds.x, cube.grid.x)
    assert list(ds.feature.values) == list(cube.features.names)
    values = ds.features.values
    np.testing.assert_array_equal(ds.features.sel(feature="class_3").values, values[..., 3])
    np.testing.assert_allclose(values, features, atol=step_of(cube))
    assert np.isnan(values[2, 5]).all()
    chip = ds.features.isel(feature=0).rio.clip_box(
        *cube.grid.window(slice(3, 5), slice(7, 9)).bounds
    )
    assert chip.shape == (2, 2)


def test_facts_for_people(cube: Cube) -> None:
    facts = cube.info()
    assert facts["cells"] == 45_000
    assert facts["blocks_done"] == 6
    assert facts["blocks_missing"] == 0
    assert facts["model"] == "tiny"
    assert cube.complete
    assert cube.provenance(cube.grid.chunk(1, 2)) == {"fingerprint": "ab" * 32}


def test_the_model_must_be_the_one_that_made_it(cube: Cube) -> None:
    cube.require_model("renamed", cube.model_digest)
    with pytest.raises(SpecMismatchError, match="was built by model tiny"):
        cube.require_model("other", "f" * 64)


# --- ledger and generations --------------------------------------------------------------------


def begin(path: Path, ny: int = 150, nx: int = 300, **changes: object) -> CubeSpec:
    """An empty generation g0001."""
    spec = CubeSpec.of(
        grid_of(ny, nx), polygon=None, imagery={"paths": ["a.tif"]}, model="m", encoding={}
    ).model_copy(update=changes)
    quantizer = Quantizer.fit(np.full(6, -9, np.float32), np.full(6, 30, np.float32))
    ledger = np.zeros(spec.grid.chunk_grid(), np.uint8)
    create_generation(
        path, "g0001", spec, FeatureSpace(tuple("abcdef"), quantizer), ledger, model_name="tiny"
    )
    return spec


def test_what_the_ledger_does_not_name_does_not_count(
    tmp_path: Path, features: NDArray[np.float32]
) -> None:
    spec = begin(tmp_path)
    blocks = [spec.grid.chunk(0, 0), spec.grid.chunk(0, 1)]
    writer, ledger = BlockWriter(tmp_path, "g0001"), Ledger(tmp_path, "g0001")
    for block in blocks:
        writer.write(block, features[block.slices])
    ledger.mark((0, 0), Status.DONE, "cd" * 32)
    cube = Cube.open(tmp_path, "g0001")
    codes = cube.read(slice(0, 128), slice(120, 136))
    assert (codes[10, :8] != MISSING).all()
    assert (codes[:, 8:] == MISSING).all()
    norm = cube.read_norm(slice(0, 128), slice(120, 136))
    assert np.isfinite(norm[10, :8]).all()
    assert np.isnan(norm[:, 8:]).all()
    assert not cube.complete
    assert [b.index for b in cube.blocks()] == [(0, 0)]


def test_marks_survive_reopening_and_keep_their_neighbours(tmp_path: Path) -> None:
    begin(tmp_path, 128 * 40, 128 * 35)  # more than one chunk of the ledger
    Ledger(tmp_path, "g0001").mark((33, 34), Status.DONE, "01" * 32)
    again = Ledger(tmp_path, "g0001")
    again.mark((33, 33), Status.BROKEN, "02" * 32)
    status = Ledger(tmp_path, "g0001").status
    assert status[33, 34] == Status.DONE
    assert status[33, 33] == Status.BROKEN
    assert status.sum() == 3


def test_a_block_is_one_chunk(tmp_path: Path, features: NDArray[np.float32]) -> None:
    spec = begin(tmp_path)
    writer = BlockWriter(tmp_path, "g0001")
    for block in (spec.grid.chunk(0, 1), spec.grid.chunk(1, 2)):  # a full one, a partial one
        writer.write(block, features[block.slices])
    chunks = sorted((tmp_path / "g0001" / "features" / "c").rglob("0"))
    assert [c for c in chunks if c.is_file()] == [
        tmp_path / "g0001/features/c/0/1/0",
        tmp_path / "g0001/features/c/1/2/0",
    ]


def test_an_unfinished_cube_is_not_opened_unasked(tmp_path: Path) -> None:
    with pytest.raises(CubeError, match="does not exist"):
        Cube.open(tmp_path / "nowhere")
    begin(tmp_path)
    with pytest.raises(CubeError, match="is not finished"):
        Cube.open(tmp_path)
    publish(tmp_path, "g0001")
    assert current_generation(tmp_path) == "g0001"
    assert not Cube.open(tmp_path).complete


def test_resuming_wants_the_same_spec(tmp_path: Path) -> None:
    here = tmp_path / "here"
    assert not resume_generation(here, "g0001", begin(tmp_path / "elsewhere"))
    spec = begin(here)
    assert resume_generation(here, "g0001", spec)
    domain = spec.domain.model_copy(update={"step": 16.0})
    other = spec.model_copy(update={"imagery": {"paths": ["b.tif"]}, "domain": domain})
    told = r"\(step: 10.0 -> 16.0; imagery.paths: \['a.tif'\] -> \['b.tif'\]\)"
    with pytest.raises(SpecMismatchError, match=told):
        resume_generation(here, "g0001", other)


def test_a_generation_whose_creation_was_killed_is_laid_out_anew(tmp_path: Path) -> None:
    spec = begin(tmp_path)
    attributes = tmp_path / "g0001" / "zarr.json"
    attributes.write_text(attributes.read_text().replace("spec_digest", "nothing"))
    assert not resume_generation(tmp_path, "g0001", spec)
    begin(tmp_path)
    assert resume_generation(tmp_path, "g0001", spec)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"geoloc_cube": 2', '"geoloc_cube": 99', "install a newer geoloc"),
        ('"geoloc_cube": 2', '"something": 1', "not a feature cube"),
        ('"ny": 150', '"ny": "many"', "damaged: domain.grid.ny"),
    ],
)
def test_foreign_and_damaged_cubes_are_refused(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    begin(tmp_path)
    attributes = tmp_path / "g0001" / "zarr.json"
    text = attributes.read_text()
    assert old in text
    attributes.write_text(text.replace(old, new))
    with pytest.raises(CubeError, match=told):
        Cube.open(tmp_path, "g0001")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00\x01"])
def test_damaged_metadata_is_one_line(tmp_path: Path, text: str) -> None:
    begin(tmp_path)
    (tmp_path / "g0001" / "zarr.json").write_text(text)
    for look in (list_generations, begin, Cube.open):
        with pytest.raises(CubeError, match="damaged: restore it") as caught:
            look(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    cube = write_cube(tmp_path, features_of(20, 30))
    block = next(cube.blocks())
    BlockWriter(tmp_path, "g0001").record(block, Provenance(fingerprint="0" * 64))
    record = tmp_path / "g0001/provenance/record/c/0/0"
    record.write_bytes(record.read_bytes()[:-5] + b"wrong")
    with pytest.raises(CubeError, match="is damaged") as caught:
        Cube.open(tmp_path, "g0001").provenance(block)
    assert "\n" not in str(caught.value)


def test_nobodys_files_are_mixed_with_a_cubes(tmp_path: Path) -> None:
    """Nor those that have the name of a generation."""
    notes = tmp_path / "g0001" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    for found in (tmp_path, notes.parent):
        with pytest.raises(CubeError, match=r"holds something else .*: name another place"):
            begin(found)
    assert [p.name for p in tmp_path.rglob("*")] == ["g0001", "notes.txt"]


@pytest.mark.parametrize(
    "left", ["LOCK", "zarr.json.0a.partial", "", ".DS_Store", "Thumbs.db", "lost+found"]
)
def test_what_a_killed_build_or_a_desktop_leaves_is_nobodys_file(tmp_path: Path, left: str) -> None:
    if left:
        (tmp_path / left).write_text("{")
    begin(tmp_path)


def test_blocks_whose_generation_lost_its_attributes_are_not_overwritten(tmp_path: Path) -> None:
    write_cube(tmp_path, features_of(150, 300))
    attributes = tmp_path / "g0001" / "zarr.json"
    attributes.write_text(attributes.read_text().replace("spec_digest", "nothing"))
    with pytest.raises(CubeError, match="lost its attributes, but blocks are there"):
        begin(tmp_path)


def test_a_generation_that_is_not_there_is_told_from_a_cube_that_is_not(tmp_path: Path) -> None:
    cube = write_cube(tmp_path, features_of(20, 30))
    with pytest.raises(
        CubeError, match=f"no generation g0007: the current one is {cube.generation}"
    ):
        Cube.open(tmp_path, "g0007")


# --- scale -------------------------------------------------------------------------------------


def test_a_ledger_of_100_000_blocks_opens_fast(tmp_path: Path) -> None:
    side = 317 * 128
    spec = CubeSpec.of(grid_of(side, side), polygon=None, imagery={}, model="m", encoding={})
    quantizer = Quantizer.fit(np.zeros(365, np.float32), np.ones(365, np.float32))
    done = np.full((317, 317), Status.DONE, np.uint8)
    space = FeatureSpace(tuple(f"c{i}" for i in range(365)), quantizer)
    create_generation(tmp_path, "g0001", spec, space, done, model_name="m")
    start = time.perf_counter()
    assert resume_generation(tmp_path, "g0001", spec)
    assert (Ledger(tmp_path, "g0001").status == Status.DONE).all()
    assert time.perf_counter() - start < 5


def test_planning_a_country_is_quick() -> None:
    grid = grid_of(77_440, 77_440)  # 6 billion cells
    around = np.linspace(0, 2 * np.pi, 20_000)
    reach = 330_000 * (1 + 0.1 * np.sin(40 * around))
    x, y = grid.center(grid.ny // 2, grid.nx // 2)
    polygon = shapely.Polygon(np.c_[x + reach * np.cos(around), y + reach * np.sin(around)])
    start = time.perf_counter()
    ledger = plan_blocks(grid, polygon)
    assert time.perf_counter() - start < 10
    assert ledger.shape == (605, 605)
    share = (ledger == Status.MISSING).mean()
    assert share == pytest.approx(polygon.area / (grid.nx * grid.step) ** 2, rel=0.02)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**31))
@settings(max_examples=30)
def test_planned_blocks_are_those_that_the_polygon_touches(ny: int, nx: int, seed: int) -> None:
    grid = grid_of(ny, nx)
    rng = np.random.default_rng(seed)
    left, bottom, right, top = grid.bounds
    corners = np.c_[rng.uniform(left - 50, right, 3), rng.uniform(bottom, top + 50, 3)]
    polygon = shapely.Polygon(corners)
    ledger = plan_blocks(grid, polygon, size=16)
    for block in grid.chunks(size=16):
        touches = polygon.intersects(shapely.box(*grid.window(*block.slices).bounds))
        assert ledger[block.index] == (Status.MISSING if touches else Status.OUTSIDE)
        if not touches:
            inside = block.inside(polygon)
            assert inside is not None
            assert not inside.any()


# --- other stores --------------------------------------------------------------------------------


def test_file_url_and_path_name_the_same_cube(tmp_path: Path) -> None:
    write_cube(tmp_path / "a b.zarr", features_of(20, 30))
    url = (tmp_path / "a b.zarr").as_uri()
    assert "%20" in url
    assert Cube.open(url).grid == grid_of(20, 30)


def test_s3(s3_bucket: str, features: NDArray[np.float32]) -> None:
    url = f"{s3_bucket}/a/cube.zarr"
    with pytest.raises(CubeError, match="does not exist"):
        Cube.open(url)
    cube = write_cube(url, features)
    values = cube.features.decode(cube.read(slice(None), slice(None)))
    np.testing.assert_allclose(values, features, atol=step_of(cube))
    assert cube.complete
    assert cube.info()["blocks_done"] == 6


def test_a_missing_bucket_is_one_line(s3_bucket: str) -> None:
    with pytest.raises(CubeError, match=r"the bucket does not exist .*: make it") as caught:
        begin(s3_bucket.replace("cubes", "nobucket"))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_of_store_is_one_line() -> None:
    with pytest.raises(CubeError, match="nosuch"):
        Cube.open("nosuch://bucket/cube.zarr")


class _Store(http.server.BaseHTTPRequestHandler):
    """An object store that answers with the number that is asked for."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _get(url: str, key: str) -> None:
    """Ask an object store, with less patience than usual."""
    patience: Any = {"max_retries": 1, "backoff": {"init_backoff": dt.timedelta(milliseconds=1)}}
    store = obstore.store.HTTPStore.from_url(
        url, client_options={"allow_http": True}, retry_config=patience
    )
    with storage_errors(url):
        obstore.get(store, key)


@pytest.mark.parametrize(("code", "passes"), [(503, True), (429, True), (403, False), (404, False)])
def test_only_a_store_that_may_answer_later_is_told_as_such(code: int, passes: bool) -> None:
    with serving_on_loopback(_Store) as port, pytest.raises(CubeError) as raised:
        _get(f"http://127.0.0.1:{port}", str(code))
    assert isinstance(raised.value, UnavailableError) is passes
    assert "\n" not in str(raised.value)


def test_a_store_that_nobody_serves_may_be_served_later() -> None:
    with serving_on_loopback(_Store) as port:
        pass
    with pytest.raises(UnavailableError):
        _get(f"http://127.0.0.1:{port}", "200")


def test_a_file_in_the_place_of_a_cube_stays_there(tmp_path: Path) -> None:
    (tmp_path / "cube.zarr").write_text("no cube")
    with pytest.raises(CubeError) as raised:
        begin(tmp_path / "cube.zarr")
    assert not isinstance(raised.value, UnavailableError)


def test_text_is_replaced_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path, read_only=False)
    assert read_text(store, "CURRENT") is None
    write_text(store, "CURRENT", "g0001\n")
    write_text(store, "CURRENT", "g0002\n")
    assert read_text(store, "CURRENT") == "g0002\n"
    assert [p.name for p in tmp_path.iterdir()] == ["CURRENT"]
