"""Which bands of an image are red, green and blue, by its metadata.

Files state it by the colour interpretation and the names of their bands, catalogs by the common
names of STAC (https://github.com/stac-extensions/eo). Pure functions; nothing is read here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Rgb = tuple[int, int, int]
"""Numbers of the red, green and blue bands, counted from 1."""

COLOURS = ("red", "green", "blue")

_LETTERS = {"r": "red", "g": "green", "b": "blue"}
_SENTINEL = {"b04": "red", "b03": "green", "b02": "blue"}
_BARE = {"b4": "red", "b3": "green", "b2": "blue"}  # Sentinel-2 or Landsat 8; not Landsat 7
_LIGHT = {
    "edge", "rededge", "near", "infra", "infrared", "nir", "swir", "coastal", "yellow", "cyan",
    "far", "thermal",
}  # fmt: skip
_OTHERS = _LIGHT | {"minus", "ratio", "index", "mask"}
_NOT_RGB = {"cyan", "magenta", "yellow", "black", "hue", "saturation", "lightness", "Y", "Cb", "Cr"}
_ENOUGH = 3


@dataclass(frozen=True)
class BandChoice:
    """The bands to use; ``assumed``: why, as the end of a sentence, if that is uncertain.

    ``stated`` is False if nothing states it and they are simply the first bands.
    """

    rgb: Rgb
    assumed: str = ""
    stated: bool = True


def colours_of(kinds: Sequence[str], names: Sequence[str | None]) -> BandChoice:
    """Red, green and blue of a file whose bands have these colour interpretations and names.

    A file with fewer than three colour bands is grey. Where the two disagree, the names win if the
    interpretation is only the default of a file with three bands.
    """
    clear = transparent(kinds, names)
    colours = [number for number in range(1, len(kinds) + 1) if number not in clear]
    painted, named = _by_kind(kinds), by_name(names)
    if painted and named and painted != named:
        usual = painted == tuple(colours[:3])
        rgb, source = (named, "names are") if usual else (painted, "interpretation is")
        return BandChoice(
            rgb,
            f"has {_listed(painted)} as red, green and blue by colour interpretation, "
            f"{_listed(named)} by band names: the {source} followed",
        )
    if painted:
        return BandChoice(painted)
    if named:
        return BandChoice(named, _doubt_of_names(names))
    if len(colours) < _ENOUGH:
        grey = next((n for n in colours if kinds[n - 1] == "gray"), colours[0] if colours else 1)
        return BandChoice((grey, grey, grey), stated="gray" in kinds)
    first = colours[0], colours[1], colours[2]
    return BandChoice(
        first,
        f"does not say which of its {len(kinds)} bands are red, green and blue: "
        f"{_listed(first)} are taken, in this order",
        stated=False,
    )


def transparent(kinds: Sequence[str], names: Sequence[str | None]) -> tuple[int, ...]:
    """The alpha bands; one named after a part of the spectrum is not alpha.

    Writers of four byte bands mark the last as alpha by default.
    """
    bands = zip(kinds, names, strict=True)
    return tuple(
        n for n, (kind, name) in enumerate(bands, 1) if kind == "alpha" and not of_light(name, n)
    )


def of_light(name: str | None, number: int) -> bool:
    """Whether a band is named after a part of the spectrum: red, NIR, B08.

    A name that only repeats the band's own number, such as b4 of the fourth, is not.
    """
    words = re.findall(r"[a-z]+\d*[a-z]?", str(name or "").lower())
    numbered = (re.fullmatch(r"b(0?\d+)a?", word) for word in words)
    own = str(number)
    return any(match and match[1] != own for match in numbered) or bool(
        {*words} & {*COLOURS, *_LIGHT}
    )


def is_another_model(kinds: Sequence[str]) -> bool:
    """Whether bands hold another colour model than RGB: CMYK, HSL, YCbCr."""
    return len({kind.removeprefix("YCbCr_") for kind in kinds} & _NOT_RGB) >= _ENOUGH


def by_name(*ways: Sequence[str | None]) -> Rgb | None:
    """The bands named red, green and blue, in words or by satellite band numbers.

    ``ways``: alternative lists of names of all bands; words in any of them precede numbers.
    """
    texts = [[str(name or "").strip().lower() for name in names] for names in ways]
    candidates = (_complete(reading(names)) for reading in _READINGS for names in texts)
    return next((rgb for rgb in candidates if rgb), None)


def _by_kind(kinds: Sequence[str]) -> Rgb | None:
    return _complete([kind if kind in COLOURS else None for kind in kinds])


def _complete(colours: Sequence[str | None]) -> Rgb | None:
    """The first band of each colour; None unless all three exist."""
    if not set(COLOURS) <= set(colours):
        return None
    red, green, blue = (colours.index(colour) + 1 for colour in COLOURS)
    return red, green, blue


def _colour_word(text: str) -> str | None:
    words = set(re.findall(r"[a-z]+", text))
    colours = [colour for colour in COLOURS if colour in words]
    return colours[0] if len(colours) == 1 and not words & _OTHERS else None


def _plain_words(names: Sequence[str]) -> list[str | None]:
    return [name if name in COLOURS else None for name in names]


def _words(names: Sequence[str]) -> list[str | None]:
    return [_colour_word(name) for name in names]


def _sentinel(names: Sequence[str]) -> list[str | None]:
    return [_satellite(name, _SENTINEL) for name in names]


def _bare(names: Sequence[str]) -> list[str | None]:
    """Colours by satellite band numbers, unless these merely count the file's bands."""
    digits = [re.sub(r"\D", "", name) for name in names]
    counted = digits == [str(n) for n in range(1, len(names) + 1)]
    return [None if counted else _satellite(name, _BARE) for name in names]


def _single_letters(names: Sequence[str]) -> list[str | None]:
    return [_LETTERS.get(name) for name in names]


_READINGS = (_plain_words, _words, _sentinel, _bare, _single_letters)
"""Ways to read band names, the most certain first."""


def _satellite(text: str, bands: dict[str, str]) -> str | None:
    words = re.findall(r"[a-z]+\d+[a-z]?|[a-z]+|\d+", text)
    return next((bands[word] for word in words if word in bands), None)


def _doubt_of_names(names: Sequence[str | None]) -> str:
    texts = [str(name or "").strip().lower() for name in names]
    if any(_complete(reading(texts)) for reading in _READINGS if reading is not _bare):
        return ""
    return (
        "has bands called B4, B3 and B2, which are taken as red, green and blue, as Sentinel-2 and "
        "Landsat 8 count them"
    )


def _listed(bands: Rgb) -> str:
    return "bands {}, {} and {}".format(*bands)
