"""Sensitive pictures on a page: hidden until the reader chooses, by pixels of a real browser."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import OfflinePage
from tests.report_sample import page as report_page
from tests.report_sample import photo

COLOUR = (20, 240, 60)  # of nothing else on the page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page(tmp_path_factory.mktemp("page") / "report.html", sensitive=True)


def page(path: Path, **changes: Any) -> Path:
    pixels = np.full((90, 160, 3), COLOUR, np.uint8)
    shown = replace(photo("a.jpg"), pixels=pixels, exif={})
    return report_page(path, title="a", photos=(shown,), **changes)


@pytest.fixture
def shown(offline_page: OfflinePage, page_file: Path) -> Any:
    tab = offline_page.open(page_file)
    tab.wait_for_selector("#map[data-ready=yes]")
    return tab


def seen(tab: Any) -> int:
    """Pixels of the screen in the photo's colour."""
    screen = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"), int)
    return int((abs(screen - COLOUR).max(axis=2) < 12).sum())


def test_a_sensitive_photo_is_hidden_until_it_is_selected(
    shown: Any, offline_page: OfflinePage
) -> None:
    assert seen(shown) == 0
    shown.click(".sensitive summary")
    assert seen(shown) > 5000
    shown.click(".sensitive summary")
    assert seen(shown) == 0
    assert offline_page.complaints == []
    assert offline_page.outside == []


def test_the_keyboard_is_enough(shown: Any) -> None:
    shown.focus(".sensitive summary")
    shown.keyboard.press("Enter")
    assert seen(shown) > 5000
    shown.keyboard.press("Space")
    assert seen(shown) == 0


def test_beside_a_candidate_it_is_hidden_too(shown: Any) -> None:
    shown.click("#candidate-2 .chip")
    assert seen(shown) == 0
    assert shown.get_attribute("#compare-photo img", "src") is None
    shown.click("#uncover")
    assert seen(shown) > 5000
    shown.evaluate("document.querySelector('.sensitive').open = false")
    shown.wait_for_selector("#uncover:visible")
    assert seen(shown) == 0


def test_the_choice_is_not_remembered(shown: Any) -> None:
    shown.click(".sensitive summary")
    assert seen(shown) > 5000
    shown.reload()
    assert seen(shown) == 0
    shown.click(".sensitive summary")
    shown.goto("about:blank")
    shown.go_back()
    assert seen(shown) == 0


def test_it_is_not_printed(shown: Any) -> None:
    shown.click(".sensitive summary")
    shown.emulate_media(media="print")
    assert seen(shown) == 0


def test_neither_style_nor_script_is_needed_to_hide_it(
    browser: Any, page_file: Path, tmp_path: Path
) -> None:
    """As in the moment before they are there; a click shows it all the same."""
    text = page_file.read_text(encoding="utf-8")
    start, end = text.index("<style>"), text.index("</style>")
    bare = tmp_path / "bare.html"
    bare.write_text(text[:start] + text[end:], encoding="utf-8")
    context = browser.new_context(
        offline=True, java_script_enabled=False, viewport={"width": 1400, "height": 9000}
    )
    tab = context.new_page()
    tab.goto(bare.as_uri())
    assert seen(tab) == 0
    tab.click(".sensitive summary")
    assert seen(tab) > 5000
    context.close()


def test_another_photo_is_shown_as_ever(offline_page: OfflinePage, tmp_path: Path) -> None:
    tab = offline_page.open(page(tmp_path / "report.html"))
    tab.wait_for_selector("#map[data-ready=yes]")
    assert seen(tab) > 5000
    assert not tab.query_selector(".sensitive")
    tab.click("#candidate-2 .chip")
    assert tab.get_attribute("#compare-photo img", "src")
    assert not tab.is_visible("#uncover")
