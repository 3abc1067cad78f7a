"""The command line as its users meet it: answers, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.progress import Progress

from geoloc.cli import console, main
from geoloc.cli.console import Course, RateColumn, print_table
from geoloc.cube import Cube
from geoloc.encoders import overhead
from tests.media import bomb
from tests.small_place import SmallPlace, write_place

Run = Callable[..., "Done"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def is_one_line(self, *words: str) -> bool:
        """One line that begins with ``error:`` and says all of ``words``; no traceback."""
        lines = self.err.strip().splitlines()
        return (
            len(lines) == 1
            and lines[0].startswith("error: ")
            and all(word in lines[0] for word in words)
        )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The very function that the console script calls, with its arguments."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["geoloc", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "400")
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        caught = capsys.readouterr()
        return Done(int(code or 0), caught.out, caught.err)  # type: ignore[call-overload]

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    """A small place with its cube built through the command line."""
    made = write_place(tmp_path_factory.mktemp("place") / "here", ny=30, nx=40, step=10)
    subprocess.run(
        [sys.executable, "-m", "geoloc", "cube", "build", made.area, "--method", "patch"],
        check=True,
        timeout=300,
    )
    return made


def edited(place: SmallPlace, folder: Path, old: str, new: str) -> Path:
    """A copy of the area file, beside the same files, with one thing changed."""
    text = place.area.read_text().replace("tile.tif", str(place.folder / "tile.tif"))
    assert old in text
    path = folder / "area.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_a_query_answers_with_files_and_json(place: SmallPlace, tmp_path: Path, run: Run) -> None:
    done = run("query", place.area, *place.photos, "--out", tmp_path, "--top", 3, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert [len(result["candidates"]) for result in answer["results"]] == [3, 3]
    for photo in place.photos:
        files = {path.name for path in (tmp_path / photo.stem).iterdir()}
        expected = {"heatmap.tif", "heatmap.png", "candidates.geojson", "report.html", "query.json"}
        assert expected <= files


def test_a_table_is_shown_to_people(place: SmallPlace, tmp_path: Path, run: Run) -> None:
    done = run("query", place.area, place.photos[0], "--out", tmp_path)
    assert done.code == 0, done.err
    assert "street_1.jpg" in done.out and "report.html" in done.err
    record = json.loads((tmp_path / "street_1" / "query.json").read_text())
    best = record["candidates"][0]
    assert len(record["candidates"]) <= 5 and "candidates.csv" not in done.err
    assert f"{best['lat']:.6f}, {best['lon']:.6f}" in done.out and "lat, lon" in done.out
    name = next(iter(record["vector"]))
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    scene = run("scene", place.area, name, "--out", tmp_path)
    assert scene.code == 0 and f"goes to {tmp_path / name}-2" in scene.err
    told = json.loads(run("scene", place.area, name, "--out", tmp_path, "--json").out)["results"][0]
    assert told["folder"] == f"{tmp_path / name}-2"
    assert told["candidates"][0]["probability"] == pytest.approx(told["match"]["probability"])
    assert [p.name for p in (tmp_path / name).iterdir()] == ["notes.txt"]
    for shown, heading in ((done, "distance"), (scene, "probability")):
        row = next(line for line in shown.out.splitlines() if " 1 " in line and "%" in line)
        assert heading in shown.out and "from above" in shown.out
        assert re.search(r"[a-z]+.* \d+.%", row.split("%", 1)[1])  # what it looks like from above


def test_the_terminal_says_once_how_many_candidates_it_leaves_out(
    place: SmallPlace, tmp_path: Path, run: Run
) -> None:
    asked = ("query", place.area, *place.photos, "--out", tmp_path, "--top", 7, "--radius", 20)
    done = run(*asked)
    assert done.code == 0
    assert done.err.count("the first 5 of 7 candidates; candidates.csv has all") == 1


def test_a_cube_whose_model_is_not_installed_says_so(
    place: SmallPlace, tmp_path: Path, run: Run
) -> None:
    done = run("query", place.cube, place.photos[0], "--out", tmp_path)
    assert done.code == 1 and done.is_one_line("not installed", "tiny")


def test_scene_describe_info_verify_and_evaluate(
    place: SmallPlace, tmp_path: Path, run: Run
) -> None:
    model = place.folder / "models" / "tiny"
    classes = Cube.open(place.cube).features.names
    assert run("scene", place.area, classes[2], "--out", tmp_path).code == 0
    described = json.loads(run("describe", place.photos[0], "--model", model, "--json").out)
    assert described[str(place.photos[0])][0][0] in classes
    unnamed = run("describe", place.photos[0])
    assert "synthetic world alone" in unnamed.err and "model sandbox" in unnamed.out
    info = json.loads(run("cube", "info", place.area, "--json").out)
    assert info["cells"] == 1200 and info["blocks_missing"] == 0
    assert run("cube", "verify", place.area, "--cells", 20, "--json").code == 0
    truth = place.folder / "photos" / "truth.csv"
    scores = json.loads(run("evaluate", place.area, truth, "--json").out)
    assert len(scores["photos"]) == 2
    assert all(0 < photo["percentile"] <= 100 for photo in scores["photos"])


def test_a_damaged_cube_is_one_line_everywhere_until_it_is_repaired(
    place: SmallPlace, tmp_path: Path, run: Run
) -> None:
    here = SmallPlace(Path(shutil.copytree(place.folder, tmp_path / "here")))
    cube, truth = here.area, (here.folder / "photos" / "truth.csv").read_text()
    lon, lat = truth.splitlines()[1].split(",")[1:3]
    at = f"{lat},{lon}"
    asked = ("scene", cube, Cube.open(here.cube).features.names[2], "--check-digests", "--out")
    sound = run(*asked, tmp_path / "sound", "--json")
    chunk = here.cube / "g0001/features/c/0/0/0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    for call in (
        (*asked, tmp_path / "damaged"),
        ("query", cube, here.photos[0], "--out", tmp_path / "damaged"),
        ("describe", "--cube", cube, "--at", at),
        ("bulk", cube, here.folder / "photos", "--out", tmp_path / "damaged"),
        ("cube", "verify", cube, "--cells", 9),
    ):
        done = run(*call)
        assert done.code == 1 and done.is_one_line("(0, 0)", "damaged", "geoloc cube repair"), call
    told = json.loads(run("cube", "repair", cube, "--json").out)
    assert (told["blocks_damaged"], told["blocks_done"]) == (1, 1)
    assert chunk.read_bytes() == content
    again = run(*asked, tmp_path / "sound", "--json")
    assert (again.code, again.out) == (0, sound.out)
    assert "none damaged" in run("cube", "verify", cube, "--cells", 9).err
    assert "nothing was damaged" in run("cube", "repair", cube).err
    assert run("cube", "repair", tmp_path / "none").is_one_line("does not exist")


def test_a_place_is_described_by_its_coordinates(place: SmallPlace, run: Run) -> None:
    truth = (place.folder / "photos" / "truth.csv").read_text().splitlines()[1].split(",")
    at = f"{truth[1]},{truth[2]}"
    assert run("describe", "--cube", place.area, "--at", at).code == 0
    assert run("describe", "--cube", place.area, "--at", "north").is_one_line("LAT,LON")
    assert run("describe", "--cube", place.area, "--at", "0,0").code == 2
    lat_first = run("describe", "--cube", place.area, "--at", f"{truth[2]},{truth[1]}", "--json")
    lon_first = run("describe", "--cube", place.area, "--at", at, "--json")
    assert [*json.loads(lat_first.out).values()] == [*json.loads(lon_first.out).values()]
    assert "longitude first" in lon_first.err and "first" not in lat_first.err
    assert run("describe", "--cube", place.area).is_one_line("--at LAT,LON")


def text_photo(path: Path) -> Path:
    path.write_text("not a photo\n" * 20)
    return path


def empty_photo(path: Path) -> Path:
    path.touch()
    return path


def bomb_photo(path: Path) -> Path:
    path.write_bytes(bomb())
    return path


@pytest.mark.parametrize("make", [text_photo, empty_photo, bomb_photo])
def test_a_bad_photo_is_one_line_and_the_good_one_is_answered(
    place: SmallPlace, tmp_path: Path, run: Run, make: Callable[[Path], Path]
) -> None:
    bad = make(tmp_path / "bad.jpg")
    done = run("query", place.area, bad, place.photos[0], "--out", tmp_path / "out", "--json")
    assert done.code == 1 and done.is_one_line("bad.jpg")
    assert (tmp_path / "out" / "street_1" / "report.html").exists()
    assert list(json.loads(done.out)["failures"]) == [str(bad)]


def test_a_photo_that_does_not_exist_is_wrong_usage(
    place: SmallPlace, tmp_path: Path, run: Run
) -> None:
    done = run("query", place.area, "gone.jpg", "--out", tmp_path / "out")
    assert done.code == 2 and done.is_one_line("gone.jpg")


@pytest.mark.parametrize("command", ["query", "describe"])
def test_a_photo_by_its_url_is_wrong_usage(
    place: SmallPlace, tmp_path: Path, run: Run, command: str
) -> None:
    args = [place.area, "--out", tmp_path / "out"] if command == "query" else []
    done = run(command, *args, "http://127.0.0.1:9/y.jpg")
    assert done.code == 2 and done.is_one_line("http://127.0.0.1:9/y.jpg is a URL")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "word", "code"),
    [
        ("EPSG:32636", "EPSG:4326", "degrees", 2),
        ("[300000, 5599700, 300400, 5600000]", "[300400, 5600000, 300000, 5599700]", "bounds", 2),
        ("[300000, 5599700, 300400, 5600000]", "[900000, 5599700, 900400, 5600000]", "imagery", 1),
        ("step: 10", "stepp: 10", "step", 2),
        ("step: 10", "step: -1", "step", 2),
        ("step: 10", "step: 0.0001", "raise the step", 2),
    ],
)
def test_a_bad_area_is_one_line(
    place: SmallPlace, tmp_path: Path, run: Run, old: str, new: str, word: str, code: int
) -> None:
    done = run("cube", "build", edited(place, tmp_path, old, new), "--method", "patch")
    assert done.code == code and done.is_one_line(word), done.err


def test_an_unknown_scene_suggests_the_nearest(place: SmallPlace, tmp_path: Path, run: Run) -> None:
    name = Cube.open(place.cube).features.names[0]
    done = run("scene", place.area, name[:-1] + "q", "--out", tmp_path)
    assert done.code == 2 and done.is_one_line(name)


def test_damaged_weights_are_refused(place: SmallPlace, tmp_path: Path, run: Run) -> None:
    model = tmp_path / "damaged"
    shutil.copytree(place.folder / "models" / "tiny", model)
    weights = next(model.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    done = run("describe", place.photos[0], "--model", model)
    assert done.code == 1 and done.is_one_line(weights.name, "sha256")


def test_models_come_by_url(
    place: SmallPlace, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    url = (place.folder / "models" / "tiny").as_uri()
    done = run("models", "fetch", url)
    assert done.code == 0 and "is now in" in done.err, done.err
    assert "tiny" in run("models", "list").out
    again = run("models", "fetch", url, "--json")
    assert again.code == 0 and json.loads(again.out)["new"] is False
    assert json.loads(again.out)["path"] == str(tmp_path / "store" / "tiny")
    spec = tmp_path / "store" / "tiny" / "model.json"
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "training": {"other": 1}}))
    taken = run("models", "fetch", url)
    assert taken.code == 1 and taken.is_one_line("--name", "--replace")
    assert run("models", "fetch", url, "--name", "mine").code == 0
    assert "mine (its own name: tiny)" in run("models", "list").out
    listed = json.loads(run("models", "list", "--json").out)["models"]
    assert ("mine", "tiny") in {(model["installed_as"], model["name"]) for model in listed}
    assert run("models", "fetch", url, "--replace").code == 0
    told = run("models", "info", url)
    assert told.code == 0 and "m per pixel" in told.out
    assert "{" not in told.out and "[" not in told.out  # words
    assert json.loads(run("models", "info", url, "--json").out)["name"] == "tiny"
    nowhere = run("models", "fetch", (tmp_path / "none").as_uri())
    assert nowhere.code == 1 and nowhere.is_one_line("model.json")
    assert run("models", "fetch", "tiny").code == 2


def test_a_cube_of_another_model_is_refused(place: SmallPlace, tmp_path: Path, run: Run) -> None:
    other = write_place(tmp_path / "other", ny=10, nx=10, step=10)
    spec = json.loads((other.folder / "models" / "tiny" / "model.json").read_text())
    spec["training"] = {"remark": "another one"}
    (other.folder / "models" / "tiny" / "model.json").write_text(json.dumps(spec))
    area = edited(place, tmp_path, str(place.folder / "models"), str(other.folder / "models"))
    area.write_text(area.read_text().replace("cube: cube.zarr", f"cube: {place.cube}"))
    asked = run("query", area, place.photos[0], "--out", tmp_path / "out")
    assert asked.code == 1 and asked.is_one_line("model")
    built = run("cube", "build", area, "--method", "patch")
    assert built.code == 1 and built.is_one_line("model")


def test_a_truncated_image_among_good_ones_leaves_a_gap_that_is_told(
    place: SmallPlace, tmp_path: Path, run: Run
) -> None:
    broken = tmp_path / "broken.tif"
    data = (place.folder / "tile.tif").read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    good, both = str(place.folder / "tile.tif"), f"{broken}, {place.folder / 'tile.tif'}"
    area = edited(place, tmp_path, f"[{good}]", f"[{both}]")
    done = run("cube", "build", area, "--method", "patch")
    assert done.code in (0, 1) and "Traceback" not in done.err
    assert "broken.tif" in done.err
    # where the good image lies below, nothing is missing; nowhere are there made-up zeros
    cube = Cube.open(tmp_path / "cube.zarr")
    whole = Cube.open(place.cube)
    rows, cols = slice(0, 30), slice(0, 40)
    known = (cube.read(rows, cols) != -128).all(-1)
    apart = np.abs(cube.read(rows, cols).astype(int) - whole.read(rows, cols).astype(int))
    assert known.any() and np.median(apart[known]) <= 2


@pytest.mark.parametrize("step", ["build", "refresh"])
def test_a_build_that_is_stopped_gives_its_report_and_fails(
    tmp_path: Path, run: Run, step: str
) -> None:
    here = write_place(tmp_path / "here", ny=20, nx=300, step=10)  # three blocks
    if step == "refresh":
        assert run("cube", "build", here.area, "--method", "patch").code == 0
    tile = here.folder / "tile.tif"
    data = tile.read_bytes()
    tile.write_bytes(data[: len(data) * 2 // 3])
    done = run("cube", step, here.area, "--method", "patch", "--fail-fast", "--json")
    assert done.code == 1
    report = json.loads(done.out)
    why = "1 block failed, the last: "
    assert report["blocks_broken"] + report["blocks_failed"] == 1
    assert report["blocks_done"] < 2
    assert report["published"] is False
    assert report["stopped"].startswith(why)
    assert "tile.tif" in report["stopped"]
    told = done.err.strip().splitlines()[-1]
    assert told == f"error: {report['stopped']}: fix the cause and run the same command again"
    text = run("cube", step, here.area, "--method", "patch", "--max-failed", "0")
    assert text.code == 1
    assert f"stopped before its end: {why[:14]}" in text.err + text.out


def test_an_output_folder_that_cannot_be_written_is_told_before_the_work(
    place: SmallPlace, tmp_path: Path, run: Run
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    out = Path("/proc/answers") if os.access(locked, os.W_OK) else locked  # root writes anywhere
    done = run("query", place.area, place.photos[0], "--out", out)
    assert done.code == 1 and done.is_one_line(str(out), "--out")


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    assert run("query").code == 2
    assert run("cube", "build", "gone.yaml").code == 2
    done = run("cube", "build", "gone.yaml", "--cluster", "foo")
    assert done.code == 2 and done.is_one_line("--cluster foo", "tls://")
    assert run("train", "gone.csv", "--teacher", "x", "--out", "y", "--set", "epochs").code == 2


@pytest.mark.slow
def test_the_dashboard_is_told_when_work_begins(tmp_path: Path, run: Run) -> None:
    place = write_place(tmp_path, ny=20, nx=140, step=16)  # two blocks
    done = run("cube", "build", place.area, "--cluster", "local", "--json")
    assert done.code == 0
    assert done.err.startswith("Dask cluster local, ")
    assert "http://127.0.0.1:" in done.err
    assert json.loads(done.out)["cluster"].startswith("local, ")
    asked = ["query", place.area, *place.photos, "--out"]
    done = run(*asked, tmp_path / "there", "--cluster", "local")
    assert done.code == 0
    assert run(*asked, tmp_path / "here").code == 0
    digests = [
        json.loads((tmp_path / where / "street_2/query.json").read_text())["summary"][
            "heatmap_sha256"
        ]
        for where in ("here", "there")
    ]
    assert digests[0] == digests[1]


def test_a_table_in_a_pipe_is_not_cut_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("title", {"word": "left", "number": "right"}, [["x" * 150, "y" * 90], ["a b", "7"]])
    lines = capsys.readouterr().out.splitlines()
    assert "x" * 150 in lines[4]
    assert "y" * 90 in lines[4]
    assert "a b " in lines[5]


@pytest.mark.parametrize(("done", "told"), [(40, "20.0/s"), (1, "1,800/h"), (0, "")])
def test_progress_tells_the_rate(done: int, told: str) -> None:
    now = 0.0
    bars = Progress(get_time=lambda: now)  # not started: it draws nothing
    task = bars.add_task("building", total=100)
    bars.update(task, completed=done)
    now = 2.0
    bars.update(task, completed=2 * done)
    assert RateColumn().render(bars.tasks[0]).plain == told


@pytest.mark.parametrize(
    ("done", "total", "now", "told"),
    [
        (0, None, 3, "building x: begun, 0:00:02 elapsed"),
        (0, 12, 3, "building x: 0 of 12 (0 %), 0:00:02 elapsed"),
        (2.5, 10, 41, "building x: 2 of 10 (25 %), 0:00:40 elapsed, about 0:02:00 left"),
        (
            5e3,
            10**4,
            3601,
            "building x: 5,000 of 10,000 (50 %), 1:00:00 elapsed, about 1:00:00 left",
        ),
    ],
)
def test_a_line_tells_elapsed_and_remaining_apart(
    done: float, total: int | None, now: float, told: str
) -> None:
    assert Course("building x", 1.0, 1.0, done, total).text(now) == told


def test_what_is_made_ready_counts_as_elapsed_and_not_for_the_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([100.0, 220.0])
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(times)))
    lines = console._Lines(early=False)
    lines.stage("building x")(0, 4)
    lines.stages[0].done = 1
    told = "building x: 1 of 4 (25 %), 0:02:10 elapsed, about 0:00:30 left"
    assert lines.stages[0].text(230.0) == told


def test_a_build_in_a_pipe_says_how_far_it_is(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line as soon as there is anything to tell, though only one block is under way."""
    monkeypatch.setattr(console, "_LOOK", 0.002)
    monkeypatch.setattr(console, "_LINES", 1e6)  # seconds until the next
    monkeypatch.setattr(overhead, "_BATCH_PX", {"cpu": 64 * 64})
    place = write_place(tmp_path / "here", ny=20, nx=20)
    done = run("cube", "build", place.area, "--method", "patch", "--json")
    assert done.code == 0
    assert json.loads(done.out)["blocks_done"] == 1  # nothing else on stdout
    assert re.search(r"building testville: 0 of 1 \(\d+ %\), 0:\d\d:\d\d elapsed", done.err)
    assert done.err.count("building") == 1
