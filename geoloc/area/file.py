"""The area file: what to cover, from which imagery, with which model, into which cube.

An area file is YAML::

    name: bucha-irpin
    crs: EPSG:32636                                  # projected, in metres
    bounds: [300211, 5598433, 306475, 5604575]       # left, bottom, right, top
    step: 10                                         # m between cell centres
    imagery: {kind: geotiff, paths: [tiles/*.tif]}
    model: sandbox                                   # a model's name, folder or URL
    cube: cube.zarr                                  # a path or a URL

``geometry: area.geojson`` may stand in place of ``bounds``. Relative paths are meant from
the file's own folder. Web Mercator (EPSG:3857) counts as metres, but its metre is a ground
metre only at the equator (0.86 m at 31 degrees north): a UTM zone is the better choice.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pyproj import CRS
from pyproj.exceptions import CRSError

from ..errors import AreaError
from ..grid import Grid
from .imagery import Bounds, Imagery, ZarrImagery
from .spec import Spec, explain, resolve_path

if TYPE_CHECKING:
    from shapely import Geometry

_MAX_FILE_BYTES = 1_000_000  # somebody gave the imagery in place of the area file
_GEOGRAPHIC_EDGE = 0.01  # degrees (about 1 km) between vertices before an edge is reprojected


class Area(Spec):
    """An area of interest and what is made of it; also the parameter of the flows."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^/\\\x00-\x1f]+$")
    crs: str = Field(description="projected, in metres, for instance EPSG:32636")
    bounds: Bounds | None = Field(None, description="left, bottom, right, top, in CRS metres")
    geometry: Path | None = Field(None, description="a file with polygons, in any CRS")
    step: float = Field(10.0, gt=0, description="m between cell centres")
    imagery: Imagery
    model: str = Field(min_length=1, description="a name in the model store, a folder or a URL")
    cube: str = Field(min_length=1, description="path or URL of the feature cube")

    @field_validator("crs", mode="before")
    @classmethod
    def _bare_code(cls, value: Any) -> Any:
        return f"EPSG:{value}" if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("bounds")
    @classmethod
    def _bounds_in_order(cls, value: Bounds | None) -> Bounds | None:
        if value is not None and (value[0] >= value[2] or value[1] >= value[3]):
            raise ValueError(
                f"bounds {_numbers(value)} are reversed or empty: write left, bottom, right, top"
            )
        return value

    @model_validator(mode="after")
    def _makes_sense(self) -> Area:
        _check_metres(self.crs, self.bounds)
        if (self.bounds is None) == (self.geometry is None):
            found = "neither" if self.bounds is None else "both"
            raise ValueError(f"give either bounds or geometry; found {found}")
        return self

    @cached_property
    def polygon(self) -> Geometry | None:
        """The geometry's polygons in the area's CRS, or None where bounds say it all.

        Raises AreaError where the file cannot be read or holds no polygon.
        """
        return None if self.geometry is None else read_polygon(self.geometry, self.crs)

    @cached_property
    def grid(self) -> Grid:
        """The cells: those inside ``bounds``, or the polygon's box grown to whole steps.

        Raises AreaError where no cell fits, or where the geometry cannot be read.
        """
        bounds = self.bounds
        if bounds is None:
            assert self.polygon is not None
            bounds = _whole_steps(self.polygon.bounds, self.step)
        return Grid.from_bounds(self.crs, bounds, self.step)

    @property
    def tiled(self) -> ZarrImagery:
        """Where the area's imagery is tiled to: beside the cube."""
        return ZarrImagery(path=self.cube.rstrip("/").removesuffix(".zarr") + "-imagery.zarr")

    @property
    def keeps_copy(self) -> bool:
        """Whether the imagery is to be tiled, and cubes built from that copy."""
        return not isinstance(self.imagery, ZarrImagery) and self.imagery.keep

    @property
    def read_imagery(self) -> Imagery:
        """What to build from: the imagery named, or its tiled copy where that is to be kept."""
        return self.tiled if self.keeps_copy else self.imagery

    def resolve(self, base: Path) -> Area:
        """The same with relative paths taken from the folder ``base``; URLs stay as they are."""
        return self.model_copy(
            update={
                "imagery": self.imagery.resolve(base),
                "geometry": self.geometry and Path(resolve_path(str(self.geometry), base)),
                "model": resolve_path(self.model, base) if _is_folder(self.model) else self.model,
                "cube": resolve_path(self.cube, base),
            }
        )


def load_area(path: str | Path) -> Area:
    """Read an area file; relative paths in it are resolved against its folder.

    Raises AreaError, one line, for anything that is not a valid area.
    """
    path = Path(path)
    values = _read_yaml(path)
    try:
        area = Area.model_validate(values).resolve(path.absolute().parent)
        area.grid  # noqa: B018  (reads the geometry, so that a fault in it shows now)
    except ValidationError as error:
        raise AreaError(f"{path}: {explain(error, Area)}") from None
    except AreaError as error:
        raise AreaError(f"{path}: {error}") from None
    return area


def read_polygon(path: Path, crs: str) -> Geometry:
    """The union of a file's polygons (GeoJSON, GeoPackage, shapefile, …), in ``crs``.

    Raises AreaError where the file cannot be read or holds no polygon.
    """
    import geopandas  # heavy: only areas with a geometry pay for it
    import shapely

    if not path.is_file():
        raise AreaError(f"geometry {path} does not exist: give a GeoJSON file with a polygon")
    try:
        frame = geopandas.read_file(path)
    except Exception as error:  # noqa: BLE001  (its readers raise errors of many libraries)
        raise AreaError(f"geometry {path} cannot be read: {_first_line(error)}") from None
    shapes = frame.geometry[frame.geom_type.isin(("Polygon", "MultiPolygon"))].dropna()
    if shapes.empty or shapes.is_empty.all():
        raise AreaError(f"geometry {path} holds no polygon: draw the area as a polygon")
    if shapes.crs is None:
        raise AreaError(f"geometry {path} names no CRS: save it as GeoJSON in lon/lat")
    if shapes.crs.is_geographic:
        # a straight edge in degrees is a curve in metres
        shapes = shapes.segmentize(_GEOGRAPHIC_EDGE)
    union = shapely.make_valid(shapes.to_crs(crs).union_all())
    if not all(math.isfinite(edge) for edge in union.bounds):
        raise AreaError(f"geometry {path} lies outside of what {crs} can map: choose another CRS")
    return union


def _read_yaml(path: Path) -> dict[str, Any]:
    """The top-level mapping of a YAML file."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise AreaError(f"area file {path} {what}: give the path of an area.yaml")
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise AreaError(f"{path} is too large for an area file: give the path of an area.yaml")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise AreaError(f"{path} is not YAML: {_first_line(error)}") from None
    except OSError as error:
        raise AreaError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(values, dict):
        raise AreaError(f"{path} is not an area file: write 'key: value' lines (name, crs, …)")
    return {str(key): value for key, value in values.items()}


def _check_metres(code: str, bounds: Bounds | None) -> None:
    """Raise ValueError unless ``code`` is a projected CRS in metres."""
    try:
        crs = CRS.from_user_input(code)
    except CRSError:
        raise ValueError(f"crs {code!r} is not known: write for instance EPSG:32636") from None
    if crs.is_geographic:
        raise ValueError(f"crs {code} is in degrees; use metres: {_utm_hint(bounds)}")
    if not crs.is_projected:
        raise ValueError(f"crs {code} is not a map projection: use a UTM zone, like EPSG:32636")
    if any(axis.unit_conversion_factor != 1 for axis in crs.axis_info[:2]):
        unit = crs.axis_info[0].unit_name
        raise ValueError(f"crs {code} is in {unit}, not metres: use a UTM zone, like EPSG:32636")


def _utm_hint(bounds: Bounds | None) -> str:
    """Which UTM zone holds the middle of bounds in degrees."""
    if bounds is None or max(map(abs, bounds)) > 180:
        return "a UTM zone is EPSG:326NN (327NN in the south), NN = (longitude + 180) / 6 + 1"
    lon, lat = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    zone = min(math.floor((lon + 180) / 6) + 1, 60)
    return f"the UTM zone here is EPSG:{326 if lat >= 0 else 327}{zone:02d}, and bounds in its m"


def _whole_steps(bounds: Bounds, step: float) -> Bounds:
    """Bounds grown outwards to multiples of ``step``."""
    left, bottom, right, top = (edge / step for edge in bounds)
    return (
        math.floor(left) * step,
        math.floor(bottom) * step,
        math.ceil(right) * step,
        math.ceil(top) * step,
    )


def _is_folder(model: str) -> bool:
    """Whether a model is given by its folder, not by its name in the store."""
    return "/" in model or "\\" in model or model.startswith((".", "~"))


def _numbers(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.12g}" for value in values) + "]"


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
