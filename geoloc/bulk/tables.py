"""``results.parquet``, ``results.geojson`` and ``failures.csv``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..files.modes import open_answer
from ..files.whole import whole_file
from ..names import cell_text
from ..telegram import Message
from .copies import Sight, claims_of, messages_of
from .entries import Entry, Group, first_date

_CANDIDATE = pa.struct(
    [("rank", pa.int32()), ("lon", pa.float64()), ("lat", pa.float64()),
     ("distance", pa.float64()), ("percentile", pa.float64()), ("score", pa.float64())]
)  # fmt: skip
_MESSAGE = pa.struct(
    [("chat", pa.string()), ("id", pa.int64()), ("kind", pa.string()), ("date", pa.string()),
     ("edited", pa.string()), ("from", pa.string()), ("text", pa.string()),
     ("forwarded_from", pa.string()), ("forwarded_from_id", pa.string()),
     ("forwarded_date", pa.string()), ("saved_from", pa.string()), ("reply_to", pa.int64())]
)  # fmt: skip
SCHEMA = pa.schema([
    ("file", pa.string()), ("item", pa.string()), ("how", pa.string()),
    ("sha256", pa.string()), ("pixels_sha256", pa.string()), ("video_s", pa.float64()),
    ("time", pa.string()), ("claimed_lon", pa.float64()), ("claimed_lat", pa.float64()),
    ("chat", pa.string()), ("message_id", pa.int64()), ("message_date", pa.string()),
    ("sender", pa.string()), ("text", pa.string()), ("cluster", pa.string()),
    ("scene", pa.string()), ("lon", pa.float64()), ("lat", pa.float64()),
    ("distance", pa.float64()), ("percentile", pa.float64()),
    ("candidates", pa.list_(_CANDIDATE)), ("report", pa.string()),
    ("width", pa.int32()), ("height", pa.int32()), ("bytes", pa.int64()),
    ("item_time", pa.string()), ("item_claimed_lon", pa.float64()),
    ("item_claimed_lat", pa.float64()), ("claimed_by", pa.string()),
    ("conflicts", pa.list_(pa.string())), ("messages", pa.list_(_MESSAGE)),
    ("vector", pa.list_(pa.float32())), ("score", pa.float64()),
])  # fmt: skip
"""One row for each file and frame: one that is the same as another names that one's item.

``sha256``, ``width``, ``height``, ``bytes``, ``time``, ``claimed_lon``, ``claimed_lat`` and the
messages are of this file; ``item_time``, ``item_claimed_lon``, ``item_claimed_lat`` are what any
of its copies claims (``claimed_by``), ``conflicts`` where they differ. ``pixels_sha256`` and
``vector`` are of the copy that leads. Of several models, ``score`` stands in place of ``distance``,
and ``vector`` is theirs one behind the other, in the order of ``tandem.models`` in query.json.
"""


TABLES = ("results.parquet", "results.geojson", "failures.csv")


def write_tables(
    out: Path,
    entries: Sequence[Entry],
    groups: Sequence[Group],
    places: Sequence[Message],
    failures: Mapping[str, str],
) -> None:
    """Write the three files; what has not changed is left as it is."""
    rows = [_row(entry, sight) for entry in entries for sight in entry.sights]
    memory = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), memory, compression="zstd")
    write_changed(out / TABLES[0], memory.getvalue())
    collection = {"type": "FeatureCollection", "name": "results",
                  "features": list(_features(entries, groups, places))}  # fmt: skip
    text = json.dumps(collection, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    write_changed(out / TABLES[1], text.encode())
    write_changed(out / TABLES[2], _csv(failures))


def write_changed(path: Path, content: bytes) -> None:
    """Put ``content`` there in one step, unless it is there already."""
    if path.is_file() and path.read_bytes() == content:
        return
    with whole_file(path, alone=True) as part, open_answer(part, "wb") as file:
        file.write(content)


def _csv(failures: Mapping[str, str]) -> bytes:
    memory = io.StringIO()
    writer = csv.writer(memory, lineterminator="\n")
    writer.writerow(("file", "reason"))
    writer.writerows(map(cell_text, row) for row in sorted(failures.items()))
    return memory.getvalue().encode("utf-8", "replace")


def _row(entry: Entry, sight: Sight) -> dict[str, Any]:
    message = next(iter(sight.medium.messages), None)
    record = sight.sighting.record or entry.item.record
    own = claims_of([sight])
    claimed = next((claim.value for claim in own if claim.kind == "place"), (None, None))
    of_item = entry.claimed or (None, None)
    width, height = record["size"]
    return {
        "file": sight.medium.name,
        "item": entry.item.folder,
        "how": sight.sighting.how,
        "sha256": record["sha256"],
        "width": width,
        "height": height,
        "bytes": record.get("bytes"),
        "pixels_sha256": entry.item.record["origin"]["pixels_sha256"],
        "video_s": sight.sighting.time,
        "time": record["exif"].get("time") or first_date([sight]),
        "item_time": entry.time,
        "item_claimed_lon": of_item[0],
        "item_claimed_lat": of_item[1],
        "claimed_by": entry.claimed_by or None,
        "conflicts": list(entry.conflicts),
        "messages": messages_of([sight]),
        "claimed_lon": claimed[0],
        "claimed_lat": claimed[1],
        "chat": message and message.chat,
        "message_id": message and message.id,
        "message_date": message and message.date,
        "sender": message and message.sender,
        "text": message and message.text,
        "cluster": entry.cluster,
        "vector": entry.item.vector,
        **_answered(entry),
    }


def _answered(entry: Entry) -> dict[str, Any]:
    if entry.answer is None:
        return {}
    answer = entry.answer
    best = answer["candidates"][0] if answer["candidates"] else {}
    keys = ("lon", "lat", "distance", "percentile", "score")
    return {
        "scene": answer["scenes"][0][0],
        "candidates": answer["candidates"],
        "report": f"{entry.folder}/report.html",
        **{key: best.get(key) for key in keys},
    }


def _features(
    entries: Sequence[Entry], groups: Sequence[Group], places: Sequence[Message]
) -> Iterator[dict[str, Any]]:
    """Candidates of items and clusters, then what files and messages claim."""
    every: list[Entry | Group] = [*entries, *groups]
    for one in every:
        kind = "item" if isinstance(one, Entry) else "cluster"
        name = one.item.folder if isinstance(one, Entry) else one.name
        for candidate in one.answer["candidates"] if one.answer else ():
            facts = {"kind": kind, "name": name, "report": f"{one.folder}/report.html"}
            yield _point(candidate["lon"], candidate["lat"], facts | candidate)
    for entry in entries:
        for claim in entry.places if entry.conflicts else entry.places[:1]:
            facts = {"kind": "claimed", "name": entry.item.folder, "by": claim.by}
            differ = {"conflicts": "; ".join(entry.conflicts)} if entry.conflicts else {}
            lon, lat = claim.value
            yield _point(lon, lat, facts | differ)
    for message in places:
        if message.place:
            facts = {
                **message.to_json(),
                "kind": "sent in chat",
                "name": f"message {message.id}",
            }
            facts.pop("place")
            yield _point(*message.place, facts)


def _point(lon: float, lat: float, properties: Mapping[str, Any]) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [lon, lat]}
    return {"type": "Feature", "geometry": geometry, "properties": dict(properties)}
