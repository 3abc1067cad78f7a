"""The demo on imagery and photos of one's own, with the model that is shipped for such."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from PIL import Image

from geoloc.demo.real import photo_files, write_area
from geoloc.errors import UsageError

from . import test_cli
from .test_cli import Run

run = test_cli.run
LEFT, TOP = 3_887_300.0, 3_672_900.0


def geotiff(path: Path, *, step: float = 1.7, ny: int = 260, nx: int = 330) -> Path:
    """Coarse patches of colour in Web Mercator, with a strip of no data at the north."""
    coarse = np.random.default_rng(3).integers(40, 220, (3, ny // 10, nx // 10), np.uint8)
    pixels = coarse.repeat(10, axis=1).repeat(10, axis=2)
    pixels[:, :20] = 0
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, crs="EPSG:3857", nodata=0,
        height=pixels.shape[1], width=pixels.shape[2],
        transform=Affine(step, 0, LEFT, 0, -step, TOP),
    ) as file:  # fmt: skip
        file.write(pixels)
    return path


def photos(folder: Path, count: int = 2) -> Path:
    """Photos of noise that differ."""
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (90, 120, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no photo")
    return folder


def stored(cube: Path) -> dict[str, int]:
    """When each part of the codes was written."""
    return {
        str(p): p.stat().st_mtime_ns for p in cube.rglob("*") if p.is_file() and "/c/" in str(p)
    }


@pytest.mark.slow
def test_the_whole_job(run: Run, tmp_path: Path) -> None:
    out, tif = tmp_path / "out", geotiff(tmp_path / "town.tif")
    given = ["--imagery", tif, "--photos", photos(tmp_path / "mine"), "--out", out, "--json"]
    done = run("demo", "--real", *given)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    area = yaml.safe_load((out / "area.yaml").read_text())
    assert (area["model"], area["crs"], area["step"]) == ("landuse", "EPSG:32636", 50.0)
    assert told["cells"] > 40 and told["failures"] == {}
    assert len(told["results"]) == 2
    for name in ("0", "1"):
        folder = out / "answers" / name
        assert {"heatmap.tif", "query.json", "report.html"} <= {p.name for p in folder.iterdir()}
        with rasterio.open(folder / "heatmap.tif") as file:
            searched = np.isfinite(file.read(1, masked=True).filled(np.nan))
        assert searched.any() and not searched.all()  # no data at the north, and a rim
    begun = stored(out / "cube.zarr")
    assert run("demo", "--real", *given).code == 0
    assert begun and stored(out / "cube.zarr") == begun
    assert sorted(path.name for path in (out / "answers").iterdir()) == ["0", "1"]


def test_imagery_that_the_model_does_not_serve_is_refused(run: Run, tmp_path: Path) -> None:
    out, tif = tmp_path / "out", geotiff(tmp_path / "satellite.tif", step=12)
    mine = photos(tmp_path / "mine")
    done = run("demo", "--real", "--imagery", tif, "--photos", mine, "--out", out)
    assert done.code == 1 and done.is_one_line("10.2 m per pixel", "3.2 m at most"), done.err
    assert not (out / "cube.zarr").exists()


def test_what_is_no_imagery_or_no_photo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file"):
        write_area(tmp_path / "out", tmp_path / "none.tif", 25.0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no photo"):
        photo_files([tmp_path / "empty"])
    mine = photos(tmp_path / "mine")
    assert photo_files([mine, mine / "1.png"]) == [mine / "0.png", mine / "1.png", mine / "1.png"]
    assert not (tmp_path / "out").exists()
