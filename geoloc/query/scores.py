"""How the photos of a known place were answered: scores of each, and the figures of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..errors import UsageError
from ..evaluation import Placement, Summary, Truth, summarize
from ..evaluation.bootstrap import Figure, figures, known, mean_figure
from ..evaluation.calibration import calibrate
from ..evaluation.normalisation import KINDS, NONE
from ..evaluation.ranks import ON_A_MAP, Ranks, recall_curve
from ..evaluation.regions import RegionScore, region_figures, region_items
from ..models.calibration import Calibration

CANDIDATES = 20
"""Best places of each photo that are looked at for recall within a radius."""

RADII = (50, 100, 250, 500, 1000, 2500, 5000, 25000)
"""m from the true place."""

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Of the area: where the curve of recall is given."""

DISTANCE = "distance"
"""What ranks cells if nothing else is said; baselines and other scores have names of their own."""

_BLOCK_TOP = (1, 5, CANDIDATES)


@dataclass(frozen=True)
class Score:
    """One photo's: percentile of the true cell (0..100, chance 50), and m from the truth to the
    best candidate; None where the truth lies outside of the cube.

    candidates_m: m to each candidate, the best first; others: placements by the name of another
    score or baseline; regions: how the true region did, by what regions are ranked by.
    """

    photo: str
    placement: Placement | None
    best_candidate_m: float | None
    truth: Truth | None = None
    group: int = 0
    candidates_m: tuple[float, ...] = ()
    others: Mapping[str, Placement] = field(default_factory=dict)
    regions: Mapping[str, RegionScore] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        percentile = self.placement and round(self.placement.percentile, 4)
        distance = None if self.best_candidate_m is None else round(self.best_candidate_m, 1)
        told = {"photo": self.photo, "percentile": percentile, "best_candidate_m": distance}
        return {**told, "regions": region_items(self.regions)} if self.regions else told


@dataclass(frozen=True)
class Evaluation:
    """Scores of photos with a known place, and one line for each that could not be answered.

    km2: of the cells that were searched, None for points; seed: of the bootstraps; fused: by how
    many photos of each place were averaged, scores of the places that have enough for all of these;
    feedback: whether photos asked with it.
    """

    scores: tuple[Score, ...]
    failures: Mapping[str, str]
    model: str = ""
    digest: str = ""
    km2: float | None = None
    seed: int = 0
    normalised: bool = False
    fused: Mapping[int, tuple[Score, ...]] = field(default_factory=dict)
    feedback: bool = False

    @property
    def summary(self) -> Summary:
        """Medians and top-k figures."""
        return summarize(score.placement for score in self.scores)

    @property
    def placed(self) -> list[Score]:
        """Those whose true cell is known."""
        return [score for score in self.scores if score.placement is not None]

    def methods(self) -> dict[str, list[Placement]]:
        """Placements by what ranked the cells: the distance, baselines, normalised scores."""
        placed = self.placed
        by_method = {DISTANCE: [p for score in placed if (p := score.placement)]}
        names = dict.fromkeys(name for score in placed for name in score.others)
        return by_method | {name: [score.others[name] for score in placed] for name in names}

    def tables(self) -> dict[str, dict[str, dict[str, Figure]]]:
        """Figures by table ("all", "scene", "stratum"), row and metric."""
        groups = [score.group for score in self.placed]
        every = {
            name: figures(ON_A_MAP, Ranks.of_placements(placements), groups, seed=self.seed)
            for name, placements in self.methods().items()
        }
        kinds = {
            "scene": self._by("scene", self._of, self.placed),
            "stratum": self._by("stratum", self._of, self.placed),
            **self._tables_of_regions(),
            **self._tables_of_fused(),
        }
        return {"all": every, **{name: rows for name, rows in kinds.items() if rows}}

    def _tables_of_regions(self) -> dict[str, dict[str, dict[str, Figure]]]:
        """Figures of the true regions for each ranking; of the first one by kind of place."""
        scores = [score for score in self.scores if score.regions]
        rankings = list(scores[0].regions) if scores else []
        by_ranking = {name: self._of_regions(name, scores) for name in rankings}
        if not rankings:
            return {}
        of = partial(self._of_regions, rankings[0])
        return {
            "regions": by_ranking,
            "regions_scene": self._by("scene", of, scores),
            "regions_stratum": self._by("stratum", of, scores),
        }

    def _tables_of_fused(self) -> dict[str, dict[str, dict[str, Figure]]]:
        """Figures by how many photos of a place were averaged; of true regions for each ranking."""
        cells, regions = dict[str, dict[str, Figure]](), dict[str, dict[str, Figure]]()
        for count, scores in self.fused.items():
            name = f"{count} photo{'s' if count > 1 else ''}"
            cells[name] = self._of([score for score in scores if score.placement])
            inside = [score for score in scores if score.regions]
            for ranking in inside[0].regions if inside else ():
                regions[f"{name}, {ranking}"] = self._of_regions(ranking, inside)
        return {"fused": cells, "regions_fused": regions}

    def _of_regions(self, ranking: str, scores: Sequence[Score]) -> dict[str, Figure]:
        found = [score.regions[ranking] for score in scores]
        told = region_figures(found, [score.group for score in scores], self.seed)
        return {"photos": Figure(float(len(scores))), **told}

    @staticmethod
    def _by(
        column: str, figures_of: Callable[[Sequence[Score]], dict[str, Figure]],
        scores: Sequence[Score],
    ) -> dict[str, dict[str, Figure]]:  # fmt: skip
        """Figures for each kind of place that the truth names."""
        own: dict[str, list[Score]] = {}
        for score in scores:
            if score.truth and (kind := getattr(score.truth, column)):
                own.setdefault(kind, []).append(score)
        return {kind: figures_of(own[kind]) for kind in sorted(own)}

    def _of(self, scores: Sequence[Score]) -> dict[str, Figure]:
        ranks = Ranks.of_placements(p for score in scores if (p := score.placement))
        measured = figures(ON_A_MAP, ranks, [score.group for score in scores], seed=self.seed)
        return {"photos": Figure(float(len(scores))), **measured}

    def ranks(self) -> Ranks:
        """Of the true cells by the distance."""
        return Ranks.of_placements(p for score in self.placed if (p := score.placement))

    def recall_within(self) -> dict[str, dict[str, Figure]]:
        """Percentage of photos with one of the best candidates at most so many m off."""
        scores = [score for score in self.scores if score.candidates_m]
        groups = [score.group for score in scores]
        table = {}
        for radius in RADII:
            near = [np.array(score.candidates_m) <= radius for score in scores]
            table[str(radius)] = {
                f"top{top}": mean_figure(
                    np.array([100.0 * hit[:top].any() for hit in near]), groups, seed=self.seed
                )
                for top in _BLOCK_TOP
            }
        return table

    def curve(self) -> dict[str, Any]:
        """Recall against the share searched, and the area of that, for each method."""
        curves: dict[str, Any] = {"share": list(SHARES)}
        if self.km2 is not None:
            curves["km2"] = [known(share * self.km2) for share in SHARES]
        for name, placements in self.methods().items():
            recall = recall_curve(Ranks.of_placements(placements), SHARES)
            curves[name] = [round(float(value), 4) for value in recall]
        return curves

    def calibration(self, source: str) -> Calibration:
        """How much has to be searched for which probability; raises UsageError without photos,
        and with feedback, which answers that state it are without."""
        if self.feedback:
            raise UsageError(
                "a calibration is of answers without feedback: evaluate the photos without it"
            )
        placed = self.placed
        if not placed:
            raise UsageError(f"no photo of {source} lies in the cube: nothing can be calibrated")
        measured = calibrate(
            self.ranks(), [score.group for score in placed],
            model=self.digest, source=source,
            searched="points" if self.km2 is None else "cells", seed=self.seed,
        )  # fmt: skip
        return measured.model_copy(update=self._normalisation())

    def _normalisation(self) -> dict[str, Any]:
        """The score that these photos choose, where a bank was given; see `choose`."""
        if not self.normalised:
            return {}
        return choose({name: placements for name, placements in self.methods().items()
                       if name == DISTANCE or name in KINDS},
                      [score.group for score in self.placed], self.seed)  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """For machines: each photo, the summary's figures beside them (null for unknown), and
        tables of figures with their intervals where true cells were ranked by themselves."""
        summary = self.summary.as_dict()
        summary.pop("photos")
        rounded = {name: None if math.isnan(v) else round(v, 4) for name, v in summary.items()}
        plain = {"photos": [score.to_json() for score in self.scores], **rounded}
        if not self.digest:
            return plain
        tables = {
            table: {row: _json(row_figures) for row, row_figures in rows.items()}
            for table, rows in self.tables().items()
        }
        first = tables["all"][DISTANCE]
        return {
            **plain,
            **{f"{name}_ci": first[name]["ci"] for name in first},
            "model": self.model,
            "digest": self.digest,
            "places": len({score.group for score in self.placed}),
            "km2": known(self.km2) if self.km2 is not None else None,
            "seed": self.seed,
            "feedback": self.feedback,
            "methods": tables.pop("all"),
            **tables,
            "recall_within_m": {reach: _json(row) for reach, row in self.recall_within().items()},
            "recall_curve": self.curve(),
            "failures": dict(self.failures),
        }

    def items(self) -> list[dict[str, Any]]:
        """Each photo's own scores, by which two evaluations are compared."""
        return [
            {
                **{key: value for key, value in score.to_json().items() if key != "regions"},
                "group": score.group,
                "rank": score.placement.rank,
                "cells": score.placement.cells,
                **{
                    f"{name}_region_{key}": value
                    for name, one in region_items(score.regions).items()
                    for key, value in one.items()
                },
            }
            for score in self.scores
            if score.placement is not None
        ]


def _json(by_name: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.to_json() for name, figure in by_name.items()}


def choose(
    methods: Mapping[str, Sequence[Placement]], groups: Sequence[int], seed: int = 0
) -> dict[str, Any]:
    """The normalisation to use: the best area under recall, if it beats the raw distance for sure.

    For sure: the whole 95 % interval of the paired difference is above 0. Otherwise "none".
    """
    ranks = {name: Ranks.of_placements(placed) for name, placed in methods.items()}
    tried, best = dict[str, dict[str, Any]](), (0.0, NONE.name)
    for name, own in ranks.items():
        gain = mean_figure(ranks[DISTANCE].share - own.share, groups, seed=seed)
        tried[NONE.name if name == DISTANCE else name] = {
            "area_under_recall": known(float(1 - own.share.mean())), "gain": gain.to_json(),
        }  # fmt: skip
        if gain.low > 0 and gain.value > best[0]:
            best = (gain.value, name)
    return {"normalisation": best[1], "normalisations": tried}
