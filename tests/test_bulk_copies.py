"""Copies of one picture: which leads, what each keeps, where they differ."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from geoloc.bulk import reading as reading_module
from geoloc.bulk import run_bulk
from geoloc.bulk.copies import Claim, Sight, conflicts_of
from geoloc.bulk.entries import first_date, seconds
from geoloc.bulk.media import Medium
from geoloc.bulk.store import Sighting
from geoloc.query import repeat_query
from geoloc.telegram import Message
from tests.bulk_place import Place
from tests.media import message, picture, shot, video, write_export

LON, LAT = 31.0833333, 50.3333333
TIME = "2025:06:03 10:11:12"


def photo(
    path: Path, size: tuple[int, int], *, gps: bool = False, time: str | None = None, east: int = 5
) -> Path:
    """One picture at any size, with or without a place and a time."""
    exif = Image.Exif()
    if time:
        exif.get_ifd(0x8769)[36867] = time
    if gps:
        told = exif.get_ifd(0x8825)
        told[1], told[2], told[3], told[4] = "N", (50.0, 20.0, 0.0), "E", (31.0, float(east), 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = Image.fromarray(picture(5, 720, 960))
    whole.resize(size, Image.Resampling.LANCZOS).save(path, quality=92, exif=exif)
    return path


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["file"]: row for row in pq.read_table(out / "results.parquet").to_pylist()}


def record_of(out: Path) -> dict[str, Any]:
    (path,) = (out / "items").glob("*/query.json")
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


@pytest.mark.parametrize("names", [("a.jpg", "b.jpg"), ("b.jpg", "a.jpg")])
def test_the_largest_copy_leads_and_each_keeps_its_own(
    place: Place, tmp_path: Path, names: tuple[str, str]
) -> None:
    small, large = names
    photo(tmp_path / "in" / small, (320, 240))
    photo(tmp_path / "in" / large, (640, 480), gps=True, time=TIME)
    out = tmp_path / "out"
    report = run_bulk(place.cube, tmp_path / "in", out, top=2)
    assert (report.pictures, report.duplicates, report.answered) == (1, 1, 1)
    rows = rows_of(out)
    assert (rows[large]["how"], rows[small]["how"]) == ("original", "looks the same")
    assert (rows[large]["claimed_lon"], rows[large]["claimed_lat"]) == pytest.approx((LON, LAT))
    assert (rows[large]["time"], rows[large]["width"]) == ("2025-06-03T10:11:12", 640)
    assert (rows[small]["claimed_lon"], rows[small]["time"], rows[small]["width"]) == (
        None, None, 320,
    )  # fmt: skip
    assert rows[small]["sha256"] != rows[large]["sha256"]
    assert rows[small]["bytes"] == (tmp_path / "in" / small).stat().st_size
    for row in rows.values():
        assert (row["item_claimed_lon"], row["item_claimed_lat"]) == pytest.approx((LON, LAT))
        assert (row["item_time"], row["conflicts"]) == ("2025-06-03T10:11:12", [])
    (told,) = record_of(out)["photos"]
    assert (told["file"], told["size"], told["sha256"]) == (
        large, [640, 480], rows[large]["sha256"],
    )  # fmt: skip
    assert told["exif"]["gps"]["lon"] == pytest.approx(LON)
    assert [(c["file"], c["size"]) for c in told["copies"]] == [
        (large, [640, 480]), (small, [320, 240]),
    ]  # fmt: skip
    assert repeat_query(next((out / "items").glob("*/query.json"))).same


def test_the_answer_is_that_of_the_largest_copy_alone(place: Place, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpg", (320, 240))
    photo(tmp_path / "in" / "b.jpg", (640, 480))
    shutil.copytree(tmp_path / "in", tmp_path / "alone", ignore=lambda *_: ["a.jpg"])
    run_bulk(place.cube, tmp_path / "in", tmp_path / "both", top=2)
    run_bulk(place.cube, tmp_path / "alone", tmp_path / "one", top=2)
    both, one = record_of(tmp_path / "both"), record_of(tmp_path / "one")
    assert both["vector"] == pytest.approx(one["vector"], abs=1e-5)
    assert both["photos"][0]["pixels_sha256"] == one["photos"][0]["pixels_sha256"]


def test_a_claim_of_a_small_copy_is_the_items(place: Place, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "large.jpg", (640, 480), time=TIME)
    photo(tmp_path / "in" / "small.jpg", (320, 240), gps=True)
    out = tmp_path / "out"
    run_bulk(place.cube, tmp_path / "in", out, top=2)
    row = rows_of(out)["large.jpg"]
    assert (row["how"], row["claimed_lon"]) == ("original", None)
    assert (row["item_claimed_lon"], row["claimed_by"]) == (pytest.approx(LON), "small.jpg")
    claims = record_of(out)["photos"][0]["claims"]
    assert claims[0] == {"time": "2025-06-03T10:11:12", "by": "large.jpg"}
    assert claims[1]["place"]["lat"] == pytest.approx(LAT)
    assert "50.333333, 31.083333" in (out / "index.html").read_text().replace("\u202f", " ")


def test_claims_that_differ_are_told_everywhere(place: Place, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpg", (640, 480), gps=True, time=TIME)
    photo(tmp_path / "in" / "b.jpg", (320, 240), gps=True, time="2024:01:01 00:00:00", east=20)
    out = tmp_path / "out"
    run_bulk(place.cube, tmp_path / "in", out, top=2)
    (told,) = record_of(out)["photos"]
    assert len(told["conflicts"]) == 2
    assert "km apart" in told["conflicts"][0]
    assert all(row["conflicts"] == told["conflicts"] for row in rows_of(out).values())
    features = json.loads((out / "results.geojson").read_text())["features"]
    claimed = [f for f in features if f["properties"]["kind"] == "claimed"]
    assert [f["properties"]["by"] for f in claimed] == ["a.jpg", "b.jpg"]
    assert all("claims differ" in f["properties"]["conflicts"] for f in claimed)
    assert "claims differ: a.jpg says 50.33333, 31.08333" in (out / "index.html").read_text()
    report = next((out / "items").glob("*/report.html")).read_text()
    assert "also seen in" in report
    assert "claims differ: a.jpg says 50.33333, 31.08333" in report


def test_a_larger_copy_that_comes_later_leads_and_one_that_goes_does_not(
    place: Place, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    photo(folder / "m.jpg", (320, 240), time=TIME)
    run_bulk(place.cube, folder, out, top=2)
    first = record_of(out)
    photo(folder / "z.jpg", (960, 720), gps=True)
    more = run_bulk(place.cube, folder, out, top=2)
    assert (more.pictures, more.answered) == (1, 1)
    second = record_of(out)
    assert (second["photos"][0]["file"], second["photos"][0]["size"]) == ("z.jpg", [960, 720])
    assert second["vector"] != first["vector"]
    assert rows_of(out)["m.jpg"]["item_claimed_lon"] == pytest.approx(LON)
    with Image.open(next((out / "items").glob("*/photo.jpg"))) as preview:
        assert preview.size == (960, 720)
    assert run_bulk(place.cube, folder, out, top=2).kept == 1
    (folder / "z.jpg").unlink()
    run_bulk(place.cube, folder, out, top=2)
    assert record_of(out)["photos"][0]["file"] == "m.jpg"
    assert record_of(out)["vector"] == pytest.approx(first["vector"], abs=1e-5)


def test_a_larger_copy_that_cannot_be_read_again_does_not_lead(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "in" / "a.jpg", (320, 240))
    photo(tmp_path / "in" / "b.jpg", (640, 480), gps=True)

    def fail(*_: Any) -> Any:
        raise RuntimeError("codec")

    monkeypatch.setattr(reading_module, "reread", fail)
    report = run_bulk(place.cube, tmp_path / "in", tmp_path / "out", top=2)
    assert (report.answered, list(report.failures)) == (1, ["b.jpg"])
    record, rows = record_of(tmp_path / "out"), rows_of(tmp_path / "out")
    assert (record["photos"][0]["file"], record["title"]) == ("a.jpg", "a.jpg")
    assert (rows["a.jpg"]["how"], rows["b.jpg"]["how"]) == ("original", "looks the same")
    assert rows["a.jpg"]["item_claimed_lon"] == pytest.approx(LON)
    assert rows["a.jpg"]["claimed_by"] == "b.jpg"


def test_copies_of_the_same_bytes_keep_their_paths_and_messages(
    place: Place, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    photo(folder / "photos" / "b.jpg", (320, 240), time=TIME)
    shutil.copy(folder / "photos" / "b.jpg", folder / "a.jpg")
    spot = {"latitude": 50.5, "longitude": 31.0}
    write_export(folder, [
        message(1, photo="photos/b.jpg", location_information=spot),
        message(2, photo="photos/b.jpg", forwarded_from=None),
    ])  # fmt: skip
    run_bulk(place.cube, folder, out, top=2)
    rows = rows_of(out)
    assert {name: row["how"] for name, row in rows.items()} == {
        "a.jpg": "original", "photos/b.jpg": "same bytes",
    }  # fmt: skip
    assert (rows["a.jpg"]["claimed_lon"], rows["photos/b.jpg"]["claimed_lon"]) == (None, 31.0)
    assert [m["id"] for m in rows["photos/b.jpg"]["messages"]] == [1, 2]
    assert rows["photos/b.jpg"]["messages"][1]["forwarded_from"] == "(source not given)"
    assert rows["a.jpg"]["claimed_by"] == "a message"
    told = record_of(out)["photos"][0]["copies"]
    assert [c["path"].rpartition("/in/")[2] for c in told] == ["a.jpg", "photos/b.jpg"]
    (folder / "a.jpg").unlink()
    run_bulk(place.cube, folder, out, top=2)
    assert record_of(out)["photos"][0]["path"].endswith("photos/b.jpg")


def test_a_frame_of_a_film_is_a_copy_too(place: Place, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    frames = shot(11, 12)
    video(folder / "film.mp4", frames)
    Image.fromarray(frames[0]).resize((960, 720)).save(_made(folder / "still.png"))
    run_bulk(place.cube, folder, out, top=2)
    rows = rows_of(out)
    assert rows["film.mp4"]["item"] == rows["still.png"]["item"]
    assert (rows["still.png"]["how"], rows["film.mp4"]["how"]) == ("original", "looks the same")
    assert rows["film.mp4"]["video_s"] == pytest.approx(0, abs=0.21)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_store_of_an_older_form_is_begun_anew(place: Place, tmp_path: Path) -> None:
    import sqlite3

    photo(tmp_path / "in" / "a.jpg", (320, 240))
    (tmp_path / "out").mkdir()
    with sqlite3.connect(tmp_path / "out" / "progress.sqlite") as old:
        old.execute("create table sighting (medium text, time real, item integer, how text)")
        old.execute("insert into sighting values ('a.jpg', null, 1, 'original')")
    old.close()
    assert run_bulk(place.cube, tmp_path / "in", tmp_path / "out", top=2).answered == 1


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [("2025-06-03T10:11:12", "2025-06-03T10:11:14", False),
     ("2025-06-03T10:11:12", "2025-06-03T10:11:20", True),
     ("2025-06-03T10:11:12+03:00", "2025-06-03T07:11:12+00:00", False),
     ("2025-06-03T10:11:12+03:00", "2025-06-03T10:11:12+00:00", True),
     ("2025-06-03T10:11:12", "2025-06-03T07:11:12+00:00", False),  # of some zone
     ("2025-06-03T10:41:12", "2025-06-03T05:11:12+00:00", False),  # of India's
     ("2025-06-03T10:11:40", "2025-06-03T07:11:12+00:00", True),  # of none
     ("2025-06-05T10:11:12", "2025-06-03T07:11:12+00:00", True),
     ("yesterday", "2025-06-03T07:11:12+00:00", False)],
)  # fmt: skip
def test_times_are_compared_as_what_they_are(a: str, b: str, differ: bool) -> None:
    claims = [Claim("time", a, "a"), Claim("time", b, "b")]
    assert bool(conflicts_of(claims)) == bool(conflicts_of(claims[::-1])) == differ


def test_places_that_are_near_are_one() -> None:
    spots = [(31.0, 50.0), (31.001, 50.0), (31.01, 50.0), (31.01, 50.0)]
    claims = [Claim("place", spot, str(n)) for n, spot in enumerate(spots)]
    assert conflicts_of(claims[:2]) == ()
    (line,) = conflicts_of(claims)
    assert "0 says 50.00000, 31.00000, 2 50.00000, 31.01000, 0.7 km apart" in line


def test_times_without_zone_are_near_their_like_only() -> None:
    zoned, local = seconds("2025-06-03T10:00:00+00:00"), seconds("2025-06-03T10:00:00")
    later = seconds("2025-06-03T10:05:00")
    assert zoned is not None and local is not None and later is not None
    assert later - local == 300
    assert abs(zoned - local) > 1e9
    assert seconds("soon") is None


def test_the_order_of_names_does_not_matter(place: Place, tmp_path: Path) -> None:
    """Three copies, each of them the first, the second and the last: one record, one vector."""
    seen = set()
    for n, order in enumerate(("abc", "cab", "bca")):
        names = [f"{letter}.jpg" for letter in order]
        folder = tmp_path / str(n)
        sizes = ((640, 480), (320, 240), (320, 240))
        told: list[dict[str, Any]] = [{"time": TIME}, {}, {"gps": True}]
        for name, size, claims in zip(names, sizes, told, strict=True):
            photo(folder / name, size, **claims)
        run_bulk(place.cube, folder, tmp_path / f"out {n}", top=2)
        record = record_of(tmp_path / f"out {n}")
        (shown,) = record["photos"]
        vector = tuple(np.round(list(record["vector"].values()), 4))
        seen.add((shown["sha256"], vector, tuple(c["sha256"] for c in shown["copies"])))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (["2025-06-01T13:00:00+03:00", "2025-06-01T10:30:00+00:00"], 0),
        (["2025-06-01T09:45:00+00:00", "2025-06-01T13:00:00+03:00"], 0),
        ([None, "2025-06-01T13:00:00", "2025-06-01T12:59:00+00:00"], 2),
    ],
)
def test_the_first_date_is_found_across_time_zones(dates: list[str | None], first: int) -> None:
    sighting = Sighting(0)
    sights = [
        Sight(Medium(Path("a.jpg"), "a.jpg", "photo", (Message("Watch", 1, date),)), sighting)
        for date in dates
    ]
    assert first_date(sights) == first_date(sights[::-1]) == dates[first]
    assert first_date([]) is None
