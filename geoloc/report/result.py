"""The answer to one query, before it becomes files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pyproj import Transformer

from ..arrays import F32, F64, Bools
from ..candidates import percentile_of
from ..candidates.areas import SearchArea, search_areas
from ..candidates.regions import PlaceRecall, RankedRegions, region_areas
from ..domain import Grid
from ..names import path_text
from ..scenes import describe
from .calibrated import Calibrated, calibrated_record
from .match import Match, match_record, match_words
from .properties import properties
from .shares import least_share
from .survey import Survey
from .tandem import SCORE, TandemPart

if TYPE_CHECKING:
    from pathlib import Path

    from ..area import MapLayers
    from ..candidates import Candidate
    from ..models.calibration import SearchShare
    from ..photos import Photo
    from ..search import Heatmap

_MOST_SHARE = 0.1  # of the cells, as areas to search
_UNLIKELY = 0.1  # a probability of the searched class below which nothing was found
_TYPICAL = 0.5  # a photo from here has a best place nearer than a typical photo's own place
_CLOSER = 0.15  # below that the best place is as good as any: random vectors reach 0.1
_ROWS = 64  # of a mask, counted at a time
_CHANCE = 0.25  # share of random vectors that do as well: what shows nothing


class Mask(Protocol):
    """Which cells of a grid: an array ``(y, x)``, or what gives its rows on request."""

    def __getitem__(self, rows: slice, /) -> Bools: ...


@dataclass(frozen=True)
class Parent:
    """The place of another answer around which an answer was asked again.

    record: path of that answer's ``query.json``; sha256: of its bytes; kind: candidate or region;
    lon, lat: degrees (WGS84); km: side of the square around it.
    """

    record: Path
    sha256: str
    title: str
    kind: str
    rank: int
    lon: float
    lat: float
    km: float

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "record": path_text(self.record),
            "sha256": self.sha256,
            "title": self.title,
            "kind": self.kind,
            "rank": self.rank,
            "lon": self.lon,
            "lat": self.lat,
            "km": self.km,
        }


@dataclass(frozen=True)
class QueryResult:
    """One ranked answer: a photo's, that of several photos of one place, or a scene's.

    photos: what was asked with; empty for a search of a scene class.
    vector: float32 ``(feature,)``, the raw logits that were searched for.
    heatmap: float32 ``(y, x)`` on ``grid``, distance, NaN where nothing is known; of a search, in
        a file.
    cube, model: what answered (name, url, generation, digest), as they go into the evidence.
    imagery: one mapping ``{"id", "href", "date", "candidates"}`` per image near a candidate.
    places: by rank, a candidate's own top scenes and their softmax share, as seen from above.
    notes: what the reader has to know, one sentence each.
    lacking: cells that were asked for and could not be searched, by the reason.
    asked: bool ``(y, x)``, the cells that were asked for; None where that is all of the grid; read
        by rows.
    truth: latitude and longitude (WGS84) of the true place, where that is known.
    folder: where the answer's files are, if it has any.
    random, pairs, closer: of a photo's answer, see `Match`; closer where the distances are not the
        photo's own, else they tell.
    search_share: how much has to be searched, where the model has figures that apply.
    sensitive: the page hides the photos until its reader chooses to see them.
    regions: the regions, ranked, where they were asked for; layers: what their maps show beside
        them, in degrees; recall: which large places lie in good ones.
    points_asked: of an answer of points, how many were asked for. Its ``grid`` is that of the
        regions, its ``heatmap`` their smallest distances, its candidates their best points.
    parent: of the neighbourhood of a place of another answer, which answer and place: see
        `Parent`.
    tandem: what each of several models says, where they were asked together. Heatmap and
        candidates then have their score in place of a distance, and vector, classes, cube, model
        and explanations are those of the first.
    """

    title: str
    photos: tuple[Photo, ...]
    vector: F32
    heatmap: Heatmap
    candidates: tuple[Candidate, ...]
    grid: Grid
    classes: tuple[str, ...]
    cube: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    imagery: tuple[Mapping[str, Any], ...] = ()
    places: Mapping[int, Sequence[tuple[str, float]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacking: Mapping[str, int] = field(default_factory=dict)
    asked: Mask | None = None
    truth: tuple[float, float] | None = None
    folder: Path | None = None
    random: float | None = None
    pairs: float | None = None
    closer: float | None = None
    search_share: SearchShare | None = None
    sensitive: bool = False
    points_asked: int | None = None
    regions: RankedRegions | None = None
    layers: MapLayers | None = None
    recall: PlaceRecall | None = None
    parent: Parent | None = None
    tandem: TandemPart | None = None

    @property
    def measure(self) -> str:
        """What places are ranked by: a photo's distance, a scene's probability, or a score."""
        if self.tandem is not None:
            return SCORE
        return "distance" if self.photos else "probability"

    @property
    def of_points(self) -> bool:
        """Whether points were searched, and no cells of a grid."""
        return self.points_asked is not None

    @property
    def searched_places(self) -> str:
        """What was searched, in a word."""
        return "points" if self.of_points else "cells"

    @property
    def unsearched(self) -> int:
        """How many of the cells in question could not be searched."""
        return sum(self.lacking.values())

    @cached_property
    def cells_asked(self) -> int:
        """How many cells are in question: those of the area, or of the polygon in it."""
        if self.asked is None:
            return self.size
        parts = (self.asked[row : row + _ROWS] for row in range(0, self.grid.ny, _ROWS))
        return sum(int(np.count_nonzero(part)) for part in parts)

    @property
    def size(self) -> int:
        """How many cells or points there are."""
        return self.grid.size if self.points_asked is None else self.points_asked

    @property
    def known(self) -> int:
        """How many of them have a distance."""
        if not self.of_points or self.regions is None:
            return self.survey.known
        return int(self.regions.minima.count.sum())

    @property
    def step(self) -> float:
        """m between the cells that were searched."""
        return self.grid.step

    @property
    def digits(self) -> int:
        """Decimals of degrees that people read."""
        return 6

    @property
    def original(self) -> str | None:
        """SHA-256 of the record that this is a copy of, to be shared; None for an answer itself."""
        return None

    @property
    def photo(self) -> Photo | None:
        """The first photo, or None for a search of a scene class."""
        return self.photos[0] if self.photos else None

    def probability(self, candidate: Candidate) -> float | None:
        """Of the scene that was searched for, at a candidate (0..1); None for a photo's answer, and
        of several models, which rank by their scores.

        A scene's distance is ``-log p(scene | cell)``.
        """
        return math.exp(-candidate.distance) if self.measure == "probability" else None

    @cached_property
    def match(self) -> Match | None:
        """How well the best place matches; None where no place is known, and of several models,
        whose own answers say so."""
        if not self.candidates or self.tandem is not None:
            return None
        return self._photo_match() if self.photos else self._scene_match()

    @property
    def match_words(self) -> str | None:
        """One sentence where even the best place hardly matches; None where all is well."""
        return match_words(self.match, self.title)

    def _scene_match(self) -> Match:
        best, wanted = self.candidates[0], self.classes[int(np.argmax(self.vector))]
        probability = math.exp(-best.distance)
        tops = {rank: scenes[0] for rank, scenes in self.places.items() if scenes}
        top = tops.get(best.rank)
        likelier = top if top and top[0] != wanted else None
        somewhere = any(name == wanted for name, _ in tops.values()) or not tops
        weak = probability < _UNLIKELY or (probability < 0.5 and not somewhere)
        return Match(weak, probability=probability, likelier=likelier)

    def _photo_match(self) -> Match:
        closer = self._closer() if self.closer is None else self.closer
        if self.pairs is not None:
            weak = self.pairs < _TYPICAL
        else:
            weak = closer < _CLOSER or (self.random is not None and self.random >= _CHANCE)
        return Match(weak, closer=closer, random=self.random, pairs=self.pairs)

    def _closer(self) -> float:
        """By how much the best place is closer than the middle one."""
        middle = float(self.quantiles(np.array([0.5]))[0])
        return 1 - self.candidates[0].distance / middle if middle > 0 else 0.0

    @cached_property
    def survey(self) -> Survey:
        """Figures of all cells, from one pass over the heatmap."""
        return Survey.of(self.heatmap)

    def quantiles(self, fractions: F64) -> F64:
        """Distances at these fractions (0..1) of what is known; see `Survey.quantiles`.

        Of points those of all points, from their `Background`.
        """
        if self.of_points and self.regions is not None:
            return self.regions.minima.background.quantile(fractions)
        return self.survey.quantiles(fractions)

    @cached_property
    def calibrated(self) -> Calibrated | None:
        """How much has to be searched; None where the model has no figures that apply."""
        stated = self.search_share
        if stated is None or stated.searched != self.searched_places or not self.known:
            return None
        (distance,) = self.quantiles(np.array([stated.share])).tolist()
        km2 = None if self.of_points else self.known * self.step**2 / 1e6
        return Calibrated.of(stated, km2, distance)

    @cached_property
    def areas(self) -> tuple[SearchArea, ...]:
        """The candidates grouped into areas to search: connected cells as good as the last one.

        At least the best 1 %, or 1,000 cells of a large area, so that the surroundings of few
        candidates count; at most the best 10 %, beyond which a candidate stands alone.
        """
        if self.of_points and self.regions is not None:
            return region_areas(self.regions, self.candidates)
        shares = np.array([least_share(self.grid.size), _MOST_SHARE])
        low, high = self.quantiles(shares).tolist()
        last = max((c.distance for c in self.candidates), default=low)
        return search_areas(self.heatmap, self.grid, self.candidates, min(max(last, low), high))

    def area_of(self, rank: int) -> int:
        """Rank of the area to search that the candidate of this rank lies in."""
        return self._areas_of[rank]

    @cached_property
    def _areas_of(self) -> dict[int, int]:
        """The area's rank by that of each candidate."""
        return {rank: area.rank for area in self.areas for rank in area.candidates}

    def scenes(self, top: int = 5) -> tuple[tuple[str, float], ...]:
        """The query's own top classes and their softmax share, for display only."""
        return describe(self.vector, self.classes, top)

    def to_json(self) -> dict[str, Any]:
        """The answer for machines: title, photos, scenes, candidates and areas to search."""
        return {
            "title": self.title,
            "folder": self.folder and path_text(self.folder),
            "photos": [{"file": p.file, "sha256": p.sha256} for p in self.photos],
            "scenes": [{"scene": name, "share": share} for name, share in self.scenes()],
            "match": match_record(self.match, self.title),
            "calibration": calibrated_record(self.calibrated),
            "candidates": [self.properties(c) for c in self.candidates],
            "areas": [area.to_json() for area in self.areas],
            "summary": {"cells": self.cells_asked, **self.told_unsearched()},
            "truth": self.told_truth(),
            "notes": list(self.notes),
            **self.told_regions(),
            **self.told_parent(),
            **self.told_tandem(),
        }

    def properties(self, candidate: Candidate, *, probability: bool = True) -> dict[str, Any]:
        """What is reported of a candidate; see `properties`."""
        models = None if self.tandem is None else self.tandem.of_place(candidate.rank)
        return properties(candidate, self.probability(candidate) if probability else None, models)

    def told_regions(self) -> dict[str, Any]:
        """For machines: the regions and which large places lie in good ones, where asked for."""
        if self.regions is None:
            return {}
        recall = None if self.recall is None else self.recall.to_json()
        return {"regions": self.regions.to_json(), "large_places": recall}

    def told_parent(self) -> dict[str, Any]:
        """For machines: which place of which answer this is the neighbourhood of, if it is."""
        return {} if self.parent is None else {"parent": self.parent.to_json()}

    def told_tandem(self) -> dict[str, Any]:
        """For machines: what each of several models says, where they were asked together."""
        return {} if self.tandem is None else {"tandem": self.tandem.to_json()}

    @cached_property
    def true_place(self) -> tuple[tuple[float, float], float | None] | None:
        """Where in the grid's CRS the true place lies, and its percentile (None where it was not
        searched); None where it is not known or lies outside of the area."""
        if self.truth is None:
            return None
        lat, lon = self.truth
        x, y = Transformer.from_crs(4326, self.grid.crs, always_xy=True).transform(lon, lat)
        cell = self.grid.index(x, y) if math.isfinite(x) and math.isfinite(y) else None
        if cell is None:
            return None
        if self.of_points and self.regions is not None:  # by what they are ranked by
            rank = self._true_region(lon, lat)["region_rank"]
            return (x, y), None if rank is None else 100 * rank / len(self.regions.order)
        return (x, y), percentile_of(self.heatmap, *cell)

    def told_truth(self) -> dict[str, Any] | None:
        """For machines: the true place, and the percentile of the cell there; None if unknown."""
        if self.truth is None:
            return None
        lat, lon = self.truth
        percentile = self.true_place and self.true_place[1]
        return {"lat": lat, "lon": lon, "percentile": percentile, **self._true_region(lon, lat)}

    def _true_region(self, lon: float, lat: float) -> dict[str, Any]:
        """How the region of the true place came out; None for both where it is not known."""
        if self.regions is None:
            return {}
        region = self.regions.region_of(lon, lat)
        known = region is not None and self.regions.rank[region] > 0
        rank, good = (self.regions.rank, self.regions.good) if known else (None, None)
        return {
            "region_rank": None if rank is None else int(rank[region]),
            "region_good": None if good is None else bool(good[region]),
        }

    def told_unsearched(self) -> dict[str, Any]:
        """For machines: how many cells were not searched, and why."""
        return {"cells_unsearched": self.unsearched, "unsearched_reasons": dict(self.lacking)}
