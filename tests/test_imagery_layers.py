"""Several sources as one: the next stands in where one has no imagery, never where it is broken."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoloc.area import Area, LayeredImagery, portable
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import open_source
from geoloc.imagery.layers import LayeredSource
from geoloc.query.remembered import withheld

CRS, LEFT, TOP = "EPSG:32636", 300_000.0, 5_600_000.0
WINDOW = Grid(CRS, LEFT, TOP, 1.0, 40, 60)


def write(path: Path, value: int, cols: slice, hole: bool = False) -> Path:
    """40 px high, of one colour, from and to these columns; with a hole of no data."""
    pixels = np.full((3, 40, cols.stop - cols.start), value, np.uint8)
    if hole:
        pixels[:, 10:14, 3:9] = 0
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, crs=CRS, nodata=0,
        height=40, width=pixels.shape[2], transform=Affine(1, 0, LEFT + cols.start, 0, -1, TOP),
    ) as file:  # fmt: skip
        file.write(pixels)
    return path


def layered(*paths: Path) -> LayeredImagery:
    given = [{"kind": "geotiff", "paths": [str(path)]} for path in paths]
    area = Area(
        name="a", crs=CRS, bounds=(LEFT, TOP - 40, LEFT + 60, TOP), imagery=given,
        model="m", cube="c",
    )  # type: ignore[call-arg]  # fmt: skip
    assert isinstance(area.imagery, LayeredImagery)
    return area.imagery


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    first = write(tmp_path / "first.tif", 50, slice(0, 30), hole=True)
    return first, write(tmp_path / "second.tif", 90, slice(0, 50))


def test_pixels_are_the_first_source_s_that_has_imagery(sources: tuple[Path, Path]) -> None:
    source = pickle.loads(pickle.dumps(open_source(layered(*sources))))  # noqa: S301 our own
    image = source.read(WINDOW)
    expected = np.zeros((40, 60), np.uint8)
    expected[:, :50], expected[:, :30] = 90, 50
    expected[10:14, 3:9] = 90
    np.testing.assert_array_equal(image.values[1], expected)
    np.testing.assert_array_equal(image.coords["valid"].values, expected > 0)
    assert [item.id for item in image.attrs["items"]] == ["first", "second"]
    assert not image.attrs["errors"]
    assert source.bounds(CRS) == (LEFT, TOP - 40, LEFT + 50, TOP)
    # where the first has all of it, the second is not even read
    inner = WINDOW.window(slice(20, 30), slice(12, 20))
    assert [item.id for item in source.read(inner).attrs["items"]] == ["first"]
    beyond = Grid(CRS, LEFT + 32, TOP, 1.0, 8, 8)
    assert [item.id for item in source.read(beyond).attrs["items"]] == ["second"]
    assert not source.covers(Grid(CRS, LEFT + 900, TOP, 1.0, 8, 8))


def test_what_cannot_be_read_is_not_replaced(sources: tuple[Path, Path]) -> None:
    first, second = sources
    source = open_source(layered(first, second))
    content = bytearray(first.read_bytes())
    first.write_bytes(bytes(content[: len(content) // 2]))
    image = source.read(WINDOW)
    assert image.attrs["errors"] and not (image.values == 90).any()


def test_fingerprints_tell_which_source_it_is(sources: tuple[Path, Path]) -> None:
    one = open_source(layered(*sources)).fingerprint(WINDOW)
    assert one == open_source(layered(*sources)).fingerprint(WINDOW)
    assert one != open_source(layered(*sources[::-1])).fingerprint(WINDOW)
    write(sources[1], 91, slice(0, 50))
    assert one != open_source(layered(*sources)).fingerprint(WINDOW)


def test_the_area_file_says_which_source_is_at_fault() -> None:
    def area(imagery: object) -> Area:
        return Area(name="a", crs=CRS, bounds=(LEFT, TOP - 40, LEFT + 60, TOP), imagery=imagery,
                    model="m", cube="c")  # type: ignore[arg-type, call-arg]  # fmt: skip

    good = {"paths": ["a.tif"]}
    for bad, message in (
        ([], "list is empty"),
        ([good, {"kind": "xyz"}], "source 2 of 2: key 'imagery.url' is missing"),
        ([good, {"kind": "layers", "layers": [good, good]}], "source 2 of 2.*kind"),
        ([good, {"kind": "xyz", "url": "https://a/{z}/{x}/{y}?key=abc"}], "contains a key"),
    ):
        with pytest.raises(ValueError, match=message):
            area(bad)
    assert area([good]).imagery == area(good).imagery


def test_a_cube_s_own_layers_are_followed_no_further_than_each(tmp_path: Path) -> None:
    inside = {"kind": "geotiff", "paths": [str(tmp_path / "a.tif")]}
    tiles = {"kind": "xyz", "url": "https://tiles.example/{z}/{x}/{y}?k=${SECRET}"}
    both = LayeredImagery.model_validate({"kind": "layers", "layers": [inside, tiles]})
    assert "tiles.example" in withheld(both, str(tmp_path / "c.zarr"))
    assert "SECRET" in withheld(both, str(tmp_path / "c.zarr"), fetch=True)
    recorded = both.recorded()
    assert recorded["layers"][0]["paths"] == inside["paths"] and "rate" not in str(recorded)
    assert str(tmp_path) not in str(portable(recorded))


def test_the_gsd_of_a_place_is_that_of_the_coarsest_layer_there(tmp_path: Path) -> None:
    first = write(tmp_path / "first.tif", 50, slice(0, 30))
    with rasterio.open(
        tmp_path / "second.tif", "w", driver="GTiff", dtype="uint8", count=3, crs=CRS,
        height=8, width=2, transform=Affine(5, 0, LEFT + 40, 0, -5, TOP),
    ) as file:  # fmt: skip
        file.write(np.full((3, 8, 2), 9, np.uint8))
    source = open_source(layered(first, tmp_path / "second.tif"))
    assert isinstance(source, LayeredSource)
    assert source.gsd_at(WINDOW) == pytest.approx(5, rel=1e-2)
    assert source.gsd_at(WINDOW.window(slice(0, 40), slice(0, 30))) == pytest.approx(1, rel=1e-2)


def test_a_layer_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageryError, match="none of 1 imagery files"):
        open_source(layered(tmp_path / "x.tif", tmp_path / "y.tif")).gsd  # noqa: B018
