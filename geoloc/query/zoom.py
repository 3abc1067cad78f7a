"""Down to the cell: the neighbourhood of a place of an answer, and the same query run there.

The neighbourhood is an area of its own: a square in the place's UTM zone, from the same imagery,
by the same model, in finer steps. Its cube is built once and kept by its place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pyproj import Transformer

from ..area import Area
from ..area.ground import utm_code
from ..area.spec import explain
from ..cube import Cube
from ..domain import Grid
from ..errors import CubeError, ModelError, SpecMismatchError, UsageError
from ..jobs.build import build_cube
from ..models import Model
from ..models.spec import OverheadSpec
from ..names import free_name, safe_name
from ..report import QueryResult, check_writable, write_report
from ..report.outputs import RECORD
from ..report.result import Parent
from ..stores import local_path
from .folders import Folders
from .items import QueryItem
from .options import QueryOptions
from .record import read_record
from .remembered import require_open
from .repeat import cube_named, recorded_model, recorded_options, recorded_question
from .run import answer_scene
from .session import QuerySession, file_digest
from .stages import Stages, silent
from .target import Target, cube_model, open_target
from .truth import with_truth

Record = Mapping[str, Any]

USUAL_STEP = 10.0
"""m between the cells of a neighbourhood, where the model serves that."""

_PATCH_SHARE = 4  # a model of single patches: their sides are so many steps
_WIDEST = 100.0  # km: a zone's metres are metres there
_OF_PARENT = (
    "generation",
    "regions",
    "ranking",
    "border",
    "border_sha256",
)  # options that are the parent's
_KEPT = "zoom"  # folder of the cubes of neighbourhoods


@dataclass(frozen=True)
class Spot:
    """A place of an answer: ``kind`` is candidate or region; degrees (WGS84)."""

    kind: str
    rank: int
    lon: float
    lat: float


def spot_of(record: Record, rank: int, *, region: bool = False) -> Spot:
    """The candidate, or the good region, of a rank. Raises UsageError where there is none."""
    kind = "region" if region else "candidate"
    if region:
        regions = record.get("regions")
        places = regions.get("good_regions") if isinstance(regions, Mapping) else None
        if not isinstance(places, list):
            raise UsageError("the answer has no regions: query with --regions, or omit --region")
    else:
        places = record["candidates"]
    ranks = {one["rank"]: one for one in places if isinstance(one, Mapping) and "rank" in one}
    if rank not in ranks:
        known = f"they go from 1 to {max(ranks)}" if ranks else "it has none"
        raise UsageError(f"--rank {rank}: the answer has no such {kind}: {known}")
    try:
        return Spot(kind, rank, float(ranks[rank]["lon"]), float(ranks[rank]["lat"]))
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"the record is damaged ({kind} {rank}): ask again") from None


def step_for(spec: OverheadSpec, parent: float | None = None) -> float:
    """m between cells: 10, or what the model serves, and never more than its ``parent``'s.

    A dense network is interpolated at most to half of its own distance between vectors; patches
    are computed one by one, so that four to a side of one is as fine as pays.
    """
    if spec.dense is not None:
        best = max(USUAL_STEP, spec.dense.stride * spec.preferred_gsd / 2)
    else:
        best = max(USUAL_STEP, spec.patch_px * spec.preferred_gsd / _PATCH_SHARE)
    return best if parent is None else min(best, parent)


def square_around(lon: float, lat: float, km: float, step: float) -> tuple[str, list[float]]:
    """The UTM zone of a place, and bounds ``km`` wide around it in whole steps.

    Raises UsageError for a square that is no cell wide.
    """
    cells = round(km * 1000 / step)
    if cells < 1:
        raise UsageError(f"--km {km:g} is less than a cell of {step:g} m: widen it")
    crs = utm_code(lon, lat)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    left, bottom = (round(middle / step - cells / 2) * step for middle in (x, y))
    return crs, [left, bottom, left + cells * step, bottom + cells * step]


def parent_area(
    record: Record, cube: str | Path | None = None, *, fetch_imagery: bool = False
) -> tuple[Area, Target]:
    """The area of an answer's cube, and the cube.

    ``cube``: its area file, or where it is now; without, the record says where it was, and what
    the cube remembers of its imagery is opened as `geoloc.query.remembered` has it. Raises
    SpecMismatchError for a cube of another model, CubeError where its imagery is not known or not
    to be opened.
    """
    ref = cube_named(record, cube)
    target = open_target(ref, fetch_imagery=fetch_imagery)
    asked = record["cube"].get("model_digest")
    if asked not in (None, target.cube.model_digest):
        raise SpecMismatchError(
            f"the cube {ref} is of model {target.cube.model_name} "
            f"({target.cube.model_digest[:12]}), the answer of {str(asked)[:12]}: name its own "
            "cube with --cube"
        )
    try:
        area = target.named_area
    except ValidationError:
        raise CubeError(
            f"cube {ref} does not say which imagery it is from: name its area file with --cube"
        ) from None
    if target.area is None:
        require_open(area.imagery, target.cube.url, fetch=fetch_imagery)
    return area, target


def neighbourhood(
    parent: Area, model: Model, spot: Spot, km: float, step: float, cache: Path
) -> Area:
    """The area around a place; its cube lies in ``cache``, under a name made from the place."""
    crs, bounds = square_around(spot.lon, spot.lat, km, step)
    imagery = parent.imagery.recorded()
    made_from = json.dumps([bounds, step, model.digest, imagery], sort_keys=True)
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:8]
    name = f"{crs.replace(':', '')}-{bounds[0]:.0f}-{bounds[1]:.0f}-{km:g}km-{step:g}m-{digest}"
    facts = {
        "name": f"{parent.name[:80]} ({km:g} km)",  # no place: shared copies keep names
        "crs": crs,
        "bounds": bounds,
        "geometry": None,
        "points": None,
        "step": step,
        "model": str(model.path),
        "cube": str(cache / name / "cube.zarr"),
    }
    kept = parent.imagery
    if getattr(kept, "cache", False):  # a tiled copy of a neighbourhood would be read once
        kept = kept.model_copy(update={"cache": False})
    try:
        values = {**parent.model_dump(), **facts, "imagery": kept}
        return Area.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"the neighbourhood is not a valid area: {explain(error, Area)}") from None


def cache_of(cube: str, cache: str | Path | None = None) -> Path:
    """The folder of the cubes of neighbourhoods: ``cache``, or beside the parent's cube.

    Raises UsageError for a cube in an object store without ``cache``.
    """
    if cache is not None:
        return Path(cache).absolute()
    own = local_path(cube)
    if own is None:
        raise UsageError("the cube is not on this disk: use --cache to say where to build others")
    return own.absolute().parent / _KEPT


@dataclass(frozen=True)
class ZoomOptions:
    """How a neighbourhood is built and asked.

    km: its width; region: the rank is of a good region, not of a candidate; step: m between its
    cells, by default `step_for`; cube: the parent's area file, or where its cube is now; cache:
    where cubes of neighbourhoods are kept, by default `cache_of`; media: the folder where the
    original photos are now; out: where the answers go, by default ``zoom`` beside the answer;
    sensitive, fetch_imagery, cluster: as of queries; usually_hidden: pages hide the photos unless
    the area file or ``sensitive`` says otherwise.
    """

    km: float
    region: bool = False
    step: float | None = None
    cube: str | Path | None = None
    cache: str | Path | None = None
    media: str | Path | None = None
    out: str | Path | None = None
    sensitive: bool | None = None
    usually_hidden: bool = False
    fetch_imagery: bool = False
    cluster: str = "auto"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.km) and 0 < self.km <= _WIDEST):
            raise UsageError(
                f"--km {self.km:g}: write how wide the neighbourhood is, up to {_WIDEST:g} km"
            )
        if self.step is not None and not (math.isfinite(self.step) and self.step > 0):
            raise UsageError(f"--step {self.step:g}: write the distance between cells, m")


def zoom_answer(
    answer: str | Path, rank: int, options: ZoomOptions, progress: Stages = silent
) -> QueryResult:
    """Build the neighbourhood of a place of an answer and ask the same photo, or scene, there.

    ``answer``: its folder, or the ``query.json`` in it; ``rank``: of the place. The recorded
    options hold but for those of its generation and regions. Asked again, nothing is built
    again, and the new answer takes the place of the old one.

    Raises UsageError where there is no such place, where the photo is missing or was changed, or
    where the record is damaged, all before any work; CubeError, ModelError, ImageryError where the
    neighbourhood cannot be built. What was built stays.
    """
    asked = _Parent.read(answer, rank, options)
    out = Path(options.out) if options.out is not None else asked.usual_out
    area, target = parent_area(asked.record, options.cube, fetch_imagery=options.fetch_imagery)
    model = asked.model(target)
    place = _place(asked, area, target, model, options)
    item = asked.question(model, options)
    check_writable(out)
    built = build_cube(place, cluster=options.cluster, progress=progress(f"building {place.name}"))
    built.raise_if_incomplete()
    inside = Target(Cube.open(place.cube), place)
    hidden = item is not None and inside.hides_photos(options.sensitive, options.usually_hidden)
    session = QuerySession.of(inside, asked.options, sensitive=hidden)
    advance = progress("searching the cube")
    if item is None:
        result = answer_scene(session, advance)
        item = QueryItem(result.title, asked.name(options.km), (), result.vector)
    else:
        result = session.answer(item, session.search([item], progress=advance)[0], model)
    # how much of an area has to be searched was not measured where the photo itself chose the area
    result = replace(result, parent=asked.parent(options.km), search_share=None)
    return _written(session, item, result, out, asked)


@dataclass(frozen=True)
class _Parent:
    """An answer, and the place of it that is looked at."""

    path: Path  # of its record, absolute
    record: Record
    sha256: str
    spot: Spot
    options: QueryOptions

    @classmethod
    def read(cls, answer: str | Path, rank: int, options: ZoomOptions) -> _Parent:
        path = Path(answer).absolute()
        path = path / RECORD if path.is_dir() else path
        record = read_record(path)
        spot = spot_of(record, rank, region=options.region)
        return cls(path, record, file_digest(path), spot, _own_options(record))

    def model(self, target: Target) -> Model:
        """The model that gave the answer: of a scene's, if none is named, that of its cube."""
        if self.options.scene and not self.record["model"].get("digest"):
            return cube_model(target)
        return recorded_model(self.record, target)

    def question(self, model: Model, options: ZoomOptions) -> QueryItem | None:
        """The photos again; None of a scene's answer."""
        if self.options.scene:
            return None
        media = None if options.media is None else Path(options.media)
        return recorded_question(self.record, [model], media, self.name(options.km))

    def name(self, km: float) -> str:
        """Of the new answer's folder."""
        return safe_name(self.path.parent.name, f" {self.spot.kind} {self.spot.rank} {km:g} km")

    def parent(self, km: float) -> Parent:
        """What the new answer records of this one."""
        spot = self.spot
        return Parent(
            self.path, self.sha256, self.record["title"], spot.kind, spot.rank, spot.lon, spot.lat,
            km,
        )  # fmt: skip

    @property
    def usual_out(self) -> Path:
        """``zoom`` beside the answer, or with a number where that is a photo's own answer."""
        answers = self.path.parent.parent
        return answers / free_name(_KEPT, lambda name: (answers / name / RECORD).is_file())

    @property
    def truth(self) -> tuple[float, float] | None:
        """Latitude and longitude of the true place, where the answer knows it."""
        recorded = self.record.get("truth")
        try:
            return (float(recorded["lat"]), float(recorded["lon"])) if recorded else None
        except (KeyError, TypeError, ValueError):
            return None


def _own_options(record: Record) -> QueryOptions:
    """The recorded options that hold in another cube."""
    usual = QueryOptions()
    parents = {name: getattr(usual, name) for name in _OF_PARENT}
    return recorded_options(record).model_copy(update=parents)


def _place(asked: _Parent, area: Area, target: Target, model: Model, options: ZoomOptions) -> Area:
    """The neighbourhood. Raises ModelError for a model that builds no cubes."""
    overhead = model.spec.overhead
    if overhead is None:
        raise ModelError(f"model {model.name} has no overhead network: it cannot build a cube")
    step = options.step or step_for(overhead, _step_of(target.cube))
    cache = cache_of(target.cube.url, options.cache)
    return neighbourhood(area, model, asked.spot, options.km, step, cache)


def _step_of(cube: Cube) -> float | None:
    """m between the cells of a grid; None of points."""
    return cube.domain.step if isinstance(cube.domain, Grid) else None


def _written(
    session: QuerySession, item: QueryItem, result: QueryResult, out: Path, asked: _Parent
) -> QueryResult:
    """The answer with its files in a folder of its own."""
    with Folders(out).claim(item.name, session.key(item)) as folder:
        result = with_truth(replace(result, folder=folder), asked.truth)
        write_report(result, folder, session.target.source, session.target.overview)
        return result
