"""Published data sets as pairs: which file belongs to which, and what their lists look like.

``cvusa``        Workman et al. 2015. Full: photos ``flickr/LAT/LON/USER_PHOTO_LAT_LON.jpg`` and
                 ``streetview/cutouts/LAT/LON/LAT_LON_HEADING.jpg`` (also ``streetview/panos``),
                 images ``flickr_aerial/ZOOM/LAT/LON/LAT_LON.jpg`` and ``streetview_aerial/…`` at
                 the zooms 14, 16 and 18; lists ``flickr_images.txt``, ``streetview_images.txt``.
                 Its cropped subset (Zhai et al. 2017): lists ``train-19zl.csv`` and
                 ``val-19zl.csv`` of ``bingmap/19/ID.jpg,streetview/panos/ID.jpg,…``.
``witw``         "Where in the World" (IQT 2022): ``surface/ID.jpg``, ``overhead/ID.jpg``, tables
                 ``train.csv``, ``test.csv`` or ``dataset.csv`` with ``surface_path``,
                 ``overhead_path``, ``lat``, ``lon`` among their columns.
``gtcrossview``  Vo and Hays 2016: "streetview" in a path becomes "overhead". No list of it is
                 known to us, nor places: files are looked for, or a list is named.

``cw`` and ``cgw`` are the study's rules for lists that mix cvusa, (gtcrossview,) and witw. The
study's lists are ``path[,lat,lon[,vector …]]`` of photos, without a header; vectors are passed over
here, as another teacher's would be wrong. What an author laid out otherwise is named by ``zoom``,
``full`` (the study kept uncropped images in ``…_aerial_full`` and photos in ``…_orig``), a list, or
imported as a table.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from ..errors import UsageError
from ..points.places import parse_place
from .classes import IMAGE_SUFFIXES
from .file import Split
from .place_names import heading_in_name, place_in_name
from .trees import Tree, lines_of

DataSet = Literal["cvusa", "witw", "gtcrossview"]
Rule = Literal["cvusa", "witw", "gtcrossview", "cw", "cgw"]
SETS: dict[Rule, tuple[DataSet, ...]] = {
    "cvusa": ("cvusa",), "witw": ("witw",), "gtcrossview": ("gtcrossview",),
    "cw": ("cvusa", "witw"), "cgw": ("cvusa", "witw", "gtcrossview"),
}  # fmt: skip
ZOOMS = (14, 16, 18)
HELD_OUT = ("denver", "detroit", "seattle")
"""Cities that the authors of GTCrossView test on."""

_LISTS: dict[DataSet, tuple[str, ...]] = {
    "cvusa": (
        "train-19zl.csv", "val-19zl.csv", "splits/train-19zl.csv", "splits/val-19zl.csv",
        "flickr_images.txt", "streetview_images.txt",
    ),
    "witw": ("train.csv", "test.csv"),
    "gtcrossview": (),
}  # fmt: skip
_FLICKR_NAME = re.compile(r"\d+@N\d+_\d+_")
_SUFFIXES = (".jpg", ".png", ".jpeg")


@dataclass(frozen=True)
class Listed:
    """A pair by the names of its files in a tree; ``split`` is None where nobody says."""

    photo: str
    overhead: str
    lonlat: tuple[float, float] | None
    split: Split | None
    heading: float | None = None


@dataclass(frozen=True)
class Layout:
    """How a set lies in its tree. zoom: of CVUSA's images; full: those that are not cropped."""

    rule: Rule
    zoom: int = 18
    full: bool = False

    def __post_init__(self) -> None:
        if self.zoom not in ZOOMS:
            raise UsageError(f"zoom {self.zoom}: CVUSA has {', '.join(map(str, ZOOMS))}")


def set_of(photo: str, rule: Rule) -> DataSet | None:
    """Which of a rule's sets a photo is of, by the folders in its path."""
    sets = SETS[rule]
    if len(sets) == 1:
        return sets[0]
    words = PurePosixPath(photo).parts
    if "flickr" in words or ("streetview" in words and {"cutouts", "panos"} & {*words}):
        return "cvusa" if "cvusa" in sets else None
    if "surface" in words:
        return "witw" if "witw" in sets else None
    return "gtcrossview" if "streetview" in photo and "gtcrossview" in sets else None


def overhead_name(photo: str, layout: Layout) -> str | None:
    """The image that belongs to a photo by the study's rules; None for a photo of no set."""
    of = set_of(photo, layout.rule)
    if of == "cvusa":
        return _cvusa_overhead(photo, layout)
    word, other = ("surface", "overhead") if of == "witw" else ("streetview", "overhead")
    return photo.replace(word, other, 1) if of and word in photo else None


def _cvusa_overhead(photo: str, layout: Layout) -> str | None:
    """Photos of several headings and users at a place share its image."""
    path = PurePosixPath(photo)
    parts = path.parts
    aerial = "_aerial_full" if layout.full else "_aerial"
    name = re.sub(r"\.\w+$", ".jpg", path.name)
    if "flickr" in parts:
        at, after = parts.index("flickr"), 1
        name = _FLICKR_NAME.sub("", name, count=1)
    elif {*pairwise(parts)} & {("streetview", w) for w in ("cutouts", "panos")}:
        at, after = parts.index("streetview"), 2
        name = re.sub(r"^([^_]+_[^_]+)_[^_]+\.jpg$", r"\1.jpg", name)
    else:
        return None
    kept = (*parts[:at], parts[at] + aerial, str(layout.zoom), *parts[at + after : -1])
    return str(PurePosixPath(*kept, name))


def list_pairs(tree: Tree, layout: Layout, lists: Sequence[Path] = ()) -> Iterator[Listed]:
    """The pairs of a set: those of ``lists``, else of its own lists, else all that are found.

    Files need not be there: see `present`. Raises UsageError for a list that cannot be read, a line
    of no set, and a tree without any.
    """
    for path in lists:
        yield from _of_named_list(path, layout)
    if lists:
        return
    count = 0
    for of in SETS[layout.rule]:
        for listed in _of_set(tree, of, layout):
            count += 1
            yield listed
    if not count:
        raise UsageError(
            f"no pairs of {layout.rule} here: name the folder that holds its folders and lists, or "
            "a list by --list"
        )


def _of_set(tree: Tree, of: DataSet, layout: Layout) -> Iterator[Listed]:
    one = Layout(of, layout.zoom, layout.full)
    found = [name for name in _LISTS[of] if tree.has(name)]
    if of == "witw" and not found and tree.has("dataset.csv"):
        found = ["dataset.csv"]
    for name in found:
        yield from _of_list(name, tree.lines(name), one)
    if not found:
        yield from _walked(tree, of, one)


def _walked(tree: Tree, of: DataSet, layout: Layout) -> Iterator[Listed]:
    """All photos of a set that has no list."""
    for name in tree.names():
        if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES or not _is_photo(name, of):
            continue
        overhead = overhead_name(name, layout)
        if overhead is not None:
            yield Listed(
                name, overhead, place_in_name(name), _split_of_city(name, of), heading_in_name(name)
            )


def _is_photo(name: str, of: DataSet) -> bool:
    parts = PurePosixPath(name).parts
    if of == "cvusa":
        return "flickr" in parts or ("streetview" in parts and "annotations" not in parts)
    if of == "witw":
        return "surface" in parts
    return "streetview" in name and "streetview_aerial" not in name and set_of(name, "cgw") == of


def _split_of_city(name: str, of: DataSet) -> Split | None:
    """The authors' split of GTCrossView, by the folder of the city."""
    if of != "gtcrossview":
        return None
    cities = [part.lower() for part in PurePosixPath(name).parts[:-1]]
    return "test" if any(city.startswith(HELD_OUT) for city in cities) else "train"


def _of_named_list(path: Path, layout: Layout) -> Iterator[Listed]:
    try:
        with path.open("rb") as file:
            yield from _of_list(path.name, lines_of(path.name, file), layout)
    except OSError as error:
        raise UsageError(f"list {path} cannot be read: {error.strerror}") from None


def _of_list(name: str, lines: Iterator[str], layout: Layout) -> Iterator[Listed]:
    """The pairs of a list: of the cropped CVUSA, a table of WITW, or the study's."""
    head = next(lines, "")
    lines = chain([head], lines)
    split = _split_of_list(name)
    first = next(csv.reader([head]), [])
    if {"surface_path", "overhead_path"} <= {*first}:
        return _of_table(name, lines, split)
    if len(first) >= 2 and PurePosixPath(first[1]).suffix.lower() in IMAGE_SUFFIXES:
        return (
            Listed(row[1].strip(), row[0].strip(), None, split)
            for row in csv.reader(lines)
            if len(row) >= 2
        )
    return _of_study(name, lines, split, layout)


def _split_of_list(name: str) -> Split | None:
    """Of a file such as ``val-19zl.csv``: what its authors validate on is tested on here."""
    stem = PurePosixPath(name).stem.lower()
    if stem.startswith(("val", "test")):
        return "test"
    return "train" if stem.startswith("train") else None


def _of_table(name: str, lines: Iterator[str], split: Split | None) -> Iterator[Listed]:
    for number, row in enumerate(csv.DictReader(lines), 2):
        place = None
        if row.get("lat") and row.get("lon"):
            place = parse_place(f"{name}:{number}", row["lon"], row["lat"])
        yield Listed(row["surface_path"].strip(), row["overhead_path"].strip(), place, split)


def _of_study(
    name: str, lines: Iterator[str], split: Split | None, layout: Layout
) -> Iterator[Listed]:
    """``path[,lat,lon[,vector …]]``; without a place, that of the file name."""
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split(",", 3)]
        if not cells[0]:
            continue
        where = f"{name}:{number}"
        overhead = overhead_name(cells[0], layout)
        if overhead is None:
            raise UsageError(
                f"{where}: {cells[0][:80]!r} is no photo of {layout.rule}: use one of "
                f"{', '.join(get_args(Rule))}, or import a table"
            )
        told = len(cells) >= 3 and cells[1] and cells[2]
        place = parse_place(where, cells[2], cells[1]) if told else place_in_name(cells[0])
        yield Listed(cells[0], overhead, place, split, heading_in_name(cells[0]))


def present(tree: Tree, listed: Listed, layout: Layout) -> Listed | str:
    """The pair with the names its files have in the tree, or what is missing."""
    photo = _there(tree, _originals(listed.photo) if layout.full else [listed.photo])
    if photo is None:
        return f"{listed.photo} does not exist"
    overhead = _there(tree, _spellings(listed.overhead, layout.full))
    if overhead is None:
        return f"{listed.overhead}, the partner of {listed.photo}, does not exist"
    return Listed(photo, overhead, listed.lonlat, listed.split, listed.heading)


def _there(tree: Tree, names: Sequence[str]) -> str | None:
    return next((name for name in names if tree.has(name)), None)


def _originals(photo: str) -> list[str]:
    """Where the study kept a photo that it cropped, first."""
    return [re.sub(r"(^|/)(flickr|streetview)/", r"\1\2_orig/", photo, count=1), photo]


def _spellings(name: str, full: bool) -> list[str]:
    """The same image with other suffixes; the uncropped ones may be all that there are."""
    stems = [re.sub(r"\.\w+$", "", name)]
    stems += [stems[0].replace("_aerial_full/", "_aerial/", 1)] if full else []
    given = PurePosixPath(name).suffix
    endings = dict.fromkeys([given, *_SUFFIXES])
    return [stem + ending for stem in stems for ending in endings]
