"""Cubes of points that become one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.cube import Cube
from geoloc.domain import Points
from geoloc.errors import CubeError, SpecMismatchError, UsageError
from geoloc.jobs.build import build_cube
from geoloc.jobs.merging import merge_cubes
from geoloc.jobs.refresh import refresh_cube
from geoloc.models.model import write_model

from .cubes import write_cube
from .encoder_models import spec, weights
from .point_area import lonlat_of, point_set, write_area, write_points

COUNT, BLOCK = 44, 8


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``whole.zarr``; ``one.zarr`` and ``two.zarr``, which share five points of it."""
    folder = tmp_path_factory.mktemp("merge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Points, "chunk_size", BLOCK)
        write_coded_model(folder / "model")
        lonlat = lonlat_of(COUNT)
        parts = {"whole": lonlat, "one": lonlat[:25], "two": lonlat[20:]}
        for name, part in parts.items():
            write_points(folder / f"{name}.parquet", point_set(part, sequence=name))
            area = write_area(folder, points=f"{name}.parquet", cube=f"{name}.zarr")
            assert build_cube(area, cluster="inline").complete
    return folder


def write_coded_model(folder: Path) -> None:
    """One that brings the code of its cubes, as trained ones do."""
    raw = {**spec(), "code_range": (-400.0, 400.0)}
    names = ("ground.safetensors", "overhead.safetensors")
    files = {name: weights("shufflenet_v2_x0_5", seed) for seed, name in enumerate(names, 1)}
    write_model(folder, raw, files)


def codes_by_place(cube: Cube) -> dict[tuple[float, float], list[int]]:
    xy = cube.domain.centres(np.arange(cube.domain.size)).tolist()
    codes = cube.read(slice(0, cube.domain.size)).tolist()
    return dict(zip(map(tuple, xy), codes, strict=True))


def test_two_machines_equal_one(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Points, "chunk_size", BLOCK)
    urls = [str(places / "one.zarr"), str(places / "two.zarr")]
    report = merge_cubes(urls, str(tmp_path / "all.zarr"))
    assert (report.points, report.of, report.dropped) == (COUNT, (25, 24), 5)
    merged, whole = Cube.open(tmp_path / "all.zarr"), Cube.open(places / "whole.zarr")
    assert codes_by_place(merged) == codes_by_place(whole) and merged.complete
    assert merged.domain.size == COUNT
    orders = merged.attributes()["order"].tolist()
    assert sorted(orders) == [*range(25), *(25 + i for i in range(5, 24))]
    records = [merged.provenance(block) for block in merged.blocks()]
    assert all(record["items"][0]["id"] == "a" for record in records)
    # a refresh of it finds nothing changed where blocks are whole ones of the first cube
    area = write_area(places, points="one.parquet", cube=str(tmp_path / "all.zarr"))
    refreshed = refresh_cube(area, cluster="inline")
    assert refreshed.complete and refreshed.blocks_copied == 25 // BLOCK
    assert codes_by_place(Cube.open(area.cube)) == codes_by_place(whole)


def test_codes_that_differ_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model without a code of its own leaves its choice to each cube."""
    monkeypatch.setattr(Points, "chunk_size", BLOCK)
    lonlat, cubes = lonlat_of(30), []
    for name, part in {"a": lonlat[:12], "b": lonlat[12:]}.items():
        write_points(tmp_path / f"{name}.parquet", point_set(part, sequence=name))
        area = write_area(tmp_path, points=f"{name}.parquet", cube=f"{name}.zarr")
        build_cube(area, cluster="inline")
        cubes.append(Cube.open(area.cube))
    assert not np.array_equal(*(cube.features.stored_code.scale for cube in cubes))
    merge_cubes([cube.url for cube in cubes], str(tmp_path / "c.zarr"))
    merged = Cube.open(tmp_path / "c.zarr")
    step = float(merged.features.stored_code.scale)
    found, start = merged.features.decode(merged.read(slice(0, 30))), 0
    for cube in cubes:
        vectors = cube.features.decode(cube.read(slice(0, cube.domain.size)))
        part = found[start : start + cube.domain.size]
        np.testing.assert_allclose(part, vectors, atol=0.51 * step)
        start += cube.domain.size
    assert merged.info()["saturated_values"] == 0


def test_what_cannot_be_one_is_refused(places: Path, tmp_path: Path) -> None:
    one, out = str(places / "one.zarr"), str(tmp_path / "out.zarr")
    other = tmp_path / "other"
    other.mkdir()
    write_points(other / "points.parquet", point_set(lonlat_of(9)))
    area = write_area(other, imagery={"kind": "geotiff", "paths": [str(places / "a.tif")]})
    build_cube(area, cluster="inline")
    with pytest.raises(SpecMismatchError, match="their model differs"):
        merge_cubes([one, area.cube], out)
    features = np.zeros((4, 4, 3), np.float32)
    features[0, 0] = 1
    grid = write_cube(tmp_path / "grid.zarr", features)
    with pytest.raises(CubeError, match="only cubes of points"):
        merge_cubes([one, grid.url], out)
    with pytest.raises(UsageError, match="two cubes"):
        merge_cubes([one], out)
    with pytest.raises(CubeError, match="already exists"):
        merge_cubes([one, str(places / "two.zarr")], str(places / "whole.zarr"))
    assert not Path(out).exists()


def test_the_command_line(places: Path, tmp_path: Path) -> None:
    one, two, out = (str(places / "one.zarr"), str(places / "two.zarr"), str(tmp_path / "c.zarr"))
    done = CliRunner().invoke(app, ["points", "merge", one, two, "--out", out, "--json"])
    assert done.exit_code == 0 and Cube.open(out).domain.size == COUNT
