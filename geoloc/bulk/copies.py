"""Copies of one picture: which of them leads, what each claims, and where they differ.

A picture comes as the camera's file, as what a messenger made of it, as a frame of a video: the
copies know different things, and none may be lost. The largest one is looked at; the picture
claims what any copy claims; where they contradict each other, that is evidence too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from pyproj import Geod

from .media import Medium
from .store import Item, Sighting

_EARTH = Geod(ellps="WGS84")
_APART = 100.0  # m between two claims of one place: what phones and rounding explain
_SECONDS = 2.0  # between two claims of one moment: FAT file systems count in twos
_ZONE = 15 * 60.0  # s: offsets of time zones are multiples of it
_MOST_ZONE = 14 * 3600.0


@dataclass(frozen=True)
class Sight:
    """Where an item is seen: a file of the folder, and when in it."""

    medium: Medium
    sighting: Sighting

    @property
    def name(self) -> str:
        """The file, and the second of a video."""
        time = self.sighting.time
        return self.medium.name if time is None else f"{self.medium.name} at {time:.2f} s"

    @property
    def exif(self) -> Mapping[str, Any]:
        """What this copy says of its time and place."""
        exif: Mapping[str, Any] = self.sighting.record.get("exif", {})
        return exif


@dataclass(frozen=True)
class Claim:
    """What somebody says: ``value`` is (lon, lat) in degrees, or a time in ISO 8601."""

    kind: Literal["place", "time"]
    value: Any
    by: str
    of_file: bool = True


def in_order(item: Item, sights: Sequence[Sight]) -> tuple[Sight, ...]:
    """The sights of an item, the one that leads first, each with how it is seen."""
    return _led(item, sorted(sights, key=_rank))


def led_by_its_own(item: Item, sights: Sequence[Sight]) -> tuple[Sight, ...]:
    """The sights with that copy first whose pixels the item has: a larger one may be such that
    it cannot be read again."""
    return _led(item, sorted(sights, key=lambda sight: not leads_already(item, sight)))


def _led(item: Item, sights: Sequence[Sight]) -> tuple[Sight, ...]:
    first, *rest = sights
    lead = _identity(first.sighting.record or item.record)
    lines = [_seen(first, "original")]
    for sight in rest:
        same = bool(sight.sighting.record) and _identity(sight.sighting.record) == lead
        how: Any = "same bytes" if same else "looks the same"
        lines.append(_seen(sight, how if sight.sighting.record else sight.sighting.how))
    return tuple(lines)


def leads_already(item: Item, lead: Sight) -> bool:
    """Whether the item's vector is that of the copy that leads."""
    return _identity(item.record) == _identity(lead.sighting.record)


def lead_record(item: Item, lead: Sight) -> dict[str, Any]:
    """What is recorded of an item whose pixels are those of the copy that leads."""
    record = lead.sighting.record
    return {**record, "origin": {**record["origin"], **_pixels(item)}}


def _pixels(item: Item) -> dict[str, Any]:
    return {"pixels_sha256": item.record["origin"]["pixels_sha256"]}


def _seen(sight: Sight, how: Any) -> Sight:
    return replace(sight, sighting=replace(sight.sighting, how=how))


def _rank(sight: Sight) -> tuple[Any, ...]:
    """Pixels, then evidence, then bytes; the rest only makes the order certain."""
    record = sight.sighting.record
    width, height = record.get("size", (0, 0))
    exif = record.get("exif", {})
    known = 2 * ("gps" in exif) + ("time" in exif)
    order = ("original", "same bytes", "looks the same").index(sight.sighting.how)
    return (
        -width * height, -known, -record.get("bytes", 0), record.get("sha256", ""),
        sight.sighting.time or 0.0, 0 if record else order, sight.medium.name,
    )  # fmt: skip


def _identity(record: Mapping[str, Any]) -> tuple[Any, Any]:
    frame = record.get("origin", {}).get("frame")
    return record.get("sha256"), frame and frame["time"]


def claims_of(sights: Sequence[Sight]) -> tuple[Claim, ...]:
    """What any copy claims of the place and the time, files before messages, each once."""
    claims = [*_of_files(sights), *_of_messages(sights)]
    return tuple(one for n, one in enumerate(claims) if not any(map(one.__eq__, claims[:n])))


def _of_files(sights: Sequence[Sight]) -> Iterator[Claim]:
    for sight in sights:
        gps, time = sight.exif.get("gps"), sight.exif.get("time")
        if gps:
            yield Claim("place", (gps["lon"], gps["lat"]), sight.name)
        if time:
            yield Claim("time", time, sight.name)


def _of_messages(sights: Sequence[Sight]) -> Iterator[Claim]:
    for sight in sights:
        for message in sight.medium.messages:
            if message.place:
                by = f"message {message.id} of {message.chat}"
                yield Claim("place", message.place, by, of_file=False)


def conflicts_of(claims: Sequence[Claim]) -> tuple[str, ...]:
    """Where claims contradict each other: a line for each that differs from one before it."""
    lines: dict[str, None] = {}
    seen: set[tuple[str, Any]] = set()
    for a, b in combinations(claims, 2):
        if (b.kind, b.value) not in seen and (difference := _difference(a, b)):
            seen.add((b.kind, b.value))
            lines[f"claims differ: {difference}"] = None
    return tuple(lines)


def _difference(a: Claim, b: Claim) -> str | None:
    if a.kind != b.kind:
        return None
    if a.kind == "time":
        return f"{a.by} was taken {a.value}, {b.by} {b.value}" if _other(a.value, b.value) else None
    apart = _EARTH.inv(*a.value, *b.value)[2]
    words = f"{a.by} says {_place(a.value)}, {b.by} {_place(b.value)}, {apart / 1000:.1f} km apart"
    return words if apart > _APART else None


def _place(value: tuple[float, float]) -> str:
    return f"{value[1]:.5f}, {value[0]:.5f}"


def _other(a: str, b: str) -> bool:
    """Whether two times cannot be one moment: without zone, a time may be of any zone."""
    one, two = moment(a), moment(b)
    if one is None or two is None:
        return False
    if (one.tzinfo is None) == (two.tzinfo is None):
        return abs((one - two).total_seconds()) > _SECONDS
    zoned, local = (one, two) if one.tzinfo else (two, one)
    ahead = (local - zoned.astimezone(dt.UTC).replace(tzinfo=None)).total_seconds()
    off = abs((ahead + _ZONE / 2) % _ZONE - _ZONE / 2)
    return off > _SECONDS or abs(ahead) > _MOST_ZONE + _SECONDS


def moment(time: str | None) -> dt.datetime | None:
    """A time as it is written, with or without a zone; None for anything else."""
    try:
        return None if time is None else dt.datetime.fromisoformat(time)
    except ValueError:
        return None


def evidence_of(sights: Sequence[Sight]) -> dict[str, Any]:
    """For ``query.json``: messages, every copy with what it knows, claims and conflicts."""
    claims = claims_of(sights)
    evidence: dict[str, Any] = {
        "messages": messages_of(sights),
        "copies": [_copy(sight) for sight in sights] if len(sights) > 1 else [],
        "claims": [_claim(claim) for claim in claims],
        "conflicts": list(conflicts_of(claims)),
    }
    return {key: value for key, value in evidence.items() if value}


def _copy(sight: Sight) -> dict[str, Any]:
    record = sight.sighting.record
    frame = record.get("origin", {}).get("frame")
    return {
        "file": sight.medium.name,
        "how": sight.sighting.how,
        **{
            key: record[key] for key in ("path", "sha256", "bytes", "size", "exif") if key in record
        },
        **({"frame": frame} if frame else {}),
        **({"messages": messages_of([sight])} if sight.medium.messages else {}),
    }


def _claim(claim: Claim) -> dict[str, Any]:
    place = {"lon": claim.value[0], "lat": claim.value[1]} if claim.kind == "place" else None
    return {claim.kind: place or claim.value, "by": claim.by}


def messages_of(sights: Sequence[Sight]) -> list[dict[str, Any]]:
    """Every message that brought an item, each once."""
    messages = [message.to_json() for sight in sights for message in sight.medium.messages]
    return [message for n, message in enumerate(messages) if message not in messages[:n]]
