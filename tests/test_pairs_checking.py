"""Checking pairs: each thing that may be wrong with them is found, and good ones pass."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.errors import GeolocError, UsageError
from geoloc.pairs import Pair, write_pairs
from geoloc.pairs.checking import Checked, check_pairs
from geoloc.pairs.sharding import shard_pairs

from .pair_files import picture, write_pair_images


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Pair, ...]:
    return write_pair_images(tmp_path)


def check(pairs: tuple[Pair, ...], folder: Path, near_m: float = 50.0) -> Checked:
    return check_pairs(write_pairs(pairs, folder / "checked.csv"), near_m=near_m)


def found(checked: Checked) -> dict[str, int]:
    return {kind: count for kind, count in checked.counts.items() if count}


def test_good_pairs_pass(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    checked = check(pairs, tmp_path)
    assert checked.is_good
    assert (checked.count, checked.notes) == (6, ())
    shard_pairs(pairs, tmp_path / "s", per_shard=2)
    again = check_pairs(tmp_path / "s")
    assert again.is_good
    assert sorted(map(tuple, again.lonlat)) == sorted(map(tuple, checked.lonlat))
    shard_pairs(pairs, tmp_path / "plain", layout="plain")
    assert check_pairs(tmp_path / "plain" / "pairs-000000.tar").is_good


def test_broken_and_missing_files(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    pairs[0].photo.write_bytes(pairs[0].photo.read_bytes()[:200])
    pairs[1].photo.unlink()
    assert pairs[2].overhead is not None
    pairs[2].overhead.write_text("<html>404</html>")
    checked = check(pairs, tmp_path)
    assert found(checked) == {"broken": 2, "missing": 1}
    assert "checked.csv:3: " in checked.lines["missing"][0]
    assert "1.jpg does not exist" in checked.lines["missing"][0]
    assert checked.count == 3


def test_rows_that_are_no_pairs_do_not_stop_the_rest(tmp_path: Path) -> None:
    write_pair_images(tmp_path)
    path = tmp_path / "pairs.csv"
    path.write_text(path.read_text() + "photos/0.jpg,,999,1,,,,\nphotos/0.jpg,,1,1,dev,,,\n")
    checked = check_pairs(path)
    assert found(checked) == {"invalid": 2}
    assert checked.count == 6


def test_the_same_photo_twice(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    copy = tmp_path / "photos" / "copy.jpg"
    shutil.copy(pairs[0].photo, copy)
    assert found(check((*pairs, replace(pairs[0], photo=copy)), tmp_path)) == {"duplicate": 1}
    elsewhere = replace(pairs[1], photo=copy, overhead=pairs[1].overhead)
    checked = check((*pairs, elsewhere), tmp_path)
    assert found(checked) == {"duplicate": 1}
    assert "has the photo of checked.csv:2" in checked.lines["duplicate"][0]


def test_one_photo_with_images_of_several_zooms_is_no_duplicate(
    tmp_path: Path, pairs: tuple[Pair, ...]
) -> None:
    wider = tmp_path / "chips" / "wider.png"
    picture(77, 32, 32).save(wider)
    assert check((*pairs, replace(pairs[0], overhead=wider)), tmp_path).is_good


def test_pictures_that_look_the_same(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    other = tmp_path / "photos" / "small.jpg"
    with Image.open(pairs[0].photo) as image:
        image.save(other, quality=60)
    far = (replace(pairs[1], photo=other, lonlat=(10.0, 10.0), overhead=None),)
    assert found(check((*pairs, *far), tmp_path)) == {"near-duplicate": 1}
    leaking = (replace(far[0], split="test"),)
    checked = check((*pairs, *leaking), tmp_path)
    assert found(checked) == {"leakage": 1}
    assert "(test) looks like checked.csv:2 (train)" in checked.lines["leakage"][0]


@pytest.mark.parametrize("metres", [0.0, 20.0, 200.0])
def test_places_of_two_splits_nearby(
    tmp_path: Path, pairs: tuple[Pair, ...], metres: float
) -> None:
    assert pairs[0].lonlat is not None
    lon, lat = pairs[0].lonlat
    near = replace(pairs[2], lonlat=(lon, lat + metres / 111_000))
    moved = (*pairs[:2], near, *pairs[3:])
    assert found(check(moved, tmp_path)) == ({} if metres > 50 else {"leakage": 1})
    assert found(check(moved, tmp_path, near_m=300.0)) == {"leakage": 1}
    same_split = tuple(replace(pair, split="train") for pair in moved)
    assert check(same_split, tmp_path).is_good


def test_the_same_photo_or_image_in_two_splits(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    train, test = pairs[0], pairs[2]
    photo = replace(test, photo=train.photo, lonlat=None)
    assert found(check((*pairs, photo), tmp_path)) == {"leakage": 1}
    chip = replace(test, overhead=train.overhead, lonlat=None)
    copy = tmp_path / "photos" / "new.jpg"
    picture(66).save(copy)
    checked = check((*pairs, replace(chip, photo=copy)), tmp_path)
    assert found(checked) == {"leakage": 1}
    assert "the same overhead image" in checked.lines["leakage"][0]
    assert checked.notes[0].startswith("1 pairs have no place")


def test_class_level_pairs_may_repeat_their_photos(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    rows = tuple(
        Pair(pairs[n % 3].photo, pairs[n % 4].overhead, None, "train", "field") for n in range(12)
    )
    assert check(rows, tmp_path).is_good


def test_shards_that_are_cut_or_lack_a_partner(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    shard_pairs(pairs, tmp_path / "s", per_shard=2)
    first = tmp_path / "s" / "pairs-000000.tar"
    first.write_bytes(first.read_bytes()[:3000])
    checked = check_pairs(tmp_path / "s")
    assert found(checked) == {"broken": 1}
    assert "cut short" in checked.lines["broken"][0]
    assert checked.count >= 4
    (tmp_path / "s" / "pairs.json").unlink()
    assert found(check_pairs(tmp_path / "s")) == {"broken": 1}


def test_the_command_writes_a_map_and_fails(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    assert pairs[0].lonlat is not None
    leaking = (*pairs[:2], replace(pairs[2], lonlat=pairs[0].lonlat), *pairs[3:])
    path = write_pairs(leaking, tmp_path / "leaking.csv")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["pairs", "check", str(path), "--out", str(out), "--json"])
    assert isinstance(done.exception, GeolocError)
    assert done.exception.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["ok"], told["findings"]["leakage"]) == (False, 1)
    assert json.loads((out / "check.json").read_text()) == told
    points = json.loads((out / "pairs.geojson").read_text())["features"]
    assert [p["geometry"]["coordinates"] for p in points] == [list(p.lonlat or ()) for p in leaking]
    assert [p["properties"]["split"] for p in points] == [p.split for p in leaking]
    assert [p["properties"]["wrong"] for p in points] == [True, False, True, False, False, False]
    with Image.open(out / "map.png") as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    good = CliRunner().invoke(app, ["pairs", "check", str(tmp_path / "pairs.csv")])
    assert good.exit_code == 0, good.exception


def test_what_is_no_pairs_file_is_invalid_usage(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("photo,overhead\n")
    with pytest.raises(UsageError, match="has no pairs"):
        check_pairs(tmp_path / "x.csv")
    with pytest.raises(UsageError, match="has no shards"):
        check_pairs(tmp_path)
    with pytest.raises(UsageError, match=r"nowhere\.csv"):
        check_pairs(tmp_path / "nowhere.csv")
