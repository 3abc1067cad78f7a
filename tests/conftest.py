"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.bulk_place import Place

# how long an example takes says nothing on a machine that does other work as well
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# servers of the tests are on loopback, and name files of this disk: nobody may by themselves
os.environ["GEOLOC_PRIVATE_HOSTS"] = f"127.0.0.1, localhost, {tempfile.gettempdir()}"

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


# the thousands of tests and what they import are there until the end: looking through them again
# and again for what is not needed any more took a quarter of the time of collecting them
gc.disable()


def pytest_collection_finish() -> None:
    """From now on, only what tests make is looked through."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: what runs side by side then ends at about the same time.

    First of all the one that compiles all of the sandbox, which takes longer than its tests: those
    beside it need no sandbox, and those after them find it compiled.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.name != "test_demo_national.py"))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Children can be interrupted though a shell started the tests in the background.

    What such a shell starts ignores SIGINT, and so would every process started by the tests.
    """
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; tests that need it are skipped where there is none."""
    program = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium: 'make services' installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(_QUIET))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a running cluster: one process, two threads."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    from tests.bulk_place import make_place  # torch: most tests do without

    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def place(_place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A small cube whose model is in the store."""
    monkeypatch.setenv("GEOLOC_MODELS", str(_place.folder / "models"))
    return _place


class OfflinePage:
    """A page of a browser that is cut off, and what it complained about or asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> Any:
        """Show a file."""
        self.page.goto(path.absolute().as_uri())
        return self.page

    @property
    def outside(self) -> list[str]:
        """Requests that left the machine."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture
def offline_page(browser: Any) -> Iterator[OfflinePage]:
    """A fresh page without network, 1400 x 900 px."""
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
    yield OfflinePage(context.new_page())
    context.close()
