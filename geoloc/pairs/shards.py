"""Shards: pairs with their images in tar archives, read one after the other in flat memory.

A folder holds ``NAME-000000.tar``, ``NAME-000001.tar`` … and ``NAME.json``, the index. A shard
holds samples of one split, in one of two layouts::

    webdataset    KEY.ground.jpg   KEY.overhead.png   KEY.json
    plain         SPLIT/ground/KEY.jpg   SPLIT/overhead/KEY.png   SPLIT/pairs/KEY.json

The JSON of a sample has any of lon, lat, split, group, heading, date. Archives of others are read
without an index, and without JSON too: the place is then looked for in the file name. Images are
decoded by `geoloc.photos`; nothing else in an archive is interpreted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ..arrays import U8
from ..errors import GeolocError, UsageError
from ..files.whole import file_sha256
from ..photos import decode_photo
from .file import Split, parse_split
from .place_names import place_in_name
from .tars import cut_short, is_tar, read_members

Layout = Literal["webdataset", "plain"]
FORMAT = "geoloc-shards"
_PARTS = ("ground", "overhead")


@dataclass(frozen=True, eq=False)
class Sample:
    """A pair: ``ground`` and ``overhead`` uint8 RGB ``(h, w, 3)``, ``lonlat`` in degrees.

    key: its name among all samples; heading: degrees clockwise from north.
    """

    key: str
    ground: U8
    overhead: U8
    lonlat: tuple[float, float] | None
    split: Split
    group: str
    heading: float | None = None
    date: str = ""


@dataclass(frozen=True, eq=False)
class StoredSample:
    """A sample as it is stored: ``images`` (name in the archive, content) by "ground" and
    "overhead"; ``facts``: its JSON."""

    key: str
    images: Mapping[str, tuple[str, bytes]]
    facts: Mapping[str, Any]


class Shard(BaseModel):
    """One archive: its name beside the index, what it holds, and how it is recognized."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    split: Split
    count: int
    bytes: int
    sha256: str

    @field_validator("file")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if Path(value).name != value:
            raise ValueError("must be a file name")
        return value


class ShardIndex(BaseModel):
    """What a folder of shards holds; ``splits``: samples by split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["geoloc-shards"] = "geoloc-shards"
    version: Literal[1] = 1
    layout: Layout
    count: int
    splits: dict[Split, int]
    shards: tuple[Shard, ...]


def read_shards(folder: str | Path, split: Split | None = None) -> Iterator[Sample]:
    """The samples of a folder of shards, of an index or of one archive, in their order.

    ``split``: only those of it. Raises UsageError where there are no shards, GeolocError, one line,
    for a shard that is cut short, has more or fewer samples than the index says, or a sample
    without both images, PhotoError for an image that cannot be decoded.
    """
    for path, shard in archives_of(Path(folder)):
        if shard is not None and split is not None and shard.split != split:
            continue
        for stored in read_stored(path, shard):
            if split is None or split_of(path, stored.key, stored.facts) == split:
                yield decode_sample(path, stored)


def read_stored(path: Path, shard: Shard | None = None) -> Iterator[StoredSample]:
    """The samples of an archive, undecoded. ``shard``: what its index says of it."""
    if shard is not None:
        require_size(path, shard)
    count, key, members = 0, "", dict[str, tuple[str, bytes]]()
    for name, data in read_members(path):
        found, part = member_of(name)
        if not part:
            continue
        if found != key and members:
            count += 1
            yield _stored(path, key, members)
            members = {}
        key = found
        members[part] = (name, data)
    if members:
        count += 1
        yield _stored(path, key, members)
    if shard is not None and count != shard.count:
        raise GeolocError(f"{path} holds {count} samples, its index says {shard.count}")
    if not count:
        raise GeolocError(f"{path} holds no pairs: KEY.ground.jpg and KEY.overhead.jpg of each")


def member_of(name: str) -> tuple[str, str]:
    """Key, and "ground", "overhead" or "json", of a file in an archive; the latter may be empty."""
    path = PurePosixPath(name)
    folder = path.parent.name
    if folder in (*_PARTS, "pairs"):
        part = "json" if folder == "pairs" else folder
        return str(path.parent.parent / path.stem), part
    stem, _, ending = path.name.partition(".")
    first = ending.partition(".")[0].lower()
    return str(path.parent / stem), first if first in (*_PARTS, "json") else ""


def _stored(path: Path, key: str, members: Mapping[str, tuple[str, bytes]]) -> StoredSample:
    for part in _PARTS:
        if part not in members:
            raise GeolocError(f"{path}: {key} has no {part} image: make the shard again")
    return StoredSample(key, {part: members[part] for part in _PARTS}, _facts(path, key, members))


def _facts(path: Path, key: str, members: Mapping[str, tuple[str, bytes]]) -> Mapping[str, Any]:
    """The JSON of a sample, or what its name tells."""
    if "json" not in members:
        lonlat = place_in_name(members["ground"][0])
        return {} if lonlat is None else {"lon": lonlat[0], "lat": lonlat[1]}
    return parse_facts(path, key, members["json"][1])


def parse_facts(path: Path, key: str, content: bytes) -> Mapping[str, Any]:
    """What the JSON of a sample says. Raises GeolocError where it is damaged."""
    try:
        facts = json.loads(content)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise GeolocError(f"{path}: the JSON of {key} is damaged: make the shard again")
    return facts


def decode_sample(path: Path, stored: StoredSample) -> Sample:
    """The images as arrays. Raises PhotoError naming the archive and the file in it."""
    facts = stored.facts
    return Sample(
        key=stored.key,
        ground=_pixels(path, stored, "ground"),
        overhead=_pixels(path, stored, "overhead"),
        lonlat=lonlat_of(facts),
        split=split_of(path, stored.key, facts),
        group=str(facts.get("group") or ""),
        heading=_number(facts.get("heading")),
        date=str(facts.get("date") or ""),
    )


def _pixels(path: Path, stored: StoredSample, part: str) -> U8:
    name, data = stored.images[part]
    return decode_photo(path / name, data).pixels


def split_of(path: Path, key: str, facts: Mapping[str, Any]) -> Split:
    """ "train" where a sample does not say. Raises UsageError for an unknown one."""
    return parse_split(f"{path}: {key}", str(facts.get("split") or ""))


def lonlat_of(facts: Mapping[str, Any]) -> tuple[float, float] | None:
    """The place of a sample's JSON, None where it names none on Earth."""
    lon, lat = _number(facts.get("lon")), _number(facts.get("lat"))
    if lon is None or lat is None or abs(lon) > 180 or abs(lat) > 90:
        return None
    return lon, lat


def _number(value: Any) -> float | None:
    is_one = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_one else None


def archives_of(folder: Path) -> Iterator[tuple[Path, Shard | None]]:
    """Each archive, with what an index says of it."""
    if folder.is_file() and is_tar(folder):
        yield folder, None
        return
    index = find_index(folder)
    if index is not None:
        for shard in read_index(index).shards:
            yield index.parent / shard.file, shard
        return
    found = sorted(filter(is_tar, folder.iterdir())) if folder.is_dir() else []
    if not found:
        raise UsageError(f"{folder} has no shards: name a folder of .tar files, or one of them")
    yield from ((path, None) for path in found)


def find_index(folder: Path) -> Path | None:
    """The index of a folder of shards, or the file itself; None where there is none."""
    if folder.is_file():
        return folder if folder.suffix.lower() == ".json" else None
    found = [file for file in sorted(folder.glob("*.json")) if _is_index(file)]
    if len(found) > 1:
        raise UsageError(f"{folder} has several sets of shards: name one of {found[0]}, {found[1]}")
    return found[0] if found else None


def _is_index(file: Path) -> bool:
    try:
        return f'"{FORMAT}"'.encode() in file.read_bytes()[:4096]
    except OSError:
        return False


def read_index(path: Path) -> ShardIndex:
    """What an index says. Raises GeolocError for a damaged one."""
    try:
        return ShardIndex.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise GeolocError(f"{path} is a damaged index of shards: make the shards again") from None


def verify_shards(folder: Path) -> list[str]:
    """One line for each shard that is missing or not the one that was written."""
    index = find_index(folder)
    if index is None:
        return []
    told = []
    for shard in read_index(index).shards:
        path = index.parent / shard.file
        if not path.is_file():
            told.append(f"{path} is missing: copy or make it again")
        elif path.stat().st_size != shard.bytes:
            told.append(_wrong_size(path, shard))
        elif file_sha256(path) != shard.sha256:
            told.append(f"{path} is not the shard that was written: copy or make it again")
    return told


def require_size(path: Path, shard: Shard) -> None:
    """Raise GeolocError where an archive is missing or not as long as its index says."""
    if not path.is_file():
        raise GeolocError(f"{path} is missing: copy or make it again")
    if path.stat().st_size != shard.bytes:
        raise GeolocError(_wrong_size(path, shard))


def _wrong_size(path: Path, shard: Shard) -> str:
    return cut_short(path, f"{path.stat().st_size:,} bytes of {shard.bytes:,}")
