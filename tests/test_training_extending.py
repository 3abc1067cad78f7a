"""Further names for the vectors of a model: found in its cubes, and nothing else changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load, save

from geoloc.cube import Cube
from geoloc.encoders.figures import PairFigures, read_figures, write_figures
from geoloc.errors import ModelError, SpecMismatchError, UnknownClassError, UsageError
from geoloc.evaluation.vectors import overhead_vectors
from geoloc.models import Model, load_model
from geoloc.models.calibration import Calibration, Level, read_calibration, write_calibration
from geoloc.models.features import FeatureSpace
from geoloc.models.model import write_model
from geoloc.query import search_scene
from geoloc.query.repeat import repeat_query
from geoloc.training.extending import Examples, extend, fitted_rows, measured, precision_figure
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, spec, tiny_model, weights

COLOURS = {"blue roof": (40, 60, 200), "BareSoil": (170, 120, 60), "other": (60, 140, 60)}


def folders(root: Path, count: int = 24, names: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """Noisy images of one colour a class."""
    rng = np.random.default_rng(2)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(rng.normal(COLOURS[name], 12, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders(tmp_path_factory.mktemp("labels"))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_model(tmp_path / "models" / "tiny", spec(), networks())


def networks() -> dict[str, Path | bytes]:
    """Random ones whose logits are as large as those of trained ones."""
    found: dict[str, Path | bytes] = {}
    for seed, part in enumerate(("ground", "overhead"), start=1):
        state = load(weights("shufflenet_v2_x0_5", seed))
        scaled = {key: value / 300 if key.startswith("fc.") else value
                  for key, value in state.items()}  # fmt: skip
        found[f"{part}.safetensors"] = save(scaled)
    return found


def with_readout(folder: Path) -> Model:
    """A model of embeddings, which three names are read from."""
    readout = np.random.default_rng(4).normal(0, 1, (3, len(CLASSES))).astype(np.float32)
    files = {**networks(), "readout.safetensors": save({"readout": readout})}
    raw = {**spec(), "classes": ("field", "forest", "harbor"), "readout": "readout.safetensors"}
    return write_model(folder, raw, files)


@pytest.mark.parametrize("kind", ["class by class", "readout"])
@pytest.mark.parametrize("side", ["overhead", "ground"])
def test_new_names_are_learnt_and_vectors_stay(
    model: Model,
    images: Path,
    tmp_path: Path,
    kind: str,
    side: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = model if kind == "class by class" else with_readout(tmp_path / "models" / "embedding")
    made = extend(base, images, tmp_path / "more", side=side)
    assert [one.name for one in made.learnt] == ["bare_soil", "blue_roof"]
    for one in made.learnt:
        found = one.precision
        assert found.low <= found.value <= found.high and found.value > 0.9
        assert one.examples == 24 and found.chance == pytest.approx(1 / 3, abs=0.1)
        assert str(one) in made.model.file("card.md").read_text()
    assert made.model.classes == (*base.classes, "bare_soil", "blue_roof")
    assert made.model.dim == base.dim and made.model.serves(base.digest)
    vectors = np.random.default_rng(0).normal(0, 2, (7, base.dim)).astype(np.float32)
    old, new = base.features, made.model.features
    np.testing.assert_allclose(
        new.logits(vectors)[:, : len(base.classes)], old.logits(vectors), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(new.distance().operator, old.distance().operator)
    some = sorted((images / "other").iterdir())[:2]
    # those kept are of larger batches, whose last bits depend on how many threads share them
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    np.testing.assert_array_equal(
        overhead_vectors(made.model, some).vectors, overhead_vectors(base, some).vectors
    )


@pytest.fixture
def cube(model: Model, images: Path, tmp_path: Path) -> Cube:
    """Of the first model: soil everywhere, and roofs in a corner."""
    of = {name: overhead_vectors(model, sorted((images / name).iterdir())) for name in COLOURS}
    rng = np.random.default_rng(0)
    features = of["other"].vectors[rng.integers(24, size=(20, 30))]
    features[3:5, 20:23] = of["blue roof"].vectors[rng.integers(24, size=(2, 3))]
    return write_cube(tmp_path / "cube.zarr", features, classes=CLASSES, model_digest=model.digest)


def test_a_cube_of_the_first_model_is_searched_by_a_new_name(
    model: Model, images: Path, cube: Cube, tmp_path: Path
) -> None:
    more = extend(model, images, tmp_path / "more").model
    with pytest.raises(UnknownClassError):
        search_scene(cube.url, "blue roof", tmp_path / "out")
    found = search_scene(cube.url, "blue roof", tmp_path / "out", model=more.path, top=1)
    best = found.candidates[0]
    assert 3 <= best.row < 5 and 20 <= best.col < 23
    old = search_scene(cube.url, "beach", tmp_path / "out", model=str(more.path))
    assert old.classes == more.classes  # names that it had are searched for as well
    assert found.folder is not None
    again = repeat_query(found.folder / "query.json")
    assert again.same, again.differences


def test_an_extension_of_an_extension_reads_the_first_cube(
    model: Model, cube: Cube, tmp_path: Path
) -> None:
    labels = folders(tmp_path / "labels", names=("BareSoil", "other"))
    first = extend(model, labels, tmp_path / "first").model
    (labels / "BareSoil").rename(labels / "old soil")
    second = extend(first, labels, tmp_path / "second").model
    assert second.classes[-2:] == ("bare_soil", "old_soil")
    assert second.serves(model.digest) and second.serves(first.digest)
    assert not first.serves(second.digest) and len(second.spec.training["extended"]) == 2
    search_scene(cube.url, "old soil", tmp_path / "out", model=second.path)
    other = tiny_model(tmp_path / "models" / "other", preferred_gsd=1.1)
    with pytest.raises(SpecMismatchError):
        search_scene(cube.url, "beach", tmp_path / "out", model=other.path)


def test_bases_are_checked_not_believed(model: Model, images: Path, tmp_path: Path) -> None:
    made = extend(model, images, tmp_path / "more").model
    text = made.file("bases.json").read_text()
    made.file("bases.json").write_text(text.replace('"preferred_gsd": 1.0', '"preferred_gsd": 1.5'))
    assert not Model(made.path, made.spec).serves(model.digest)
    made.file("bases.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"bases\.json"):
        Model(made.path, made.spec).serves(model.digest)
    with pytest.raises(ModelError, match="altered or damaged"):
        load_model(made.path)


def test_figures_of_the_distance_hold_for_the_new_model(
    model: Model, images: Path, tmp_path: Path
) -> None:
    level = {80: Level(share=0.25)}
    write_calibration(
        model, Calibration(model=model.digest, photos=9, places=9, source="x", levels=level)
    )
    write_figures(model.path, PairFigures(3, "x", (0.5, 1.0)))
    made = extend(model, images, tmp_path / "more").model
    calibration = read_calibration(made)
    assert calibration is not None and calibration.share() == 0.25
    assert read_figures(made) == read_figures(model)


def spoilt(kind: str, root: Path) -> None:
    if kind == "few":
        for file in sorted((root / "blue roof").iterdir())[19:]:
            file.unlink()
    elif kind == "unreadable":
        for file in sorted((root / "blue roof").iterdir())[19:]:
            file.write_bytes(b"no image")
    elif kind == "known":
        (root / "blue roof").rename(root / "Bridge")
    elif kind == "alone":
        for name in ("other", "BareSoil"):
            (root / name).rename(root.parent / name)
    elif kind == "others alone":
        for name in ("blue roof", "BareSoil"):
            (root / name).rename(root.parent / name)
    elif kind == "same":
        (root / "other").rename(root / "blue_roof")
    else:
        for name in COLOURS:
            (root / name).rename(root.parent / name)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("few", r"'blue_roof': 19 images are too few to learn from: at least 20"),
        ("unreadable", r"'blue_roof': 19 readable images are too few"),
        ("known", "'bridge' is a name of model tiny already"),
        ("alone", "shows 'blue_roof' alone: add a folder 'other' with at least 20"),
        ("others alone", "no folder of a new name"),
        ("same", "two folders are both 'blue_roof'"),
        ("empty", "no class folders"),
    ],
)
def test_what_cannot_be_learnt_from_is_one_line(
    model: Model, tmp_path: Path, kind: str, word: str
) -> None:
    root = folders(tmp_path / "labels")
    spoilt(kind, root)
    with pytest.raises(UsageError, match=word) as told:
        extend(model, root, tmp_path / "more")
    assert "\n" not in str(told.value) and not (tmp_path / "more").exists()


def test_copies_count_once_and_never_under_two_names(
    model: Model, images: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(images, tmp_path / "copied")
    for number in range(24):  # each of the first half twice
        (copied / "other" / f"{number:02}.png").write_bytes(
            (images / "other" / f"{number // 2:02}.png").read_bytes()
        )
    with pytest.raises(UsageError, match="'other': 12 different images are too few"):
        extend(model, copied, tmp_path / "out")
    twice = shutil.copytree(images, tmp_path / "twice")
    shutil.copy(images / "other" / "03.png", twice / "blue roof" / "99.png")
    with pytest.raises(UsageError, match="same image under two names") as told:
        extend(model, twice, tmp_path / "out")
    assert "99.png" in str(told.value) and "03.png" in str(told.value)
    assert not (tmp_path / "out").exists()


def test_the_model_itself_is_never_replaced(model: Model, images: Path, tmp_path: Path) -> None:
    for out, kind in ((model.path, UsageError), (tmp_path / "a b", UsageError)):
        with pytest.raises(kind):
            extend(model, images, out)
    (tmp_path / "diary").mkdir()
    with pytest.raises(ModelError, match="is not a model"):
        extend(model, images, tmp_path / "diary")
    ground = write_model(
        tmp_path / "ground", {**spec(), "overhead": None},
        {"ground.safetensors": networks()["ground.safetensors"]},
    )  # fmt: skip
    with pytest.raises(ModelError, match="no overhead network"):
        extend(ground, images, tmp_path / "more")
    assert extend(ground, images, tmp_path / "more", side="ground").model.spec.overhead is None


def examples(noise: float, count: int = 60, dim: int = 6) -> Examples:
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1, -1], count)
    centres = rng.normal(0, 2, (3, dim))
    vectors = centres[[0, 1, 2]].repeat(count, 0) + rng.normal(0, noise, (3 * count, dim))
    return Examples(("a", "b"), vectors.astype(np.float32), labels)


def test_rows_minimise_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slope is right: no small step in any direction is better."""
    from geoloc.training import extending

    monkeypatch.setattr(extending, "RIDGES", (1e-2,))
    space, given = FeatureSpace(tuple("pqrstu")), examples(2.0)
    rows = fitted_rows(space, given)
    x = given.vectors.astype(np.float64)
    spread = np.cov(x.T, bias=True)
    spread = 0.9 * spread + 0.1 * np.trace(spread) / 6 * np.eye(6)

    def loss(w: Any) -> float:
        logits = np.concatenate([x, x @ w.T], axis=1)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        own = [p[i, 6 + k] if k >= 0 else p[i, :6].sum() for i, k in enumerate(given.labels)]
        return float(-np.log(own).sum() + 1e-2 * len(x) * np.trace(w @ spread @ w.T))

    best, rng = loss(rows), np.random.default_rng(1)
    for _ in range(20):
        step = rng.normal(0, 1, rows.shape)
        assert loss(rows + 1e-2 * step / np.linalg.norm(step)) > best


def test_noise_is_not_learnt() -> None:
    given = examples(1.0)
    shuffled = np.random.default_rng(3).permutation(given.labels)
    learnt = measured(FeatureSpace(tuple("pqrstu")), Examples(given.names, given.vectors, shuffled))
    for one in learnt:
        assert one.precision.low < 0.5 and one.precision.value < 0.6  # chance is a third
    assert all(one.precision.value > 0.9 for one in measured(FeatureSpace(tuple("pqrstu")), given))


def test_precision_is_that_of_ranking_and_ties_count_against() -> None:
    right = np.array([True, False, True, False])
    assert precision_figure(np.array([1.0, 2, 3, 4]), right).value == pytest.approx(5 / 6)
    assert precision_figure(np.zeros(4), right).value == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_progress_is_told(model: Model, images: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    advance: Callable[[int, int], None] = lambda *now: told.append(now)  # noqa: E731
    extend(model, images, tmp_path / "more", progress=advance)
    assert told[-1] == (72, 72)
