"""What a file says of its own pixels is followed, on its own lattice and on any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from scipy.ndimage import minimum_filter

from geoloc.area import GeotiffImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery.geotiff import GeotiffSource

from .test_imagery_geotiff import CRS, LEFT, TOP, TWIN, WINDOW, noise, source_of, write

OTHER = Grid(TWIN, LEFT, TOP, 1.0, 40, 50)
"""The window again, by the other way of reading."""
BOTH = pytest.mark.parametrize("window", [WINDOW, OTHER], ids=["direct", "warped"])
C = ColorInterp
RGBA = [C.red, C.green, C.blue, C.alpha]


def read(path: Path, window: Grid, **options: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    data = source_of(path, **options).read(window)
    assert data.attrs["errors"] == ()
    return data.values, data.valid.values


def assert_seen(
    found: tuple[NDArray[np.uint8], NDArray[np.bool_]],
    wanted: NDArray[np.uint8],
    missing: NDArray[np.bool_],
    window: Grid,
) -> None:
    """The pixels wanted, but where data are missing; warped, rims of holes are rough."""
    values, valid = found
    rough = window is OTHER
    sure = minimum_filter(missing, 3) | minimum_filter(~missing, 3) if rough else missing | True
    assert sure.mean() > 0.3
    np.testing.assert_array_equal(valid[sure], ~missing[sure])
    np.testing.assert_array_equal(values[:, sure], np.where(missing, 0, wanted)[:, sure])


def described(path: Path, names: list[str]) -> Path:
    with rasterio.open(path, "r+") as data:
        data.descriptions = names
    return path


@BOTH
@pytest.mark.parametrize(
    ("kinds", "bands"),
    [
        ([C.blue, C.green, C.red, C.undefined], [2, 1, 0]),
        ([C.undefined, C.red, C.blue, C.green], [1, 3, 2]),
        ([C.alpha, C.red, C.green, C.blue], [1, 2, 3]),
        ([C.green, C.red, C.alpha, C.blue], [1, 0, 3]),
    ],
)
def test_colours_in_any_order(
    tmp_path: Path, window: Grid, kinds: list[ColorInterp], bands: list[int]
) -> None:
    pixels = noise(1, bands=4)
    if C.alpha in kinds:
        pixels[kinds.index(C.alpha)] = 255
    path = write(tmp_path / "a.tif", pixels, colorinterp=kinds)
    values, valid = read(path, window)
    assert valid.all()
    np.testing.assert_array_equal(values, pixels[bands])
    np.testing.assert_array_equal(read(path, window, bands=(1, 2, 3))[0], pixels[:3])


def test_names_of_bands_where_nothing_else_is_told(tmp_path: Path) -> None:
    pixels = noise(2, bands=4)
    path = write(tmp_path / "a.tif", pixels, photometric="MINISBLACK")
    source = source_of(described(path, ["B02", "B03", "B04", "B08"]))
    np.testing.assert_array_equal(source.read(WINDOW).values, pixels[[2, 1, 0]])
    assert source.notes == ()


def test_what_is_assumed_is_noted_once(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{n}.tif", noise(n, bands=4), photometric="MINISBLACK") for n in (1, 2)
    ]
    source = source_of(*paths)
    np.testing.assert_array_equal(source.read(WINDOW).values, noise(1, bands=4)[:3])
    (note,) = source.notes
    assert "1.tif does not say which of its 4 bands" in note and "of 2 files" in note
    assert source_of(*paths, bands=(1, 2, 3)).notes == ()
    twisted = described(write(tmp_path / "c.tif", noise(3)), ["blue", "green", "red"])
    source = source_of(twisted)
    np.testing.assert_array_equal(source.read(WINDOW).values, noise(3)[::-1])
    assert "names are followed" in source.notes[0]


@BOTH
@pytest.mark.parametrize("first", [False, True])
def test_grey_beside_transparency(tmp_path: Path, window: Grid, first: bool) -> None:
    grey, alpha = noise(3, bands=1), np.full((1, 40, 50), 255, np.uint8)
    alpha[0, :9, :20] = 0
    order = [(alpha, C.alpha), (grey, C.gray)][:: 1 if first else -1]
    path = write(
        tmp_path / "a.tif",
        np.concatenate([pixels for pixels, _ in order]),
        colorinterp=[kind for _, kind in order],
    )
    assert_seen(read(path, window), np.repeat(grey, 3, axis=0), alpha[0] == 0, window)


def holed(name: str, path: Path) -> tuple[Path, NDArray[np.bool_]]:
    """A file that tells its holes in two ways at once, and where they are."""
    pixels, alpha = noise(4), np.full((40, 50), 255, np.uint8)
    pixels[:, 30:, :] = 9  # nodata
    alpha[:, :10] = 0
    missing = (alpha == 0) | (pixels == 9).all(axis=0)
    both = np.concatenate([pixels, alpha[None]])
    match name:
        case "alpha and nodata":
            write(path, both, colorinterp=RGBA, nodata=9)
        case "mask and nodata":
            write(path, pixels, mask=alpha, nodata=9)
        case "mask and alpha":
            both[3] = np.where((pixels == 9).all(axis=0), 0, 255)
            write(path, both, colorinterp=RGBA, mask=alpha)
        case "external mask and nodata":
            write(path, pixels, nodata=9)
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as data:
                data.write_mask(alpha)
            assert path.with_suffix(".tif.msk").exists()
        case "alpha first and nodata":
            write(path, np.concatenate([alpha[None], pixels]), colorinterp=[C.alpha, *RGBA[:3]],
                  nodata=9)  # fmt: skip
    return path, missing


@BOTH
@pytest.mark.parametrize(
    "name",
    [
        "alpha and nodata",
        "mask and nodata",
        "mask and alpha",
        "external mask and nodata",
        "alpha first and nodata",
    ],
)
def test_all_ways_of_telling_holes_count(tmp_path: Path, window: Grid, name: str) -> None:
    path, missing = holed(name, tmp_path / "a.tif")
    assert_seen(read(path, window), noise(4), missing, window)


@pytest.mark.parametrize("crs", [CRS, TWIN])
@pytest.mark.parametrize("name", ["alpha and nodata", "mask and nodata"])
def test_overviews_that_know_of_one_kind_of_holes_are_left_alone(
    tmp_path: Path, name: str, crs: str
) -> None:
    path, missing = holed(name, tmp_path / "a.tif")
    with rasterio.open(path, "r+") as data:
        data.build_overviews([2, 4], Resampling.average)
    assert missing[:, :10].all() and missing[30:].all() and not missing[:30, 10:].any()
    _, valid = read(path, Grid(crs, LEFT + 1, TOP - 1, 8.0, 3, 6))
    assert not valid[:, 0].any() and valid[:, 1:].all()
    _, valid = read(path, Grid(crs, LEFT + 1, TOP - 31, 8.0, 1, 6))
    assert not valid.any()


def test_what_is_called_by_a_colour_of_light_is_no_transparency(tmp_path: Path) -> None:
    """A fourth band of bytes is written as alpha unless its writer says otherwise."""
    pixels = noise(3, bands=4)
    pixels[3, :9] = 0  # water is black in the near infrared
    path = write(tmp_path / "a.tif", pixels)
    with rasterio.open(path) as data:
        assert data.colorinterp[3] == C.alpha
    assert not read(path, WINDOW)[1][:9].any()
    values, valid = read(path, WINDOW, bands=(4, 1, 2))  # of infrared, red and green
    assert valid.all()
    np.testing.assert_array_equal(values, pixels[[3, 0, 1]])
    values, valid = read(described(path, ["blue", "green", "red", "nir"]), WINDOW)
    assert valid.all()
    np.testing.assert_array_equal(values, pixels[[2, 1, 0]])


@BOTH
def test_each_band_may_have_its_own_nodata(tmp_path: Path, window: Grid) -> None:
    pixels = noise(5)
    pixels[:, :7] = np.array([1, 2, 3])[:, None, None]
    pixels[:, 7:9] = np.array([1, 2, 4])[:, None, None]
    names = [write(tmp_path / f"{n}.tif", pixels[n : n + 1]).name for n in range(3)]
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n + 1}"><NoDataValue>{n + 1}</NoDataValue>'
        f'<ColorInterp>{colour}</ColorInterp><SimpleSource><SourceFilename relativeToVRT="1">{name}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for n, (name, colour) in enumerate(zip(names, ("Red", "Green", "Blue"), strict=True))
    )
    path = tmp_path / "m.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{LEFT}, 1, 0, {TOP}, 0, -1</GeoTransform>{bands}</VRTDataset>"
    )
    _, valid = read(path, window)
    assert not valid[:7].any() and valid[7:].all()


@BOTH
def test_values_that_numbers_cannot_hold_are_no_holes(tmp_path: Path, window: Grid) -> None:
    path = write(tmp_path / "a.tif", noise(6))
    vrt = tmp_path / "a.vrt"
    text = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><NoDataValue>-9999</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        f"<SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>"
        for n in (1, 2, 3)
    )
    vrt.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{LEFT}, 1, 0, {TOP}, 0, -1</GeoTransform>{text}</VRTDataset>"
    )
    assert path.exists() and read(vrt, window)[1].all()


@BOTH
def test_signed_numbers_and_holes_of_not_a_number(tmp_path: Path, window: Grid) -> None:
    missing = np.zeros((40, 50), np.bool_)
    missing[3:9] = True
    signed = noise(7).astype(np.int16) - 128
    signed[:, missing] = -32768
    path = write(tmp_path / "s.tif", signed, nodata=-32768)
    assert_seen(read(path, window, scale=(-128, 127)), noise(7), missing, window)
    real = noise(7).astype(np.float32)
    real[0, 3:6] = np.nan
    real[:, 6:9] = lowest = float(np.finfo(np.float32).min)
    path = write(tmp_path / "f.tif", real, nodata=lowest)
    assert_seen(read(path, window, scale=(0, 255)), noise(7), missing, window)


@BOTH
@pytest.mark.parametrize(
    ("nodata", "scale", "is_colour"),
    [(-9999, (0, 255), False), (0, (1, 255), False), (0, (0, 255), True), (0, (255, 0), True)],
)
def test_nodata_in_one_band_is_a_hole_unless_it_may_be_a_colour(
    tmp_path: Path, window: Grid, nodata: int, scale: tuple[int, int], is_colour: bool
) -> None:
    pixels = noise(17).astype(np.int16)
    missing = np.zeros((40, 50), np.bool_)
    for band, rows in enumerate((slice(2, 8), slice(12, 19), slice(24, 33))):
        pixels[band, rows, 5:45] = nodata
        missing[rows, 5:45] = True
    missing[35:] = True
    pixels[:, 35:] = nodata
    _, valid = read(write(tmp_path / "a.tif", pixels, nodata=nodata), window, scale=scale)
    if is_colour:
        missing[:35] = False
    sure = minimum_filter(missing, 3) | minimum_filter(~missing, 3)
    np.testing.assert_array_equal(valid[sure], ~missing[sure])
    assert sure[:20].any() and sure[36:].any()


@BOTH
@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("white", ["MINISBLACK", "MINISWHITE"])
def test_few_bits_span_black_to_white(tmp_path: Path, window: Grid, bits: int, white: str) -> None:
    most = 2**bits - 1
    index = np.random.default_rng(8).integers(0, most + 1, (1, 40, 50)).astype(np.uint8)
    path = write(tmp_path / "a.tif", index, nbits=bits, photometric=white)
    values, valid = read(path, window)
    wanted = np.rint((most - index if white == "MINISWHITE" else index) * (255 / most))
    assert valid.all()
    np.testing.assert_array_equal(values, np.repeat(wanted, 3, axis=0))


@BOTH
def test_zero_may_be_white(tmp_path: Path, window: Grid) -> None:
    grey = noise(9, bands=1)
    byte = write(tmp_path / "a.tif", grey, photometric="MINISWHITE")
    np.testing.assert_array_equal(read(byte, window)[0], np.repeat(255 - grey, 3, axis=0))
    deep = write(tmp_path / "b.tif", grey.astype(np.uint16) * 10, photometric="MINISWHITE")
    values = read(deep, window, scale=(0, 2550))[0]
    np.testing.assert_array_equal(values, np.repeat(255 - grey, 3, axis=0))
    turned = read(deep, window, scale=(2550, 0))[0]
    np.testing.assert_array_equal(turned, np.repeat(255 - grey, 3, axis=0))


def test_twelve_bits_need_a_range_and_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(1).astype(np.uint16) * 16, nbits=12)
    with pytest.raises(ImageryError, match=r"is uint16 of 12 bits: add .*scale"):
        source_of(path).read(WINDOW)
    values, _ = read(path, WINDOW, scale=(0, 4080))
    np.testing.assert_array_equal(values, noise(1))


@BOTH
def test_other_models_of_colour_become_red_green_and_blue(tmp_path: Path, window: Grid) -> None:
    """GDAL converts what a TIFF holds as CMYK, YCbCr or L*a*b*."""
    colour = np.zeros((40, 50, 3), np.uint8)
    colour[:, :25], colour[:, 25:] = (200, 40, 40), (40, 40, 180)
    pixels = colour.transpose(2, 0, 1)
    jpeg = write(tmp_path / "y.tif", pixels, photometric="YCBCR", compress="JPEG", jpeg_quality=95)
    assert np.abs(read(jpeg, window)[0].astype(int) - pixels).mean() < 4
    inks = np.asarray(Image.fromarray(colour).convert("CMYK")).transpose(2, 0, 1)
    cmyk = write(tmp_path / "c.tif", inks, photometric="CMYK")
    values, valid = read(cmyk, window)
    assert valid.all() and np.abs(values.astype(int) - pixels).max() < 4


@pytest.mark.parametrize("model", ["ICCLAB", "ITULAB"])
def test_models_that_nobody_converts_are_refused(tmp_path: Path, model: str) -> None:
    path = write(tmp_path / "a.tif", noise(1), photometric=model)
    with pytest.raises(ImageryError, match=r"a.tif holds CIE L\*a\*b\* colours: convert"):
        source_of(path).read(WINDOW)
    source = source_of(path, write(tmp_path / "b.tif", noise(2)))
    np.testing.assert_array_equal(source.read(WINDOW).values, noise(2))
    assert "a.tif" in source.unreadable[0]


COLOURS = {0: (250, 10, 20, 255), 1: (0, 128, 64, 255), 2: (9, 8, 7, 0), 3: (5, 5, 200, 255)}
TABLE = np.array([COLOURS[i][:3] for i in range(4)], np.uint8)


def see_through(path: Path) -> Path:
    """The file with the transparent entries of its palette, which a TIFF cannot hold, beside it."""
    entries = "".join(
        '<Entry c1="{}" c2="{}" c3="{}" c4="{}"/>'.format(*c) for c in COLOURS.values()
    )
    with rasterio.open(path) as data:
        kind = "Byte" if data.dtypes[0] == "uint8" else "UInt16"
        nodata = "" if data.nodata is None else f"<NoDataValue>{data.nodata}</NoDataValue>"
        masked = data.mask_flag_enums[0] == [MaskFlags.per_dataset]
    source = f'<SourceFilename relativeToVRT="1">{path.name}</SourceFilename>'
    mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource>'
        f"{source}<SourceBand>mask,1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
    )
    vrt = path.with_suffix(".vrt")
    vrt.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{LEFT}, 1, 0, {TOP}, 0, -1</GeoTransform>"
        f'<VRTRasterBand dataType="{kind}" band="1">{nodata}<ColorInterp>Palette</ColorInterp>'
        f"<ColorTable>{entries}</ColorTable><SimpleSource>{source}<SourceBand>1</SourceBand>"
        f"</SimpleSource></VRTRasterBand>{mask if masked else ''}</VRTDataset>"
    )
    return vrt


@BOTH
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("how", ["plain", "nodata", "nodata of the area file", "mask"])
def test_palettes_with_holes(tmp_path: Path, window: Grid, dtype: type, how: str) -> None:
    coarse = np.random.default_rng(8).integers(0, 4, (1, 5, 5))
    index = coarse.repeat(8, axis=1).repeat(10, axis=2).astype(dtype)
    missing, options, extra = index[0] == 2, {}, {}
    if how == "nodata":
        extra, missing = {"nodata": 3}, missing | (index[0] == 3)
    elif how == "nodata of the area file":
        options, missing = {"nodata": 3}, missing | (index[0] == 3)
    elif how == "mask":
        mask = np.full((40, 50), 255, np.uint8)
        mask[:, 40:] = 0
        extra, missing = {"mask": mask}, missing | (mask == 0)
    path = write(tmp_path / "a.tif", index, colormap=COLOURS, **extra)
    found = read(see_through(path), window, **options)
    assert_seen(found, TABLE[index[0]].transpose(2, 0, 1), missing, window)


def test_palettes_are_averaged_as_colours(tmp_path: Path) -> None:
    index = np.indices((40, 50)).sum(axis=0)[None] % 2
    path = write(tmp_path / "a.tif", index.astype(np.uint8), colormap=COLOURS)
    values, _ = read(path, Grid(CRS, LEFT, TOP, 2.0, 20, 25))
    np.testing.assert_allclose(values[:, 0, 0], TABLE[:2].mean(axis=0), atol=1)


def test_rescaling_is_by_the_files_own_scale_and_offset(tmp_path: Path) -> None:
    """Two files of one measure in two ways of writing it."""
    paths = []
    for name, scale, offset in (("a", 1e-4, -0.1), ("b", 1e-2, 0.0)):
        physical = noise(3).astype(np.float64) / 255
        counts = np.rint((physical - offset) / scale).astype(np.uint16)
        path = write(tmp_path / f"{name}.tif", counts)
        with rasterio.open(path, "r+") as data:
            data.scales, data.offsets = (scale,) * 3, (offset,) * 3
        paths.append(path)
    first, second = (read(path, WINDOW, scale=(0, 1), rescale=True)[0] for path in paths)
    np.testing.assert_allclose(first, noise(3), atol=1)
    np.testing.assert_allclose(second, noise(3), atol=3)


def test_fingerprints_follow_how_a_file_is_read(tmp_path: Path) -> None:
    def fingerprint(path: Path, **options: Any) -> str:
        return GeotiffSource(GeotiffImagery(paths=[str(path)], **options)).fingerprint(WINDOW)

    path = write(tmp_path / "a.tif", noise(1))
    assert fingerprint(path) == fingerprint(path, bands=(1, 2, 3))
    assert fingerprint(path) != fingerprint(path, bands=(3, 2, 1))
    bgr = write(tmp_path / "b.tif", noise(1), colorinterp=[C.blue, C.green, C.red])
    assert fingerprint(bgr) != fingerprint(bgr, bands=(1, 2, 3))
