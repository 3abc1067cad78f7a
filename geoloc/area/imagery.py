"""The imagery that an area is built from: files, a STAC catalog, web tiles, or a tiled copy.

Use ``geotiff`` for local files, ``stac`` for a catalog of any size, ``xyz`` for a map server,
``zarr`` for a copy written by ``geoloc imagery tile`` (its module says when that pays off).
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from ..stores import secret_in
from .spec import Spec, explain, resolve_path, resolve_pattern

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""

_FORMER_BANDS = [1, 2, 3]
"""The default bands that older cubes recorded."""
_MANNERS = {
    "cache", "tile_cache", "tile_cache_mb", "rate", "connections", "timeout", "retries",
    "user_agent",
}  # fmt: skip
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_PLACES = ("{z}", "{x}", "{y}", "{-y}", "{q}", "{s}", "{r}")  # in a template of tile URLs
_USER_ADVICE = {
    "": "write ://${USER}:${PASSWORD}@ and set both in the environment",
    "path": "passwords are not sent to its server; write a key as ?NAME=${NAME}, or use s3://",
}
_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})"
    r"(?P<time>T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[-+]\d{2}:\d{2})?)?)?)?"
)  # the forms of STAC and its client


def _check_scale(value: tuple[float, float] | None) -> tuple[float, float] | None:
    if value is not None and value[0] == value[1]:
        raise ValueError(f"scale {list(value)} is empty: give the darkest and brightest value")
    return value


def _check_bands(value: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
    if value is not None and min(value) < 1:
        raise ValueError(f"bands {list(value)}: bands are counted from 1")
    return value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_text(value: Any) -> Any:
    """The text of a value that YAML reads as a date or number."""
    if isinstance(value, dt.datetime):
        utc = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        return utc.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _version_text(value: Any) -> Any:
    """The same for a version; YAML reads 2024.10 as 2024.1, which may be another version."""
    if isinstance(value, float):
        raise ValueError(f'version {value} is ambiguous as a number: put it in quotes, "…"')
    return _as_text(value)


def _no_secret(value: str, info: ValidationInfo) -> str:
    """Refuse a URL with a key: the file, the cube and messages would show it."""
    parameter = secret_in(value) if "://" in value else None
    if parameter == "user:password":
        advice = _USER_ADVICE.get(str(info.field_name), _USER_ADVICE[""])
        raise ValueError(f"{info.field_name}: the URL contains a password: {advice}")
    if parameter is not None:
        raise ValueError(
            f"{info.field_name}: {parameter} contains a key: write {parameter}${{NAME}} and set "
            "NAME in the environment"
        )
    return value


def _no_secrets(values: list[str], info: ValidationInfo) -> list[str]:
    return [_no_secret(value, info) for value in values]


def _list_former_keys(schema: dict[str, Any], model: type[OriginImagery]) -> None:
    """The keys of older area files, for what checks the parameters of deployed flows."""
    known = schema["properties"]
    known["keep"] = {"type": "boolean", "title": "Keep", "deprecated": True}
    if "tile_cache" in model.model_fields:
        known["cache_mb"] = {"type": "integer", "title": "Cache Mb", "deprecated": True}
        either = [{"type": known["cache"].pop("type")}, *known["tile_cache"]["anyOf"]]
        known["cache"] = {**known["cache"], "anyOf": either}


class OriginImagery(Spec):
    """Fields of all imagery that is not a tiled copy; in older area files ``cache`` is ``keep``."""

    model_config = ConfigDict(json_schema_extra=_list_former_keys)

    cache: bool = Field(
        False,
        description="tile the imagery into a Zarr copy beside the cube first, and build from it",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_former_keys(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        read: dict[str, Any] = {}
        for key, value in given.items():
            if (now := cls._present_key(key, value)) in read:
                raise ValueError(f"{now} is given twice, once by a former name: write it once")
            read[now] = value
        return read

    @classmethod
    def _present_key(cls, key: str, value: object) -> str:  # noqa: ARG003
        """What a key of an area file is named now."""
        return "cache" if key == "keep" else key

    def recorded(self) -> dict[str, Any]:
        """The fields that determine pixels, for a cube to record; not how they are fetched."""
        return self.model_dump(mode="json", exclude=_MANNERS)


class GeotiffImagery(OriginImagery):
    """GeoTIFF, COG or VRT files: paths, globs or URLs (also ``s3://``)."""

    kind: Literal["geotiff"] = "geotiff"
    paths: list[str] = Field(
        min_length=1,
        description="files, globs or URLs, with ${NAME} for keys from the environment",
    )
    bands: tuple[int, int, int] | None = Field(
        None,
        description="red, green, blue, counted from 1; default: the red, green and blue bands "
        "by the file's metadata, else the first three; a single band is read as grey",
    )
    scale: tuple[float, float] | None = Field(
        None, description="input values that become 0 and 255; needed unless imagery is uint8"
    )
    rescale: bool = Field(
        False, description="scale is in the units of the files' own scale and offset"
    )
    nodata: float | None = Field(None, description="overrides the files' own nodata value")
    order: Literal["newest", "listed"] = Field(
        "newest", description="which file is on top where several overlap; undated ones as listed"
    )

    _bands = field_validator("bands")(_check_bands)
    _scale = field_validator("scale")(_check_scale)
    _paths = field_validator("paths", mode="before")(_one_or_many)
    _keys = field_validator("paths")(_no_secrets)

    def resolve(self, base: Path) -> GeotiffImagery:
        """The same with relative paths taken from the folder ``base``."""
        paths = [resolve_pattern(path, base) for path in self.paths]
        return self.model_copy(update={"paths": paths})


class StacImagery(OriginImagery):
    """Items of a STAC API, or of a static catalog (``catalog.json``, a path or a URL)."""

    kind: Literal["stac"] = "stac"
    url: str = Field(
        min_length=1,
        description="an API's root, or a catalog.json; ${NAME} for keys from the environment",
    )
    collections: list[str] = Field([], description="only these; some APIs require them")
    datetime: str | None = Field(
        None, description="2024-06, or an interval: 2024-04-01/2024-09-30, 2024-04-01/.."
    )
    max_cloud: float | None = Field(None, ge=0, le=100, description="highest eo:cloud_cover, %")
    query: dict[str, Any] = Field({}, description="the API's query extension; passed on unchanged")
    max_items: int | None = Field(None, ge=1, description="limit per search, in the API's order")
    assets: list[str] | None = Field(
        None,
        description="one asset with several bands, or one each for red, green, blue; "
        "default: visual, or the bands named red, green and blue",
    )
    bands: tuple[int, int, int] | None = Field(
        None,
        description="red, green, blue of a single asset, counted from 1; default: by the item's, "
        "else the file's metadata, else the first three",
    )
    scale: tuple[float, float] | None = Field(
        None, description="input values that become 0 and 255; needed unless imagery is uint8"
    )
    rescale: bool = Field(
        False,
        description="scale is in the units of raster:scale and raster:offset (of Sentinel-2 "
        "without them: reflectance)",
    )
    nodata: float | None = Field(None, description="overrides the files' own nodata value")
    order: Literal["newest", "least-cloud", "median"] = Field(
        "newest", description="which item is on top where several overlap, or their median"
    )
    sign: str | None = Field(
        None,
        description="planetary-computer, the URL of a token endpoint ({collection} is filled "
        "in), or ${NAME}: a query string in the environment; added to every https href",
        json_schema_extra={"pattern": r"^(planetary-computer$|\$\{\w+\}$|https?://)"},
    )

    _bands = field_validator("bands")(_check_bands)
    _scale = field_validator("scale")(_check_scale)
    _lists = field_validator("collections", "assets", mode="before")(_one_or_many)
    _key = field_validator("url")(_no_secret)
    _text = field_validator("datetime", mode="before")(_as_text)

    @field_validator("datetime")
    @classmethod
    def _a_date_or_an_interval(cls, value: str | None) -> str | None:
        parts = [] if value is None else value.split("/")
        if len(parts) > 2 or parts in ([".."], ["..", ".."]) or not all(map(_is_date, parts)):
            raise ValueError(
                f"datetime {value!r}: write a year, a month (2024-06), a day (2024-06-01) or a "
                "moment (2024-06-01T10:00:00Z), or two of them as an interval with .. for no end: "
                "2024-04-01/2024-09-30, 2024-04-01/.."
            )
        return value

    @field_validator("assets")
    @classmethod
    def _one_or_three(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(value) not in (1, 3):
            raise ValueError(f"assets {value}: name one with three bands, or red, green and blue")
        return value

    @field_validator("sign")
    @classmethod
    def _known_signer(cls, value: str | None) -> str | None:
        known = value in (None, "planetary-computer") or re.fullmatch(r"\$\{\w+\}", value or "")
        if not known and not str(value).startswith(("http://", "https://")):
            # the value is not repeated: it may be the token itself
            raise ValueError(
                "sign: write planetary-computer, the URL of a token endpoint, or ${NAME} for an "
                "environment variable; never the token"
            )
        return value

    @field_validator("sign")
    @classmethod
    def _signer_without_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        return None if value is None else _no_secret(value, info)

    def resolve(self, base: Path) -> StacImagery:
        """The same with a relative path of a catalog taken from the folder ``base``."""
        return self.model_copy(update={"url": resolve_path(self.url, base)})


class XyzImagery(OriginImagery):
    """Web map tiles in Web Mercator; there is no default provider, as each has its own terms."""

    kind: Literal["xyz"] = "xyz"
    url: str = Field(
        min_length=1,
        description="https://…/{z}/{x}/{y}.jpg, with {-y} (TMS) or {q} (quadkey), {s} for "
        "subdomains and ${NAME} for keys from the environment ({r}, for screens of high "
        "resolution, stays empty); or a provider of xyzservices (Esri.WorldImagery)",
    )
    subdomains: str = Field("abc", min_length=1, description="values of {s}, one character each")
    zoom: int | None = Field(None, ge=0, le=24, description="default: as the GSD requires")
    min_zoom: int = Field(0, ge=0, le=24)
    max_zoom: int = Field(19, ge=0, le=24)
    tile_px: Literal[256, 512] = 256
    bounds: Bounds | None = Field(None, description="extent of the tiles: west, south, east, north")
    version: str = Field(
        "", description="date or name of the imagery, in quotes; a change fetches tiles again"
    )
    tile_cache: Path | None = Field(
        None, description="folder of fetched tiles; default: the user's cache folder"
    )
    tile_cache_mb: int = Field(2000, ge=0, description="oldest tiles are dropped beyond this")
    rate: float = Field(20, gt=0, le=1000, description="requests per second and process")
    connections: int = Field(4, ge=1, le=64)
    timeout: float = Field(20, gt=0, le=600, description="s without a response")
    retries: int = Field(4, ge=0, le=20)
    user_agent: str = Field("geoloc (imagery reader)", pattern=r"^[\x20-\x7e]+$")

    _key = field_validator("url")(_no_secret)
    _text = field_validator("version", mode="before")(_version_text)

    @field_validator("url")
    @classmethod
    def _places_are_filled_in(cls, value: str) -> str:
        if "://" in value and (fault := _template_fault(value)):
            raise ValueError(f"url {_VARIABLE.sub('', value)}: {fault}")
        return value

    @model_validator(mode="after")
    def _zooms_in_order(self) -> XyzImagery:
        if self.min_zoom > self.max_zoom:
            raise ValueError(f"min_zoom {self.min_zoom} is above max_zoom {self.max_zoom}")
        if self.bounds and (self.bounds[0] >= self.bounds[2] or self.bounds[1] >= self.bounds[3]):
            raise ValueError(f"bounds {list(self.bounds)}: write west, south, east, north")
        return self

    def resolve(self, base: Path) -> XyzImagery:
        """The same with a relative cache folder taken from the folder ``base``."""
        cache = self.tile_cache and Path(resolve_path(str(self.tile_cache), base))
        return self.model_copy(update={"tile_cache": cache})

    @classmethod
    def _present_key(cls, key: str, value: object) -> str:
        """In older area files ``cache`` is the folder of tiles."""
        if key == "cache" and not isinstance(value, bool | int):
            return "tile_cache"
        return "tile_cache_mb" if key == "cache_mb" else super()._present_key(key, value)


class ZarrImagery(Spec):
    """Imagery that ``geoloc imagery tile`` wrote: a path or a URL."""

    kind: Literal["zarr"] = "zarr"
    path: str = Field(
        min_length=1,
        description="path or URL of the tiled copy; ${NAME} for keys from the environment",
    )

    _key = field_validator("path")(_no_secret)

    def recorded(self) -> dict[str, Any]:
        """The fields that determine pixels, for a cube to record."""
        return self.model_dump(mode="json")

    def resolve(self, base: Path) -> ZarrImagery:
        """The same with a relative path taken from the folder ``base``."""
        return self.model_copy(update={"path": resolve_path(self.path, base)})


class SandboxImagery(OriginImagery):
    """A synthetic country, rendered on demand: the ``country.json`` of ``geoloc sandbox``."""

    kind: Literal["sandbox"] = "sandbox"
    path: str = Field(min_length=1, description="the country.json of geoloc sandbox --country")

    def resolve(self, base: Path) -> SandboxImagery:
        """The same with a relative path taken from the folder ``base``."""
        return self.model_copy(update={"path": resolve_path(self.path, base)})


def _is_date(text: str) -> bool:
    """Whether it is a valid end of a STAC interval: a year, month, day, moment, or ``..``."""
    if (match := _DATE.fullmatch(text)) is None:
        return text == ".."
    day = f"{match['year']}-{match['month'] or '01'}-{match['day'] or '01'}"
    try:
        dt.datetime.fromisoformat(f"{day}{match['time'] or ''}")
    except ValueError:  # a 13th month
        return False
    return True


def _template_fault(template: str) -> str:
    """The fault in a template of tile URLs, and the fix; empty if it is valid."""
    bare = _VARIABLE.sub("", template)
    fields = re.findall(r"\{[^{}]*\}", bare)
    known = ", ".join(_PLACES)
    for name in _VARIABLE.findall(template):
        if f"{{{name}}}" in _PLACES:
            return f"${{{name}}} is an environment variable: write {{{name}}}, without the $"
    if unknown := [field for field in fields if field not in _PLACES]:
        return f"{unknown[0]} is unknown: the names are {known}, and ${{NAME}} for keys"
    if re.search(r"[{}]|%7[bd]", re.sub(r"\{[^{}]*\}", "", bare), re.IGNORECASE):
        return f"a brace is unpaired or written as %7B: write names like {known}"
    if not ("{q}" in fields or ({"{z}", "{x}"} <= set(fields) and {"{y}", "{-y}"} & set(fields))):
        return "write {z}, {x} and {y} (or {-y}), or {q}"
    return ""


def _kind_of(value: Any) -> Any:
    """The ``kind``, which may be left out for files."""
    return value.get("kind", "geotiff") if isinstance(value, dict) else getattr(value, "kind", None)


FURTHER: dict[str, type[OriginImagery]] = {}
"""Specifications of kinds that geoloc does not bring; see `geoloc.imagery.register_source`."""


def _of_further_kind(value: Any, known: ValidatorFunctionWrapHandler) -> Any:
    spec = FURTHER.get(str(_kind_of(value)))
    if spec is None:
        return known(value)
    return value if isinstance(value, spec) else spec.model_validate(value)


_Single = (
    Annotated[GeotiffImagery, Tag("geotiff")]
    | Annotated[StacImagery, Tag("stac")]
    | Annotated[XyzImagery, Tag("xyz")]
    | Annotated[ZarrImagery, Tag("zarr")]
    | Annotated[SandboxImagery, Tag("sandbox")]
)

OneImagery = Annotated[_Single, Discriminator(_kind_of), WrapValidator(_of_further_kind)]
"""The imagery of one source, discriminated by ``kind``."""


class LayeredImagery(Spec):
    """Sources in order of preference: a pixel is the first one's that has imagery there."""

    kind: Literal["layers"] = "layers"
    layers: tuple[OneImagery, ...] = Field(min_length=2, max_length=8)

    @property
    def cache(self) -> bool:
        """Whether there is to be a tiled copy, of all layers together."""
        return any(layer.cache for layer in self.layers if not isinstance(layer, ZarrImagery))

    def recorded(self) -> dict[str, Any]:
        """The fields that determine pixels, for a cube to record."""
        return {"kind": self.kind, "layers": [layer.recorded() for layer in self.layers]}

    def resolve(self, base: Path) -> LayeredImagery:
        """The same with relative paths taken from the folder ``base``."""
        layers = tuple(layer.resolve(base) for layer in self.layers)
        return self.model_copy(update={"layers": layers})


Imagery = Annotated[
    _Single | Annotated[LayeredImagery, Tag("layers")],
    Discriminator(_kind_of),
    WrapValidator(_of_further_kind),
]
"""Any imagery specification, discriminated by ``kind``."""


class _Layer(Spec):
    imagery: OneImagery


def one_of_layers(given: list[Any]) -> Any:
    """What a list of specifications means. Raises ValueError, naming the one at fault."""
    if not given:
        raise ValueError("imagery: the list is empty: name at least one source")
    layers = []
    for number, value in enumerate(given, start=1):
        try:
            layers.append(_Layer.model_validate({"imagery": value}).imagery)
        except ValidationError as error:
            which = f"imagery, source {number} of {len(given)}"
            raise ValueError(f"{which}: {explain(error, _Layer)}") from None
    return layers[0] if len(layers) == 1 else {"kind": "layers", "layers": layers}


def single_layers(imagery: Imagery) -> tuple[OneImagery, ...]:
    """The sources of an imagery, in their order."""
    return imagery.layers if isinstance(imagery, LayeredImagery) else (imagery,)


def covers_the_world(imagery: Imagery) -> bool:
    """Whether its extent is no area."""
    return any(
        isinstance(layer, XyzImagery) and layer.bounds is None for layer in single_layers(imagery)
    )


def portable(recorded: dict[str, Any]) -> Any:
    """The part of recorded imagery that distinguishes cubes.

    Local paths are reduced to the part below their common folder. Default bands count as equal to
    those that earlier versions recorded: if pixels are read differently now, the fingerprints of
    blocks differ.
    """
    recorded = _as_formerly(recorded)
    paths: list[str] = []

    def note(path: str) -> str:
        paths.append(path)
        return path

    _each_path(recorded, note)
    if not paths:
        return recorded
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120  globs
    return _each_path(recorded, lambda path: os.path.relpath(path, folder))


def _as_formerly(recorded: dict[str, Any]) -> dict[str, Any]:
    """The same in the form of the first version, for the fields that it had."""
    known = {k: v for k, v in recorded.items() if k != "rescale" or v or "url" in recorded}
    return {k: _FORMER_BANDS if k == "bands" and v is None else v for k, v in known.items()}


def _each_path(value: Any, change: Callable[[str], str]) -> Any:
    """The same structure with every absolute local path changed."""
    if isinstance(value, dict):
        return {key: _each_path(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_each_path(part, change) for part in value]
    if isinstance(value, str) and value.startswith("file:///"):
        return change(value.removeprefix("file://"))
    local = isinstance(value, str) and value.startswith("/") and not value.startswith("/vsi")
    return change(value) if local else value
