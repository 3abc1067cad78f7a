"""What is written of regions: for a GIS, as a map, and as a page opened in a real browser."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from pyproj import Geod, Transformer

from geoloc.area import MapLayers, read_layers
from geoloc.candidates.regions import RankedRegions, place_recall
from geoloc.domain import Points, Regions, region_crs
from geoloc.ranking import Ranking
from geoloc.report import QueryResult
from geoloc.report.region_colours import region_colours, region_levels
from geoloc.report.region_files import (
    BANDS,
    lonlat_outlines,
    write_region_geojson,
    write_region_package,
    write_region_raster,
)
from geoloc.report.region_layers import drawn_layers
from geoloc.report.region_map import MapSheet, _upper_left, best_places, numbered, write_region_map
from geoloc.report.region_names import overlap, placed_names
from geoloc.report.region_page import write_region_page
from geoloc.report.views import Views, render_views
from geoloc.search import RegionMin, project
from tests.conftest import OfflinePage
from tests.full_disk import file_limit
from tests.point_place import EAST, NORTH, SOUTH, WEST, make_map
from tests.report_sample import HOSTILE, FlatImagery, photo, sample

NO_VIEWS = Views((), {}, ())
HOT = (30.9, 48.6)
"""The best place, degrees: left and below of the middle."""


def answer_of(layers: MapLayers, ranking: Ranking = Ranking.MINIMUM) -> QueryResult:
    """Distances that rise from one place; nothing is known in the north-east."""
    xy = np.random.default_rng(5).uniform((WEST, SOUTH), (EAST, NORTH), (900, 2))
    points = Points("EPSG:4326", xy)
    values = (0.5 + np.hypot(*((xy - HOT) * [0.65, 1]).T)).astype(np.float32)
    values[(xy > [33, 49.2]).all(axis=1)] = np.nan
    assert layers.border is not None
    crs = region_crs(points, layers.border.bounds)
    layout = Regions.of(points, 25_000, crs, project(layers.border, "EPSG:4326", crs))
    kept = RegionMin.of(layout, 1)
    for chunk in points.chunks():
        kept.add(chunk, values[None][:, *chunk.slices])
    (minima,) = kept.result()
    ranked = RankedRegions.of(minima, points, ranking)
    places = layers.places
    return sample(
        heatmap=ranked.raster(minima.best), grid=layout.grid, regions=ranked, layers=layers,
        candidates=tuple(ranked.candidates(5)), points_asked=900, truth=(48.7, 31.0),
        recall=place_recall(ranked, list(places.names), places.population, places.lonlat, 1e5),
    )  # fmt: skip


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> MapLayers:
    return read_layers(make_map(tmp_path_factory.mktemp("map")))


@pytest.fixture(scope="module")
def answer(layers: MapLayers) -> QueryResult:
    return answer_of(layers)


def regions_of(answer: QueryResult) -> RankedRegions:
    assert answer.regions is not None
    return answer.regions


def test_the_raster_says_all_of_each_region(answer: QueryResult, tmp_path: Path) -> None:
    write_region_raster(answer, tmp_path / "regions.tif")
    regions = regions_of(answer)
    with rasterio.open(tmp_path / "regions.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and np.isnan(file.nodata)
        assert file.descriptions == BANDS and set(file.dtypes) == {"float32"}
        assert "Lambert_Azimuthal_Equal_Area" in file.crs.to_wkt()
        row, col = file.index(*regions.xy[regions.order[0]])
        told = dict(zip(BANDS, (float(band[row, col]) for band in file.read()), strict=True))
        assert np.isnan(file.read(1)).any()
    record = regions.record(int(regions.order[0]))
    assert told == {name: pytest.approx(float(record[name])) for name in BANDS}
    assert list(tmp_path.iterdir()) == [tmp_path / "regions.tif"]


def test_polygons_lie_where_the_points_are(answer: QueryResult, tmp_path: Path) -> None:
    write_region_geojson(answer, tmp_path / "r.geojson")
    features = json.loads((tmp_path / "r.geojson").read_text())["features"]
    regions = regions_of(answer)
    assert len(features) == regions.layout.is_region.sum()
    first = features[0]["properties"]
    assert (first["rank"], first["good"]) == (1, True)
    assert features[-1]["properties"]["rank"] is None and not features[-1]["properties"]["good"]
    geod = Geod(ellps="WGS84")
    for feature in features[:40]:
        told, shape = feature["properties"], shapely.geometry.shape(feature["geometry"])
        assert shape.buffer(1e-6).contains(shapely.Point(told["lon"], told["lat"]))
        assert abs(geod.geometry_area_perimeter(shape)[0]) <= 25_000**2 * 1.001
    best = shapely.geometry.shape(features[0]["geometry"])
    assert best.distance(shapely.Point(*HOT)) < 0.3
    country = shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in features])
    assert answer.layers is not None and answer.layers.border is not None
    assert country.symmetric_difference(answer.layers.border).area < 0.01


def test_the_package_has_regions_and_best_points(answer: QueryResult, tmp_path: Path) -> None:
    write_region_package(answer, tmp_path / "r.gpkg")
    write_region_package(answer, tmp_path / "r.gpkg")  # again, in its place
    shapes = geopandas.read_file(tmp_path / "r.gpkg", layer="regions")
    points = geopandas.read_file(tmp_path / "r.gpkg", layer="best_points")
    assert shapes.crs.to_epsg() == points.crs.to_epsg() == 4326
    assert len(points) == len(regions_of(answer).order) < len(shapes)
    joined = points.sjoin(shapes[["region", "geometry"]], predicate="within")
    assert (joined["region_left"] == joined["region_right"]).all()
    with sqlite3.connect(tmp_path / "r.gpkg") as file:
        assert file.execute("select count(*) from gpkg_contents").fetchone() == (2,)


@pytest.mark.parametrize("most", [8_000, 98_000, 190_000])
def test_a_package_without_room_is_not_begun(
    answer: QueryResult, tmp_path: Path, most: int
) -> None:
    """Beyond the room one was left without its last pages, and nothing was said."""
    with file_limit(most), pytest.raises(OSError, match="File too large"):
        write_region_package(answer, tmp_path / "regions.gpkg")
    assert list(tmp_path.iterdir()) == []


def test_shapes_across_180_degrees_are_split() -> None:
    xy = np.random.default_rng(1).uniform((178, -19), (182, -16), (300, 2))
    xy[:, 0] = (xy[:, 0] + 180) % 360 - 180
    layout = Regions.of(Points("EPSG:4326", xy), 50_000)
    outlines = lonlat_outlines(layout)
    assert all(part.bounds[2] - part.bounds[0] < 2
               for shape in outlines for part in shapely.get_parts(shape))  # fmt: skip
    assert any(shape.geom_type == "MultiPolygon" for shape in outlines)
    total = sum(shape.area for shape in outlines)
    assert total == pytest.approx(layout.count * 0.212, rel=0.02)


def test_regions_of_the_whole_world_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    points = Points.along_curve("EPSG:4326", np.stack([rng.uniform(-180, 180, 3000), lat], 1))
    layout = Regions.of(points, 800_000)
    kept = RegionMin.of(layout, 1)
    for chunk in points.chunks():
        kept.add(chunk, rng.uniform(1, 2, (1, *chunk.shape)).astype(np.float32))
    ranked = RankedRegions.of(kept.result()[0], points)
    assert ranked.minima.count.sum() >= 2999  # but for one at the very antipode
    told = sample(
        regions=ranked, grid=layout.grid, heatmap=ranked.raster(ranked.score), points_asked=3000,
        candidates=tuple(ranked.candidates(3)), layers=None, truth=(-33.9, 151.2),
    )  # fmt: skip
    for write, name in (
        (write_region_geojson, "r.geojson"), (write_region_package, "r.gpkg"),
        (write_region_raster, "r.tif"), (write_region_map, "map.png"),
    ):  # fmt: skip
        write(told, tmp_path / name)
    write_region_page(told, tmp_path / "page.html", NO_VIEWS)
    features = json.loads((tmp_path / "r.geojson").read_text())["features"]
    assert len(ranked.order) <= len(features) < layout.count


def colour_at(image: Image.Image, sheet: MapSheet, xy: tuple[float, float]) -> np.ndarray[Any, Any]:
    return np.array(image.convert("RGB").getpixel(tuple(map(round, sheet.at(*xy)))), int)


def test_the_map_has_good_regions_dark_and_nothing_abroad(
    answer: QueryResult, tmp_path: Path
) -> None:
    write_region_map(answer, tmp_path / "map.png")
    image, regions = Image.open(tmp_path / "map.png"), regions_of(answer)
    drawn = drawn_layers(regions.layout, answer.layers or MapLayers())
    sheet = MapSheet.of(drawn)
    assert image.size == sheet.size
    middles = shapely.get_coordinates(
        shapely.point_on_surface([drawn.outlines[int(r)] for r in regions.order])
    )
    light = [colour_at(image, sheet, tuple(xy)).sum() for xy in middles]
    good = len(regions.best_good)
    assert np.median(light[:good]) < np.median(light[good : 2 * good]) < np.median(light[-good:])
    left, _, _, top = drawn.box
    sea = colour_at(image, sheet, (left + 9000, top - 9000))
    assert np.abs(sea - [232, 238, 243]).max() < 8
    assert {"Alpha & <b>Co</b>", "Beta"} == set(drawn.names[:2]) and "Abroad" not in drawn.names


def test_a_map_of_nothing_known_and_one_without_layers_are_drawn(
    answer: QueryResult, tmp_path: Path
) -> None:
    regions = regions_of(answer)
    empty = replace(
        regions, score=np.full_like(regions.score, np.nan), rank=np.zeros_like(regions.rank),
        good=np.zeros_like(regions.good),
    )  # fmt: skip
    for told in (replace(answer, regions=empty), replace(answer, layers=None, photos=())):
        write_region_map(told, tmp_path / "map.png")
        write_region_page(told, tmp_path / "page.html", NO_VIEWS)
        write_region_geojson(told, tmp_path / "r.geojson")
        write_region_raster(told, tmp_path / "r.tif")
        write_region_package(told, tmp_path / "r.gpkg")
    assert "No region holds a known place" not in (tmp_path / "page.html").read_text()


def test_a_sensitive_photo_is_not_on_the_map(answer: QueryResult, tmp_path: Path) -> None:
    for name, hidden in (("shown", False), ("hidden", True)):
        write_region_map(replace(answer, sensitive=hidden), tmp_path / f"{name}.png")
    shown, hidden = (Image.open(tmp_path / f"{n}.png").convert("RGB") for n in ("shown", "hidden"))
    sheet = MapSheet.of(drawn_layers(regions_of(answer).layout, answer.layers or MapLayers()))
    box = (sheet.width + 60, 80, sheet.width + 300, 180)
    blues = [np.asarray(image.crop(box))[..., 2].mean() for image in (shown, hidden)]
    assert blues[0] != pytest.approx(blues[1], abs=5)


def test_names_neither_cover_one_another_nor_the_ranks(layers: MapLayers) -> None:
    rng = np.random.default_rng(3)
    drawn = SimpleNamespace(
        names=tuple(f"Town number {n}" for n in range(200)),
        people=np.sort(rng.uniform(1e3, 1e6, 200))[::-1],
    )
    dots, frame, taken = rng.uniform(0, 900, (200, 2)), (0.0, 0.0, 900.0, 900.0), [(0, 0, 300, 300)]
    from geoloc.report.picture import font

    boxes, shown = [], [*placed_names(drawn, dots, frame, taken)]  # type: ignore[arg-type]
    for name in shown:
        left, top, right, bottom = font(name.size, bold=name.bold).getbbox(name.text, anchor="lt")
        x, y = name.corner
        boxes.append((x, y, x + right - left, y + bottom - top))
    assert 10 < len(boxes) <= 34 and len(layers.places)
    every = [*boxes, *taken]
    assert not any(overlap(a, b) for i, a in enumerate(every) for b in every[:i])
    spots = [(x - 5, y - 5, x + 5, y + 5) for name in shown for x, y in [name.dot]]
    assert not any(overlap(box, spot) for box in boxes for spot in spots)
    assert all(a > 0 and b > 0 and c < 900 and d < 900 for a, b, c, d in boxes)


def test_no_name_covers_the_true_place(answer: QueryResult, tmp_path: Path) -> None:
    """The dot and the name of a place of the very spot are below the mark, or beside it."""
    drawn = drawn_layers(regions_of(answer).layout, answer.layers or MapLayers())
    sheet = MapSheet.of(drawn)
    for place in range(min(len(drawn.names), 5)):
        x, y = drawn.xy[place].tolist()
        to_degrees = Transformer.from_crs(regions_of(answer).layout.grid.crs, 4326, always_xy=True)
        lon, lat = to_degrees.transform(x - 12 * sheet.scale, y)
        write_region_map(replace(answer, truth=(lat, lon)), tmp_path / "map.png")
        with Image.open(tmp_path / "map.png") as image:
            across, down = sheet.at(x - 12 * sheet.scale, y)
            arm = [(across - 9, down), (across + 9, down), (across, down - 9), (across, down + 9)]
            seen = [image.convert("RGB").getpixel((round(a), round(b))) for a, b in arm]
        assert all(b > 120 and r < 90 for r, _, b in seen), seen  # type: ignore[misc]


@pytest.mark.parametrize("ranking", [Ranking.MINIMUM, Ranking.CORRECTED])
def test_the_true_place_stands_where_its_region_does(layers: MapLayers, ranking: Ranking) -> None:
    """By what regions are ranked by, not always by their best places."""
    ranked = answer_of(layers, ranking)
    known = len(regions_of(ranked).order)
    for lat, lon in itertools.product(np.linspace(48, 50, 5), np.linspace(30.5, 34, 5)):
        told = replace(ranked, truth=(lat, lon)).told_truth()
        if told is not None and told["region_rank"] is not None:
            assert told["percentile"] == pytest.approx(100 * told["region_rank"] / known)


def test_colours_darken_towards_the_best() -> None:
    score = np.array([3.0, np.nan, 1.0, 2.0])
    levels = region_levels(score)
    assert levels[2] == 0 and levels[0] == 255 and levels[1] == -1 and 0 < levels[3] < 255
    light = [sum(bytes.fromhex(c[1:])) for c in region_colours(score) if c]
    assert light[1] < light[2] < light[0]
    assert region_levels(np.array([2.0, 2.0])).tolist() == [0, 0]


def test_ranks_stand_at_the_corners_of_their_regions(answer: QueryResult) -> None:
    regions = regions_of(answer)
    drawn = drawn_layers(regions.layout, answer.layers or MapLayers())
    sheet = MapSheet.of(drawn)
    places = dict(numbered(regions, drawn, sheet))
    assert next(iter(places)) == 1
    left, _, _, top = drawn.box
    for rank, (x, y) in places.items():
        outline = drawn.outlines[regions.order[rank - 1]]
        place = shapely.Point(left + x * sheet.scale, top - y * sheet.scale)
        assert outline.contains(place)
        west, _, _, north = outline.bounds
        whole = shapely.box(west, north - 15_000, west + 15_000, north).within(outline)
        assert not whole or place.distance(shapely.Point(west, north)) < 8_000


def test_the_best_places_are_marked_where_they_are(answer: QueryResult, tmp_path: Path) -> None:
    regions = regions_of(answer)
    sheet = MapSheet.of(drawn := drawn_layers(regions.layout, answer.layers or MapLayers()))
    left, _, _, top = drawn.box
    found = best_places(regions, sheet)
    write_region_map(answer, tmp_path / "map.png")
    image = Image.open(tmp_path / "map.png")
    assert len(found) == min(len(regions.best_good), 10) > 0
    for region, (x, y) in zip(regions.best_good, found, strict=False):
        place = (left + x * sheet.scale, top - y * sheet.scale)
        np.testing.assert_allclose(place, regions.xy[region], atol=1e-3)
    shown = [colour_at(image, sheet, tuple(regions.xy[r])) for r in regions.best_good[: len(found)]]
    assert np.abs(np.array(shown) - [181, 18, 75]).max(axis=1).min() < 16  # names may cover others


def test_a_rank_stays_in_a_region_whose_corner_a_border_cuts_off() -> None:
    outline = shapely.Polygon([(0, 0), (9, 0), (9, 10), (6, 10)])
    x, y = _upper_left(outline, 0.5)
    assert outline.exterior.distance(shapely.Point(x, y)) == pytest.approx(0.5, abs=1e-6)
    assert outline.contains(shapely.Point(x, y)) and y > 5
    assert _upper_left(shapely.box(0, 0, 9, 10), 2) == pytest.approx((2, 8))
    assert outline.distance(shapely.Point(_upper_left(outline, 99))) < 1e-9


@pytest.fixture
def page(
    offline_page: OfflinePage, answer: QueryResult, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    imagery: Any = FlatImagery()
    write_region_page(answer, path, render_views(answer, imagery))
    shown = offline_page.open(path)
    shown.wait_for_selector("#map[data-ready=yes]")
    yield shown


def test_the_page_opens_without_network_and_shows_hostile_names_as_text(
    page: Any, offline_page: OfflinePage, answer: QueryResult
) -> None:
    assert page.inner_text("h1") == HOSTILE and page.locator("h1 script").count() == 0
    names = page.locator("#places text").all_text_contents()
    assert "Alpha & <b>Co</b>" in names and "Beta" in names
    assert page.locator("#places b, #provinces i").count() == 0
    cards = page.locator(".candidate")
    regions = regions_of(answer)
    assert cards.count() == min(24, len(regions.best_good))
    assert page.locator(".candidate .chip img").count() == cards.count()
    assert "1 of 2 places with more than 100,000" in page.inner_text("#recall")
    assert page.locator("#truth-mark").count() == 1
    assert offline_page.complaints == [] and offline_page.outside == []


def test_the_region_under_the_pointer_is_told(page: Any, answer: QueryResult) -> None:
    regions = regions_of(answer)
    best, last = int(regions.order[0]), int(regions.order[-1])
    page.hover(f"#regions [data-region='{best}']", force=True)
    told = page.inner_text("#tip")
    assert told.startswith(f"Region 1 of {len(regions.order)}, good")
    assert f"best distance {regions.minima.best[best]:.3f}" in told
    assert page.locator(".candidate.chosen").get_attribute("data-rank") == "1"
    page.hover(f"#regions [data-region='{last}']", force=True)
    assert "good" not in page.inner_text("#tip")


def test_the_page_zooms_and_layers_can_be_hidden(page: Any, answer: QueryResult) -> None:
    box = "e => e.viewBox.baseVal.width"
    whole = page.eval_on_selector("#nation", box)
    page.click("#zoom-in")
    assert page.eval_on_selector("#nation", box) < whole
    page.press("#map", "0")
    assert page.eval_on_selector("#nation", box) == whole
    assert page.locator(".spot").count() == min(len(regions_of(answer).best_good), 24)
    page.click(".candidate .chip")
    assert page.eval_on_selector("#nation", box) < whole
    for layer in ("regions", "good", "best", "places", "provinces", "water"):
        page.uncheck(f"[data-layer={layer}]")
        assert page.eval_on_selector(f"#{layer}", "e => getComputedStyle(e).display") == "none"


@pytest.mark.parametrize("width", [360, 768])
def test_the_page_is_not_wider_than_a_phone(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_corrected_ranking_is_said(layers: MapLayers, tmp_path: Path) -> None:
    told = replace(answer_of(layers, Ranking.CORRECTED), photos=(photo("a.jpg"),), title="a.jpg")
    write_region_page(told, tmp_path / "page.html", NO_VIEWS)
    assert "corrected for the number of points" in (tmp_path / "page.html").read_text()
    write_region_map(told, tmp_path / "map.png")
