"""Evaluating a cube: as its own answers rank, stored as calibration, stated by answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from geoloc.cube import Cube
from geoloc.domain import Points
from geoloc.errors import ModelError, UsageError
from geoloc.evaluation.normalisation import KINDS
from geoloc.evaluation.ranks import Placement, Ranks
from geoloc.evaluation.truth import Truth, place_groups, read_strata, read_truth
from geoloc.models import load_model
from geoloc.models.calibration import (
    CALIBRATION_FILE,
    Level,
    read_calibration,
    write_calibration,
)
from geoloc.models.store import known_models
from geoloc.query import query_photos
from geoloc.query.evaluating import (
    _Ranker,
    evaluate_truth,
    score,
    store_calibration,
)
from geoloc.query.scores import choose
from tests.bulk_place import Place
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, imagery
from tests.point_place import write_point_cube

COUNT = 6


@pytest.fixture
def photos(place: Place, tmp_path: Path) -> Path:
    """Photos with their truth; the last one lies elsewhere, the first two at one place."""
    from PIL import Image

    to_degrees = Transformer.from_crs(Cube.open(place.cube).grid.crs, 4326, always_xy=True)
    rows = ["file,lon,lat,stratum"]
    for number in range(COUNT):
        pixels = np.moveaxis(imagery(60, 80, number), 0, -1)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        x, y = Cube.open(place.cube).grid.center(*divmod(37 * max(number, 1) % 330, 22))
        lon, lat = to_degrees.transform(x, y if number < COUNT - 1 else y + 1e5)
        rows.append(f"{number}.png,{lon:.7f},{lat:.7f},{'urban' if number % 2 else 'rural'}")
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(rows) + "\n")
    return truth


def test_true_places_rank_as_in_the_answers(place: Place, photos: Path, tmp_path: Path) -> None:
    found = evaluate_truth(place.cube, photos)
    truths = read_truth(photos)
    files = [photos.parent / truth.file for truth in truths]
    answers = query_photos(place.cube, files, tmp_path / "answers")
    expected = score(answers.results, truths)
    assert [one.to_json() for one in found.scores] == [one.to_json() for one in expected]
    assert found.scores[-1].placement is None
    told = found.to_json()
    assert (told["missing"], told["places"]) == (1, 4)
    assert told["median_percentile"] == pytest.approx(found.summary.median_percentile, abs=1e-4)
    assert set(told["methods"]) == {"distance", "centre", "class_match"}
    assert set(told["stratum"]) == {"rural", "urban"} and "scene" not in told
    assert told["stratum"]["urban"]["photos"]["value"] == 2
    assert told["recall_curve"]["distance"][-1] == 1 and told["km2"] > 0
    within = told["recall_within_m"]
    near = within["25000"]["top20"]["value"]
    assert near == pytest.approx(500 / 6, abs=1e-3)  # all but the one elsewhere
    json.dumps(told, allow_nan=False)


def test_with_feedback_true_places_rank_as_in_such_answers(
    place: Place, photos: Path, tmp_path: Path
) -> None:
    truths = read_truth(photos)
    files = [photos.parent / truth.file for truth in truths]
    vectors = np.stack(
        [one.vector for one in query_photos(place.cube, files, tmp_path / "p").results]
    )
    noise = np.random.default_rng(6).normal(0, 1, (15, 22, vectors.shape[1]))
    features = np.asarray(vectors.mean(0) + noise * vectors.std(0), np.float32)  # like the photos
    digest = load_model(place.folder / "models" / "tiny").digest
    write_cube(tmp_path / "near.zarr", features, classes=CLASSES, model_digest=digest)
    found = evaluate_truth(
        tmp_path / "near.zarr", photos, feedback=True, fuse=[2], out=tmp_path / "own"
    )
    answers = query_photos(tmp_path / "near.zarr", files, tmp_path / "answers", feedback=True)
    expected = score(answers.results, truths)
    assert [one.to_json() for one in found.scores] == [one.to_json() for one in expected]
    plain = evaluate_truth(tmp_path / "near.zarr", photos, fuse=[2])
    assert found.to_json()["feedback"] and not plain.to_json()["feedback"]
    with pytest.raises(UsageError, match="of answers without feedback"):
        store_calibration(found, tmp_path / "c.json", "x")
    assert not (tmp_path / "c.json").exists()
    assert found.methods()["distance"] != plain.methods()["distance"]
    assert found.methods()["class_match"] == plain.methods()["class_match"]
    assert found.fused[2] != plain.fused[2]
    told, other = (
        json.loads((tmp_path / folder / "1" / "query.json").read_text())
        for folder in ("own", "answers")
    )
    assert told["candidates"] == other["candidates"] and told["parameters"]["feedback"]


def test_a_bank_compares_normalised_scores_and_files_are_checked_first(
    place: Place, photos: Path
) -> None:
    bank = [photos.parent / f"{n}.png" for n in (3, 4)]
    found = evaluate_truth(place.cube, photos, bank=bank)
    assert {"inverted_softmax_3", "background_rank"} <= set(found.methods())
    chosen = found.calibration("x")
    assert set(chosen.normalisations) == set(KINDS)
    (photos.parent / "2.png").write_bytes(b"broken")
    assert len(evaluate_truth(place.cube, photos).failures) == 1
    (photos.parent / "2.png").unlink()
    with pytest.raises(UsageError, match=r"2.png does not exist"):
        evaluate_truth(place.cube, photos)


def test_answers_state_what_their_model_was_calibrated_to(
    place: Place, photos: Path, tmp_path: Path
) -> None:
    found = evaluate_truth(place.cube, photos)
    model = place.folder / "models" / "tiny"
    digest = load_model(model).digest
    stored, calibration = store_calibration(found, model, "five photos")
    try:
        assert stored == model / CALIBRATION_FILE and load_model(model).digest == digest
        assert read_calibration(load_model(model)) == calibration
        (result,) = query_photos(place.cube, [photos.parent / "1.png"], tmp_path / "o").results
        stated = result.calibrated
        assert stated is not None
        heat = np.asarray(result.heatmap)
        known = np.isfinite(heat).sum()
        assert stated.share == calibration.levels[80].share
        assert stated.km2 == pytest.approx(stated.share * known * result.grid.step**2 / 1e6)
        assert (heat <= stated.distance).sum() == pytest.approx(
            stated.share * known, rel=0.02, abs=2
        )
        folder = result.folder
        assert folder is not None
        record = json.loads((folder / "query.json").read_text())["calibration"]
        assert record["percent"] == 80 and record["km2"] == pytest.approx(stated.km2, abs=1e-5)
        assert record["words"] == stated.words and "five photos" in stated.words
        page = (folder / "report.html").read_text()
        assert 'id="calibrated"' in page and "show-calibrated" in page
        assert result.to_json()["calibration"] == record
        one = [photos.parent / "1.png"]
        (turned,) = query_photos(place.cube, one, tmp_path / "t", rotate=5.0).results
        assert turned.calibrated is None
        (anew,) = query_photos(place.cube, one, tmp_path / "a", feedback=True).results
        assert anew.calibrated is None
        two = [photos.parent / "1.png", photos.parent / "2.png"]
        (fused,) = query_photos(place.cube, two, tmp_path / "f", fuse=True).results
        assert fused.calibrated is None and fused.to_json()["calibration"] is None
        assert fused.folder is not None
        assert 'id="calibrated"' not in (fused.folder / "report.html").read_text()
        stored.write_text(stored.read_text().replace(digest, "0" * 64))
        with pytest.raises(ModelError, match="another model"):
            read_calibration(load_model(model))
        stored.write_text('{"version": 1}')
        with pytest.raises(ModelError, match=r"calibration.json is no calibration"):
            read_calibration(load_model(model))
    finally:
        stored.unlink()


def test_a_calibration_goes_where_it_belongs(place: Place, photos: Path, tmp_path: Path) -> None:
    found = evaluate_truth(place.cube, photos)
    path, calibration = store_calibration(found, tmp_path / "c.json", "x")
    assert json.loads(path.read_text())["levels"]["80"]["share"] == calibration.share(80)
    with pytest.raises(UsageError, match="neither a model directory"):
        store_calibration(found, tmp_path, "x")
    from geoloc.models.model import SHIPPED

    with pytest.raises(UsageError, match="name that one or its folder"):
        store_calibration(found, SHIPPED, "x")
    with pytest.raises(UsageError, match="name that one or its folder"):
        store_calibration(found, "sandbox", "x")


def test_figures_of_a_shipped_model_are_kept_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    model = load_model("sandbox")
    shipped = read_calibration(model)
    assert shipped is not None
    levels = {80: Level(share=0.5)}
    own = shipped.model_copy(update={"source": "my own photos", "levels": levels})
    path = write_calibration(model, own)
    assert path.is_relative_to(tmp_path / "store") and read_calibration(model) == own
    assert "sandbox" in known_models() and not any("calib" in name for name in known_models())
    path.unlink()
    assert read_calibration(model) == shipped


def test_an_answer_says_when_it_is_not_known_how_much_to_search(
    place: Place, photos: Path, tmp_path: Path
) -> None:
    (result,) = query_photos(place.cube, [photos.parent / "1.png"], tmp_path / "o").results
    (note,) = [note for note in result.notes if "geoloc evaluate" in note]
    assert "not known for model tiny" in note and "--calibrate" in note and "\n" not in note


def test_a_normalisation_is_chosen_only_where_it_helps_for_sure() -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(50, 900, 60)

    def placed(ranks: np.ndarray) -> list[Placement]:
        return [Placement("p", float(rank), 1000) for rank in ranks]

    groups = list(range(60))
    better = {"distance": placed(raw), "background_rank": placed(raw - 40)}
    assert choose(better, groups)["normalisation"] == "background_rank"
    noise = raw + rng.integers(-49, 49, 60)
    noise += int(raw.sum() - noise.sum()) // 60
    unsure = {"distance": placed(raw), "background_rank": placed(noise)}
    told = choose(unsure, groups)
    assert told["normalisation"] == "none"
    assert told["normalisations"]["background_rank"]["gain"]["ci"][0] <= 0


def test_the_true_point_of_a_cube_of_points_is_the_nearest() -> None:
    lonlat = np.random.default_rng(1).uniform((20, 40), (40, 55), (400, 2))
    cube: Any = SimpleNamespace(domain=Points("OGC:CRS84", lonlat))
    ranker = _Ranker(cube, SimpleNamespace(), np.empty((0, 1), np.float32))  # type: ignore[arg-type]
    truths = [Truth("a", *(lonlat[7] + 0.001)), Truth("b", *lonlat[399]), Truth("c", -60.0, 10.0)]
    assert ranker._cells(truths).tolist() == [7, 399, -1]


def test_a_cube_of_points_is_evaluated_as_one_of_cells(
    place: Place, photos: Path, tmp_path: Path
) -> None:
    """The same vectors at the same places give the same ranks."""
    cells = Cube.open(place.cube)
    grid = cells.grid
    to_degrees = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    lonlat = np.stack(to_degrees.transform(*grid.centres(np.arange(grid.size)).T), axis=1)
    vectors = cells.features.decode(cells.read(slice(0, grid.ny), slice(0, grid.nx)))
    points, model = Points("OGC:CRS84", lonlat), place.folder / "models" / "tiny"
    write_point_cube(
        tmp_path / "p.zarr", points, vectors.reshape(grid.size, -1), model=load_model(model).digest
    )
    found = evaluate_truth(tmp_path / "p.zarr", photos, out=tmp_path / "out")
    expected = evaluate_truth(place.cube, photos)
    ranks = [np.array([s.placement.percentile for s in e.placed if s.placement])
             for e in (found, expected)]  # fmt: skip
    assert ranks[0] == pytest.approx(ranks[1], abs=3)  # the codes of the two are not the same
    told = found.to_json()
    assert told["km2"] is None and told["missing"] == 1
    assert told["recall_within_m"]["25000"]["top20"]["value"] > 80
    stored, calibration = store_calibration(found, model, "points")
    try:
        assert calibration.searched == "points"
        one = [photos.parent / "1.png"]
        (result,) = query_photos(place.cube, one, tmp_path / "q").results
        assert result.calibrated is None  # cells are asked, and points were measured
        told = replace(result, points_asked=200).calibrated
        assert told is not None and told.km2 is None and "of the points searched" in told.words
    finally:
        stored.unlink()
    off = [s.best_candidate_m for s in found.placed]
    assert off == pytest.approx([s.best_candidate_m for s in expected.placed], rel=0.5, abs=200)


def test_photos_near_together_are_one_place_and_names_say_so() -> None:
    step = 40 / 111_195  # of latitude: 40 m
    line = [Truth(str(n), 30.0, 50.0 + n * step) for n in range(3)]
    far = Truth("far", 31.0, 50.0)
    assert place_groups([*line, far, line[0]]) == [0, 0, 0, 1, 0]
    named = [Truth("a", 1.0, 1.0, place="x"), far, Truth("b", 2.0, 2.0, place="x")]
    assert place_groups(named) == [0, 1, 0] and place_groups([]) == []


def test_strata_come_from_the_truth_or_a_file_beside_it(tmp_path: Path) -> None:
    truth, strata = tmp_path / "truth.csv", tmp_path / "strata.csv"
    truth.write_text("file,lon,lat,landuse\na.jpg,30,50,park\nb.jpg,31,51,\n")
    truths = read_truth(truth)
    assert [one.scene for one in truths] == ["park", ""]
    strata.write_text("file,scene,stratum\nb.jpg,market,urban\n")
    assert [(o.scene, o.stratum) for o in read_strata(strata, truths)] == [
        ("park", ""), ("market", "urban")
    ]  # fmt: skip
    for text, words in (
        ("file,scene\nc.jpg,x\n", "not in the truth file"),
        ("a\nb\n", "needs the"),
    ):
        strata.write_text(text)
        with pytest.raises(UsageError, match=words):
            read_strata(strata, truths)


def test_ranks_of_no_placements_are_empty() -> None:
    assert len(Ranks.of_placements([]).rank) == 0
