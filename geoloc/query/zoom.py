"""Down to the cell: the neighbourhood of a place of an answer, and the same query run there.

By the model that gave the answer, or by all of several: each has a cube of the neighbourhood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..area import Area
from ..cube import Cube
from ..domain import Grid
from ..errors import ModelError, UsageError
from ..jobs.build import build_cube
from ..models import Model
from ..models.spec import OverheadSpec
from ..names import free_name, safe_name
from ..progress import Stages, silent
from ..report import QueryResult, check_writable, write_report
from ..report.outputs import RECORD
from ..report.result import Parent
from .folders import Folders
from .items import QueryItem
from .neighbourhood import KEPT, Spot, cache_of, neighbourhood, parent_area, spot_of, step_for
from .options import QueryOptions
from .record import Record, read_record, records_of_models
from .recorded import (
    parts_moved,
    recorded_bank,
    recorded_model,
    recorded_options,
    recorded_question,
    recorded_tandem,
)
from .searcher import Found, ModelSearcher, Searcher
from .session import QuerySession, file_digest
from .tandem import TandemSearcher
from .tandem.members import require_few
from .target import Target, cube_model

_WIDEST = 100.0  # km: a zone's metres are metres there
_OF_PARENT = (
    "generation",
    "regions",
    "ranking",
    "border",
    "border_sha256",
)  # options that are the parent's


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

    @property
    def originals(self) -> Path | None:
        """See ``media``."""
        return None if self.media is None else Path(self.media)


def zoom_answer(
    answer: str | Path, rank: int, options: ZoomOptions, progress: Stages = silent
) -> QueryResult:
    """Build the neighbourhood of a place of an answer and ask the same photo, or scene, there.

    ``answer``: its folder, or the ``query.json`` in it; ``rank``: of the place. The recorded
    options hold but for those of its generation and regions. An answer of several models is asked
    again of all of them, with their weights and their bank. Asked again, nothing is built again,
    and the new answer takes the place of the old one.

    Raises UsageError where there is no such place, where the photo or one of the bank is missing
    or was changed, or where the record is damaged, all before any work; CubeError, ModelError,
    ImageryError where the neighbourhood cannot be built. What was built stays.
    """
    asked = _Parent.read(answer, rank, options)
    out = Path(options.out) if options.out is not None else asked.usual_out
    places = _places(asked, options)
    item, bank = asked.question([place.model for place in places], options), asked.bank(options)
    check_writable(out)
    for place in places:
        place.build(options.cluster, progress)
    searcher = _searcher(asked, places, bank, options, progress)
    advance = progress("searching the cube")
    if item is None:
        item = replace(searcher.scene_item, name=asked.name(options.km))
        found = searcher.search_scene(advance)
    else:
        found = searcher.search([item], progress=advance)[0]
    return _written(searcher, item, found, out, asked, options.km)


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

    def model(self, part: Record, target: Target) -> Model:
        """The model that gave the answer: of a scene's, if none is named, that of its cube."""
        if self.options.scene and not part["model"].get("digest"):
            return cube_model(target)
        return recorded_model(part, target)

    def question(self, models: Sequence[Model], options: ZoomOptions) -> QueryItem | None:
        """The photos again; None of a scene's answer."""
        if self.options.scene:
            return None
        return recorded_question(self.record, models, options.originals, self.name(options.km))

    def bank(self, options: ZoomOptions) -> list[Path]:
        """The photos that several models are calibrated by."""
        return recorded_bank(self.record, options.originals)

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
        return answers / free_name(KEPT, lambda name: (answers / name / RECORD).is_file())

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


@dataclass(frozen=True)
class _Place:
    """The neighbourhood as an area of one model."""

    area: Area
    model: Model

    def build(self, cluster: str, progress: Stages) -> None:
        """Its cube, as far as it is not there."""
        stage = progress(f"building {self.area.name} by {self.model.name}")
        build_cube(self.area, cluster=cluster, progress=stage).raise_if_incomplete()

    @cached_property
    def target(self) -> Target:
        """Its cube, once it is built."""
        return Target(Cube.open(self.area.cube), self.area)


def _places(asked: _Parent, options: ZoomOptions) -> list[_Place]:
    """The neighbourhood for each model, in the steps that all of them serve.

    Raises ModelError for a model that builds no cubes, UsageError for more cells than several
    models can be asked of.
    """
    records = records_of_models(asked.record)
    parents = [
        parent_area(part, cube, fetch_imagery=options.fetch_imagery)
        for part, cube in zip(records, parts_moved(asked.record, options.cube), strict=True)
    ]
    models = [asked.model(part, of) for part, (_, of) in zip(records, parents, strict=True)]
    steps = [
        step_for(_overhead(model), _step_of(target.cube))
        for model, (_, target) in zip(models, parents, strict=True)
    ]
    step = options.step or max(steps)
    places = [
        _Place(
            neighbourhood(area, model, asked.spot, options.km, step,
                          cache_of(target.cube.url, options.cache)),
            model,
        )
        for model, (area, target) in zip(models, parents, strict=True)
    ]  # fmt: skip
    if len(places) > 1:
        require_few(places[0].area.grid.size, "the neighbourhood", "choose a smaller --km")
    return places


def _overhead(model: Model) -> OverheadSpec:
    if model.spec.overhead is None:
        raise ModelError(f"model {model.name} has no overhead network: it cannot build a cube")
    return model.spec.overhead


def _step_of(cube: Cube) -> float | None:
    """m between the cells of a grid; None of points."""
    return cube.domain.step if isinstance(cube.domain, Grid) else None


def _searcher(
    asked: _Parent,
    places: Sequence[_Place],
    bank: Sequence[Path],
    options: ZoomOptions,
    progress: Stages,
) -> Searcher:
    """What asks the built neighbourhood, by one model or by all."""
    models, targets = [place.model for place in places], [place.target for place in places]
    hidden = not asked.options.scene and any(
        target.hides_photos(options.sensitive, options.usually_hidden) for target in targets
    )
    if len(places) > 1:
        wished = asked.options.model_copy(update={"sensitive": hidden})
        return TandemSearcher(
            recorded_tandem(asked.record, targets, models, bank, wished, progress)
        )
    session = QuerySession.of(targets[0], asked.options, sensitive=hidden)
    return ModelSearcher(session, None if asked.options.scene else models[0])


def _written(
    searcher: Searcher, item: QueryItem, found: Found, out: Path, asked: _Parent, km: float
) -> QueryResult:
    """The answer with its files in a folder of its own."""
    target = searcher.session.target
    with Folders(out).claim(item.name, searcher.key(item)) as folder:
        result = searcher.answer(replace(item, folder=folder), found, asked.truth)
        # how much of an area has to be searched was not measured where the photo itself chose it
        result = replace(result, parent=asked.parent(km), search_share=None)
        write_report(result, folder, target.source, target.overview)
        return result
