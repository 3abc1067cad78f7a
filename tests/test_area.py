"""Area files: what is right is read, what is wrong is told in one line."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError
from pyproj import Transformer

from geoloc.area import Area, GeotiffImagery, load_area
from geoloc.domain import Grid
from geoloc.errors import AreaError

GOOD: dict[str, Any] = {
    "name": "bucha-irpin",
    "crs": "EPSG:32636",
    "bounds": [300211, 5598433, 306475, 5604575],
    "step": 10,
    "imagery": {"kind": "geotiff", "paths": ["tiles/*.tif"]},
    "model": "sandbox",
    "cube": "cube.zarr",
}


def write(folder: Path, **changes: Any) -> Path:
    """An area file; a change to None leaves the key out."""
    values = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path = folder / "area.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def write_geojson(path: Path, *geometries: dict[str, Any]) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": g} for g in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def polygon(*corners: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}


def test_a_good_file(tmp_path: Path) -> None:
    area = load_area(write(tmp_path))
    assert area.grid == Grid("EPSG:32636", 300211.0, 5604575.0, 10.0, 614, 626)
    assert area.polygon is None
    assert area.imagery.bands is None  # whatever the files say
    assert pickle.loads(pickle.dumps(area)).grid == area.grid  # noqa: S301  (our own)


def test_relative_paths_are_meant_from_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ["tiles/*.tif", "/abs/x.tif", "https://host/x.tif", "s3://b/x.tif", "/vsizip/a.zip/x"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", imagery={"paths": paths}, model="./mine")
    area = load_area(Path("sub/area.yaml"))
    assert area.imagery.paths == [str(tmp_path / "sub/tiles/*.tif"), *paths[1:]]
    assert area.cube == str(tmp_path / "sub/cube.zarr")
    assert Path(area.model) == tmp_path / "sub/mine"


@pytest.mark.parametrize(
    ("key", "value"), [("cube", "s3://bucket/cube.zarr"), ("cube", "file:///x"), ("model", "name")]
)
def test_names_and_urls_stay(tmp_path: Path, key: str, value: str) -> None:
    assert getattr(load_area(write(tmp_path, **{key: value})), key) == value


def test_one_imagery_path_may_stand_without_brackets_and_crs_without_epsg(tmp_path: Path) -> None:
    area = load_area(write(tmp_path, crs=32636, imagery={"kind": "geotiff", "paths": "a.tif"}))
    assert area.imagery.paths == [str(tmp_path / "a.tif")]
    assert area.crs == "EPSG:32636"


def test_web_mercator_is_refused_where_its_metre_is_none(tmp_path: Path) -> None:
    with pytest.raises(AreaError, match=r"is 0\.7.* m on the ground here .* EPSG:32631") as caught:
        load_area(write(tmp_path, crs="EPSG:3857"))
    assert caught.value.exit_code == 2
    nairobi = [4096000, -144000, 4097000, -143000]
    assert load_area(write(tmp_path, crs="EPSG:3857", bounds=nairobi)).grid.crs == "EPSG:3857"


def test_a_geometry_far_from_the_zone_is_refused(tmp_path: Path) -> None:
    write_geojson(tmp_path / "a.geojson", polygon((2.2, 48.8), (2.4, 48.8), (2.4, 48.9)))
    with pytest.raises(AreaError, match=r"a\.geojson: a metre .* the UTM zone here, EPSG:32631"):
        load_area(write(tmp_path, bounds=None, geometry="a.geojson"))


def test_without_a_place_the_imagery_says_where_it_is(tmp_path: Path) -> None:
    area = load_area(write(tmp_path, bounds=None))
    assert not area.has_place
    with pytest.raises(AreaError, match="neither bounds nor geometry"):
        area.grid  # noqa: B018
    placed = area.with_bounds((300211, 5598433, 306475, 5604575))
    assert placed == load_area(write(tmp_path))
    with pytest.raises(AreaError, match="look like degrees"):
        area.with_bounds((30.1, 50.4, 30.3, 50.6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepp": 5}, r"unknown key 'stepp': did you mean 'step'\?"),
        ({"zzz": 5}, r"unknown key 'zzz': the keys are name, crs"),
        ({"imagery": {"paths": ["x"], "band": 1}}, r"'imagery.band': did you mean 'bands'\?"),
        ({"imagery": {"kind": "laser", "paths": ["x"]}}, "imagery.kind.*'geotiff'.*'laser'"),
        ({"imagery": {"paths": []}}, "imagery.paths"),
        ({"imagery": {"paths": ["x"], "bands": [0, 1, 2]}}, "counted from 1"),
        ({"imagery": {"paths": ["x"], "scale": [7, 7]}}, "scale .* is empty"),
        ({"model": None}, "key 'model' is missing"),
        ({"crs": None}, r"key 'crs' is missing: write a code such as EPSG:32636"),
        ({"imagery": {"kind": "geotiff", "path": "a.tif"}},
         r"key 'imagery.paths' is missing: is 'path' meant\? \(and 1 more\)"),
        ({"crs": None, "name": None}, r"key 'name' is missing \(and 1 more\)"),
        ({"crs": "EPSG:4326", "bounds": [30.1, 50.4, 30.4, 50.6]}, "degrees.*EPSG:32636"),
        ({"crs": "EPSG:4326", "bounds": [-70.5, -33.6, -70.3, -33.4]}, "degrees.*EPSG:32719"),
        ({"crs": "EPSG:2263"}, "foot, not metres"),
        ({"crs": "EPSG:4978"}, "not a map projection"),
        ({"crs": "Mars"}, "'Mars' is unknown"),
        ({"bounds": [306475, 5598433, 300211, 5604575]}, "reversed"),
        ({"bounds": [300211, 5604575, 306475, 5598433]}, "reversed"),
        ({"bounds": [1, 2, 3]}, r"bounds \[1, 2, 3\] has too few values: write left, bottom"),
        ({"bounds": [float("nan"), 0, 10, 10]}, "finite"),
        ({"bounds": [30.1, 50.4, 30.3, 50.6]}, "look like degrees, but .*EPSG:32636"),
        ({"bounds": [300211, 5598433, 300215, 5598437]}, "smaller than one cell"),
        ({"bounds": None, "imagery": {"kind": "xyz", "url": "https://h/{z}/{x}/{y}"}},
         "give bounds or geometry: web tiles"),
        ({"geometry": "x.geojson"}, "either bounds or geometry; found both"),
        ({"bounds": None, "geometry": "no.geojson"}, "no.geojson does not exist"),
        ({"step": 0}, "step.*greater than 0"),
        ({"step": -10}, "step.*greater than 0"),
        ({"step": float("nan")}, "step"),
        ({"step": "ten"}, "step.*'ten'"),
        ({"name": "a/b"}, "name"),
        ({"name": 7}, "name: found 7, no text: write it in quotes"),
        ({"name": dt.date(2024, 5, 6)}, "name: found 2024-05-06, no text: write it in quotes"),
        ({"bounds": None, "geometry": 5}, "geometry: found 5, no text: write it in quotes"),
        ({"model": True}, "model: found True, no text: write it in quotes"),
        ({"cube": ""}, "cube"),
    ],
)  # fmt: skip
def test_faults_are_told_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AreaError, match=message) as caught:
        load_area(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert "area.yaml" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("imagery", "message"),
    [
        ({"kind": "stac", "url": "https://h/v1?subscription-key=S3CRET"},
         r"url: subscription-key= contains a key: write subscription-key=\$\{NAME\}"),
        ({"kind": "stac", "url": "https://u:S3CRET@h/v1"}, r"write ://\$\{USER\}:\$\{PASSWORD\}@"),
        ({"kind": "stac", "url": "https://h", "sign": "https://h/token?key=S3CRET"}, "sign: key="),
        ({"paths": ["https://h/a.tif", "https://h/b.tif?sig=S3CRET"]}, "sig= contains a key"),
        ({"paths": ["https://h/wcs?subset=E(3,4)&apikey=S3CRET"]}, "apikey= contains a key"),
        ({"paths": "/vsicurl/https://h/b.tif?sig=S3CRET"}, "sig= contains a key"),
        ({"kind": "xyz", "url": "http://u:S3CRET@h/{z}/{x}/{y}"}, "the URL contains a password"),
        ({"kind": "zarr", "path": "https://u:S3CRET@h/a.zarr"}, r"path: the URL .* as \?NAME="),
        ({"paths": ["x"], "scale": "https://h?key=S3CRET"}, r"scale: .*found 'https://h'"),
    ],
)  # fmt: skip
def test_no_file_holds_a_secret(tmp_path: Path, imagery: dict[str, Any], message: str) -> None:
    with pytest.raises(AreaError, match=message) as caught:
        load_area(write(tmp_path, imagery=imagery))
    assert "S3CRET" not in str(caught.value)


@pytest.mark.parametrize(
    "imagery",
    [
        {"kind": "stac", "url": "https://h/v1?subscription-key=${KEY}"},
        {"kind": "xyz", "url": "https://${USER}:${PASSWORD}@h/{z}/{x}/{y}?key=${KEY}"},
        {"kind": "geotiff", "paths": ["https://h/a.tif?${SAS}", "https://h/a.tif?sig=${SIG}"]},
        {"kind": "zarr", "path": "https://h/a.zarr?sig=${SIG}"},
    ],
)
def test_keys_may_come_from_the_environment(tmp_path: Path, imagery: dict[str, Any]) -> None:
    read = load_area(write(tmp_path, imagery=imagery)).imagery.recorded()
    assert {key: read[key] for key in imagery} == imagery


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2021", "2021"),
        ("2021-06", "2021-06"),
        ("2021-06-19", "2021-06-19"),
        ("2021-06-19 10:00:00", "2021-06-19T10:00:00Z"),
        ("2021-06-19T12:00:00+02:00", "2021-06-19T10:00:00Z"),
        ("'2021-06-19T12:00:00+02:00'", "2021-06-19T12:00:00+02:00"),
        ("2021-06-19/2021-07", "2021-06-19/2021-07"),
        ("../2021-07-01T00:00:00Z", "../2021-07-01T00:00:00Z"),
        ("2021-06-19/..", "2021-06-19/.."),
    ],
)
def test_dates_need_no_quotes(tmp_path: Path, written: str, meant: str) -> None:
    path = write(tmp_path, imagery={"kind": "stac", "url": "catalog.json", "datetime": "THEN"})
    path.write_text(path.read_text().replace("THEN", written))
    assert load_area(path).imagery.datetime == meant


@pytest.mark.parametrize(
    "written", ["yesterday", "2021-13", "2021-02-30", "2021-6-1", "..", "../..", "2021/", "1/2/3",
                "2021-06-19T25:00:00Z", ""],
)  # fmt: skip
def test_what_is_no_date_is_refused_with_what_is_one(tmp_path: Path, written: str) -> None:
    imagery = {"kind": "stac", "url": "catalog.json", "datetime": written}
    with pytest.raises(
        AreaError, match=r"datetime '.*': write a year, .*2024-04-01/\.\."
    ) as caught:
        load_area(write(tmp_path, imagery=imagery))
    assert caught.value.exit_code == 2 and repr(written) in str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024", "2024"),
        ("2024-06-01", "2024-06-01"),
        ("'2024.5'", "2024.5"),
        ('"2024.10"', "2024.10"),
        ("'007'", "007"),
    ],
)
def test_versions_are_taken_as_written(tmp_path: Path, written: str, meant: str) -> None:
    imagery = {"kind": "xyz", "url": "https://h/{z}/{x}/{y}", "version": "THEN"}
    path = write(tmp_path, imagery=imagery)
    path.write_text(path.read_text().replace("THEN", written))
    assert load_area(path).imagery.version == meant


@pytest.mark.parametrize(("written", "read"), [("2024.10", "2024.1"), ("1.0e+3", "1000.0")])
def test_a_version_that_yaml_may_have_changed_is_refused(
    tmp_path: Path, written: str, read: str
) -> None:
    imagery = {"kind": "xyz", "url": "https://h/{z}/{x}/{y}", "version": "THEN"}
    path = write(tmp_path, imagery=imagery)
    path.write_text(path.read_text().replace("THEN", written))
    with pytest.raises(AreaError, match=f"version {read} .*: put it in quotes") as caught:
        load_area(path)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


@pytest.mark.parametrize("imagery", ["tiles/*.tif", [1, 2], {"kind": None, "paths": ["x"]}])
def test_imagery_that_is_no_mapping(tmp_path: Path, imagery: Any) -> None:
    how = r"write imagery: \{kind: geotiff, paths: \[tiles/\*\.tif\]\}; found"
    with pytest.raises(AreaError, match=how):
        load_area(write(tmp_path, imagery=imagery))


def test_imagery_that_is_null(tmp_path: Path) -> None:
    path = write(tmp_path, imagery="NOTHING")
    path.write_text(path.read_text().replace("NOTHING", "null"))
    with pytest.raises(AreaError, match=r"write imagery: \{kind: geotiff, .*; found None"):
        load_area(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1, 2", "not YAML"),
        (b"\xff\xfe\x00\x01\x9f", "not YAML but no text"),
        (b"PAR1\x15\x04\xd4", "not YAML but Parquet, as points are: give an area.yaml"),
        (b"name: a\nstep: 10\nname: b\n", "the key 'name' stands twice: keep one of them"),
        (b"name: a\nimagery: {kind: xyz, kind: stac}\n", "the key 'kind' stands twice"),
        (b"", "not an area file"),
        (b"- just\n- a list\n", "not an area file"),
        (b"x" * 2_000_000, "too large"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "area.yaml"
    path.write_bytes(content)
    with pytest.raises(AreaError, match=message) as caught:
        load_area(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("step", "metres"), [("010", 10), ("08", 8), ("12.50", 12.5), ("5e0", 5)])
def test_numbers_are_decimal(tmp_path: Path, step: str, metres: float) -> None:
    """YAML 1.1 takes 010 for 8."""
    path = write(tmp_path)
    path.write_text(re.sub(r"(?m)^step: .*", f"step: {step}", path.read_text()))
    assert load_area(path).step == metres


@pytest.mark.parametrize("step", ["1:30", "0x1F", "ten"])
def test_what_is_no_decimal_number_is_refused(tmp_path: Path, step: str) -> None:
    path = write(tmp_path)
    path.write_text(re.sub(r"(?m)^step: .*", f"step: {step}", path.read_text()))
    with pytest.raises(AreaError, match="step"):
        load_area(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AreaError, match="is a folder"):
        load_area(tmp_path)
    with pytest.raises(AreaError, match="does not exist"):
        load_area(tmp_path / "no.yaml")


@pytest.mark.parametrize("name", ["n" * 300 + ".yaml", "area.yaml/x.yaml", "a\0b.yaml"])
def test_paths_that_cannot_be(tmp_path: Path, name: str) -> None:
    """The system refuses to look, as it does where a folder may not be entered."""
    write(tmp_path)
    with pytest.raises(AreaError) as caught:
        load_area(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(AreaError):
        load_area(write(tmp_path, bounds=None, geometry=name))


def test_a_polygon_is_brought_into_the_areas_crs(tmp_path: Path) -> None:
    corners = [(30.15, 50.5), (30.25, 50.5), (30.2, 50.58)]
    write_geojson(
        tmp_path / "area.geojson",
        {"type": "Point", "coordinates": [0, 0]},
        polygon(*corners),
    )
    area = load_area(write(tmp_path, bounds=None, geometry="area.geojson"))
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32636", always_xy=True).transform
    assert area.polygon is not None
    for lon, lat in corners:
        x, y = to_utm(lon, lat)
        row, col = area.grid.index(x, y - 1e-6) or pytest.fail("a corner lies outside the grid")
        assert 0 <= row < area.grid.ny and 0 <= col < area.grid.nx
    left, _, _, top = area.grid.bounds
    assert left % 10 == 0 and top % 10 == 0
    x0, y0, x1, y1 = area.polygon.bounds
    assert area.grid.nx == pytest.approx((x1 - x0) / 10, abs=2)
    assert area.grid.ny == pytest.approx((y1 - y0) / 10, abs=2)


def test_long_edges_in_degrees_follow_their_parallel(tmp_path: Path) -> None:
    """The middle of a 2 degree edge lies hundreds of metres off the chord in UTM."""
    write_geojson(tmp_path / "a.geojson", polygon((32, 50), (34, 50), (34, 50.5), (32, 50.5)))
    area = load_area(write(tmp_path, bounds=None, geometry="a.geojson", step=100))
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32636", always_xy=True).transform
    assert area.polygon is not None
    assert area.polygon.bounds[1] == pytest.approx(to_utm(33, 50)[1], abs=1.0)


@pytest.mark.parametrize(
    ("geometries", "message"),
    [
        ([{"type": "Point", "coordinates": [30, 50]}], "has no polygon"),
        ([], "geometry"),
    ],
)
def test_a_geometry_needs_a_polygon(
    tmp_path: Path, geometries: list[dict[str, Any]], message: str
) -> None:
    write_geojson(tmp_path / "a.geojson", *geometries)
    with pytest.raises(AreaError, match=message):
        load_area(write(tmp_path, bounds=None, geometry="a.geojson"))


def test_a_geometry_that_is_no_vector_file(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text("{ nonsense")
    with pytest.raises(AreaError, match="cannot be read") as caught:
        load_area(write(tmp_path, bounds=None, geometry="a.geojson"))
    assert "\n" not in str(caught.value)


def test_the_model_serves_as_a_flows_parameter() -> None:
    schema = TypeAdapter(list[Area]).json_schema()
    assert schema["$defs"]["Area"]["additionalProperties"] is False
    assert set(schema["$defs"]["Area"]["required"]) == {"name", "crs", "imagery", "cube"}
    assert schema["$defs"]["Area"]["anyOf"] == [{"required": ["model"]}, {"required": ["models"]}]
    with pytest.raises(ValidationError):
        Area.model_validate(GOOD | {"crs": "EPSG:4326"})
    assert Area.model_validate_json(Area.model_validate(GOOD).model_dump_json()) == Area(**GOOD)


XYZ = {"kind": "xyz", "url": "https://tiles.example/{z}/{x}/{y}.png"}
GEOTIFF = {"kind": "geotiff", "paths": ["a.tif"]}


@pytest.mark.parametrize(
    ("former", "present"),
    [
        (GEOTIFF | {"keep": True}, GEOTIFF | {"cache": True}),
        (XYZ | {"keep": False}, XYZ | {"cache": False}),
        (XYZ | {"cache": "/tiles", "keep": True}, XYZ | {"tile_cache": "/tiles", "cache": True}),
        (XYZ | {"cache": None, "cache_mb": 5}, XYZ | {"tile_cache_mb": 5}),
    ],
)
def test_keys_of_older_files_are_read(former: dict[str, Any], present: dict[str, Any]) -> None:
    area = Area.model_validate(GOOD | {"imagery": former})
    assert area == Area.model_validate(GOOD | {"imagery": present})
    assert area.keeps_copy == present.get("cache", False)
    assert "keep" not in area.model_dump_json()
    assert Area.model_validate_json(area.model_dump_json()) == area
    jsonschema.validate(GOOD | {"imagery": former}, Area.model_json_schema())


def test_a_key_and_its_former_name_are_refused_together() -> None:
    with pytest.raises(ValidationError, match="cache is given twice, once by a former name"):
        GeotiffImagery.model_validate(GEOTIFF | {"cache": True, "keep": True})


def test_a_base_is_given_to_imagery_alone() -> None:
    spec = GeotiffImagery(paths=["a.tif"]).resolve(Path("/data"))
    assert spec.paths == ["/data/a.tif"]
