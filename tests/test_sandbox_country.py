"""The synthetic country: the same through every window, with roads where they are seen."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import osmium
import pytest
import shapely
from pyproj import Transformer
from typer.testing import CliRunner

from geoloc.area import load_area
from geoloc.area.imagery import SandboxImagery, XyzImagery
from geoloc.cli import app
from geoloc.domain import Grid
from geoloc.errors import GeolocError, ImageryError, OutputError, UsageError
from geoloc.imagery import open_source
from geoloc.imagery.source import Source
from geoloc.sandbox.country.maps import provinces_of
from geoloc.sandbox.country.photos import targets_of, write_country_photos
from geoloc.sandbox.country.plan import CENTER, CRS, inside_ring, make_plan
from geoloc.sandbox.country.serving import TEMPLATE, tile_server
from geoloc.sandbox.country.source import SandboxSource
from geoloc.sandbox.country.world import Country, Neighbourhood, country_of
from geoloc.sandbox.country.write import write_country
from geoloc.sandbox.layout import HALF_WIDTH
from geoloc.sandbox.lines import RIVER, distances
from geoloc.sandbox.scene import LANDUSE, Material
from geoloc.sandbox.shots import find_spots

KM = 12.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small country with two photos."""
    path = tmp_path_factory.mktemp("country")
    write_country(path, seed=11, km=KM, photos=2)
    return path


@pytest.fixture(scope="module")
def source(folder: Path) -> Source:
    return open_source(SandboxImagery(path=str(folder / "country.json"), cache=False))


@pytest.fixture(scope="module")
def country() -> Country:
    return Country(11, KM)


def capital(country: Country) -> tuple[float, float]:
    place = country.plan.places[0]
    assert place.kind == "capital"
    return place.x, place.y


def window(crs: str, x: float, y: float, step: float, ny: int, nx: int) -> Grid:
    """A lattice of odd offsets around a point of the country."""
    left, top = Transformer.from_crs(CRS, crs, always_xy=True).transform(x, y)
    return Grid(crs, left + 0.37, top - 1.81, step, ny, nx)


@pytest.mark.parametrize("crs", ["EPSG:32636", "EPSG:32637", "EPSG:3857"])
def test_a_pixel_depends_on_its_place_alone(source: Source, country: Country, crs: str) -> None:
    whole = window(crs, *capital(country), 2.5, 61, 83)
    seen = source.read(whole)
    assert seen.dtype == np.uint8 and seen["valid"].values.all() and seen.values.min() > 0
    for rows, cols in ((slice(0, 17), slice(9, 83)), (slice(17, 61), slice(0, 31))):
        part = open_source(SandboxImagery(path=source.spec.path, cache=False)).read(  # type: ignore[attr-defined]
            whole.window(rows, cols)
        )
        apart = np.abs(part.values.astype(int) - seen.values[:, rows, cols])
        assert apart.max() <= (0 if crs == CRS else 1)  # of the warp's rounding
        assert (apart == 0).mean() > 0.99


PIXELS = (
    ("EPSG:32636", 718688.37, 5385025.81, 1.19, 61, 97, "ae0d998ba85f06b8"),  # capital
    ("EPSG:3857", 4003629.37, 6203912.81, 5.3, 53, 31, "ae8bc813175d41be"),  # capital
    ("EPSG:32636", 728955.37, 5396057.81, 1.19, 61, 97, "2ad5fed003acbd22"),  # shore
    ("EPSG:3857", 4019781.37, 6219985.81, 5.3, 53, 31, "daf2da73380e6e74"),  # shore
    ("EPSG:32636", 689449.37, 5380104.81, 1.19, 61, 97, "d29f93dae77b56a6"),  # bridge
    ("EPSG:3857", 3959296.37, 6198074.81, 5.3, 53, 31, "3197fbfe06ae8226"),  # bridge
    ("EPSG:32636", 742687.37, 5358641.81, 1.19, 61, 97, "b2f61aa2c0327851"),  # overpass
    ("EPSG:3857", 4038092.37, 6162652.81, 5.3, 53, 31, "2eaa35f7e548dc9d"),  # overpass
    ("EPSG:32636", 793422.37, 5456988.81, 1.19, 61, 97, "ba945b9c572a3b4e"),  # mountain
    ("EPSG:3857", 4121928.37, 6308078.81, 5.3, 53, 31, "31ddb6f869a8e58f"),  # mountain
    ("EPSG:32636", 757719.37, 5416770.81, 1.19, 61, 97, "0f4ac34982f5b4ef"),  # field
    ("EPSG:3857", 4064642.37, 6249502.81, 5.3, 53, 31, "eb72b5edf0d2f03d"),  # field
)
"""Windows of the country of seed 5, and what they showed before they were rendered faster."""


@pytest.mark.parametrize("frame", PIXELS)
def test_the_pixels_of_a_seed_stay_what_they_are(
    frame: tuple[str, float, float, float, int, int, str], tmp_path: Path
) -> None:
    """Cubes and models were made of them: change `VERSION` with them."""
    *lattice, digest = frame
    facts = {"seed": 5, "km": 200.0, "version": 1}
    (tmp_path / "country.json").write_text(json.dumps(facts))
    source = SandboxSource(SandboxImagery(path=str(tmp_path / "country.json")))
    seen = source.read(Grid(*lattice)).values  # type: ignore[arg-type]
    assert hashlib.sha256(seen.tobytes()).hexdigest()[:16] == digest


def test_the_same_seed_is_the_same_country_and_another_is_not(country: Country) -> None:
    at = window(CRS, *capital(country), 5.0, 40, 60)
    again = pickle.loads(pickle.dumps(country))  # noqa: S301
    np.testing.assert_array_equal(again.rasterize(at).color, country.rasterize(at).color)
    other = Country(12, KM)
    assert (other.rasterize(at).color != country.rasterize(at).color).mean() > 0.5
    assert {p.name for p in other.plan.places} != {p.name for p in country.plan.places}


def test_imagery_ends_some_kilometres_beyond_the_square(source: Source) -> None:
    left, bottom, right, top = source.bounds(CRS)
    assert (right - left, top - bottom) == (KM * 1000 + 4000, KM * 1000 + 4000)
    beyond = source.read(Grid(CRS, left - 40.0, CENTER[1], 10.0, 3, 8))
    assert beyond["valid"].values[1].tolist() == [False] * 4 + [True] * 4
    assert not beyond.values[:, :, :4].any()
    assert not source.covers(Grid(CRS, left - 90.0, CENTER[1], 10.0, 3, 8))


def test_a_country_can_be_seen_from_far_above(source: Source, country: Country) -> None:
    left, _, _, top = source.bounds(CRS)
    far = source.read(Grid(CRS, left, top, 200.0, 80, 80))
    assert far["valid"].values.all()
    assert np.unique(far.values.reshape(3, -1), axis=1).shape[1] > 50
    x, y = country.plan.lakes[0, :2]
    lake = source.read(Grid(CRS, x - 100.0, y + 100.0, 100.0, 2, 2)).values.mean(axis=(1, 2))
    assert lake[2] > lake[0]  # bluer than red


def test_places_are_inside_with_names_of_their_own(folder: Path, country: Country) -> None:
    with (folder / "places.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["name"] for row in rows}) == len(rows) == len(country.plan.places)
    people = [int(row["population"]) for row in rows]
    assert people == sorted(people, reverse=True) and people[-1] > 0
    border = border_of(folder)
    assert all(border.contains(shapely.Point(float(r["lon"]), float(r["lat"]))) for r in rows)


def border_of(folder: Path) -> shapely.Geometry:
    told = json.loads((folder / "border.geojson").read_text())
    return shapely.geometry.shape(told["features"][0]["geometry"])


def test_a_large_country_has_everything() -> None:
    plan = make_plan(7, 200.0)
    kinds = {place.kind for place in plan.places}
    assert kinds == {"capital", "city", "town", "village"}
    names = [place.name for place in plan.places]
    assert len(names) > 500 and len(set(names)) == len(names)
    assert len(plan.lakes) > 10 and len(targets_of(plan, "bridge")) > 5
    west, east = (
        Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(x, CENTER[1])[0]
        for x in (plan.ring[:, 0].min(), plan.ring[:, 0].max())
    )
    assert west < 35.5 < 36.5 < east  # on both sides of where two UTM zones meet


def test_provinces_fill_the_country_and_do_not_overlap() -> None:
    plan = make_plan(7, 200.0)
    provinces = [shape for _, shape in provinces_of(plan)]
    area = shapely.Polygon(plan.ring).area
    assert len(provinces) > 5
    assert sum(p.area for p in provinces) == pytest.approx(area, rel=1e-3)
    assert shapely.union_all(provinces).area == pytest.approx(area, rel=1e-3)


def test_lakes_lie_level_and_off_the_lines(country: Country) -> None:
    lake = country.plan.lakes[0]
    scene = country.rasterize(window(CRS, lake[0] - 200, lake[1] + 200, 8.0, 50, 50))
    water = scene.material == Material.WATER
    assert water.mean() > 0.7
    assert np.ptp(scene.terrain[water]) < 3.0
    assert distances(country.plan.lines, lake[:1].copy(), lake[1:2].copy()).min() > lake[2] / 2


class _Ways(osmium.SimpleHandler):
    def __init__(self) -> None:
        super().__init__()
        self.ways: list[tuple[dict[str, str], list[tuple[float, float]]]] = []

    def way(self, way: osmium.osm.Way) -> None:
        nodes = [(node.location.lon, node.location.lat) for node in way.nodes]
        self.ways.append((dict(way.tags), nodes))


@pytest.fixture(scope="module")
def ways(folder: Path) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    handler = _Ways()
    handler.apply_file(str(folder / "roads.osm.pbf"), locations=True)
    return handler.ways


def test_roads_lie_inside_where_the_imagery_shows_them(
    ways: list[tuple[dict[str, str], list[tuple[float, float]]]], folder: Path, country: Country
) -> None:
    border = border_of(folder).buffer(1e-6)
    assert {tags.get("highway") for tags, _ in ways} >= {"motorway", "primary", "residential"}
    assert any(tags.get("railway") == "rail" for tags, _ in ways)
    assert all(border.covers(shapely.LineString(nodes)) for _, nodes in ways)
    to_country = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    rng = np.random.default_rng(1)
    streets = [w for w in ways if w[0].get("highway") in ("residential", "primary", "motorway")]
    paved = seen = 0
    for at in rng.choice(len(streets), 60, replace=False):
        nodes = np.array(streets[at][1])
        x, y = to_country.transform(*nodes[: len(nodes) // 2 + 1][-1])
        half = HALF_WIDTH[2]
        patch = country.rasterize(Grid(CRS, x - half, y + half, half / 3, 6, 6)).material
        road = (Material.ASPHALT, Material.MARKING, Material.CAR, Material.GRAVEL, Material.TREE)
        paved += np.isin(patch, road).mean() > 0.3
        seen += 1
    assert paved > 0.9 * seen


def test_photos_show_what_they_are_of_inside_the_border(folder: Path, country: Country) -> None:
    with (folder / "photos" / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["0001.jpg", "0002.jpg"]
    border = border_of(folder)
    for row in rows:
        assert (folder / "photos" / row["file"]).stat().st_size > 10_000
        assert border.contains(shapely.Point(float(row["lon"]), float(row["lat"])))
        assert row["landuse"] in LANDUSE
        x, y = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(
            float(row["lon"]), float(row["lat"])
        )
        assert (x, y) == pytest.approx((float(row["x"]), float(row["y"])), abs=0.1)
        assert country.landuse_at(x, y) == row["landuse"]


def test_rail_bridges_cross_rivers() -> None:
    plan = make_plan(7, 200.0)
    spots = targets_of(plan, "bridge")
    assert distances(plan.lines, spots[:, 0].copy(), spots[:, 1].copy())[:, RIVER].max() < 10
    assert inside_ring(plan.ring, spots[:, 0], spots[:, 1]).all()


def test_the_border_test_is_that_of_the_polygon() -> None:
    plan = make_plan(3, 40.0)
    rng = np.random.default_rng(2)
    x, y = (CENTER[k] + rng.uniform(-21_000, 21_000, 4000) for k in (0, 1))
    polygon = shapely.Polygon(plan.ring)
    expected = shapely.contains_xy(polygon, x, y)
    assert 0.4 < expected.mean() < 0.9
    np.testing.assert_array_equal(inside_ring(plan.ring, x, y), expected)


@pytest.fixture
def served(folder: Path) -> Iterator[int]:
    with tile_server(folder / "country.json") as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_web_tiles_show_what_the_source_does(
    served: int, source: Source, country: Country, tmp_path: Path
) -> None:
    spec = XyzImagery.model_validate(
        {"kind": "xyz", "url": f"http://127.0.0.1:{served}/{TEMPLATE}", "cache": tmp_path,
         "max_zoom": 17, "bounds": source.bounds("EPSG:4326"), "rate": 1000}
    )  # fmt: skip
    at = window(CRS, *capital(country), 2.5, 50, 40)
    tiles, direct = open_source(spec).read(at), source.read(at)
    assert tiles["valid"].values.all() and not tiles.attrs["errors"]
    assert np.abs(tiles.values.astype(int) - direct.values).mean() < 12
    far = Grid(CRS, CENTER[0] + 40_000.0, CENTER[1], 2.5, 10, 10)
    assert not open_source(spec).read(far)["valid"].values.any()


def test_a_port_in_use_is_reported(served: int, folder: Path) -> None:
    with (
        pytest.raises(OutputError, match=f"port {served} cannot be used"),
        tile_server(folder / "country.json", served),
    ):
        pass


def test_what_a_folder_has_is_kept_and_another_world_refused(folder: Path) -> None:
    before = (folder / "roads.osm.pbf").stat().st_mtime_ns
    write_country(folder, seed=11, km=KM, photos=2)
    assert (folder / "roads.osm.pbf").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="another world"):
        write_country(folder, seed=12, km=KM, photos=2)


@pytest.mark.parametrize("km", [0.0, -5.0, 9.9, 401.0, float("nan")])
def test_impossible_sizes_are_refused(km: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="10 to 400 km"):
        write_country(tmp_path / "c", seed=1, km=km)
    assert not (tmp_path / "c").exists()


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    runner = CliRunner()
    for options in (["--country", "--km", "0"], ["--serve"], ["--country", "--photos", "0"]):
        result = runner.invoke(app, ["sandbox", str(tmp_path / "c"), *options])
        error = result.exception
        code = error.exit_code if isinstance(error, GeolocError) else result.exit_code
        assert code == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (None, "does not exist"),
        ("{", "does not describe"),
        ('{"seed": 1}', "does not describe"),
        ('{"seed": 1, "km": 50, "version": 0}', "another version"),
        ('{"seed": "x", "km": 50, "version": 1}', "whole number"),
        ('{"seed": 1, "km": 9000, "version": 1}', "10 to 400 km"),
        ('{"seed": 99999999999999999999, "km": 50, "version": 1}', "too large"),
    ],
)
def test_a_file_that_is_no_country_is_refused(text: str | None, wrong: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "country.json").write_text(text)
    with pytest.raises(ImageryError, match=wrong):
        SandboxSource(SandboxImagery(path=str(tmp_path / "country.json"), cache=False))


def test_an_area_file_names_a_country(folder: Path, tmp_path: Path) -> None:
    area = tmp_path / "area.yaml"
    x, y = (round(v, -1) for v in CENTER)
    area.write_text(
        f"name: x\ncrs: {CRS}\nbounds: [{x}, {y}, {x + 100}, {y + 100}]\nmodel: sandbox\n"
        f"cube: c.zarr\nimagery: {{kind: sandbox, path: {folder / 'country.json'}}}\n"
    )
    loaded = load_area(area)
    assert isinstance(loaded.imagery, SandboxImagery)
    one, two = (open_source(loaded.imagery) for _ in range(2))
    assert one.fingerprint(loaded.grid) == two.fingerprint(loaded.grid)


def test_where_no_road_runs_there_is_no_place_for_a_photo(country: Country) -> None:
    lake = country.plan.lakes[0]
    with pytest.raises(GeolocError, match="no road inside"):
        find_spots(Neighbourhood(country, lake[0], lake[1], 20.0))


def test_several_photos_of_a_place_look_around_from_where_the_first_was_taken(
    folder: Path, tmp_path: Path
) -> None:
    write_country_photos(country_of(11, KM), tmp_path, 3, views=2)
    where = []
    for photos in (folder / "photos", tmp_path):
        with (photos / "truth.csv").open(encoding="utf-8") as file:
            where.append([(row["x"], row["y"], row["heading"]) for row in csv.DictReader(file)])
    assert [where[1][0], where[1][2]] == where[0]  # the places of photos that are taken alone
    assert where[1][1][:2] == where[1][0][:2]
    turned = (float(where[1][1][2]) - float(where[1][0][2])) % 360
    assert 130 < turned < 230


def test_views_are_of_countries_alone(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sandbox", str(tmp_path / "w"), "--views", "3"])
    assert isinstance(result.exception, UsageError) and not (tmp_path / "w").exists()
