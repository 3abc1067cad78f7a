"""A cube of points: written, read, damaged, copied, opened and searched like one of cells."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import shapely
import xarray as xr
from numpy.typing import NDArray

import geoloc
from geoloc.cube import (
    BlockCopier,
    BlockWriter,
    Cube,
    CubeSpec,
    Ledger,
    Provenance,
    Status,
    create_generation,
    inspect_blocks,
    plan_blocks,
    publish,
)
from geoloc.domain import Points
from geoloc.errors import CubeError
from geoloc.models import FeatureSpace, Quantizer
from geoloc.search import Query, TopK, reduce_scan, scan

from .cubes import step_of
from .test_domain_points import CRS, scattered

F32 = NDArray[np.float32]
COUNT, DIM, SIZE = 2500, 7, 400
POINTS = Points.along_curve(CRS, scattered(COUNT))


def features_of(seed: int = 0) -> F32:
    values = np.random.default_rng(seed).normal(0, 3, (COUNT, DIM)).astype(np.float32)
    values[::50] = np.nan
    return values


def spec_of() -> CubeSpec:
    return CubeSpec.of(
        POINTS, polygon=None, imagery={}, model="0" * 64, encoding={}, block_size=SIZE
    )


def lay_out(
    url: str | Path, generation: str = "g0001", *,
    names: tuple[str, ...] = tuple("abcdefg"), readout: F32 | None = None,
) -> None:  # fmt: skip
    space = FeatureSpace(names, Quantizer.of_range(-15, 15), readout=readout)
    ledger = plan_blocks(POINTS, None, SIZE)
    create_generation(
        url, generation, spec_of(), space, ledger, model_name="tiny", area="n", points=POINTS
    )


def write_points(url: str | Path, features: F32) -> Cube:
    lay_out(url)
    writer, ledger = BlockWriter(url, "g0001"), Ledger(url, "g0001")
    for chunk in POINTS.chunks(size=SIZE):
        written = writer.write(chunk, features[chunk.slices])
        check = writer.record(chunk, Provenance(fingerprint="ab" * 32, digests=written.digests))
        ledger.mark(chunk.index, Status.DONE, "ab" * 32, (*written.checks, check))
    publish(url, "g0001")
    return Cube.open(url)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return write_points(tmp_path_factory.mktemp("points") / "p.zarr", features_of())


def test_points_come_back_where_they_were(cube: Cube) -> None:
    assert isinstance(cube.domain, Points) and cube.domain.digest == POINTS.digest
    np.testing.assert_array_equal(cube.domain.coordinates, POINTS.coordinates)
    for part in (slice(None), slice(390, 410), slice(5, 2000, 7), slice(2400, 2500)):
        values = cube.features.decode(cube.read(part))
        np.testing.assert_allclose(values, features_of()[part], atol=step_of(cube))
        norm = (values.astype(np.float64) ** 2).mean(axis=-1)
        np.testing.assert_allclose(cube.read_norm(part), norm, rtol=1e-4)
    assert cube.chunk_status.shape == (7,) and cube.complete and len(list(cube.blocks())) == 7
    assert cube.vector(50) is None and cube.vector(COUNT) is None
    np.testing.assert_allclose(cube.vector(51), features_of()[51], atol=step_of(cube))
    assert cube.provenance(POINTS.chunk(3, size=SIZE))["fingerprint"] == "ab" * 32
    facts = cube.info()
    assert (facts["cells"], facts["step"], facts["blocks_done"]) == (COUNT, None, 7)
    assert facts["bounds"] == list(POINTS.bounds)
    with pytest.raises(CubeError, match="no grid"):
        _ = cube.grid


def test_a_specification_of_points_survives_json(cube: Cube) -> None:
    again = CubeSpec.model_validate_json(cube.spec.model_dump_json())
    assert again == spec_of() and again.digest == spec_of().digest
    other = CubeSpec.of(
        Points(CRS, POINTS.coordinates[::-1]),
        polygon=None, imagery={}, model="0" * 64, encoding={}, block_size=SIZE,
    )  # fmt: skip
    assert [d.split(":")[0] for d in again.differences(other)] == ["digest"]


def test_a_chunk_of_a_cube_of_points_is_damaged_and_named(tmp_path: Path) -> None:
    cube = write_points(tmp_path, features_of())
    assert not inspect_blocks(Cube.open(tmp_path, check_digests=True)).damaged
    chunk = tmp_path / "g0001/features/c/2/0"
    content = bytearray(chunk.read_bytes())
    content[99] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(CubeError, match=r"block \(2,\) of g0001 is damaged"):
        cube.read(slice(0, COUNT))
    assert list(inspect_blocks(Cube.open(tmp_path)).damaged) == ["2"]
    axis = tmp_path / "g0001/x/c/0"
    axis.write_bytes(axis.read_bytes()[::-1])
    with pytest.raises(CubeError, match="g0001/x is missing or damaged"):
        Cube.open(tmp_path)


def test_blocks_that_the_ledger_does_not_name_do_not_count(tmp_path: Path) -> None:
    cube = write_points(tmp_path, features_of())
    Ledger(tmp_path, "g0001").forget(np.array([[1], [6]]))
    cube = Cube.open(tmp_path)
    values = cube.features.decode(cube.read(slice(None)))
    expected = features_of()
    expected[400:800] = expected[2400:] = np.nan
    np.testing.assert_allclose(values, expected, atol=step_of(cube))
    assert np.isnan(cube.read_norm(slice(400, 800))).all()


def test_blocks_are_taken_over_by_another_generation(tmp_path: Path) -> None:
    write_points(tmp_path, features_of())
    lay_out(tmp_path, "g0002")
    copier, ledger = BlockCopier(tmp_path, "g0001", "g0002"), Ledger(tmp_path, "g0002")
    copier.copy(3)
    ledger.mark((3,), Status.DONE, "ab" * 32)
    cube = Cube(tmp_path, "g0002")
    np.testing.assert_array_equal(
        cube.read(slice(1200, 1600)), Cube(tmp_path, "g0001").read(slice(1200, 1600))
    )
    assert not cube.complete


def test_readers_of_zarr_and_xarray_open_it(cube: Cube) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = geoloc.open_cube(cube.url)
        plain = xr.open_zarr(cube.url, group="g0001")
    for opened in (ds, plain):
        assert opened.features.dims == ("point", "feature")
        np.testing.assert_allclose(opened.features, features_of(), atol=step_of(cube))
        np.testing.assert_array_equal(opened.x, POINTS.coordinates[:, 0])
        assert opened.x.dims == ("point",) and "y" in opened.coords
        assert opened.rio.crs.to_epsg() == 32636
    assert len(pickle.dumps(cube)) < 500


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("within", [False, True])
def test_points_are_searched_as_by_the_definition(cube: Cube, count: int, within: bool) -> None:
    vectors = np.random.default_rng(8).normal(0, 3, (count, DIM)).astype(np.float32)
    values = cube.features.decode(cube.read(slice(None))).astype(np.float64)
    expected = np.sqrt(((values[None] - vectors[:, None]) ** 2).mean(-1))
    polygon = None
    if within:
        polygon = shapely.box(300_000, 5_480_000, 430_000, 5_510_000)
        expected[:, ~shapely.contains_xy(polygon, POINTS.coordinates)] = np.nan
    found = np.full((count, COUNT), np.nan, np.float32)
    for chunk, distances in scan(cube, Query(vectors), within=polygon, within_crs=CRS):
        found[:, *chunk.slices] = distances
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    top = TopK(cube.domain, count, top=4, radius=5000)
    best = reduce_scan(cube, Query(vectors), top, within=polygon, within_crs=CRS)
    for places, distances in zip(best, expected, strict=True):
        assert [place.index for place in places] == apart(distances, 4, 5000)
        at = places[0]
        assert (at.x, at.y) == tuple(POINTS.coordinates[at.index])
        assert at.percentile == pytest.approx(100 / np.isfinite(distances).sum())


def apart(distances: NDArray[np.float64], top: int, radius: float) -> list[int]:
    """Take the best point, remove all near it, repeat."""
    left, found = distances.copy(), list[int]()
    while len(found) < top and np.isfinite(left).any():
        best = int(np.nanargmin(left))
        found.append(best)
        left[np.hypot(*(POINTS.coordinates - POINTS.coordinates[best]).T) < radius] = np.nan
    return found


def test_points_of_an_embedding_are_a_dataset_with_a_crs_too(tmp_path: Path) -> None:
    """Though their readout has a dimension that rioxarray takes for the dataset's name."""
    readout = np.arange(2 * DIM, dtype=np.float32).reshape(2, DIM)
    lay_out(tmp_path, names=("field", "forest"), readout=readout)
    publish(tmp_path, "g0001")
    ds = geoloc.open_cube(tmp_path)
    assert ds.features.dims == ("point", "feature") and ds.features.shape == (COUNT, DIM)
    assert ds.features.rio.crs.to_epsg() == 32636
    np.testing.assert_array_equal(ds.readout.sel(name="forest"), readout[1])
    assert "name" in ds.coords
