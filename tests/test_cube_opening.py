"""A cube as an xarray Dataset: names, CRS, lazily decoded, checked."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import geoloc
from geoloc.cube import Cube
from geoloc.errors import CubeError

from . import cubes
from .array_cube import make_metric
from .cubes import step_of, write_cube

s3_bucket = cubes.s3_bucket  # the fixture
F32 = np.typing.NDArray[np.float32]
NAMES = ("beach", "highway", "stadium-soccer", "forest_path", "alley")


def features_of(ny: int = 150, nx: int = 300, dim: int = 5) -> F32:
    """Asymmetric in every axis, one cell missing."""
    values = np.random.default_rng(0).normal(0, 3, (ny, nx, dim)) + np.arange(nx)[:, None] / 90
    values[2, 5] = np.nan
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    return write_cube(tmp_path_factory.mktemp("cube") / "c.zarr", features_of(), classes=NAMES)


def test_a_cube_is_a_dataset_with_names_and_crs(cube: Cube) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = geoloc.open_cube(cube.url)
    assert ds.features.dims == ("y", "x", "feature") and ds.features.dtype == np.float32
    assert list(ds.feature.values) == list(NAMES)
    assert ds.rio.crs.to_epsg() == 32636
    assert ds.rio.transform()[:6] == cube.grid.transform
    assert ds.features.chunks == ((150,), (256, 44), (5,))  # dask's
    highway = ds.features.sel(feature="highway")
    expected = features_of()[..., 1]
    np.testing.assert_allclose(highway.values, expected, atol=step_of(cube))
    assert np.isnan(highway.values[2, 5]) and np.isnan(ds.features.values).sum() == 5
    assert ds.attrs["area"] == "testville" and ds.attrs["generation"] == "g0001"


@pytest.mark.parametrize(
    "key",
    [
        (slice(3, 140), slice(250, 20, -3), slice(None)),
        (7, slice(None), [4, 0]),
        (slice(None, None, -1), 299, 2),
        ([1, 140, 2], [5, 290, 5], slice(1, 3)),
    ],
)
def test_any_part_of_it_is_the_part_of_the_whole(cube: Cube, key: tuple[object, ...]) -> None:
    ds = geoloc.open_cube(cube.url)
    whole = cube.features.decode(cube.read(slice(None), slice(None)))
    wanted = xr.DataArray(whole, dims=("y", "x", "feature"))[key]
    np.testing.assert_array_equal(ds.features[key].values, wanted)


def test_it_is_clipped_as_rasters_are(cube: Cube) -> None:
    ds = geoloc.open_cube(cube.url)
    window = cube.grid.window(slice(3, 5), slice(7, 9))
    chip = ds.features.transpose("feature", "y", "x").rio.clip_box(*window.bounds)
    assert chip.shape == (5, 2, 2)
    np.testing.assert_array_equal(chip.x, window.x)


def test_it_is_sent_as_how_to_open_it(cube: Cube, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(cube.url).parent
    monkeypatch.chdir(folder)
    lazy = geoloc.open_cube("c.zarr").features.isel(feature=3)
    sent = pickle.dumps(lazy)
    assert len(sent) < 20_000
    monkeypatch.chdir(folder.parent)
    again = pickle.loads(sent)  # noqa: S301 our own
    np.testing.assert_array_equal(again.values, geoloc.open_cube(cube.url).features[..., 3])


def test_damage_is_refused_and_what_is_not_done_is_missing(tmp_path: Path) -> None:
    cube = write_cube(tmp_path / "c.zarr", features_of(), classes=NAMES)
    chunk = tmp_path / "c.zarr/g0001/features/c/0/1/0"
    content = bytearray(chunk.read_bytes())
    content[1000] ^= 1
    chunk.write_bytes(content)
    ds = geoloc.open_cube(cube.url)
    assert np.isfinite(ds.features[10:140, :100].values).all()
    with pytest.raises(CubeError, match=r"block \(0, 1\)"):
        ds.features[10:140, 100:200].load()
    with pytest.raises(CubeError, match="does not exist"):
        geoloc.open_cube(tmp_path / "none.zarr")


def test_an_embedding_has_its_readout_beside_it(tmp_path: Path) -> None:
    readout = make_metric(3, 5)
    cube = write_cube(tmp_path / "c.zarr", features_of(), classes=("a", "b", "c"), readout=readout)
    assert cube.features.names == ("a", "b", "c") and cube.features.dim == 5
    ds = geoloc.open_cube(cube.url)
    logits = (ds.features * ds.readout).sum("feature").sel(name="b")
    np.testing.assert_allclose(logits[9, 9], readout[1] @ features_of()[9, 9], atol=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xr.open_zarr(cube.url, group="g0001", chunks=None)
    np.testing.assert_array_equal(plain.readout, readout)
    assert list(plain.name.values) == ["a", "b", "c"]


def test_plain_readers_see_all_generations_without_warnings(tmp_path: Path) -> None:
    first, second = features_of(), features_of()[::-1]
    write_cube(tmp_path, first, classes=NAMES)
    cube = write_cube(tmp_path, second, classes=NAMES, generation="g0002")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(tmp_path, engine="zarr")
        plain = xr.open_zarr(tmp_path, group="g0001")
    assert set(tree.children) == {"g0001", "g0002"}
    np.testing.assert_allclose(tree["g0002/features"], second, atol=step_of(cube))
    np.testing.assert_allclose(plain.features, first, atol=step_of(cube))
    assert plain.features.sel(feature="alley").dims == ("y", "x")
    assert plain.rio.crs.to_epsg() == 32636 and plain.features.chunks is not None


def test_on_s3(s3_bucket: str) -> None:
    url = f"{s3_bucket}/opened/cube.zarr"
    cube = write_cube(url, features_of(), classes=NAMES)
    ds = geoloc.open_cube(url)
    np.testing.assert_allclose(
        ds.features.sel(feature="beach"), features_of()[..., 0], atol=step_of(cube)
    )
