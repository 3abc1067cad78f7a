"""Class folders: the figures by hand, and every odd folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoloc.errors import ModelError, UsageError
from geoloc.evaluation.class_folders import (
    Gallery,
    Photos,
    evaluate_class_folders,
    fives,
    score_class,
)
from geoloc.models import FeatureSpace, Model
from geoloc.models.model import write_model
from geoloc.search.feedback import with_feedback
from tests.encoder_models import imagery, spec, tiny_model, weights

Folders = tuple[Path, Path, Path]


def test_scores_of_a_class_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(4)
    space = FeatureSpace(tuple("abcd"), weights=np.array([1, 2, 0.5, 1], np.float32))
    images, photos = (rng.normal(size=(n, 4)).astype(np.float32) for n in (230, 12))
    classes = np.array(["x", "y", "z", "w", "v"])[rng.integers(0, 5, 230)]
    found = score_class(
        Photos("g", tuple(map(str, range(12))), photos, ("x", "w")), Gallery(images, classes), space
    )
    right = np.isin(classes, ["x", "w"])

    def ranked(scores: np.ndarray) -> np.ndarray:
        return right[np.argsort(scores)]

    def precision(hits: np.ndarray) -> float:
        at = np.flatnonzero(hits)
        return float(np.mean([hits[: n + 1].mean() for n in at]))

    def off(photo: np.ndarray) -> np.ndarray:
        return np.array([space.distance().between(photo, image) for image in images])

    hits = [ranked(off(photo)) for photo in photos]
    assert found.precision == pytest.approx([precision(hit) for hit in hits])
    assert found.top1pct == pytest.approx([100 * hit[:2].mean() for hit in hits])
    for hit, share in zip(hits, found.shares, strict=True):
        assert hit[round(share * 230) - 1]  # the place of a right image
    groups = fives(12)
    assert [len(group) for group in groups] == [5, 5]
    assert len(set(np.concatenate(groups))) == 10
    means = [photos[group].mean(axis=0) for group in groups]
    assert found.fused == pytest.approx([precision(ranked(off(mean))) for mean in means])
    log_p = images - np.log(np.exp(images).sum(axis=1, keepdims=True))
    first = [precision(ranked(-log_p[:, photo.argmax()])) for photo in photos]
    assert found.class_match == pytest.approx(first)
    assert found.base == pytest.approx(100 * right.mean())
    assert [len(group) for group in fives(3)] == [3]


def test_with_feedback_photos_and_means_rank_as_moved_vectors_do() -> None:
    rng = np.random.default_rng(9)
    space = FeatureSpace(tuple("abcd"), weights=np.array([1, 2, 0.5, 1], np.float32))
    images, photos = (rng.normal(1, 1, (n, 4)).astype(np.float32) for n in (230, 12))
    gallery = Gallery(images, np.array(["x", "y", "z"])[rng.integers(0, 3, 230)])
    files, distance = tuple(map(str, range(12))), space.distance()
    found = score_class(Photos("g", files, photos, ("x",)), gallery, space, feedback=True)
    moved = with_feedback(photos, images, distance)
    same = score_class(Photos("g", files, moved, ("x",)), gallery, space)
    assert found.precision.tolist() == same.precision.tolist()
    means = np.stack([photos[rows].mean(axis=0) for rows in fives(12)])
    groups = Photos("g", files[:2], with_feedback(means, images, distance), ("x",))
    assert found.fused.tolist() == score_class(groups, gallery, space).precision.tolist()
    plain = score_class(Photos("g", files, photos, ("x",)), gallery, space)
    assert found.class_match.tolist() == plain.class_match.tolist()
    assert found.precision.tolist() != plain.precision.tolist()


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tiny_model(tmp_path / "models" / "tiny")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Three classes each way; two go together with one another."""
    ground, overhead = tmp_path / "ground", tmp_path / "overhead"
    for root, names in ((ground, ("beach", "park", "road")), (overhead, ("Beach", "Park", "Dam"))):
        for number, name in enumerate(names):
            (root / name).mkdir(parents=True)
            for image in range(3 + number):
                pixels = np.moveaxis(imagery(40, 50 + image, 10 * number + image), 0, -1)
                Image.fromarray(pixels).save(root / name / f"{image}.png")
    pairs = tmp_path / "classes.csv"
    pairs.write_text(
        "overhead_class,ground_classes,strength\nBeach,beach|park,ok\nPark,park,weak\n"
    )
    return pairs, ground, overhead


def test_all_overhead_images_are_ranked_for_each_photo_of_a_named_class(
    folders: Folders, model: Model
) -> None:
    found = evaluate_class_folders(*folders, model)
    told = found.to_json()
    assert [(one.name, len(one.files)) for one in found.scores] == [("beach", 3), ("park", 4)]
    assert (told["n_ground"], told["n_overhead"], told["skipped"]) == (7, 12, [])
    assert [one.base for one in found.scores] == pytest.approx([25, 100 * 7 / 12])
    assert told["map"] == pytest.approx(
        np.mean([s.precision.mean() for s in found.scores]), abs=1e-4
    )
    assert told["map_ci"][0] <= told["map"] <= told["map_ci"][1]
    assert 0 < told["chance"] < 1 and told["map_5_photos_ci"]
    assert 0 < told["search"]["80"]["share"] <= 1 and told["search"]["80"]["coverage"] is not None
    assert len(found.items()) == 7 and found.items()[0]["photo"] == "beach/0.png"
    again = evaluate_class_folders(*folders, model)
    assert again.to_json() == told


def test_what_cannot_be_used_is_left_out_and_told(folders: Folders, model: Model) -> None:
    pairs, ground, overhead = folders
    pairs.write_text(pairs.read_text() + "Moon,crater,ok\nDam,void|road,ok\n")
    (ground / "beach" / "0.png").write_bytes(b"broken")
    (overhead / "Dam" / "notes.txt").write_text("no image")
    (overhead / "Dam" / ".hidden.png").write_bytes(b"x")
    (ground / "void").mkdir()
    for file in list((ground / "park").iterdir())[1:]:
        file.unlink()  # one photo is left
    found = evaluate_class_folders(*folders, model)
    assert {one.name: len(one.files) for one in found.scores} == {"beach": 2, "park": 1, "road": 5}
    told = "\n".join(found.skipped)
    assert len(found.skipped) == 4
    for words in (
        "'Moon' has no folder",
        "'crater' has no folder",
        "'void' has no photos",
        "0.png",
    ):
        assert words in told
    assert found.to_json()["map_5_photos"] is not None


def emptied(folders: Folders) -> None:
    for root in folders[1:]:
        for file in root.glob("*/*"):
            file.unlink()


def no_classes(folders: Folders) -> None:
    for file in list(folders[1].glob("*/*")):
        file.rename(folders[1] / f"{file.parent.name}-{file.name}")
    for folder in folders[1].iterdir():
        if folder.is_dir():
            folder.rmdir()


ODD: list[tuple[Callable[[Folders], object], str]] = [
    (lambda f: f[0].write_text("a,b\n1,2\n"), "needs the columns"),
    (lambda f: f[0].write_text("overhead_class,ground_classes\n"), "names no classes"),
    (lambda f: f[0].write_text("overhead_class,ground_classes\nMoon,crater\n"), "no folder"),
    (lambda f: f[0].write_bytes(b"\xff\xfe\x00"), "cannot read"),
    (lambda f: f[0].unlink(), "cannot read"),
    (emptied, "no photo and overhead image"),
    (no_classes, "no class folders"),
    (lambda f: f[1].rename(f[1].with_name("away")), "not a folder"),
    (lambda f: [i.write_bytes(b"broken") for i in f[2].glob("*/*")], "no photo and overhead"),
]


@pytest.mark.parametrize(("spoil", "words"), ODD)
def test_nothing_to_measure_is_one_line(
    spoil: Callable[[Folders], object], words: str, folders: Folders, model: Model
) -> None:
    spoil(folders)
    with pytest.raises(UsageError, match=words) as caught:
        evaluate_class_folders(*folders, model)
    assert "\n" not in str(caught.value)


def test_a_model_without_an_overhead_network_is_refused_at_once(
    folders: Folders, tmp_path: Path
) -> None:
    files = {"ground.safetensors": weights("shufflenet_v2_x0_5", 1)}
    blind = write_model(tmp_path / "blind", {**spec(), "overhead": None}, files)
    with pytest.raises(ModelError, match="no overhead network"):
        evaluate_class_folders(*folders, blind)
