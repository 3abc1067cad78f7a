"""Attacks on what leaves the house: marks in every value of an answer and in every file of it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from geoloc.bulk import run_bulk
from geoloc.errors import GeolocError
from geoloc.report import write_report
from geoloc.report.outputs import RECORD
from geoloc.report.registry import OUTPUTS
from geoloc.sharing import KEEP, Options, read_rounding, share
from geoloc.sharing.searching import Secret, findings
from tests.bulk_place import Place
from tests.media import picture
from tests.report_sample import candidate, heatmap
from tests.shared_answers import (
    LAT,
    LON,
    MARKS,
    edit_record,
    forget_digests,
    holders,
    pictures,
    telling,
    unpacked,
    write_telling,
)

GPS = (f"{LAT:.5f}", f"{LON:.5f}", f"{LAT:.4f}")


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_telling(tmp_path_factory.mktemp("answers") / "a")


def same_but_for_the_original(folder: Path) -> dict[str, Any]:
    """All files of a share but what has to differ: digests of the original and of what names it."""
    original = json.loads((folder / "shared.json").read_text())["answers"][0]["original_sha256"]
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        content = path.read_bytes().replace(original.encode(), b"ORIGINAL")
        if path.suffix == ".json":
            told = json.loads(content)
            for key in ("created", "outputs", "answers", "removed"):
                told.pop(key, None)
            told.get("original", {}).pop("created", None)
            found[path.name] = told
        elif path.name != "SHARED.md":
            found[path.name] = content
    return found


def test_the_marks_are_in_the_answer_itself(answer: Path) -> None:
    """Or nothing that follows shows anything."""
    for mark in (*MARKS.values(), *GPS):
        assert holders(answer, mark), mark


@pytest.mark.parametrize("rounding", [None, "1km"])
@pytest.mark.parametrize("photo", ["blurred", "omitted", "shown"])
def test_no_mark_is_in_any_byte_of_a_copy(
    answer: Path, tmp_path: Path, photo: Any, rounding: str | None
) -> None:
    share([answer], tmp_path / "out", Options(photo=photo, rounding=read_rounding(rounding)))
    found = {mark: holders(tmp_path / "out", mark) for mark in (*MARKS.values(), *GPS)}
    assert found == {mark: [] for mark in found}
    for word in (
        "Qarl",
        "result-q",
        "t.me/",
        "7654321",
        "qwinifred",
        "Q4711",
        str(Path.home()) + "/",
    ):
        assert holders(tmp_path / "out", word) == [], word


def test_a_bulk_run_of_a_chat_with_telling_photos(place: Place, tmp_path: Path) -> None:
    """EXIF with GPS, serial, name and thumbnail, XMP, a chat with names, a telling folder."""
    export = tmp_path / "Qwinifred secret" / "ChatExport"
    (export / "photos").mkdir(parents=True)
    image = Image.fromarray(picture(5))
    exif = Image.Exif()
    exif[0x010E] = "Qdescription"
    exif.get_ifd(0x8769)[0xA431] = "QSERIAL4711"
    exif.get_ifd(0x8825).update(
        {1: "N", 2: (50.0, 33.0, 15.5), 3: "E", 4: (30.0, 11.0, 55.5)}
    )  # fmt: skip
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>Qxmp</x:xmpmeta>"
    image.save(export / "photos" / "QPHOTO_1.jpg", exif=exif, xmp=xmp, comment=b"Qcomment")
    message = {"id": 987_654_321, "type": "message", "date": "2025-06-03T10:11:12",
               "from": "Qolena", "photo": "photos/QPHOTO_1.jpg", "text": "Qcaption"}  # fmt: skip
    chat = {"name": "Qchat", "type": "personal_chat", "id": 1, "messages": [message]}
    (export / "result.json").write_text(json.dumps(chat))
    run_bulk(place.cube, export, tmp_path / "bulk")
    marks = ("Qchat", "Qolena", "Qcaption", "QPHOTO", "Qwinifred")
    assert all(holders(tmp_path / "bulk" / "items", mark) for mark in marks)
    share([tmp_path / "bulk"], tmp_path / "out")
    for mark in (
        *marks,
        "Qdesc",
        "QSERIAL",
        "Qxmp",
        "Qcomment",
        "987654321",
        "50.55430",
        "30.19875",
    ):
        assert holders(tmp_path / "out", mark) == [], mark
    for name, shown in pictures(tmp_path / "out").items():
        shown.load()
        assert not shown.getexif(), name
        assert not {"exif", "xmp", "comment", "icc_profile", "photoshop"} & shown.info.keys(), name


words = st.one_of(
    st.text(min_size=1, max_size=40),
    st.text("aeinort ", min_size=3, max_size=6),
    st.sampled_from(["a", "highway", "photo", "answer-1", "sample", "0", "wheat field", "geoloc",
                     "photo-1", "query.json", "N", "lat", "/", "e", "OpenStreetMap", "zone",
                     "DESCRIPTION", "explanation", "Where to look first"]),
)  # fmt: skip


@settings(
    max_examples=10,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(st.tuples(*[words] * 6), st.floats(-80, 80), st.floats(-179, 179))
@example(("highway", "photo-1.jpg", "sample", "answer", "/a", "b.jpg"), LAT, LON)
@example(("a", "b", "c", "d", "e", "/"), LAT, LON)  # a file name that is its suffix alone
def test_a_copy_does_not_depend_on_what_is_private(
    plain: Path,
    tmp_path_factory: pytest.TempPathFactory,
    texts: tuple[str, ...],
    lat: float,
    lon: float,
) -> None:
    """Whatever stands there, the copy is the same to the last byte: so it tells nothing of it."""
    made = []
    for planted, place in (
        (texts, (lat, lon)),
        (("qaz", "wsx", "edc", "rfv", "/t/g", "b"), (1.5, 2.5)),
    ):
        work = tmp_path_factory.mktemp("planted")
        shutil.copytree(plain, work / "a")
        plant(work / "a", planted, place)
        share([work / "a"], work / "out")
        made.append(same_but_for_the_original(work / "out"))
    assert made[0] == made[1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small answer: a property asks for it again and again."""
    return write_telling(tmp_path_factory.mktemp("plain") / "a", imagery=False)


def plant(folder: Path, texts: tuple[str, ...], place: tuple[float, float]) -> None:
    """Put texts and a place into a record wherever something private stands."""
    clean = [re.sub("[\ud800-\udfff\0]", "?", text) for text in texts]
    record = json.loads((folder / "query.json").read_text(encoding="utf-8"))
    chat, sender, caption, title, path, name = clean
    lat, lon = place
    told = record["photos"][0]
    message = {"chat": chat, "from": sender, "text": caption, "id": len(caption), "export": path,
               "place": {"lon": lon, "lat": lat}}  # fmt: skip
    told |= {"path": f"/{path}/{name}", "exif": {"gps": {"lon": lon, "lat": lat}, "time": title},
             "file": f"{name}.jpg", "messages": [message], "conflicts": [caption],
             "claims": [{"by": sender, "place": {"lon": lon, "lat": lat}}],
             "copies": [{"file": name, "path": path, "how": "original"}]}  # fmt: skip
    record["cube"]["cube"] = record["model"]["path"] = record["imagery"][0]["href"] = f"/{path}"
    record |= {"title": title, "truth": {"lat": lat, "lon": lon, "percentile": 3}}
    edit_record(folder, **record)


def test_unknown_values_at_every_depth_are_left_out(plain: Path, tmp_path: Path) -> None:
    """Of newer versions, or of somebody with an editor: in every mapping, by key and by value."""
    shutil.copytree(plain, tmp_path / "a")
    record = json.loads((tmp_path / "a" / "query.json").read_text(encoding="utf-8"))
    vectors = {key: record.pop(key) for key in ("vector", "versions", "outputs")}
    quantiles = record["summary"].pop("distance_quantiles")
    planted = everywhere(record)
    planted["summary"]["distance_quantiles"] = quantiles
    (tmp_path / "a" / "query.json").write_text(json.dumps({**planted, **vectors}))
    share([tmp_path / "a"], tmp_path / "out")
    assert holders(tmp_path / "a", "QPLANTED")
    assert holders(tmp_path / "out", "QPLANTED") == []


def everywhere(value: Any) -> Any:
    if isinstance(value, dict):
        more = {"QPLANTED key/": "QPLANTED/value", "deep": {"x": ["QPLANTED/list"]}}
        if set(value) == {"scene"} or not value:
            more = {"QPLANTED key/": "QPLANTED/value"}
        return {**{key: everywhere(one) for key, one in value.items()}, **more}
    return [everywhere(one) for one in value] if isinstance(value, list) else value


def test_what_lies_in_the_pictures_of_a_report_stays_there(answer: Path, tmp_path: Path) -> None:
    """EXIF, XMP, comments, and bytes behind the end of a picture; tags of the heatmap."""
    shutil.copytree(answer, tmp_path / "a")
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")

    def tell(found: re.Match[str]) -> str:
        with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
            memory, exif = io.BytesIO(), Image.Exif()
            exif[0x010E] = "QINSIDE of exif"
            image.save(memory, "jpeg", exif=exif, xmp=b"<x>QINSIDE xmp</x>", comment=b"QINSIDE com")
        content = base64.b64encode(memory.getvalue() + b"QINSIDE behind").decode()
        return f"data:image/jpeg;base64,{content}"

    told, count = re.subn(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", tell, page)
    assert count > 5
    (tmp_path / "a" / "report.html").write_text(
        told.replace("</h1>", "QINSIDE</h1>").replace(
            '"candidates":[', '"QINSIDE":1,"candidates":['
        ),
        encoding="utf-8",
    )
    with rasterio.open(
        tmp_path / "a" / "heatmap.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES"
    ) as raster:
        raster.update_tags(QINSIDE="QINSIDE", TIFFTAG_ARTIST="QINSIDE")
    (tmp_path / "a" / "candidates.csv").write_text("QINSIDE")
    forget_digests(tmp_path / "a")
    share([tmp_path / "a"], tmp_path / "out")
    assert len(holders(tmp_path / "a", "QINSIDE")) > 5
    assert holders(tmp_path / "out", "QINSIDE") == []


@pytest.mark.parametrize(
    "uri",
    ["https://evil.test/x.jpg", "file:///etc/passwd", "data:image/svg+xml;base64,PHN2Zy8+",
     "data:image/jpeg;base64,AAAA", "data:image/jpeg;base64,%%"],
)  # fmt: skip
def test_a_report_with_other_pictures_is_refused(plain: Path, tmp_path: Path, uri: str) -> None:
    shutil.copytree(plain, tmp_path / "a")
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    changed = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", uri, page)
    (tmp_path / "a" / "report.html").write_text(changed, encoding="utf-8")
    forget_digests(tmp_path / "a")
    with pytest.raises(GeolocError, match="a picture of the report cannot be read"):
        share([tmp_path / "a"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def rounded(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    share([folder], out, Options(rounding=read_rounding("300m"), **options))
    return same_but_for_the_original(out)


def test_rounding_tells_nothing_of_the_cell(tmp_path: Path) -> None:
    """The best cell moves within its square of 300 m; the copy is the same to the last byte."""
    made = []
    for n, (row, col) in enumerate(((20, 100), (4, 117))):
        values = heatmap()
        values[20, 100], values[row, col] = values[row, col], values[20, 100]
        found = (replace(candidate(1, row, col), rank=1, distance=0.5), candidate(2, 60, 40))
        folder = write_telling(tmp_path / f"{n}", heatmap=values, candidates=found)
        copy = rounded(folder, tmp_path / f"out-{n}")
        made.append(copy)
    assert made[0] == made[1]


@pytest.mark.parametrize("rounding", [None, "300m"])
def test_no_digest_tells_a_file_that_the_copy_lacks(
    answer: Path, tmp_path: Path, rounding: str | None
) -> None:
    """Or whoever guesses the photo's name, or the cell of a single candidate, knows it for sure."""
    share([answer], tmp_path / "out", Options(rounding=read_rounding(rounding)))
    before = json.loads((answer / "query.json").read_text(encoding="utf-8"))["outputs"]
    after = json.loads((tmp_path / "out" / "answer-1" / "query.json").read_text())["outputs"]
    for name, digest in before.items():
        told = bool(holders(tmp_path / "out", digest))
        assert told == (after.get(name) == digest), name


NUMBERS = ("0002", "0004", "2023", "0.50", "300200", "1000", "dead", "face", "Qtile_r01")


@pytest.mark.parametrize("text", NUMBERS)
def test_what_looks_like_a_number_or_a_digest_can_be_left_out(tmp_path: Path, text: str) -> None:
    """Photos called 0002.jpg, messages of a year, images by the names of their files."""
    message = {"chat": text, "from": text, "text": text, "id": 5}
    shown = replace(
        telling().photos[0], path=Path("/x") / f"{text}.jpg", origin={"messages": [message]}
    )
    image = {"id": text, "href": f"/x/{text}.tif", "date": "2023-01-02", "candidates": [1]}
    write_report(telling(photos=(shown,), imagery=(image,)), tmp_path / "a")
    share([tmp_path / "a"], tmp_path / "out")
    assert (tmp_path / "out" / "answer-1" / "query.json").is_file()


@pytest.mark.parametrize(
    ("href", "told"),
    [("/x/Qclient flight.tif", False), ("Qclient flight.tif", False),
     ("file:///x/Qclient flight.tif", False), (None, False),
     ("https://a.test/Qclient flight.tif", True), ("s3://b/Qclient flight.tif", True)],
)  # fmt: skip
def test_names_of_imagery_on_a_disk_are_left_out(
    tmp_path: Path, href: str | None, told: bool
) -> None:
    image = {"id": "Qclient flight", "href": href, "date": "2023-01-02", "candidates": [1]}
    write_report(telling(imagery=(image,)), tmp_path / "a")
    share([tmp_path / "a"], tmp_path / "out")
    assert bool(holders(tmp_path / "out", "Qclient")) == told
    share([tmp_path / "a"], tmp_path / "kept", Options(frozenset(KEEP)))
    assert holders(tmp_path / "kept", "Qclient flight")


def test_no_copy_is_written_into_an_answer(plain: Path, tmp_path: Path) -> None:
    """It would be opened to all inside of what is closed, and go along with it."""
    shutil.copytree(plain, tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for out in (tmp_path / "a" / "out", tmp_path / "link" / "x" / "out"):
        with pytest.raises(GeolocError, match="choose a folder outside it"):
            share([tmp_path / "a"], out)
    assert not (tmp_path / "a" / "x").exists()


def test_half_characters_are_an_error_of_one_line(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "a")
    path = tmp_path / "a" / "query.json"
    path.write_text(path.read_text(encoding="utf-8").replace("Qarl", "\\ud800"))
    with pytest.raises(GeolocError, match="half a character"):
        share([tmp_path / "a"], tmp_path / "out", Options(frozenset({"senders"})))


def test_no_file_of_a_rounded_copy_has_a_finer_coordinate(answer: Path, tmp_path: Path) -> None:
    """Degrees, metres of the CRS, MGRS, links, outlines, the page's own data, the raster."""
    rounded(answer, tmp_path / "out", keep=frozenset({"gps", "truth", "captions"}))
    record = json.loads((answer / "query.json").read_text(encoding="utf-8"))
    for told in [*record["candidates"], {"lat": LAT, "lon": LON}]:
        for key in ("lat", "lon"):
            digits = f"{told[key]:.7f}"[:-2]
            assert holders(answer, digits)
            assert holders(tmp_path / "out", digits) == []
    with rasterio.open(tmp_path / "out" / "answer-1" / "heatmap.tif") as raster:
        assert raster.res == (300, 300)
    for found in telling().candidates:
        for value in (found.x, found.y):
            assert holders(tmp_path / "out", f"{value:.0f}") == []
    page = (tmp_path / "out" / "answer-1" / "report.html").read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    edges = {300_200.0 + 300 * n for n in range(6)}
    outline = [x for area in data["areas"] for ring in area["outline"] for x, _ in ring]
    assert set(outline) <= edges
    assert data["chips"] == {}
    assert "data-mgrs" not in page.split("<script")[0]


MARK = "Qolena Müller & <Söhne>"


def _tiff(path: Path) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=1, height=1, count=1, dtype="uint8"
    ) as file:
        file.update_tags(1, told=MARK)


def _png(path: Path) -> None:
    told = PngInfo()
    told.add_itxt("Comment", MARK, zip=True)
    Image.new("RGB", (2, 2)).save(path, pnginfo=told)


def _kmz(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("doc.kml", escape(MARK))


def _page(path: Path) -> None:
    memory, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = MARK.encode()
    Image.new("RGB", (2, 2)).save(memory, "jpeg", exif=exif)
    uri = base64.b64encode(memory.getvalue()).decode()
    path.write_text(f"<img src='data:image/jpeg;base64,{uri}'>")


def _text(told: str | bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(told.encode() if isinstance(told, str) else told)


LEAKS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "as it is": ("candidates.csv", _text(f"x,{MARK}\n")),
    "in JSON": ("query.json", _text(json.dumps({"x": MARK}))),
    "in HTML": ("report.html", _text("<b>Qolena Müller &amp; &lt;Söhne&gt;</b>")),
    "twice escaped": ("candidates.kml", _text("Qolena Müller &amp;amp; &amp;lt;Söhne&amp;gt;")),
    "in an address": ("report.html", _text("?q=Qolena%20M%C3%BCller%20%26%20%3CS%C3%B6hne%3E")),
    "in UTF-16": ("heatmap.qml", _text(MARK.encode("utf-16"))),
    "decomposed": ("heatmap.qml", _text("Qolena Mu\u0308ller & <So\u0308hne>")),
    "in base64": ("candidates.geojson", _text(base64.b64encode(b"x" + MARK.encode() + b"yy"))),
    "in a tag": ("heatmap.tif", _tiff),
    "in a picture": ("heatmap.png", _png),
    "in an archive": ("candidates.kmz", _kmz),
    "in a picture of a page": ("report.html", _page),
    "in a file of another name": ("notes.txt", _text("nothing")),
}


@pytest.mark.parametrize("way", LEAKS)
def test_the_last_look_finds_a_mark_however_it_is_written(tmp_path: Path, way: str) -> None:
    name, write = LEAKS[way]
    write(tmp_path / name)
    assert list(findings(tmp_path, [Secret("senders", (MARK,))], (RECORD, *OUTPUTS)))


def test_what_is_kept_may_not_tell_what_is_not(tmp_path: Path) -> None:
    """The caption, which was to stay, names the sender, who was not: nothing is shared."""
    message = {"chat": "c", "id": 1, "from": "Olena Qvortrup", "text": "by Olena Qvortrup herself"}
    told = telling().photos[0]
    shown = replace(told, origin={"messages": [message]})
    folder = write_telling(tmp_path / "a", imagery=False, photos=(shown,))
    with pytest.raises(GeolocError, match=r"nothing was shared.*reveals senders") as refused:
        share([folder], tmp_path / "out", Options(frozenset({"captions"})))
    assert "Qvortrup" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    share([folder], tmp_path / "out", Options(frozenset({"captions", "senders"})))


def test_gps_in_a_kept_caption_is_found(tmp_path: Path) -> None:
    message = {"text": f"we stood at {LAT:.6f}, {LON:.6f}", "id": 1}
    shown = replace(telling().photos[0], origin={"messages": [message]})
    folder = write_telling(tmp_path / "a", imagery=False, photos=(shown,), truth=None)
    with pytest.raises(GeolocError, match="reveals gps"):
        share([folder], tmp_path / "out", Options(frozenset({"captions"})))


@pytest.mark.parametrize(
    ("part", "value"),
    [("vector", {}), ("grid", {}),
     ("grid", {"crs": "EPSG:0", "bounds": [0, 0, 1, 1], "step": 0, "shape": [1, 1]}),
     ("candidates", [{"rank": 1, "lon": 1e300, "lat": 0, "distance": 0}]),
     ("places", {"1": [["highway"]]}), ("match", {"likelier": ["x"]}), ("truth", ["x"]),
     ("summary", {"cells": 1, "cells_known": 1, "distance_quantiles": {}, "cells_asked": "x"})],
)  # fmt: skip
def test_a_damaged_record_is_an_error_of_one_line(
    plain: Path, tmp_path: Path, part: str, value: Any
) -> None:
    shutil.copytree(plain, tmp_path / "a")
    edit_record(tmp_path / "a", **{part: value})
    with pytest.raises(GeolocError, match=r"damaged|does not match|again") as refused:
        share([tmp_path / "a"], tmp_path / "out", Options(frozenset({"truth"})))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_link_out_of_the_folder_is_not_followed(plain: Path, tmp_path: Path) -> None:
    """An answer whose heatmap is another file of this disk: it is read as a raster or refused."""
    shutil.copytree(plain, tmp_path / "a")
    (tmp_path / "secret.txt").write_text("QSECRET")
    (tmp_path / "a" / "heatmap.tif").unlink()
    (tmp_path / "a" / "heatmap.tif").symlink_to(tmp_path / "secret.txt")
    forget_digests(tmp_path / "a")
    with pytest.raises(GeolocError, match=r"heatmap\.tif"):
        share([tmp_path / "a"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_heatmap_has_no_more_than_its_distances(answer: Path, tmp_path: Path) -> None:
    share([answer], tmp_path / "out")
    told = unpacked(tmp_path / "out")
    assert np.isfinite(heatmap()).any()
    assert not [name for name in told if name.endswith((".aux.xml", ".part", ".sqlite"))]
