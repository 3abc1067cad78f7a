"""Vectors of many image files, kept from run to run: by what a file holds, not by its name.

Each network of a model has a small database of its own in the user's cache folder
(``$XDG_CACHE_HOME/geoloc/vectors``). A run that is killed goes on where it was.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from ..arrays import F32, U8
from ..errors import OutputError, PhotoError, UsageError, one_line
from ..models.model import Model
from ..pairs.stored import Stored
from ..progress import Progress

if TYPE_CHECKING:
    from ..encoders.overhead import PatchEncoder

Pixels = U8
Encoder = Callable[[Sequence[Pixels]], F32]

_NO_NUMBER = "its vector is not a number"
_BATCH = 32  # images decoded at a time
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (sha256 TEXT PRIMARY KEY, vector BLOB NOT NULL)"


class Readable(Protocol):
    """An image somewhere: a file, or a part of one."""

    def sha256(self) -> str:
        """Of its bytes."""

    def pixels(self) -> Pixels:
        """Upright RGB ``(h, w, 3)``. Raises PhotoError or UsageError."""


Image = TypeVar("Image", Path, Stored)
"""A file, or a part of one."""


@dataclass(frozen=True, eq=False)
class ImageVectors(Generic[Image]):
    """Vectors ``(image, feature)`` of the images that could be read, in order; the others, each
    with its reason."""

    files: tuple[Image, ...]
    vectors: F32
    failures: dict[Image, str] = field(default_factory=dict)


def cache_folder() -> Path:
    """Where vectors are kept: ``$XDG_CACHE_HOME/geoloc/vectors``, else below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "geoloc" / "vectors"


def ground_vectors(
    model: Model, files: Sequence[Image], progress: Progress | None = None
) -> ImageVectors[Image]:
    """Vectors of ground photos. Raises ModelError."""

    def opened() -> Encoder:
        from ..encoders import open_ground

        return open_ground(model).encode

    return kept_vectors(files, f"{model.digest[:24]}-ground", model.dim, opened, progress)


def overhead_vectors(
    model: Model, files: Sequence[Image], progress: Progress | None = None
) -> ImageVectors[Image]:
    """Vectors of overhead images: each, whatever its size, is one scene, or shows as much ground
    as those that the model was trained on (`OverheadSpec.chip_px`).

    Raises ModelError for a model without an overhead network.
    """
    spec = model.spec.overhead
    side, chip = (spec.image_px, spec.chip_px or spec.image_px) if spec else (0, 0)

    def opened() -> Encoder:
        encoder = _patches(model)
        return lambda images: encoder.encode_scenes(
            np.stack([_patch(i, side, chip) for i in images])
        )

    return kept_vectors(files, f"{model.digest[:24]}-overhead", model.dim, opened, progress)


def _patches(model: Model) -> PatchEncoder:
    from ..encoders import open_patches

    spec = model.spec.overhead
    step = spec.preferred_gsd * spec.patch_px if spec else 1.0  # where no cells are, it is nothing
    return open_patches(model, step)


def _patch(pixels: Pixels, side: int, chip: int) -> Pixels:
    """The middle ``(3, side, side)`` of an image stretched to a square of ``chip`` px."""
    from ..encoders.preprocess import as_square

    margin = (chip - side) // 2
    middle = slice(margin, margin + side)
    return np.asarray(as_square(pixels, chip).numpy()[:, middle, middle], np.uint8)


def kept_vectors(
    files: Sequence[Image],
    name: str,
    dim: int,
    opened: Callable[[], Encoder],
    progress: Progress | None = None,
) -> ImageVectors[Image]:
    """The vectors of images, those computed that ``name``'s database does not have yet.

    ``opened``: called for the encoder where any is missing.
    """
    vectors, failures = image_vectors(
        [_stored_image(file) for file in files], name, dim, opened, progress
    )
    known = np.asarray(np.isfinite(vectors).all(axis=1))
    read = tuple(file for file, good in zip(files, known, strict=True) if good)
    reasons = {files[row]: reason for row, reason in failures.items()}
    for file in set(files) - set(read) - set(reasons):
        reasons[file] = f"{file}: {_NO_NUMBER}"
    return ImageVectors(read, vectors[known], reasons)


def _stored_image(image: Path | Stored) -> Stored:
    return image if isinstance(image, Stored) else Stored(image)


def image_vectors(
    images: Sequence[Readable],
    name: str,
    dim: int,
    opened: Callable[[], Encoder],
    progress: Progress | None = None,
) -> tuple[F32, dict[int, str]]:
    """See `kept_vectors`: ``(image, dim)``, NaN where there is none; the reasons by row."""
    lazy = _Once(opened)
    vectors, failures = np.full((len(images), dim), np.nan, np.float32), dict[int, str]()
    with _database(name) as store, ThreadPoolExecutor(_threads()) as pool:
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            part = _Batch(batch, vectors[start : start + len(batch)], failures, start)
            part.fill(store, pool, lazy)
            if progress:
                progress(start + len(batch), len(images))
    return vectors, failures


@dataclass
class _Once:
    """An encoder that is opened when it is first needed."""

    opened: Callable[[], Encoder]
    encoder: Encoder | None = None

    def __call__(self, images: Sequence[Pixels]) -> F32:
        if self.encoder is None:
            self.encoder = self.opened()
        return self.encoder(images)


@dataclass(frozen=True)
class _Batch:
    """Some images, where their vectors go, and why there are none; ``start``: the first's row."""

    images: Sequence[Readable]
    vectors: F32
    failures: dict[int, str]
    start: int

    def fill(self, store: sqlite3.Connection, pool: ThreadPoolExecutor, encode: Encoder) -> None:
        """Those that the store has, and the others, which it has then."""
        digests = list(pool.map(_digest, self.images))
        missing = []
        for row, digest in enumerate(digests):
            vector = _stored(store, digest, self.vectors.shape[1])
            if vector is None:
                missing.append(row)
            else:
                self.vectors[row] = vector
        rows, images = list[int](), list[Pixels]()
        for row, image in zip(missing, pool.map(_pixels, [self.images[r] for r in missing]),
                              strict=True):  # fmt: skip
            if isinstance(image, str):
                self.failures[self.start + row] = image
            else:
                rows.append(row)
                images.append(image)
        if rows:
            self.vectors[rows] = encode(images)
            _keep(store, [digests[row] for row in rows], self.vectors[rows])


def _threads() -> int:
    return min(8, len(os.sched_getaffinity(0)))


def _digest(image: Readable) -> str:
    try:
        return image.sha256()
    except (OSError, PhotoError):
        return ""  # `pixels` says why


def _pixels(image: Readable) -> Pixels | str:
    """The pixels, or why there are none."""
    try:
        return image.pixels()
    except (PhotoError, UsageError) as error:
        return one_line(error)


@contextmanager
def _database(name: str) -> Iterator[sqlite3.Connection]:
    """The database of one network; a damaged one is made anew. Raises OutputError."""
    folder = cache_folder()
    path = folder / f"{name}.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        store = _opened(path)
    except (OSError, sqlite3.Error) as error:
        raise OutputError(
            f"{folder}: vectors cannot be kept there ({one_line(error)}): "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from None
    with closing(store):
        yield store


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connected(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        path.unlink(missing_ok=True)
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    store = sqlite3.connect(path, timeout=60)
    try:
        store.execute(_TABLE)
        store.execute("SELECT sha256, length(vector) FROM vectors LIMIT 1").fetchall()
    except sqlite3.Error:
        store.close()
        raise
    return store


def _stored(store: sqlite3.Connection, digest: str, dim: int) -> F32 | None:
    row = store.execute("SELECT vector FROM vectors WHERE sha256 = ?", (digest,)).fetchone()
    if row is None:
        return None
    vector = np.frombuffer(row[0], "<f4")
    return vector if len(vector) == dim else None


def _keep(store: sqlite3.Connection, digests: Sequence[str], vectors: F32) -> None:
    rows = [(digest, vector.astype("<f4").tobytes())
            for digest, vector in zip(digests, vectors, strict=True)]  # fmt: skip
    try:
        with store:
            store.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
    except sqlite3.Error as error:
        raise OutputError(
            f"{cache_folder()}: vectors cannot be kept there ({one_line(error)}): free some space"
        ) from None
