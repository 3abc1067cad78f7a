"""Damaged cubes: refused with a line that names block and repair, and repaired to the byte."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
import shapely
import zarr
from numpy.typing import NDArray

from geoloc.cube import Cube, Ledger, Status, current_generation, damaged_blocks, inspect_blocks
from geoloc.cube.checks import NOTHING, checksum
from geoloc.cube.guard import decode_record
from geoloc.cube.seal import write_sealed
from geoloc.cube.store import open_store
from geoloc.errors import CubeError, UnavailableError
from geoloc.imagery import ArraySource
from geoloc.jobs.build import build_blocks
from geoloc.jobs.plan import BuildPlan
from geoloc.jobs.refresh import refresh_blocks
from geoloc.jobs.repair import restore_metadata
from geoloc.jobs.report import BuildReport
from geoloc.query import repair_cube_at
from geoloc.search import Query
from geoloc.stores import open_objects

from . import cubes
from .array_cube import heatmaps
from .cubes import CoarseEncoder, grid_of, mosaic, plan_of, write_cube
from .damage import files_of, mutate_and_ask

s3_bucket = cubes.s3_bucket  # the fixture

GRID = grid_of(150, 300)  # 2 x 3 blocks, the last ones narrow
EVERYTHING = slice(None), slice(None)
FEATURES = "g0001/features/c/{}/{}/0"


def plan_at(url: Path | str, seed: int = 0) -> BuildPlan:
    return replace(plan_of(url, GRID, mosaic(GRID, seed=seed)), open_encoder=CoarseEncoder)


def repaired(plan: BuildPlan) -> BuildReport:
    """As 'cube repair' does, of a plan."""
    notes = restore_metadata(plan)
    report = build_blocks(plan, read_all=True)
    report.notes[:0] = notes
    return report


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "cube.zarr"
    build_blocks(plan_at(path))
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another cube of the same layout."""
    path = tmp_path_factory.mktemp("foreign") / "cube.zarr"
    build_blocks(plan_at(path, seed=5))
    return path


@pytest.fixture
def cube(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "cube.zarr"))


def bytes_of(cube: Path) -> dict[str, bytes]:
    """Of all its files, but for what tells when it was made."""
    return {
        str(path.relative_to(cube)): path.read_bytes()
        for path in files_of(cube)
        if path.name != "LOCK"
    }


def one_line(call: Callable[[], object]) -> str:
    with pytest.raises(CubeError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


def read_all(cube: Path | str) -> NDArray[np.float32]:
    """As a query reads it."""
    opened = Cube.open(cube)
    return heatmaps(opened, Query(np.zeros((1, 5), np.float32)))


def swap(cube: Path, one: str, two: str) -> None:
    a, b = (cube / one).read_bytes(), (cube / two).read_bytes()
    (cube / one).write_bytes(b)
    (cube / two).write_bytes(a)


# --- checksums ---


@pytest.mark.parametrize("size", [0, 1, 7, 8192, 8193, 100_000])
def test_every_byte_counts_in_a_checksum(size: int) -> None:
    rng = np.random.default_rng(size)
    content = rng.integers(0, 256, size).astype(np.uint8)
    sound = checksum(content)
    assert sound == checksum(content.tobytes()) > NOTHING
    for place in rng.integers(0, max(size, 1), 50)[: 50 * bool(size)]:
        changed = content.copy()
        changed[place] ^= 1 << int(rng.integers(8))
        assert checksum(changed) != sound
    assert checksum(np.append(content, np.uint8(0))) != sound


def test_a_checksum_tells_order_apart() -> None:
    """Two changes that cancel in a plain sum, rows and words and bytes in another order."""
    content = np.random.default_rng(3).integers(0, 256, 65_536).astype(np.uint8)
    words = content.view(np.uint64)
    twice = words.copy()
    twice[10] ^= np.uint64(1 << 63)
    twice[11] ^= np.uint64(1 << 63)
    moved = words.copy()
    moved[[5, 5000]] = moved[[5000, 5]]
    turned = words.reshape(8, -1)[::-1].copy()
    found = {checksum(a.reshape(-1).view(np.uint8)) for a in (words, twice, moved, turned)}
    assert len(found) == 4


# --- blocks ---


def damage_block(cube: Path, how: str) -> None:
    chunk = cube / FEATURES.format(0, 1)
    content = chunk.read_bytes()
    if how == "missing":
        chunk.unlink()
    elif how == "norm missing":
        (cube / "g0001/norm/c/0/1").unlink()
    elif how == "truncated":
        chunk.write_bytes(content[:1000])
    elif how == "longer":
        chunk.write_bytes(content + b"\0")
    elif how == "flipped":
        chunk.write_bytes(content[:700] + bytes([content[700] ^ 4]) + content[701:])
    elif how == "norm flipped":
        norm = cube / "g0001/norm/c/0/1"
        norm.write_bytes(norm.read_bytes()[:-1] + b"\x01")
    elif how == "both missing":
        chunk.unlink()
        (cube / "g0001/norm/c/0/1").unlink()


HOW = ("missing", "norm missing", "both missing", "truncated", "longer", "flipped", "norm flipped")


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_block_is_named_and_computed_again(cube: Path, built: Path, how: str) -> None:
    damage_block(cube, how)
    told = one_line(lambda: read_all(cube))
    assert f"block (0, 1) of g0001 is damaged: its {'norm' if 'norm' in how else 'feat'}" in told
    assert f"'geoloc cube repair {cube}'" in told
    found = inspect_blocks(Cube.open(cube, check_digests=True))
    assert list(found.damaged) == ["0, 1"] and found.blocks == 6
    assert "1 of 6 blocks are damaged: (0, 1)" in one_line(lambda: found.raise_if_damaged("x"))
    report = repaired(plan_at(cube))
    assert (report.blocks_damaged, report.blocks_done, report.blocks_reused) == (1, 1, 5)
    assert "1 damaged blocks were computed again: (0, 1)" in report.summary()
    assert bytes_of(cube) == bytes_of(built)


@pytest.mark.parametrize("how", HOW)
def test_a_build_computes_damaged_blocks_again(cube: Path, built: Path, how: str) -> None:
    damage_block(cube, how)
    report = build_blocks(plan_at(cube))
    assert (report.blocks_damaged, report.blocks_done, report.blocks_reused) == (1, 1, 5)
    assert bytes_of(cube) == bytes_of(built)


def test_blocks_that_were_swapped_or_are_anothers_are_refused(
    cube: Path, foreign: Path, built: Path
) -> None:
    swap(cube, FEATURES.format(0, 0), FEATURES.format(0, 1))
    assert "block (0, 0)" in one_line(lambda: read_all(cube))
    swap(cube, "g0001/norm/c/0/0", "g0001/norm/c/0/1")
    swap(cube, "g0001/provenance/record/c/0/0", "g0001/provenance/record/c/0/1")
    assert "block (0, 0)" in one_line(lambda: read_all(cube))
    assert "provenance" in one_line(lambda: Cube.open(cube).provenance(GRID.chunk(0, 0)))
    for name in (FEATURES.format(1, 2), "g0001/norm/c/1/2"):
        shutil.copy(foreign / name, cube / name)
    report = repaired(plan_at(cube))
    assert (report.blocks_damaged, report.blocks_done) == (3, 3)
    assert bytes_of(cube) == bytes_of(built)


def test_a_sound_cube_is_left_alone(cube: Path, built: Path) -> None:
    report = repaired(plan_at(cube))
    assert (report.blocks_damaged, report.blocks_done, report.blocks_reused) == (0, 0, 6)
    found = inspect_blocks(Cube.open(cube, check_digests=True))
    assert not found.damaged and found.bytes > 6 * 128 * 128 * 5
    assert "none damaged" in found.summary() and "MB/s" in found.summary()
    assert bytes_of(cube) == bytes_of(built)


def test_digests_are_those_of_the_stored_bytes(built: Path) -> None:
    import hashlib

    opened = Cube.open(built)
    for block in opened.blocks():
        told = opened.provenance(block)["digests"]
        names = {"features": FEATURES, "norm": "g0001/norm/c/{}/{}"}
        for part, name in names.items():
            content = (built / name.format(*block.index)).read_bytes()
            assert told[part] == hashlib.sha256(content).hexdigest()


def test_damage_under_an_open_cube_is_found_when_the_file_is_another(cube: Path) -> None:
    opened = Cube.open(cube)
    before = opened.read(*EVERYTHING)
    np.testing.assert_array_equal(opened.read(*EVERYTHING), before)
    chunk = cube / FEATURES.format(1, 0)
    content = bytearray(chunk.read_bytes())
    content[0] ^= 1
    partial = chunk.with_name("new")
    partial.write_bytes(content)
    partial.replace(chunk)
    assert "block (1, 0)" in one_line(lambda: opened.read(*EVERYTHING))


def test_while_somebody_writes_a_block_that_differs_may_be_being_written(cube: Path) -> None:
    damage_block(cube, "flipped")
    (cube / "LOCK").write_text("{}")
    with pytest.raises(UnavailableError, match="or being written just now"):
        read_all(cube)


def test_a_block_without_any_vector_is_no_damage(tmp_path: Path) -> None:
    features = np.random.default_rng(1).normal(0, 3, (150, 300, 5)).astype(np.float32)
    features[:128, 128:256] = np.nan
    made = write_cube(tmp_path, features)
    assert not (tmp_path / FEATURES.format(0, 1)).exists()
    assert np.isnan(read_all(tmp_path)[0, :128, 128:256]).all()
    assert not inspect_blocks(made).damaged and not damaged_blocks(made, contents=False)
    (tmp_path / FEATURES.format(0, 1)).parent.mkdir(exist_ok=True)
    shutil.copy(tmp_path / FEATURES.format(0, 0), tmp_path / FEATURES.format(0, 1))
    assert "block (0, 1)" in one_line(lambda: read_all(tmp_path))


def test_what_lies_in_the_place_of_a_block_that_does_not_count_is_ignored(cube: Path) -> None:
    sound = Cube.open(cube).read(*EVERYTHING)
    Ledger(cube, "g0001").forget(np.array([[0, 1]]))
    damage_block(cube, "truncated")
    codes = Cube.open(cube).read(*EVERYTHING)
    assert (codes[:128, 128:256] == -128).all()
    np.testing.assert_array_equal(codes[128:], sound[128:])


@pytest.mark.parametrize("damage", [b"", b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8, b"nonsense"])
def test_a_record_cannot_ask_for_gigabytes(cube: Path, built: Path, damage: bytes) -> None:
    record = cube / "g0001/provenance/record/c/0/0"
    record.write_bytes(damage)
    block = GRID.chunk(0, 0)
    assert "its provenance chunk" in one_line(lambda: Cube.open(cube).provenance(block))
    assert "(0, 0)" in one_line(lambda: Cube.open(cube).info())
    with pytest.raises((ValueError, RuntimeError)):
        decode_record(damage)
    assert repaired(plan_at(cube)).blocks_damaged == 1
    assert bytes_of(cube) == bytes_of(built)


# --- metadata ---


@pytest.mark.parametrize("name", ["feature", "y", "x"])
@pytest.mark.parametrize("how", ["missing", "flipped", "bomb"])
def test_damaged_small_arrays_are_named(cube: Path, name: str, how: str) -> None:
    chunk = cube / f"g0001/{name}/c/0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "bomb":  # a Zstandard frame that says that it holds 2^60 bytes
        content = bytearray(b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\0" * 9)
    chunk.write_bytes(content)
    if how == "missing":
        chunk.unlink()
    told = one_line(lambda: Cube.open(cube))
    assert f"g0001/{name} is missing or damaged" in told and "restore it from a copy" in told
    assert "no other generation holds it" in one_line(lambda: repaired(plan_at(cube)))
    assert f"g0001/{name}" in one_line(lambda: build_blocks(plan_at(cube)))


def test_small_arrays_are_taken_from_another_generation(cube: Path) -> None:
    changed = replace(plan_at(cube), source=mosaic(GRID, seed=1))
    assert refresh_blocks(changed).published
    sound = bytes_of(cube)
    swap(cube, "g0002/x/c/0", "g0002/y/c/0")
    (cube / "g0002/feature/c/0").unlink()
    assert "g0002/feature" in one_line(lambda: read_all(cube))
    report = repaired(changed)
    assert report.blocks_damaged == 0 and "g0002/feature" in report.summary()
    assert bytes_of(cube) == sound


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "left": lambda d: domain_of(d).update(left=300_010.0),
    "shape": lambda d: arrays(d)["features"].update(shape=[400_000, 400_000, 5]),
    "done": lambda d: arrays(d)["done"].update(shape=[2, 4]),
    "chunk": lambda d: arrays(d)["features"]["chunk_grid"]["configuration"].update(
        chunk_shape=[0, 0, 0]
    ),
    "step": lambda d: domain_of(d).update(step=0),
    "block": lambda d: d["attributes"]["spec"].update(block_size=0),
    "huge": lambda d: domain_of(d).update(ny=400_000, nx=400_000),
    "text": lambda d: arrays(d)["feature"].update(shape=[1 << 31]),
    "type": lambda d: arrays(d)["norm"].update(data_type="fixed_length_utf32"),
    "none": lambda d: arrays(d).pop("feature"),
    "code": lambda d: arrays(d)["features"]["attributes"].pop("add_offset"),
    "list": lambda d: d["attributes"].update(spec=[1, 2]),
    "model": lambda d: d["attributes"].update(model_name=7),
}


def arrays(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["consolidated_metadata"]["metadata"]
    return found


def domain_of(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["attributes"]["spec"]
    domain: dict[str, Any] = spec["domain"]
    return domain


@pytest.mark.parametrize("change", CHANGES)
def test_changed_metadata_is_refused_before_anything_is_allocated(cube: Path, change: str) -> None:
    path = cube / "g0001/zarr.json"
    document = json.loads(path.read_text())
    CHANGES[change](document)
    path.write_text(json.dumps(document))
    one_line(lambda: read_all(cube))
    one_line(lambda: build_blocks(plan_at(cube)))
    one_line(lambda: repaired(plan_at(cube)))


@pytest.mark.parametrize("kind", ["done", "provenance/check"])
@pytest.mark.parametrize("how", ["missing", "flipped", "truncated"])
def test_a_damaged_ledger_is_found_and_restored(
    cube: Path, built: Path, kind: str, how: str
) -> None:
    (chunk,) = [p for p in (cube / "g0001" / kind / "c").rglob("*") if p.is_file()]
    content = bytearray(chunk.read_bytes())
    content[1] ^= 3
    chunk.write_bytes(content if how == "flipped" else content[:70])
    if how == "missing":
        chunk.unlink()
    told = one_line(lambda: read_all(cube))
    assert "cube repair" in told
    damage_block(cube, "missing")
    report = repaired(plan_at(cube))
    assert "the ledger was restored: 5 blocks are whole, 1 are not" in report.summary()
    assert (report.blocks_done, report.blocks_reused) == (1, 5)
    assert bytes_of(cube) == bytes_of(built)


@pytest.mark.parametrize("text", [b"", b"g0007\n", b"\xff\xfe", b"../../x", b"g" * 9999])
def test_a_damaged_current_is_written_anew(cube: Path, built: Path, text: bytes) -> None:
    (cube / "CURRENT").write_bytes(text)
    told = one_line(lambda: read_all(cube))
    assert "CURRENT" in told and "cube repair" in told
    report = repaired(plan_at(cube))
    assert "CURRENT was written anew: g0001" in report.summary() and report.blocks_done == 0
    assert bytes_of(cube) == bytes_of(built)


def test_a_lost_current_does_not_bring_back_an_old_generation(cube: Path) -> None:
    refresh_blocks(replace(plan_at(cube), source=mosaic(GRID, seed=1)))
    (cube / "CURRENT").unlink()
    assert "has lost its CURRENT" in one_line(lambda: read_all(cube))
    build_blocks(replace(plan_at(cube), source=mosaic(GRID, seed=1)))
    assert current_generation(cube) == "g0002"


def test_metadata_of_another_generation_is_refused(cube: Path) -> None:
    assert refresh_blocks(replace(plan_at(cube), source=mosaic(GRID, seed=1))).published
    swap(cube, "g0001/zarr.json", "g0002/zarr.json")
    assert "g0002/zarr.json is damaged" in one_line(lambda: read_all(cube))


def test_a_lost_root_is_written_anew(cube: Path, built: Path) -> None:
    for content in (b"{", b""):
        (cube / "zarr.json").write_bytes(content)
        repaired(plan_at(cube))
        assert bytes_of(cube) == bytes_of(built)


def test_nothing_names_a_place_outside_of_the_cube(cube: Path, tmp_path: Path) -> None:
    (cube / "CURRENT").write_text("../elsewhere\n")
    one_line(lambda: build_blocks(plan_at(cube)))
    assert not (tmp_path / "elsewhere").exists()


# --- generations, older versions, other stores ---


def test_copied_blocks_keep_their_digests(cube: Path) -> None:
    """And what is missing in the old generation is computed, not carried on."""
    source = mosaic(GRID)
    values = source.pixels.copy()
    values[:, :200, :200] = 255 - values[:, :200, :200]
    (cube / FEATURES.format(1, 1)).unlink()
    report = refresh_blocks(replace(plan_at(cube), source=ArraySource(values, source.grid)))
    assert report.published and report.blocks_copied == 4 and report.blocks_done == 2
    assert not inspect_blocks(Cube.open(cube, check_digests=True)).damaged
    np.testing.assert_array_equal(
        Ledger(cube, "g0002").checks()[1, 0], Ledger(cube, "g0001").checks()[1, 0]
    )


@pytest.mark.parametrize("lost", ["sealed", "contents", "provenance/check"])
def test_a_cube_without_what_it_is_compared_with_is_refused(cube: Path, lost: str) -> None:
    path = cube / "g0001/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"].pop(lost, None)
    arrays(document).pop(lost, None)
    if lost != "sealed":
        document["attributes"].pop("sealed")
        write_sealed(open_store(cube, read_only=False), "g0001", document)
    else:
        path.write_text(json.dumps(document))
    assert "is damaged" in one_line(lambda: read_all(cube))


def test_a_cube_of_another_format_says_what_to_do(cube: Path) -> None:
    path = cube / "g0001/zarr.json"
    for version, advice in ((1, "build it again"), (3, "install a newer geoloc")):
        document = json.loads(path.read_text())
        document["attributes"]["geoloc_cube"] = version
        path.write_text(json.dumps(document))
        assert advice in one_line(lambda: read_all(cube))


def test_plain_zarr_readers_read_all_of_it(built: Path) -> None:
    group = zarr.open_group(built / "g0001", mode="r", use_consolidated=False)
    opened = Cube.open(built)
    np.testing.assert_array_equal(group["features"][:], opened.read(*EVERYTHING))
    np.testing.assert_array_equal(group["norm"][:], opened.read_norm(*EVERYTHING))
    assert (np.asarray(group["done"][:]) == Status.DONE).all()
    assert (np.asarray(group["provenance/check"][:]) > NOTHING).all()


def test_on_s3(s3_bucket: str) -> None:
    url = f"{s3_bucket}/damaged/cube.zarr"
    build_blocks(plan_at(url))
    sound = read_all(url)
    store = open_objects(url)
    chunk = FEATURES.format(0, 1)
    content = bytes(obstore.get(store, chunk).bytes())
    flipped = content[:700] + bytes([content[700] ^ 4]) + content[701:]
    for damage in (None, content[:-9], flipped):
        obstore.delete(store, chunk) if damage is None else obstore.put(store, chunk, damage)
        assert "block (0, 1)" in one_line(lambda: read_all(url))
        by_size = damaged_blocks(Cube.open(url), contents=False)
        assert list(by_size) == ([] if damage is flipped else [(0, 1)])
        assert repaired(plan_at(url)).blocks_damaged == 1
        assert bytes(obstore.get(store, chunk).bytes()) == content
        np.testing.assert_array_equal(read_all(url), sound)
    assert not inspect_blocks(Cube.open(url, check_digests=True)).damaged


def test_a_cube_with_a_polygon_is_repaired_by_its_area_file(tmp_path: Path) -> None:
    polygon = shapely.box(*GRID.window(slice(0, 100), slice(0, 200)).bounds)
    build_blocks(replace(plan_at(tmp_path), polygon=polygon))
    damage_block(tmp_path, "flipped")
    assert "which its area file names" in one_line(lambda: repair_cube_at(str(tmp_path)))
    report = repaired(replace(plan_at(tmp_path), polygon=polygon))
    assert (report.blocks_damaged, report.blocks_outside) == (1, 4)


# --- everything else ---


def test_whatever_is_damaged_gives_the_same_answer_or_one_line(cube: Path, foreign: Path) -> None:
    seed = int(os.environ.get("GEOLOC_FUZZ_SEED", "0"))
    outcomes = list(mutate_and_ask(cube, foreign, 100, seed))
    wrong = [o.what for o in outcomes if not o.same and not o.error]
    assert not wrong
    assert all("\n" not in o.error and len(o.error) < 700 for o in outcomes)
    assert sum(bool(o.error) for o in outcomes) > 30
