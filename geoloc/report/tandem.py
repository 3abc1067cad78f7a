"""What an answer of several models in tandem says of each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..arrays import F32
from .formatting import OfPlace, percent

if TYPE_CHECKING:
    from ..candidates import Candidate
    from ..domain import Grid
    from ..photos import Photo
    from ..search import Heatmap
    from .survey import Survey

SCORE = "score"
"""What the places of such an answer are ranked by, in place of a distance."""


class Mapped(Protocol):
    """A heatmap and its figures; `QueryResult` has them."""

    @property
    def grid(self) -> Grid: ...

    @property
    def heatmap(self) -> Heatmap: ...

    @property
    def survey(self) -> Survey: ...

    @property
    def measure(self) -> str: ...


class Alone(Mapped, OfPlace, Protocol):
    """The answer of one model alone; `QueryResult` has it."""

    @property
    def model(self) -> Mapping[str, Any]: ...

    @property
    def cube(self) -> Mapping[str, Any]: ...

    @property
    def photos(self) -> Sequence[Photo]: ...

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    @property
    def vector(self) -> F32: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def known(self) -> int: ...

    @property
    def candidates(self) -> Sequence[Candidate]: ...

    @property
    def match_words(self) -> str | None: ...

    def told_truth(self) -> dict[str, Any] | None: ...


@dataclass(frozen=True)
class Said:
    """What one model alone says of a place: the number of places that are at most as far by its
    own distance, in percent too (0..100), that distance, and its z-score. Of a scene the distance
    is ``-log p(scene | place)``."""

    rank: int
    percentile: float
    distance: float
    score: float

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "rank": self.rank,
            "percentile": round(self.percentile, 4),
            "distance": round(self.distance, 4),
            "score": round(self.score, 4),
        }


@dataclass(frozen=True)
class TandemModel:
    """One of the models: its name here, its share of the score (0..1), its answer alone, and what
    it says of the candidates of all together, by their rank. A scene has the name that it gives it.
    """

    name: str
    share: float
    alone: Alone
    said: Mapping[int, Said]

    @property
    def vector(self) -> dict[str, float]:
        """The photo's, by class."""
        return dict(zip(self.alone.classes, self.alone.vector.tolist(), strict=True))

    @property
    def weight_words(self) -> str:
        """Its share, for people."""
        return percent(100 * self.share)

    def to_json(self) -> dict[str, Any]:
        """For machines: which model and cube that was, and its own best places."""
        alone = self.alone
        return {
            "name": self.name,
            "weight": self.share,
            **({} if alone.photos else {"scene": alone.parameters.get("scene")}),
            "model": alone.model,
            "cube": alone.cube,
            "cells_known": alone.known,
            "heatmap_sha256": alone.survey.sha256,
            "truth": alone.told_truth(),
            "candidates": [
                {"rank": c.rank, "distance": c.distance, "percentile": c.percentile,
                 "lon": round(c.lon, 7), "lat": round(c.lat, 7)}
                for c in alone.candidates
            ],
        }  # fmt: skip


@dataclass(frozen=True)
class TandemPlace:
    """One of the best places: degrees, the fused z-score, and for each model its own z-score,
    its distance, and the rank and percentile (0..100) of the place by that distance alone."""

    rank: int
    lat: float
    lon: float
    score: float
    percentile: float
    models: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"rank": self.rank, "lat": self.lat, "lon": self.lon, "score": self.score,
                "percentile": self.percentile, "models": self.models}  # fmt: skip


@dataclass(frozen=True)
class TandemPart:
    """Models that answered together. bank: the unrelated photos that their scores are calibrated
    by, as `photo_record` has them in part; without any they are by the places."""

    models: tuple[TandemModel, ...]
    bank: tuple[Mapping[str, Any], ...] = ()

    @property
    def calibration(self) -> str:
        """What the z-scores are among: distances of a bank of photos, or of all places."""
        return "bank" if self.bank else "places"

    def of_place(self, rank: int) -> dict[str, dict[str, Any]]:
        """What each model says of a candidate, with its weight."""
        return {
            one.name: {**one.said[rank].to_json(), "weight": one.share}
            for one in self.models
            if rank in one.said
        }

    def places(self, candidates: Sequence[Candidate]) -> tuple[TandemPlace, ...]:
        """The candidates of all together, with what each model says of them."""
        return tuple(
            TandemPlace(
                c.rank, round(c.lat, 7), round(c.lon, 7), round(c.distance, 4),
                round(c.percentile, 4), self.of_place(c.rank),
            )
            for c in candidates
        )  # fmt: skip

    def words(self, rank: int) -> Iterator[str]:
        """The same for people, a line a model."""
        for one in self.models:
            said = one.said.get(rank)
            if said is None:
                yield f"{one.name}: nothing known there"
            else:
                known = f"{said.rank:,} of {one.alone.known:,}"
                yield f"{one.name}: rank {known} (best {percent(said.percentile)})"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return self._told([one.to_json() for one in self.models])

    def record(self) -> dict[str, Any]:
        """The same with the photo's vector by each model, as a repetition needs it."""
        return self._told([{**one.to_json(), "vector": one.vector} for one in self.models])

    def _told(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        return {"calibration": self.calibration, "bank": list(self.bank), "models": models}
