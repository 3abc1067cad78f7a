"""Versions of files: what changes is noticed, what stays is left, and no token is kept."""

from __future__ import annotations

import http.server
import logging
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from geoloc.area import GeotiffImagery, StacImagery
from geoloc.domain import Grid
from geoloc.errors import CubeError, ImageryError
from geoloc.imagery import open_source
from geoloc.imagery.keys import fill_keys
from geoloc.imagery.servers import Servers, _version_of
from geoloc.imagery.unanswered import Unanswered
from geoloc.imagery.version import Versions
from geoloc.jobs.build import build_blocks
from geoloc.jobs.plan import BuildPlan
from geoloc.jobs.refresh import refresh_blocks

from .cubes import plan_of
from .cubes import s3_bucket as s3_bucket
from .loopback import serving_on_loopback
from .test_imagery_geotiff import WINDOW, _Ranges, noise, write
from .test_imagery_stac import catalog, item


def file_version(path: str) -> str:
    """Asked anew, of one file."""
    return Versions().of([path])[0]


@dataclass
class Habits:
    """What a server of files does and does not."""

    root: str = ""
    head: int = 200
    key: str = ""
    etag: bool = True
    date: bool = True
    asked: list[str] = field(default_factory=list)


class _Server(_Ranges):
    habits: Habits

    def __init__(self, *args: Any, habits: Habits, **options: Any) -> None:
        self.habits = habits
        super().__init__(*args, **options)

    def do_HEAD(self) -> None:  # noqa: N802  (names that http.server looks for)
        self._guarded(False, self.habits.head)

    def do_GET(self) -> None:  # noqa: N802
        self._guarded(True, 200)

    def _guarded(self, body: bool, status: int) -> None:
        self.habits.asked.append(f"{self.command} {self.path}")
        if self.habits.key not in self.path:
            self.send_error(403)
        elif status != http.HTTPStatus.OK:
            self.send_error(status)
        else:
            self._answer(body)

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "ETag":
            path = Path(self.translate_path(self.path))
            if self.habits.date:
                self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
            if not self.habits.etag:
                return
        super().send_header(keyword, value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Habits]:
    habits = Habits()
    with serving_on_loopback(partial(_Server, directory=str(tmp_path), habits=habits)) as port:
        habits.root = f"http://127.0.0.1:{port}"
        yield habits


def changed(path: Path) -> None:
    """Other pixels of the same length, another day."""
    write(path, 255 - noise(1))
    os.utime(path, (1, 1))


@pytest.mark.parametrize("etag", [True, False])
@pytest.mark.parametrize(
    ("head", "methods"), [(200, ["HEAD"]), (405, ["HEAD", "GET"]), (403, ["HEAD", "GET"])]
)
@pytest.mark.parametrize("prefix", ["", "/vsicurl/"])
def test_servers_of_any_habit_tell_versions(
    tmp_path: Path, server: Habits, etag: bool, head: int, methods: list[str], prefix: str
) -> None:
    server.head, server.etag, server.key = head, etag, "?sig=tok"
    path = write(tmp_path / "a.tif", noise(1))
    url = f"{prefix}{server.root}/a.tif?sig=tok"
    before = file_version(url)
    assert [asked.split()[0] for asked in server.asked] == methods
    assert before == file_version(url) and "tok" not in before and "http" not in before
    assert etag or before.endswith(f"-{path.stat().st_size}")
    changed(path)
    assert file_version(url) != before
    assert file_version(f"{prefix}{server.root}/b.tif?sig=tok") == "missing"
    refused = file_version(f"{prefix}{server.root}/a.tif?key=tak")
    assert refused == f"{prefix}{server.root}/a.tif"


def test_a_size_is_the_whole_files(tmp_path: Path, server: Habits) -> None:
    """However it is asked for."""
    write(tmp_path / "a.tif", noise(1))
    server.etag = False
    by_head = file_version(f"{server.root}/a.tif")
    server.head = 405
    assert file_version(f"{server.root}/a.tif") == by_head


def test_what_nobody_tells_is_noted_and_holds_no_secret(tmp_path: Path, server: Habits) -> None:
    server.etag = server.date = False
    versions = Versions()
    host = server.root.removeprefix("http://")
    for name in "ab":
        write(tmp_path / f"{name}.tif", noise(1))
    assert versions.notes == ()
    urls = [f"http://user:tok@{host}/{name}.tif?sig=tok" for name in "ab"]
    assert versions.of([*urls, str(tmp_path / "a.tif")])[:2] == [
        f"http://{host}/{name}.tif" for name in "ab"
    ]
    (note,) = versions.notes
    assert note.startswith(f"the server gives no version of 2 files ({host}): changes there are")
    assert pickle.loads(pickle.dumps(versions)).notes == (note,)  # noqa: S301  (our own)
    gone = Versions()
    nowhere = "http://127.0.0.1:9/a.tif?sig=tok"
    assert gone.of([nowhere], sure=False) == ["http://127.0.0.1:9/a.tif"]
    with pytest.raises(ImageryError, match=r"9/a.tif cannot be checked .*no answer.*later$"):
        gone.of([nowhere])
    assert gone.notes == ()  # not learnt
    assert Versions().of(["/vsizip/a.zip/a.tif"]) == ["/vsizip/a.zip/a.tif"]


def test_a_server_is_asked_once_for_a_file(tmp_path: Path, server: Habits) -> None:
    """By however many threads, and with GET at once where HEAD was refused."""
    names = [f"{i}.tif" for i in range(30)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    urls = [f"{server.root}/{name}" for name in names]
    versions = Versions()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: versions.of(urls), range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert sorted(server.asked) == sorted(f"HEAD /{name}" for name in names)
    learnt = pickle.loads(pickle.dumps(versions))  # noqa: S301  (our own)
    assert learnt.of(urls) == answers[0] and len(server.asked) == len(names)
    server.asked.clear()
    server.head = 405
    headless = Versions()
    assert [headless.of([url])[0] for url in urls] == answers[0]
    assert [asked.split()[0] for asked in server.asked] == ["HEAD", *["GET"] * len(names)]


@pytest.mark.parametrize("head", [200, 405])
@pytest.mark.parametrize("kind", ["stac", "geotiff"])
def test_changed_imagery_behind_a_token_is_noticed(
    tmp_path: Path, server: Habits, kind: str, head: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOK", "sig=tok")
    server.key, server.head = "?sig=tok", head
    path = write(tmp_path / "a.tif", noise(1))
    spec: StacImagery | GeotiffImagery
    if kind == "stac":
        url = catalog(tmp_path, item("a", f"{server.root}/a.tif"))
        spec = StacImagery(url=url, sign="${TOK}")
    else:
        spec = GeotiffImagery(paths=[server.root + "/a.tif?${TOK}"])
    source = open_source(spec)
    before = source.fingerprint(WINDOW)
    (seen,) = source.read(WINDOW).attrs["items"]
    assert open_source(spec).fingerprint(WINDOW) == before and "tok" not in f"{seen}{spec}"
    changed(path)
    assert open_source(spec).fingerprint(WINDOW) != before


@pytest.mark.parametrize("told", [True, False])
def test_a_new_token_changes_nothing(tmp_path: Path, server: Habits, told: bool) -> None:
    """Of presigned hrefs, whether the server tells versions or not."""
    server.key, server.etag, server.date = "?sig=tok", told, told
    write(tmp_path / "a.tif", noise(1))
    prints, notes = set(), set()
    for expires in (1, 2):
        href = f"{server.root}/a.tif?sig=tok{expires}&expires={expires}"
        source = open_source(StacImagery(url=catalog(tmp_path, item("a", href))))
        (seen,) = source.read(WINDOW).attrs["items"]
        assert seen.href == f"{server.root}/a.tif" and "tok" not in f"{seen}"
        prints.add(source.fingerprint(WINDOW))
        notes.add(source.notes)  # type: ignore[attr-defined]
    assert len(prints) == len(notes) == 1
    assert bool(notes.pop()) != told


@pytest.mark.parametrize("busy", [429, 503])
def test_a_busy_server_is_asked_again_later(tmp_path: Path, server: Habits, busy: int) -> None:
    write(tmp_path / "a.tif", noise(1))
    source = open_source(GeotiffImagery(paths=[f"{server.root}/a.tif"]))
    assert source.covers(WINDOW)
    server.head = busy
    server.asked.clear()
    with pytest.raises(ImageryError, match=rf"version now \(HTTP {busy}\): try again later"):
        source.fingerprint(WINDOW)
    assert {asked.split()[0] for asked in server.asked} == {"HEAD"}
    server.head = 200
    assert source.fingerprint(WINDOW) == open_source(source.spec).fingerprint(WINDOW)  # type: ignore[attr-defined]


def test_queries_tell_files_apart(tmp_path: Path, server: Habits) -> None:
    server.etag = server.date = False
    write(tmp_path / "a.tif", noise(1))
    one, other = Versions().of([f"{server.root}/a.tif?year={year}&sig=tok" for year in (1, 2)])
    assert one != other and "tok" not in one


def test_a_silent_host_is_given_up() -> None:
    """After three files of it, each asked twice at most."""
    servers = Servers()
    for _ in range(5):
        with pytest.raises(Unanswered):
            servers.version("http://127.0.0.1:9/a.tif")
    assert servers._silent == {"127.0.0.1:9": 3}


def test_odd_dates_and_addresses_are_no_faults() -> None:
    assert _version_of({"Last-Modified": "Mon, 1 Jan 2024 10:00:00 +99999999999999999999"})
    versions = Versions()
    assert versions.of(["http://[bad/a.tif"]) == ["http://[bad/a.tif"]
    assert "1 file (http://[bad/a.tif)" in versions.notes[0]


@pytest.mark.parametrize("told", [True, False])
def test_a_refresh_says_what_it_cannot_notice(
    tmp_path: Path, server: Habits, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOK", "sig=tok")
    server.key, server.etag, server.date = "?sig=tok", told, told
    path = write(tmp_path / "a.tif", noise(1))
    spec = StacImagery(url=catalog(tmp_path, item("a", f"{server.root}/a.tif")), sign="${TOK}")
    grid = Grid(WINDOW.crs, WINDOW.left, WINDOW.top, 10.0, 4, 5)

    def plan() -> BuildPlan:
        return plan_of(tmp_path / "cube", grid, open_source(spec))

    build_blocks(plan(), cluster="inline")
    notes = refresh_blocks(plan(), cluster="inline").notes
    assert notes[-1].startswith("the imagery has not changed")
    assert any("gives no version of 1 file" in note for note in notes[:-1]) != told
    changed(path)
    report = refresh_blocks(plan(), cluster="inline")
    assert (report.blocks_done, report.generation) == ((1, "g0002") if told else (0, "g0001"))
    kept = [p.read_bytes() for p in (tmp_path / "cube").rglob("*") if p.is_file()]
    assert not any(b"sig=" in content for content in kept)


def test_faults_of_presigned_hrefs_show_no_token(tmp_path: Path, server: Habits) -> None:
    server.key = "?sig=other"
    href = f"{server.root}/a.tif?sig=tok&expires=1"
    source = open_source(StacImagery(url=catalog(tmp_path, item("a", href))))
    (error,) = source.read(WINDOW).attrs["errors"]
    assert "403" in error and "a.tif" in error and "tok" not in error


def test_no_log_tells_a_key(
    tmp_path: Path,
    server: Habits,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even that of the library that speaks HTTP, at its most talkative."""
    monkeypatch.setenv("FILE_KEY", "s3cret")
    caplog.set_level(logging.DEBUG)
    write(tmp_path / "a.tif", noise(1))
    catalog(tmp_path, item("a", f"{server.root}/a.tif?sig=s3cret"))
    for root in (server.root, "http://127.0.0.1:9"):
        Versions().of([root + "/a.tif?x=${FILE_KEY}"], fill_keys, sure=False)
    assert "/a.tif?x=${FILE_KEY}" in caplog.text and "Retrying" in caplog.text
    stac = open_source(StacImagery(url=server.root + "/catalog.json?x=${FILE_KEY}"))
    assert stac.read(WINDOW).valid.values.all()
    assert sum("s3cret" in asked for asked in server.asked) > 3
    assert {r.name for r in caplog.records if "s3cret" in r.getMessage()} == set()


def test_objects_are_asked_by_our_stores(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    client = boto3.client("s3")
    client.put_object(Bucket="cubes", Key="in/a.tif", Body=b"1", ACL="public-read")
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    urls = [f"{s3_bucket}/in/a.tif", "/vsis3/cubes/in/a.tif"]
    one, other = Versions().of(urls)
    assert one == other and '"' in one
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        "[profile desk]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
        f"region = us-east-1\nendpoint_url = {endpoint}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "desk")
    assert Versions().of(urls) == [one, one]
    assert file_version(f"{s3_bucket}/in/b.tif") == "missing"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CubeError, match="AWS_PROFILE nobody is in neither"):
        file_version(urls[0])
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert Versions().of(urls) == [one, one]
