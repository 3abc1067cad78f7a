"""Pairs of files and of shards are the same material; the teacher's vectors are kept by content."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geoloc.encoders.ground import open_ground
from geoloc.errors import GeolocError, PhotoError, UsageError
from geoloc.models.load import load_model
from geoloc.pairs import Pair, read_pairs, write_pairs
from geoloc.pairs.sharding import shard_pairs
from geoloc.pairs.stored import Stored
from geoloc.training.material import (
    load_splits,
    no_stages,
    read_material,
    require_one_split,
    teacher_vectors,
)
from geoloc.training.photo_views import PhotoViews
from tests.training_pairs import place_pairs, write_teacher

CPU = torch.device("cpu")
WHOLE = PhotoViews()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return place_pairs(tmp_path_factory.mktemp("places"), 5, 3)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teachers") / "teacher")


@pytest.mark.parametrize("layout", ["webdataset", "plain"])
def test_shards_and_files_are_the_same_material(
    pairs: Path, teacher: Path, tmp_path: Path, layout: str
) -> None:
    shard_pairs(read_pairs(pairs), tmp_path / "shards", layout=layout, per_shard=4)  # type: ignore[arg-type]
    model = load_model(teacher)
    of_files = load_splits(pairs, model, WHOLE, 32, CPU, no_stages)
    shards = load_splits(tmp_path / "shards", model, WHOLE, 32, CPU, no_stages)
    assert list(of_files) == ["train", "test", "valid"] == list(shards)
    for split, data in of_files.items():
        assert np.array_equal(data.chips[:], shards[split].chips[:])
        assert np.array_equal(
            data.targets[data.photos], shards[split].targets[shards[split].photos]
        )


def test_a_cut_a_compressed_and_an_odd_shard_are_one_line(pairs: Path, tmp_path: Path) -> None:
    shard_pairs(read_pairs(pairs), tmp_path / "shards", per_shard=20)
    shard = sorted((tmp_path / "shards").glob("*.tar"))[0]
    whole = shard.read_bytes()
    for length in (len(whole) - 1024, len(whole) // 2, 700):
        shard.write_bytes(whole[:length])
        with pytest.raises(GeolocError, match="cut short") as error:
            read_material(tmp_path / "shards")
        assert "\n" not in str(error.value)
    for length in (len(whole) // 2, 700):  # without an index, as of others
        shard.write_bytes(whole[:length])
        with pytest.raises(GeolocError, match=r"cut|looked into|ends early"):
            read_material(shard)
    packed = tmp_path / "packed.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(pairs, "readme.csv")
    with pytest.raises(GeolocError, match="compressed"):
        read_material(packed)
    lonely = tmp_path / "lonely.tar"
    with tarfile.open(lonely, "w") as archive:
        archive.add(next(pairs.parent.glob("photo-*")), "1.ground.png")
    with pytest.raises(GeolocError, match="has no overhead image"):
        read_material(lonely)


def test_what_is_in_two_splits_is_refused(pairs: Path, tmp_path: Path) -> None:
    first, *others = read_pairs(pairs)
    twice = [first, *others, Pair(first.photo, others[0].overhead, None, "test")]
    material = read_material(write_pairs(twice, tmp_path / "twice.csv"))
    with pytest.raises(UsageError, match="is in the splits train and test"):
        require_one_split(material)


@pytest.mark.parametrize(("metres", "refused"), [(6, True), (60, False)])
def test_a_place_in_two_splits_is_refused(
    pairs: Path, tmp_path: Path, metres: float, refused: bool
) -> None:
    """Another photo and another chip of what was learnt, from the other side of the street."""
    rows = [replace(pair, lonlat=(30 + number, 50.0)) for number, pair in
            enumerate(read_pairs(pairs))]  # fmt: skip
    rows[-1] = replace(rows[-1], lonlat=(30.0, 50 + metres / 111_200))
    assert rows[0].split == "train" and rows[-1].split == "test"
    table = write_pairs(rows, tmp_path / "near.csv")
    shard_pairs(read_pairs(table), tmp_path / "shards")
    for source in (table, tmp_path / "shards"):
        material = read_material(source)
        if not refused:
            require_one_split(material)
            continue
        with pytest.raises(UsageError, match=r"less than 50 m from one of another split than test"):
            require_one_split(material)


def test_pairs_by_place_alone_name_the_next_step(pairs: Path, tmp_path: Path) -> None:
    photo = read_pairs(pairs)[0].photo
    path = write_pairs([Pair(photo, None, (30.0, 50.0))], tmp_path / "places.csv")
    with pytest.raises(UsageError, match="geoloc pairs build"):
        read_material(path)


def photos_in(folder: Path, count: int) -> list[Stored]:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (40, 30), (60 * number % 256, 90, 10)).save(folder / f"{number}.png")
    return [Stored(folder / f"{number}.png") for number in range(count)]


def test_vectors_belong_to_what_a_photo_holds(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, photos = load_model(teacher), photos_in(tmp_path / "photos", 3)
    first = teacher_vectors(model, photos, WHOLE, CPU)
    photos[1].path.write_bytes(photos[2].path.read_bytes())  # the name stays
    moved = tmp_path / "moved.png"
    shutil.copy(photos[0].path, moved)
    again = teacher_vectors(model, [*photos, Stored(moved)], WHOLE, CPU)
    assert np.array_equal(again[1], first[2])
    assert np.array_equal(again[3], first[0])

    def never(*_: object) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr("geoloc.training.material.open_ground", never)
    assert np.array_equal(teacher_vectors(model, photos, WHOLE, CPU), again[:3])


def test_vectors_of_a_killed_run_are_not_computed_again(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the third part of 32 photos; the first two are there."""
    photos = photos_in(tmp_path / "photos", 80)
    for number, photo in enumerate(photos):
        Image.new("RGB", (40, 30), (3 * number, 7, number)).save(photo.path)
    counts: list[int] = []

    class Counting:
        def __init__(self, most: int) -> None:
            self.encoder, self.most = open_ground(load_model(teacher)), most

        def encode(self, images: list[np.ndarray]) -> np.ndarray:
            if len(counts) == self.most:
                raise KeyboardInterrupt
            counts.append(len(images))
            return self.encoder.encode(images)

    made = Counting(2)
    monkeypatch.setattr("geoloc.training.material.open_ground", lambda *_: made)
    with pytest.raises(KeyboardInterrupt):
        teacher_vectors(load_model(teacher), photos, WHOLE, CPU)
    made.most = 99
    vectors = teacher_vectors(load_model(teacher), photos, WHOLE, CPU)
    assert counts == [32, 32, 16] and vectors.shape == (80, 5)


def test_views_are_vectors_of_parts_of_the_photo(pairs: Path, teacher: Path) -> None:
    model = load_model(teacher)
    photos = read_material(pairs).photos[:4]
    whole = teacher_vectors(model, photos, WHOLE, CPU)
    views = teacher_vectors(model, photos, PhotoViews(count=3), CPU)
    assert views.shape == (4, 3, 5)
    assert np.allclose(views[:, 0], whole, atol=1e-4)
    assert np.abs(views[:, 1] - whole).max() > 1e-3


def test_a_photo_that_cannot_be_read_is_named(teacher: Path, tmp_path: Path) -> None:
    photos = photos_in(tmp_path / "photos", 2)
    photos[1].path.write_bytes(b"not an image")
    with pytest.raises(PhotoError, match=r"1\.png"):
        teacher_vectors(load_model(teacher), photos, WHOLE, CPU)
