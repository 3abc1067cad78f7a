"""A distance learnt from confirmed places: written where it helps, and only there."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import Transformer

from geoloc.cube import Cube
from geoloc.errors import UsageError
from geoloc.models import Model, load_model
from geoloc.query.adapting import Pairs, adapt, fitted, read_pairs
from geoloc.query.confirmed import Confirmed, CubeName, read_confirmed
from geoloc.query.target import open_target
from geoloc.search import Query, scan
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, tiny_model

NY, NX = 120, 130
NOISY = np.array([3.0, 0.1, -2.0, 0.1, 0.1])
"""In this direction the model is wrong: one that a distance can leave out."""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "models"))
    return tiny_model(tmp_path / "models" / "tiny")


@pytest.fixture
def cube(tmp_path: Path, model: Model) -> Cube:
    features = np.random.default_rng(1).normal(0, 1, (NY, NX, len(CLASSES))).astype(np.float32)
    features[0, 0] = np.nan
    return write_cube(tmp_path / "cube.zarr", features, classes=CLASSES, model_digest=model.digest)


def confirmed(cube: Cube, count: int, noise: NDArray[np.float64], seed: int = 5) -> list[Confirmed]:
    """Photos of random places, each its place's vector with a multiple of ``noise`` added."""
    rng, grid = np.random.default_rng(seed), cube.grid
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    found = []
    for number in range(count):
        cell = (int(rng.integers(1, NY)), int(rng.integers(1, NX)))
        there = cube.vector(*cell)
        assert there is not None
        photo = there + rng.normal() * noise + rng.normal(0, 0.1, len(there))
        lon, lat = to_degrees.transform(grid.x[cell[1]], grid.y[cell[0]])
        name = CubeName(url=cube.url, generation=cube.generation, model=cube.model_digest)
        found.append(Confirmed(
            photos=(f"{number:064x}",), lat=lat, lon=lon, cube=name, cell=cell,
            vector=tuple(photo.tolist()), place_vector=tuple(there.tolist()),
            confirmed=dt.date(2026, 1, 1),
        ))  # fmt: skip
    return found


def write(path: Path, known: list[Confirmed]) -> Path:
    path.write_text("".join(one.model_dump_json() + "\n" for one in known))
    return path


def test_a_direction_without_meaning_is_left_out(model: Model, cube: Cube, tmp_path: Path) -> None:
    file = write(tmp_path / "c.jsonl", confirmed(cube, 30, NOISY))
    found = adapt(model, file, tmp_path / "better")
    assert found.helps and found.model is not None and found.shrinkage < 1
    before, after = (told["median_percentile"].value for told in (found.before, found.after))
    assert after < before / 2
    assert found.gain.low > 0 and found.photos == 30
    card = found.model.file("card.md").read_text()
    assert "cross-validation over blocks" in card and f"{after:.2f}" in card
    told = load_model(tmp_path / "better").spec.training["adapted"]
    assert told["from"] == model.digest and told["helps"] and told["photos"] == 30


def test_the_cube_of_the_first_model_is_asked_by_the_second(
    model: Model, cube: Cube, tmp_path: Path
) -> None:
    known = confirmed(cube, 30, NOISY)
    made = adapt(model, write(tmp_path / "c.jsonl", known), tmp_path / "better").model
    assert made is not None and made.serves(model.digest) and not model.serves(made.digest)
    target = open_target(cube.url, model=str(made.path))
    assert target.model is not None and target.model.digest == made.digest
    photo = np.float32(known[0].vector)
    ((_, values),) = scan(target.cube, Query(photo))
    codes = cube.read(slice(0, NY), slice(0, NX)).reshape(-1, len(CLASSES))
    metric = made.features.metric
    assert metric is not None
    apart = (cube.features.decode(codes).astype(np.float64) - photo) @ metric
    naive = np.linalg.norm(apart, axis=1) / np.sqrt(len(CLASSES))
    np.testing.assert_allclose(values.reshape(-1), naive, rtol=1e-4, atol=1e-4)
    ((_, plain),) = scan(cube, Query(photo))  # and by the first as before
    assert not np.allclose(plain, values, rtol=1e-2, equal_nan=True)


def test_where_it_does_not_help_nothing_is_written(
    model: Model, cube: Cube, tmp_path: Path
) -> None:
    file = write(tmp_path / "c.jsonl", confirmed(cube, 30, np.zeros(len(CLASSES))))
    found = adapt(model, file, tmp_path / "worse")
    assert not found.helps and found.model is None and not (tmp_path / "worse").exists()
    forced = adapt(model, file, tmp_path / "worse", force=True)
    assert forced.model is not None and "does NOT help" in forced.model.file("card.md").read_text()


def test_too_few_are_refused_with_the_number_needed(
    model: Model, cube: Cube, tmp_path: Path
) -> None:
    known = confirmed(cube, 9, NOISY)
    with pytest.raises(UsageError, match=r"9 confirmed photos .* at least 10 photos in 5 blocks"):
        adapt(model, write(tmp_path / "c.jsonl", known), tmp_path / "m")
    one_place = [known[0].model_copy(update={"photos": (f"{n:064x}",)}) for n in range(20)]
    with pytest.raises(UsageError, match="20 confirmed photos in 1 blocks"):
        adapt(model, write(tmp_path / "c.jsonl", one_place), tmp_path / "m")
    other = [
        one.model_copy(update={"cube": one.cube.model_copy(update={"model": "f" * 64})})
        for one in confirmed(cube, 12, NOISY)
    ]
    with pytest.raises(UsageError, match=r"12 were left out, such as .* asked with model ffffffff"):
        adapt(model, write(tmp_path / "c.jsonl", other), tmp_path / "m")
    with pytest.raises(UsageError, match="does not exist"):
        adapt(model, tmp_path / "none.jsonl", tmp_path / "m")
    with pytest.raises(UsageError, match="the model itself"):
        adapt(model, tmp_path / "none.jsonl", model.path)


def test_what_is_left_out_is_reported(model: Model, cube: Cube, tmp_path: Path) -> None:
    known = confirmed(cube, 20, NOISY)
    outside = known[0].model_copy(
        update={"photos": ("a" * 64,), "cell": None, "place_vector": None}
    )
    gone = known[1].model_copy(
        update={
            "photos": ("b" * 64,),
            "cube": known[1].cube.model_copy(update={"url": str(tmp_path / "gone.zarr")}),
        }
    )
    file = write(tmp_path / "c.jsonl", [*known, outside, gone])
    pairs, skipped = read_pairs(model, read_confirmed(file))
    assert len(pairs.photos) == 20 and len(skipped) == 2
    assert "not in the cube" in skipped[0] and "gone.zarr" in skipped[1]


def test_shares_are_what_counting_gives(model: Model, cube: Cube) -> None:
    pairs, _ = read_pairs(model, confirmed(cube, 12, NOISY))
    own = model.features.distance()
    rows = np.array([3, 0, 7])
    for got, row in zip(pairs.shares(own, rows), rows, strict=True):
        photo, place = pairs.photos[row], pairs.places[row]
        nearer = sum(
            own.between(photo, cell) <= own.between(photo, place) for cell in pairs.cells[0]
        )
        assert got == pytest.approx((nearer + 1) / (len(pairs.cells[0]) + 1), abs=2e-4)


def test_the_distance_is_the_shrunk_whitening(model: Model, cube: Cube) -> None:
    pairs, _ = read_pairs(model, confirmed(cube, 40, NOISY))
    own, rows = model.features.distance(), np.arange(40)
    apart = own.apply(pairs.photos - pairs.places)
    moment = sum(np.outer(row, row) for row in apart) / 40
    moment /= np.trace(moment) / len(moment)
    wanted = np.linalg.inv(0.3 * moment + 0.7 * np.eye(len(moment)))
    found = fitted(pairs, own, rows, 0.7)
    inner = found.operator / own.operator[:, None]
    ratio = (inner @ inner.T) / wanted
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-8)
    kept = [found.between(a, b) ** 2 for a, b in zip(pairs.photos, pairs.places, strict=True)]
    assert np.sum(kept) == pytest.approx((apart**2).sum())
    same = fitted(pairs, own, rows, 1.0)
    np.testing.assert_allclose(same.operator, np.diag(own.operator), rtol=1e-12)


def test_blocks_are_never_on_both_sides(model: Model, cube: Cube) -> None:
    pairs, _ = read_pairs(model, confirmed(cube, 40, NOISY))
    assert isinstance(pairs, Pairs) and len(set(pairs.blocks.tolist())) > 5
    from geoloc.query.adapting import _folds

    folds = _folds(pairs.blocks, 0)
    assert sorted(np.concatenate(folds).tolist()) == list(range(40))
    for fold in folds:
        others = np.setdiff1d(np.arange(40), fold)
        assert not set(pairs.blocks[fold]) & set(pairs.blocks[others])


def test_the_record_of_a_line_is_strict(model: Model, cube: Cube, tmp_path: Path) -> None:
    (one,) = confirmed(cube, 1, NOISY)
    told = json.loads(one.model_dump_json())
    for change in ({"lat": 91}, {"vector": []}, {"more": 1}, {"cell": None}, {"format": "x"}):
        (tmp_path / "c.jsonl").write_text(json.dumps({**told, **change}) + "\n")
        with pytest.raises(UsageError, match=r"c\.jsonl:1"):
            read_confirmed(tmp_path / "c.jsonl")
    assert model.digest == one.cube.model


def test_a_place_is_one_block_in_whichever_cube_it_was_asked(
    model: Model, cube: Cube, tmp_path: Path
) -> None:
    """Else a photo would be measured by what was learnt from itself."""
    features = np.random.default_rng(2).normal(0, 1, (NY, NX, len(CLASSES))).astype(np.float32)
    again = write_cube(
        tmp_path / "again.zarr", features, classes=CLASSES, model_digest=model.digest
    )
    pairs, skipped = read_pairs(model, [*confirmed(cube, 15, NOISY), *confirmed(again, 15, NOISY)])
    assert skipped == () and len(pairs.cells) == 2
    np.testing.assert_array_equal(pairs.blocks[:15], pairs.blocks[15:])
