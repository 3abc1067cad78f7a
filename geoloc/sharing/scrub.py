"""The values of a record that a copy may have: those that are named here, and nothing else.

Every function takes what a record says and gives back what may be told of it. Text is taken only
where it is a word of the field, such as a scene class or a CRS, or where the user named its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from ..query.coverage import UNKNOWN
from ..query.options import QueryOptions
from .options import Options

Record = Mapping[str, Any]
Place = Callable[[float, float], tuple[float, float]]
"""lon, lat (degrees) as the copy has them."""

_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[\w .,:;()+°%-]{1,120}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][0-9:.]+(?:Z|[+-]\d{2}:?\d{2})?)?")
_SUFFIX = re.compile(
    r"\.(?:jpe?g|png|heic|heif|avif|webp|gif|tiff?|bmp|dng|cr2|cr3|nef|arw|orf|rw2|raf|jxl|jp2"
    r"|mp4|mov|m4v|mkv|webm|avi|3gp|mpe?g|ts|wmv)",
    re.IGNORECASE,
)

_OF_CUBE = re.compile(r"\d+ of \d+ blocks of this cube are not built yet: .{1,60}")
_OF_IMAGERY = re.compile(r"The report shows [^:/\\]{1,60}(?=:)")
_OF_PART = "the part of "
_OF_PHOTO = re.compile(": | has only | that was looked at has only ")

_OF_MESSAGES = {
    "captions": ("text",),
    "senders": ("from", "forwarded_from", "forwarded_from_id", "saved_from"),
    "chat": ("chat", "id", "kind", "reply_to"),
    "time": ("date", "forwarded_date"),
    "paths": ("export",),
}
_CUBE_NUMBERS = (
    "step", "cells", "classes", "metric", "blocks_done", "blocks_broken", "blocks_missing",
    "blocks_outside", "missing_cells", "saturated_values",
)  # fmt: skip
_SUMMARY_NUMBERS = ("cells", "cells_known", "cells_asked", "cells_unsearched")


@dataclass(frozen=True)
class Scrub:
    """How records are told; ``names``: by SHA-256, what originals are called in the copy."""

    options: Options
    names: Mapping[str, str]
    place: Place

    def keeps(self, *words: str) -> bool:
        """Whether all of these may stay."""
        return self.options.keep.issuperset(words)

    def photo(self, told: Record) -> dict[str, Any]:
        """A photo's record."""
        return {
            "file": self.names[told["sha256"]],
            **({"path": told["path"]} if self.keeps("paths") else {}),
            "sha256": digest(told["sha256"]),
            "size": numbers(told.get("size")),
            "exif": self.exif(told.get("exif")),
            **self.origin(told),
        }

    def exif(self, told: Any) -> dict[str, Any]:
        """What the file claims."""
        found = told if isinstance(told, Mapping) else {}
        kept: dict[str, Any] = {}
        if self.keeps("time") and (moment := date(found.get("time"))):
            kept["time"] = moment
        if self.keeps("gps") and (place := self.position(found.get("gps"))):
            kept["gps"] = place
        return kept

    def position(self, told: Any) -> dict[str, float] | None:
        """A place as messages and files tell it."""
        try:
            lon, lat = self.place(float(told["lon"]), float(told["lat"]))
        except (KeyError, TypeError, ValueError):
            return None
        return {"lon": lon, "lat": lat}

    def origin(self, told: Record) -> dict[str, Any]:
        """What was looked at, and what is known of where it is from."""
        frame = told.get("frame") if isinstance(told.get("frame"), Mapping) else None
        kept: dict[str, Any] = {
            "frame": frame and _frame(frame),
            "crop": numbers(told.get("crop")),
            "rotate": number(told.get("rotate")),
            "pixels_sha256": digest(told.get("pixels_sha256")),
            "messages": [self.message(one) for one in mappings(told.get("messages"))],
            "copies": [self.copy(n, one) for n, one in enumerate(mappings(told.get("copies")), 1)],
            "claims": list(filter(None, map(self.claim, mappings(told.get("claims"))))),
        }  # fmt: skip
        if self.keeps("gps", "time", "names", "chat", "paths") and not self.options.rounding:
            kept["conflicts"] = texts(told.get("conflicts"))
        if self.keeps("paths"):
            kept["fetched_from"] = text(told.get("fetched_from"))
            kept["fetched_at"] = date(told.get("fetched_at"))
        kept["messages"] = list(filter(None, kept["messages"]))
        return {key: value for key, value in kept.items() if value not in (None, [], {})}

    def message(self, told: Record) -> dict[str, Any]:
        """What may be told of a message."""
        kept = {
            key: told[key]
            for kind, keys in _OF_MESSAGES.items()
            if self.keeps(kind)
            for key in keys
            if isinstance(told.get(key), str | int)
        }
        place = self.position(told.get("place")) if self.keeps("gps") else None
        return kept | ({"place": place} if place else {})

    def copy(self, number_: int, told: Record) -> dict[str, Any]:
        """One of the copies of a picture that the run saw."""
        name = str(told.get("file", ""))
        kept = {
            "file": self._name_of_copy(name, number_),
            "path": text(told.get("path")) if self.keeps("paths") else None,
            "how": word(told.get("how")),
            "sha256": digest(told.get("sha256")),
            "bytes": number(told.get("bytes")),
            "size": numbers(told.get("size")),
            "exif": self.exif(told.get("exif")),
            "messages": list(filter(None, map(self.message, mappings(told.get("messages"))))),
        }
        return {key: value for key, value in kept.items() if value not in (None, [], {})}

    def _name_of_copy(self, name: str, number_: int) -> str:
        """A copy's name, below its folder where paths may be told."""
        if not self.keeps("names"):
            return f"copy {number_}"
        return name if self.keeps("paths") else base_name(name)

    def claim(self, told: Record) -> dict[str, Any]:
        """A claim of a place or a time; by whom, where names and chats may be told."""
        place = self.position(told.get("place")) if self.keeps("gps") else None
        moment = date(told.get("time")) if self.keeps("time") else None
        if not (place or moment):
            return {}
        by = text(told.get("by")) if self.keeps("names", "chat", "paths") else None
        kept = {"place": place, "time": moment, "by": by}
        return {key: value for key, value in kept.items() if value is not None}

    def parameters(self, told: Record) -> dict[str, Any]:
        """What was asked; of the polygon its digest."""
        within = told.get("within")
        return {
            **{key: plain(told.get(key)) for key in QueryOptions.shared()},
            "within": text(within) if self.keeps("paths") else None,
            "within_given": within is not None,
            "within_sha256": digest(told.get("within_sha256")),
        }

    def model(self, told: Record) -> dict[str, Any]:
        """The model by its name and digests."""
        kept = {
            **{key: word(told.get(key)) for key in ("name", "ground", "overhead")},
            **{key: number(told.get(key)) for key in ("dim", "patch_px", "metric")},
            "digest": digest(told.get("digest")),
            "methods": [w for w in map(word, sequence(told.get("methods"))) if w],
            "gsd": numbers(told.get("gsd")),
            "files": digests(told.get("files")),
            "path": text(told.get("path")) if self.keeps("paths") else None,
        }
        return {key: value for key, value in kept.items() if value is not None}

    def cube(self, told: Record) -> dict[str, Any]:
        """The cube by its generation and what it holds."""
        words = ("model", "crs", "generation")
        kept: dict[str, Any] = {
            **{key: label(told.get(key)) for key in ("area", "name")},
            **{key: word(told.get(key)) for key in words},
            **{key: number(told.get(key)) for key in _CUBE_NUMBERS},
            **{key: date(told.get(key)) for key in ("imagery_first", "imagery_last", "created")},
            "model_digest": digest(told.get("model_digest")),
            "encoding": plain(told.get("encoding")),
            "cube": text(told.get("cube")) if self.keeps("paths") else None,
            "bounds": None if self.options.rounding else numbers(told.get("bounds")),
        }
        return {key: value for key, value in kept.items() if value is not None}

    def imagery(self, told: Any) -> list[dict[str, Any]]:
        """The images near candidates, and their days; when rounded, days alone.

        By the ids of their catalog; what lies on a disk has the names that somebody gave its files.
        """
        records = list(mappings(told))
        if self.options.rounding:
            days = {day for one in records if (day := date(one.get("date")))}
            return [{"date": day} for day in sorted(days)]
        return [self._image(n, one) for n, one in enumerate(records, start=1)]

    def _image(self, count: int, told: Record) -> dict[str, Any]:
        known = self.keeps("paths") or _REMOTE.match(str(told.get("href")))
        kept = {
            "id": (known and word(told.get("id"))) or f"image {count}",
            "date": date(told.get("date")),
            "candidates": numbers(told.get("candidates")),
        }
        if self.keeps("paths"):
            kept["href"] = text(told.get("href"))
        return kept

    def notes(self, told: Any, photos: Iterable[Record]) -> tuple[str, ...]:
        """The notes for the reader, as far as they are known sentences: originals by their new
        names, and nothing that names a place of a disk or an address."""
        photos, lines = list(photos), texts(told)
        of_cube = (line for line in lines if line == UNKNOWN or _OF_CUBE.fullmatch(line))
        shown = (f"{found[0]}." for line in lines if (found := _OF_IMAGERY.match(line)))
        of_photos = (
            note for line in lines for photo in photos if (note := self._note(line, photo))
        )
        return tuple(dict.fromkeys((*of_cube, *shown, *of_photos)))

    def _note(self, line: str, photo: Record) -> str:
        """A sentence on a photo, which begins with its name; empty where it is another."""
        old, new = str(photo["file"]), self.names[photo["sha256"]]
        part = _OF_PART if line.startswith(_OF_PART) else ""
        rest = line.removeprefix(part).removeprefix(old)
        known = line.startswith(part + old) and _OF_PHOTO.match(rest)
        return f"{part}{new}{rest}" if known and not re.search(r"[/\\]", rest) else ""


def _frame(told: Record) -> dict[str, Any]:
    return {
        "time": number(told.get("time")),
        "reason": word(told.get("reason")),
        "sha256": digest(told.get("sha256")),
    }


def summary(told: Record, *, coarse: bool = False) -> dict[str, Any]:
    """The figures of the whole heatmap; of a coarse copy without the digest of the fine one, which
    finds the cell by trial where few were searched."""
    scenes = [
        {"scene": word(one.get("scene")), "share": number(one.get("share"))}
        for one in mappings(told.get("scenes"))
    ]
    return {
        **{key: number(told[key]) for key in _SUMMARY_NUMBERS if key in told},
        "unsearched_reasons": measures(told.get("unsearched_reasons")),
        "heatmap_sha256": None if coarse else digest(told.get("heatmap_sha256")),
        "distance_quantiles": measures(told.get("distance_quantiles")),
        "scenes": scenes,
    }


def versions(told: Any) -> dict[str, str]:
    """Of what took part; of the platform its kind alone, as the rest tells machines apart."""
    found = told if isinstance(told, Mapping) else {}
    kept = {str(key): w for key, value in found.items() if word(key) and (w := word(value))}
    if "platform" in kept:
        kept["platform"] = kept["platform"].partition("-")[0]
    return kept


def neutral_names(records: Iterable[Record]) -> dict[str, str]:
    """What the originals are called in the copy, by SHA-256: ``photo-1.jpg`` and so on."""
    names: dict[str, str] = {}
    for record in records:
        for photo in record["photos"]:
            if photo["sha256"] not in names:
                names[photo["sha256"]] = _neutral(photo, len(names) + 1)
    return names


def own_names(record: Record) -> dict[str, str]:
    """By SHA-256, what an answer's own record calls its originals: another may say otherwise."""
    return {photo["sha256"]: base_name(photo["file"]) for photo in record["photos"]}


def _neutral(photo: Record, count: int) -> str:
    suffix = PurePosixPath(str(photo["file"])).suffix
    kind = "video" if photo.get("frame") else "photo"
    return f"{kind}-{count}{suffix.lower() if _SUFFIX.fullmatch(suffix) else ''}"


def base_name(name: str) -> str:
    """The last part of a path of any system."""
    return PureWindowsPath(name).name or "photo"


def text(value: Any) -> str | None:
    """Text of any kind, for what the user named."""
    return value if isinstance(value, str) else None


def texts(value: Any) -> list[str]:
    """All text of a list."""
    return [one for one in sequence(value) if isinstance(one, str)]


def word(value: Any) -> str | None:
    """A name of the field: short, without separators of paths."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def label(value: Any) -> str:
    """The name that somebody gave an area; empty for what is none."""
    fit = isinstance(value, str) and re.fullmatch(r"[^/\\\x00-\x1f]{1,100}", value)
    return str(value) if fit else ""


def date(value: Any) -> str | None:
    """A day or moment, ISO 8601."""
    return value if isinstance(value, str) and _DATE.fullmatch(value) else None


def digest(value: Any) -> str | None:
    """A SHA-256, hex."""
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else None


def digests(value: Any) -> dict[str, str]:
    """SHA-256 by name."""
    found = value if isinstance(value, Mapping) else {}
    return {key: d for key, one in found.items() if word(key) and (d := digest(one))}


def number(value: Any) -> float | None:
    """A number, or true and false."""
    return value if isinstance(value, int | float) else None


def numbers(value: Any) -> list[float] | None:
    """A list of numbers."""
    found = [number(one) for one in sequence(value)]
    return [one for one in found if one is not None] if isinstance(value, list | tuple) else None


def measures(value: Any) -> dict[str, float]:
    """Numbers by name."""
    found = value if isinstance(value, Mapping) else {}
    return {key: n for key, one in found.items() if word(key) and (n := number(one)) is not None}


def plain(value: Any) -> Any:
    """Numbers, words, and lists and mappings of such."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items() if word(key)}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return word(value) if isinstance(value, str) else number(value)


def mappings(value: Any) -> Iterator[Record]:
    """All mappings of a list."""
    yield from (one for one in sequence(value) if isinstance(one, Mapping))


def sequence(value: Any) -> Sequence[Any]:
    """A list, or none."""
    return value if isinstance(value, list | tuple) else ()
