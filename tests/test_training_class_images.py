"""Class folders, and what is wrong with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import UsageError
from geoloc.training.class_images import ClassImages, class_pairs, read_class_folders

from .class_folders import write_class_folders


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_class_folders(tmp_path)
    return tmp_path


def both(root: Path) -> tuple[ClassImages, ClassImages]:
    return (
        read_class_folders([root / "ground"], "photos"),
        read_class_folders([root / "over"], "overhead images"),
    )


def test_classes_are_read_in_order_and_every_second_image_is_held_back(root: Path) -> None:
    ground, _ = both(root)
    assert ground.classes == ("downtown", "field-cultivated", "lake-natural")
    assert ground.labels == (0,) * 4 + (1,) * 4 + (2,) * 4
    assert ground.held_back.tolist() == [False, True] * 6


def test_folders_of_one_name_are_one_class(root: Path) -> None:
    more = root / "more"
    shutil.copytree(root / "over" / "Lake", more / "Lake")
    found = read_class_folders([root / "over", more], "overhead images")
    assert np.bincount(found.labels).tolist() == [4, 8, 4]


def test_pairs_say_what_goes_together(root: Path) -> None:
    together = class_pairs(root / "classes.csv", *both(root))
    assert together.tolist() == [
        [False, False, True], [True, False, False], [False, True, False]
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["Sea,lake-natural", "Lake,sea"])
def test_pairs_of_unknown_classes_are_refused(root: Path, line: str) -> None:
    path = root / "classes.csv"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(UsageError, match=r"class '[Ss]ea' has no folder of"):
        class_pairs(path, *both(root))


def test_folders_that_no_model_can_be_made_of_are_refused(root: Path) -> None:
    def refused(folder: Path, words: str) -> None:
        with pytest.raises(UsageError, match=words) as caught:
            read_class_folders([folder], "photos")
        assert "\n" not in str(caught.value)

    refused(root / "nowhere", "is not a folder")
    refused(root / "over" / "Lake", "has no class folders")
    lone = root / "lone"
    shutil.copytree(root / "over" / "Lake", lone / "Lake")
    refused(lone, "one class of photos, 'Lake'")
    for number in (1, 2, 3):
        (root / "ground" / "downtown" / f"{number}.png").unlink()
    refused(root / "ground", "class 'downtown': 1 images, and a class needs 4")


def test_too_few_readable_images_are_refused(root: Path) -> None:
    ground, _ = both(root)
    assert ground.only(ground.files) == ground
    with pytest.raises(UsageError, match="'downtown': 3 readable images"):
        ground.only(ground.files[1:])
