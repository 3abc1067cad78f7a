"""What a bulk run tells of each picture and each cluster, as tables and a page take it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .media import Medium
from .pictures import Cluster, Picture
from .store import CLUSTERS, ITEMS, Done, Item, Sighting

SMALL = "heatmap-small.png"
"""The heatmap of a card, in the folder of an answer."""


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


Answer = Mapping[str, Any]
"""The summary of an answer; see `answering.summary`."""


@dataclass(frozen=True)
class Entry:
    """An item: where it is seen (the original first), its answer if it has one, its cluster."""

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
        """When it was taken or, where the file does not tell, posted (ISO 8601)."""
        return self.item.record["exif"].get("time") or _first_date(self.sights)

    @property
    def claimed(self) -> tuple[float, float] | None:
        """lon, lat that the file or its message claims."""
        gps = self.item.record["exif"].get("gps")
        places = [m.place for sight in self.sights for m in sight.medium.messages if m.place]
        return (gps["lon"], gps["lat"]) if gps else next(iter(places), None)

    @property
    def claimed_by(self) -> str:
        """Whose claim that is: the file's comes before a message's."""
        return "the file" if self.item.record["exif"].get("gps") else "a message"


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


def sights_of(media: Sequence[Medium], done: Mapping[str, Done]) -> dict[int, tuple[Sight, ...]]:
    """Where each item is seen in the files that are there now, by item, originals first."""
    found: dict[int, list[Sight]] = {}
    for medium in media:
        for sighting in done[medium.name].sightings if medium.name in done else ():
            found.setdefault(sighting.item, []).append(Sight(medium, sighting))
    order = {"original": 0, "same bytes": 1, "looks the same": 2}
    return {
        number: tuple(sorted(sights, key=lambda s: order[s.sighting.how]))
        for number, sights in sorted(found.items())
    }


def messages_of(sights: Sequence[Sight]) -> list[dict[str, Any]]:
    """Every message that brought an item, each once."""
    told = [message.to_json() for sight in sights for message in sight.medium.messages]
    return [message for n, message in enumerate(told) if message not in told[:n]]


def picture_of(item: Item, sights: Sequence[Sight]) -> Picture:
    """What the search for clusters looks at."""
    frame = item.record["origin"].get("frame")
    message = next((m for sight in sights for m in sight.medium.messages), None)
    posted = None if message is None else seconds(message.date)
    return Picture(
        item.id,
        item.vector,
        item.signature,
        video=item.record["sha256"] if frame else None,
        second=frame["time"] if frame else 0.0,
        taken=seconds(item.record["exif"].get("time")),
        posted=None if message is None or posted is None
        else (f"{message.chat}\n{message.sender}", posted),
    )  # fmt: skip


def cluster_name(cluster: Cluster, items: Mapping[int, Item]) -> str:
    """The name of its first member: it stays when members are added."""
    return items[cluster.members[0]].folder


def seconds(time: str | None) -> float | None:
    """Since 1970; a time without offset counts as UTC, as all that matters is differences."""
    if time is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(time)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _first_date(sights: Sequence[Sight]) -> str | None:
    dates = [m.date for sight in sights for m in sight.medium.messages if m.date]
    return min(dates, default=None)
