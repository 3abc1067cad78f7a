"""An answer rebuilt from the values that its copy may have, to be written like any other."""

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
from pyproj import Transformer
from pyproj.exceptions import ProjError

from ..arrays import F32, U8, Bools
from ..candidates import Candidate
from ..domain import Grid
from ..errors import UsageError
from ..models import Term
from ..photos import Photo
from ..query.session import unmeasured
from ..report import Match, QueryResult
from ..report.evidence import SHARED_FORMAT
from ..report.match import match_record
from ..report.tandem import SCORE
from ..report.views import Views
from ..scenes import display_name
from .answers import Answer, Record
from .options import Options
from .regions import rounded_regions, shared_recall
from .rounding import Squares
from .scrub import (
    Scrub,
    date,
    mappings,
    measures,
    number,
    scene_name,
    sequence,
    summary,
    texts,
    versions,
    word,
)
from .tandem import shared_notes, shared_tandem

_DAMAGED = (AttributeError, ArithmeticError, LookupError, TypeError, ValueError, ProjError)
_NOTHING = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class SharedResult(QueryResult):
    """An answer whose verdicts are those of the record, as its own distances may be coarser.

    cells, cells_known, searched: cells that were asked for and that have a distance, and m between
    them. recorded_match: how well the best place matches. percentile: of the true place. decimals:
    of degrees. record_sha256: of the original.
    """

    cells: int = 0
    cells_known: int = 0
    searched: float = 0.0
    decimals: int = 6
    record_sha256: str = ""
    recorded_match: Match | None = None
    percentile: float | None = None

    @property
    def cells_asked(self) -> int:
        """As recorded."""
        return self.cells

    @property
    def known(self) -> int:
        """As recorded."""
        return self.cells_known

    @property
    def step(self) -> float:
        """As recorded, for any grid of the copy."""
        return self.searched

    @property
    def digits(self) -> int:
        """Those of the copy's coordinates."""
        return self.decimals

    @property
    def original(self) -> str | None:
        """The digest of the original's record."""
        return self.record_sha256

    @cached_property
    def match(self) -> Match | None:
        """As recorded."""
        return self.recorded_match

    @cached_property
    def true_place(self) -> tuple[tuple[float, float], float | None] | None:
        """The place as the copy gives it; its rank as recorded."""
        place = super().true_place
        return place and (place[0], self.percentile)


@dataclass(frozen=True)
class Copy:
    """The parts of one copy to be written."""

    result: SharedResult
    views: Views
    record: dict[str, Any]


def copy_of(answer: Answer, names: Mapping[str, str], options: Options) -> Copy:
    """The answer in the form of its copy; ``names``: see `scrub.neutral_names`.

    Raises UsageError for damage to the record that only shows now.
    """
    try:
        redaction = _redaction(answer, names, options)
        result = _together(answer, redaction)
        record = _record(answer, result, redaction.scrub)
        views = _views(answer, options)
    except _DAMAGED as error:
        why = " ".join(str(error).split())
        raise UsageError(
            f"{answer.folder} is damaged ({type(error).__name__}: {why}): run the query again"
        ) from None
    return Copy(result, views, record)


@dataclass(frozen=True)
class _Redaction:
    """How values are scrubbed, the squares that places are rounded to, and the distances."""

    scrub: Scrub
    squares: Squares | None
    heatmap: F32


def _redaction(answer: Answer, names: Mapping[str, str], options: Options) -> _Redaction:
    if options.rounding is None:
        return _Redaction(Scrub(options, names, lambda lon, lat: (lon, lat)), None, answer.heatmap)
    _refuse_neighbourhood(answer)
    if answer.regions is not None:
        squares = Squares.within(answer.grid, options.rounding)
        return _Redaction(Scrub(options, names, squares.place), squares, answer.heatmap)
    squares, heatmap = Squares.of(answer.heatmap, answer.grid, options.rounding)
    return _Redaction(Scrub(options, names, squares.place), squares, heatmap)


def _refuse_neighbourhood(answer: Answer) -> None:
    """Of an answer that is the neighbourhood of a place, the bounds alone tell the place."""
    if "parent" in answer.record:
        raise UsageError(
            f"{answer.folder} is the neighbourhood of a place, which lies in the middle of its "
            "area: --round cannot hide it. Share the answer that it was zoomed from, or omit "
            "--round"
        )


def _together(answer: Answer, redaction: _Redaction) -> SharedResult:
    """The answer; of several models with what each of them says alone."""
    result = _result(answer, redaction)
    if answer.alone:
        scrub = redaction.scrub
        alone = [_result(one, _redaction(one, scrub.names, scrub.options)) for one in answer.alone]
        result = replace(result, tandem=shared_tandem(answer.record, alone, scrub))
    return _with_notes(answer, result, redaction.scrub)


def _with_notes(answer: Answer, result: SharedResult, scrub: Scrub) -> SharedResult:
    """The result with its notes, and what a reader must know of the copy."""
    record = answer.record
    plain = scrub.notes(record.get("notes"), record["photos"])
    of_models = shared_notes(record, scrub) if answer.alone else _of_model(record, result)
    kept = tuple(dict.fromkeys((*of_models, *plain)))
    dropped = len(set(texts(record.get("notes")))) - len(kept)
    own = _own_notes(scrub.options, dropped, of_points=result.of_points)
    return replace(result, notes=(*kept, *own))


def _of_model(record: Record, result: SharedResult) -> Iterator[str]:
    """The note that names a single model, with its name in the copy."""
    if unmeasured(str(record["model"].get("name"))) in texts(record.get("notes")):
        yield unmeasured(str(result.model.get("name", "1")))


def _result(answer: Answer, redaction: _Redaction) -> SharedResult:
    record, scrub, squares = answer.record, redaction.scrub, redaction.squares
    options, names = scrub.options, scrub.names
    truth, figures = record.get("truth"), record["summary"]
    known = truth if truth and scrub.keeps("truth") else None
    result = SharedResult(
        title=_title(record, names),
        photos=tuple(_photos(answer, scrub)),
        vector=np.array(list(record["vector"].values()), np.float32),
        heatmap=redaction.heatmap,
        candidates=tuple(_candidates(answer, squares)),
        grid=squares.grid if squares and answer.regions is None else answer.grid,
        classes=tuple(record["vector"]),
        cube=scrub.cube(record["cube"]),
        model=scrub.model(record["model"]),
        parameters=scrub.parameters(record["parameters"]),
        imagery=tuple(scrub.imagery(record["imagery"])),
        places={} if squares else dict(_places(record)),
        lacking={key: int(n) for key, n in measures(figures.get("unsearched_reasons")).items()},
        truth=_truth(known, scrub),
        sensitive=options.photo == "blurred",
        cells=int(figures.get("cells_asked", figures["cells"])),
        cells_known=int(figures["cells_known"]),
        searched=answer.grid.step,
        decimals=options.rounding.digits if options.rounding else 6,
        record_sha256=answer.sha256,
        recorded_match=_match(record.get("match")),
        percentile=number(known.get("percentile")) if known else None,
        **_regions(answer, squares),
    )
    return replace(result, asked=_asked(answer, result))


def _regions(answer: Answer, squares: Squares | None) -> dict[str, Any]:
    """What an answer of points has besides."""
    ranked = answer.regions
    if ranked is None:
        return {}
    return {
        "regions": ranked if squares is None else rounded_regions(ranked, squares),
        "points_asked": int(answer.record["summary"]["cells"]),
        "recall": shared_recall(answer.record),
    }


def _truth(truth: Record | None, scrub: Scrub) -> tuple[float, float] | None:
    """Latitude and longitude of the true place."""
    place = scrub.position(truth)
    return None if place is None else (place["lat"], place["lon"])


def _own_notes(options: Options, dropped: int, *, of_points: bool) -> Iterator[str]:
    """What a reader must know about the copy; ``dropped``: number of notes left out."""
    yield "This is a copy made for sharing: SHARED.md lists what was left out of it."
    if dropped > 0:
        some = "A note" if dropped == 1 else f"{dropped} notes"
        yield f"{some} of the original cannot be shared: ask for it before you rely on this."
    if options.rounding and of_points:
        yield (
            f"Coordinates are rounded to {options.rounding.text}: each point is placed in the "
            "middle of a square of that size, and further digits mean nothing."
        )
    elif options.rounding:
        yield (
            f"Coordinates are rounded to {options.rounding.text}. The search itself was finer; "
            "here each square of the map shows the best of its cells, a candidate is placed in the "
            "middle of its square, and further digits of map readings mean nothing."
        )


def _title(record: Record, names: Mapping[str, str]) -> str:
    photos, scene = record["photos"], record["parameters"].get("scene")
    if scene:
        return display_name(scene_name(scene))
    if len(photos) != 1:
        return f"{len(photos)} photos of one place"
    photo, frame = photos[0], photos[0].get("frame")
    at = f" at {float(frame['time']):.2f} s" if frame else ""
    crop = f" · crop {','.join(f'{edge:g}' for edge in photo['crop'])}" if photo.get("crop") else ""
    return f"{names[photo['sha256']]}{at}{crop}"


def _photos(answer: Answer, scrub: Scrub) -> Iterator[Photo]:
    for index, record in enumerate(answer.record["photos"]):
        kept = scrub.photo(record)
        pixels = None
        if scrub.options.photo != "omitted":
            pixels = answer.page.photo_pixels(index)
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
    for entry in answer.record["candidates"]:
        x, y = to_grid.transform(entry["lon"], entry["lat"])
        cell = answer.grid.index(x, y)
        if cell is None:
            raise UsageError(f"{answer.folder} is damaged: candidate {entry['rank']} is outside")
        candidate = _candidate(entry, answer.grid, *cell)
        if answer.regions is not None:  # not the middle of its region
            candidate = replace(candidate, x=x, y=y)
        if squares is None:
            strengths = answer.page.strengths.get(candidate.rank, [])
            yield replace(
                candidate,
                lon=float(entry["lon"]),
                lat=float(entry["lat"]),
                explanation=tuple(_terms(entry, vector)),
                shared=tuple(_shared(entry, vector, strengths)),
            )
            continue
        if answer.regions is not None:
            lon, lat = squares.place(entry["lon"], entry["lat"])
            x, y = to_grid.transform(lon, lat)
            yield replace(candidate, x=x, y=y, lon=lon, lat=lat)
            continue
        row, col = (index // squares.factor for index in cell)
        lon, lat = squares.middle(row, col)
        yield replace(_candidate(entry, squares.grid, row, col), lon=lon, lat=lat)


def _candidate(record: Record, grid: Grid, row: int, col: int) -> Candidate:
    x, y = grid.center(row, col)
    measure = float(record[SCORE if SCORE in record else "distance"])
    percentile = float(record["percentile"])
    return Candidate(int(record["rank"]), row, col, x, y, 0.0, 0.0, measure, percentile)


def _terms(record: Record, vector: Record) -> Iterator[Term]:
    for term in mappings(record.get("explanation")):
        if term["scene"] in vector:
            yield Term(term["scene"], *(float(term[key]) for key in ("photo", "place", "share")))


def _shared(record: Record, vector: Record, strengths: list[tuple[float, float]]) -> Iterator[Term]:
    """The scenes that both show; how strongly, if the page states it."""
    names = [name for name in sequence(record.get("shared")) if name in vector]
    unknown = [(float(vector[name]), math.nan) for name in names[len(strengths) :]]
    for name, (photo, place) in zip(names, [*strengths, *unknown], strict=False):
        yield Term(name, photo, place, 0.0)


def _places(record: Record) -> Iterator[tuple[int, tuple[tuple[str, float], ...]]]:
    places = record.get("places")
    for rank, scenes in places.items() if isinstance(places, Mapping) else ():
        if rank.isdecimal():
            known = [(name, float(n)) for name, n in sequence(scenes) if name in record["vector"]]
            yield int(rank), tuple(known)


def _match(record: Any) -> Match | None:
    if not isinstance(record, Mapping):
        return None
    keys = ("probability", "closer", "random", "pairs")
    likelier = record.get("likelier")
    scene = likelier and (word(likelier["scene"]) or "another scene", likelier["probability"])
    return Match(
        bool(record.get("weak")), likelier=scene, **{key: number(record.get(key)) for key in keys}
    )


def _asked(answer: Answer, result: SharedResult) -> Bools | None:
    """Which cells the query covered, as far as the page draws those that were not searched.

    None for a coarse copy, which only has their numbers.
    """
    if result.of_points or result.cells >= answer.grid.size or result.grid != answer.grid:
        return None
    asked: Bools = np.isfinite(answer.heatmap)
    heat = answer.page.data.get("heat", {})
    if result.unsearched and heat.get("lacking"):
        lacking = _levels(heat["lacking"], int(heat["height"]), int(heat["width"]))
        factor = -(-max(answer.grid.shape) // max(lacking.shape))
        drawn = lacking.repeat(factor, 0).repeat(factor, 1)[: answer.grid.ny, : answer.grid.nx]
        unknown = np.flatnonzero((drawn > 0) & ~asked)
        asked.reshape(-1)[unknown[: result.unsearched]] = True
    return asked


def _levels(packed: str, height: int, width: int) -> U8:
    with gzip.open(io.BytesIO(base64.b64decode(packed))) as file:
        content = file.read(height * width)
    return np.frombuffer(content, np.uint8).reshape(height, width)


def _views(answer: Answer, options: Options) -> Views:
    """The imagery of the page; if rounded, only the whole area, as chips show the exact place."""
    if not options.imagery:
        return Views((), {}, ("Imagery was left out of this copy.",))
    if answer.regions is not None:
        return Views((), {}, ()) if options.rounding else answer.page.views_of_regions()
    views = answer.page.views()
    if options.rounding:
        return Views(views.base[:1], {}, ("Close views of the candidates were left out.",))
    return views


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
        "candidates": [result.properties(c, probability=False) for c in result.candidates],
        "areas": [area.to_json() for area in result.areas],
        "places": {str(rank): scenes for rank, scenes in result.places.items()},
        "notes": result.notes,
        "truth": result.told_truth(),
        "versions": versions(record.get("versions")),
        **result.told_regions(),
        **_told_tandem(result, scrub.options),
    }


def _told_tandem(result: SharedResult, options: Options) -> dict[str, Any]:
    """What each of several models says; if rounded, without the photo's vectors."""
    if result.tandem is None or options.rounding:
        return result.told_tandem()
    return {"tandem": result.tandem.record()}
