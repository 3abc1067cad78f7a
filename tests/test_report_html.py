"""The page, opened in a real browser that is cut off from the network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Geod, Transformer

from geoloc.report.heat import hot_palette, palette
from geoloc.report.shares import STOPS
from tests.conftest import OfflinePage
from tests.report_sample import GRID, HOSTILE, FlatImagery, photo, sample
from tests.report_sample import page as report_page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_page(tmp_path_factory.mktemp("page") / "report.html", FlatImagery())


@pytest.fixture
def page(offline_page: OfflinePage, page_file: Path) -> Any:
    shown = offline_page.open(page_file)
    shown.wait_for_selector("#map[data-ready=yes]")
    return shown


# no wait_for_function: from its second look on it evaluates text, which the page forbids


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
    for name in ("base", "heat", "markers"):
        page.uncheck(f"#show-{name}")
        assert page.eval_on_selector(f"#{name}", "e => getComputedStyle(e).display") == "none"
        page.check(f"#show-{name}")
        assert page.eval_on_selector(f"#{name}", "e => getComputedStyle(e).display") != "none"


DRAWN = "e => e.getContext('2d').getImageData(0, 0, e.width, e.height).data" \
    ".reduce((n, v, i) => n + (i % 4 === 3 && v > 0), 0)"  # fmt: skip
PIXEL = "(e, [col, row]) => [...e.getContext('2d').getImageData(col, row, 1, 1).data].slice(0, 3)"


def test_imagery_is_not_shown_before_it_is_placed(
    offline_page: OfflinePage, page_file: Path
) -> None:
    """A picture that takes long to decode lay in the corner of the map, at a scale of its own."""
    offline_page.page.add_init_script(
        "HTMLImageElement.prototype.decode = () => new Promise(go => { window.decoded = go; });"
    )
    page = offline_page.open(page_file)
    picture = page.locator("#base .layer").first
    assert picture.evaluate("e => getComputedStyle(e).visibility") == "hidden"
    page.evaluate("window.decoded()")
    page.wait_for_function("document.querySelector('#base .layer').style.transform !== ''")
    assert picture.is_visible()


def test_starts_with_the_best_tenth_in_hot_colours(page: Any) -> None:
    """The ramp is stretched: its cold end is the worst cell that is shown, at any share."""
    assert page.inner_text("#best-value") == "10 %"
    assert page.eval_on_selector("#heat", DRAWN) == pytest.approx(0.1 * GRID.size, rel=0.04)
    assert page.eval_on_selector("#heat", PIXEL, [100, 20]) == hot_palette()[0].tolist()
    colours = "e => { const d = e.getContext('2d').getImageData(0, 0, e.width, e.height).data;" \
        "return [...new Set(Array.from({length: d.length / 4}, (_, i) => d[4 * i + 3] ?" \
        "d.slice(4 * i, 4 * i + 3).join() : '').filter(Boolean))] }"  # fmt: skip
    coldest = ",".join(map(str, hot_palette()[-1]))
    for share in ("0.01", "0.1", "1.0"):
        page.click(f"[data-share='{share}']")
        assert coldest in page.eval_on_selector("#heat", colours)


def test_the_scale_of_the_study_is_one_click_away(page: Any) -> None:
    ramp = "e => [...e.getContext('2d').getImageData(0, 0, 1, 1).data].slice(0, 3)"
    assert page.eval_on_selector("#ramp", ramp) == hot_palette()[0].tolist()
    page.check("#study")
    assert page.eval_on_selector("#ramp", ramp) == palette()[0].tolist()
    assert page.eval_on_selector("#heat", PIXEL, [100, 20]) == palette()[0].tolist()


@pytest.mark.parametrize("share", STOPS)
def test_a_click_shows_a_share(page: Any, share: float) -> None:
    page.click(f"[data-share='{share}']")
    assert page.inner_text("#best-value") == f"{100 * share:g} %"
    assert page.inner_text("#ticks small >> nth=0") == f"{100 * share:g} %"
    pressed = page.locator("[data-share][aria-pressed=true]")
    assert pressed.all_inner_texts() == [f"{100 * share:g} %"]
    known = GRID.size - 10 * 30
    assert page.eval_on_selector("#heat", DRAWN) == pytest.approx(share * known, abs=2)


def test_sliders_set_opacity_and_share(page: Any) -> None:
    page.fill("#opacity", "25")
    assert page.eval_on_selector("#heat", "e => getComputedStyle(e).opacity") == "0.25"
    page.fill("#best", "255")
    assert page.eval_on_selector("#heat", DRAWN) == GRID.size - 10 * 30
    page.fill("#best", "81")
    assert page.inner_text("#best-value") == "10 %"


def chosen(page: Any) -> str:
    return str(page.locator(".candidate.chosen").get_attribute("data-rank"))


def at_rest(page: Any) -> None:
    """Wait until nothing flies any more."""
    then = ""
    for _ in range(300):
        page.evaluate(TWO_FRAMES)
        then, last = transform(page, "#heat"), then
        if then == last:
            return
    pytest.fail("the map does not rest")


def test_a_candidate_is_shown_beside_the_photo(page: Any) -> None:
    for opener, rank in ((".marker >> nth=1", "2"), ("#candidate-3 .chip", "3")):
        before = transform(page, "#heat")
        page.click(opener)
        moved(page, "#heat", before)
        assert chosen(page) == page.inner_text(".marker.chosen") == rank
        assert page.inner_text("#compare-title").startswith(f"{rank} of 3")
        photo, chip = (page.locator(f"#compare-{s} img").bounding_box() for s in ("photo", "chip"))
        assert photo["height"] == pytest.approx(chip["height"], abs=1.5)
        assert photo["y"] == pytest.approx(chip["y"], abs=1)
        assert photo["width"] / photo["height"] == pytest.approx(160 / 90, rel=0.02)
        src = page.get_attribute(f"#candidate-{rank} .chip img", "src")
        assert page.get_attribute("#compare-chip img", "src") == src
        box = page.locator("#map").bounding_box()
        dot = page.locator(".marker.chosen").bounding_box()
        assert dot["x"] + dot["width"] / 2 == pytest.approx(box["x"] + box["width"] / 2, abs=2)
        assert dot["y"] + dot["height"] / 2 == pytest.approx(box["y"] + box["height"] / 2, abs=2)


def test_a_panorama_does_not_shrink_the_place(offline_page: OfflinePage, tmp_path: Path) -> None:
    """Its pixels are eight times as wide as high; a second photo is one click away."""
    wide = replace(photo("wide.jpg"), pixels=np.zeros((60, 480, 3), np.uint8))
    page = shown(offline_page, tmp_path, photos=(wide, photo()))
    page.keyboard.press("n")
    assert page.locator("#compare-chip img").bounding_box()["width"] > 150
    assert page.inner_text("#other-photo") == "photo 1 of 2"
    page.click("#other-photo")
    one, two = (page.locator(f"#compare-{s} img").bounding_box() for s in ("photo", "chip"))
    assert one["height"] == pytest.approx(two["height"], abs=1.5)


def test_next_and_previous_by_buttons_and_keys(page: Any) -> None:
    page.keyboard.press("n")
    assert chosen(page) == "1"
    page.click("#next")
    assert chosen(page) == "2"
    page.keyboard.press("ArrowRight")
    assert chosen(page) == "3"
    page.keyboard.press("n")
    assert chosen(page) == "1"  # round
    page.click("#previous")
    page.keyboard.press("p")
    page.keyboard.press("ArrowLeft")
    assert chosen(page) == "1"
    page.fill("#goto-text", "")
    page.locator("#goto-text").press_sequentially("np")
    assert chosen(page) == "1"  # somebody writes
    page.locator("#goto-text").blur()
    page.keyboard.press("Escape")
    assert page.is_hidden("#compare")
    assert page.locator(".candidate.chosen").count() == 0


def test_arrow_keys_move_the_map_where_it_has_the_focus(page: Any) -> None:
    page.keyboard.press("n")
    at_rest(page)
    before = transform(page, "#heat")
    page.press("#map", "ArrowRight")
    assert moved(page, "#heat", before) != before
    assert chosen(page) == "1"


def test_tabulator_reaches_the_markers_by_rank(page: Any) -> None:
    page.focus("#map")
    ranks = []
    for _ in range(3):
        page.keyboard.press("Tab")
        ranks.append(page.evaluate("document.activeElement.textContent"))
    assert ranks == ["1", "2", "3"]
    style = "getComputedStyle(document.activeElement)"
    assert page.evaluate(f"{style}.outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert chosen(page) == "3"
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.textContent") == "1"  # the focus goes along
    assert all(
        page.eval_on_selector_all(
            "button", "all => all.map(e => !!(e.ariaLabel || e.innerText || e.title))"
        )
    )


def test_escape_gives_the_focus_back(page: Any) -> None:
    page.click(".marker >> nth=1")
    page.focus("#next")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "2"


@pytest.fixture
def phone(browser: Any, page_file: Path) -> Iterator[Any]:
    context = browser.new_context(
        offline=True, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True
    )
    shown = context.new_page()
    shown.goto(page_file.as_uri())
    shown.wait_for_selector("#map[data-ready=yes]")
    yield shown
    context.close()


def test_on_a_phone_map_and_photo_stay_in_reach(phone: Any) -> None:
    phone.locator(".marker >> nth=0").tap()
    at_rest(phone)
    assert phone.evaluate("scrollY") < 250  # no more than the title
    dot = phone.locator(".marker.chosen").bounding_box()
    sheet = phone.locator("#compare").bounding_box()
    photo, chip = (phone.locator(f"#compare-{s} img").bounding_box() for s in ("photo", "chip"))
    assert 0 <= dot["y"] < dot["y"] + dot["height"] < sheet["y"]
    for image in (photo, chip):
        assert 0 <= image["x"] < image["x"] + image["width"] <= 390
        assert sheet["y"] < image["y"] < image["y"] + image["height"] < 800
    assert photo["height"] == pytest.approx(chip["height"], abs=1.5)
    phone.locator("#next").tap()
    assert chosen(phone) == "2"
    phone.locator("#close").tap()
    assert phone.is_hidden("#compare")
    phone.evaluate("document.querySelector('.read').scrollIntoView()")
    assert phone.locator("#map").bounding_box()["y"] == pytest.approx(0, abs=1)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_tapped_place_is_told(phone: Any) -> None:
    box = phone.locator("#map").bounding_box()
    phone.touchscreen.tap(box["x"] + 150, box["y"] + 200)
    assert phone.locator("#place-list th").all_inner_texts() == ["lat, lon", "UTM", "MGRS"]
    assert phone.locator("#place .copy").count() == 3


def test_two_fingers_zoom(phone: Any) -> None:
    before = transform(phone, "#heat")
    box = phone.locator("#map").bounding_box()
    x, y = box["x"] + 200, box["y"] + 200
    client = phone.context.new_cdp_session(phone)
    for kind, spread in (("touchStart", 20), ("touchMove", 50), ("touchMove", 90)):
        points = [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    scale = [float(t[7:].split(",")[0]) for t in (before, moved(phone, "#heat", before))]
    assert scale[1] > 3 * scale[0]


def test_read_out_tells_the_place_under_the_pointer(page: Any) -> None:
    """The marker of candidate 1 stands on the best cell: same degrees, smallest distance."""
    dot = page.locator(".marker", has_text="1").bounding_box()
    page.uncheck("#show-markers")
    x, y = dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2
    page.mouse.move(x, y)
    text = page.inner_text("#readout")
    best = sample().candidates[0]
    lat, lon = map(float, re.findall(r"lat, lon (\S+), (\S+)", text)[0])
    assert (lat, lon) == (pytest.approx(best.lat, abs=1e-4), pytest.approx(best.lon, abs=1e-4))
    east, north = map(float, re.findall(r"UTM 36U (\d+) (\d+)", text)[0])
    assert (east, north) == (pytest.approx(best.x, abs=10), pytest.approx(best.y, abs=10))
    square, *digits = re.findall(r"MGRS (36U \w\w) (\d{5}) (\d{5})", text)[0]
    assert square == "36U UB"
    assert [int(d) for d in digits] == [east % 1e5, north % 1e5]
    assert "distance ≤ 0.6" in text
    assert "best 0.008 %" in text  # one cell of 12,300
    page.mouse.click(x, y)
    assert page.is_visible("#pin")
    assert page.get_attribute("#place a >> nth=0", "href").startswith("https://www.openstreetmap")
    page.keyboard.press("Escape")
    assert page.is_hidden("#place")


def test_a_place_can_be_copied(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + 300, box["y"] + 300)
    for i, told in enumerate(page.locator("#place-list b").all_inner_texts()):
        page.click(f"#place .copy >> nth={i}")
        page.locator(f"#place .copy >> nth={i} >> text=copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == told


def go(page: Any, text: str) -> None:
    page.fill("#goto-text", text)
    page.press("#goto-text", "Enter")


def test_go_to_a_coordinate(page: Any) -> None:
    """Whatever way it is written, the pin comes to the middle of the map, on that place."""
    third = sample().candidates[2]
    zone36 = Transformer.from_crs(4326, 32636, always_xy=True)
    east, north = (int(v) for v in zone36.transform(third.lon, third.lat))
    ways = (
        f"{third.lat:.6f}, {third.lon:.6f}",
        f"{third.lon:.6f}E {third.lat:.6f}N",
        f"36UUB{east % 100_000:05}{north % 100_000:05}",
    )
    dot = page.locator(".marker", has_text="3")
    for text in ways:
        page.keyboard.press("Escape")
        page.press("#map", "0")
        go(page, text)
        at_rest(page)
        box, pin, mark = (
            e.bounding_box() for e in (page.locator("#map"), page.locator("#pin"), dot)
        )
        centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for element in (pin, mark):
            middle = element["x"] + element["width"] / 2, element["y"] + element["height"] / 2
            assert middle == (pytest.approx(centre[0], abs=2), pytest.approx(centre[1], abs=2))
        assert page.inner_text("#goto-told") == ""


def test_a_coordinate_elsewhere_or_unreadable_is_refused(page: Any) -> None:
    before, best = transform(page, "#heat"), sample().candidates[0]
    for text, told in (
        (f"{best.lon}, {best.lat}", r"outside this area.*did you mean 50\.\d+, 30\.\d+"),
        ("0, 0", "outside this area, 6[0-9]{3}.* km from its middle"),
        ("95, 30", "latitude 95"), ("here", "write lat, lon"), ("99U UB 1 1", "no such MGRS"),
    ):  # fmt: skip
        go(page, text)
        assert re.search(told, page.inner_text("#goto-told"))
        assert page.get_attribute("#goto-text", "aria-invalid") == "true"
    at_rest(page)
    assert transform(page, "#heat").split(",")[:5] == before.split(",")[:5]
    assert page.is_hidden("#pin")


def test_a_distance_is_measured(page: Any) -> None:
    """From marker to marker; the oracle is the geodesic between the candidates."""
    centres = []
    for rank in ("1", "2", "3"):
        dot = page.locator(".marker", has_text=rank).bounding_box()
        centres.append((dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2))
    page.uncheck("#show-markers")
    page.click("#measure")
    for centre in centres[:2]:
        page.mouse.click(*centre)
    one, two, three = sample().candidates
    bearing, _, length = Geod(ellps="WGS84").inv(one.lon, one.lat, two.lon, two.lat)
    told = page.inner_text("#measured")
    metres, blur, angle = map(
        float, re.findall(r"([\d.]+) m ± ([\d.]+) m, bearing ([\d.]+)°", told)[0]
    )
    assert 0 < blur < 5
    assert metres == pytest.approx(length, abs=2 * blur)
    assert angle == pytest.approx(bearing % 360, abs=0.5)
    page.mouse.click(*centres[2])
    whole = length + Geod(ellps="WGS84").inv(two.lon, two.lat, three.lon, three.lat)[2]
    told = page.inner_text("#measured")
    assert "in 2 legs" in told
    number, unit = re.findall(r"^([\d.]+) (k?m)", told)[0]
    assert float(number) * (1000 if unit == "km" else 1) == pytest.approx(whole, abs=4 * blur)
    assert page.is_hidden("#pin")
    page.keyboard.press("Escape")
    assert page.is_hidden("#measured")


def inked(page: Any, colour: str) -> int:
    """How many pixels of the lines on the map have this colour."""
    code = """(e, hex) => { const d = e.getContext('2d').getImageData(0, 0, e.width, e.height).data;
        const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)); let n = 0;
        for (let i = 0; i < d.length; i += 4)
          n += d[i] === r && d[i + 1] === g && d[i + 2] === b && d[i + 3] > 200;
        return n; }"""
    return int(page.eval_on_selector("#overlay", code, colour))


def test_the_best_cells_and_the_area_to_search_are_outlined(page: Any) -> None:
    at_rest(page)
    assert inked(page, "#000000") > 20
    page.uncheck("#show-outline")
    at_rest(page)
    assert inked(page, "#000000") == inked(page, "#00e5ff") == 0
    page.keyboard.press("n")
    at_rest(page)
    assert inked(page, "#00e5ff") > 100


def test_candidates_are_grouped_by_area(page: Any) -> None:
    assert "3 candidates in 3 areas to search" in page.inner_text("header")
    sizes = page.locator(".area h3 small").all_inner_texts()
    assert [text.split(" · ")[1] for text in sizes] == ["1 candidate"] * 3
    before = transform(page, "#heat")
    page.click("[data-area='2']")
    assert moved(page, "#heat", before) != before


def shown(offline_page: OfflinePage, folder: Path, **changes: Any) -> Any:
    page = offline_page.open(report_page(folder / "report.html", FlatImagery(), **changes))
    page.wait_for_selector("#map[data-ready=yes]")
    assert offline_page.complaints == []
    return page


def test_cells_that_were_not_searched_are_counted_and_hatched(
    offline_page: OfflinePage, tmp_path: Path
) -> None:
    """The missing corner is hatched; where nothing was asked for, nothing is."""
    asked = np.ones(GRID.shape, bool)
    asked[80:, :15] = False
    page = shown(offline_page, tmp_path, lacking={"no imagery": 150}, asked=asked)
    assert page.inner_text("#hatched").strip() == "not searched: 150 cells"
    assert "150 of 12,450 cells" in page.inner_text("#unsearched")
    assert "not searched: no imagery" in page.inner_text("#unsearched")
    at_rest(page)
    scale, left, top = (
        float(re.findall(r"-?[\d.]+", transform(page, "#heat"))[i]) for i in (0, 4, 5)
    )
    alpha = "(e, [x, y]) => e.getContext('2d').getImageData(x, y, 1, 1).data[3]"
    for row, col, hatched in ((85, 22, True), (85, 8, False), (70, 22, False)):
        spot = [left + (col + 0.5) * scale, top + (row + 0.5) * scale]
        assert (page.eval_on_selector("#overlay", alpha, spot) > 0) is hatched


def test_the_true_place_is_marked(offline_page: OfflinePage, tmp_path: Path) -> None:
    second = sample().candidates[1]
    page = shown(offline_page, tmp_path, truth=(second.lat, second.lon))
    assert re.search(r"The true place is among the best [\d.]+\s%", page.inner_text("header"))
    star, dot = (page.locator(s).bounding_box() for s in ("#truth", ".marker >> nth=1"))
    assert star["x"] + star["width"] / 2 == pytest.approx(dot["x"] + dot["width"] / 2, abs=2)
    assert "true place" in page.inner_text("#legend")


def test_a_true_place_elsewhere_is_told(offline_page: OfflinePage, tmp_path: Path) -> None:
    page = shown(offline_page, tmp_path, truth=(0.0, 0.0))
    assert "The true place lies outside the area" in page.inner_text("header")
    assert page.locator("#truth").count() == 0


def test_a_search_for_a_scene_tells_probabilities(
    offline_page: OfflinePage, tmp_path: Path
) -> None:
    """The surprise 0.5 is a probability of 61 %."""
    page = shown(offline_page, tmp_path, photos=())
    assert "probability 61\u202f%" in page.inner_text("#candidate-1")
    page.click(".marker >> nth=0")
    assert page.is_hidden("#compare-photo")
    assert page.is_visible("#compare-chip img")
    page.mouse.move(700, 300)
    assert "probability ≥" in page.inner_text("#readout")
    assert "surprise" not in page.inner_text("body")


def test_a_photo_from_elsewhere_is_said_at_the_top(
    offline_page: OfflinePage, tmp_path: Path
) -> None:
    """Where four of ten random vectors do as well, and only there."""
    page = shown(offline_page, tmp_path, random=0.4)
    assert "This photo may not be from here" in page.inner_text("#match")
    assert page.locator("#match").bounding_box()["y"] < 120
    page = shown(offline_page, tmp_path, random=0.001)
    assert page.locator("#match").count() == 0


def test_paper_has_the_whole_area_and_no_links(page: Any) -> None:
    page.keyboard.press("n")
    at_rest(page)
    there = transform(page, "#heat")
    page.emulate_media(media="print")
    moved(page, "#heat", there)
    box = page.locator("#map").bounding_box()
    a, _, _, d, left, top = map(float, re.findall(r"-?[\d.]+(?:e-?\d+)?", transform(page, "#heat")))
    assert 0 <= left < left + a * GRID.nx <= box["width"]
    assert 0 <= top < top + d * GRID.ny <= box["height"]
    assert box["width"] < 700  # of A4, upright
    assert page.is_visible(".photo img")
    assert not any(link.is_visible() for link in page.locator("a").all())
    rows = page.locator(".paper tbody tr")
    assert rows.count() == 3
    assert re.search(r"50\.\d+, 30\.\d+.*36U UB \d{5} \d{5}", rows.nth(0).inner_text())
    for hidden in ("#compare", "#controls .share", "#zoom", "#goto"):
        assert page.is_hidden(hidden)
    page.emulate_media(media="screen")
    at_rest(page)
    assert transform(page, "#heat") == there


def test_the_page_prints(page: Any) -> None:
    assert page.pdf().startswith(b"%PDF")
    assert page.is_visible("#zoom")


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
    page = offline_page.open(report_page(tmp_path / "report.html"))
    page.wait_for_selector("#map[data-ready=yes]")
    assert "No imagery was available" in page.inner_text("#answer")
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
