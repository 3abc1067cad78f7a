"""Whether what was asked for is here at all: the statistics, the verdict and its words."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from geoloc.encoders.figures import FIGURES_FILE, PairFigures, read_figures, write_figures
from geoloc.errors import ModelError
from geoloc.models import Distance, FeatureSpace
from geoloc.models.load import load_model
from geoloc.models.model import SHIPPED
from geoloc.query import query_photos, search_scene
from geoloc.query.matching import random_share, sample_cells, share_closer
from geoloc.report import QueryResult
from geoloc.report.evidence import evidence
from geoloc.report.formatting import candidate_text, measured
from geoloc.report.properties import properties
from tests.cubes import write_cube
from tests.encoder_models import CLASSES, tiny_model
from tests.media import save
from tests.report_sample import candidate, sample


def scene(probability: float, *tops: tuple[str, float]) -> QueryResult:
    """A search for highways; ``tops``: the likeliest class of each candidate's place."""
    best = replace(candidate(1, 20, 100), distance=-math.log(probability))
    return sample(
        title="highway", photos=(), candidates=(best, candidate(2, 60, 40)),
        vector=np.array([20, 0, 0, 0, 0], np.float32),
        places={rank: (top,) for rank, top in enumerate(tops, start=1)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (scene(0.9, ("highway", 0.9)), None),
        (scene(0.3, ("highway", 0.3)), None),  # little, but more than of any other class
        (scene(0.3, ("lake-natural", 0.4), ("highway", 0.2)), None),
        (
            scene(0.0078, ("lake-natural", 0.62)),
            "There may be no highway here: at the best place its probability is only "
            "0.8 %, that of lake (natural) is 62 %.",
        ),
        (
            scene(0.3, ("lake-natural", 0.6), ("wheat_field", 0.9)),
            "There may be no highway here: at the best place its probability is only "
            "30 %, that of lake (natural) is 60 %.",
        ),
        (
            scene(0.08, ("highway", 0.08)),
            "There may be no highway here: at the best place its probability is only 8 %.",
        ),
    ],
)
def test_a_scene_that_is_not_there_is_said(result: QueryResult, words: str | None) -> None:
    found = result.match_words
    assert (found and found.replace("\u202f", " ")) == words
    assert result.match and result.match.weak == (words is not None)


def test_a_scene_is_measured_by_its_probability() -> None:
    result = scene(0.25, ("highway", 0.25))
    best = result.candidates[0]
    assert result.probability(best) == pytest.approx(0.25)
    assert properties(best, result.probability(best))["probability"] == pytest.approx(0.25)
    assert measured(result, best).replace("\u202f", " ") == "25 %"
    assert "probability 25" in candidate_text(best, result)
    told = result.to_json()
    assert told["match"]["probability"] == pytest.approx(0.25) and told["match"]["words"] is None
    photo = sample()
    assert photo.probability(best) is None and "distance" in candidate_text(best, photo)
    assert "probability" not in properties(best, photo.probability(best))
    json.dumps(evidence(result), allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "weak"),
    [
        ({"pairs": 0.9}, False),
        ({"pairs": 0.5}, False),
        ({"pairs": 0.49}, True),
        ({"pairs": 0.9, "random": 0.9}, False),  # figures of true pairs come first
        ({"random": 0.005}, False),
        ({"random": 0.4}, True),
        ({}, False),
    ],
)
def test_a_photo_from_elsewhere_is_said(changes: dict[str, float], weak: bool) -> None:
    result = sample(**changes)
    assert result.match and result.match.weak == weak
    assert (result.match_words is not None) == weak
    flat = sample(heatmap=np.full((90, 140), 0.55, np.float32), **changes)  # best 0.5
    assert flat.match and flat.match.closer == pytest.approx(1 - 0.5 / 0.55)
    assert flat.match.weak == (weak or "pairs" not in changes)
    moved = sample(closer=0.1, **changes)  # distances are not the photo's own
    assert moved.match and moved.match.closer == 0.1
    assert moved.match.weak == (weak or "pairs" not in changes)


def test_the_words_of_a_photo_tell_what_was_found() -> None:
    words = sample(pairs=0.08).match_words or ""
    assert "92\u202f% of photos match their own place better" in words
    words = sample(random=0.4).match_words or ""
    assert "closer to it than an ordinary one, and 40\u202f% of random vectors do as well" in words
    assert sample(candidates=()).match_words is None  # nothing is known: nothing is said


def distance_of(dim: int, **parts: NDArray[np.float32]) -> Distance:
    return FeatureSpace(tuple(map(str, range(dim))), **parts).distance()


def test_random_vectors_come_as_near_to_no_place_that_is_there() -> None:
    generator = np.random.default_rng(7)
    cells = generator.normal(0, 2, (400, 20)).astype(np.float32)
    distance = distance_of(20)
    near = cells[123] + generator.normal(0, 0.2, 20).astype(np.float32)
    assert (random_share(near, cells, distance) or 0) < 0.01
    shares = [random_share(v, cells, distance) or 0 for v in generator.normal(0, 2, (40, 20))]
    assert 0.3 < float(np.mean(shares)) < 0.7  # of vectors that are random themselves: any share
    assert random_share(near, cells[:0], distance) is None
    blind = distance_of(
        20, weights=np.eye(20, dtype=np.float32)[3]
    )  # by one class alone, whatever it is like is near
    assert (random_share(near, cells, blind) or 0) > 0.05


def test_a_place_is_closer_than_the_middle_one() -> None:
    cells = np.array([[3, 0], [0, 4], [0, -10]], np.float32)  # the middle one is 4 off
    photo, distance = np.zeros(2, np.float32), Distance(np.ones(2))
    assert share_closer(photo, cells[0], cells, distance) == pytest.approx(0.25)
    assert share_closer(photo, cells[2], cells, distance) == pytest.approx(-1.5)
    assert share_closer(photo, photo, cells[:1] * 0, distance) == 0
    assert share_closer(photo, photo, cells[:0], distance) is None


def test_a_lead_is_measured_by_the_distance() -> None:
    from geoloc.query.matching import _lead

    generator = np.random.default_rng(3)
    cells, photos = (generator.normal(0, 2, (n, 6)).astype(np.float32) for n in (50, 3))
    for distance in (
        distance_of(6, weights=np.float32([1, 2, 0, 1, 1, 3])),
        distance_of(6, metric=generator.normal(0, 1, (6, 6)).astype(np.float32)),
    ):
        naive = []
        for photo in photos:
            distances = [distance.between(cell, photo) for cell in cells]
            naive.append(1 - min(distances) / float(np.median(distances)))
        np.testing.assert_allclose(_lead(photos, cells, distance), naive, rtol=1e-5)


def test_a_sample_of_a_cube_has_no_missing_cells(tmp_path: Path) -> None:
    from geoloc.query import open_cube

    features = np.random.default_rng(1).normal(0, 2, (30, 40, len(CLASSES))).astype(np.float32)
    features[:29] = np.nan
    write_cube(tmp_path / "c.zarr", features, classes=CLASSES)
    cells = sample_cells(open_cube(tmp_path / "c.zarr"))
    assert cells.shape == (40, len(CLASSES))
    np.testing.assert_allclose(cells, features[29], atol=0.1)


def test_figures_stand_beside_a_model_without_changing_it(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    assert read_figures(model) is None
    figures = PairFigures.of(np.arange(101), "a test")
    write_figures(model.path, figures)
    assert read_figures(model) == figures
    assert load_model(model.path).digest == model.digest
    shares = [figures.share_as_far(d) for d in (-1, 0, 25, 50, 100, 200)]
    assert shares == pytest.approx([1, 1, 0.75, 0.5, 0, 0])
    for bad in ("", "{}", '{"pairs": 1, "source": "x", "distance_quantiles": [1]}'):
        (model.path / FIGURES_FILE).write_text(bad)
        with pytest.raises(ModelError, match="no figures of pairs"):
            read_figures(model)


def test_the_shipped_model_has_figures() -> None:
    figures = read_figures(load_model(SHIPPED))
    assert figures and figures.pairs >= 100
    assert 1 < figures.quantiles[50] < 2


def test_answers_say_how_well_they_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "models"))
    model = tiny_model(tmp_path / "models" / "tiny")
    features = np.random.default_rng(2).normal(0, 1, (12, 20, len(CLASSES))).astype(np.float32)
    cube = tmp_path / "c.zarr"
    opened = write_cube(cube, features, classes=CLASSES, model_digest=model.digest)
    photo = save(tmp_path / "a.jpg", 1)
    plain = query_photos(cube, [photo], tmp_path / "plain", top=1).results[0]
    assert plain.match and plain.match.pairs is None and plain.match.random is not None
    write_figures(model.path, PairFigures.of([plain.candidates[0].distance * 1.5], "a test"))
    near = query_photos(cube, [photo], tmp_path / "near", top=1).results[0]
    assert near.match and (near.match.pairs, near.match.weak) == (1.0, False)
    write_figures(model.path, PairFigures.of([plain.candidates[0].distance / 2], "a test"))
    far = query_photos(cube, [photo], tmp_path / "far", top=1).results[0]
    assert far.match and (far.match.pairs, far.match.weak) == (0.0, True)
    told = json.loads((tmp_path / "far" / "a" / "query.json").read_text())["match"]
    assert told == far.to_json()["match"] and told["words"].startswith("This photo may not be")
    weighted = query_photos(cube, [photo], tmp_path / "w", top=1, weights={"indoor": 0.5})
    assert weighted.results[0].match and weighted.results[0].match.pairs is None
    anew = query_photos(cube, [photo], tmp_path / "n", top=1, feedback=True).results[0]
    assert anew.match and anew.match.pairs is None
    assert anew.match.random == plain.match.random  # of the photo's own vector
    own = [distance_of(len(CLASSES)).between(anew.vector, cell) for cell in sample_cells(opened)]
    best = opened.vector(*anew.candidates[0].cell)
    assert best is not None
    off = distance_of(len(CLASSES)).between(anew.vector, best)
    assert anew.match.closer == pytest.approx(1 - off / np.median(own), rel=1e-6)
    of_distances = 1 - anew.candidates[0].distance / np.median(np.asarray(anew.heatmap))
    assert abs(anew.match.closer / of_distances - 1) > 0.01  # which are of what was asked then
    absent = search_scene(cube, "airfield", tmp_path / "scene", top=1)
    assert absent.match and absent.match.probability == pytest.approx(
        math.exp(-absent.candidates[0].distance)
    )
