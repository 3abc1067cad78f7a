from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import UsageError
from geoloc.points.places import read_places


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "places.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "name,lat,lon,population,score\nKyjiw,50.45,30.52,2950000,0.5\nLviv,49.84,24.03,720000,1\n",
        "\ufeffname;Latitude;Longitude;population;score\nKyjiw;50.45;30.52;2950000;0.5\n\n"
        "Lviv;49.84;24.03;720000;1\n",
        "name\tY\tX\tpopulation\tscore\nKyjiw\t50.45\t30.52\t2950000\t0.5\n"
        "Lviv\t49.84\t24.03\t720000\t1\n",
    ],
)
def test_places_are_read_with_all_their_columns(tmp_path: Path, text: str) -> None:
    places = read_places(write(tmp_path, text))
    assert places.coordinates.tolist() == [[30.52, 50.45], [24.03, 49.84]]
    assert places.attributes["name"].tolist() == ["Kyjiw", "Lviv"]
    assert places.attributes["population"].dtype == np.int64
    assert places.attributes["score"].tolist() == [0.5, 1.0]
    assert places.attributes["way_id"].tolist() == [-1, -1]
    assert places.attributes["highway"].tolist() == ["", ""]


def test_ways_that_are_given_are_kept(tmp_path: Path) -> None:
    places = read_places(write(tmp_path, "lat,lon,way_id,highway,order\n1,2,77,track,5\n"))
    assert places.attributes["way_id"].tolist() == [77]
    assert sorted(places.attributes) == ["highway", "way_id"]
    assert places.attributes["highway"].tolist() == ["track"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [(("7", "-12"), "i"), (("0", "+4"), "i"), (("0.5", "nan"), "f"), (("1e-05", ".5"), "f"),
     (("3", "4.25"), "f"), (("007", "12"), "U"), (("1_000", "2"), "U"), (("12e4", "2"), "U"),
     (("00.5", "1"), "U"), (("x", "1"), "U"), (("", "1"), "U"), (("9" * 30, "1"), "f")],
)  # fmt: skip
def test_codes_stay_text(tmp_path: Path, values: tuple[str, str], kind: str) -> None:
    text = f"lat,lon,code\n1,2,{values[0]}\n1,3,{values[1]}\n"
    found = read_places(write(tmp_path, text)).attributes["code"]
    assert found.dtype.kind == kind
    wanted = values if kind == "U" else [float(value) for value in values]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,lon\nA,3\n", "has no column lat: name lat and lon in the first row"),
        ("lat,lon\n", "has no places"),
        ("", "has no column lat"),
        ("lat,lon\n1,2\n95,2\n", r"places.csv:3: lon '2', lat '95' are not degrees"),
        ("lat,lon\n1,2\n,2\n", r":3: lon '2', lat '' are not degrees"),
        ("lat,lon\n1,nan\n", "are not degrees"),
        ("lat,lon\n1,2_1\n", "are not degrees"),
        ("lat,lon, LAT\n1,2,1\n", "has the column 'lat' twice"),
        ("lat,lon\n1,2,3\n", r":2: has 3 values for 2 columns"),
    ],
)
def test_faults_are_named_by_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_places(write(tmp_path, text))


def test_a_file_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "places.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UsageError, match="cannot read these places"):
        read_places(path)
    with pytest.raises(UsageError, match="No such file"):
        read_places(tmp_path / "none.csv")
