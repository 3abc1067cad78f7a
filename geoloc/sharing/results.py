"""An answer again, of what its copy may tell, to be written like any other."""

from __future__ import annotations

import base64
import gzip
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError

from ..candidates import Candidate
from ..domain import Grid
from ..errors import UsageError
from ..models import Term
from ..photos import Photo
from ..report import Match, QueryResult
from ..report.evidence import SHARED_FORMAT
from ..report.match import match_record
from ..report.properties import properties
from ..report.views import Views
from ..scenes import display_name
from .answers import Answer, Record
from .options import Options
from .rounding import Squares
from .scrub import (
    Scrub,
    date,
    mappings,
    measures,
    number,
    sequence,
    summary,
    texts,
    versions,
    word,
)

_DAMAGED = (AttributeError, ArithmeticError, LookupError, TypeError, ValueError, ProjError)
_NOTHING = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class SharedResult(QueryResult):
    """An answer whose verdicts are those of the record: its own distances may be coarser.

    cells, searched: that were asked for, and m between them. told: how well the best place
    matches. percentile: of the true place. decimals: of degrees. record_sha256: of the original.
    """

    cells: int = 0
    searched: float = 0.0
    decimals: int = 6
    record_sha256: str = ""
    told: Match | None = None
    percentile: float | None = None

    @property
    def cells_asked(self) -> int:
        """As recorded."""
        return self.cells

    @property
    def step(self) -> float:
        """As recorded, whatever the copy's own grid is."""
        return self.searched

    @property
    def digits(self) -> int:
        """No more than the copy's coordinates have."""
        return self.decimals

    @property
    def original(self) -> str | None:
        """Of its record."""
        return self.record_sha256

    @cached_property
    def match(self) -> Match | None:
        """As recorded."""
        return self.told

    @cached_property
    def true_place(self) -> tuple[tuple[float, float], float | None] | None:
        """Where the copy says that it is; how it ranked as recorded."""
        found = super().true_place
        return found and (found[0], self.percentile)


@dataclass(frozen=True)
class Copy:
    """What is written of one answer."""

    result: SharedResult
    views: Views
    record: dict[str, Any]


def copy_of(answer: Answer, names: Mapping[str, str], options: Options) -> Copy:
    """The answer as its copy tells it; ``names``: see `scrub.neutral_names`.

    Raises UsageError where the record is damaged in a way that only shows now.
    """
    try:
        telling = _telling(answer, names, options)
        result = _result(answer, telling)
        record = _record(answer, result, telling.scrub)
        views = _views(answer, options)
    except _DAMAGED as error:
        why = " ".join(str(error).split())
        raise UsageError(
            f"{answer.folder} is damaged ({type(error).__name__}: {why}): ask again"
        ) from None
    return Copy(result, views, record)


@dataclass(frozen=True)
class _Telling:
    """How values are told, the squares that places are told by, and the distances."""

    scrub: Scrub
    squares: Squares | None
    heatmap: NDArray[np.float32]


def _telling(answer: Answer, names: Mapping[str, str], options: Options) -> _Telling:
    if options.rounding is None:
        return _Telling(Scrub(options, names, lambda lon, lat: (lon, lat)), None, answer.heatmap)
    squares, heatmap = Squares.of(answer.heatmap, answer.grid, options.rounding)
    return _Telling(Scrub(options, names, squares.place), squares, heatmap)


def _result(answer: Answer, telling: _Telling) -> SharedResult:
    record, scrub, squares = answer.record, telling.scrub, telling.squares
    options, names = scrub.options, scrub.names
    truth, told = record.get("truth"), record["summary"]
    known = truth if truth and scrub.keeps("truth") else None
    result = SharedResult(
        title=_title(record, names),
        photos=tuple(_photos(answer, scrub)),
        vector=np.array(list(record["vector"].values()), np.float32),
        heatmap=telling.heatmap,
        candidates=tuple(_candidates(answer, squares)),
        grid=squares.grid if squares else answer.grid,
        classes=tuple(record["vector"]),
        cube=scrub.cube(record["cube"]),
        model=scrub.model(record["model"]),
        parameters=scrub.parameters(record["parameters"]),
        imagery=tuple(scrub.imagery(record["imagery"])),
        places={} if squares else dict(_places(record)),
        notes=scrub.notes(record.get("notes"), record["photos"]),
        lacking={key: int(n) for key, n in measures(told.get("unsearched_reasons")).items()},
        truth=_truth(known, scrub),
        sensitive=options.photo == "blurred",
        cells=int(told.get("cells_asked", told["cells"])),
        searched=answer.grid.step,
        decimals=options.rounding.digits if options.rounding else 6,
        record_sha256=answer.sha256,
        told=_match(record.get("match")),
        percentile=number(known.get("percentile")) if known else None,
    )
    dropped = len(set(texts(record.get("notes")))) - len(result.notes)
    notes = (*result.notes, *_own_notes(options, dropped))
    return replace(result, asked=_asked(answer, result), notes=notes)


def _truth(told: Record | None, scrub: Scrub) -> tuple[float, float] | None:
    """Latitude and longitude."""
    found = scrub.position(told)
    return None if found is None else (found["lat"], found["lon"])


def _own_notes(options: Options, dropped: int) -> Iterator[str]:
    """What a reader of the copy has to know of it; ``dropped``: notes that it does not have."""
    yield "This is a copy that was made to be shared: SHARED.md says what was left out of it."
    if dropped > 0:
        some = "A note" if dropped == 1 else f"{dropped} notes"
        yield f"{some} of the original cannot be shared: ask for it before you rely on this."
    if options.rounding:
        yield (
            f"Coordinates are rounded to {options.rounding.text}. What was searched was finer; "
            "here each square of the map shows the best of its cells, a candidate stands in the "
            "middle of its square, and readings of the map with more digits mean nothing."
        )


def _title(record: Record, names: Mapping[str, str]) -> str:
    photos, scene = record["photos"], record["parameters"].get("scene")
    if scene:
        return display_name(word(scene) or "a scene")
    if len(photos) != 1:
        return f"{len(photos)} photos of one place"
    told, frame = photos[0], photos[0].get("frame")
    at = f" at {float(frame['time']):.2f} s" if frame else ""
    crop = f" · crop {','.join(f'{edge:g}' for edge in told['crop'])}" if told.get("crop") else ""
    return f"{names[told['sha256']]}{at}{crop}"


def _photos(answer: Answer, scrub: Scrub) -> Iterator[Photo]:
    for number_, told in enumerate(answer.record["photos"]):
        kept = scrub.photo(told)
        pixels = None
        if scrub.options.photo != "omitted":
            pixels = answer.page.photo_pixels(number_)
        path, size = Path(kept["file"]), kept["size"] or [0, 0]
        origin = {
            key: value
            for key, value in kept.items()
            if key not in ("file", "path", "sha256", "size", "exif")
        }
        yield Photo(path, path.stem, kept["sha256"] or "", _NOTHING if pixels is None else pixels,
                    (int(size[0]), int(size[1])), kept["exif"], origin)  # fmt: skip


def _candidates(answer: Answer, squares: Squares | None) -> Iterator[Candidate]:
    to_grid = Transformer.from_crs(4326, answer.grid.crs, always_xy=True)
    vector = answer.record["vector"]
    for told in answer.record["candidates"]:
        cell = answer.grid.index(*to_grid.transform(told["lon"], told["lat"]))
        if cell is None:
            raise UsageError(f"{answer.folder} is damaged: candidate {told['rank']} is outside")
        found = _candidate(told, answer.grid, *cell)
        if squares is None:
            strengths = answer.page.strengths.get(found.rank, [])
            yield replace(
                found,
                lon=float(told["lon"]),
                lat=float(told["lat"]),
                explanation=tuple(_terms(told, vector)),
                shared=tuple(_shared(told, vector, strengths)),
            )
            continue
        row, col = (index // squares.factor for index in cell)
        lon, lat = squares.middle(row, col)
        yield replace(_candidate(told, squares.grid, row, col), lon=lon, lat=lat)


def _candidate(told: Record, grid: Grid, row: int, col: int) -> Candidate:
    x, y = grid.center(row, col)
    distance, percentile = float(told["distance"]), float(told["percentile"])
    return Candidate(int(told["rank"]), row, col, x, y, 0.0, 0.0, distance, percentile)


def _terms(told: Record, vector: Record) -> Iterator[Term]:
    for one in mappings(told.get("explanation")):
        if one["scene"] in vector:
            yield Term(one["scene"], *(float(one[key]) for key in ("photo", "place", "share")))


def _shared(told: Record, vector: Record, strengths: list[tuple[float, float]]) -> Iterator[Term]:
    """The scenes that both show; how strongly, as far as the page says so."""
    names = [name for name in sequence(told.get("shared")) if name in vector]
    unknown = [(float(vector[name]), math.nan) for name in names[len(strengths) :]]
    for name, (photo, place) in zip(names, [*strengths, *unknown], strict=False):
        yield Term(name, photo, place, 0.0)


def _places(record: Record) -> Iterator[tuple[int, tuple[tuple[str, float], ...]]]:
    places = record.get("places")
    for rank, scenes in places.items() if isinstance(places, Mapping) else ():
        if rank.isdecimal():
            known = [(name, float(n)) for name, n in sequence(scenes) if name in record["vector"]]
            yield int(rank), tuple(known)


def _match(told: Any) -> Match | None:
    if not isinstance(told, Mapping):
        return None
    keys = ("probability", "closer", "random", "pairs")
    likelier = told.get("likelier")
    scene = likelier and (word(likelier["scene"]) or "another scene", likelier["probability"])
    return Match(
        bool(told.get("weak")), likelier=scene, **{key: number(told.get(key)) for key in keys}
    )


def _asked(answer: Answer, result: SharedResult) -> NDArray[np.bool_] | None:
    """Which cells were asked for, as far as the page draws those that were not searched.

    Of a coarse copy only the numbers are told.
    """
    if result.cells >= answer.grid.size or result.grid != answer.grid:
        return None
    asked: NDArray[np.bool_] = np.isfinite(answer.heatmap)
    heat = answer.page.data.get("heat", {})
    if result.unsearched and heat.get("lacking"):
        lacking = _levels(heat["lacking"], int(heat["height"]), int(heat["width"]))
        factor = -(-max(answer.grid.shape) // max(lacking.shape))
        drawn = lacking.repeat(factor, 0).repeat(factor, 1)[: answer.grid.ny, : answer.grid.nx]
        unknown = np.flatnonzero((drawn > 0) & ~asked)
        asked.reshape(-1)[unknown[: result.unsearched]] = True
    return asked


def _levels(packed: str, height: int, width: int) -> NDArray[np.uint8]:
    with gzip.open(io.BytesIO(base64.b64decode(packed))) as file:
        content = file.read(height * width)
    return np.frombuffer(content, np.uint8).reshape(height, width)


def _views(answer: Answer, options: Options) -> Views:
    """The imagery of the page; when rounded, the whole area alone: chips show the very place."""
    if not options.imagery:
        return Views((), {}, ("Imagery was left out of this copy.",))
    seen = answer.page.views()
    if options.rounding:
        return Views(seen.base[:1], {}, ("Close views of the candidates were left out.",))
    return seen


def _record(answer: Answer, result: SharedResult, scrub: Scrub) -> dict[str, Any]:
    record, grid = answer.record, result.grid
    return {
        "format": SHARED_FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "original": {
            "sha256": answer.sha256,
            "created": date(record.get("created")),
        },
        "title": result.title,
        "photos": [scrub.photo(photo) for photo in record["photos"]],
        "parameters": result.parameters,
        "model": result.model,
        "cube": result.cube,
        "grid": {"crs": grid.crs, "bounds": grid.bounds, "step": grid.step, "shape": grid.shape},
        "imagery": result.imagery,
        "vector": None if scrub.options.rounding else dict(record["vector"]),
        "summary": summary(record["summary"], coarse=scrub.options.rounding is not None),
        "match": match_record(result.match, result.title),
        "candidates": [properties(candidate) for candidate in result.candidates],
        "areas": [area.to_json() for area in result.areas],
        "places": {str(rank): scenes for rank, scenes in result.places.items()},
        "notes": result.notes,
        "truth": result.told_truth(),
        "versions": versions(record.get("versions")),
    }
