"""The files of a map: read as others write them, refused in one line where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from geoloc.area import MapFiles, MapLayers, load_area, read_layers
from geoloc.area.map import read_places
from geoloc.errors import AreaError
from tests.point_place import make_map


def csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "name,population,lat,lon\nKyiv,2797553,50.45,30.52\nLviv,,49.84,24.02\n",
        "geonameid,name,lat,lon,population,admin1,timezone\n"
        "7,Kyiv,50.45,30.52,2797553,12,Europe/Kyiv\n8,Lviv,49.84,24.02,x,15,Europe/Kyiv\n",
        "\ufeffCity;Pop;Latitude;Longitude\nKyiv;2 797 553;50.45;30.52\nLviv;-1;49.84;24.02\n",
        'Name\tLon\tLat\tPopulation\n"Kyiv"\t30.52\t50.45\t2797553\n Lviv \t24.02\t49.84\t\n',
    ],
    ids=["plain", "gazetteer", "semicolons", "tabs"],
)
def test_places_of_tables(tmp_path: Path, text: str) -> None:
    places, notes = read_places(csv(tmp_path / "p.csv", text))
    unread = "The population of 1 of 2 places of p.csv is no number: they are not counted."
    assert places.names == ("Kyiv", "Lviv")
    assert notes == ((unread,) if ",x," in text or ";-1;" in text else ())
    assert places.population[0] == 2_797_553 and np.isnan(places.population[1])
    np.testing.assert_allclose(places.lonlat, [[30.52, 50.45], [24.02, 49.84]])


@pytest.mark.parametrize(
    ("people", "count"),
    [
        ('"1,234,567"', 1_234_567), ("1 234 567", 1_234_567), ("1\u202f234\u00a0567", 1_234_567),
        ("1'234'567", 1_234_567), ("1234567.0", 1_234_567), ("1.234", 1_234),
        ("1.234.567", 1_234_567), ("1234.5", 1_234.5), ("1e6", 1_000_000), ('"1,5"', None),
        ('"12,34"', None), ("many", None), ("1e309", None), ("-3", None), ("n/a", np.nan),
        ("", np.nan),
    ],
)  # fmt: skip
def test_people_are_read_with_thousands_apart_or_told(
    tmp_path: Path, people: str, count: float | None
) -> None:
    text = f"name,population,lat,lon\nA,{people},48,31\nB,5,48,31\n"
    places, notes = read_places(csv(tmp_path / "p.csv", text))
    np.testing.assert_array_equal(places.population, [np.nan if count is None else count, 5])
    assert any("is no number" in note for note in notes) == (count is None)


def test_rows_that_are_no_place_are_counted_and_a_table_without_people_is_told(
    tmp_path: Path,
) -> None:
    text = (
        "name,lat,lon\nA,48,31,,\n,48,31\nB,nan,31\nC,98,31\nD,48\nE,48,181\nF,x,y\nG,48,5,31,5\n"
    )
    places, notes = read_places(csv(tmp_path / "p.csv", text))
    assert places.names == ("A",) and np.isnan(places.population).all()
    assert notes == (
        "7 of 8 rows of p.csv name no place.",
        "p.csv tells no population: no place is labelled or counted.",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column name: write name, population, lat, lon; found nothing"),
        ("name,population,lat\nA,1,2\n", "has no column lon"),
        ("name,lat,lon,Lat\nA,1,2,3\n", "has the column 'lat' twice: keep one of them"),
        ("name,population,lat,lon\n", "has no place with a name and degrees"),
        ("name,population,lat,lon\nA,1,95,200\n", "has no place with a name and degrees"),
    ],
)
def test_tables_without_places_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AreaError, match=words) as refused:
        read_places(csv(tmp_path / "p.csv", text))
    assert "\n" not in str(refused.value)


def test_a_table_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"name,lat,lon\n\xff\xfe,1,2\n")
    with pytest.raises(AreaError, match=r"map.places .*p.csv cannot be read"):
        read_places(tmp_path / "p.csv")
    with pytest.raises(AreaError, match="No such file"):
        read_places(tmp_path / "q.csv")


def test_layers_come_in_degrees_whatever_their_crs(tmp_path: Path) -> None:
    files = make_map(tmp_path)
    frame = geopandas.read_file(tmp_path / "provinces.geojson").to_crs(32636)
    frame.to_file(tmp_path / "provinces.gpkg", driver="GPKG")
    points = geopandas.GeoDataFrame(
        {"NAME": ["A", "B"], "population": [10.0, None]},
        geometry=[shapely.Point(31, 48), shapely.Point(32, 49)], crs=4326,
    )  # fmt: skip
    points.to_file(tmp_path / "places.gpkg", driver="GPKG")
    layers = read_layers(
        files.model_copy(
            update={name: tmp_path / f"{name}.gpkg" for name in ("provinces", "places")}
        )
    )
    assert [name for name, _ in layers.provinces] == ["<i>West</i>", "East"]
    np.testing.assert_allclose(layers.provinces[1][1].bounds, (32, 48, 34, 50), atol=1e-6)
    assert layers.places.names == ("A", "B") and layers.places.population[0] == 10
    assert layers.border is not None and len(layers.water) == 1 and layers.forest == ()
    frame.to_file(tmp_path / "provinces.gpkg", layer="other", driver="GPKG", mode="a")
    both = MapFiles(provinces=tmp_path / "provinces.gpkg", border=None, places=None, water=None,
                    forest=None)  # fmt: skip
    one = both.model_copy(update={"provinces": Path(f"{both.provinces}|layername=other")})
    assert [len(read_layers(files).provinces) for files in (both, one)] == [4, 2]
    assert read_layers(None).border is None and len(MapLayers().places) == 0


@pytest.mark.parametrize("key", ["border", "provinces", "places", "water", "forest"])
def test_files_that_cannot_be_read_are_named_by_their_key(tmp_path: Path, key: str) -> None:
    for name, text, words in (
        ("missing.geojson", None, "does not exist"),
        ("broken.geojson", '{"type": "Feat', "cannot be read|not opened"),
        ("vrt.geojson", "<OGRVRTDataSource/>", "not opened"),
        ("empty.geojson", '{"type": "FeatureCollection", "features": []}', "has no|cannot be"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(AreaError, match=rf"^map\.{key}:? .*({words})") as refused:
            read_layers(MapFiles(**{key: tmp_path / name}))
        assert "\n" not in str(refused.value)


def test_coordinates_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    shape = {"type": "LineString", "coordinates": [[30, 48], [1e999, 48]]}
    text = json.dumps({"type": "Feature", "properties": {}, "geometry": shape})
    (tmp_path / "w.geojson").write_text(text.replace("Infinity", "1e999"))
    with pytest.raises(AreaError, match=r"map\.water .*(not numbers|cannot be read)"):
        read_layers(MapFiles(water=tmp_path / "w.geojson"))


def test_paths_of_an_area_file_are_its_own(tmp_path: Path) -> None:
    make_map(tmp_path / "maps")
    (tmp_path / "area.yaml").write_text(
        "name: a\ncrs: EPSG:32636\nbounds: [300000, 5500000, 301000, 5501000]\n"
        "imagery: {kind: geotiff, paths: [x.tif]}\nmodel: sandbox\ncube: c.zarr\n"
        "map: {border: maps/border.geojson, places: maps/places.csv}\n"
    )
    area = load_area(tmp_path / "area.yaml")
    assert area.map is not None and area.map.border == tmp_path / "maps" / "border.geojson"
    assert area.map.water is None and len(read_layers(area.map).places) == 4
    with pytest.raises(AreaError, match=r"unknown key 'map\.boarder'"):
        text = (tmp_path / "area.yaml").read_text().replace("border:", "boarder:")
        (tmp_path / "b.yaml").write_text(text)
        load_area(tmp_path / "b.yaml")
