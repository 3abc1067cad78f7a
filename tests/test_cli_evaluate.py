"""``geoloc evaluate`` as its users meet it: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoloc.cube import Cube
from tests.bulk_place import Place
from tests.test_cli import Run, run
from tests.test_evaluation_paired import pairs
from tests.test_query_evaluating import photos

__all__ = ["pairs", "photos", "run"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_cube_is_evaluated_stored_and_compared(
    place: Place, photos: Path, tmp_path: Path, run: Run
) -> None:
    done = run("evaluate", place.cube, photos, "--out", tmp_path / "a", "--json")
    told = json.loads(done.out)
    assert done.code == 0 and len(told["photos"]) == 6 and told["missing"] == 1
    assert {"median_percentile", "mean_percentile", "top1pct", "top5pct", "top10pct"} <= set(told)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"evaluation.json", "evaluation.md", "scores.csv", "recall.png", "0", "5"} <= names
    assert "class match" in (tmp_path / "a" / "evaluation.md").read_text()
    shown = run("evaluate", place.cube, photos, "--calibrate", tmp_path / "c.json")
    assert shown.code == 0 and "class match" in shown.out and "80 %: the best" in shown.err
    assert json.loads((tmp_path / "c.json").read_text())["photos"] == 5
    compared = run("evaluate", "--compare", tmp_path / "a", tmp_path / "a", "--json")
    differences = json.loads(compared.out)["differences"]
    assert differences["mean_percentile"]["difference"]["value"] == 0
    table = run("evaluate", "--compare", tmp_path / "a", tmp_path / "a")
    assert table.code == 0 and "mean percentile" in table.out
    assert "with feedback" not in table.out
    anew = json.loads((tmp_path / "a" / "evaluation.json").read_text()) | {"feedback": True}
    (tmp_path / "b.json").write_text(json.dumps(anew))
    both = run("evaluate", "--compare", tmp_path / "a", tmp_path / "b.json")
    assert "b.json (with feedback): 5 photos" in " ".join(both.out.split())


def test_pairs_and_classes_are_evaluated(
    place: Place, pairs: Path, tmp_path: Path, run: Run
) -> None:
    model = place.folder / "models" / "tiny"
    done = run("evaluate", "--pairs", pairs, "--model", model, "--json", "--out", tmp_path / "p")
    assert done.code == 0 and json.loads(done.out)["n_pairs"] == 5
    for kind, digit in (("ground", "p"), ("overhead", "o")):
        for number in range(4):
            folder = tmp_path / kind / f"c{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            picture = (tmp_path / f"{digit}{number}.png").read_bytes()
            (folder / f"{number}.png").write_bytes(picture)
    (tmp_path / "classes.csv").write_text("overhead_class,ground_classes\nc0,c0\nc1,c1|gone\n")
    asked = ("--classes", tmp_path / "classes.csv", "--ground", tmp_path / "ground")
    asked = (*asked, "--overhead", tmp_path / "overhead", "--model", model)
    done = run("evaluate", *asked, "--json", "--out", tmp_path / "c")
    told = json.loads(done.out)
    assert done.code == 0 and told["n_ground"] == told["n_overhead"] == 4
    keys = {"map", "map_ci", "map_5_photos", "map_5_photos_ci", "chance", "top1pct", "top1pct_ci"}
    assert keys <= set(told) and "left out: classes.csv: class 'gone'" in done.err
    assert (tmp_path / "c" / "classes.png").is_file()
    shown = run("evaluate", *asked)
    assert shown.code == 0 and "by class" in shown.out and "chance" in shown.out
    assert "with feedback" not in shown.out and told["feedback"] is False
    anew = run("evaluate", *asked, "--feedback", "--out", tmp_path / "f")
    assert anew.code == 0 and "4 overhead images, with feedback" in anew.out
    pages = [(tmp_path / name / "evaluation.md").read_text() for name in ("c", "f")]
    assert ["asked twice (feedback)" in page for page in pages] == [False, True]


def test_invalid_usage_is_one_line_and_writes_nothing(
    place: Place, photos: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "out"
    for call, words in (
        ((), "nothing to evaluate"),
        ((place.cube,), "TRUTH.csv is missing"),
        ((place.cube, photos, "--pairs", photos), "give one of"),
        (("--pairs", photos), "--model is missing"),
        (("--classes", photos, "--model", "x"), "--ground is missing"),
        ((place.cube, photos, "--bank", tmp_path / "none"), "has no photos"),
        ((place.cube, photos, "--calibrate", tmp_path), "neither a model directory"),
        ((place.cube, photos, "--strata", tmp_path / "none"), "cannot read"),
        ((place.cube, tmp_path / "none.csv"), "cannot read"),
        ((place.cube, photos, "--feedback", "--calibrate", "tiny"), "--calibrate is of answers"),
        (("--pairs", photos, "--feedback"), "--feedback cannot go with --pairs"),
        (("--compare", photos, photos), "--out cannot go with --compare"),
        (("--pairs", photos, "--strata", photos), "--strata cannot go with --pairs"),
        (("--classes", photos, "--bank", photos), "--bank cannot go with --classes"),
    ):
        done = run("evaluate", *call, "--out", out)
        assert done.code == 2 and done.is_one_line(words), (call, done.err)
    done = run("evaluate", "--compare", photos, photos)
    assert done.code == 2 and done.is_one_line("not an evaluation"), done.err
    assert not out.exists()
    (tmp_path / "empty.csv").write_text("file,lon,lat\n")
    none = run("evaluate", place.cube, tmp_path / "empty.csv", "--json")
    assert none.code == 0 and json.loads(none.out)["median_percentile"] is None
    photos.write_text(photos.read_text().replace("0.png", "../../nowhere.png"))
    assert run("evaluate", place.cube, photos, "--out", out).is_one_line("does not exist")
    assert Cube.open(place.cube).complete
