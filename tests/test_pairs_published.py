"""Published sets: which image belongs to which photo, by the rules of the sets' own readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.errors import GeolocError, UsageError
from geoloc.pairs import Pair, read_pairs
from geoloc.pairs.importing import import_set, import_table
from geoloc.pairs.published import Layout, overhead_name
from geoloc.pairs.shards import read_shards
from geoloc.pairs.splitting import SplitRule
from geoloc.photos import read_photo

from .pair_files import write_pair_images
from .published_sets import (
    PLACES,
    as_tars,
    save,
    write_cvusa,
    write_cvusa_subset,
    write_gtcrossview,
    write_witw,
)


def partners(path: Path, root: Path) -> dict[str, str]:
    return {
        str(pair.photo.relative_to(root)): str(pair.overhead.relative_to(root))
        for pair in read_pairs(path)
        if pair.overhead
    }


@pytest.mark.parametrize(
    ("photo", "rule", "overhead"),
    [
        (
            "flickr/39/-100/37603091@N02_3832037528_39.353314_-100.441957.png",
            "cvusa",
            "flickr_aerial/16/39/-100/39.353314_-100.441957.jpg",
        ),
        (
            "streetview/cutouts/39/-100/39.353314_-100.441957_90.jpg",
            "cw",
            "streetview_aerial/16/39/-100/39.353314_-100.441957.jpg",
        ),
        (
            "data/streetview/cutouts/39/-100/39.353314_-100.441957_270.jpg",
            "cgw",
            "data/streetview_aerial/16/39/-100/39.353314_-100.441957.jpg",
        ),
        ("surface/4711.jpg", "witw", "overhead/4711.jpg"),
        ("surface/4711.jpg", "cgw", "overhead/4711.jpg"),
        ("denver/streetview/12.jpg", "gtcrossview", "denver/overhead/12.jpg"),
        ("denver/12_streetview.jpg", "cgw", "denver/12_overhead.jpg"),
        ("denver/12_streetview.jpg", "cw", None),
        ("holiday/12.jpg", "cvusa", None),
        ("streetview", "cvusa", None),
    ],
)
def test_the_study_s_rules(photo: str, rule: str, overhead: str | None) -> None:
    assert overhead_name(photo, Layout(rule, 16)) == overhead  # type: ignore[arg-type]


@pytest.mark.parametrize("with_lists", [True, False])
def test_cvusa_with_and_without_its_lists(tmp_path: Path, with_lists: bool) -> None:
    root = tmp_path / "cvusa"
    expected = write_cvusa(root)
    if not with_lists:
        (root / "flickr_images.txt").unlink()
        (root / "streetview_images.txt").unlink()
    made = import_set([root], Layout("cvusa"), tmp_path / "pairs.csv")
    assert partners(made.path, root) == expected
    flickr, *_ = (p for p in read_pairs(made.path) if "flickr" in str(p.photo))
    assert flickr.lonlat in [(lon, lat) for lat, lon in PLACES]
    headings = {pair.heading for pair in read_pairs(made.path)}
    assert headings == {None, 90.0, 270.0}


def test_the_zooms_of_cvusa_and_its_uncropped_images(tmp_path: Path) -> None:
    root = tmp_path / "cvusa"
    write_cvusa(root)
    made = import_set([root], Layout("cvusa", 14), tmp_path / "14.csv")
    assert all("_aerial/14/" in over for over in partners(made.path, root).values())
    whole = root / "flickr_aerial_full/18/39/-100/39.353314_-100.441957.jpg"
    save(whole, 77)
    photo = "flickr_orig/39/-100/37603090@N02_383203750_39.353314_-100.441957.jpg"
    save(root / photo, 78)
    made = import_set([root], Layout("cvusa", full=True), tmp_path / "full.csv")
    found = partners(made.path, root)
    assert found[photo] == str(whole.relative_to(root))
    assert sum("_aerial/18/" in over for over in found.values()) == len(found) - 1


@pytest.mark.parametrize("columns", [1, 3, 368])
def test_the_study_s_lists_with_and_without_vectors(tmp_path: Path, columns: int) -> None:
    root = tmp_path / "cvusa"
    expected = write_cvusa(root)
    rows = [f"{photo},1.5,-2.25,{','.join(['0.125'] * 365)}".split(",") for photo in expected]
    path = tmp_path / "vectors.csv"
    path.write_text("\n".join(",".join(row[:columns]) for row in rows) + "\n\n")
    rule = SplitRule(0, 0)
    made = import_set([root], Layout("cvusa"), tmp_path / "p.csv", lists=[path], rule=rule)
    assert partners(made.path, root) == expected
    places = {pair.lonlat for pair in read_pairs(made.path)}
    assert (places == {(-2.25, 1.5)}) is (columns > 1)


def test_the_cropped_subset_keeps_its_split(tmp_path: Path) -> None:
    root = tmp_path / "subset"
    expected = write_cvusa_subset(root)
    made = import_set([root], Layout("cvusa"), tmp_path / "pairs.csv")
    assert partners(made.path, root) == {photo: over for photo, (over, _) in expected.items()}
    assert dict(made.splits) == {"train": 3, "test": 1}
    assert made.block_m is None


def test_witw_keeps_its_held_out_city(tmp_path: Path) -> None:
    root = tmp_path / "witw"
    root.mkdir()
    expected = write_witw(root)
    made = import_set([root], Layout("witw"), tmp_path / "pairs.csv")
    assert partners(made.path, root) == {photo: over for photo, (over, _) in expected.items()}
    for pair in read_pairs(made.path):
        assert expected[str(pair.photo.relative_to(root))][1] == pair.split
    assert next(p.lonlat for p in read_pairs(made.path) if p.photo.stem == "302") == (2.351, 48.877)


def test_gtcrossview_holds_out_the_authors_cities(tmp_path: Path) -> None:
    root = tmp_path / "gt"
    expected = write_gtcrossview(root)
    made = import_set([root], Layout("gtcrossview"), tmp_path / "pairs.csv")
    assert partners(made.path, root) == {photo: over for photo, (over, _) in expected.items()}
    assert dict(made.splits) == {"train": 2, "test": 2}


def test_all_sets_in_one_folder(tmp_path: Path) -> None:
    root = tmp_path / "all"
    expected = write_cvusa(root)
    for write in (write_witw, write_gtcrossview):
        expected |= {photo: over for photo, (over, _) in write(root).items()}
    made = import_set([root], Layout("cgw"), tmp_path / "pairs.csv")
    assert partners(made.path, root) == expected


def test_missing_partners_are_told_and_nothing_else_is_lost(tmp_path: Path) -> None:
    root = tmp_path / "cvusa"
    expected = write_cvusa(root)
    first = next(iter(expected))
    (root / expected[first]).unlink()
    arguments = ["pairs", "import", "cvusa", str(root), "--out", str(tmp_path / "p.csv")]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert isinstance(done.exception, GeolocError)
    assert done.exception.exit_code == 1
    assert "does not exist" in str(done.exception)
    assert json.loads(done.stdout)["missing"] == 1
    assert len(read_pairs(tmp_path / "p.csv")) == len(expected) - 1


def test_tar_archives_stay_packed_and_become_shards(tmp_path: Path) -> None:
    """The study's input: places are known by the names of the files alone."""
    root = tmp_path / "cvusa"
    expected = write_cvusa(root)
    tars = as_tars(root, tmp_path / "tars")
    made = import_set(tars, Layout("cvusa"), tmp_path / "shards", rule=SplitRule(0, 0))
    samples = {sample.lonlat: sample for sample in read_shards(tmp_path / "shards")}
    assert made.count == len(expected)
    lat, lon = PLACES[1]
    sample = samples[lon, lat]
    photo = next(name for name in expected if f"{lat:.6f}" in name)
    assert np.array_equal(sample.ground, read_photo(root / photo).pixels)
    assert np.array_equal(sample.overhead, read_photo(root / expected[photo]).pixels)


def test_a_cut_archive_is_one_line(tmp_path: Path) -> None:
    write_cvusa(tmp_path / "cvusa")
    tars = as_tars(tmp_path / "cvusa", tmp_path / "tars")
    data = tars[0].read_bytes()
    tars[0].write_bytes(data[: len(data) // 3])
    with pytest.raises(GeolocError, match=r"flickr\.tar is cut short") as caught:
        import_set(tars, Layout("cvusa"), tmp_path / "s")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"holiday/1.jpg\n", "1: 'holiday/1.jpg' is no photo of cvusa"),
        (b"\x80\x04\x95\xff", "pickled lists are not opened"),
        (b"flickr/\x00.jpg\n", "pickled lists are not opened"),
        (b"flickr/1/2/3@N4_5_91.0_2.0.jpg,91,2\n", "are not degrees"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "set").mkdir()
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        import_set([tmp_path / "set"], Layout("cvusa"), tmp_path / "p.csv", lists=[path])
    with pytest.raises(UsageError, match="no pairs of cvusa"):
        import_set([tmp_path / "set"], Layout("cvusa"), tmp_path / "p.csv")


def test_any_table_is_taken_over(tmp_path: Path) -> None:
    pairs = write_pair_images(tmp_path, 3)
    rows = [f"{p.photo.name},{p.lonlat[1]},{p.lonlat[0]},CC-BY" for p in pairs if p.lonlat]
    table = tmp_path / "photos" / "table.csv"
    table.write_text("\n".join(["ground,latitude,longitude,licence", *rows, "no.jpg,1,2,"]))
    made = import_table(table, tmp_path / "out.csv", rule=SplitRule(0, 0))
    assert made.missing.count == 1
    assert made.notes[0] == "columns passed over: licence"
    assert read_pairs(tmp_path / "out.csv") == tuple(Pair(p.photo, None, p.lonlat) for p in pairs)
