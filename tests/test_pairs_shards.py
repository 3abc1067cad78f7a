"""Shards: what goes in comes out, in either layout; what is cut, swapped or foreign is told."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.errors import GeolocError, OutputError, PhotoError, UsageError
from geoloc.pairs import Pair
from geoloc.pairs.sharding import shard_pairs
from geoloc.pairs.shards import read_shards, verify_shards
from geoloc.photos import read_photo

from .full_disk import file_limit
from .pair_files import picture, write_pair_images


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Pair, ...]:
    return write_pair_images(tmp_path / "set")


@pytest.mark.parametrize("layout", ["webdataset", "plain"])
def test_what_goes_in_comes_out(tmp_path: Path, pairs: tuple[Pair, ...], layout: str) -> None:
    made = shard_pairs(pairs, tmp_path / "shards", layout=layout, per_shard=2)  # type: ignore[arg-type]
    assert (made.count, made.splits) == (6, {"train": 4, "valid": 1, "test": 1})
    samples = {sample.date: sample for sample in read_shards(tmp_path / "shards")}
    assert len(samples) == 6
    for pair in pairs:
        sample = samples[pair.date]
        assert pair.overhead is not None
        assert np.array_equal(sample.ground, read_photo(pair.photo).pixels)
        assert np.array_equal(sample.overhead, read_photo(pair.overhead).pixels)
        assert (sample.lonlat, sample.split) == (pair.lonlat, pair.split)
        assert (sample.group, sample.heading) == (pair.group, pair.heading)


def test_a_split_is_read_alone_and_its_shards_hold_no_other(
    tmp_path: Path, pairs: tuple[Pair, ...]
) -> None:
    shard_pairs(pairs, tmp_path / "s", per_shard=2)
    assert [sample.date for sample in read_shards(tmp_path / "s", "test")] == ["2024-01-03"]
    for archive in (tmp_path / "s").glob("*.tar"):
        assert len({sample.split for sample in read_shards(archive)}) == 1


def test_the_same_pairs_give_the_same_bytes_and_no_stale_shard(
    tmp_path: Path, pairs: tuple[Pair, ...]
) -> None:
    first, again = tmp_path / "a", tmp_path / "b"
    shard_pairs(pairs, first, per_shard=1)
    shard_pairs(pairs[:3], first, per_shard=3)
    shard_pairs(pairs[:3], again, per_shard=3)
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {
        p.name: p.read_bytes() for p in again.iterdir()
    }


def test_webdataset_reads_them(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    webdataset = pytest.importorskip("webdataset")
    shard_pairs(pairs, tmp_path / "s", per_shard=4)
    found = list(
        webdataset.WebDataset([str(p) for p in sorted((tmp_path / "s").glob("*.tar"))],
                              shardshuffle=False)
    )  # fmt: skip
    assert {json.loads(sample["json"])["date"] for sample in found} == {p.date for p in pairs}
    assert {sample["ground.jpg"] for sample in found} == {p.photo.read_bytes() for p in pairs}
    assert {sample["overhead.png"] for sample in found} == {
        p.overhead.read_bytes() for p in pairs if p.overhead
    }


def test_what_webdataset_writes_is_read(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        for n in range(3):
            writer.write(
                {
                    "__key__": f"dir/k{n}",
                    "ground.jpg": np.asarray(picture(n)),
                    "overhead.png": np.asarray(picture(50 + n)),
                    "json": {"lon": 3.5, "lat": n, "split": "val", "heading": None},
                }
            )
    samples = list(read_shards(tmp_path))
    assert [sample.key for sample in samples] == ["dir/k0", "dir/k1", "dir/k2"]
    assert np.array_equal(samples[2].overhead, np.asarray(picture(52)))
    assert samples[2].lonlat == (3.5, 2.0)
    assert samples[2].split == "valid"


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


def test_without_json_the_place_is_that_of_the_name(tmp_path: Path) -> None:
    name = "37603091@N02_3832037528_39.353314_-100.441957"
    path = archive_of(
        tmp_path / "x.tar", {f"ground/{name}.png": png(1), f"overhead/{name}.png": png(2)}
    )
    (sample,) = read_shards(path)
    assert sample.lonlat == (-100.441957, 39.353314)
    assert np.array_equal(sample.overhead, np.asarray(picture(2)))


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("with_index", [True, False])
def test_a_shard_cut_in_the_middle_is_one_line(
    tmp_path: Path, pairs: tuple[Pair, ...], keep: float, with_index: bool
) -> None:
    shard_pairs(pairs, tmp_path / "s", per_shard=9)
    shard = tmp_path / "s" / "pairs-000000.tar"
    with tarfile.open(shard) as archive:
        last = archive.getmembers()[-1]
    end = last.offset_data + last.size
    shard.write_bytes(shard.read_bytes()[: int(end * keep)])
    if not with_index:
        (tmp_path / "s" / "pairs.json").unlink()
    with pytest.raises(GeolocError, match=r"pairs-000000\.tar is cut short or damaged") as caught:
        list(read_shards(tmp_path / "s"))
    assert "\n" not in str(caught.value)


def test_a_shard_cut_between_two_members_is_told_without_an_index(
    tmp_path: Path, pairs: tuple[Pair, ...]
) -> None:
    """A tar reader takes the end of the file for the end of the archive."""
    shard_pairs(pairs, tmp_path / "s", per_shard=9)
    shard = tmp_path / "s" / "pairs-000000.tar"
    with tarfile.open(shard) as archive:
        third_sample = archive.getmembers()[6].offset
    shard.write_bytes(shard.read_bytes()[:third_sample])
    with pytest.raises(GeolocError, match="end is missing"):
        list(read_shards(shard))


def test_swapped_and_missing_shards_are_told(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    folder = tmp_path / "s"
    shard_pairs(pairs, folder, per_shard=2)
    assert verify_shards(folder) == []
    first = folder / "pairs-000000.tar"
    data = bytearray(first.read_bytes())
    data[700] ^= 1
    first.write_bytes(data)
    (folder / "pairs-000001.tar").unlink()
    told = verify_shards(folder)
    assert len(told) == 2
    assert "is not the shard that was written" in told[0]
    assert "is missing" in told[1]
    with pytest.raises(GeolocError, match="missing"):
        list(read_shards(folder))


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        ({"a.ground.png": b"", "b.ground.png": b""}, GeolocError, "a has no overhead image"),
        ({"readme.txt": b"x"}, GeolocError, "holds no pairs"),
        (
            {"a.ground.png": b"no image", "a.overhead.png": b"no image"},
            PhotoError,
            "a.ground.png is not a photo",
        ),
        (
            {"a.ground.png": b"", "a.overhead.png": b"", "a.json": b"[1"},
            GeolocError,
            "JSON of a is damaged",
        ),
    ],
)
def test_what_is_no_sample_is_one_line(
    tmp_path: Path, members: dict[str, bytes], error: type[GeolocError], message: str
) -> None:
    path = archive_of(tmp_path / "x.tar", members)
    with pytest.raises(error, match=message) as caught:
        list(read_shards(path))
    assert "\n" not in str(caught.value)


def test_an_index_names_no_file_outside_its_folder(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    shard_pairs(pairs, tmp_path / "s")
    index = tmp_path / "s" / "pairs.json"
    index.write_text(index.read_text().replace("pairs-000000.tar", "../pairs-000000.tar"))
    with pytest.raises(GeolocError, match="damaged index"):
        list(read_shards(tmp_path / "s"))


@pytest.mark.parametrize("name", ["../x", "", "a/b"])
def test_names_of_shards_are_file_names(tmp_path: Path, pairs: tuple[Pair, ...], name: str) -> None:
    with pytest.raises(UsageError, match="give a plain name"):
        shard_pairs(pairs, tmp_path / "s", name=name)
    assert not (tmp_path / "s").exists()


def test_a_folder_without_shards_is_invalid_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no shards"):
        list(read_shards(tmp_path))


def test_broken_images_are_left_out_and_told(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    pairs[1].photo.write_bytes(pairs[1].photo.read_bytes()[:300])
    arguments = ["pairs", "shard", str(tmp_path / "set" / "pairs.csv")]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "s"), "--json"])
    assert isinstance(done.exception, GeolocError)
    assert "1 pairs left out" in str(done.exception)
    assert json.loads(done.stdout)["count"] == 5
    assert len(list(read_shards(tmp_path / "s"))) == 5


def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, pairs: tuple[Pair, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    shard_pairs(pairs, folder, per_shard=2)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    real, calls = tarfile.TarFile.addfile, []

    def full(self: tarfile.TarFile, *arguments: object, **more: object) -> None:
        calls.append(1)
        if len(calls) > 7:
            raise OSError(28, "No space left on device")
        real(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(OutputError, match="No space left"):
        shard_pairs(pairs[::-1], folder, per_shard=2)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("most", [0, 600, 4000])
def test_a_disk_that_stays_full_is_one_line(
    tmp_path: Path, pairs: tuple[Pair, ...], most: int
) -> None:
    with file_limit(most), pytest.raises(OutputError, match="cannot write shards"):
        shard_pairs(pairs, tmp_path / "shards", per_shard=2)
    assert not [*(tmp_path / "shards").iterdir()]


def test_memory_does_not_grow_with_the_pairs(tmp_path: Path, pairs: tuple[Pair, ...]) -> None:
    def peak(times: int) -> int:
        tracemalloc.start()
        shard_pairs((pair for _ in range(times) for pair in pairs), tmp_path / "s", per_shard=9)
        for _ in read_shards(tmp_path / "s"):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(16) < 1.5 * peak(4)
