"""The area file: what to cover, from which imagery, with which model, into which cube.

An area file is YAML::

    name: bucha-irpin
    crs: EPSG:32636                                  # projected, in metres
    bounds: [300211, 5598433, 306475, 5604575]       # left, bottom, right, top
    step: 10                                         # m between cell centres
    imagery: {kind: geotiff, paths: [tiles/*.tif]}
    model: sandbox                                   # a model's name, folder or URL
    cube: cube.zarr                                  # a path or a URL

``sensitive: true`` makes reports hide their photos until a reader chooses to see them.
``map: {border: …, provinces: …, places: …}`` names what maps of regions show (`map.py`).
``geometry: area.geojson`` may replace ``bounds``; without either, the area is the extent of its
imagery. Relative paths are resolved against the file's own folder.

``models: [landuse, {model: ./mine, weight: 2}]`` in place of ``model`` names several, which are
asked together: each has a cube of its own, ``cube-landuse.zarr`` beside the one that is named, or
where its ``cube`` says. ``bank: photos/`` is a folder of unrelated photos, by which their scores
are calibrated.

``points: points.parquet`` in place of extent and step makes a cube of points: a vector for each
place in the file, which may lie anywhere on Earth; ``geometry`` may bound them, and ``crs``, the
projection of maps, may be left out. ``imagery`` may be a list: where the first has no imagery,
the next one is read (see `geoloc.imagery.layers`).

A metre of the CRS must be a metre on the ground: in Web Mercator (EPSG:3857) it is one only at
the equator (0.86 m at 31 degrees north), and elsewhere that CRS is refused.
"""

from __future__ import annotations

import math
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..domain import Grid
from ..errors import AreaError, one_line
from ..names import unique_names
from .ground import numbers, require_ground_scale, require_metres
from .imagery import Bounds, Imagery, ZarrImagery, covers_the_world, one_of_layers
from .map import MapFiles
from .models import AreaModel, is_folder, one_of_models, require_distinct
from .polygon import read_polygon
from .spec import Spec, explain, resolve_path

if TYPE_CHECKING:
    from shapely import Geometry

LONLAT = "EPSG:4326"
"""The CRS of points: longitude comes first."""

_STEP = 10.0  # m
# a number that begins with 0 stays text, which the fields take for a decimal number
_OF_NUMBERS = {
    "tag:yaml.org,2002:int": r"[-+]?(0|[1-9][0-9]*)$",
    "tag:yaml.org,2002:float": r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
    r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
}
_MAX_FILE_BYTES = 1_000_000  # larger: probably the imagery was given instead


class Area(Spec):
    """An area of interest and what is made of it; also the parameter of the flows.

    One of several models (``models`` in place of ``model``) is used by its `parts`.
    """

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["model"]}, {"required": ["models"]}]}
    )

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^/\\\x00-\x1f]+$")
    crs: str = Field(
        description="projected, in metres, such as EPSG:32636; may be left out with points"
    )
    bounds: Bounds | None = Field(
        None,
        description="left, bottom, right, top, in CRS metres; "
        "default, without a geometry: the extent of the imagery",
    )
    geometry: Path | None = Field(None, description="a file with polygons, in any CRS")
    points: Path | None = Field(
        None, description="a file of sample points (GeoParquet) in place of bounds and step"
    )
    step: float = Field(_STEP, gt=0, description="m between cell centres")
    imagery: Imagery
    model: str = Field("", description="a name in the model store, a folder or a URL")
    models: tuple[AreaModel, ...] = Field(
        (), description="several in place of one, asked together; each has a cube of its own"
    )
    bank: Path | None = Field(
        None, description="a folder of unrelated photos, by which several models are calibrated"
    )
    cube: str = Field(min_length=1, description="path or URL of the feature cube")
    sensitive: bool | None = Field(
        None, description="reports hide photos until a reader chooses to see them"
    )
    map: MapFiles | None = Field(
        None, description="files that maps of regions show: border, provinces, places, …"
    )

    @model_validator(mode="before")
    @classmethod
    def _points_need_no_crs(cls, values: Any) -> Any:
        of_points = isinstance(values, dict) and values.get("points") is not None
        return {"crs": "", **values} if of_points else values

    @field_validator("crs", mode="before")
    @classmethod
    def _bare_code(cls, value: Any) -> Any:
        return f"EPSG:{value}" if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("bounds")
    @classmethod
    def _bounds_in_order(cls, value: Bounds | None) -> Bounds | None:
        if value is not None and (value[0] >= value[2] or value[1] >= value[3]):
            raise ValueError(
                f"bounds {numbers(value)} are reversed or empty: write left, bottom, right, top"
            )
        return value

    @field_validator("geometry", "points", "bank", mode="before")
    @classmethod
    def _named_path(cls, value: Any, info: ValidationInfo) -> Any:
        if value == "":  # a path's "" is the folder of the area file
            raise ValueError(f"{info.field_name}: is empty: name a path, or leave the key out")
        return value

    @field_validator("imagery", mode="before")
    @classmethod
    def _layers(cls, value: Any) -> Any:
        return one_of_layers(value) if isinstance(value, list) else value

    @field_validator("models", mode="before")
    @classmethod
    def _named_models(cls, value: Any) -> Any:
        return one_of_models(value)

    @model_validator(mode="after")
    def _has_models(self) -> Area:
        if self.models:
            if self.model:
                raise ValueError("give either model or models; found both")
            require_distinct(self.models, self.cube)
        elif not self.model:
            raise ValueError("key 'model' is missing")
        elif self.bank is not None:
            raise ValueError("bank: is for several models (models: [landuse, ./mine])")
        return self

    @model_validator(mode="after")
    def _makes_sense(self) -> Area:
        if self.points is not None:
            return self._of_points()
        require_metres(self.crs, self.bounds)
        if self.bounds is not None and self.geometry is not None:
            raise ValueError("give either bounds or geometry; found both")
        if self.bounds is not None:
            require_ground_scale(self.crs, self.bounds)
        elif self.geometry is None and covers_the_world(self.imagery):
            raise ValueError(
                "give bounds or geometry: web tiles cover the world, their extent is not an area"
            )
        return self

    def _of_points(self) -> Area:
        given = {"bounds": self.bounds is not None, "step": self.step != _STEP}
        if both := [key for key, is_given in given.items() if is_given]:
            raise ValueError(f"give either points or {both[0]}; found both")
        if self.crs:
            require_metres(self.crs, None)
        if self.keeps_copy:
            raise ValueError("cache: true tiles an extent, which points have not: leave it out")
        return self

    @property
    def parts(self) -> tuple[Area, ...]:
        """The same area of each of its models, with the cube of that; of one model itself."""
        if not self.models:
            return (self,)
        shared = self.model_dump(exclude={"models", "bank", "model", "cube"})
        return tuple(
            Area.model_validate({**shared, "model": one.model, "cube": one.beside(self.cube)})
            for one in self.models
        )

    @property
    def named_parts(self) -> dict[str, Area]:
        """`parts` by a name of each model; of one model "" alone."""
        names = [*unique_names(one.name for one in self.models)] or [""]
        return dict(zip(names, self.parts, strict=True))

    @property
    def has_place(self) -> bool:
        """Whether bounds, a geometry or points define its extent; else its imagery does."""
        return not (self.bounds is None and self.geometry is None and self.points is None)

    @cached_property
    def polygon(self) -> Geometry | None:
        """The geometry's polygons in the area's CRS, or None without a geometry.

        Raises AreaError if the file cannot be read or has no polygon.
        """
        return None if self.geometry is None else read_polygon(self.geometry, self.domain_crs)

    @property
    def domain_crs(self) -> str:
        """The CRS of its cells; longitude and latitude of points."""
        return self.crs if self.points is None else LONLAT

    @cached_property
    def grid(self) -> Grid:
        """The cells inside ``bounds``, or in the polygon's box grown to whole steps.

        Raises AreaError if no cell fits, the geometry cannot be read, or neither is given: see
        ``geoloc.jobs.extent``.
        """
        if self.points is not None:
            raise AreaError(f"area {self.name} is of points, which have no grid of cells")
        bounds = self.bounds
        if bounds is None:
            if self.polygon is None:
                raise AreaError(f"area {self.name} names neither bounds nor geometry: write bounds")
            bounds = _whole_steps(self.polygon.bounds, self.step)
            try:
                require_ground_scale(self.crs, bounds)
            except ValueError as error:
                raise AreaError(f"geometry {self.geometry}: {error}") from None
        return Grid.from_bounds(self.crs, bounds, self.step)

    def with_bounds(self, bounds: Bounds) -> Area:
        """The same area in these bounds. Raises AreaError if they are invalid in its CRS."""
        try:
            return Area.model_validate({**self.model_dump(), "bounds": bounds})
        except ValidationError as error:
            raise AreaError(f"area {self.name}: {explain(error, Area)}") from None

    def with_points(self, points: Path) -> Area:
        """The same area at these points in place of its extent and step. Raises AreaError."""
        kept = self.model_dump(exclude={"bounds", "step"})
        try:
            return Area.model_validate({**kept, "points": points})
        except ValidationError as error:
            raise AreaError(f"area {self.name}: {explain(error, Area)}") from None

    @property
    def tiled(self) -> ZarrImagery:
        """Where the area's imagery is tiled to: beside the cube."""
        return ZarrImagery(path=self.cube.rstrip("/").removesuffix(".zarr") + "-imagery.zarr")

    @property
    def keeps_copy(self) -> bool:
        """Whether the imagery is to be tiled, and cubes built from that copy."""
        return not isinstance(self.imagery, ZarrImagery) and self.imagery.cache

    @property
    def read_imagery(self) -> Imagery:
        """What to build from: the imagery named, or its tiled copy where there is to be one."""
        return self.tiled if self.keeps_copy else self.imagery

    def resolve(self, base: Path) -> Area:
        """The same with relative paths resolved against ``base``; URLs are unchanged."""
        return self.model_copy(
            update={
                "imagery": self.imagery.resolve(base),
                "geometry": self.geometry and Path(resolve_path(str(self.geometry), base)),
                "points": self.points and Path(resolve_path(str(self.points), base)),
                "model": resolve_path(self.model, base) if is_folder(self.model) else self.model,
                "models": tuple(one.resolve(base) for one in self.models),
                "bank": self.bank and Path(resolve_path(str(self.bank), base)),
                "cube": resolve_path(self.cube, base),
                "map": self.map and self.map.resolve(base),
            }
        )


def load_area(path: str | Path, model: str | None = None) -> Area:
    """Read an area file; relative paths in it are resolved against its folder.

    ``model``: which one of several that it names. Raises AreaError, one line, for anything that is
    not a valid area, and for one of several models of which none is chosen.
    """
    whole = load_areas(path)
    if not whole.models:
        return whole
    chosen = _chosen(whole, model, Path(path).absolute().parent)
    if chosen is None:
        names, cube = [*whole.named_parts], whole.parts[0].cube
        if model is not None:
            raise AreaError(
                f"{path} names several models ({', '.join(names)}), and none is {model}: choose "
                f"one of them, as --model {names[0]}"
            )
        raise AreaError(
            f"{path} names several models ({', '.join(names)}), and this is done with one of them: "
            f"name its cube, such as {cube}, or, where there is that option, --model {names[0]}"
        )
    return chosen


def _chosen(area: Area, model: str | None, base: Path) -> Area | None:
    """The part of one model, by its name, or as the file or a path has it."""
    if model is None:
        return None
    known = {model, resolve_path(model, base), resolve_path(model, Path.cwd())}
    named = zip(area.models, area.named_parts.items(), strict=True)
    return next((part for one, (name, part) in named if known & {name, one.model}), None)


def names_models(path: str | Path) -> bool:
    """Whether an area file names several models; nothing else of it is looked at.

    Raises AreaError where it cannot be read.
    """
    return bool(_read_yaml(Path(path)).get("models"))


def load_areas(path: str | Path) -> Area:
    """`load_area` also of several models: what it gives has as many `Area.parts`."""
    path = Path(path)
    values = _read_yaml(path)
    try:
        area = Area.model_validate(values).resolve(path.absolute().parent)
        if area.models:
            require_distinct(area.models, area.cube)  # two paths may be of one folder
        if area.has_place and area.points is None:
            area.grid  # noqa: B018  (reads the geometry, so that its faults show now)
    except ValidationError as error:
        raise AreaError(f"{path}: {explain(error, Area)}") from None
    except (AreaError, ValueError) as error:
        raise AreaError(f"{path}: {error}") from None
    return area


class _Plain(yaml.SafeLoader):
    """YAML without aliases, of which 600 bytes can expand beyond any memory, and without keys that
    stand twice, of which all but the last would be dropped. Numbers are decimal, as people read
    them: YAML 1.1 takes 010 for 8, and 1:30 for 90."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """See PyYAML. Raises ComposerError for an alias."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are refused: write the value itself", event.start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See PyYAML. Raises ConstructorError for a key that stands twice."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for at, (key, _) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value in keys[:at]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice: keep one of them",
                    key.start_mark,
                )  # fmt: skip
        return super().construct_mapping(node, deep=deep)


_Plain.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in found if tag not in _OF_NUMBERS]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _form in _OF_NUMBERS.items():
    _Plain.add_implicit_resolver(_tag, re.compile(_form), list("+-.0123456789"))


def _read_yaml(path: Path) -> dict[str, Any]:
    """The top-level mapping of a YAML file."""
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise AreaError(f"area file {path} {what}: give the path of an area.yaml")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise AreaError(f"{path} is too large for an area file: give the path of an area.yaml")
        values = yaml.load(path.read_text(encoding="utf-8"), _Plain)
    except UnicodeDecodeError:
        raise AreaError(f"{path} is not YAML but {_kind(path)}: give an area.yaml") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise AreaError(f"{path} is not YAML: {one_line(error)}") from None
    except OSError as error:
        raise AreaError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(values, dict):
        raise AreaError(f"{path} is not an area file: write 'key: value' lines (name, crs, …)")
    return {str(key): value for key, value in values.items()}


def _kind(path: Path) -> str:
    """What a file that is no text holds, for people."""
    with path.open("rb") as file:
        return "Parquet, as points are" if file.read(4) == b"PAR1" else "no text"


def _whole_steps(bounds: Bounds, step: float) -> Bounds:
    """Bounds grown outwards to multiples of ``step``."""
    left, bottom, right, top = (edge / step for edge in bounds)
    return (
        math.floor(left) * step,
        math.floor(bottom) * step,
        math.ceil(right) * step,
        math.ceil(top) * step,
    )
