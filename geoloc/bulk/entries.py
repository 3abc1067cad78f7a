"""What a bulk run reports of each picture and each cluster, for tables and the page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..arrays import F32
from .copies import Claim, Sight, claims_of, conflicts_of, in_order, moment
from .layout import CLUSTERS, ITEMS
from .media import Medium
from .pictures import Cluster, Picture
from .store import Done, Item

_UNZONED = 1e12  # s: far from all times that are told

SMALL = "heatmap-small.png"
"""The heatmap of a card, in the folder of an answer."""


Answer = Mapping[str, Any]
"""The summary of an answer; see `answering.summary`."""


@dataclass(frozen=True)
class Entry:
    """An item: where it is seen (the copy that leads first), its answer if it has one, its
    cluster."""

    item: Item
    sights: tuple[Sight, ...]
    answer: Answer | None
    cluster: str | None = None

    @property
    def folder(self) -> str:
        """Of its answer, below the folder of the run."""
        return f"{ITEMS}/{self.item.folder}"

    @property
    def title(self) -> str:
        """The original file by its name, and the second of a video."""
        return self.sights[0].name.rpartition("/")[2]

    @property
    def time(self) -> str | None:
        """When it was taken or, where no copy says, posted (ISO 8601)."""
        times = (claim.value for claim in self.claims if claim.kind == "time")
        return next(times, None) or first_date(self.sights)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """What any copy, or a message with it, claims of place and time."""
        return claims_of(self.sights)

    @cached_property
    def conflicts(self) -> tuple[str, ...]:
        """Where these differ, a line each."""
        return conflicts_of(self.claims)

    @property
    def places(self) -> tuple[Claim, ...]:
        """The claims of a place, that of the copy that leads first."""
        return tuple(claim for claim in self.claims if claim.kind == "place")

    @property
    def claimed(self) -> tuple[float, float] | None:
        """lon, lat that a copy or a message with it claims; a file's claim comes first."""
        return next((claim.value for claim in self.places), None)

    @property
    def claimed_by(self) -> str:
        """Whose claim that is."""
        if not self.places:
            return ""
        first = self.places[0]
        led = first.by == self.sights[0].name
        return "a message" if not first.of_file else "the file" if led else first.by


@dataclass(frozen=True)
class Group:
    """A cluster: its members, why they are together, and the answer to their mean."""

    name: str
    members: tuple[Entry, ...]
    reasons: tuple[str, ...]
    answer: Answer | None

    @property
    def folder(self) -> str:
        """Of its answer, below the folder of the run."""
        return f"{CLUSTERS}/{self.name}"


def sights_of(
    media: Sequence[Medium], done: Mapping[str, Done], items: Mapping[int, Item]
) -> dict[int, tuple[Sight, ...]]:
    """Where each item is seen in the files that are there now, by item; what leads comes first."""
    by_item: dict[int, list[Sight]] = {}
    for medium in media:
        for sighting in done[medium.name].sightings if medium.name in done else ():
            by_item.setdefault(sighting.item, []).append(Sight(medium, sighting))
    return {number: in_order(items[number], sights) for number, sights in sorted(by_item.items())}


def picture_of(item: Item, sights: Sequence[Sight], vector: F32) -> Picture:
    """What the search for clusters looks at; ``vector``: the item's, by one model."""
    frame = item.record["origin"].get("frame")
    message = next((m for sight in sights for m in sight.medium.messages), None)
    posted = None if message is None else seconds(message.date)
    return Picture(
        item.id,
        vector,
        item.signature,
        video=item.record["sha256"] if frame else None,
        second=frame["time"] if frame else 0.0,
        taken=seconds(next((c.value for c in claims_of(sights) if c.kind == "time"), None)),
        posted=None if message is None or posted is None
        else (f"{message.chat}\n{message.sender}", posted),
    )  # fmt: skip


def cluster_name(cluster: Cluster, items: Mapping[int, Item]) -> str:
    """The name of its first member: it stays when members are added."""
    return items[cluster.members[0]].folder


def seconds(time: str | None) -> float | None:
    """Since 1970, to be compared only; a time without zone is far from all that have one, as it
    may be of any zone."""
    when = moment(time)
    if when is None:
        return None
    return when.timestamp() if when.tzinfo else when.replace(tzinfo=dt.UTC).timestamp() - _UNZONED


def first_date(sights: Sequence[Sight]) -> str | None:
    """When it was first posted; dates may be of different time zones."""
    dates = [m.date for sight in sights for m in sight.medium.messages if moment(m.date)]
    return min(dates, key=_in_utc, default=None)


def _in_utc(date: str | None) -> dt.datetime:
    """For comparing; a date without zone counts as UTC."""
    when = moment(date)
    assert when is not None
    return when if when.tzinfo else when.replace(tzinfo=dt.UTC)
