"""Which bands are red, green and blue, by what files and catalogs call them."""

from __future__ import annotations

import pytest

from geoloc.imagery.colours import by_name, colours_of, is_another_model, transparent

NONE = (None, None, None, None)


@pytest.mark.parametrize(
    ("kinds", "rgb"),
    [
        ("red green blue", (1, 2, 3)),
        ("blue green red undefined", (3, 2, 1)),
        ("undefined blue green red", (4, 3, 2)),
        ("alpha red green blue", (2, 3, 4)),
        ("green alpha blue red", (4, 1, 3)),
        ("gray", (1, 1, 1)),
        ("gray alpha", (1, 1, 1)),
        ("alpha gray", (2, 2, 2)),
        ("undefined gray", (2, 2, 2)),
    ],
)
def test_the_colour_interpretation_is_followed(kinds: str, rgb: tuple[int, int, int]) -> None:
    said = colours_of(kinds.split(), [None] * len(kinds.split()))
    assert (said.rgb, said.assumed) == (rgb, "")


@pytest.mark.parametrize(
    ("names", "rgb"),
    [
        (("blue", "green", "red", "nir"), (3, 2, 1)),
        (("Blue Band", "GREEN band", "Red band", "NIR band"), (3, 2, 1)),
        (("B02", "B03", "B04", "B08"), (3, 2, 1)),
        (("B08", "B04", "B03", "B02"), (2, 3, 4)),
        (("B04: Red (10 m)", "B03: Green (10 m)", "B02: Blue (10 m)", "B8A"), (1, 2, 3)),
        (("B2_blue", "B3_green", "B4_red", "B5_nir"), (3, 2, 1)),
        (("near infra red", "red edge", "red", "green", "blue"), (3, 4, 5)),
        (("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
         (6, 4, 2)),
        (("B", "G", "R"), (3, 2, 1)),
        (("red-edge", "green", "blue", None), None),
        (("blue-green", "red", "green", "x"), None),
        (("b1", "b2", "b3", "b4"), None),
        (("Band 1", "Band 2", "Band 3", "Band 4"), None),
        (("vegetation", "water", "soil", ""), None),
    ],
)  # fmt: skip
def test_bands_are_known_by_their_names(
    names: tuple[str | None, ...], rgb: tuple[int, int, int] | None
) -> None:
    assert by_name(names) == rgb
    said = colours_of(["gray", *["undefined"] * (len(names) - 1)], names)
    assert said.rgb == (rgb or (1, 2, 3)) and said.stated == (rgb is not None)
    assert bool(said.assumed) == (rgb is None)


def test_numbers_that_satellites_count_differently_are_told() -> None:
    said = colours_of(["gray", *["undefined"] * 3], ["SR_B2", "SR_B3", "SR_B4", "SR_B5"])
    assert said.rgb == (3, 2, 1) and "Landsat 8" in said.assumed


def test_what_nobody_says_is_assumed_aloud() -> None:
    said = colours_of(["alpha", "undefined", "undefined", "undefined"], NONE)
    assert said.rgb == (2, 3, 4)
    assert "bands 2, 3 and 4 are taken" in said.assumed


def test_contradictions_are_told() -> None:
    """What every writer of three bands puts there is no statement; another order is one."""
    usual = colours_of(["red", "green", "blue"], ["B02", "B03", "B04"])
    assert usual.rgb == (3, 2, 1) and "names are followed" in usual.assumed
    meant = colours_of(["blue", "green", "red"], ["red", "green", "blue"])
    assert meant.rgb == (3, 2, 1) and "interpretation is followed" in meant.assumed
    assert colours_of(["red", "green", "blue"], ["Red", "Green", "Blue"]).assumed == ""


@pytest.mark.parametrize(
    ("name", "alpha"),
    [("nir", ()), ("B08", ()), ("Near Infrared", ()), ("b4", (4,)), ("B04", ()), ("alpha", (4,)),
     ("Band 4", (4,)), (None, (4,)), ("B5", ()), ("mask", (4,))],
)  # fmt: skip
def test_a_band_of_light_is_no_transparency(name: str | None, alpha: tuple[int, ...]) -> None:
    assert transparent(["red", "green", "blue", "alpha"], [None, None, None, name]) == alpha


def test_other_models_of_colour_are_known() -> None:
    assert is_another_model(["cyan", "magenta", "yellow", "black"])
    assert is_another_model(["hue", "saturation", "lightness"])
    assert is_another_model(["YCbCr_Y", "YCbCr_Cb", "YCbCr_Cr"])
    assert not is_another_model(["red", "green", "blue", "yellow"])
