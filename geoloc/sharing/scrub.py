"""The values of a record that a copy may have: those listed here, and nothing else.

Every function takes a part of a record and returns what may be shared of it. Text is kept only if
it is a term of the field, such as a scene class or a CRS, or if the user asked to keep its kind.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from ..query.anew import ASKED_ANEW
from ..query.coverage import UNKNOWN
from ..query.options import QueryOptions
from ..query.tandem.notes import not_asked
from .options import Options

Record = Mapping[str, Any]
Place = Callable[[float, float], tuple[float, float]]
"""Maps lon, lat (degrees) to those in the copy."""

_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[\w .,:;()+°%-]{1,120}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][0-9:.]+(?:Z|[+-]\d{2}:?\d{2})?)?")
_SUFFIX = re.compile(
    r"\.(?:jpe?g|png|heic|heif|avif|webp|gif|tiff?|bmp|dng|cr2|cr3|nef|arw|orf|rw2|raf|jxl|jp2"
    r"|mp4|mov|m4v|mkv|webm|avi|3gp|mpe?g|ts|wmv)\Z",
    re.IGNORECASE,
)

_OF_CUBE = re.compile(r"\d+ of \d+ blocks of this cube are not built yet: .{1,60}")
_OF_IMAGERY = re.compile(r"The report shows [^:/\\]{1,60}(?=:)")
_NOT_ASKED = re.compile(
    r"Model (.{1,200}?) has no part in this answer, as it does not know what is asked for"
    r"(?:\.|: .+)"
)
_OF_PART = "the part of "
_OF_PHOTO = re.compile(": | has only | that was looked at has only ")

_OF_MESSAGES = {
    "captions": ("text",),
    "senders": ("from", "forwarded_from", "forwarded_from_id", "saved_from"),
    "chat": ("chat", "id", "kind", "reply_to"),
    "time": ("date", "edited", "forwarded_date"),
    "paths": ("export",),
}
_CUBE_NUMBERS = (
    "step", "cells", "classes", "metric", "blocks_done", "blocks_broken", "blocks_missing",
    "blocks_outside", "missing_cells", "saturated_values",
)  # fmt: skip
_SUMMARY_NUMBERS = ("cells", "cells_known", "cells_asked", "cells_unsearched")


@dataclass(frozen=True)
class Scrub:
    """How records are scrubbed; ``names``: of originals in the copy, by SHA-256."""

    options: Options
    names: Mapping[str, str]
    place: Place

    def keeps(self, *words: str) -> bool:
        """Whether all of these may stay."""
        return self.options.keep.issuperset(words)

    def photo(self, record: Record) -> dict[str, Any]:
        """A photo's record."""
        return {
            "file": self.names[record["sha256"]],
            **({"path": record["path"]} if self.keeps("paths") else {}),
            "sha256": digest(record["sha256"]),
            "size": numbers(record.get("size")),
            "exif": self.exif(record.get("exif")),
            **self.origin(record),
        }

    def exif(self, value: Any) -> dict[str, Any]:
        """The claims of the file."""
        claims = value if isinstance(value, Mapping) else {}
        kept: dict[str, Any] = {}
        if self.keeps("time") and (moment := date(claims.get("time"))):
            kept["time"] = moment
        if self.keeps("gps") and (place := self.position(claims.get("gps"))):
            kept["gps"] = place
        return kept

    def position(self, value: Any) -> dict[str, float] | None:
        """A place as in messages and files."""
        try:
            lon, lat = self.place(float(value["lon"]), float(value["lat"]))
        except (KeyError, TypeError, ValueError):
            return None
        return {"lon": lon, "lat": lat}

    def origin(self, record: Record) -> dict[str, Any]:
        """The queried part, and what is known of its source."""
        frame = record.get("frame") if isinstance(record.get("frame"), Mapping) else None
        kept: dict[str, Any] = {
            "frame": frame and _frame(frame),
            "crop": numbers(record.get("crop")),
            "rotate": number(record.get("rotate")),
            "pixels_sha256": digest(record.get("pixels_sha256")),
            "messages": [self.message(one) for one in mappings(record.get("messages"))],
            "copies": list(map(self.copy, itertools.count(1), mappings(record.get("copies")))),
            "claims": list(filter(None, map(self.claim, mappings(record.get("claims"))))),
        }  # fmt: skip
        if self.keeps("gps", "time", "names", "chat", "paths") and not self.options.rounding:
            kept["conflicts"] = texts(record.get("conflicts"))
        if self.keeps("paths"):
            kept["fetched_from"] = text(record.get("fetched_from"))
            kept["fetched_at"] = date(record.get("fetched_at"))
        kept["messages"] = list(filter(None, kept["messages"]))
        return {key: value for key, value in kept.items() if value not in (None, [], {})}

    def message(self, record: Record) -> dict[str, Any]:
        """The parts of a message that may be shared."""
        kept = {
            key: record[key]
            for kind, keys in _OF_MESSAGES.items()
            if self.keeps(kind)
            for key in keys
            if isinstance(record.get(key), str | int)
        }
        place = self.position(record.get("place")) if self.keeps("gps") else None
        return kept | ({"place": place} if place else {})

    def copy(self, count: int, record: Record) -> dict[str, Any]:
        """One of the copies of a picture that a bulk run found."""
        name = str(record.get("file", ""))
        kept = {
            "file": self._name_of_copy(name, count),
            "path": text(record.get("path")) if self.keeps("paths") else None,
            "how": word(record.get("how")),
            "sha256": digest(record.get("sha256")),
            "bytes": number(record.get("bytes")),
            "size": numbers(record.get("size")),
            "exif": self.exif(record.get("exif")),
            "messages": list(filter(None, map(self.message, mappings(record.get("messages"))))),
        }
        return {key: value for key, value in kept.items() if value not in (None, [], {})}

    def _name_of_copy(self, name: str, count: int) -> str:
        """A copy's name, with its folders if paths may be shared."""
        if not self.keeps("names"):
            return f"copy {count}"
        return name if self.keeps("paths") else base_name(name)

    def claim(self, record: Record) -> dict[str, Any]:
        """A claim of a place or a time; by whom, if names and chats may be shared."""
        place = self.position(record.get("place")) if self.keeps("gps") else None
        moment = date(record.get("time")) if self.keeps("time") else None
        if not (place or moment):
            return {}
        by = text(record.get("by")) if self.keeps("names", "chat", "paths") else None
        kept = {"place": place, "time": moment, "by": by}
        return {key: value for key, value in kept.items() if value is not None}

    def parameters(self, record: Record) -> dict[str, Any]:
        """The query; of the polygon its digest."""
        within = record.get("within")
        return {
            **{key: plain(record.get(key)) for key in QueryOptions.shared()},
            "within": text(within) if self.keeps("paths") else None,
            "within_given": within is not None,
            "within_sha256": digest(record.get("within_sha256")),
        }

    def model(self, record: Record) -> dict[str, Any]:
        """The model by its name and digests."""
        kept = {
            **{key: word(record.get(key)) for key in ("name", "ground", "overhead")},
            **{key: number(record.get(key)) for key in ("dim", "patch_px", "metric")},
            "digest": digest(record.get("digest")),
            "methods": [w for w in map(word, sequence(record.get("methods"))) if w],
            "gsd": numbers(record.get("gsd")),
            "files": digests(record.get("files")),
            "path": text(record.get("path")) if self.keeps("paths") else None,
        }
        return {key: value for key, value in kept.items() if value is not None}

    def cube(self, record: Record) -> dict[str, Any]:
        """The cube by its generation and figures."""
        words = ("model", "crs", "generation")
        kept: dict[str, Any] = {
            **{key: label(record.get(key)) for key in ("area", "name")},
            **{key: word(record.get(key)) for key in words},
            **{key: number(record.get(key)) for key in _CUBE_NUMBERS},
            **{key: date(record.get(key)) for key in ("imagery_first", "imagery_last", "created")},
            "model_digest": digest(record.get("model_digest")),
            "encoding": plain(record.get("encoding")),
            "cube": text(record.get("cube")) if self.keeps("paths") else None,
            "bounds": None if self.options.rounding else numbers(record.get("bounds")),
        }
        return {key: value for key, value in kept.items() if value is not None}

    def imagery(self, value: Any) -> list[dict[str, Any]]:
        """The images near candidates and their days; if rounded, days alone.

        Images have the ids of their catalog; ids of files on disk, which users named, are replaced.
        """
        records = list(mappings(value))
        if self.options.rounding:
            days = {day for record in records if (day := date(record.get("date")))}
            return [{"date": day} for day in sorted(days)]
        return [self._image(n, record) for n, record in enumerate(records, start=1)]

    def _image(self, count: int, record: Record) -> dict[str, Any]:
        known = self.keeps("paths") or _REMOTE.match(str(record.get("href")))
        kept = {
            "id": (known and word(record.get("id"))) or f"image {count}",
            "date": date(record.get("date")),
            "candidates": numbers(record.get("candidates")),
        }
        if self.keeps("paths"):
            kept["href"] = text(record.get("href"))
        return kept

    def bank(self, value: Any) -> Iterator[dict[str, Any]]:
        """The unrelated photos of a bank: which they are, if names may be shared."""
        for count, record in enumerate(mappings(value), start=1):
            if not self.keeps("names"):
                yield {"file": f"bank photo {count}"}
                continue
            kept = {"file": base_name(str(record.get("file", ""))), "path": None}
            if self.keeps("paths"):
                kept["path"] = text(record.get("path"))
            kept["sha256"] = digest(record.get("sha256"))
            yield {key: value for key, value in kept.items() if value is not None}

    def notes(self, value: Any, photos: Iterable[Record]) -> tuple[str, ...]:
        """The notes for the reader that are known sentences, with the new names of originals and
        without paths and URLs."""
        photos, lines = list(photos), texts(value)
        of_cube = (
            line for line in lines if line in (UNKNOWN, ASKED_ANEW) or _OF_CUBE.fullmatch(line)
        )
        not_known = (
            not_asked(word(match[1]) or "of another name")
            for line in lines
            if (match := _NOT_ASKED.fullmatch(line))
        )
        shown = (f"{match[0]}." for line in lines if (match := _OF_IMAGERY.match(line)))
        of_photos = (
            note for line in lines for photo in photos if (note := self._note(line, photo))
        )
        return tuple(dict.fromkeys((*of_cube, *not_known, *shown, *of_photos)))

    def _note(self, line: str, photo: Record) -> str:
        """A sentence that begins with a photo's name; empty for any other."""
        old, new = str(photo["file"]), self.names[photo["sha256"]]
        part = _OF_PART if line.startswith(_OF_PART) else ""
        rest = line.removeprefix(part).removeprefix(old)
        known = line.startswith(part + old) and _OF_PHOTO.match(rest)
        return f"{part}{new}{rest}" if known and not re.search(r"[/\\]", rest) else ""


def _frame(record: Record) -> dict[str, Any]:
    return {
        "time": number(record.get("time")),
        "reason": word(record.get("reason")),
        "sha256": digest(record.get("sha256")),
    }


def summary(record: Record, *, coarse: bool = False) -> dict[str, Any]:
    """The figures of the whole heatmap; a coarse copy lacks the digest of the fine one, from which
    the cell could be found by trial if few were searched."""
    scenes = [
        {"scene": word(scene.get("scene")), "share": number(scene.get("share"))}
        for scene in mappings(record.get("scenes"))
    ]
    return {
        **{key: number(record[key]) for key in _SUMMARY_NUMBERS if key in record},
        "unsearched_reasons": measures(record.get("unsearched_reasons")),
        "heatmap_sha256": None if coarse else digest(record.get("heatmap_sha256")),
        "distance_quantiles": measures(record.get("distance_quantiles")),
        "scenes": scenes,
    }


def versions(value: Any) -> dict[str, str]:
    """Versions of software; of the platform only its kind, as the rest identifies machines."""
    by_name = value if isinstance(value, Mapping) else {}
    kept = {str(key): w for key, value in by_name.items() if word(key) and (w := word(value))}
    if "platform" in kept:
        kept["platform"] = kept["platform"].partition("-")[0]
    return kept


def neutral_names(records: Iterable[Record]) -> dict[str, str]:
    """Names of originals in the copy, by SHA-256: ``photo-1.jpg`` and so on."""
    names: dict[str, str] = {}
    for record in records:
        for photo in record["photos"]:
            if photo["sha256"] not in names:
                names[photo["sha256"]] = _neutral(photo, len(names) + 1)
    return names


def own_names(record: Record) -> dict[str, str]:
    """Names of originals in an answer's own record, by SHA-256; other records may differ."""
    return {photo["sha256"]: base_name(photo["file"]) for photo in record["photos"]}


def _neutral(photo: Record, count: int) -> str:
    suffix = _SUFFIX.search(str(photo["file"]))
    kind = "video" if photo.get("frame") else "photo"
    return f"{kind}-{count}{suffix[0].lower() if suffix else ''}"


def base_name(name: str) -> str:
    """The last part of a path of any system."""
    return PureWindowsPath(name).name or "photo"


def text(value: Any) -> str | None:
    """Text of any kind, for values that the user asked to keep."""
    return value if isinstance(value, str) else None


def texts(value: Any) -> list[str]:
    """All text of a list."""
    return [one for one in sequence(value) if isinstance(one, str)]


def word(value: Any) -> str | None:
    """A term of the field: short, without path separators."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def scene_name(value: Any) -> str:
    """The scene that was searched for, if it is a term of the field."""
    return word(value) or "a scene"


def label(value: Any) -> str:
    """The name of an area, which a user chose; empty if invalid."""
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
    by_name = value if isinstance(value, Mapping) else {}
    return {key: d for key, one in by_name.items() if word(key) and (d := digest(one))}


def number(value: Any) -> float | None:
    """A number, or true and false."""
    return value if isinstance(value, int | float) else None


def numbers(value: Any) -> list[float] | None:
    """A list of numbers."""
    values = [number(one) for one in sequence(value)]
    return [one for one in values if one is not None] if isinstance(value, list | tuple) else None


def measures(value: Any) -> dict[str, float]:
    """Numbers by name."""
    by_name = value if isinstance(value, Mapping) else {}
    return {key: n for key, one in by_name.items() if word(key) and (n := number(one)) is not None}


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
