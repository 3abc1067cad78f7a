"""The flows as operators use them: a real server, a real worker, real databases."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pyproj import Transformer

from flows.running import limit_name
from geoloc.area import load_area
from geoloc.cube import Cube, list_generations
from geoloc.errors import CubeError
from geoloc.points import read_points
from tests.loopback import serving_on_loopback
from tests.road_files import Way, extract
from tests.service import Composed, Service, compose, postgresql, running, tasks_seen, wait
from tests.small_place import SmallPlace, write_place

# of each wait `wait` says how long it may take; a test has up to six of them
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NOT_CUT_OFF = """element => {
  for (let e = element.parentElement; e; e = e.parentElement)
    if (e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX !== "visible") return false;
  return true;
}"""
LIMITS = "v2/concurrency_limits/filter"
DEPLOYMENTS = {
    "build-points", "evaluate", "geolocate-folder", "query-photo", "refresh-cubes",
    "sample-points", "search-scene", "train-overhead", "zoom",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    return write_place(tmp_path_factory.mktemp("place"), step=16)


@pytest.fixture(scope="module")
def large_place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    """Nine blocks: enough to be interrupted among them."""
    return write_place(tmp_path_factory.mktemp("large"), ny=260, nx=260, step=16)


@pytest.fixture(scope="module")
def service(place: SmallPlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """On SQLite."""
    with running(tmp_path_factory.mktemp("service"), place.area) as service:
        yield service


@pytest.fixture(scope="module")
def resumed(service: Service, large_place: SmallPlace) -> str:
    """The run after one whose worker was killed in the middle of a build."""
    killed = service.start_run("refresh-cubes", areas=[str(large_place.area)], verify_cells=0)
    wait("finished block", lambda: _blocks_done(large_place) > 0, pause=0.05)
    service.kill_worker()
    assert service.run(killed)["state_type"] == "RUNNING"
    assert not (large_place.cube / "CURRENT").exists()
    again = service.local("up")
    assert again.returncode == 0, again.stderr
    return service.start_run("refresh-cubes", areas=[str(large_place.area)], verify_cells=0)


def _blocks_done(place: SmallPlace) -> int:
    """In the cube's own books: progress counts the blocks of the sample before these are opened."""
    try:
        return list_generations(place.cube)[-1].blocks_done
    except CubeError:
        return 0


def test_all_is_deployed_and_the_refresh_is_scheduled(service: Service, resumed: str) -> None:
    assert resumed  # goes on while the other tests run
    assert {found["name"] for found in service.ask("deployments/filter")} == DEPLOYMENTS
    (nightly,) = service.deployment("refresh-cubes")["schedules"]
    assert nightly["schedule"] == {
        "cron": "0 3 * * *", "timezone": "Europe/Kyiv", "day_or": True,
    }  # fmt: skip
    planned = wait("scheduled runs", lambda: _planned(service))
    # three o'clock in Kyiv, whatever the season there
    assert {run["expected_start_time"][11:16] for run in planned} <= {"00:00", "01:00"}
    assert (service.local("status")).returncode == 0


def test_a_server_on_another_port_is_told_at_once(service: Service) -> None:
    done = replace(service, port=service.port + 1).local("up")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: the server of {service.home} runs on port {service.port}: "
        f"give --port {service.port}, or 'down' first\n"
    )


def test_every_known_cube_has_its_limit_when_deployed(service: Service, place: SmallPlace) -> None:
    limits = {limit["name"]: limit["limit"] for limit in service.ask(LIMITS)}
    assert limits[limit_name(load_area(place.area).cube)] == 1


def _planned(service: Service) -> list[dict[str, Any]]:
    return [run for run in service.runs("refresh-cubes") if run["auto_scheduled"]]


def test_a_scheduled_refresh_appears_and_runs(service: Service, place: SmallPlace) -> None:
    ended = service.finished(_scheduled_run(service))
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert Cube.open(place.cube).complete


def _scheduled_run(service: Service) -> str:
    """The first run of a schedule of its own, which is gone once that run has started.

    The schedule comes round every half minute: the scheduler, which looks every five seconds,
    never makes up for a date that was past before it looked, and how long that takes is the
    machine's affair.
    """
    name = "refresh-cubes/refresh-cubes"
    made = service.prefect("deployment", "schedule", "create", name, "--interval", "30")
    assert made.returncode == 0, made.stdout + made.stderr
    started = wait("scheduled run that starts", lambda: _started(service), 240)
    (own,) = (
        schedule["id"]
        for schedule in service.deployment("refresh-cubes")["schedules"]
        if "interval" in schedule["schedule"]
    )
    gone = service.prefect("deployment", "schedule", "delete", name, own, "--accept-yes")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    return str(started[0]["id"])


def _started(service: Service) -> list[dict[str, Any]]:
    return [run for run in _planned(service) if run["state_type"] != "SCHEDULED"]


def _built(service: Service, place: SmallPlace) -> None:
    """The cube is there: from the scheduled refresh or, where a test is run alone, from its own."""
    if not (place.cube / "CURRENT").exists():
        ended = service.finished(service.start_run("refresh-cubes", areas=[str(place.area)]))
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]


def _query(place: SmallPlace, out: Path, *more: str) -> list[str]:
    photos = json.dumps([str(photo) for photo in place.photos])
    given = [f"cube={place.area}", f"photos={photos}", f"out={out}", *more]
    return [word for value in given for word in ("--param", value)]


def test_a_query_from_the_command_line(
    service: Service, place: SmallPlace, tmp_path: Path, browser: Any
) -> None:
    _built(service, place)
    done = service.prefect(
        "deployment", "run", "query-photo/query-photo", *_query(place, tmp_path), "--watch"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for photo in place.photos:
        assert (tmp_path / photo.stem / "report.html").is_file()
    run = service.runs("query-photo")[-1]
    assert run["name"].startswith("query-photo: street_1.jpg +1")
    artifacts = service.artifacts(run["id"])
    assert "openstreetmap.org" in artifacts["answers"]["data"]
    page = tmp_path / "street_1/report.html"
    assert artifacts["answers-report"]["data"] == f"report.html: `{page}`"  # served nowhere
    assert "file:" not in artifacts["answers"]["data"]
    _look_at(service, artifacts["answers"]["id"], browser)


def _look_at(service: Service, artifact: str, browser: Any) -> None:
    """The heatmap and the candidates are on the page of the Prefect UI."""
    page = service.signed_in(browser, width=1400, height=1500)
    page.goto(f"{service.page}/artifacts/artifact/{artifact}")
    picture = page.locator("img[src^='data:image/webp']").first
    picture.wait_for(timeout=60_000)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    assert page.get_by_role("link", name="Google", exact=True).count() == 20
    assert page.get_by_role("link", name="Street View").first.evaluate(NOT_CUT_OFF)
    page.screenshot(path=str(service.home / "artifact.png"))
    page.context.close()


@pytest.mark.parametrize("wrong", ["top=0", "tpo=3"])
def test_wrong_values_are_refused_before_a_run(
    service: Service, place: SmallPlace, tmp_path: Path, wrong: str
) -> None:
    before = len(service.runs("query-photo"))
    given = _query(place, tmp_path, wrong)
    done = service.prefect("deployment", "run", "query-photo/query-photo", *given)
    assert done.returncode == 1
    assert wrong.split("=")[0] in done.stdout + done.stderr
    assert len(service.runs("query-photo")) == before


SHOWN = {"photos": ["https://us:PASSWD@photos.example/a.jpg"]}


@pytest.mark.parametrize(
    "wrong", [{"out": "answers"}, {"photos": []}, {"fuse": "maybe"}, SHOWN], ids=str
)
def test_the_server_refuses_wrong_values_from_whoever_asks(
    service: Service, wrong: dict[str, Any]
) -> None:
    right = {"cube": "/cube.zarr", "photos": ["/photo.jpg"], "out": "/out"}
    with pytest.raises(httpx.HTTPStatusError) as refused:
        service.start_run("query-photo", **{**right, **wrong})
    assert f"'{next(iter(wrong))}" in refused.value.response.text  # of a list: 'photos[0]'


def test_an_expected_error_ends_a_watched_run_with_one_line(
    service: Service, place: SmallPlace, tmp_path: Path
) -> None:
    _built(service, place)
    broken = tmp_path / "text.jpg"
    broken.write_text("not a photo")
    given = (f"cube={place.area}", f'photos=["{broken}"]', f"out={tmp_path / 'out'}")
    asked = [word for value in given for word in ("--param", value)]
    done = service.prefect("deployment", "run", "query-photo/query-photo", *asked, "--watch")
    assert done.returncode == 1
    told = "".join(done.stdout.split())  # lines are wrapped anywhere
    assert f"Failed:1of1photoshavenoanswer:{broken}isnotaphoto" in told, done.stdout
    assert told.endswith("Flowrunfinishedinstate'Failed'.")
    run = service.runs("query-photo")[-1]
    assert "text.jpg" in run["state"]["message"]
    assert "why" in service.artifacts(run["id"])["failures"]["data"]
    assert "Traceback" not in service.log()


def test_from_roads_over_a_cube_of_points_down_to_cells(
    service: Service, place: SmallPlace, tmp_path: Path
) -> None:
    roads = extract(tmp_path / "roads.osm.pbf", Way(5, _across(place)))
    points, out = str(tmp_path / "points.parquet"), str(tmp_path / "answers")
    given = {"out": points, "sources": [str(roads)], "n": 60}
    sampled = service.start_run("sample-points", **given)
    refused = service.start_run("sample-points", **{**given, "n": 10_000_000})
    assert service.finished(sampled)["state_type"] == "COMPLETED"
    assert set(read_points(points).attributes["way_id"]) == {5}
    assert "km of roads" in service.artifacts(sampled)["points"]["data"]
    assert "less than a metre for each" in service.finished(refused)["state"]["message"]
    area = str(_area(place, tmp_path / "nation.yaml", tmp_path / "nation.zarr"))
    for n in (40, None):
        built = service.start_run("build-points", points=points, area=area, n=n, verify_cells=5)
        _completed(service, built)
        assert _figures(service.artifacts(built)["build"])["points"] == str(n or 60)
        assert "verification" in service.artifacts(built)
    assert Cube.open(tmp_path / "nation.zarr").generation == "g0002"
    photo = str(place.photos[0])
    asked = service.start_run("query-photo", cube=area, photos=[photo], out=out, regions=1000)
    _completed(service, asked)
    record = json.loads((tmp_path / "answers/street_1/query.json").read_text())
    assert record["parameters"]["regions"] == 1000 and record["regions"]["good_regions"]
    zoomed = service.start_run("zoom", answer=out, km=0.64, region=True)
    _completed(service, zoomed)
    new = tmp_path / "answers/zoom/street_1 region 1 0.64 km"
    assert json.loads((new / "query.json").read_text())["parent"]["kind"] == "region"
    assert "street" in service.artifacts(zoomed)["neighbourhoods"]["data"]


def _across(place: SmallPlace) -> list[tuple[float, float]]:
    """A road through the middle of a place, in degrees."""
    left, bottom, right, top = load_area(place.area).grid.bounds
    to_degrees = Transformer.from_crs(32636, 4326, always_xy=True)
    ends = [(left + 200, (bottom + top) / 2), (right - 200, (bottom + top) / 2)]
    return [to_degrees.transform(*end) for end in ends]


def _completed(service: Service, run: str) -> None:
    ended = service.finished(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]


ODD = "<img src=x onerror=alert(1)>&\"'"


class _Web(http.server.SimpleHTTPRequestHandler):
    """The files of a folder."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_what_is_bad_is_told_beside_the_answers_to_what_is_good(
    service: Service, place: SmallPlace, tmp_path: Path, browser: Any
) -> None:
    _built(service, place)
    odd, out = tmp_path / f"{ODD}.jpg", tmp_path / "out"
    odd.write_bytes(place.photos[1].read_bytes())
    refreshed = service.start_run("refresh-cubes", areas=_good_and_bad_areas(place, tmp_path))
    with serving_on_loopback(partial(_Web, directory=str(place.photos[0].parent))) as port:
        bad = ["[bad/no.jpg", "127.0.0.1:bad/no.jpg", f"127.0.0.1:{port}/no.jpg?s=SECRET"]
        good = [str(odd), f"http://127.0.0.1:{port}/street_1.jpg?s=SECRET"]
        photos = [f"http://{bad[0]}", *good, *(f"http://{address}" for address in bad[1:])]
        cubes = [str(place.area), str(_area(place, tmp_path / "again.yaml", place.cube))]
        asked = service.start_run("query-photo", cube=cubes, photos=photos, out=str(out))
        ended = service.finished(asked)
    assert ended["state"]["message"].count("3 of 5 photos have no answer: [bad/no.jpg") == 1
    assert ended["name"] == f"query-photo: no.jpg +4 · {place.folder.name} +1"
    _told_by_address(service.artifacts(asked), port)
    for folder in (place.folder.name, "again.yaml"):
        record = json.loads((out / folder / "street_1" / "query.json").read_text())
        assert record["photos"][0]["fetched_from"] == f"127.0.0.1:{port}/street_1.jpg"
    assert len(list(out.glob("*/*/report.html"))) == 4
    _no_element_of_a_name(service, asked, browser)
    _areas_told(service, refreshed)
    assert not re.findall("PASSWD|SECRET", service.log())


def _good_and_bad_areas(place: SmallPlace, folder: Path) -> list[str]:
    """One whose cube is a file, one that is not there, and the small place."""
    (folder / "cube").write_text("no cube")
    blocked = _area(place, folder / "blocked.yaml", folder / "cube")
    return [str(blocked), str(folder / "absent.yaml"), str(place.area)]


def _area(place: SmallPlace, path: Path, cube: Path) -> Path:
    """Another area file of the same place, with this cube."""
    text = place.area.read_text().replace("[tile.tif]", f"[{place.folder}/tile.tif]")
    path.write_text(text.replace("cube: cube.zarr", f"cube: {cube}"))
    return path


def _told_by_address(artifacts: dict[str, dict[str, Any]], port: int) -> None:
    rows = json.loads(artifacts["failures"]["data"])
    assert [row["what"] for row in rows] == [
        "\\[bad/no.jpg", "127.0.0.1:bad/no.jpg", f"127.0.0.1:{port}/no.jpg",
    ]  # fmt: skip
    assert rows[2]["why"] == f"127.0.0.1:{port}/no.jpg: the server answers 404"
    assert not re.findall("PASSWD|SECRET", str(artifacts))


def _no_element_of_a_name(service: Service, run: str, browser: Any) -> None:
    """Neither the list of artifacts nor the page of one takes the photo's name for HTML."""
    answer = service.artifacts(run)["answers-again-yaml"]["id"]
    page = service.signed_in(browser, width=1400, height=900)
    for path in ("artifacts", f"artifacts/artifact/{answer}"):
        page.goto(f"{service.page}/{path}")
        page.get_by_text(f"{ODD}.jpg").first.wait_for(timeout=60_000)
        assert page.locator("img[src=x]").count() == 0
    page.context.close()


def _areas_told(service: Service, run: str) -> None:
    """The good area's cube is brought up; the others are told, and tried once."""
    ended = service.finished(run)
    assert ended["state"]["message"].count("2 of 3 areas failed; blocked.yaml: cube /") == 1
    rows = json.loads(service.artifacts(run)["failures"]["data"])
    assert [row["what"] for row in rows] == ["blocked.yaml", "absent.yaml"]
    tried = service.ask("task_runs/filter", flow_runs={"id": {"any_": [run]}})
    states = sorted((task["state_type"], task["run_count"]) for task in tried)
    assert states == [("COMPLETED", 1), ("FAILED", 1)]


def test_a_refresh_whose_worker_was_killed_is_continued(
    service: Service, resumed: str, large_place: SmallPlace
) -> None:
    ended = service.finished(resumed)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    figures = _figures(service.artifacts(resumed)["build"])
    assert int(figures["blocks already there"]) > 0
    assert int(figures["blocks already there"]) + int(figures["blocks built"]) == 9
    assert Cube.open(large_place.cube).complete


def _figures(artifact: dict[str, Any]) -> dict[str, str]:
    return {row["figure"]: row["value"] for row in json.loads(artifact["data"])}


def test_the_other_flows(service: Service, place: SmallPlace, tmp_path: Path) -> None:
    _built(service, place)
    cube, out = str(place.area), str(tmp_path)
    runs = {
        "scene": service.start_run("search-scene", cube=cube, scene="bridge", out=out),
        "evaluation": service.start_run(
            "evaluate", cube=cube, truth=str(place.folder / "photos" / "truth.csv")
        ),
        "folder": service.start_run(
            "geolocate-folder", cube=cube, folder=str(place.folder / "photos"), out=f"{out}/all"
        ),
    }
    for key, run in runs.items():
        ended = service.finished(run)
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
        assert key in service.artifacts(run)
    assert (tmp_path / "bridge" / "report.html").is_file()
    assert (tmp_path / "all" / "index.html").is_file()


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """On PostgreSQL, with a Dask cluster, each piece as ``compose.yaml`` starts it."""
    with postgresql() as url, contextlib.ExitStack() as pieces:
        composed = compose(tmp_path_factory.mktemp("composed"), url)
        for name in ("prefect", "dask-scheduler", "dask-worker"):
            pieces.enter_context(composed.piece(name))
        wait("server", composed.healthy, 240)
        yield composed


DEPLOY = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]


def test_a_checkout_is_deployed_after_the_one_command_that_is_named(composed: Composed) -> None:
    early = composed.in_checkout(*DEPLOY)
    assert early.returncode == 1
    assert "A work pool is required to deploy" in early.stdout + early.stderr
    head = (composed.checkout / "prefect.yaml").read_text().split("name: geoloc")[0]
    assert "A work pool is required to deploy" in head
    assert "python deploy/local.py furnish" in head
    furnished = composed.in_checkout(*composed.command("furnish"))
    assert furnished.returncode == 0, furnished.stderr
    again = composed.in_checkout(*DEPLOY)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {found["name"] for found in composed.ask("deployments/filter")} == DEPLOYMENTS
    assert not (composed.home / "prefect.db").exists()


def test_on_postgresql_and_a_dask_cluster(
    composed: Composed, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    place = write_place(tmp_path_factory.mktemp("place-pg"), ny=60, step=16, cache=True)
    given = {"areas": [str(place.area)], "cluster": composed.scheduler, "verify_cells": 5}
    with composed.piece("worker"):
        run = composed.start_run("refresh-cubes", **given)
        ended = composed.finished(run)
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
        seen = tasks_seen(composed.scheduler)
        assert seen > 0
        asked = _query(place, tmp_path, f"cluster={composed.scheduler}")
        query = ["deployment", "run", "query-photo/query-photo", *asked]
        done = composed.prefect(*query, "--watch")
        assert done.returncode == 0, done.stdout + done.stderr
        assert tasks_seen(composed.scheduler) > seen
    assert (tmp_path / "street_2" / "query.json").is_file()
    artifacts = composed.artifacts(run)
    assert artifacts["tiling"]["data"] == artifacts["progress"]["data"] == 100
    assert _figures(artifacts["build"])["where"].startswith(f"{composed.scheduler}, 1 worker, ")
    said = [line["message"] for line in composed.ask("logs/filter", logs=_of(run))]
    assert any(f"http://{composed.dashboard}/status" in line for line in said), said


def _of(run: str) -> dict[str, Any]:
    return {"flow_run_id": {"any_": [run]}}
