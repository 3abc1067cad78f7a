"""The index of a bulk run, opened in a real browser that is cut off from the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.bulk.copies import Sight
from geoloc.bulk.entries import SMALL, Answer, Entry, Group
from geoloc.bulk.media import Kind, Medium
from geoloc.bulk.page import write_index
from geoloc.bulk.store import Item, Sighting
from geoloc.photos.likeness import Signature
from geoloc.telegram import Message
from tests.conftest import OfflinePage
from tests.media import picture, save

HOSTILE = '<img src=x onerror="alert(1)">'
SCENES = ("highway", "wheat_field", "beach")


def entry(number: int, out: Path) -> Entry:
    """Pictures 1 to 4: of a chat, of a video, seen twice, and one that has no answer."""
    kind: Kind = "video" if number == 2 else "photo"
    messages = ()
    if number == 1:
        messages = (Message("Watch", 7, "2025-06-03T10:00:00+00:00", HOSTILE, f"near {HOSTILE}"),)
    medium = Medium(Path(f"/in/{number}.jpg"), f"sub/{HOSTILE if number == 3 else number}.jpg",
                    kind, messages)  # fmt: skip
    record = {
        "path": str(medium.path), "sha256": "ab" * 32, "size": [96, 72],
        "exif": {"gps": {"lon": 30.5, "lat": 50.4}} if number == 3 else {},
        "origin": {"pixels_sha256": "cd" * 32},
    }  # fmt: skip
    item = Item(number, f"name {number}", record, Signature.of(picture(number)), np.zeros(3, "f4"))
    for name in ("photo.jpg", SMALL):
        save(out / "items" / item.folder / name, number)
    time = 3.5 if number == 2 else None
    sights = [Sight(medium, Sighting(number, "original", time, record))]
    if number == 3:
        exif = {"gps": {"lon": 30.6, "lat": 50.4}, "time": "2025-06-03T10:11:12"}
        copy = record | {"exif": exif, "size": [48, 36]}
        sights.append(Sight(Medium(Path("/in/c.jpg"), "copy.jpg", "photo"),
                            Sighting(number, "looks the same", None, copy)))  # fmt: skip
    answer = None if number == 4 else answered(number)
    return Entry(item, tuple(sights), answer, "name 1" if number < 3 else None)


def answered(number: int) -> Answer:
    candidates = [
        {"rank": rank, "lon": 30 + number / 10, "lat": 50 + rank / 100, "distance": rank / number,
         "percentile": 0.01 * rank, "shared": ["highway"]}
        for rank in (1, 2, 3)
    ]  # fmt: skip
    scenes = [[SCENES[number % 3], 0.5], ["beach", 0.2]]
    return {"title": "x", "scenes": scenes, "candidates": candidates}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bulk")
    entries = [entry(number, out) for number in (1, 2, 3, 4)]
    groups = [Group("name 1", tuple(entries[:2]), ("taken within 10 minutes",), answered(1))]
    save(out / "clusters" / "name 1" / SMALL, 1)
    (out / "items" / "name 1" / "report.html").write_text("<title>the report</title>")
    cube = {"name": "testville", "cells": 12_300, "step": 10.0, "imagery_last": None}
    remarks = [f"2 other files left out (.{HOSTILE} 2)"]
    return write_index(out, entries, groups, {f"bad {HOSTILE}.jpg": "is empty"}, cube, remarks)


@pytest.fixture
def page(offline_page: OfflinePage, index: Path) -> Any:
    return offline_page.open(index)


def shown(page: Any) -> list[str]:
    """The cards that are to be seen, by number, in their order."""
    return [
        str(card.get_attribute("id")).removeprefix("item-")
        for card in page.query_selector_all("#cards > li")
        if card.get_attribute("hidden") is None
    ]


def test_opens_without_network_complaint_or_foreign_script(
    page: Any, offline_page: OfflinePage
) -> None:
    assert page.inner_text("h1 >> nth=0") == "4 pictures against testville"
    assert shown(page) == ["1", "2", "3", "4"]
    assert HOSTILE in page.inner_text("#item-1 blockquote")
    assert HOSTILE in page.inner_text("#failures td >> nth=0")
    assert "Not answered" in page.inner_text("#item-4")
    claim = page.inner_text("#item-3 .claimed >> nth=0").replace("\u202f", " ")
    assert claim == (
        "claimed by the file, not used: 50.400000, 30.500000 45.7 km from the best place"
    )
    assert "claims differ: " in page.inner_text("#item-3 .conflict")
    assert "7.1 km apart" in page.inner_text("#item-3 .conflict")
    page.click("#item-3 .also summary")
    copy = "copy.jpg looks the same · 48 × 36 px, 2025-06-03 10:11:12, 50.400000, 30.600000"
    assert page.inner_text("#item-3 .also li").replace("\u202f", " ") == copy
    assert page.inner_text("#remarks li") == f"2 other files left out (.{HOSTILE} 2)"
    assert "proposed. 1 failure. Where" in page.inner_text("header p")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") == 6 + 4  # thumbs and heatmaps
    assert offline_page.complaints == []
    assert offline_page.outside == []


def test_pictures_are_blurred_until_they_are_clicked(page: Any) -> None:
    look = "e => getComputedStyle(e).filter"
    pictures = page.locator("button.thumb img")
    assert pictures.count() == 6  # four cards, two members of the cluster
    assert {pictures.nth(n).evaluate(look) for n in range(6)} == {"blur(16px)"}
    page.click("#item-2 .thumb")
    assert [pictures.nth(n).evaluate(look) for n in range(3)] == [
        "blur(16px)",
        "none",
        "blur(16px)",
    ]
    assert page.get_attribute("#item-2 .thumb", "aria-pressed") == "true"
    page.click("#item-2 .thumb")
    assert pictures.nth(1).evaluate(look) == "blur(16px)"
    page.check("#unblur")
    assert {pictures.nth(n).evaluate(look) for n in range(6)} == {"none"}


def test_pictures_are_not_printed(page: Any) -> None:
    look = "e => getComputedStyle(e).visibility"
    page.click("#item-2 .thumb")
    page.emulate_media(media="print")
    assert {page.locator("button.thumb").nth(n).evaluate(look) for n in range(6)} == {"hidden"}


def test_the_choice_is_forgotten_when_the_page_is_loaded_again(page: Any) -> None:
    look = "e => getComputedStyle(e).filter"
    page.check("#unblur")
    page.reload()
    assert page.locator("button.thumb img").first.evaluate(look) == "blur(16px)"


def test_cards_are_sorted(page: Any) -> None:
    for choice, order in {
        "distance": ["3", "2", "1", "4"],  # 1/3, 1/2, 1; no answer comes last
        "time": ["1", "3", "2", "4"],  # the third by its copy
        "-copies": ["3", "1", "2", "4"],
        "scene": ["2", "3", "1", "4"],  # beach, highway, wheat field
        "order": ["1", "2", "3", "4"],
    }.items():
        page.select_option("#sort", choice)
        assert shown(page) == order, choice


def test_cards_are_filtered(page: Any) -> None:
    page.fill("#text", "WATCH near")
    assert shown(page) == ["1"]
    assert page.inner_text("#count") == "1 of 4 shown"
    page.fill("#text", "nothing like it")
    assert shown(page) == []
    page.click("#reset")
    assert shown(page) == ["1", "2", "3", "4"]
    page.select_option("#scene", "beach")
    assert shown(page) == ["2"]
    page.select_option("#scene", "")
    kinds = {"photo": "134", "video": "2", "clustered": "12", "copied": "3", "claimed": "3"}
    for choice, cards in kinds.items():
        page.select_option("#only", choice)
        assert shown(page) == list(cards), choice


def test_links_lead_to_reports_and_clusters(page: Any) -> None:
    page.select_option("#only", "claimed")
    page.click(".members a >> nth=0")
    assert shown(page) == ["1", "3"]
    page.click("#item-1 a.tag")
    assert page.url.endswith("#cluster-1")
    outside = page.eval_on_selector_all(
        "a[target]", "all => all.every(a => a.rel === 'noreferrer noopener')"
    )
    assert outside
    page.click("#item-1 a.report")
    page.wait_for_url("**/report.html")
    assert page.title() == "the report"


def test_a_script_from_elsewhere_does_not_run(offline_page: OfflinePage, index: Path) -> None:
    broken = index.with_name("broken.html")
    broken.write_text(
        index.read_text().replace("</main>", "<script>window.bad = 1</script></main>")
    )
    page = offline_page.open(broken)
    assert page.evaluate("window.bad") is None
    assert any("Content Security Policy" in text for text in offline_page.complaints)


def test_without_scripts_the_links_are_there(browser: Any, index: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(index.as_uri())
    assert page.locator("a.report").count() == 4
    assert "Scripts are off" in page.inner_text("noscript")
    context.close()
