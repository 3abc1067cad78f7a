"""The options of queries: one model, from which everything takes them that asks a cube.

Of it are the options of ``geoloc query``, ``scene`` and ``bulk``, the parameters of the deployed
flows, the keywords of `query_photos`, `search_scene` and `run_bulk`, the parameters that a
``query.json`` keeps, and those that a repetition reads there. An option is added by a field here,
and takes effect where ``QuerySession.options`` is read.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_serializer,
)
from pydantic.fields import FieldInfo

from ..errors import UsageError
from ..executors import check_kind
from ..names import path_text
from ..ranking import Ranking

LatLon = tuple[float, float]
"""Latitude and longitude, degrees (WGS84)."""

Truths = str | LatLon | Mapping[str, LatLon] | None
"""Where all photos were taken, also as text such as ``50.45,30.52``; or by file name each."""


class Use(StrEnum):
    """What asks a cube; the value is its command."""

    QUERY = "query"
    SCENE = "scene"
    BULK = "bulk"


ALL, PHOTOS = tuple(Use), (Use.QUERY, Use.BULK)
ONE_BY_ONE = (Use.QUERY, Use.SCENE)


@dataclass(frozen=True)
class Flag:
    """How an option is written on the command line, beyond what its field says.

    name: without dashes, the field's by default; read: from the text to the value, raises
    ValueError saying how it is to be written; many: it may be given several times; help: the
    field's description by default.
    """

    name: str = ""
    metavar: str | None = None
    read: Callable[[str], Any] | None = None
    many: bool = False
    help: str = ""


@dataclass(frozen=True)
class Option:
    """Where an option shows.

    uses: which take it as a keyword; flags: how it is written on the command line; commands:
    which of the uses have these flags, all by default; served: whether the flows of the uses have
    it as a parameter; bounds: those of a server, where they are narrower than the field's;
    recorded: ``query.json`` keeps it, as the answer depends on it; shared: so do copies for
    others; words: in place of the field's description, by use.
    """

    uses: tuple[Use, ...] = ()
    flags: tuple[Flag, ...] = (Flag(),)
    commands: tuple[Use, ...] | None = None
    served: bool = False
    bounds: FieldInfo | None = None
    recorded: bool = False
    shared: bool = False
    words: Mapping[Use, str] = field(default_factory=dict)

    def described(self, info: FieldInfo, use: Use) -> str:
        """What the option does, for people."""
        return self.words.get(use, info.description or "")


def _path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _storable(path: Path | None) -> Path | None:
    if "\0" in str(path):
        raise ValueError("a path must not contain a NUL character")
    return path


def _ranking(value: Any) -> Any:
    """Text as well, which a record has."""
    known = value in [one.value for one in Ranking]
    return Ranking(value) if known else value


def _not_empty(generation: str | dt.date | None) -> str | dt.date | None:
    if generation == "":
        raise ValueError("name a generation, such as g0001")
    return generation


def _pairs(value: Any) -> Any:
    return dict(value or ()) if value is None or isinstance(value, list) else value


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ValueError("write NAME=NUMBER, such as indoor=0") from None


def _crop(text: str) -> tuple[int, ...]:
    try:
        left, top, right, bottom = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError("write left,top,right,bottom in pixels, such as 0,120,800,600") from None
    return left, top, right, bottom


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError("write YEAR-MONTH-DAY, such as 2024-06-30") from None


class QueryOptions(BaseModel):
    """How a cube is queried. None stands for the default of any option."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    # fmt: off
    top: Annotated[
        int, Field(ge=1, lt=1 << 31, description="How many candidates."),
        Option(ALL, served=True, bounds=Field(ge=1, le=1000), recorded=True, shared=True),
    ] = 20
    within: Annotated[
        Path | None, BeforeValidator(_path), AfterValidator(_storable),
        Field(description="Search only inside the polygon of this file."),
        Option(ALL, (Flag(metavar="POLY.geojson"),), served=True, recorded=True),
    ] = None
    within_sha256: Annotated[
        str | None, Field(description="Of the polygon's file."), Option(recorded=True),
    ] = None
    radius: Annotated[
        FiniteFloat, Field(ge=0, lt=1e8, description="Minimum distance between candidates, m."),
        Option(ALL, recorded=True, shared=True),
    ] = 150.0  # search.RADIUS, which takes too long to import for a command line's help
    fuse: Annotated[
        bool, Field(description="All photos show one place: average them into one answer."),
        Option((Use.QUERY,), served=True),
    ] = False
    regions: Annotated[
        FiniteFloat | None, Field(gt=0, le=5e6, description=(
            "Also rank square regions, M metres on a side, on maps of their own; 25000 if the "
            "cube holds points.")),
        Option(ALL, (Flag(metavar="M"),), served=True, recorded=True, shared=True),
    ] = None
    ranking: Annotated[
        Ranking, BeforeValidator(_ranking), Field(description=(
            "What regions are ranked by: their smallest distance, a low quantile of the distances "
            "of 32 of their places, the smallest one corrected for how many points they have, or "
            "the mean of their nearest places, which finds most.")),
        Option(ALL, served=True, recorded=True, shared=True),
    ] = Ranking.MINIMUM
    places_above: Annotated[
        float, Field(ge=0, lt=1e12, description=(
            "Report which places with more people than this lie in good regions, if the area "
            "file names a file of places (map: {places: …}).")),
        Option(ALL, (Flag(metavar="N"),), served=True),
    ] = 100_000
    border: Annotated[
        Path | None, BeforeValidator(_path), AfterValidator(_storable),
        Field(description="What regions are clipped to: the area's polygon, or its map's border."),
        Option(recorded=True),
    ] = None
    border_sha256: Annotated[
        str | None, Field(description="Of the border's file."), Option(recorded=True),
    ] = None
    weights: Annotated[
        dict[str, FiniteFloat], BeforeValidator(_pairs),
        Field(description="Weight of a scene class, or of the group indoor, natural or manmade."),
        Option(PHOTOS, (Flag("weight", "NAME=W", _weight, many=True),), commands=(Use.QUERY,),
               recorded=True, shared=True),
    ] = {}
    feedback: Annotated[
        bool, Field(description=(
            "Ask twice: the second time away from what places here are usually like, and towards "
            "those that were nearest. Finds more on imagery unlike that which landuse has seen; "
            "measure it with 'geoloc evaluate --feedback' before you trust it with others.")),
        Option(PHOTOS, served=True, recorded=True, shared=True),
    ] = False
    crops: Annotated[
        tuple[tuple[int, int, int, int], ...],
        Field(description="Search with this part of each photo: left,top,right,bottom in pixels. "
                          "Several crops are several queries."),
        Option((Use.QUERY,), (Flag("crop", "L,T,R,B", _crop, many=True),)),
    ] = ()
    rotate: Annotated[
        float, Field(description="Turn the photo, or its crop, clockwise."),
        Option((Use.QUERY,), (Flag(metavar="DEG"),)),
    ] = 0.0
    model: Annotated[
        str | Path | None,
        Field(
            description="A model by name or folder, instead of the area's or the cube's: the one "
            "that made the cube, or one derived from it (models extend, adapt)."
        ),
        Option(ALL, (Flag(metavar="MODEL", read=str),)),
    ] = None
    truth: Annotated[
        Truths,
        Field(description="Where the photos were actually taken: marked in the answers, not used "
                          "to find them."),
        Option((Use.QUERY,), (Flag(metavar="LAT,LON", read=str),)),
    ] = None
    scene: Annotated[
        str | None, Field(description="The class that is searched for without a photo."),
        Option(recorded=True, shared=True),
    ] = None
    generation: Annotated[
        str | dt.date | None, AfterValidator(_not_empty),
        Field(alias="epoch", description="A generation of the cube by its name, or the newest "
                                         "whose imagery is no later than a day."),
        Option(ONE_BY_ONE, (
            Flag("", "G", str, help="Search this generation of the cube, such as g0001."),
            Flag("date", "YYYY-MM-DD", _day,
                 help="Search the newest generation whose imagery is no later."),
        ), recorded=True, shared=True),
    ] = None
    cluster: Annotated[
        str, AfterValidator(check_kind),
        Field(description="Where the cube is searched: inline (this process), or the address of "
                          "a Dask scheduler whose workers are nearer to the cube; also auto "
                          "(inline), local, cuda."),
        Option((Use.QUERY,), (Flag(metavar="WORD"),), served=True,
               bounds=Field(pattern=r"^(auto|inline|local|cuda|[a-z]+://.+)$")),
    ] = "inline"
    check_digests: Annotated[
        bool, Field(description="Also compare the SHA-256 of every block that is read; checksums "
                                "are always compared."),
        Option(ONE_BY_ONE),
    ] = False
    fetch_imagery: Annotated[
        bool, Field(description="Open the imagery that the cube itself names, wherever it is: for "
                                "a cube that you trust, given without its area file."),
        Option(ALL, served=True),
    ] = False
    sensitive: Annotated[
        bool | None,
        Field(description="Reports hide the photo until the reader chooses to see it; by "
                          "default as the area file says (sensitive: true)."),
        Option(PHOTOS, served=True, words={
            Use.BULK: "Pages hide pictures until the reader chooses to see them: the default, "
                      "unless the area file says sensitive: false.",
        }),
    ] = None
    # fmt: on

    @property
    def searched_by(self) -> str:
        """Which executor: by default this process.

        Its threads have all cores of this machine. Workers elsewhere, nearer to the cube, can pay;
        local ones do not, as every distance goes from one process to another: 4 million cells on
        two cores take 0.8 s inline and 3 s by workers for one photo, 9 and 26 s for 20.
        """
        return "inline" if self.cluster == "auto" else self.cluster

    @classmethod
    def options(cls) -> dict[str, tuple[FieldInfo, Option]]:
        """Each field by its name, and where it shows."""
        return {
            name: (info, next((one for one in info.metadata if isinstance(one, Option)), Option()))
            for name, info in cls.model_fields.items()
        }

    @classmethod
    def of(cls, use: Use, options: QueryOptions | None = None, /, **keywords: Any) -> Self:
        """The options of a call: a model, keywords, or both, of which keywords count.

        Raises UsageError for one that the use does not take, and for a value that is not valid.
        """
        given = {name: getattr(options, name) for name in getattr(options, "model_fields_set", ())}
        given |= {cls._field(key): value for key, value in keywords.items()}
        allowed = [name for name, (_, option) in cls.options().items() if use in option.uses]
        if odd := [name for name in given if name not in allowed]:
            raise UsageError(f"unknown option {odd[0]!r} of {use}{_nearest(odd[0], allowed)}")
        given = {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise UsageError(first_fault(error)) from None

    @classmethod
    def recorded(cls) -> dict[str, str]:
        """The options that a record keeps: its key for each, by the field's name."""
        return {name: cls._named(name) for name, (_, one) in cls.options().items() if one.recorded}

    @classmethod
    def shared(cls) -> list[str]:
        """The keys of a record that copies for others have too."""
        return [cls._named(name) for name, (_, one) in cls.options().items() if one.shared]

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """The options that a record keeps; anything else in it is ignored.

        Raises ValidationError for one that was altered.
        """
        keys = cls.recorded().values()
        return cls.model_validate({key: record[key] for key in keys if key in record}, strict=True)

    def record(self) -> dict[str, Any]:
        """What a ``query.json`` keeps of them (JSON types)."""
        return self.model_dump(mode="json", by_alias=True, include=set(self.recorded()))

    @classmethod
    def _named(cls, name: str) -> str:
        """A field's name in records, which is a keyword as well."""
        return cls.model_fields[name].alias or name

    @classmethod
    def _field(cls, key: str) -> str:
        return next((name for name in cls.model_fields if cls._named(name) == key), key)

    @field_serializer("within", "border")
    def _absolute(self, path: Path | None) -> str | None:
        return None if path is None else path_text(path.absolute())


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, and where: one line, without the value."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    words = fault["msg"].partition(" or instance of ")[0].removeprefix("Value error, ")
    return f"{'.'.join(map(str, fault['loc']))}: {words}"


def _nearest(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f": did you mean {near[0]!r}?" if near else f": the options are {', '.join(known)}"
