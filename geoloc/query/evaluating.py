"""How good the answers are where it is known where the photos were taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

from ..arrays import F32, F64, I64
from ..candidates.regions import RankedRegions, nearest_kept, places_kept
from ..cube import Cube
from ..domain import Grid, Regions
from ..domain.points import geocentric
from ..errors import ModelError, UsageError
from ..evaluation import Placement, Truth, read_truth
from ..evaluation.cells import AtCells, Centre, Columns, Normalised, Scorer, Standings, Together
from ..evaluation.normalisation import KINDS, NONE, Normalisation
from ..evaluation.regions import RegionScore
from ..evaluation.truth import metres_between, place_groups, read_strata
from ..evaluation.vectors import ground_vectors
from ..models import Model, load_model
from ..models.calibration import Calibration, calibration_text, write_calibration
from ..models.load import find_model
from ..models.model import write_whole
from ..photos import photo_path
from ..progress import Stages, silent
from ..ranking import Ranking
from ..report import QueryResult, check_writable
from ..search import (
    RADIUS,
    Place,
    Query,
    RegionMin,
    RegionMinima,
    TopK,
    reduce_scan,
    reduce_scenes,
)
from ..search import fuse as mean_vector
from .anew import asked_anew
from .encode import encode
from .options import QueryOptions, Use
from .regional import RegionQuery
from .run import query_photos
from .scores import CANDIDATES, DISTANCE, Evaluation, Score
from .target import cube_model, open_target
from .truth import placement, true_point

CLASS_MATCH, CENTRE = "class_match", "centre"
_GROUP = 64  # photos of a pass
_FAR = 25_000.0  # m from the nearest point of a cube of points: the photo was taken elsewhere


def evaluate_truth(
    cube: str | Path,
    truth: str | Path,
    *,
    out: str | Path | None = None,
    strata: str | Path | None = None,
    bank: Sequence[str | Path] = (),
    regions: float | None = None,
    fuse: Sequence[int] = (),
    feedback: bool = False,
    seed: int = 0,
    progress: Stages = silent,
) -> Evaluation:
    """Rank the true places of the photos of a truth file (they lie beside it), and score.

    Of grids and of points. ``out``: a folder for the answers of a grid, the true places marked;
    without it nothing is written. ``strata``: see `read_strata`. ``bank``: unrelated photos, by
    which normalised scores are compared with the distance. ``regions``: side (m) of the regions
    that are ranked too, in each way there is; of points 25,000 by default, of grids none.
    ``fuse``: of how many photos of each place the mean is ranked too. ``feedback``: photos ask
    twice, as by the option of a query; unrelated ones do not. Raises UsageError for a bad
    truth file, and what `query_photos` raises.
    """
    truths = read_truth(truth)
    if strata is not None:
        truths = read_strata(strata, truths)
    if fuse and not _with_photos(place_groups(truths), max(fuse)):
        raise UsageError(f"no place of {truth} has {max(fuse)} photos to fuse: ask for fewer")
    paths = [photo_path(Path(truth).parent / row.file) for row in truths]
    if out is not None:
        check_writable(Path(out))
    target = open_target(cube)
    model = cube_model(target)
    regional = RegionQuery.of(target, QueryOptions.of(Use.QUERY, regions=regions))
    layout = regional.layout if regional else None
    _, vectors, failures = encode(paths, [model], progress=progress("reading the photos"))
    read = [(t, p) for t, p in zip(truths, paths, strict=True) if str(p) not in failures]
    ranker = _Ranker(target.cube, model, _bank_vectors(bank, model, progress), layout, feedback)
    scores = ranker.scores([t for t, _ in read], vectors, progress("ranking the true places"))
    if out is not None and isinstance(target.cube.domain, Grid) and read:
        places = {Path(row.file).name: (row.lat, row.lon) for row in truths}
        query_photos(
            cube, [path for _, path in read], out,
            truth=places, feedback=feedback, progress=progress,
        )  # fmt: skip
    fused = ranker.fused([t for t, _ in read], vectors, fuse)
    step = getattr(target.cube.domain, "step", None)
    cells = max((s.placement.cells for s in scores if s.placement), default=0)
    return Evaluation(
        tuple(scores), failures, model.name, model.digest,
        None if step is None else cells * step**2 / 1e6, seed, bool(bank), fused, feedback,
    )  # fmt: skip


def check_calibration_target(target: str | Path) -> None:
    """Raise UsageError, before any work, for what is neither a .json file nor a model."""
    if Path(target).suffix != ".json":
        try:
            find_model(target)
        except ModelError:
            raise UsageError(
                f"{target} is neither a model directory nor a .json file nor the name of a model: "
                "name one"
            ) from None


def store_calibration(
    evaluation: Evaluation, target: str | Path, source: str
) -> tuple[Path, Calibration]:
    """Write the calibration of an evaluation to a .json file, or as that of a model (its directory
    or name), by which its answers then state how much must be searched.

    Raises UsageError where the target is neither, or is another model; ModelError.
    """
    check_calibration_target(target)
    calibration = evaluation.calibration(source)
    if Path(target).suffix == ".json":
        write_whole(Path(target), calibration_text(calibration))
        return Path(target), calibration
    model = load_model(target)
    if model.digest != evaluation.digest:
        raise UsageError(
            f"{target} is the model {model.digest[:12]}, and the cube is of "
            f"{evaluation.digest[:12]}: name that one or its folder"
        )
    return write_calibration(model, calibration), calibration


def _bank_vectors(bank: Sequence[str | Path], model: Model, progress: Stages) -> F32:
    """Vectors ``(photo, feature)`` of unrelated photos. Raises UsageError where none is read."""
    if not bank:
        return np.empty((0, model.dim), np.float32)
    photos = ground_vectors(model, [Path(p) for p in bank], progress("reading the bank"))
    if not len(photos.vectors):
        raise UsageError(f"none of the {len(bank)} photos in the bank can be read")
    return photos.vectors


@dataclass(frozen=True, eq=False)
class _Ranker:
    """Ranks true places among the cells of a cube; ``bank``: vectors of unrelated photos;
    ``layout``: the regions that are ranked too; ``feedback``: whether photos ask twice."""

    cube: Cube
    model: Model
    bank: F32
    layout: Regions | None = None
    feedback: bool = False

    def scores(self, truths: Sequence[Truth], vectors: F32, progress: Any) -> list[Score]:
        """One a photo, those of a group in a few passes."""
        groups, cells = place_groups(truths), self._cells(truths)
        scored: list[Score] = []
        for start in range(0, len(truths), _GROUP):
            part = slice(start, start + _GROUP)
            scored += self._scores(truths[part], vectors[part], cells[part], groups[part])
            progress(min(start + _GROUP, len(truths)), len(truths))
        return scored

    def fused(
        self, truths: Sequence[Truth], vectors: F32, counts: Sequence[int]
    ) -> dict[int, tuple[Score, ...]]:
        """By count, one score a place with photos enough for all counts: of its first photo alone,
        and of the mean of so many."""
        if not counts:
            return {}
        found = dict[int, tuple[Score, ...]]()
        places = _with_photos(place_groups(truths), max(counts))
        first = [truths[place[0]] for place in places]
        for count in sorted({1, *counts}):
            means = [mean_vector(vectors[place[:count]]) for place in places]
            scored = self.scores(first, np.stack(means), silent("")) if means else []
            found[count] = tuple(scored)
        return found

    def _scores(
        self, truths: Sequence[Truth], vectors: F32, cells: I64, groups: Sequence[int]
    ) -> list[Score]:
        count, top = len(vectors), self._top(len(vectors))
        asked = asked_anew(self.cube, vectors) if self.feedback else vectors
        query = Query(np.concatenate([asked, self.bank]))
        kinds: list[Normalisation] = list(KINDS.values()) if len(self.bank) else [NONE]
        scorers: list[Scorer] = [Normalised(count, kind) for kind in kinds]
        scorers.append(Centre(count, self._middle))
        own = reduce_scan(self.cube, query, AtCells(scorers, cells))
        kept = Together([Standings(scorers, own), top], [None, count])
        if self.layout is not None:
            size = self.cube.domain.size
            sample = max(places_kept(ranking) for ranking in Ranking)
            nearest = max(nearest_kept(ranking, self.layout, size) for ranking in Ranking)
            of_regions = RegionMin.of(self.layout, count, sample, nearest)
            kept = Together([*kept.parts, of_regions], [*kept.maps, count])
        counts, places, *minima = reduce_scan(self.cube, query, kept)
        names = [DISTANCE, *(kind.name for kind in kinds[1:]), CENTRE, CLASS_MATCH]
        matched = self._class_match(vectors, cells)
        own, counts = np.concatenate([own, matched[0]]), np.concatenate([counts, matched[1]], 1)
        scored = [
            self._score(truth, names, own[:, photo], counts[:, :, photo], places[photo], group)
            for photo, (truth, group) in enumerate(zip(truths, groups, strict=True))
        ]
        for found in minima:
            scored = [self._with_regions(*one) for one in zip(scored, found, strict=True)]
        return scored

    def _with_regions(self, score: Score, minima: RegionMinima) -> Score:
        """With how the true region did in each ranking; without where the truth lies in none."""
        assert score.truth is not None
        ranked = [RankedRegions.of(minima, self.cube.domain, ranking) for ranking in Ranking]
        if ranked[0].region_of(score.truth.lon, score.truth.lat) is None:
            return score
        told = {one.ranking.value: RegionScore.of(one, score.truth) for one in ranked}
        return replace(score, regions=told)

    def _top(self, count: int) -> TopK:
        """Candidates as those of a query; points may lie anywhere, so none rules another out."""
        radius = RADIUS if isinstance(self.cube.domain, Grid) else 0.0
        return TopK(self.cube.domain, count, CANDIDATES, radius)

    def _class_match(self, vectors: F32, cells: I64) -> tuple[Any, Any]:
        """The baseline that looks at the photo's first scene alone: its cells and their counts."""
        space = self.cube.features
        top = space.logits(vectors).argmax(axis=1)
        scenes, maps = np.unique(top, return_inverse=True)
        names, scorers = [space.names[scene] for scene in scenes], [Columns(maps)]
        own = reduce_scenes(self.cube, names, AtCells(scorers, cells))
        return own, reduce_scenes(self.cube, names, Standings(scorers, own))

    def _score(
        self,
        truth: Truth,
        names: Sequence[str],
        own: Any,
        counts: Any,
        places: Sequence[Place],
        group: int,
    ) -> Score:
        """Of one photo: own ``(scorer,)``, counts ``(3, scorer)``."""
        placed = {
            name: Placement(truth.file, float(smaller + equal), int(cells))
            for name, value, (smaller, equal, cells) in zip(names, own, counts.T, strict=True)
            if math.isfinite(value)
        }
        off = self._metres(truth, places)
        distance = placed.pop(DISTANCE, None)
        return Score(truth.file, distance, next(iter(off), None), truth, group, off, placed)

    @property
    def _middle(self) -> tuple[float, float]:
        left, bottom, right, top = self.cube.domain.bounds
        return (left + right) / 2, (bottom + top) / 2

    def _cells(self, truths: Sequence[Truth]) -> I64:
        """The true cell ``(photo,)`` of each, -1 for none: of points the nearest one."""
        domain = self.cube.domain
        if isinstance(domain, Grid):
            return np.array([_cell(domain, truth) for truth in truths], np.int64)
        from scipy.spatial import cKDTree

        points = self._lonlat(domain.centres(np.arange(domain.size)))
        asked = np.array([(truth.lon, truth.lat) for truth in truths]).reshape(-1, 2)
        off, nearest = cKDTree(geocentric(points)).query(geocentric(asked))
        return np.where(off <= _FAR, nearest, -1).astype(np.int64)

    def _lonlat(self, xy: F64) -> F64:
        to_degrees = Transformer.from_crs(self.cube.domain.crs, 4326, always_xy=True)
        return np.stack(to_degrees.transform(*xy.T), axis=1)

    def _metres(self, truth: Truth, places: Sequence[Place]) -> tuple[float, ...]:
        """m from the truth to each place: on the plane of a projected CRS."""
        domain = self.cube.domain
        if not CRS.from_user_input(domain.crs).is_geographic:
            point = true_point(domain, truth.lat, truth.lon)
            return tuple(math.dist(point, (p.x, p.y)) for p in places) if point else ()
        true = (truth.lon, truth.lat)
        return tuple(metres_between(true, (place.x, place.y)) for place in places)


def _with_photos(groups: Sequence[int], least: int) -> list[I64]:
    """Which photos ``(photo,)`` are of each place that has at least so many, in their order."""
    photos = [np.flatnonzero(np.array(groups) == place) for place in dict.fromkeys(groups)]
    return [one for one in photos if len(one) >= least]


def _cell(grid: Grid, truth: Truth) -> int:
    point = true_point(grid, truth.lat, truth.lon)
    cell = None if point is None else grid.index(*point)
    return -1 if cell is None else cell[0] * grid.nx + cell[1]


def score(results: Sequence[QueryResult], truths: Sequence[Truth]) -> list[Score]:
    """Score each answer by the truth of the photo's file name; others are ignored."""
    places = {row.file: row for row in truths}
    return [
        _score(result, places[name])
        for result in results
        if result.photo and (name := result.photo.path.name) in places
    ]


def _score(result: QueryResult, truth: Truth) -> Score:
    point, best = true_point(result.grid, truth.lat, truth.lon), _best(result)
    off = math.dist(point, (best.x, best.y)) if point and best else None
    return Score(truth.file, placement(result, point), off)


def _best(result: QueryResult) -> Any:
    return result.candidates[0] if result.candidates else None
