"""Several models in tandem: cubes of the same places, asked together.

Their distances become z-scores, by a bank of unrelated photos where there is one, and are averaged:
see `geoloc.evaluation.tandem`. The answer shows for each place what every single model says of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from ..cube import Cube
from ..domain import Domain, Grid, Points
from ..errors import OutputError, UsageError
from ..evaluation import Placement, Truth, read_truth
from ..evaluation.bootstrap import Figure, figures, mean_figure
from ..evaluation.ranks import ON_A_MAP, Ranks
from ..evaluation.tandem import Bank, by_places, fused
from ..evaluation.truth import place_groups
from ..files.whole import is_remains, write_whole
from ..models import Model
from ..names import alike, free_name, safe_name
from ..photos import Photo, photo_path
from ..search import RADIUS, Query, TopK, scan
from .encode import encode
from .target import cube_model, open_target
from .truth import true_point

TANDEM, TANDEM_BANK = "tandem", "tandem_bank"
FILE, PLACES = "tandem.json", "candidates.geojson"
_MOST = 1 << 24  # places: what is kept of them must fit in memory
_GROUP = 16  # photos of a pass

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class TandemPlace:
    """One of the best places: degrees, the fused z-score, and for each model its own z-score,
    the distance, and the percentile (0..100) of the place by that distance alone."""

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
class TandemAnswer:
    """The best places of one photo."""

    photo: str
    sha256: str
    places: tuple[TandemPlace, ...]
    folder: Path | None = None


@dataclass(frozen=True, eq=False)
class _Member:
    """A model of the tandem: its cube, its name here, and what its bank says, if there is one."""

    name: str
    cube: Cube
    model: Model
    bank: Bank | None


@dataclass(frozen=True, eq=False)
class Tandem:
    """Cubes of the same places by several models; open one with `open_tandem`.

    weights: of each model; bank: how many photos it has; failures: why others of it could not be
    read, by path.
    """

    members: tuple[_Member, ...]
    weights: tuple[float, ...]
    bank: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def domain(self) -> Domain:
        """The places."""
        return self.members[0].cube.domain

    def read(self, paths: Sequence[Path]) -> tuple[list[Photo], list[F32], dict[str, str]]:
        """The readable photos, their vectors ``(photo, feature)`` by each model, and failures."""
        encoded = [encode(paths, member.model) for member in self.members]
        return encoded[0][0], [vectors for _, vectors, _ in encoded], encoded[0][2]

    def distances(self, vectors: Sequence[F32], photo: int) -> list[F32]:
        """Of one photo to all places by each model, ``(1, place)``."""
        one = slice(photo, photo + 1)
        pairs = zip(self.members, vectors, strict=True)
        return [distance_maps(member.cube, own[one]) for member, own in pairs]

    def fused(self, scores: Sequence[F64]) -> F64:
        """The z-scores of all models together."""
        return fused(scores, self.weights)

    def scores(self, distances: Sequence[F32], *, by_bank: bool | None = None) -> list[F64]:
        """z-scores of each model's distances: by the bank where there is one, else by places."""
        wanted = self.bank > 0 if by_bank is None else by_bank
        return [
            member.bank.scores(own) if wanted and member.bank else by_places(own)
            for member, own in zip(self.members, distances, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class TandemEvaluation:
    """Figures of each model alone and of all in tandem, by places and by the bank; ``gains``: mean
    percentile of the better model alone, less that in tandem, with its interval over places."""

    methods: dict[str, dict[str, Figure]]
    better: str
    gains: dict[str, Figure]
    photos: int
    failures: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        told = {
            name: {key: one.to_json() for key, one in found.items()}
            for name, found in self.methods.items()
        }
        gains = {name: one.to_json() for name, one in self.gains.items()}
        return {"methods": told, "better_alone": self.better, "gains": gains,
                "photos": self.photos, "failures": self.failures}  # fmt: skip


def distance_maps(cube: Cube, vectors: F32) -> F32:
    """Distances ``(photo, place)`` of all places of a cube, row by row, NaN where missing."""
    shape = cube.domain.shape
    maps = np.full((len(vectors), *shape), np.nan, np.float32)
    for start in range(0, len(vectors), _GROUP):
        part = slice(start, start + _GROUP)
        for chunk, values in scan(cube, Query(vectors[part])):
            maps[(part, *chunk.slices)] = values
    return maps.reshape(len(vectors), -1)


def open_tandem(
    cubes: Sequence[str | Path],
    bank: Sequence[Path] = (),
    *,
    weights: Sequence[float] | None = None,
) -> Tandem:
    """Open cubes of the same places, each by its own model, and ask them about the bank's photos.

    Raises UsageError for fewer than two cubes, such of different places, more places than fit in
    memory, or too small a bank; CubeError, ModelError.
    """
    if len(cubes) < 2:
        raise UsageError("a tandem needs at least two cubes of the same places: --cube A --cube B")
    chosen = tuple(weights or [1.0] * len(cubes))
    fused([np.zeros(1)] * len(cubes), chosen)  # refuses weights that do not fit, before any work
    targets = [open_target(cube) for cube in cubes]
    _require_same_places([target.cube for target in targets])
    models = [cube_model(target) for target in targets]
    members, failures = list[_Member](), dict[str, str]()
    for name, target, model in zip(_names(models), targets, models, strict=True):
        _, vectors, lost = encode(list(bank), model) if bank else ([], [], {})
        failures |= lost
        usual = Bank.of(distance_maps(target.cube, np.asarray(vectors))) if bank else None
        members.append(_Member(name, target.cube, model, usual))
    return Tandem(tuple(members), chosen, len(bank) - len(failures), failures)


def search_tandem(
    tandem: Tandem,
    photos: Sequence[str | Path],
    out: Path,
    *,
    top: int = 20,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[TandemAnswer], dict[str, str]]:
    """The best places of each photo by all models together, written to ``out/<photo>/``; and
    failures by path. Raises OutputError."""
    paths, answers = [photo_path(photo) for photo in photos], list[TandemAnswer]()
    used = set[str]()
    read, vectors, failures = tandem.read(paths)
    for number, photo in enumerate(read):
        places = _places(tandem, tandem.distances(vectors, number), top)
        folder = _folder(tandem, photo, out, used)
        answers.append(TandemAnswer(photo.file, photo.sha256, places, folder))
        _write(tandem, answers[-1])
        if progress:
            progress(number + 1, len(read))
    return answers, failures


def evaluate_tandem(
    tandem: Tandem,
    truth: Path,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> TandemEvaluation:
    """Rank the true places of the photos of a truth file (they lie beside it) by each model alone
    and by all together. Raises UsageError where none of them can be ranked."""
    truths = read_truth(truth)
    paths = [photo_path(truth.parent / row.file) for row in truths]
    read, vectors, failures = tandem.read(paths)
    of = dict(zip(map(str, paths), truths, strict=True))
    placed: dict[str, list[Placement]] = {}
    rows: list[Truth] = []
    for number, photo in enumerate(read):
        row = of[str(photo.path)]
        methods = _methods(tandem, tandem.distances(vectors, number))
        cell = _cell(tandem.domain, row)
        if cell is not None and np.isfinite(methods[TANDEM][cell]):
            rows.append(row)
            for name, found in methods.items():
                placed.setdefault(name, []).append(_placement(row.file, found, cell))
        if progress:
            progress(number + 1, len(read))
    if not rows:
        raise UsageError(f"{truth}: none of its photos lies in the cubes and can be read")
    return _evaluation(placed, place_groups(rows), seed, failures)


def _methods(tandem: Tandem, distances: Sequence[F32]) -> dict[str, NDArray[np.floating]]:
    """What the places ``(place,)`` are ranked by: each model's distance, and both ways to fuse."""
    alone: dict[str, NDArray[np.floating]] = {
        member.name: own[0] for member, own in zip(tandem.members, distances, strict=True)
    }
    alone[TANDEM] = tandem.fused(tandem.scores(distances, by_bank=False))[0]
    if tandem.bank:
        alone[TANDEM_BANK] = tandem.fused(tandem.scores(distances, by_bank=True))[0]
    return alone


def _evaluation(
    placed: dict[str, list[Placement]], groups: Sequence[int], seed: int, failures: dict[str, str]
) -> TandemEvaluation:
    ranks = {name: Ranks.of_placements(found) for name, found in placed.items()}
    together = [name for name in (TANDEM, TANDEM_BANK) if name in ranks]
    alone = {n: float(one.share.mean()) for n, one in ranks.items() if n not in together}
    better = min(alone, key=lambda name: alone[name])
    gains = {
        name: mean_figure(100 * (ranks[better].share - ranks[name].share), groups, seed=seed)
        for name in together
    }
    methods = {name: figures(ON_A_MAP, found, groups, seed=seed) for name, found in ranks.items()}
    return TandemEvaluation(methods, better, gains, len(groups), failures)


def _placement(name: str, scores: NDArray[np.floating], cell: int) -> Placement:
    rank = float(np.count_nonzero(scores <= scores[cell]))
    return Placement(name, rank, int(np.count_nonzero(np.isfinite(scores))))


def _cell(domain: Domain, row: Truth) -> int | None:
    if not isinstance(domain, Grid):
        raise UsageError("a tandem of points cannot be evaluated: build cubes of a grid")
    point = true_point(domain, row.lat, row.lon)
    cell = None if point is None else domain.index(*point)
    return None if cell is None else cell[0] * domain.nx + cell[1]


def _places(tandem: Tandem, distances: Sequence[F32], top: int) -> tuple[TandemPlace, ...]:
    domain, scores = tandem.domain, tandem.scores(distances)
    best = TopK(domain, 1, top, RADIUS if isinstance(domain, Grid) else 0.0)
    shaped = tandem.fused(scores)[0].reshape(domain.shape).astype(np.float32)
    for chunk in domain.chunks():
        best.add(chunk, shaped[chunk.slices][None])
    to_degrees = Transformer.from_crs(domain.crs, 4326, always_xy=True)
    found = []
    for rank, place in enumerate(best.result()[0], start=1):
        lon, lat = to_degrees.transform(place.x, place.y)
        said = {
            member.name: _said(own[0], score[0], place.index)
            for member, own, score in zip(tandem.members, distances, scores, strict=True)
        }
        score, percentile = round(place.distance, 4), round(place.percentile, 4)
        found.append(TandemPlace(rank, round(lat, 7), round(lon, 7), score, percentile, said))
    return tuple(found)


def _said(distances: F32, scores: F64, index: int) -> dict[str, float]:
    """What one model says of a place."""
    percentile = _placement("", distances, index).percentile
    told = {"score": scores[index], "distance": distances[index], "percentile": percentile}
    return {name: round(float(value), 4) for name, value in told.items()}


def _names(models: Sequence[Model]) -> list[str]:
    """The models' names, with their digests where two have the same."""
    names = [model.name for model in models]
    return [
        f"{model.name}-{model.digest[:12]}" if names.count(model.name) > 1 else model.name
        for model in models
    ]


def _require_same_places(cubes: Sequence[Cube]) -> None:
    first = cubes[0]
    if first.domain.size > _MOST:
        raise UsageError(
            f"cube {first.url} has {first.domain.size:,} places, and a tandem takes {_MOST:,}: "
            "build smaller areas"
        )
    for cube in cubes[1:]:
        if _key(cube.domain) != _key(first.domain):
            raise UsageError(
                f"cubes {first.url} and {cube.url} are not of the same places: build both with the "
                "same bounds, CRS and step"
            )
    if len({cube.url for cube in cubes}) < len(cubes):
        raise UsageError(f"cube {first.url} is named twice: a tandem needs cubes of two models")


def _key(domain: Domain) -> tuple[Any, ...]:
    if isinstance(domain, Points):
        return (domain.crs, domain.digest)
    return (domain.crs, domain.shape, *domain.bounds)


def _folder(tandem: Tandem, photo: Photo, out: Path, used: set[str]) -> Path:
    """Where an answer goes: never to the place of another photo's, of other cubes' or of a
    query's. ``used``: names of this run, to which its own is added."""

    def is_taken(name: str) -> bool:
        return alike(name) in used or not _is_own(tandem, photo, out / name)

    name = free_name(safe_name(photo.name), is_taken)
    used.add(alike(name))
    return out / name


def _is_own(tandem: Tandem, photo: Photo, folder: Path) -> bool:
    """Whether a folder is not there, or holds this very question's answer and nothing else."""
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return not folder.is_symlink()
    except OSError:
        return False
    if not {name for name in names if not is_remains(name)} <= {FILE, PLACES}:
        return False
    if FILE not in names:
        return not names or names == {PLACES}  # cut off before its record
    try:
        record = json.loads((folder / FILE).read_text(encoding="utf-8"))
        asked = {name: (one["digest"], one["cube"]) for name, one in record["models"].items()}
        own = {member.name: (member.model.digest, member.cube.url) for member in tandem.members}
        return bool(record["photo"]["sha256"] == photo.sha256 and asked == own)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write(tandem: Tandem, answer: TandemAnswer) -> None:
    assert answer.folder is not None
    record = {
        "format": "geoloc-tandem/1",
        "photo": {"file": answer.photo, "sha256": answer.sha256},
        "calibration": "bank" if tandem.bank else "places",
        "bank": tandem.bank,
        "models": {
            m.name: {
                "digest": m.model.digest,
                "cube": m.cube.url,
                "generation": m.cube.generation,
                "weight": weight,
            }
            for m, weight in zip(tandem.members, tandem.weights, strict=True)
        },
        "candidates": [place.to_json() for place in answer.places],
    }
    features = [
        {"type": "Feature", "id": place.rank,
         "geometry": {"type": "Point", "coordinates": [place.lon, place.lat]},
         "properties": {"name": f"#{place.rank}", **place.to_json()}}
        for place in answer.places
    ]  # fmt: skip
    document = {"type": "FeatureCollection", "name": answer.photo, "features": features}
    try:
        answer.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (answer.folder / FILE).unlink(missing_ok=True)  # an earlier one is not of the new places
        for name, content in ((PLACES, document), (FILE, record)):
            text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=1)
            write_whole(answer.folder / name, text + "\n")
    except OSError as error:
        raise OutputError(
            f"{answer.folder} cannot be written ({error.strerror or error}): name another --out"
        ) from None
