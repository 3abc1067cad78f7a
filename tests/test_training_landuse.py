"""A model of land use, made of class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoloc.encoders import open_ground, open_patches
from geoloc.encoders.formats.landuse import PLACE_FEATURES, PLACE_VIEWS
from geoloc.errors import ModelError, UsageError
from geoloc.models import load_model
from geoloc.training import landuse
from geoloc.training.landuse import LanduseSpec, Made, make_landuse, read_material, scene_name
from geoloc.training.shared_space import SpaceSpec

from .class_folders import write_class_folders


def spec(root: Path, **changes: object) -> LanduseSpec:
    return LanduseSpec.model_validate(
        {
            "overhead": (root / "over",),
            "ground": root / "ground",
            "pairs": root / "classes.csv",
            "out": root / "model",
            "training": SpaceSpec(epochs=12, batch=16),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    write_class_folders(folder)
    (folder / "over" / "Lake" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def made(root: Path) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        return make_landuse(spec(root))


def test_a_model_is_made_measured_and_loads(root: Path, made: Made) -> None:
    model = load_model(root / "model")
    assert model.digest == made.model.digest
    assert model.classes[:3] == ("downtown", "field-cultivated", "lake-natural")
    assert model.classes[3:] == ("field", "lake", "old_town")
    assert set(model.spec.trunks or {}) == {"efficientnet_lite0", "efficientnet_lite2"}
    assert made.figures.figures["map"].value > 0.9  # chance: about 0.5
    assert len(made.skipped) == 1 and "broken.png" in made.skipped[0]


def test_its_encoders_agree_on_what_they_see(root: Path, made: Made) -> None:
    def image(side: str, name: str) -> np.ndarray:
        return np.asarray(Image.open(root / side / name / "1.png"))

    photos = [image("ground", name) for name in ("field-cultivated", "downtown", "lake-natural")]
    places = [image("over", name) for name in ("Field", "OldTown", "Lake")]
    below = open_ground(made.model).encode(photos)
    patches = np.stack([np.asarray(Image.fromarray(p).resize((192, 192))) for p in places])
    above = open_patches(made.model, 25).encode_scenes(patches.transpose(0, 3, 1, 2).copy())
    assert np.allclose(np.linalg.norm(below, axis=1), 1, atol=1e-3)
    assert np.allclose(np.linalg.norm(above, axis=1), 1, atol=1e-2)
    assert (below @ above.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_images_go_through_the_trunks_once(
    root: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_images: object) -> None:
        raise AssertionError("seen before")

    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    monkeypatch.setattr(landuse, "photo_features", never)
    monkeypatch.setattr(landuse, "place_features", never)
    again = make_landuse(spec(root, out=root / "again"))
    assert again.model.digest == made.model.digest


@pytest.mark.usefixtures("made")
def test_networks_are_shown_the_middle_of_places(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    places = read_material(spec(root), lambda _title: lambda _done, _total: None)[0].places
    image = np.asarray(Image.open(root / "over" / "Field" / "1.png"))
    seen = landuse.place_features([image])[0].reshape(PLACE_VIEWS + 1, PLACE_FEATURES)
    assert places.closer is not None
    assert np.allclose(places.features[1], seen[:PLACE_VIEWS], atol=1e-4)
    assert np.allclose(places.closer[1], seen[PLACE_VIEWS], atol=1e-4)


def test_what_is_wrong_leaves_nothing_behind(root: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("overhead_class,ground_classes\nLake,sea\n")
    with pytest.raises(UsageError, match="'sea'"):
        make_landuse(spec(root, pairs=tmp_path / "pairs.csv", out=tmp_path / "model"))
    assert not (tmp_path / "model").exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(ModelError, match="is not a model"):
        make_landuse(spec(root, out=tmp_path / "other"))


def test_names_of_folders_become_names_of_scenes() -> None:
    assert scene_name("DenseResidential") == "dense_residential"
    assert scene_name("soccer_field") == "soccer_field"
    assert scene_name("Beach") == "beach"
