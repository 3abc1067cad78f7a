"""Pairs of geotagged photos: what is cut is centred on the place; what is left out is counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from pyproj import Transformer
from typer.testing import CliRunner

from geoloc.area import load_area
from geoloc.cli import app
from geoloc.errors import GeolocError, SpecMismatchError, UsageError
from geoloc.imagery import open_source
from geoloc.pairs import read_pairs
from geoloc.pairs.building import build_pairs, chip_of
from geoloc.pairs.cutting import ChipSpec, Water, cut_chip
from geoloc.pairs.splitting import SplitRule
from geoloc.pairs.tagged import LeftOut, Tagged, find_tagged

from .pair_files import picture
from .small_place import GSD, LEFT, TOP, SmallPlace, write_place

CHIP = ChipSpec(16, GSD)
ALL_TRAIN = SplitRule(0, 0, 1000.0, 0.0)


@pytest.fixture(scope="module")
def built_place(tmp_path_factory: pytest.TempPathFactory) -> SmallPlace:
    return write_place(tmp_path_factory.mktemp("place"), ny=20, nx=30)


@pytest.fixture
def place(built_place: SmallPlace, tmp_path: Path) -> SmallPlace:
    """960 x 640 m, 240 x 160 px."""
    shutil.copytree(built_place.folder, tmp_path / "place")
    area = tmp_path / "place" / "area.yaml"
    area.write_text(area.read_text().replace(str(built_place.folder), str(tmp_path / "place")))
    return SmallPlace(tmp_path / "place")


def lonlat(column: float, row: float) -> tuple[float, float]:
    """Degrees of a corner between pixels of the imagery, counted from its north-west."""
    to_degrees = Transformer.from_crs(32636, 4326, always_xy=True)
    lon, lat = to_degrees.transform(LEFT + column * GSD, TOP - row * GSD)
    return lon, lat


def dms(value: float) -> tuple[float, float, float]:
    value = abs(value)
    minutes = value % 1 * 60
    return float(int(value)), float(int(minutes)), minutes % 1 * 60


def tagged(path: Path, seed: int, place: tuple[float, float] | None, heading: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if place:
        names = ExifTags.GPS
        exif[ExifTags.IFD.GPSInfo] = {
            names.GPSLatitudeRef: "N", names.GPSLatitude: dms(place[1]),
            names.GPSLongitudeRef: "E", names.GPSLongitude: dms(place[0]),
            names.GPSImgDirectionRef: "T", names.GPSImgDirection: heading,
        }  # fmt: skip
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2024:03:02 10:11:12"}
    picture(seed, 120, 100).save(path, quality=95, exif=exif)
    return path


def pixels_of(place: SmallPlace) -> np.ndarray:
    import rasterio

    with rasterio.open(place.folder / "tile.tif") as raster:
        return np.moveaxis(raster.read(), 0, -1)


def test_a_chip_is_centred_on_the_place_of_the_file(place: SmallPlace, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    tagged(photos / "deep" / "a.jpg", 1, lonlat(100, 60), 222.5)
    tagged(photos / "b.jpg", 2, None)
    made = build_pairs(photos, load_area(place.area), tmp_path / "out", CHIP, rule=ALL_TRAIN)
    assert made.outcomes == {"kept": 1, "no place": 1}
    (pair,) = read_pairs(tmp_path / "out" / "pairs.csv")
    assert pair.photo == photos / "deep" / "a.jpg"
    assert (pair.heading, pair.date) == (222.5, "2024-03-02T10:11:12")
    assert pair.overhead is not None
    chip = np.asarray(Image.open(pair.overhead))
    expected = pixels_of(place)[60 - 8 : 60 + 8, 100 - 8 : 100 + 8]
    # EXIF's fractions move the place by some millimetres, resampling what lies between by less
    assert np.abs(chip.astype(int) - expected).max() <= 2


def write_list(folder: Path, kind: str, rows: list[tuple[str, float, float]]) -> Path:
    path = folder / f"list.{kind}"
    if kind == "csv":
        lines = [f"{name},{lon!r},{lat!r},90,x" for name, lon, lat in rows]
        path.write_text("\n".join(["file,longitude,latitude,azimuth,remark", *lines]))
    elif kind == "geojson":
        features = [
            {
                "type": "Feature",
                "properties": {"photo": name, "heading": 90},
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
            }
            for name, lon, lat in rows
        ]
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    else:
        marks = "".join(
            f"<Placemark><name>{name}</name><Point><coordinates>{lon!r},{lat!r}</coordinates>"
            "</Point></Placemark>"
            for name, lon, lat in rows
        )
        path.write_text(
            '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
            f"<Folder><name>events</name>{marks}</Folder></Document></kml>"
        )
    return path


@pytest.mark.parametrize("kind", ["csv", "geojson", "kml"])
def test_lists_of_geolocated_photos(place: SmallPlace, tmp_path: Path, kind: str) -> None:
    photos = tmp_path / "photos"
    for n in range(3):
        tagged(photos / f"{n}.jpg", n, None)
    rows = [(f"{n}.jpg", *lonlat(60 + 40 * n, 50 + 20 * n)) for n in range(3)]
    rows += [("gone.jpg", *lonlat(50, 50)), ("https://example.org/x.jpg", *lonlat(50, 50))]
    path = write_list(tmp_path, kind, rows)
    area = load_area(place.area)
    made = build_pairs(path, area, tmp_path / "out", CHIP, photos=photos, rule=ALL_TRAIN)
    assert made.outcomes == {"kept": 3, "no file": 2}
    assert made.failed == 2
    for pair, (_, lon, lat) in zip(read_pairs(made.path), rows, strict=False):
        assert pair.lonlat == pytest.approx((lon, lat), abs=1e-9)
        assert pair.heading == (None if kind == "kml" else 90.0)
    chip = np.asarray(Image.open(next(p.overhead for p in read_pairs(made.path) if p.overhead)))
    assert np.array_equal(chip, pixels_of(place)[50 - 8 : 50 + 8, 60 - 8 : 60 + 8])


def test_rows_without_a_place_and_descriptions_that_show_the_photo(tmp_path: Path) -> None:
    for n in range(2):
        tagged(tmp_path / f"{n}.jpg", n, None)
    rows = ["title,lat,lon,description", "0.jpg,91,1,", "0.jpg,,,", "0.jpg,0,0,"]
    rows += ['a fire,50.5,30.25,"<p><img width=3 src=""1.jpg""/></p>"', "nothing,1,2,"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    found = list(find_tagged(tmp_path / "list.csv"))
    reasons = [one.reason for one in found if isinstance(one, LeftOut)]
    assert reasons == ["bad row", "no place", "no place", "no file"]
    assert found[3] == Tagged(tmp_path / "1.jpg", (30.25, 50.5))


def test_a_list_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    for folder in ("list", "secret"):
        (tmp_path / folder).mkdir()
        tagged(tmp_path / folder / "1.jpg", 1, None)
    (tmp_path / "list" / "link.jpg").symlink_to(tmp_path / "secret" / "1.jpg")
    names = ["1.jpg", "../secret/1.jpg", str(tmp_path / "secret" / "1.jpg"), "link.jpg"]
    path = tmp_path / "list" / "list.csv"
    path.write_text("\n".join(["photo,lat,lon", *(f"{name},50.5,30.25" for name in names)]))
    mine, *left = find_tagged(path)
    assert mine == Tagged(tmp_path / "list" / "1.jpg", (30.25, 50.5))
    lines = [one.line for one in left if isinstance(one, LeftOut)]
    assert len(lines) == 3 and all("name a folder that holds all photos" in one for one in lines)
    inside = [one for one in find_tagged(path, tmp_path) if isinstance(one, Tagged)]
    assert [one.photo for one in inside] == [tmp_path / "secret" / "1.jpg"]


def test_every_reason_is_counted(place: SmallPlace, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    good = tagged(photos / "a.jpg", 1, lonlat(100, 60))
    with Image.open(good) as image:
        smaller = image.resize((90, 75))
        smaller.save(photos / "b.jpg", quality=60, exif=image.getexif())
    tagged(photos / "c.jpg", 3, lonlat(-5000, 60))
    tagged(photos / "d.jpg", 4, lonlat(239, 159))
    tagged(photos / "e.jpg", 5, lonlat(40, 40))
    (photos / "f.jpg").write_bytes(good.read_bytes()[:500])
    tagged(photos / "g.jpg", 7, lonlat(200, 100))
    lake = [list(lonlat(*corner)) for corner in ((20, 20), (70, 20), (70, 70), (20, 70), (20, 20))]
    (place.folder / "water.geojson").write_text(
        json.dumps({"type": "Polygon", "coordinates": [lake]})
    )
    place.area.write_text(place.area.read_text() + "map: {water: water.geojson}\n")
    made = build_pairs(photos, load_area(place.area), tmp_path / "out", CHIP, rule=ALL_TRAIN)
    assert made.outcomes == {
        "kept": 2, "no imagery": 2, "broken photo": 1, "near-duplicate": 1, "water": 1,
    }  # fmt: skip
    assert [pair.photo.name for pair in read_pairs(made.path)] == ["a.jpg", "g.jpg"]
    assert json.loads((tmp_path / "out" / "build.json").read_text()) == made.to_json()


def test_a_chip_that_shows_nothing_is_blank(place: SmallPlace) -> None:
    import rasterio

    with rasterio.open(place.folder / "tile.tif", "r+") as raster:
        raster.write(np.full((3, 160, 240), 77, np.uint8))
    source = open_source(load_area(place.area).read_imagery)
    assert cut_chip(source, CHIP.window(lonlat(100, 60)), Water()).fault == "blank imagery"


def test_an_interrupted_build_goes_on_and_ends_equal(
    place: SmallPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoloc.pairs import building

    photos, area = tmp_path / "photos", load_area(place.area)
    for n in range(6):
        tagged(photos / f"{n}.jpg", n, lonlat(40 + 30 * n, 50 + 10 * n))
    shutil.copy(photos / "0.jpg", photos / "5-again.jpg")
    build_pairs(photos, area, tmp_path / "whole", CHIP, rule=ALL_TRAIN)
    real, calls = cut_chip, []

    def count(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(building, "cut_chip", count)
    with pytest.raises(KeyboardInterrupt):
        build_pairs(photos, area, tmp_path / "cut", CHIP, rule=ALL_TRAIN)
    made = build_pairs(photos, area, tmp_path / "cut", CHIP, rule=ALL_TRAIN)
    assert len(calls) == 7  # three before, the fourth again, two more; the copy is none
    assert made.outcomes == {"kept": 6, "near-duplicate": 1}
    whole, cut = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.[cp][sn][vg]")}
        for folder in (tmp_path / "whole", tmp_path / "cut")
    )
    assert len(whole) == 7
    assert whole == cut


def test_photos_that_are_gone_are_no_pairs_any_more(place: SmallPlace, tmp_path: Path) -> None:
    photos, area = tmp_path / "photos", load_area(place.area)
    for n in range(3):
        tagged(photos / f"{n}.jpg", n, lonlat(60 + 30 * n, 50))
    build_pairs(photos, area, tmp_path / "out", CHIP, rule=ALL_TRAIN)
    (photos / "1.jpg").unlink()
    made = build_pairs(photos, area, tmp_path / "out", CHIP, rule=ALL_TRAIN)
    assert made.outcomes == {"kept": 2}
    assert [pair.photo.stem for pair in read_pairs(made.path)] == ["0", "2"]


def test_another_size_does_not_go_into_the_same_folder(place: SmallPlace, tmp_path: Path) -> None:
    tagged(tmp_path / "photos" / "a.jpg", 1, lonlat(100, 60))
    area = load_area(place.area)
    build_pairs(tmp_path / "photos", area, tmp_path / "out", CHIP, rule=ALL_TRAIN)
    with pytest.raises(SpecMismatchError, match="begun with px 16, and this is 32"):
        build_pairs(tmp_path / "photos", area, tmp_path / "out", ChipSpec(32, GSD))


def test_a_photo_that_is_listed_twice_is_one_pair(place: SmallPlace, tmp_path: Path) -> None:
    tagged(tmp_path / "0.jpg", 0, None)
    rows = [("0.jpg", *lonlat(60, 50)), ("0.jpg", *lonlat(60, 50)), ("0.jpg", *lonlat(150, 90))]
    path, area = write_list(tmp_path, "csv", rows), load_area(place.area)
    for _ in range(2):
        made = build_pairs(path, area, tmp_path / "out", CHIP, rule=ALL_TRAIN)
        assert made.outcomes == {"duplicate": 2, "kept": 1}
        assert [pair.lonlat for pair in read_pairs(made.path)] == [lonlat(60, 50)]


def test_unreadable_imagery_is_tried_again(place: SmallPlace, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    tagged(photos / "a.jpg", 1, lonlat(30, 30))
    tagged(photos / "b.jpg", 2, lonlat(200, 100))
    tile = place.folder / "tile.tif"
    whole = tile.read_bytes()
    tile.write_bytes(whole[: len(whole) // 2])  # the header and the first blocks are there
    command = ["pairs", "build", str(photos), str(place.area), "--out", str(tmp_path / "out")]
    command += ["--px", "16", "--gsd", "4", "--test", "0", "--valid", "0", "--json"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, GeolocError)
    assert "\n" not in str(done.exception)
    tile.write_bytes(whole)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["outcomes"] == {"kept": 2}


def test_chips_of_a_model_have_its_resolution_and_context(place: SmallPlace) -> None:
    area = load_area(place.area)
    chip = chip_of(area)
    assert chip.gsd == 4.0
    assert chip.px == 1.5 * chip_of(area, context=1).px
    assert chip_of(area, px=10) == ChipSpec(10, 4.0)
    with pytest.raises(UsageError, match="give one"):
        chip_of(area, px=10, context=2)


def test_nothing_to_pair_names_what_is_wrong_with_the_first(
    place: SmallPlace, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("file,lat,lon\na.jpg,nowhere,31\n")
    tagged(tmp_path / "a.jpg", 1, None)
    area = load_area(place.area)
    with pytest.raises(UsageError, match=r"1 bad row; the first: .*list\.csv:2: .*'nowhere'"):
        build_pairs(tmp_path / "list.csv", area, tmp_path / "out", ChipSpec(32, 2.0))


def test_nothing_to_pair_is_invalid_usage(place: SmallPlace, tmp_path: Path) -> None:
    tagged(tmp_path / "photos" / "a.jpg", 1, None)
    area = load_area(place.area)
    with pytest.raises(UsageError, match="no pair is left of 1 photos: 1 no place"):
        build_pairs(tmp_path / "photos", area, tmp_path / "out", CHIP)
    with pytest.raises(UsageError, match="does not exist"):
        build_pairs(tmp_path / "nowhere", area, tmp_path / "out", CHIP)
    (tmp_path / "x.csv").write_text("event,when\nfire,today\n")
    with pytest.raises(UsageError, match="needs a column of photo files"):
        build_pairs(tmp_path / "x.csv", area, tmp_path / "out", CHIP)
