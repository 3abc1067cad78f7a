"""Folders of images by class, and which classes from above go with which on the ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..pairs import class_images, read_class_mapping
from .discriminant import alternate

LEAST = 4
"""Images that a class must have: every second one is kept back to measure by."""


@dataclass(frozen=True)
class ClassImages:
    """Image files by class: ``files`` and the index ``labels`` of each among ``classes``."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]

    @classmethod
    def of(cls, folders: Mapping[str, Sequence[Path]]) -> ClassImages:
        """From files by the name of their class."""
        files = tuple(file for images in folders.values() for file in images)
        labels = tuple(n for n, images in enumerate(folders.values()) for _ in images)
        return cls(tuple(folders), files, labels)

    def only(self, kept: Sequence[Path]) -> ClassImages:
        """Those that could be read. Raises UsageError where too few of a class are left."""
        known = set(kept)
        folders: dict[str, list[Path]] = {name: [] for name in self.classes}
        for file, label in zip(self.files, self.labels, strict=True):
            if file in known:
                folders[self.classes[label]].append(file)
        for name, images in folders.items():
            _require_enough(name, images, "readable ")
        return ClassImages.of(folders)

    @property
    def held_back(self) -> NDArray[np.bool_]:
        """``(image,)``: every second image of each class, by which a model is measured."""
        return ~alternate(np.array(self.labels))


def read_class_folders(roots: Sequence[Path], what: str) -> ClassImages:
    """The images of each class folder of some folders; folders of one name are one class.

    ``what``: "overhead images", for the messages. Raises UsageError, one line, for a folder without
    classes, and for a class with fewer than `LEAST` images.
    """
    folders: dict[str, list[Path]] = {}
    for root in roots:
        for folder in class_folders(root, what):
            folders.setdefault(folder.name, []).extend(class_images(folder))
    for name, images in folders.items():
        _require_enough(name, images)
    if len(folders) < 2:
        raise UsageError(
            f"{roots[0]} has one class of {what}, {next(iter(folders))!r}: a model needs two"
        )
    return ClassImages.of(dict(sorted(folders.items())))


def class_pairs(path: Path, ground: ClassImages, overhead: ClassImages) -> NDArray[np.bool_]:
    """Which classes go together, ``(ground class, overhead class)``, by a class mapping.

    See `read_class_mapping`. A class that it does not name is learnt by its own name alone. Raises
    UsageError for a class that has no folder.
    """
    together = np.zeros((len(ground.classes), len(overhead.classes)), bool)
    for above, below in read_class_mapping(path).items():
        column = _index(path, above, overhead.classes, "overhead images")
        for name in below:
            together[_index(path, name, ground.classes, "photos"), column] = True
    return together


def class_folders(root: Path, what: str) -> list[Path]:
    """The folders of a folder, by name. Raises UsageError, one line, where there are none."""
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder: name one with a subfolder of {what} per class")
    try:
        found = [f for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"{root} cannot be read: {error.strerror}") from None
    if not found:
        raise UsageError(f"{root} has no class folders: make a subfolder of {what} per class")
    return found


def _require_enough(name: str, images: Sequence[Path], kind: str = "") -> None:
    if len(images) < LEAST:
        raise UsageError(
            f"class {name!r}: {len(images)} {kind}images, and a class needs {LEAST}, as every "
            "second one is kept back to measure by: add some, or take the folder away"
        )


def _index(path: Path, name: str, classes: Sequence[str], what: str) -> int:
    if name not in classes:
        raise UsageError(f"{path}: class {name!r} has no folder of {what}: correct the name")
    return classes.index(name)
