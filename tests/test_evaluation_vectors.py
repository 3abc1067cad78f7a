"""Vectors of files: computed once, kept by content, resumed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geoloc.errors import ModelError, OutputError
from geoloc.evaluation.vectors import ImageVectors, cache_folder, kept_vectors, overhead_vectors
from geoloc.pairs.stored import Stored
from geoloc.training.data import decode_chip
from geoloc.training.student import plain
from tests.encoder_models import tiny_model
from tests.pair_files import picture

DIM = 3


class Encoder:
    """The mean colour; remembers how many images it saw, and gives up after ``most``."""

    def __init__(self, most: int = 1000) -> None:
        self.seen, self.most, self.opened = 0, most, 0

    def open(self) -> Encoder:
        self.opened += 1
        return self

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        if self.seen >= self.most:
            raise KeyboardInterrupt
        self.seen += len(images)
        return np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{n:03}.png" for n in range(70)]
    for number, path in enumerate(paths):
        Image.new("RGB", (5 + number % 3, 4), (number, 2 * number, 7)).save(path)
    return paths


def read(files: Sequence[Path], encoder: Encoder) -> ImageVectors[Path]:
    return kept_vectors(files, "some-model", DIM, encoder.open)


def test_vectors_are_computed_once_and_follow_the_content(files: list[Path]) -> None:
    first = Encoder()
    found = read(files, first)
    assert first.seen == 70 and found.files == tuple(files) and not found.failures
    assert found.vectors.tolist() == [[n, 2 * n, 7] for n in range(70)]
    files[3].rename(files[3].with_name("renamed.png"))
    files[3] = files[3].with_name("renamed.png")
    Image.new("RGB", (4, 4), (200, 1, 2)).save(files[5])
    again = Encoder()
    assert read(files, again).vectors[[3, 5]].tolist() == [[3, 6, 7], [200, 1, 2]]
    assert again.seen == 1
    unused = Encoder()
    read(files, unused)
    assert unused.opened == 0


def test_an_interrupted_run_goes_on(files: list[Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(files, Encoder(most=60))
    rest = Encoder()
    assert len(read(files, rest).vectors) == 70
    assert rest.seen == 70 - 64  # two batches of 32 were kept


def test_images_that_cannot_be_read_are_told_and_the_others_kept(files: list[Path]) -> None:
    files[1].write_bytes(b"no image")
    files[2].write_bytes(b"")
    files[40].write_bytes(files[40].read_bytes()[:50])
    found = read(files, Encoder())
    assert set(found.failures) == {files[1], files[2], files[40]}
    assert all("\n" not in why and str(path) in why for path, why in found.failures.items())
    assert len(found.files) == len(found.vectors) == 67


def test_a_damaged_store_is_made_anew_and_one_that_cannot_be_is_said(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cache_folder() / "some-model.sqlite"
    store.parent.mkdir(parents=True)
    store.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    assert len(read(files, Encoder()).vectors) == 70
    with sqlite3.connect(store) as opened:
        assert opened.execute("SELECT count(*) FROM vectors").fetchone() == (70,)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="XDG_CACHE_HOME"):
        read(files, Encoder())


@pytest.mark.parametrize("chip_px", [None, 128])
def test_of_a_chip_is_seen_what_training_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chip_px: int | None
) -> None:
    """All of it stretched to the network's 64 px, or the middle 64 px of it stretched to more."""
    model = tiny_model(tmp_path / "tiny", chip_px=chip_px)
    picture(1, 90, 110).save(tmp_path / "chip.png")
    shown: list[np.ndarray] = []

    class Patches:
        def encode_scenes(self, images: np.ndarray) -> np.ndarray:
            shown.append(images)
            return np.zeros((len(images), model.dim), np.float32)

    monkeypatch.setattr("geoloc.evaluation.vectors._patches", lambda _model: Patches())
    overhead_vectors(model, [tmp_path / "chip.png"])
    chip = decode_chip(Stored(tmp_path / "chip.png"), chip_px or 64)
    trained = 255 * plain(torch.from_numpy(chip[None]), 64).numpy()
    assert shown[0].shape == trained.shape
    assert np.abs(shown[0] - trained).max() <= 2  # of 255: two libraries stretch it


def test_a_chip_smaller_than_what_is_seen_of_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="chip_px 32 is below the 64 px"):
        tiny_model(tmp_path / "tiny", chip_px=32)
