"""The files beside the page, read back with other people's readers."""

from __future__ import annotations

import csv
import io
import json
import math
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import Transformer

from geoloc.domain import Grid
from geoloc.errors import OutputError
from geoloc.models import Term
from geoloc.report import check_writable, write_report
from geoloc.report.earth import overlay, write_kml, write_kmz
from geoloc.report.evidence import evidence, write_evidence
from geoloc.report.formatting import metres, percent
from geoloc.report.heat import (
    color_scale,
    hot_palette,
    overlay_palette,
    shrink,
)
from geoloc.report.picture import mark_size, scale_length, write_picture
from geoloc.report.qgis import write_style
from geoloc.report.raster import write_colors, write_heatmap
from geoloc.report.shares import LEVELS, SHARES, STOPS
from geoloc.report.table import write_table
from geoloc.report.vector import write_geojson
from geoloc.report.views import render_views
from tests.report_sample import GRID, HOSTILE, FlatImagery, candidate, heatmap, sample


def strict_json(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


# --- heatmap.tif ---------------------------------------------------------------------------


def test_heatmap_pixel_is_centred_on_its_cell(tmp_path: Path) -> None:
    write_heatmap(sample(), tmp_path / "heatmap.tif")
    with rasterio.open(tmp_path / "heatmap.tif") as raster:
        assert raster.crs.to_epsg() == 32636
        assert math.isnan(raster.nodata)
        assert raster.dtypes == ("float32",)
        assert raster.xy(20, 100) == pytest.approx(GRID.center(20, 100))
        assert tuple(raster.bounds) == pytest.approx(GRID.bounds)
        np.testing.assert_array_equal(raster.read(1), heatmap())
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.overviews(1) == [2]
        best = float(raster.tags(1)["STATISTICS_MINIMUM"])
        mean = float(raster.tags(1)["STATISTICS_MEAN"])
    assert best == 0.5
    assert mean == pytest.approx(np.nanmean(heatmap()), rel=1e-6)


def test_heatmap_larger_than_a_strip_comes_from_a_memory_map(tmp_path: Path) -> None:
    grid = Grid("EPSG:32636", 0, 6_000_000, 10, 1100, 300)
    values = np.memmap(tmp_path / "map.bin", np.float32, "w+", shape=grid.shape)
    values[:] = np.arange(grid.size, dtype=np.float32).reshape(grid.shape)
    write_heatmap(sample(heatmap=values, grid=grid), tmp_path / "heatmap.tif")
    with rasterio.open(tmp_path / "heatmap.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), values)
        assert raster.overviews(1) == [2, 4, 8]
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_a_killed_write_leaves_nothing_for_good(tmp_path: Path) -> None:
    killed = """
import os, sys, pathlib, rasterio.shutil
from geoloc.report.raster import write_heatmap
from tests.report_sample import sample
rasterio.shutil.copy = lambda *args, **kwargs: os.kill(os.getpid(), 9)
write_heatmap(sample(), pathlib.Path(sys.argv[1]))
"""
    path = tmp_path / "heatmap.tif"
    done = subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) != []
    write_heatmap(sample(), path)
    assert list(tmp_path.iterdir()) == [path]


def test_heatmap_without_a_known_cell(tmp_path: Path) -> None:
    empty = sample(heatmap=np.full(GRID.shape, np.nan, np.float32), candidates=())
    write_report(empty, tmp_path / "empty", FlatImagery())
    assert "No candidates" in (tmp_path / "empty" / "report.html").read_text()
    assert strict_json(tmp_path / "empty" / "query.json")["summary"]["cells_known"] == 0


# --- heatmap.png ---------------------------------------------------------------------------


def test_picture_is_hot_at_the_best_place_and_grey_at_the_worst(tmp_path: Path) -> None:
    write_picture(sample(candidates=()), tmp_path / "heatmap.png")
    pixels = np.asarray(Image.open(tmp_path / "heatmap.png").convert("RGB")).astype(int)
    assert 900 < pixels.shape[1] < 2500
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    hot = (red > 150) & (green < 90)
    grey = (abs(red - 205) < 6) & (abs(green - 205) < 6) & (abs(blue - 205) < 6)
    map_side = pixels.shape[1] * 4 // 5  # the colour bar lies to the right of it
    assert np.median(np.nonzero(hot[:, :map_side])[1]) > map_side / 2
    assert np.median(np.nonzero(grey[:, :map_side])[1]) < map_side / 2


def test_picture_shows_the_ground_faintly_the_truth_and_larger_marks_for_better_ranks(
    tmp_path: Path,
) -> None:
    ground = render_views(sample(), FlatImagery())
    sheets = {}
    for name, told in (("plain", {}), ("truth", {"truth": (50.5550, 30.1900)})):
        write_picture(sample(candidates=(), **told), tmp_path / f"{name}.png")
        sheets[name] = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"), int)
    write_picture(sample(candidates=()), tmp_path / "ground.png", ground)
    grounded = np.asarray(Image.open(tmp_path / "ground.png").convert("RGB"), int)
    inside = (slice(120, 860), slice(60, 1300))
    off = np.abs(grounded - sheets["plain"])[inside]
    assert 5 < off.mean() < 80  # there, and faint
    y, x = np.nonzero(np.abs(sheets["truth"] - sheets["plain"]).sum(-1)[:900] > 60)
    x_true, y_true = Transformer.from_crs(4326, GRID.crs, always_xy=True).transform(30.19, 50.555)
    left, bottom, right, top = GRID.bounds
    assert x.mean() == pytest.approx(24 + 1350 * (x_true - left) / (right - left), abs=3)
    assert y.mean() == pytest.approx(58 + 868 * (top - y_true) / (top - bottom), abs=3)
    sizes = [mark_size(rank) for rank in (1, 2, 5, 10, 20, 300)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[-1] >= 20


@pytest.mark.parametrize(("width", "length"), [(1400, 200), (6200, 1000), (99, 10), (1e6, 2e5)])
def test_scale_bar_is_round_and_about_a_fifth(width: float, length: float) -> None:
    assert scale_length(width) == length


def test_shrinking_keeps_every_best_cell_and_its_place() -> None:
    small, grid = shrink(heatmap(), GRID, 50)
    assert max(small.shape) <= 50
    assert grid.step == 30
    assert small[20 // 3, 100 // 3] == np.float32(0.5)
    assert grid.index(*GRID.center(20, 100)) == (20 // 3, 100 // 3)
    assert np.isnan(small[-1, 0])
    naive = np.nanmin(heatmap()[60:63, 90:93])
    assert small[20, 30] == naive


def test_levels_order_cells_as_distances_do() -> None:
    values = heatmap()
    level = color_scale(sample()).levels(values)
    assert (level == 0).sum() == np.isnan(values).sum()
    assert level[20, 100] == 1
    assert level.max() == LEVELS
    order = np.argsort(values[~np.isnan(values)])
    assert (np.diff(level[~np.isnan(values)][order].astype(int)) >= 0).all()
    known = level[level > 0]
    assert (known <= 81).mean() == pytest.approx((81 / 255) ** 2, abs=0.002)


def test_hot_colours_stand_out_and_darken_towards_the_best() -> None:
    """Against pale sand and dark green (sRGB); and lightness alone tells them apart."""
    colours = hot_palette() / 255
    saturation = 1 - colours.min(axis=1) / colours.max(axis=1)
    assert saturation.min() > 0.6
    assert saturation[:64].min() > 0.85
    luminance = np.where(colours <= 0.04, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    assert (np.diff(luminance @ [0.2126, 0.7152, 0.0722]) > -1e-3).all()
    for ground in ((222, 207, 176), (58, 74, 42), (128, 128, 128)):
        assert np.abs(colours[:40] - np.array(ground) / 255).sum(axis=1).min() > 0.75


def test_a_level_ends_at_each_share_that_can_be_clicked() -> None:
    known = heatmap()[np.isfinite(heatmap())]
    scale = color_scale(sample())
    for stop in STOPS:
        (level,) = np.flatnonzero(stop == SHARES)
        assert (known <= scale.edges[level]).mean() == pytest.approx(stop, abs=1 / known.size)
    assert (np.diff(SHARES) > 0).all()


# --- candidates ----------------------------------------------------------------------------


def test_candidates_open_as_points_in_wgs84(tmp_path: Path) -> None:
    write_geojson(sample(), tmp_path / "candidates.geojson")
    frame = geopandas.read_file(tmp_path / "candidates.geojson")
    assert frame.crs.to_epsg() == 4326
    assert list(frame["rank"]) == [1, 2, 3]
    back = Transformer.from_crs(4326, 32636, always_xy=True)
    x, y = back.transform(frame.geometry[0].x, frame.geometry[0].y)
    assert (x, y) == (pytest.approx(GRID.center(20, 100)[0], abs=0.05),
                      pytest.approx(GRID.center(20, 100)[1], abs=0.05))  # fmt: skip


def test_candidate_properties_explain_and_link(tmp_path: Path) -> None:
    write_geojson(sample(), tmp_path / "candidates.geojson")
    document = strict_json(tmp_path / "candidates.geojson")
    first = document["features"][0]
    assert first["geometry"]["coordinates"] == pytest.approx([30.1933, 50.5576], abs=1e-3)
    told = first["properties"]
    assert told["explanation"][0] == {
        "scene": "wheat_field", "photo": 6.0, "place": 1.5, "share": 0.41,
    }  # fmt: skip
    assert told["shared"] == ["highway"]
    assert f"mlat={told['lat']:.6f}" in told["links"]["OpenStreetMap"]
    assert set(told) >= {"rank", "distance", "percentile", "lon", "lat"}
    assert [f["properties"]["area"] for f in document["features"]] == [1, 2, 3]


def test_kml_is_well_formed_whatever_the_name(tmp_path: Path) -> None:
    write_kml(sample(title=HOSTILE + "\x00\x1b]]>"), tmp_path / "candidates.kml")
    root = ElementTree.parse(tmp_path / "candidates.kml").getroot()
    name = root.find(".//{http://www.opengis.net/kml/2.2}name")
    assert name is not None
    assert name.text == HOSTILE + "]]>"
    assert len(root.findall(".//{http://www.opengis.net/kml/2.2}Point")) == 3


def test_kml_descriptions_are_text_to_readers_of_html(tmp_path: Path) -> None:
    evil = "<img src=x>"
    write_kml(sample(places={1: ((evil, 0.5),)}), tmp_path / "candidates.kml")
    root = ElementTree.parse(tmp_path / "candidates.kml").getroot()
    told = [node.text or "" for node in root.iter("{http://www.opengis.net/kml/2.2}description")]
    assert not any("<img" in text for text in told)
    assert any("&lt;img src=x&gt;" in text for text in told)


def test_kml_marks_are_named_and_styled_by_rank_and_show_the_truth(tmp_path: Path) -> None:
    write_kml(sample(truth=(50.5, 30.25)), tmp_path / "candidates.kml")
    frame = geopandas.read_file(tmp_path / "candidates.kml", layer="Candidates")
    assert list(frame["Name"]) == ["true place", "#1", "#2", "#3"]
    assert (frame.geometry[0].x, frame.geometry[0].y) == (30.25, 50.5)
    text = (tmp_path / "candidates.kml").read_text()
    assert text.index("#first</styleUrl>") < text.index("#next</styleUrl>")
    assert "http://" not in text.replace("http://www.opengis.net", "")  # nothing is fetched


def test_kml_outlines_the_areas_to_search(tmp_path: Path) -> None:
    write_kml(sample(), tmp_path / "candidates.kml")
    frame = geopandas.read_file(tmp_path / "candidates.kml", layer="Areas to search")
    areas = sample().areas
    assert list(frame["Name"]) == [f"Area {area.rank}" for area in areas]
    drawn = frame.to_crs(GRID.crs).geometry.area / 1e6
    assert list(drawn) == pytest.approx([area.km2 for area in areas], rel=0.01)


def test_kmz_lays_the_heatmap_where_it_is(tmp_path: Path) -> None:
    write_kmz(sample(), tmp_path / "candidates.kmz")
    with zipfile.ZipFile(tmp_path / "candidates.kmz") as archive:
        assert archive.namelist() == ["doc.kml", "heatmap.png"]
        root = ElementTree.fromstring(archive.read("doc.kml"))
        image = Image.open(io.BytesIO(archive.read("heatmap.png")))
    space = "{http://www.opengis.net/kml/2.2}"
    box = {node.tag.removeprefix(space): float(node.text or "nan")
           for node in root.find(f".//{space}LatLonBox") or ()}  # fmt: skip
    lon, lat = Transformer.from_crs(GRID.crs, 4326, always_xy=True).transform(*GRID.center(20, 100))
    across = (lon - box["west"]) / (box["east"] - box["west"])
    down = (box["north"] - lat) / (box["north"] - box["south"])
    seen = np.asarray(image.convert("RGBA"))
    y, x = int(down * seen.shape[0]), int(across * seen.shape[1])
    assert tuple(seen[y, x]) == tuple(overlay_palette()[0])  # the best cell, and no other
    assert seen[y, x, 3] > 200
    assert seen[-3, 3, 3] == 0  # missing corner
    assert 0.35 < (seen[..., 3] > 0).mean() < 0.5
    assert 0.05 < (seen[..., 3] > 200).mean() < 0.1


def test_overlay_across_180_degrees_is_narrow() -> None:
    grid = Grid("EPSG:32660", 820_000, 1_000_000, 500.0, 90, 140)
    drawn = overlay(sample(grid=grid, candidates=()))
    assert drawn is not None
    north, south, east, west = drawn.box
    assert 0 < north - south < 1
    assert west > 179 and east < -179  # as KML writes a box across 180


# --- candidates.csv ------------------------------------------------------------------------


def test_table_opens_in_spreadsheets_and_holds_no_formula(tmp_path: Path) -> None:
    evil = Term("=HYPERLINK(1)", 1.0, 2.0, 0.5)
    shown = replace(candidate(1, 20, 100), shared=(evil,))
    write_table(sample(candidates=(shown, candidate(2, 60, 40))), tmp_path / "candidates.csv")
    assert (tmp_path / "candidates.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with (tmp_path / "candidates.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert [row["area"] for row in rows] == ["1", "2"]
    assert float(rows[0]["lat"]) == pytest.approx(50.5576, abs=1e-3)
    assert float(rows[0]["lon"]) == pytest.approx(30.1933, abs=1e-3)
    assert (float(rows[0]["x"]), float(rows[0]["y"])) == GRID.center(20, 100)
    assert rows[0]["photo_and_place_show"] == "'=HYPERLINK(1)"
    assert rows[0]["seen_from_above"].startswith("highway 61")
    assert rows[1]["seen_from_above"] == ""


# --- heatmap.qml and heatmap_colors.tif ----------------------------------------------------


def test_style_rises_from_the_best_to_the_worst_distance(tmp_path: Path) -> None:
    write_style(sample(), tmp_path / "heatmap.qml")
    items = ElementTree.parse(tmp_path / "heatmap.qml").getroot().findall(".//item")
    values = [float(item.attrib["value"]) for item in items]
    assert values[0] == 0.5
    assert values[-1] == pytest.approx(np.nanmax(heatmap()))
    assert values == sorted(set(values))
    for end in (0, -1):
        *color, opacity = overlay_palette()[end].tolist()
        assert items[end].attrib["color"] == "#{:02x}{:02x}{:02x}".format(*color)
        assert items[end].attrib["alpha"] == str(opacity)
    red, green, blue = bytes.fromhex(items[0].attrib["color"][1:])
    assert red > 150 > max(green, blue)  # the best is hot


@pytest.mark.parametrize("value", [np.nan, 2.0])
def test_style_of_a_flat_or_empty_heatmap_is_valid(tmp_path: Path, value: float) -> None:
    flat = sample(heatmap=np.full(GRID.shape, value, np.float32), candidates=())
    write_style(flat, tmp_path / "heatmap.qml")
    items = ElementTree.parse(tmp_path / "heatmap.qml").getroot().findall(".//item")
    assert len(items) == int(value == 2.0)


def test_colours_are_those_of_the_page_and_clear_where_nothing_is_known(tmp_path: Path) -> None:
    write_colors(sample(), tmp_path / "heatmap_colors.tif")
    with rasterio.open(tmp_path / "heatmap_colors.tif") as raster:
        level, table = raster.read(1), raster.colormap(1)
        assert raster.nodata == 0
        assert tuple(raster.bounds) == pytest.approx(GRID.bounds)
    np.testing.assert_array_equal(level, color_scale(sample()).levels(heatmap()))
    best = table[int(level[20, 100])]
    assert best[0] > 150 > max(best[1:3])  # hot
    drawn = np.asarray(Image.open(tmp_path / "heatmap_colors.tif").convert("RGB"))
    assert tuple(drawn[20, 100]) == best[:3]
    worst = drawn[np.unravel_index(np.nanargmax(heatmap()), GRID.shape)]
    assert len(set(worst.tolist())) == 1  # grey


# --- query.json ----------------------------------------------------------------------------


def test_evidence_tells_the_areas_to_search() -> None:
    """The best 1 % lies around the best cell; the other two candidates stand alone."""
    first, *others = evidence(sample())["areas"]
    assert (first["candidates"], first["whole"]) == ([1], True)
    assert first["cells"] == pytest.approx(0.01 * (GRID.size - 10 * 30), abs=8)
    assert first["km2"] == pytest.approx(first["cells"] * 1e-4)
    assert [(a["rank"], a["cells"], a["candidates"]) for a in others] == [(2, 1, [2]), (3, 1, [3])]


def test_evidence_is_strict_json_and_enough_to_repeat(tmp_path: Path) -> None:
    write_evidence(sample(), tmp_path / "query.json")
    record = strict_json(tmp_path / "query.json")
    assert record["photos"][0]["sha256"] == "ab" * 32
    assert record["photos"][0]["file"] == HOSTILE.replace("/", "∕")
    assert record["cube"]["generation"] == "g0001"
    assert record["model"]["digest"] == "cd" * 32
    assert record["parameters"] == {"top": 3, "within": None, "radius": None}  # NaN is no JSON
    assert record["vector"]["highway"] == pytest.approx(9.1)
    assert record["imagery"][0]["date"].startswith("2024-05-06")
    assert {"geoloc", "python", "numpy", "torch", "gdal"} <= set(record["versions"])
    assert record["summary"]["distance_quantiles"]["0.0"] == 0.5


def test_evidence_names_its_moment() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert evidence(sample(), moment)["created"] == "2026-01-02T03:04:05+00:00"


# --- all together --------------------------------------------------------------------------


def test_report_writes_every_file(tmp_path: Path) -> None:
    page = write_report(sample(), tmp_path / "new" / "answer", FlatImagery())
    assert page == tmp_path / "new" / "answer" / "report.html"
    assert {p.name for p in page.parent.iterdir()} == {
        "heatmap.tif", "heatmap.qml", "heatmap_colors.tif", "heatmap.png", "candidates.geojson",
        "candidates.csv", "candidates.kml", "candidates.kmz",
        "report.html", "query.json",
    }  # fmt: skip


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write to .*file.*: .*; choose") as caught:
        check_writable(tmp_path / "file" / "answer")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00001, "<0.0001 %"), (0.012, "0.012 %"), (0.4, "0.4 %"), (1.0, "1 %"), (17.3, "17 %")],
)
def test_percentages_have_the_digits_they_deserve(value: float, text: str) -> None:
    assert percent(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("length", "text"), [(84.6, "85 m"), (1299, "1.3 km"), (99_940, "99.9 km"), (2.4e6, "2,400 km")]
)
def test_lengths_have_the_digits_they_deserve(length: float, text: str) -> None:
    assert metres(length).replace("\u202f", " ") == text
