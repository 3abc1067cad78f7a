"""A query session: what one call asks of a cube, and the ranked places that answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..area import polygon_file, read_polygon
from ..arrays import F32
from ..candidates import Candidate, candidates_of, explain_candidates, with_attributes
from ..candidates.regions import RankedRegions, nearest_kept, places_kept
from ..cube import Cube
from ..domain import Grid, Regions
from ..encoders.figures import read_figures
from ..errors import UsageError
from ..executors import Executor
from ..files.whole import file_sha256
from ..models import Model, model_info
from ..models.calibration import SearchShare, read_calibration, search_share
from ..names import safe_name
from ..photos import Photo
from ..progress import Progress
from ..report import QueryResult
from ..report.evidence import photo_record
from ..scenes import display_name, find_class, group_weights, is_group
from ..search import (
    Heatmaps,
    Query,
    Ranked,
    RankedMap,
    Reduction,
    Regional,
    RegionMin,
    TopK,
    maps_at_once,
    project,
    reduce_scan,
    reduce_scenes,
)
from .anew import ASKED_ANEW, asked_anew
from .coverage import UNKNOWN, Coverage, coverage, point_coverage
from .folders import question_key
from .items import QueryItem
from .matching import random_share, sample_cells, share_closer
from .options import QueryOptions
from .regional import RegionQuery, is_of_points, notes_of
from .target import Ref, Target, chosen_part, open_target
from .words import meaning, widened, words_note

if TYPE_CHECKING:
    from shapely import Geometry

    from ..encoders.text import Words

_DESCRIBED = 3  # scenes that tell what a candidate looks like from above


@dataclass(frozen=True)
class QuerySession:
    """How all items of one call are searched for in the cube."""

    target: Target
    options: QueryOptions
    polygon: Geometry | None
    weights: F32 | None
    info: dict[str, Any]
    sensitive: bool = False
    regional: RegionQuery | None = None
    words: Words | None = None
    _covered: list[Coverage] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def open(
        cls, cube: Ref, options: QueryOptions, *, usually_hidden: bool = False
    ) -> QuerySession:
        """Open the cube that an area file, a path or a URL names, and check the options.

        ``usually_hidden``: pages hide the photos unless the area file or the user says otherwise.
        Raises AreaError, CubeError, and what `of` raises.
        """
        cube, model = chosen_part(cube, options.model)
        options = options.model_copy(update={"model": model})
        target = open_target(
            cube,
            options.generation,
            check_digests=options.check_digests,
            fetch_imagery=options.fetch_imagery,
            model=options.model,
        )
        hidden = not options.scene and target.hides_photos(options.sensitive, usually_hidden)
        return cls.of(target, options, sensitive=hidden)

    @classmethod
    def of(cls, target: Target, options: QueryOptions, *, sensitive: bool = False) -> QuerySession:
        """Check the options against an open cube.

        ``sensitive``: the pages hide the photos until their reader chooses to see them. Raises
        UsageError, UnknownClassError for classes, before any work.
        """
        cube, within, scene = target.cube, options.within, options.scene
        polygon = None if within is None else read_polygon(within, cube.domain.crs)
        info, regional = cube.info(), RegionQuery.of(target, options)
        named, words = (None, None) if scene is None else meaning(target, scene)
        exact = {
            "within_sha256": None if within is None else file_digest(polygon_file(within)),
            "scene": named,
        }
        return cls(
            target,
            (regional.options if regional else options).model_copy(update=exact),
            polygon,
            class_weights(options.weights, cube.features.names),
            {**info, "name": info["area"]},
            sensitive,
            regional,
            words,
        )

    @property
    def grid(self) -> Grid:
        """What maps are drawn on: the cube's cells, or of a cube of points its regions."""
        if not is_of_points(self.target.cube):
            return self.target.cube.grid
        assert self.regional is not None
        return self.regional.layout.grid

    @property
    def scratch_bytes(self) -> int:
        """Of disk that the maps of one photo take while a cube is searched."""
        return 4 * self.grid.size

    @property
    def most_at_once(self) -> int | None:
        """How many photos fit in memory by their regions; None without."""
        if self.regional is None:
            return None
        return maps_at_once(self.regional.layout, *self._kept(self.regional.layout))

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What ``query.json`` keeps of the options."""
        return self.options.record()

    def search(
        self,
        questions: Sequence[QueryItem],
        executor: Executor | None = None,
        progress: Progress | None = None,
        scratch: Path | None = None,
    ) -> list[RankedMap]:
        """The heatmap and best places of each, in one pass over the cube.

        ``progress`` is called for its blocks; ``scratch``: the folder where the heatmaps lie, in a
        file without a name, by default the system's.
        """
        if not questions:
            return []
        self.target.cube.mark_read()  # a bulk run takes hours
        return reduce_scan(
            self.target.cube,
            self._query(np.stack([question.vector for question in questions])),
            self.reduction(len(questions), scratch),
            within=self.polygon,
            within_crs=self.target.cube.domain.crs,
            executor=executor,
            progress=progress,
        )

    def _query(self, vectors: F32) -> Query:
        """What is looked for, for the vectors ``(photo, feature)`` of photos."""
        if self.options.feedback:
            vectors = asked_anew(self.target.cube, vectors, self.weights)
        return Query(vectors, self.weights)

    @property
    def _plain(self) -> bool:
        """Whether distances are the model's own of the photos, which its figures are of."""
        return self.weights is None and not self.options.feedback

    @property
    def scene_item(self) -> QueryItem:
        """What the scene class, or the words, of the options ask."""
        scene, features = str(self.options.scene), self.target.cube.features
        words = self.words
        vector = features.logits(words.vector) if words else features.named_vector([scene])
        return QueryItem(display_name(scene), safe_name(scene), (), vector)

    def search_scene(
        self,
        progress: Progress | None = None,
        scratch: Path | None = None,
    ) -> RankedMap:
        """`search` for the scene class, or the words, of the options."""
        features, scene = self.target.cube.features, str(self.options.scene)
        (ranked,) = reduce_scenes(
            self.target.cube,
            [scene],
            self.reduction(1, scratch),
            features=widened(features, scene, self.words) if self.words else None,
            within=self.polygon,
            within_crs=self.target.cube.domain.crs,
            progress=progress,
        )
        return ranked

    def reduction(self, maps: int, scratch: Path | None) -> Reduction[list[RankedMap]]:
        """What is kept of so many maps, nothing yet; `search` says of ``scratch``."""
        cells = None if is_of_points(self.target.cube) else self._ranked(maps, scratch)
        if self.regional is None:
            assert cells is not None
            return cells
        layout = self.regional.layout
        return Regional(RegionMin.of(layout, maps, *self._kept(layout)), cells)

    def _kept(self, layout: Regions) -> tuple[int, int]:
        """Of each region: how many places that stand for it, and how many smallest distances."""
        ranking = self.options.ranking
        size = self.target.cube.domain.size
        return places_kept(ranking), nearest_kept(ranking, layout, size)

    def _ranked(self, maps: int, scratch: Path | None) -> Ranked:
        """Of a grid its heatmaps and their places."""
        grid = self.target.cube.grid
        best = TopK(
            grid, maps, self.options.top, self.options.radius
        )  # refuses what cannot be, before any work
        return Ranked(Heatmaps.of(grid, maps, scratch), best)

    def key(self, question: QueryItem) -> str:
        """Stands for the question; see `question_key`."""
        return question_key(self.asked(question))

    def asked(self, question: QueryItem) -> dict[str, Any]:
        """The question, in the form of a record."""
        photos = [photo_record(photo) for photo in question.photos]
        return {"photos": photos, "parameters": self.parameters, "cube": self.info}

    def answer(
        self, question: QueryItem, ranked: RankedMap, model: Model | None = None
    ) -> QueryResult:
        """The ranked places of one heatmap, explained."""
        cube, covered, points = self.target.cube, self._coverage(ranked), None
        regions = self._regions(ranked)
        if is_of_points(cube):
            assert regions is not None
            candidates = with_attributes(regions.candidates(self.options.top), cube)
            points = covered.points
        else:
            candidates = candidates_of(ranked.places, cube.grid)
        if question.photos:
            candidates = explain_candidates(candidates, cube, question.vector, self.weights)
        judged = self._judged(question, candidates, model)
        return QueryResult(
            title=question.title,
            photos=question.photos,
            vector=cube.features.logits(question.vector) if question.photos else question.vector,
            heatmap=ranked.heatmap,
            candidates=tuple(candidates),
            grid=self.grid,
            classes=cube.features.names,
            cube=self.info,
            model=self._model_info(model or self.target.model),
            parameters=self.parameters,
            imagery=tuple(imagery_near(candidates, cube)),
            places={c.rank: _place_scenes(c, cube) for c in candidates},
            notes=(*self._notes(question, covered, regions), *self._measured(question, model)),
            lacking=covered.lacking,
            asked=covered.asked,
            folder=question.folder,
            random=judged.get("random"),
            pairs=judged.get("pairs"),
            closer=judged.get("closer"),
            search_share=self._search_share(question, model),
            sensitive=self.sensitive,
            points_asked=points,
            regions=regions,
            layers=self.regional.layers if self.regional else None,
            recall=self.regional.recall(regions) if self.regional and regions else None,
        )

    def _model_info(self, model: Model | None) -> dict[str, Any]:
        return {"name": self.target.cube.model_name} if model is None else model_info(model)

    def _regions(self, ranked: RankedMap) -> RankedRegions | None:
        if self.regional is None or ranked.regions is None:
            return None
        return self.regional.ranked(ranked.regions, self.target.cube)

    def _search_share(self, question: QueryItem, model: Model | None) -> SearchShare | None:
        """How much has to be searched: the model's figures are of whole single photos, its own
        distance, and areas that are searched as a whole; elsewhere they mean nothing."""
        single = len(question.photos) == 1 and not any(
            question.photos[0].origin.get(key) for key in ("crop", "rotate")
        )
        whole = self._plain and self.polygon is None
        return search_share(model) if model and single and whole else None

    def _notes(
        self, question: QueryItem, covered: Coverage, regions: RankedRegions | None
    ) -> tuple[str, ...]:
        """What limits this answer: of the cube, of its cells, of the photos."""
        unknown = () if covered.known else (UNKNOWN,)
        regional = notes_of(regions, self.regional.layers) if self.regional and regions else ()
        words = () if self.words is None else (words_note(self.words),)
        return (*words, *self.target.notes, *unknown, *regional, *_notes_of(question.photos))

    def _measured(self, question: QueryItem, model: Model | None) -> Iterator[str]:
        """What is not known of the distances of a photo's answer."""
        if question.photos and self.options.feedback:
            yield ASKED_ANEW
        elif question.photos and model and read_calibration(model) is None:
            yield unmeasured(model.name)

    def _coverage(self, ranked: RankedMap) -> Coverage:
        """What could not be searched: found out once, as it is the same for all questions."""
        if not self._covered and is_of_points(self.target.cube):
            assert ranked.regions is not None
            known = int(ranked.regions.count.sum()) + ranked.regions.outside
            own = self._own_polygon()
            asked, lacking = point_coverage(self.target.cube, known, own, self.polygon)
            self._covered.append(Coverage(None, lacking, points=asked))
        if not self._covered:
            area = self.target.area
            polygon = None if area is None else area.polygon
            self._covered.append(coverage(self.target.cube, ranked.heatmap, polygon, self.polygon))
        return self._covered[0]

    def _own_polygon(self) -> Geometry | None:
        """That a cube of points was built in, in its CRS, as far as an area file names it."""
        area, cube = self.target.area, self.target.cube
        if area is None or cube.spec.polygon is None or area.polygon is None:
            return None
        return project(area.polygon, area.domain_crs, cube.domain.crs)

    def _judged(
        self, question: QueryItem, candidates: Sequence[Candidate], model: Model | None
    ) -> dict[str, float | None]:
        """What a photo's best place is judged by: the model's figures, else random vectors.

        The figures are of the model's own distance: under others they mean nothing.
        """
        if not (question.photos and candidates):
            return {}
        figures = read_figures(model) if model and self._plain else None
        if figures:
            return {"pairs": figures.share_as_far(candidates[0].distance)}
        cube, asked = self.target.cube, question.vector
        cells, distance = sample_cells(cube), cube.features.distance(self.weights)
        judged = {"random": random_share(asked, cells, distance)}
        best = cube.vector(*candidates[0].cell) if self.options.feedback else None
        if best is not None:  # what moved towards the places here is close to some of them anyway
            judged["closer"] = share_closer(asked, best, cells, distance)
        return judged


def unmeasured(model: str) -> str:
    """That a model has no figures of how much has to be searched."""
    return (
        f"How much of the area holds the true place with 80\u202f% is not known for model {model}: "
        "measure it on photos of known places with 'geoloc evaluate CUBE TRUTH.csv --calibrate "
        "MODEL'."
    )


def _notes_of(photos: Sequence[Photo]) -> Iterator[str]:
    """What has to be known of the photos that were asked with, each thing once."""
    yield from dict.fromkeys(note for photo in photos for note in photo.notes)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises UsageError where it cannot be read."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def class_weights(weights: Mapping[str, float] | None, classes: Sequence[str]) -> F32 | None:
    """A weight per class ``(feature,)`` from names of classes and groups, or None for none.

    Raises UnknownClassError, and UsageError for a negative weight.
    """
    if not weights:
        return None
    groups = {key: w for key, w in weights.items() if is_group(key)}
    result = group_weights(classes, groups)
    for name, weight in weights.items():
        if name not in groups:
            result[list(classes).index(find_class(name, classes))] = weight
    return result


def _place_scenes(candidate: Candidate, cube: Cube) -> tuple[tuple[str, float], ...]:
    vector = cube.vector(*candidate.cell)
    return () if vector is None else cube.features.describe(vector, _DESCRIBED)


def imagery_near(candidates: Sequence[Candidate], cube: Cube) -> Iterator[dict[str, Any]]:
    """The images that the candidates' blocks were made from, each with its candidates' ranks."""
    side, seen = cube.spec.block_size, dict[str, dict[str, Any]]()
    for candidate in candidates:
        block = cube.domain.chunk(*(along // side for along in candidate.cell), size=side)
        for item in cube.provenance(block).get("items", ()):
            record = seen.setdefault(
                item["id"], {**item, "date": item.get("date"), "candidates": []}
            )
            record["candidates"].append(candidate.rank)
    yield from seen.values()
