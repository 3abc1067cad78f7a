"""Copies of answers of several models: what each of them says stays, what is private does not."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geoloc.errors import GeolocError, UsageError
from geoloc.query.session import unmeasured
from geoloc.query.tandem.notes import (
    calibrated_by,
    first_named,
    of_model,
    other_days,
    undecided,
    unread,
)
from geoloc.report import write_report
from geoloc.report.match import Match, match_words
from geoloc.report.tandem import TandemPart
from geoloc.sharing import Options, read_keep, read_rounding, share
from tests.report_sample import NASTY, FlatImagery, candidate, heatmap
from tests.shared_answers import (
    BANK,
    LAT,
    LON,
    MARKS,
    edit_record,
    forget_digests,
    holders,
    telling_tandem,
)

MODELS = ("landuse", "model 2")  # in a copy: the second's own name is no term of the field
HEATMAPS = ("heatmap_landuse.tif", "heatmap_model 2.tif")


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers") / "a"
    write_report(telling_tandem(), folder, FlatImagery())
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "a"
    write_report(telling_tandem(), folder)
    return folder


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "query.json").read_text(encoding="utf-8"))
    return found


def copied(folder: Path, out: Path, **options: Any) -> Path:
    share([folder], out, Options(**options))
    return out / "answer-1"


def values(path: Path) -> np.ndarray[Any, Any]:
    with rasterio.open(path) as raster:
        found: np.ndarray[Any, Any] = raster.read(1)
        return found


def test_what_each_model_says_stays_the_same(answer: Path, tmp_path: Path) -> None:
    copy = copied(answer, tmp_path / "out", keep=frozenset({"truth"}))
    before, after = record(answer), record(copy)
    assert [one["name"] for one in after["tandem"]["models"]] == [*MODELS]
    assert after["tandem"]["calibration"] == "bank"
    for was, now in zip(before["tandem"]["models"], after["tandem"]["models"], strict=True):
        for key in ("weight", "candidates", "cells_known", "heatmap_sha256", "truth", "vector"):
            assert now[key] == was[key], key
        assert now["model"]["digest"] == was["model"]["digest"]
    for was, now in zip(before["candidates"], after["candidates"], strict=True):
        said = dict(zip(("landuse", NASTY), MODELS, strict=True))
        assert now["models"] == {said[name]: told for name, told in was["models"].items()}
        assert {**now, "models": 0} == {**was, "models": 0}
    assert [*after["candidates"][2]["models"]] == []  # neither model knows that place
    originals = ("heatmap_landuse.tif", "heatmap_=mine_b_.tif")
    for was, now in zip(originals, HEATMAPS, strict=True):
        assert (copy / now).read_bytes() == (answer / was).read_bytes()


def test_every_file_tells_the_same(answer: Path, tmp_path: Path) -> None:
    copy = copied(answer, tmp_path / "out")
    names = {path.name for path in copy.iterdir()}
    assert {"tandem.json", "heatmap.tif", "report.html", "candidates.kmz", *HEATMAPS} <= names
    told = json.loads((copy / "tandem.json").read_text())
    assert told["photo"]["file"] == "photo-1.jpg" and told["bank"] == 1
    assert told["models"]["model 2"] == {
        "digest": "cd" * 32, "cube": None, "generation": "g0001", "weight": 0.75,
    }  # fmt: skip
    candidates = record(copy)["candidates"]
    assert [one["models"] for one in told["candidates"]] == [one["models"] for one in candidates]
    with (copy / "candidates.csv").open(encoding="utf-8-sig") as file:
        (first, *_) = csv.DictReader(file)
    assert float(first["score"]) == candidates[0]["score"]
    assert first["rank_model 2"] == "5000"
    page = (copy / "report.html").read_text(encoding="utf-8")
    known = int(np.isfinite(heatmap()).sum())
    assert f"model 2: rank 5,000 of {known:,} (best 42\u202f%)" in page
    assert page.count("<td>model 2</td><td>75\u202f%</td>") == 1
    listed = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert f"{candidates[0]['score']:.3f}" in listed
    assert set(record(copy)["outputs"]) == names - {"query.json"}


PRIVATE = (*MARKS.values(), BANK["file"], "Qbank", BANK["sha256"], "qwinifred", "mine<b>", "mine_b")


@pytest.mark.parametrize("rounding", [None, "300m"])
@pytest.mark.parametrize("photo", ["blurred", "omitted"])
def test_no_mark_is_in_any_byte_of_a_copy(
    answer: Path, tmp_path: Path, photo: Any, rounding: str | None
) -> None:
    marks = (*PRIVATE, f"{LAT:.5f}", f"{LON:.5f}")
    assert all(holders(answer, mark) or "mine_b" in mark for mark in marks)
    copied(answer, tmp_path / "out", photo=photo, rounding=read_rounding(rounding))
    assert {mark: holders(tmp_path / "out", mark) for mark in marks} == {m: [] for m in marks}


def test_what_is_named_stays(plain: Path, tmp_path: Path) -> None:
    named = copied(plain, tmp_path / "names", keep=read_keep(["names"]))
    assert record(named)["tandem"]["bank"] == [{"file": BANK["file"], "sha256": BANK["sha256"]}]
    assert holders(tmp_path / "names", "qwinifred") == []
    paths = copied(plain, tmp_path / "paths", keep=read_keep(["paths,senders"]))
    told = record(paths)["tandem"]
    assert told["bank"] == [BANK]
    assert [one["cube"]["cube"] for one in told["models"]] == [
        f"{MARKS['paths']}/{number}.zarr" for number in (0, 1)
    ]
    assert holders(tmp_path / "paths", f"{MARKS['paths']}/1.zarr")


def test_the_statement_counts_what_was_left_out(plain: Path, tmp_path: Path) -> None:
    shared = share([plain], tmp_path / "out")
    # the photo, its copies and its title are not counted anew for the models
    bank = share([plain], tmp_path / "named", Options(read_keep(["names"]))).statement
    assert "names" not in bank.removed and shared.statement.removed["names"] > 1
    lines = [*shared.statement.lines()]
    (line,) = [line for line in lines if line.startswith("Kept: what each of several models")]
    assert line.endswith("Left out: which photos these are.")
    (named,) = [line for line in bank.lines() if line.startswith("Kept: what each of several")]
    assert "Left out" not in named


def test_a_rounded_copy_has_the_best_of_each_square_of_each_model(
    answer: Path, tmp_path: Path
) -> None:
    copy = copied(answer, tmp_path / "out", rounding=read_rounding("300m"))
    originals = ("heatmap_landuse.tif", "heatmap_=mine_b_.tif")
    for was, now in zip(originals, HEATMAPS, strict=True):
        whole = values(answer / was)
        naive = [[np.nanmin(whole[y : y + 30, x : x + 30]) for x in range(0, 140, 30)]
                 for y in range(0, 90, 30)]  # fmt: skip
        np.testing.assert_array_equal(values(copy / now), np.array(naive, np.float32))
    after = record(copy)
    for model in after["tandem"]["models"]:
        assert "vector" not in model and "bounds" not in model["cube"]
        assert all(round(c["lat"], 3) == c["lat"] for c in model["candidates"])
    for model in record(answer)["tandem"]["models"]:
        for told in model["candidates"]:
            digits = f"{told['lat']:.7f}"[:-2]
            assert holders(answer, digits) and holders(tmp_path / "out", digits) == []


def test_rounding_tells_nothing_of_the_cell_by_any_model(tmp_path: Path) -> None:
    """The best cell of one model moves within its square; the maps and places are the same."""
    made = []
    for n, (row, col) in enumerate(((20, 100), (4, 117))):
        own = heatmap()
        own[20, 100], own[row, col] = own[row, col], own[20, 100]
        told = telling_tandem()
        assert told.tandem is not None
        first, second = told.tandem.models
        alone: Any = replace(first.alone, heatmap=own, candidates=(candidate(1, row, col),))
        part = TandemPart((replace(first, alone=alone), second), told.tandem.bank)
        write_report(replace(told, tandem=part), tmp_path / f"{n}")
        copy = copied(tmp_path / f"{n}", tmp_path / f"out-{n}", rounding=read_rounding("300m"))
        models = record(copy)["tandem"]["models"]
        made.append((models, {name: (copy / name).read_bytes() for name in HEATMAPS}))
    assert made[0] == made[1]


def weak(**figures: Any) -> str:
    words = match_words(Match(True, **figures), "")
    assert words is not None
    return words


def test_known_notes_stay_and_others_are_missed(plain: Path, tmp_path: Path) -> None:
    own = record(plain)["tandem"]["models"][1]["model"]["name"]

    def noted(name: str) -> list[str]:
        return [
            calibrated_by(1, itself=True),
            unread(2),
            first_named("landuse"),
            undecided(name),
            other_days({"landuse": "2024-05-06", name: ""}),
            of_model(name)
            + "3 of 9 blocks of this cube are not built yet: nothing is found there.",
            of_model("landuse", alone=True) + weak(closer=0.04, random=0.5),
            of_model("landuse", alone=True) + weak(closer=0.0),
            of_model(name) + unmeasured(own if name == NASTY else name),
            of_model(name, alone=True) + weak(pairs=0.2),
        ]

    shutil.copytree(plain, tmp_path / "a")
    before = record(plain)
    before["tandem"]["models"][0]["cube"]["imagery_last"] = "2024-05-06"
    missed = [of_model(NASTY) + "Olena says so.", of_model("landuse", alone=True) + "Olena.",
              calibrated_by(7), first_named("Olena"), "2 photos of Olena"]  # fmt: skip
    notes = [*noted(NASTY), *missed]
    edit_record(tmp_path / "a", notes=notes, tandem=before["tandem"])
    told = record(copied(tmp_path / "a", tmp_path / "out"))["notes"]
    assert told[: len(notes) - len(missed)] == noted("model 2")
    assert "5 notes of the original cannot be shared: ask for it before you rely on this." in told
    assert holders(tmp_path / "out", "Olena") == []


def test_unknown_values_at_every_depth_are_left_out(plain: Path, tmp_path: Path) -> None:
    def planted(value: Any) -> Any:
        if isinstance(value, dict):
            more = {"QPLANTED key/": "QPLANTED/value", "deep": {"x": ["QPLANTED/list"]}}
            return {**{key: planted(one) for key, one in value.items()}, **more}
        return [planted(one) for one in value] if isinstance(value, list) else value

    shutil.copytree(plain, tmp_path / "a")
    before = record(plain)
    vectors = [one.pop("vector") for one in before["tandem"]["models"]]
    tandem = planted(before["tandem"])
    for one, vector in zip(tandem["models"], vectors, strict=True):
        one["vector"] = vector
    edit_record(tmp_path / "a", tandem=tandem, candidates=planted(before["candidates"]))
    copied(tmp_path / "a", tmp_path / "out")
    assert holders(tmp_path / "a", "QPLANTED") and holders(tmp_path / "out", "QPLANTED") == []


def test_names_of_models_are_told_apart(plain: Path, tmp_path: Path) -> None:
    """One is called as the copy would call the other."""
    shutil.copytree(plain, tmp_path / "a")
    shutil.copy(plain / HEATMAPS[0], tmp_path / "a" / "heatmap_model 2.tif")
    text = (plain / "query.json").read_text(encoding="utf-8").replace('"landuse"', '"model 2"')
    (tmp_path / "a" / "query.json").write_text(text, encoding="utf-8")
    copy = copied(tmp_path / "a", tmp_path / "out")
    assert [one["name"] for one in record(copy)["tandem"]["models"]] == ["model 2", "model 2-2"]
    assert [*record(copy)["candidates"][0]["models"]] == ["model 2", "model 2-2"]


def _model(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["tandem"]["models"][1].update(changes)


def _gone(told: dict[str, Any]) -> None:
    del told["candidates"][0]["models"]


def _half(told: dict[str, Any]) -> None:
    told["candidates"][0]["models"]["landuse"] = {"rank": 1}


DAMAGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "what is known is no number": _model(cells_known="x"),
    "no distances": _model(heatmap_sha256="00" * 32),
    "a place outside": _model(candidates=[{"rank": 1, "lon": 1.0, "lat": 2.0, "distance": 3.0}]),
    "a path for a name": _model(name="../../x"),
    "no vector": _model(vector={}),
    "nothing said of a place": _gone,
    "half of what is said": _half,
}  # fmt: skip


@pytest.mark.parametrize("way", DAMAGED)
def test_a_damaged_record_is_an_error_of_one_line(plain: Path, tmp_path: Path, way: str) -> None:
    shutil.copytree(plain, tmp_path / "a")
    told = record(plain)
    DAMAGED[way](told)
    edit_record(tmp_path / "a", **told)
    with pytest.raises(GeolocError, match=r"damaged|again") as refused:
        share([tmp_path / "a"], tmp_path / "out")
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()


def test_the_heatmap_of_another_model_is_refused(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "a")
    shutil.copy(plain / HEATMAPS[0], tmp_path / "a" / "heatmap_=mine_b_.tif")
    for forget, words in ((False, "was written with this record"), (True, "not the one recorded")):
        if forget:
            forget_digests(tmp_path / "a")
        with pytest.raises(UsageError, match=re.compile(rf"heatmap_=mine_b_\.tif.*{words}")):
            share([tmp_path / "a"], tmp_path / "out")
