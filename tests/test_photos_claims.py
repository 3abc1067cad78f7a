"""Claims of time and place are read as they are, or not at all."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from geoloc.photos import read_photo
from geoloc.photos.claims import parse_iso_6709, parse_time, tag_claims, video_claims, xmp_claims
from tests.media import picture

GPS = ExifTags.GPS
TIMES = ExifTags.Base


def place(lat: Any, north: Any, lon: Any, east: Any, **more: Any) -> dict[str, float] | None:
    tags = {GPS.GPSLatitude: lat, GPS.GPSLatitudeRef: north, GPS.GPSLongitude: lon,
            GPS.GPSLongitudeRef: east}  # fmt: skip
    others = {GPS[name]: value for name, value in more.items()}
    return tag_claims({}, tags | others).get("gps")


@pytest.mark.parametrize(("south", "west"), [
    ("S", "W"), (b"S", b"W"), ("s\x00", "w\x00"), ("South", "West"), ("\x01", "\x01"),
    (b"\x01\x00", b"\x01\x00"), (1, 1), ((1,), (1,)), (ord("S"), ord("W")), (b"SOUTH", b"west "),
])  # fmt: skip
def test_references_of_any_type(south: Any, west: Any) -> None:
    found = place((33, 30, 0), south, (70, 15, 0), west)
    assert found == {"lat": -33.5, "lon": -70.25}


@pytest.mark.parametrize("reference", ["N", b"N\x00", "north", "n"])
def test_references_of_the_north(reference: Any) -> None:
    assert place((33, 30, 0), reference, (70, 15, 0), "E") == {"lat": 33.5, "lon": 70.25}


@pytest.mark.parametrize(
    "reference",
    ["", None, "\x00", b"\x00\x00", 0, "X", "E", "W", "\x02", 7, "Sud?", "NS", b"\xff", ()],
)  # fmt: skip
def test_an_unknown_reference_is_no_claim(reference: Any) -> None:
    assert place((33, 30, 0), reference, (70, 15, 0), "E") is None
    assert (
        place((33, 30, 0), "N", (70, 15, 0), {"W": "N", "E": "S"}.get(str(reference), reference))
        is None
    )


NAN = float("nan")


@pytest.mark.parametrize("lat", [
    None, (), (33,), (33, 30, 0, 0), (NAN, 0, 0), (33, NAN, 0), (91, 0, 0), (33, 61, 0),
    (33, 30, 99), (-33, 30, 0), "", "33 N", ("a", "b", "c"), (float("inf"), 0, 0), (33, -1, 0),
    "1/0 2/1 3/1",
])  # fmt: skip
def test_degrees_that_are_none_are_no_claim(lat: Any) -> None:
    assert place(lat, "N", (70, 15, 0), "E") is None
    assert place((33, 30, 0), "N", lat if lat != (91, 0, 0) else (181, 0, 0), "E") is None


@pytest.mark.parametrize("lat", [
    (33, 30), (33, 30.0, 0), (Fraction(67, 2), 0, 0), "33 30 0", "33/1, 30/1, 0/1", "33 30",
    ("33", "30", "0"), b"33 30 0",
])  # fmt: skip
def test_degrees_in_other_forms(lat: Any) -> None:
    assert place(lat, "S", (70, 15, 0), "W") == {"lat": -33.5, "lon": -70.25}
    assert place((-33, 30, 0), "S", (70, 15, 0), "W") == {"lat": -33.5, "lon": -70.25}


def test_place_holders_and_halves_are_no_claim() -> None:
    zero = (0, 0, 0)
    assert place(zero, "N", zero, "E") is None and place(zero, "S", zero, "W") is None
    assert place(zero, "N", (70, 15, 0), "E") == {"lat": 0.0, "lon": 70.25}  # the Equator
    assert tag_claims({}, {GPS.GPSLatitude: (33, 30, 0), GPS.GPSLatitudeRef: "N"}) == {}
    assert place((35, 40, 0), "N", (139, 45, 0), "E", GPSMapDatum="TOKYO") is None
    assert place((35, 40, 0), "N", (139, 45, 0), "E", GPSMapDatum="WGS-84") is not None


def claimed(**tags: Any) -> str | None:
    return tag_claims({TIMES[name]: value for name, value in tags.items()}, {}).get("time")


def test_the_time_of_capture_and_its_zone() -> None:
    taken = "2022:03:04 11:30:05"
    assert claimed(DateTimeOriginal=taken) == "2022-03-04T11:30:05"
    assert (
        claimed(DateTimeOriginal=taken, OffsetTimeOriginal="-03:00") == "2022-03-04T11:30:05-03:00"
    )
    assert (
        claimed(DateTimeOriginal=taken, OffsetTimeOriginal=b"Z\x00") == "2022-03-04T11:30:05+00:00"
    )
    assert claimed(DateTimeOriginal=taken, OffsetTime="+05:00") == "2022-03-04T11:30:05"
    assert claimed(DateTimeOriginal=taken, OffsetTimeOriginal="   :  ") == "2022-03-04T11:30:05"
    assert (
        claimed(DateTimeDigitized=taken, OffsetTimeDigitized="+01:00")
        == "2022-03-04T11:30:05+01:00"
    )
    assert (
        claimed(DateTimeOriginal=taken, DateTimeDigitized="2023:01:01 00:00:00")
        == "2022-03-04T11:30:05"
    )
    assert claimed(DateTimeOriginal="0000:00:00 00:00:00", DateTimeDigitized=taken) is not None
    assert claimed(DateTimeOriginal=taken, OffsetTimeOriginal="+99:00") == "2022-03-04T11:30:05"
    assert claimed(DateTime=taken) is None


@pytest.mark.parametrize("text", [
    "0000:00:00 00:00:00", "    :  :     :  :  ", "", None, "yesterday", "2022:13:04 11:30:05",
    "2022:02:30 11:30:05", "2022:03:04 25:00:00", "1970:01:01 00:00:00", "1904:01:01 00:00:00",
    "1980:01:01 00:00:00", "0001:01:01 00:00:00", "1601:01:01 01:00:00",
    "2022:03:04", 20220304, (2022, 3, 4), b"\xff\xfe",
])  # fmt: skip
def test_times_that_are_none(text: Any) -> None:
    assert claimed(DateTimeOriginal=text) is None


@pytest.mark.parametrize("text", [
    b"2022:03:04 11:30:05\x00", "2022-03-04T11:30:05", "2022:03:04 11:30:05.25",
    "2022/03/04 11:30:05",
    "2022:03:04 11:30:05\x00garbage", " 2022:03:04  11:30:05 ",
])  # fmt: skip
def test_times_in_other_forms(text: Any) -> None:
    assert claimed(DateTimeOriginal=text) == "2022-03-04T11:30:05"


def test_a_zone_in_the_text_is_kept() -> None:
    assert parse_time("2022-03-04T11:30:05+0530") == "2022-03-04T11:30:05+05:30"
    assert parse_time("2022-03-04T11:30:05Z") == "2022-03-04T11:30:05+00:00"


def test_the_satellites_clock_is_a_claim_of_its_own() -> None:
    tags = {GPS.GPSDateStamp: "2022:03:04", GPS.GPSTimeStamp: (14, 30, 5.5)}
    assert tag_claims({}, tags) == {"gps_time": "2022-03-04T14:30:05+00:00"}
    assert tag_claims({}, tags | {GPS.GPSTimeStamp: (NAN, 0, 0)}) == {}
    assert tag_claims({}, tags | {GPS.GPSDateStamp: "0000:00:00"}) == {}


def test_the_date_of_the_last_edit_is_not_claimed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[TIMES.DateTime] = "2024:05:06 07:08:09"
    Image.fromarray(picture(1, 100, 120)).save(tmp_path / "a.jpg", exif=exif)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.exif == {} and photo.notes == ()


def test_an_exif_directory_that_cannot_be_read(tmp_path: Path) -> None:
    """Its pointer has become text: the time of the edit beside it is not taken for it."""
    entries = struct.pack("<HHII", 306, 2, 20, 38) + struct.pack("<HHII", 34665, 7, 20, 38)
    block = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + b"2024:05:06 07:08:09\0"
    Image.fromarray(picture(1, 100, 120)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.exif == {} and photo.pixels.shape == (100, 120, 3)
    assert photo.notes == ("a.jpg: its EXIF block is damaged: its claims of time and place are "
                           "unknown",)  # fmt: skip


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description xmp:ModifyDate="2024-01-01" '
    'exif:GPSLatitude="33,30.0S" exif:GPSLongitude="70,15,0W" '
    'exif:DateTimeOriginal="2010-07-11T13:53:00+02:00"/></rdf:RDF></x:xmpmeta>'
)
TOLD = {"time": "2010-07-11T13:53:00+02:00", "gps": {"lat": -33.5, "lon": -70.25}}


def test_xmp_tells_where_exif_does_not(tmp_path: Path) -> None:
    assert xmp_claims(XMP) == xmp_claims(XMP.encode()) == TOLD
    assert xmp_claims("<exif:GPSLatitude>33,30.0S</exif:GPSLatitude>") == {}
    assert xmp_claims('a exif:GPSLatitude="33,30X" exif:GPSLongitude="70,15W"') == {}
    assert xmp_claims("<photoshop:DateCreated>2010-07-11T13:53:00</photoshop:DateCreated>") == {
        "time": "2010-07-11T13:53:00"
    }
    image = Image.fromarray(picture(1, 100, 120))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP)
    image.save(tmp_path / "a.png", pnginfo=info)
    image.save(tmp_path / "a.webp", xmp=XMP.encode())
    image.save(tmp_path / "a.jpg", xmp=XMP.encode())
    for suffix in ("png", "webp", "jpg"):
        assert read_photo(tmp_path / f"a.{suffix}").exif == TOLD
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[TIMES.DateTimeOriginal] = "2011:01:01 10:00:00"
    image.save(tmp_path / "b.jpg", xmp=XMP.encode(), exif=exif)
    assert read_photo(tmp_path / "b.jpg").exif == TOLD | {"time": "2011-01-01T10:00:00"}


def placed(lat: float, lon: float, time: str = "", datum: str = "") -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({
        GPS.GPSLatitudeRef: "S", GPS.GPSLatitude: (lat, 0.0, 0.0),
        GPS.GPSLongitudeRef: "W", GPS.GPSLongitude: (lon, 0.0, 0.0)})  # fmt: skip
    if time:
        exif.get_ifd(ExifTags.IFD.Exif)[TIMES.DateTimeOriginal] = time
    if datum:
        exif.get_ifd(ExifTags.IFD.GPSInfo)[GPS.GPSMapDatum] = datum
    return exif


@pytest.mark.parametrize(("exif", "told"), [
    (placed(33.5, 70.25, "2010:07:11 13:53:00"), ()),  # the zone is only in one of them
    (placed(33.501, 70.25, "2010:07:11 13:53:01"), ()),
    (placed(33.5, 70.26), ("a place 0.9 km from",)),
    (placed(33.51, 70.25), ("a place 1.1 km from",)),
    (placed(33.5, 70.25, "2010:07:11 11:53:00"), ("a time 2:00:00 from",)),
    (placed(34.5, 70.25, "2011:07:11 13:53:00"), ("a place 111.2 km", "a time 365 days, 0:00:00")),
])  # fmt: skip
def test_xmp_that_contradicts_exif_is_noted(
    tmp_path: Path, exif: Image.Exif, told: tuple[str, ...]
) -> None:
    image = Image.fromarray(picture(1, 100, 120))
    image.save(tmp_path / "a.jpg", xmp=XMP.encode(), exif=exif)
    photo = read_photo(tmp_path / "a.jpg")
    assert len(photo.notes) == len(told)
    assert all(part in note for part, note in zip(told, photo.notes, strict=True))
    (degrees, _, _) = exif.get_ifd(ExifTags.IFD.GPSInfo)[GPS.GPSLatitude]
    assert photo.exif["gps"]["lat"] == pytest.approx(-float(degrees))


@pytest.mark.parametrize(("datum", "note", "claimed"), [
    ("", "", True), ("WGS-84", "", True), ("wgs 84", "", True), ("WGS1984", "", True),
    ("ETRS89", "", True), ("JGD2011", "", True),
    ("Pulkovo-1942", "is in the datum 'Pulkovo-1942', which may be 100 m or more off", True),
    ("TOKYO", "is not claimed, as it is in the datum TOKYO", False),
])  # fmt: skip
def test_a_position_in_another_datum_is_noted(
    tmp_path: Path, datum: str, note: str, claimed: bool
) -> None:
    image = Image.fromarray(picture(1, 100, 120))
    image.save(tmp_path / "a.jpg", exif=placed(33.5, 70.25, datum=datum))
    photo = read_photo(tmp_path / "a.jpg")
    assert ("gps" in photo.exif) == claimed
    assert len(photo.notes) == bool(note) and all(note in one for one in photo.notes)


def test_xmp_in_another_datum_is_no_claim() -> None:
    assert xmp_claims(XMP + ' exif:GPSMapDatum="WGS-84"') == TOLD
    assert xmp_claims(XMP + ' exif:GPSMapDatum="Tokyo"') == {"time": TOLD["time"]}


@pytest.mark.parametrize("suffix", ["png", "webp", "heic", "avif", "tif", "jpg"])
def test_claims_of_every_format(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[TIMES.DateTimeOriginal] = "2011:01:01 10:00:00"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({
        GPS.GPSLatitudeRef: "S", GPS.GPSLatitude: (33.0, 30.0, 0.0),
        GPS.GPSLongitudeRef: "W", GPS.GPSLongitude: (70.0, 15.0, 0.0)})  # fmt: skip
    Image.fromarray(picture(1, 100, 120)).save(tmp_path / f"a.{suffix}", exif=exif.tobytes())
    assert read_photo(tmp_path / f"a.{suffix}").exif == {
        "time": "2011-01-01T10:00:00", "gps": {"lat": -33.5, "lon": -70.25}}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [
    ("+50.4501+030.5234/", (50.4501, 30.5234)), ("-33.5000-070.2500+520.0/", (-33.5, -70.25)),
    ("+5027.006+03031.404/", (50.4501, 30.5234)), ("+502700.4+0303124.2/", (50.450111, 30.523389)),
    ("+50.4501+030.5234+0.000CRSWGS_84/", (50.4501, 30.5234)),
    ("+50.4501+30.5234", (50.4501, 30.5234)),
    ("-00.5+000.5/", (-0.5, 0.5)), ("+50+030/", (50.0, 30.0)),
])  # fmt: skip
def test_iso_6709(text: str, expected: tuple[float, float]) -> None:
    found = parse_iso_6709(text)
    assert found is not None
    assert (found["lat"], found["lon"]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("text", [
    "+00.0000+000.0000/", "", None, "50.4 30.5", "+91.0+030.0/", "+50.0+181.0/", "Kyiv",
    "+50.4501/",
    "+5061.0+03030.0/", "+50.4501+0305.234/", "+050.4501+030.5234/",
])  # fmt: skip
def test_no_iso_6709(text: str | None) -> None:
    assert parse_iso_6709(text) is None


@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9))
def test_every_place_comes_back(lat: float, lon: float) -> None:
    found = parse_iso_6709(f"{lat:+08.4f}{lon:+09.4f}/")
    if round(abs(lat), 4) or round(abs(lon), 4):
        assert found is not None
        assert (found["lat"], found["lon"]) == pytest.approx((lat, lon), abs=1e-4)


def test_containers_of_videos() -> None:
    apple = "com.apple.quicktime."
    assert video_claims({
        "creation_time": "2024-06-01T10:00:00.000000Z",
        f"{apple}creationdate": "2024-06-01T13:00:00+0300",
        f"{apple}location.ISO6709": "+50.4501+030.5234+100.0/", "location": "+10.0+010.0/",
    }) == {"time": "2024-06-01T13:00:00+03:00",
            "gps": {"lat": 50.4501, "lon": 30.5234}}  # fmt: skip
    assert (
        video_claims({"creation_time": "1904-01-01T00:00:00.000000Z", "location": "+0.0+0.0/"})
        == {}
    )
    for unset in ("1970-01-01T00:00:00.000000Z", "1904-01-01T00:00:05Z", "1903-12-31T22:00:00Z"):
        assert video_claims({"creation_time": unset}) == {}
    assert video_claims({"LOCATION-eng": "-33.5-070.25/"}) == {"gps": {"lat": -33.5, "lon": -70.25}}
    assert video_claims({"creation_time": "2024-06-01 10:00:00"}) == {"time": "2024-06-01T10:00:00"}
