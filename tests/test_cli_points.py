"""``geoloc points sample`` as its users meet it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geoloc.points import read_points
from tests.road_files import Way, extract
from tests.test_cli import Run, run

__all__ = ["run"]  # the fixture


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    return extract(
        tmp_path / "roads.osm.pbf",
        Way(1, [(9.50, 47.10), (9.52, 47.10)], {"highway": "primary"}),
        Way(2, [(9.52, 47.10), (9.52, 47.15)], {"highway": "track"}),
    )


def test_points_are_drawn_and_reported(roads: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "p.parquet"
    done = run("points", "sample", roads, "--n", 50, "--seed", 4, "--out", out, "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert told["points"] == 50 and told["metres"] == pytest.approx(7077, abs=2)
    assert told["sequence"] == read_points(out).sequence
    done = run("points", "sample", roads, "--n", 50, "--network", "drive", "--out", out)
    assert done.code == 0 and done.out == ""
    assert done.err.strip() == f"50 points along 1.5 km in {out}"


def test_points_of_an_area_and_of_places(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "p.parquet"
    done = run("points", "sample", "--uniform", "--within", "9,47,10,48", "--n", 30, "--out", out)
    assert done.code == 0 and len(read_points(out)) == 30
    places = tmp_path / "places.csv"
    places.write_text("name,lat,lon\nA,47.1,9.5\nB,47.2,9.6\n")
    done = run("points", "sample", "--from", places, "--out", out)
    assert done.code == 0 and sorted(read_points(out).attributes["name"]) == ["A", "B"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["ROADS"], 2, "say how many points: --n 10000"),
        (["ROADS", "--n", "0"], 2, "--n 0: write how many points"),
        (["ROADS", "--n", "10", "--network", "fly"], 2, "write one of all, drive, walk, rail"),
        (["ROADS", "--n", "10", "--within", "1,1,2,2"], 2, "lie in the polygon 1,1,2,2"),
        (["ROADS", "--n", "10", "--uniform"], 2, "found ROADS and --uniform"),
        (["--n", "10"], 2, "give one of ROADS, --uniform and --from; found none of them"),
        (["--n", "10", "--uniform"], 2, "--uniform draws in a polygon: give it with --within"),
        (["ROADS", "--n", "10000"], 2, "less than a metre for each of 10,000 points"),
        (["none.osm.pbf", "--n", "10"], 2, "none.osm.pbf does not exist"),
    ],
)
def test_bad_usage_is_one_line(
    roads: Path, tmp_path: Path, run: Run, words: list[str], code: int, told: str
) -> None:
    out = tmp_path / "p.parquet"
    given = [roads if word == "ROADS" else word for word in words]
    done = run("points", "sample", *given, "--out", out)
    assert done.code == code and done.is_one_line(told) and not out.exists()


def test_a_missing_folder_is_told_before_the_work(roads: Path, tmp_path: Path, run: Run) -> None:
    done = run("points", "sample", roads, "--n", 10, "--out", tmp_path / "no" / "p.parquet")
    assert done.code == 1 and done.is_one_line("the folder", "does not exist")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "p.parquet"
    command = [sys.executable, "-c", STARTED, "points", "sample", "--uniform", "--out", str(out)]
    command += ["--n", "400000000", "--within", "-180,-80,180,80"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.parent.iterdir()):
        time.sleep(0.02)
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert told.strip().splitlines()[-1].startswith("error: interrupted")
    assert list(out.parent.iterdir()) == []


STARTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests ignore it
from geoloc.cli import main
main()
"""
