"""The neighbourhood of a place of an answer: an area of its own, a square in the place's UTM zone,
from the same imagery, by the same model, in finer steps. Its cube is kept by its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pyproj import Transformer

from ..area import Area
from ..area.ground import utm_code
from ..area.spec import explain
from ..errors import CubeError, SpecMismatchError, UsageError
from ..models import Model
from ..models.spec import OverheadSpec
from ..stores import local_path
from .record import Record
from .recorded import cube_named
from .remembered import require_open
from .target import Ref, Target, open_target

KEPT = "zoom"
"""The folder of the cubes of neighbourhoods, and of their answers."""

USUAL_STEP = 10.0
"""m between the cells of a neighbourhood, where the model serves that."""

_PATCH_SHARE = 4  # a model of single patches: their sides are so many steps


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
    record: Record, cube: Ref | None = None, *, fetch_imagery: bool = False
) -> tuple[Area, Target]:
    """The area of an answer's cube, and the cube; of several models see `records_of_models`.

    ``cube``: its area or the file of that, or where it is now; without, the record says where it
    was, and what the cube remembers of its imagery is opened as `geoloc.query.remembered` has it.
    Raises SpecMismatchError for a cube of another model, CubeError where its imagery is not known
    or not to be opened.
    """
    target = open_target(cube_named(record, cube), fetch_imagery=fetch_imagery)
    url = target.cube.url
    asked = record["cube"].get("model_digest")
    if asked not in (None, target.cube.model_digest):
        raise SpecMismatchError(
            f"the cube {url} is of model {target.cube.model_name} "
            f"({target.cube.model_digest[:12]}), the answer of {str(asked)[:12]}: name its own "
            "cube with --cube"
        )
    try:
        area = target.named_area
    except ValidationError:
        raise CubeError(
            f"cube {url} does not say which imagery it is from: name its area file with --cube"
        ) from None
    if target.area is None:
        require_open(area.imagery, url, fetch=fetch_imagery)
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
    return own.absolute().parent / KEPT
