"""What a build takes: grid, imagery, encoder, the identity of the cube. Computes nothing."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..area import Area, Imagery
from ..arrays import F32, U8, Bools
from ..cube import CubeSpec
from ..domain import Domain, Grid, Points
from ..encoders.lattice import Reading
from ..encoders.windows import EncodesAlone
from ..errors import AreaError, ImageryError, SpecMismatchError
from ..executors import Lazy
from ..imagery import Source, open_source, require_overlap, require_sharp
from ..models import FeatureSpace
from .extent import placed
from .points import points_of
from .tasks import Encoder, EncodeTask

if TYPE_CHECKING:
    from shapely import Geometry

    from ..encoders.runtime import Precision
    from ..models import Model

_LOOKED_AT = 4096  # points, until one with imagery is found
_SEED = 0


@dataclass(frozen=True)
class ModelEncoder:
    """Opens a model's overhead encoder; picklable, so that each process opens its own.

    ``digest``: of the model that the plan was made with. A process where ``model`` is another
    takes an installed one of that digest or raises ModelError: one cube holds one function.
    ``step``: m between cells; None for points, which may lie anywhere.
    ``method`` and ``precision`` left open are settled once for a cube (``pinned``): a worker
    with another processor than the client's must not choose for itself.
    """

    model: str
    digest: str
    step: float | None
    method: str | None = None
    precision: Precision = "auto"

    def __call__(self) -> Encoder:
        return _open_encoder(self)

    def pinned(self, encoding: dict[str, Any]) -> ModelEncoder:
        """With what is left open taken from an encoder's description of itself."""
        precision = encoding.get("precision", "auto") if self.precision == "auto" else None
        return replace(
            self,
            method=self.method or encoding.get("method"),
            precision=precision or self.precision,
        )


@functools.cache  # one network a process, however many builds it serves
def _open_encoder(how: ModelEncoder) -> Encoder:
    from ..encoders import open_overhead
    from ..models import load_exact

    model = load_exact(how.model, how.digest)
    return open_overhead(model, how.step, how.method, precision=how.precision)


@dataclass(frozen=True)
class StoredEncoder:
    """The encoder of a cube that was begun, as that describes it; see ``tasks.Encoder``.

    Which pixels a block needs is known without a network, so that a build that has nothing to
    do loads none. At the first block the network is loaded, and must describe itself alike.
    """

    encoding: dict[str, Any]
    reading: Reading
    network: Lazy[Encoder]

    @property
    def dim(self) -> int:
        return self._opened().dim

    def window(self, cells: Grid) -> Grid:
        return self.reading.window(cells)

    def encode(self, pixels: U8, valid: Bools, window: Grid, cells: Grid) -> F32:
        return self._opened().encode(pixels, valid, window, cells)

    def encode_alone(self, pixels: U8, valid: Bools) -> F32:
        opened = self._opened()
        assert isinstance(opened, EncodesAlone)  # as all are that models open
        return opened.encode_alone(pixels, valid)

    def describe(self) -> dict[str, Any]:
        return self.encoding

    def _opened(self) -> Encoder:
        opened = self.network()
        if opened.describe() != self.encoding:
            raise SpecMismatchError(
                f"the cube was begun by an encoder that says {self.encoding}, and this one says "
                f"{opened.describe()}: build a new cube"
            )
        return opened


@dataclass(frozen=True)
class OpenStored:
    """Makes a ``StoredEncoder``; picklable."""

    encoding: dict[str, Any]
    reading: Reading
    encoder: ModelEncoder

    def __call__(self) -> StoredEncoder:
        return StoredEncoder(self.encoding, self.reading, Lazy(self.encoder))


@dataclass(frozen=True)
class BuildPlan:
    """All that a build needs; making one reads and computes nothing.

    ``open_encoder`` is picklable and called once in each process. ``coarsest``: m per pixel of
    imagery that the model serves; None: any.
    """

    url: str
    domain: Domain
    source: Source
    open_encoder: Callable[[], Encoder]
    features: FeatureSpace
    model_name: str
    model_digest: str
    imagery: dict[str, Any] = field(default_factory=dict)
    polygon: Geometry | None = None
    area: str = ""
    coarsest: float | None = None

    def pinned(self, encoding: dict[str, Any] | None) -> BuildPlan:
        """With the encoder's open choices settled as in ``encoding``."""
        if encoding is None or not isinstance(self.open_encoder, ModelEncoder):
            return self
        return replace(self, open_encoder=self.open_encoder.pinned(encoding))

    def resuming(self, stored: CubeSpec | None) -> BuildPlan:
        """``pinned`` to a cube that was begun; of its own model only its description is needed."""
        if stored is None:
            return self
        plan = self.pinned(stored.encoding)
        step = stored.step
        how, reading = plan.open_encoder, Reading.of_encoding(stored.encoding, step)
        if (
            reading is None
            or not isinstance(how, ModelEncoder)
            or (stored.model, step) != (self.model_digest, step_of(self.domain))
            or how.method != stored.encoding.get("method")
            or how.precision != stored.encoding.get("precision")
        ):
            return plan
        return replace(plan, open_encoder=OpenStored(stored.encoding, reading, how))

    def at_first(self, count: int) -> BuildPlan:
        """The same for the first ``count`` points of a cube of such."""
        points = self.points
        if points is None or count == points.size:
            return self
        return replace(self, domain=points.first(count))

    @property
    def points(self) -> Points | None:
        """The points of a cube of such, with their attributes."""
        return self.domain if isinstance(self.domain, Points) else None

    @property
    def task(self) -> EncodeTask:
        """What is done to each block."""
        domain = self.domain.bare if isinstance(self.domain, Points) else self.domain
        return EncodeTask(domain, self.source, Lazy(self.open_encoder), self.polygon)

    def spec(self, encoding: dict[str, Any]) -> CubeSpec:
        """The identity of the cube, given what the encoder says of itself."""
        polygon = None if self.polygon is None else hashlib.sha256(self.polygon.wkb).hexdigest()
        return CubeSpec.of(
            self.domain,
            polygon=polygon,
            imagery=self.imagery,
            model=self.model_digest,
            encoding=encoding,
        )


def require_imagery(plan: BuildPlan) -> list[str]:
    """Notes on how sharp the imagery is for the model.

    Raises ImageryError where it misses the whole area, naming both extents, or is too coarse.
    """
    return require_sharp(plan.source, _within_imagery(plan), plan.coarsest)


def _within_imagery(plan: BuildPlan) -> Grid:
    """A window that may hold imagery: the area, or that of a point. Raises ImageryError."""
    if isinstance(plan.domain, Grid):
        require_overlap(plan.source, plan.domain)
        return plan.domain
    points = plan.task
    some = np.random.default_rng(_SEED).permutation(plan.domain.size)[:_LOOKED_AT]
    alone = (plan.domain.chunk(index, size=1) for index in some.tolist())
    for window in (window for one in alone for window in points.windows(one)):
        if plan.source.covers(window):
            return window
    raise ImageryError(
        f"none of {len(some)} points looked at lies in the imagery: correct the points (x is "
        "longitude, y latitude) or the imagery"
    )


def coarsest_of(model: Model) -> float | None:
    """m per pixel of the coarsest imagery that a model serves; None without such a network."""
    return None if model.spec.overhead is None else model.spec.overhead.gsd[1]


def step_of(domain: Domain) -> float | None:
    """m between its cells; None for points."""
    return domain.step if isinstance(domain, Grid) else None


def plan_build(
    area: Area,
    method: str | None = None,
    imagery: Imagery | None = None,
    *,
    domain: Domain | None = None,
) -> BuildPlan:
    """What building an area takes; opens neither images nor weights.

    But for an area without bounds: those are its cube's, or its imagery's (see ``extent``); and
    for one of points, whose file is read.

    ``imagery``: other than what is built from (``area.read_imagery``); ``domain``: other than
    the area's own, such as some of its points.
    """
    from ..models import is_url, load_model

    if area.models:
        raise AreaError(f"area {area.name} is of several models: build each of Area.parts")
    area = placed(area)
    if domain is None:
        domain = area.grid if area.points is None else points_of(area)
    model = load_model(area.model)
    where = area.model if is_url(area.model) else str(model.path)  # workers fetch it themselves
    return BuildPlan(
        url=area.cube,
        domain=domain,
        source=open_source(imagery or area.read_imagery),
        open_encoder=ModelEncoder(where, model.digest, step_of(domain), method),
        features=model.features,
        model_name=model.name,
        model_digest=model.digest,
        imagery=area.imagery.recorded(),
        polygon=area.polygon,
        area=area.name,
        coarsest=coarsest_of(model),
    )
