"""The flows as operators use them: a real server, a real worker, real databases."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoloc.cube import Cube
from tests.service import Service, postgresql, running, wait
from tests.small_place import SmallPlace, write_place

pytestmark = [pytest.mark.slow, pytest.mark.endurance]

DEPLOYMENTS = {
    "evaluate", "geolocate-folder", "query-photo", "refresh-cubes", "search-scene",
    "train-overhead",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    return write_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def large_place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    """Nine blocks: enough to be interrupted among them."""
    return write_place(tmp_path_factory.mktemp("large"), ny=260, nx=260)


@pytest.fixture(scope="module")
def service(place: SmallPlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """On SQLite."""
    with running(tmp_path_factory.mktemp("service"), place.area) as service:
        yield service


@pytest.fixture(scope="module")
def resumed(service: Service, large_place: SmallPlace) -> str:
    """The run after one whose worker was killed in the middle of a build."""
    killed = service.start_run("refresh-cubes", areas=[str(large_place.area)], verify_cells=0)
    wait("progress", lambda: _progress(service, killed) > 0)
    service.kill_worker()
    assert service.run(killed)["state_type"] == "RUNNING"
    assert not (large_place.cube / "CURRENT").exists()
    again = service.local("up")
    assert again.returncode == 0, again.stderr
    return service.start_run("refresh-cubes", areas=[str(large_place.area)], verify_cells=0)


def _progress(service: Service, run: str) -> float:
    return float(service.artifacts(run).get("progress", {}).get("data") or 0)


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


def _planned(service: Service) -> list[dict[str, Any]]:
    return [run for run in service.runs("refresh-cubes") if run["auto_scheduled"]]


def test_a_scheduled_refresh_appears_and_runs(service: Service, place: SmallPlace) -> None:
    _refresh_soon(service)
    wait("cube", lambda: (place.cube / "CURRENT").exists())
    assert Cube.open(place.cube).complete


def _refresh_soon(service: Service) -> None:
    """A schedule of its own, whose first run is due in some seconds."""
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3)
    schedule = {"interval": 86400, "anchor_date": soon.isoformat(), "timezone": "UTC"}
    made = service.prefect(
        "deployment", "schedule", "create", "refresh-cubes/refresh-cubes",
        "--interval", str(schedule["interval"]), "--anchor-date", soon.isoformat(),
        "--timezone", "UTC",
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr


def _query(place: SmallPlace, out: Path, *more: str) -> list[str]:
    photos = json.dumps([str(photo) for photo in place.photos])
    given = [f"cube={place.area}", f"photos={photos}", f"out={out}", *more]
    return [word for value in given for word in ("--param", value)]


def test_a_query_from_the_command_line(
    service: Service, place: SmallPlace, tmp_path: Path, browser: Any
) -> None:
    wait("cube", lambda: (place.cube / "CURRENT").exists())
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
    assert (tmp_path / "street_1/report.html").as_uri() in artifacts["answers-report"]["data"]
    _look_at(service, artifacts["answers"]["id"], browser)


def _look_at(service: Service, artifact: str, browser: Any) -> None:
    """The heatmap and the candidates are on the page of the Prefect UI."""
    page = browser.new_page(viewport={"width": 1400, "height": 1500})
    page.goto(f"{service.page}/artifacts/artifact/{artifact}")
    picture = page.locator("img[src^='data:image/webp']").first
    picture.wait_for(timeout=60_000)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    assert page.get_by_role("link", name="Google Maps").count() == 20
    page.screenshot(path=str(service.home / "artifact.png"))
    page.close()


@pytest.mark.parametrize("wrong", ["top=0", "out=answers", "photos=[]", "fuse=maybe", "tpo=3"])
def test_wrong_values_are_refused_before_a_run(
    service: Service, place: SmallPlace, tmp_path: Path, wrong: str
) -> None:
    before = len(service.runs("query-photo"))
    given = _query(place, tmp_path, wrong)
    done = service.prefect("deployment", "run", "query-photo/query-photo", *given)
    assert done.returncode == 1
    assert wrong.split("=")[0] in done.stdout + done.stderr
    assert len(service.runs("query-photo")) == before


def test_expected_errors_end_runs_with_one_line(service: Service, place: SmallPlace) -> None:
    wait("cube", lambda: (place.cube / "CURRENT").exists())
    broken, cube, out = place.folder / "text.jpg", str(place.area), str(place.folder / "out")
    broken.write_text("not a photo")
    runs = [
        service.start_run("search-scene", cube=cube, scene="atlantis", out=out),
        service.start_run("query-photo", cube=cube, photos=[str(broken)], out=out),
    ]
    messages = [service.finished(run)["state"]["message"] for run in runs]
    assert "atlantis" in messages[0]
    assert "text.jpg" in messages[1]
    assert "why" in service.artifacts(runs[1])["failures"]["data"]
    assert "Traceback" not in service.log()


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
    wait("cube", lambda: (place.cube / "CURRENT").exists())
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


def test_the_same_on_postgresql(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    place = write_place(tmp_path_factory.mktemp("place-pg"))
    with postgresql() as url:
        home = tmp_path_factory.mktemp("service-pg")
        settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
        with running(home, place.area, **settings) as service:
            _refresh_soon(service)
            assert not (home / "prefect.db").exists()
            wait("cube", lambda: (place.cube / "CURRENT").exists())
            query = ["deployment", "run", "query-photo/query-photo", *_query(place, tmp_path)]
            assert service.prefect(*query, "--watch").returncode == 0
            assert (tmp_path / "street_2" / "query.json").is_file()
