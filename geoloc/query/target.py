"""What is queried: a cube, the imagery it was made from, the model that made it."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from ..area import Area, load_area, load_areas, names_models
from ..cube import (
    FIRST_GENERATION,
    Cube,
    current_generation,
    generation_names,
    generation_of_date,
    how_to_build,
    inspect_blocks,
    stored_attributes,
    stored_spec,
)
from ..domain import Points, Status
from ..errors import CubeError, GeolocError, ModelError
from ..imagery import Source, open_source
from ..jobs.cache import imagery_at_hand
from ..jobs.overview import Overview, overview_of
from ..jobs.repair import repair_cube, restore_name
from ..jobs.report import BuildReport
from ..jobs.verify import Verification, verify_cube
from ..models import Model, is_url, load_model, model_of_digest
from ..models.spec import MODEL_NAME
from ..progress import Progress
from .remembered import remembered_area, require_open, withheld


@dataclass(frozen=True)
class Target:
    """A cube, and the area file that it was named by, where it was.

    ``fetch_imagery``: what the cube itself names as its imagery is opened wherever it lies.
    ``model``: that the cube is seen by, where it is not the one that made it. ``remarks``: what
    else limits its answers, a sentence each.
    """

    cube: Cube
    area: Area | None = None
    fetch_imagery: bool = False
    model: Model | None = None
    remarks: tuple[str, ...] = ()

    @property
    def named_area(self) -> Area:
        """The area file, or what the cube itself remembers of it (not its polygon).

        Raises ValidationError where the cube remembers no imagery.
        """
        return self.area or remembered_area(self.cube.url, self.cube.spec, self.cube.attrs)

    @cached_property
    def withheld(self) -> str:
        """Why the imagery is not opened that the cube itself names; empty where it may be."""
        if self.area is not None:
            return ""
        try:
            return withheld(self.named_area.imagery, self.cube.url, fetch=self.fetch_imagery)
        except (GeolocError, ValidationError):
            return ""  # it names none

    @cached_property
    def source(self) -> Source | None:
        """The imagery the cube was made from, or None where it is not there any more.

        The copy that the area keeps, where it is whole: it outlives its origin. None as well
        where only the cube names it, and it is not to be opened for that (``withheld``).
        """
        if self.withheld:
            return None
        try:
            return open_source(imagery_at_hand(self.named_area))
        except (GeolocError, ValidationError, OSError):
            return None

    @cached_property
    def overview(self) -> Overview | None:
        """The picture of the whole area that the cube keeps, or that can be made now.

        None of a cube of points: a country is not read for it.
        """
        if isinstance(self.cube.domain, Points):
            return None
        return overview_of(self.cube, self.source)

    def hides_photos(self, wish: bool | None, usual: bool = False) -> bool:
        """Whether pages hide photos: as the user wishes, else the area file, else as usual."""
        wanted = wish if wish is not None or self.area is None else self.area.sensitive
        return usual if wanted is None else wanted

    @property
    def notes(self) -> tuple[str, ...]:
        """What limits every answer of this cube."""
        return tuple(filter(None, (*self.remarks, self._missing, self._without_imagery)))

    @property
    def _missing(self) -> str:
        missing = int((self.cube.chunk_status == Status.MISSING).sum())
        if not missing:
            return ""
        return (
            f"{missing} of {self.cube.chunk_status.size} blocks of this cube are not built yet: "
            "nothing can be found there."
        )

    @property
    def _without_imagery(self) -> str:
        if not self.withheld:
            return ""
        shown = "no base map" if self.overview is None else "no imagery but the cube's overview"
        return f"The report shows {shown}: {self.withheld}."


Ref = str | Path | Area
"""What names a cube: an area file, a path or a URL; or an area."""


def open_target(
    ref: Ref,
    generation: str | dt.date | None = None,
    *,
    check_digests: bool = False,
    fetch_imagery: bool = False,
    model: str | Path | None = None,
) -> Target:
    """The cube that an area file, a path or a URL names. Raises AreaError or CubeError.

    It is seen by the model that ``model`` or the area file names; see `seen_by_model`, and for
    what that raises.

    ``check_digests``: see `geoloc.cube.Cube.open`.
    ``generation``: another one than the current one, by its name, or the newest that shows no
    later day than this one. ``fetch_imagery``: see `Target`. Of an area of several models it is
    the cube of the one that ``model`` names; see `parts_of` for all.
    """
    ref, model = chosen_part(ref, model)
    area = _named_area(ref)
    url = area.cube if area else str(ref)
    name = generation_of_date(url, generation) if isinstance(generation, dt.date) else generation
    cube = Cube.open(url, name, check_digests=check_digests)
    return seen_by_model(Target(cube, area, fetch_imagery), model)


def parts_of(ref: Ref) -> dict[str, Ref]:
    """What an area file names: its area for each of several models, by their names; all else is
    one part, of the name ""."""
    several = several_models(ref)
    return {"": ref} if several is None else dict(several.named_parts)


def several_models(ref: Ref) -> Area | None:
    """The area that names several models, where ``ref`` is one, or its file."""
    if not isinstance(ref, Area):
        if not _is_area_file(ref) or not names_models(ref):
            return None
        ref = load_areas(ref)
    return ref if ref.models else None


def chosen_part(ref: Ref, model: str | Path | None) -> tuple[Ref, str | Path | None]:
    """Of a file of several models the area of the one that is named, whose model it is then."""
    if model is None or isinstance(ref, Area) or several_models(ref) is None:
        return ref, model
    return load_area(ref, str(model)), None


def cube_url(ref: Ref) -> str:
    """Where the cube lies that an area file, a path or a URL names; it need not be there."""
    area = _named_area(ref)
    return area.cube if area else str(ref)


def _named_area(ref: Ref) -> Area | None:
    if isinstance(ref, Area):
        return ref
    return load_area(ref) if _is_area_file(ref) else None


def _is_area_file(ref: str | Path) -> bool:
    text = str(ref)
    return text.lower().endswith((".yaml", ".yml")) or ("://" not in text and Path(text).is_file())


def open_cube(ref: Ref) -> Cube:
    """The cube alone; see `open_target`."""
    return open_target(ref).cube


def cube_model(target: Target, model: str | Path | None = None) -> Model:
    """The very model that made the cube: by the name given, the area's, or its digest.

    Or one that was derived from that without changing its vectors. Raises SpecMismatchError where
    the named one is another, ModelError where none is found.
    """
    cube = target.cube
    if model is None and target.model is not None:
        return target.model
    name = model or (target.area.model if target.area else cube.model_name)
    try:
        if model is None and target.area is None:
            require_plain_name(cube.model_name)
        chosen = load_model(name)
    except ModelError:
        if model is not None:
            raise
        chosen = _model_by_digest(cube)
    if chosen.digest != cube.model_digest and model is None and target.area is None:
        chosen = _model_by_digest(cube, chosen)
    if not chosen.serves(cube.model_digest):
        cube.require_model(chosen.name, chosen.digest)
    return chosen


def seen_by_model(target: Target, model: str | Path | None = None) -> Target:
    """The cube as the model reads it that is named, or that the area file names.

    That is another than the cube's own where one was derived from it: with more names, or another
    distance. Raises SpecMismatchError for a named one whose vectors are others, ModelError where
    it cannot be had; what only an area file names is passed over then.
    """
    cube, name = target.cube, model or (target.area.model if target.area else None)
    if name is None or (model is None and is_url(name)):
        return target
    try:
        chosen = load_model(name, verify=False)
        if chosen.digest == cube.model_digest:
            return target
        if chosen.serves(cube.model_digest):
            return replace(target, cube=cube.seen_by(load_model(name).features), model=chosen)
    except ModelError:
        if model is None:
            return target
        raise
    if model is not None:
        cube.require_model(chosen.name, chosen.digest)
    return target


def require_plain_name(model: str) -> None:
    """Raise ModelError where a cube names no model of the store, but a place to get one from."""
    if not re.fullmatch(MODEL_NAME, model):
        raise ModelError(f"a cube names the model {model[:80]!r}, which is not a model's name")


def _model_by_digest(cube: Cube, other: Model | None = None) -> Model:
    """The installed model that made the cube, under whatever name; else ``other``."""
    known = model_of_digest(cube.model_digest) or other
    if known is None:
        raise ModelError(
            f"cube {cube.url} was built by model {cube.model_name} ({cube.model_digest[:12]}), "
            "which is not installed: 'geoloc models import' it, or name the area file whose model "
            "it is"
        )
    return known


def verify_cube_at(
    ref: Ref,
    *,
    cells: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
    reading: Progress | None = None,
    fetch_imagery: bool = False,
) -> Verification:
    """Read all blocks of a cube and recompute sampled cells; see `verification.verify_cube`.

    Raises CubeError where blocks are damaged, or where the cube does not remember its imagery:
    name the area file then. ``reading`` is called for the blocks, ``progress`` for the cells.
    ``fetch_imagery``: see `Target`; CubeError where what the cube names is not opened without.
    """
    target = open_target(ref, check_digests=True, fetch_imagery=fetch_imagery)
    blocks = inspect_blocks(target.cube, reading)
    blocks.raise_if_damaged(target.cube.url)
    try:
        area = target.named_area
    except ValidationError:
        raise _no_imagery(ref) from None
    if target.area is None:
        require_open(area.imagery, target.cube.url, fetch=fetch_imagery)
    model = cube_model(target)
    verified = verify_cube(target.cube, area, model, cells=cells, seed=seed, progress=progress)
    return replace(verified, blocks=blocks)


def repair_cube_at(
    ref: Ref,
    *,
    cluster: str = "auto",
    progress: Progress | None = None,
    fetch_imagery: bool = False,
) -> BuildReport:
    """Repair a cube by its area file, or by what it remembers; see `jobs.repair.repair_cube`.

    Raises CubeError where a cube with a polygon, or without imagery, is named without its area
    file, or where the imagery that it names is not opened without ``fetch_imagery`` (`Target`).
    """
    area = _named_area(ref)
    if area is not None:
        return repair_cube(area, cluster=cluster, progress=progress)
    url = str(ref)
    if not generation_names(url):
        raise CubeError(f"cube {url} does not exist: run {how_to_build(url)}")
    notes = restore_name(url)
    generation = current_generation(url) or FIRST_GENERATION
    spec, attrs = stored_spec(url, generation), stored_attributes(url, generation)
    if spec.polygon is not None:
        raise CubeError(f"cube {url} is bounded by a polygon, which its area file names: name that")
    try:
        remembered = remembered_area(url, spec, attrs)
    except ValidationError:
        raise _no_imagery(ref) from None
    require_open(remembered.imagery, url, fetch=fetch_imagery)
    require_plain_name(remembered.model)
    method = spec.encoding.get("method")
    report = repair_cube(remembered, method=method, cluster=cluster, progress=progress)
    report.notes[:0] = notes
    return report


def _no_imagery(ref: Ref) -> CubeError:
    return CubeError(f"cube {ref} does not say which imagery it is from: name its area file")
