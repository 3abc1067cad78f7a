"""The page, opened in a real browser that is cut off from the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from geoloc.report.html import write_page
from tests.conftest import OfflinePage
from tests.report_sample import GRID, HOSTILE, FlatImagery, sample


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(sample(), tmp_path_factory.mktemp("page") / "report.html", FlatImagery())


@pytest.fixture
def page(offline_page: OfflinePage, page_file: Path) -> Any:
    shown = offline_page.open(page_file)
    shown.wait_for_selector("#map[data-ready=yes]")
    # no wait_for_function: from its second look on it evaluates text, which the page forbids
    shown.locator("#closeups img").nth(2).wait_for(state="attached")
    return shown


def transform(page: Any, selector: str) -> str:
    return str(page.eval_on_selector(selector, "e => e.style.transform"))


TWO_FRAMES = "new Promise(then => requestAnimationFrame(() => requestAnimationFrame(then)))"


def moved(page: Any, selector: str, before: str) -> str:
    """Where a layer of the map comes to rest, once it is no longer where it was."""
    then = transform(page, selector)
    for _ in range(300):
        page.evaluate(TWO_FRAMES)
        then, last = transform(page, selector), then
        if then == last != before:
            return then
    pytest.fail(f"{selector} stays at {before}" if then == before else "the map does not rest")


def test_opens_without_network_complaint_or_foreign_script(
    page: Any, offline_page: OfflinePage
) -> None:
    assert page.title().startswith(HOSTILE)
    assert page.inner_text("h1") == HOSTILE
    assert "<img src=x onerror=alert(2)>" in page.text_content("dl")
    assert f"SHA-256 {'ab' * 32}" in page.inner_text("figcaption")
    assert "Cube generation g0001" in page.inner_text(".read")
    assert offline_page.complaints == []
    assert offline_page.outside == []


@pytest.mark.parametrize("width", [360, 400, 768])
def test_nothing_is_wider_than_a_phone(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    zoom, north = (page.locator(f"#{name}").bounding_box() for name in ("zoom", "north"))
    assert zoom["x"] > north["x"] + north["width"] or zoom["y"] + zoom["height"] <= north["y"]


def test_every_overlay_can_be_hidden(page: Any) -> None:
    for name in ("base", "heat", "markers", "closeups"):
        page.uncheck(f"#show-{name}")
        assert page.eval_on_selector(f"#{name}", "e => getComputedStyle(e).display") == "none"
        page.check(f"#show-{name}")
        assert page.eval_on_selector(f"#{name}", "e => getComputedStyle(e).display") != "none"


def test_sliders_set_opacity_and_share(page: Any) -> None:
    page.fill("#opacity", "25")
    assert page.eval_on_selector("#heat", "e => getComputedStyle(e).opacity") == "0.25"
    drawn = "e => e.getContext('2d').getImageData(0, 0, e.width, e.height).data" \
        ".reduce((n, v, i) => n + (i % 4 === 3 && v > 0), 0)"  # fmt: skip
    assert page.eval_on_selector("#heat", drawn) == GRID.size - 10 * 30
    page.fill("#best", "81")
    assert page.inner_text("#best-value") == "10 %"
    assert page.eval_on_selector("#heat", drawn) == pytest.approx(0.1 * GRID.size, rel=0.06)


def test_markers_and_cards_lead_to_each_other(page: Any) -> None:
    page.locator(".marker", has_text="2").click()
    assert page.get_attribute("#candidate-2", "class").endswith("chosen")
    before = transform(page, "#heat")
    page.click("#candidate-3 .chip")
    assert moved(page, "#heat", before) != before
    box, dot = page.locator("#map").bounding_box(), page.locator(".marker.chosen").bounding_box()
    assert page.inner_text(".marker.chosen") == "3"
    assert dot["x"] + dot["width"] / 2 == pytest.approx(box["x"] + box["width"] / 2, abs=2)
    assert dot["y"] + dot["height"] / 2 == pytest.approx(box["y"] + box["height"] / 2, abs=2)


def test_read_out_tells_the_place_under_the_pointer(page: Any) -> None:
    """The marker of candidate 1 stands on the best cell: same degrees, smallest distance."""
    dot = page.locator(".marker", has_text="1").bounding_box()
    page.uncheck("#show-markers")
    x, y = dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2
    page.mouse.move(x, y)
    lat, lon = map(float, re.findall(r"-?\d+\.\d+", page.inner_text("#readout"))[:2])
    best = sample().candidates[0]
    assert (lat, lon) == (pytest.approx(best.lat, abs=1e-4), pytest.approx(best.lon, abs=1e-4))
    assert "distance ≤ 0.6" in page.inner_text("#readout")
    assert "best 0.008 %" in page.inner_text("#readout")  # one cell of 12,300
    page.mouse.click(x, y)
    assert page.is_visible("#pin")
    assert page.get_attribute("#place a >> nth=0", "href").startswith("https://www.openstreetmap")


def test_wheel_keys_and_drag_move_the_map(page: Any) -> None:
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + 300, box["y"] + 300
    seen = [transform(page, "#base img")]
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    seen.append(moved(page, "#base img", seen[-1]))
    page.mouse.down()
    page.mouse.move(x + 60, y + 30)
    page.mouse.up()
    seen.append(moved(page, "#base img", seen[-1]))
    for key in ("ArrowLeft", "+", "0"):
        page.press("#map", key)
        seen.append(moved(page, "#base img", seen[-1]))
    assert len(set(seen)) == len(seen) - 1  # the last, 0, is the first view again
    assert seen[0] == seen[-1]
    assert page.is_hidden("#pin")  # a drag is no click


def test_a_photo_can_be_enlarged(page: Any) -> None:
    page.click(".enlarge")
    assert page.is_visible("#lightbox img")
    page.click("#lightbox")
    assert page.is_hidden("#lightbox")


def test_without_imagery_the_heatmap_is_still_there(
    offline_page: OfflinePage, tmp_path: Path
) -> None:
    page = offline_page.open(write_page(sample(), tmp_path / "report.html"))
    page.wait_for_selector("#map[data-ready=yes]")
    assert "No imagery was at hand" in page.inner_text("#answer")
    assert page.locator(".marker").count() == 3
    assert offline_page.complaints == []


def test_without_scripts_there_is_a_picture(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("img.still").bounding_box()["height"] > 100
    context.close()


def test_a_script_from_elsewhere_does_not_run(offline_page: OfflinePage, page_file: Path) -> None:
    """The policy itself holds, even if the escaping once failed."""
    broken = page_file.with_name("broken.html")
    text = page_file.read_text().replace("</header>", "<script>window.bad = 1</script></header>")
    broken.write_text(text)
    page = offline_page.open(broken)
    page.wait_for_selector("#map[data-ready=yes]")
    assert page.evaluate("window.bad") is None
    assert any("Content Security Policy" in text for text in offline_page.complaints)


def test_page_is_bounded_in_size_and_links_open_nothing_by_themselves(page_file: Path) -> None:
    text = page_file.read_text()
    assert len(text) < 5_000_000
    anchors = re.findall(r"<a [^>]*>", text)
    assert anchors
    assert all('rel="noreferrer noopener"' in anchor for anchor in anchors)
    assert HOSTILE not in text
