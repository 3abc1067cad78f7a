"""Folders put to an area of several models: answered as each photo is by itself, all together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import yaml
from PIL import Image

from geoloc.bulk import BulkReport, run_bulk
from geoloc.bulk import search as search_module
from geoloc.errors import OutputError
from geoloc.query import query_photos, repeat_query
from geoloc.query.options import QueryOptions
from geoloc.query.run import open_searcher
from tests.media import save
from tests.tandem_place import NX, NY, World, write_world

ASKED = (1, 2, 4)
TAKEN = "2025:06:03 10:1{}:00"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """With ``in``, a folder of three photos and a broken one, and an area with a bank."""
    world = write_world(tmp_path_factory.mktemp("tandem"))
    for name, numbers in (("in", ASKED), ("bank", range(8, 18))):
        (world.folder / name).mkdir()
        for number in numbers:
            shutil.copy(world.photos[number], world.folder / name)
    (world.folder / "in" / "torn.png").write_text("no photo")
    world.area(world.folder, bank="bank")
    return world


@pytest.fixture(autouse=True)
def store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(world.folder / "models"))


def bulk(world: World, out: Path, area: Path | None = None, **options: Any) -> BulkReport:
    asked = {"top": 3, "radius": 20} | options
    return run_bulk(area or world.folder / "area.yaml", world.folder / "in", out, **asked)


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The answers of a run that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOLOC_MODELS", str(world.folder / "models"))
        out = tmp_path_factory.mktemp("whole")
        report = bulk(world, out)
    assert (report.answered, report.unanswered, report.clusters) == (3, 0, 0)
    assert list(report.failures) == ["torn.png"]
    return out


def test_each_answer_is_that_of_a_query(world: World, whole: Path, tmp_path: Path) -> None:
    photos = [world.folder / "in" / f"{number:02}.png" for number in ASKED]
    query_photos(world.folder / "area.yaml", photos, tmp_path, top=3, radius=20)
    for photo in photos:
        found, expected = whole / "items" / photo.stem, tmp_path / photo.stem
        names = {path.name for path in expected.iterdir()}
        more = {"photo.jpg", "thumb.jpg", "heatmap-small.png"}
        assert {path.name for path in found.iterdir()} == names | more
        rasters = sorted(name for name in names if name.endswith(".tif"))
        assert len(rasters) == 4  # all together, as seen, and by each of two models
        for name in (*rasters, "candidates.csv", "candidates.geojson", "tandem.json"):
            assert (found / name).read_bytes() == (expected / name).read_bytes(), name
        assert recorded(found) == recorded(expected)
        assert "Sensitive picture" in (found / "report.html").read_text()


def recorded(folder: Path) -> dict[str, Any]:
    """The record, but for the time and the pages, which a bulk run draws smaller."""
    record: dict[str, Any] = json.loads((folder / "query.json").read_text())
    return {key: value for key, value in record.items() if key not in ("created", "outputs")}


def test_tables_and_page_tell_scores(whole: Path) -> None:
    rows = {row["file"]: row for row in pq.read_table(whole / "results.parquet").to_pylist()}
    features = json.loads((whole / "results.geojson").read_text())["features"]
    page = (whole / "index.html").read_text()
    for number in ASKED:
        told = recorded(whole / "items" / f"{number:02}")
        row, best = rows[f"{number:02}.png"], told["candidates"][0]
        assert row["distance"] is None and row["score"] == best["score"]
        assert [one["score"] for one in row["candidates"]] == [
            one["score"] for one in told["candidates"]
        ]
        vectors = [list(one["vector"].values()) for one in told["tandem"]["models"]]
        assert row["vector"] == pytest.approx(np.concatenate(vectors), rel=1e-6)
        (point,) = (
            one["properties"] for one in features
            if (one["properties"]["name"], one["properties"]["rank"]) == (f"{number:02}", 1)
        )  # fmt: skip
        assert point["models"] == best["models"] and "distance" not in point
        said = best["models"]["two"]
        assert f"two: rank {said['rank']:,} (best " in page
        assert f"<small>score {best['score']:.3f}</small>" in page
    assert "by one and two together" in page and "Scores compare places" in page


def test_an_interrupted_run_goes_on_to_the_same(
    world: World, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = search_module.write_report

    def stop(*args: Any, **options: Any) -> Path:
        if args[1].name == "02":
            raise KeyboardInterrupt
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(search_module, "write_report", stop)
        with pytest.raises(KeyboardInterrupt):
            bulk(world, tmp_path)
    report = bulk(world, tmp_path)
    assert (report.kept, report.answered) == (1, 2)
    for number in ASKED:
        found, expected = (out / "items" / f"{number:02}" for out in (tmp_path, whole))
        was, now = recorded(expected), recorded(found)
        assert [now.pop("vector"), now["summary"]] == [was.pop("vector"), was["summary"]]
        assert now == was
        for name in ("heatmap.tif", "heatmap_one.tif", "heatmap_two.tif"):
            with rasterio.open(found / name) as one, rasterio.open(expected / name) as other:
                np.testing.assert_allclose(one.read(1), other.read(1), atol=1e-5)


def test_what_changes_an_answer_makes_it_anew(world: World, tmp_path: Path) -> None:
    area, out = tmp_path / "area.yaml", tmp_path / "out"
    shutil.copytree(world.folder / "bank", tmp_path / "bank")
    world.area(tmp_path, bank="bank")
    assert bulk(world, out, area).answered == 3
    again = bulk(world, out, area)
    assert (again.kept, again.answered) == (3, 0)
    (tmp_path / "bank" / "08.png").unlink()
    assert bulk(world, out, area).answered == 3  # scores are by another bank
    values = yaml.safe_load(area.read_text())
    values["models"][0]["weight"] = 5
    area.write_text(yaml.safe_dump(values))
    assert bulk(world, out, area).answered == 3
    assert bulk(world, out, area).kept == 3
    with pytest.raises(OutputError, match=r"holds the answers of cube \[.*one\.zarr.*two\.zarr"):
        bulk(world, out, area, model="one")


def test_pictures_of_one_place_are_answered_together(world: World, tmp_path: Path) -> None:
    for number in (1, 2):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = TAKEN.format(number)
        save(tmp_path / "in" / f"{number}.jpg", number, exif=exif)
    area = world.folder / "area.yaml"
    report = run_bulk(area, tmp_path / "in", tmp_path / "out", top=2, radius=20)
    assert (report.answered, report.clusters) == (3, 1)
    photos = sorted((tmp_path / "in").iterdir())
    query_photos(area, photos, tmp_path / "alone", top=2, radius=20, fuse=True)
    with (
        rasterio.open(tmp_path / "out" / "clusters" / "1" / "heatmap.tif") as found,
        rasterio.open(tmp_path / "alone" / "fused" / "heatmap.tif") as expected,
    ):
        np.testing.assert_allclose(found.read(1), expected.read(1), atol=1e-5)
    assert repeat_query(tmp_path / "out" / "clusters" / "1" / "query.json").same


def test_the_disk_is_asked_for_the_maps_of_all(world: World) -> None:
    searcher = open_searcher(world.folder / "area.yaml", QueryOptions(top=2))
    assert searcher.scratch_bytes == 3 * 4 * NX * NY  # each of two models, and both together
