"""What was left out of a copy and what was kept, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .options import KEEP, KINDS, Options
from .regions import is_of_points

_REVEALING = ("photos", "parameters", "imagery")
_OF_MODEL = ("model", "cube")
"""Parts of a record that reveal more than the answer; of several models each has its own."""

_PHOTO = {
    "blurred": "Photos are in the reports, hidden until a reader chooses to see them. They are "
    "NOT gone: anyone who has the file has the photo. Use --photo omitted to leave them out.",
    "omitted": "Photos were left out of every file.",
    "shown": "Photos are shown openly in the reports.",
}


@dataclass(frozen=True)
class Statement:
    """What was left out and kept; ``removed``: how many of each kind of KEEP; ``photos``: whether
    there are any; ``regions``: whether answers of cells have regions; ``points``: whether there are
    answers of points, which are regions; ``tandem``: whether there are answers of several models.
    """

    options: Options
    removed: Mapping[str, int]
    photos: bool = True
    regions: bool = False
    points: bool = False
    tandem: bool = False

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]], options: Options) -> Statement:
        """Count what the original records contain of each kind."""
        records = list(records)
        counted = Counter(kind for record in records for kind in _kinds_of(record))
        removed = {k: counted[k] for k in KEEP if counted[k] and k not in options.keep}
        photos = any(record.get("photos") for record in records)
        of_points = [is_of_points(record) for record in records if record.get("regions")]
        tandem = any("tandem" in record for record in records)
        return cls(options, removed, photos, not all(of_points), any(of_points), tandem)

    def lines(self) -> Iterator[str]:
        """In words, one item per line."""
        for kind, count in self.removed.items():
            yield f"Left out: {KEEP[kind]} ({count})."
        yield "Left out: EXIF, XMP and all other metadata of pictures."
        if self.regions:
            yield "Left out: of answers of cells: regions, their maps and their files."
        if self.points:
            yield (
                "Kept: regions with their distances, ranks and numbers of points, and which large "
                "places lie in good ones. Left out: border, provinces, water, forest and names on "
                "their maps."
            )
        if self.tandem:
            which = "" if "names" in self.options.keep else " Left out: which photos these are."
            yield (
                "Kept: what each of several models says of the places, its weight, and how many "
                f"photos are in the bank that their scores compare with.{which}"
            )
        for kind in sorted(self.options.keep):
            yield f"Kept on request: {KEEP[kind]}."
        if self.photos:
            yield _PHOTO[self.options.photo]
        if self.options.imagery:
            yield "Kept: pictures of the imagery, which may be licensed or private (--no-imagery)."
        else:
            yield "Left out: pictures of the imagery."
        if self.options.rounding:
            yield from self._rounded()
        yield (
            "Kept: ranks, distances, method, parameters, versions, the names of area and model, "
            "and digests of photos, model and cube. A photo can be recognized by its SHA-256."
        )

    def _rounded(self) -> Iterator[str]:
        assert self.options.rounding
        yield (
            f"Rounded to {self.options.rounding.text}: every coordinate, the heatmap, the outlines "
            "of areas. Therefore left out: close views, the names of images, the photo's vector, "
            "and the scenes of single places, which would lead to the cell."
        )
        if self.points:
            yield "Regions stay as they are: they are larger than what is rounded to."
        yield (
            "Rounding does not protect against someone who has the same cube: distances and ranks "
            "are unchanged and narrow the place down, and with the photo (or the searched scene) "
            "they can run the query again."
        )

    def to_json(self) -> dict[str, Any]:
        """The same as JSON."""
        rounding = self.options.rounding
        return {
            "kept": sorted(self.options.keep),
            "removed": dict(self.removed),
            "photo": self.options.photo,
            "imagery": self.options.imagery,
            "rounded_to_m": rounding and round(rounding.metres, 3),
        }


def _kinds_of(record: Mapping[str, Any]) -> Iterator[str]:
    tandem = record.get("tandem") or {"models": [record], "bank": []}
    parts = [record.get(part) for part in _REVEALING]
    parts += [tandem["bank"], *(one.get(key) for one in tandem["models"] for key in _OF_MODEL)]
    yield from (kind for part in parts for kind in _kinds(part))
    if record.get("truth"):
        yield "truth"


def _kinds(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key in KINDS and one not in (None, "", [], {}):
                yield KINDS[key]
            if key != "frame":  # whose time is that in the video
                yield from _kinds(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _kinds(one)


def page(statement: Statement, answers: Iterable[Mapping[str, Any]]) -> str:
    """``SHARED.md``."""
    rows = "".join(
        f"| [{one['folder']}]({one['folder']}/report.html) | {_cell(one['title'])} "
        f"| `{one['original_sha256']}` |\n"
        for one in answers
    )
    return (
        "# Shared answers\n\n"
        "Copies of answers of geoloc, made for sharing. **They say where to look first, "
        "not where a photo was taken.**\n\n"
        + "".join(f"- {line}\n" for line in statement.lines())
        + "\n| answer | of | SHA-256 of the original query.json |\n|---|---|---|\n"
        + rows
        + "\nAnyone who has an original can prove that a copy is made from it: `sha256sum "
        "query.json` in its folder gives the digest above, which the copy's query.json contains, "
        "too. That file lists the SHA-256 of each file beside it; shared.json has all of this.\n"
    )


def _cell(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_[]|#!<>&" else c for c in " ".join(text.split()))
