"""The whole national job on the sandbox country: points, their cube, regions, and down to cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..area import Area, load_area
from ..evaluation import Truth, read_truth
from ..evaluation.regions import RegionScore, shares
from ..files.whole import write_whole
from ..jobs.build import build_cube
from ..models import Model, load_model
from ..points.sample import sample_roads
from ..progress import Stages, silent
from ..query import answer_photos, query_photos
from ..query.evaluating import score
from ..query.neighbourhood import Spot, neighbourhood, step_for
from ..query.zoom import ZoomOptions, zoom_answer
from ..ranking import Ranking
from ..report import QueryResult
from ..sandbox.country.write import write_country

SEED = 7
ROBUST = Ranking.NEAREST
"""What regions are also ranked by: the mean distance of the nearest places of each."""

_ASIDE = 0.3  # of a neighbourhood's width: the true place is not in its middle
_KEPT = "zoom"


@dataclass(frozen=True)
class PhotoScore:
    """One photo's: by the study's rule and by `ROBUST`; and the percentile of the true cell
    (0..100, chance 50) in a neighbourhood that holds it."""

    photo: str
    plain: RegionScore
    robust: RegionScore
    zoomed_percentile: float | None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        zoomed = self.zoomed_percentile
        return {
            "photo": self.photo,
            "truth_region_good": self.plain.good,
            "truth_region_rank": self.plain.rank,
            "regions": self.plain.regions,
            "zoomed_percentile": None if zoomed is None else round(zoomed, 4),
            "robust_region_good": self.robust.good,
            "robust_region_rank": self.robust.rank,
        }


@dataclass(frozen=True)
class NationalDemo:
    """What the demo gave; ``answers``: the folder with the maps."""

    points: int
    build_seconds: float
    photos: tuple[PhotoScore, ...]
    failures: tuple[str, ...]
    answers: Path

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "points": self.points,
            "build_seconds": round(self.build_seconds, 2),
            "photos": [photo.to_json() for photo in self.photos],
            **shares([photo.plain for photo in self.photos]),
            "robust": shares([photo.robust for photo in self.photos]),
        }


def run_national_demo(
    out: str | Path,
    *,
    seed: int = SEED,
    km: float = 200.0,
    photos: int = 12,
    points: int = 1000,
    region_m: float | None = None,
    zoom_km: float = 1.0,
    progress: Stages = silent,
) -> NationalDemo:
    """Write a country to ``out``, sample and build its points, answer its photos, and score.

    ``region_m``: side of the regions, by default the usual one; ``zoom_km``: width of the
    neighbourhoods in which the true cell is ranked. What is there already is kept. Raises
    UsageError for a country that cannot be, OutputError where ``out`` cannot be written.
    """
    out = Path(out)
    write_country(out, seed=seed, km=km, photos=photos, stages=progress)
    sample_roads(
        [out / "roads.osm.pbf"], out / "points.parquet", points,
        within=out / "border.geojson", seed=seed, stages=progress,
    )  # fmt: skip
    area = load_area(out / "area.yaml")
    report = build_cube(area, progress=progress("encoding the imagery around the points"))
    report.raise_if_incomplete()
    truths = read_truth(out / "photos" / "truth.csv")
    paths = [out / "photos" / truth.file for truth in truths]
    places = {truth.file: (truth.lat, truth.lon) for truth in truths}
    answers = query_photos(
        out / "area.yaml", paths, out / "answers", truth=places, regions=region_m,
        progress=progress,
    )  # fmt: skip
    zoomed = _zoom_all(area, out, truths, zoom_km, progress)
    robust = answer_photos(out / "area.yaml", paths, regions=region_m, ranking=ROBUST)
    both = zip(answers.results, robust.results, strict=True)
    scores = [_scored(*one, truths, zoomed) for one in both]
    if answers.results and answers.results[0].folder:
        zoom_answer(answers.results[0].folder, 1, ZoomOptions(zoom_km, cache=out / _KEPT), progress)
    demo = NationalDemo(
        report.cells, report.seconds, tuple(scores), tuple(answers.failures.values()),
        out / "answers",
    )  # fmt: skip
    write_whole(out / "demo.json", json.dumps(demo.to_json(), indent=1))
    return demo


def _scored(
    result: QueryResult,
    robust: QueryResult,
    truths: Sequence[Truth],
    zoomed: Mapping[str, float | None],
) -> PhotoScore:
    assert result.photo is not None, "photos were asked"
    truth = next(one for one in truths if one.file == result.photo.path.name)
    plain, other = (_region_score(one, truth) for one in (result, robust))
    return PhotoScore(truth.file, plain, other, zoomed[truth.file])


def _region_score(result: QueryResult, truth: Truth) -> RegionScore:
    assert result.regions is not None, "a cube of points is answered by regions"
    return RegionScore.of(result.regions, truth)


def _zoom_all(
    area: Area, out: Path, truths: Sequence[Truth], km: float, progress: Stages
) -> dict[str, float | None]:
    """By photo, the percentile of the true cell in a neighbourhood that holds it."""
    model, tell = load_model(area.model), progress("zooming in on the true places")
    found: dict[str, float | None] = {}
    for number, truth in enumerate(truths):
        found[truth.file] = _zoomed(area, model, out, truth, number, km)
        tell(number + 1, len(truths))
    return found


def _zoomed(
    area: Area, model: Model, out: Path, truth: Truth, number: int, km: float
) -> float | None:
    assert model.spec.overhead is not None, "the cube was built by this model"
    north, east = np.random.default_rng(number).uniform(-_ASIDE, _ASIDE, 2) * km / 111.2
    lon = truth.lon + east / np.cos(np.radians(truth.lat))
    spot = Spot("candidate", 1, float(lon), float(truth.lat + north))
    around = neighbourhood(area, model, spot, km, step_for(model.spec.overhead), out / _KEPT)
    build_cube(around).raise_if_incomplete()
    answers = answer_photos(around.cube, [out / "photos" / truth.file])
    placements = [one.placement for one in score(answers.results, [truth])]
    return placements[0].percentile if placements and placements[0] else None
