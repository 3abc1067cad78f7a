"""Writing shards: pairs and their images go into tar archives one by one, in flat memory."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import GeolocError, OutputError, PhotoError, UsageError
from ..files.whole import file_sha256, write_whole
from ..names import safe_name
from ..photos import decode_photo, photo_kind
from .file import Pair, Split
from .shards import Layout, Shard, ShardIndex, read_index

PER_SHARD = 1000
_KEPT = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""Kinds that are stored as they are, byte by byte, and their suffixes; others become PNG."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Sharded:
    """What was written; ``skipped``: one line for each pair that was left out."""

    index: Path
    count: int
    splits: Mapping[Split, int]
    shards: int
    skipped: tuple[str, ...]


def shard_pairs(
    pairs: Iterable[Pair],
    folder: Path,
    *,
    name: str = "pairs",
    layout: Layout = "webdataset",
    per_shard: int = PER_SHARD,
    progress: Progress | None = None,
) -> Sharded:
    """Write pairs with chips into ``folder``; a pair with an image that is broken is left out.

    See `write_shards`. Raises UsageError where a pair has no chip.
    """
    skipped: list[str] = []
    samples = (found for pair in pairs if (found := _read(pair, skipped)) is not None)
    return write_shards(
        samples, folder, name=name, layout=layout, per_shard=per_shard, progress=progress,
        skipped=skipped,
    )  # fmt: skip


def write_shards(
    samples: Iterable[tuple[Mapping[str, bytes], Mapping[str, Any]]],
    folder: Path,
    *,
    name: str = "pairs",
    layout: Layout = "webdataset",
    per_shard: int = PER_SHARD,
    progress: Progress | None = None,
    skipped: list[str] | None = None,
) -> Sharded:
    """Write samples, each the content of its images "ground" and "overhead" and its facts.

    The same samples give the same archives, byte by byte. They take their names only once all are
    whole, the index last; what an earlier index of that name listed and this one does not goes.
    Raises UsageError where there is no sample or the name is no file name, OutputError where the
    folder cannot be written.
    """
    if not name or safe_name(name) != name or per_shard < 1:
        raise UsageError(f"name {name!r}, {per_shard} a shard: give a plain name, and 1 or more")
    skipped = [] if skipped is None else skipped
    before = _listed(folder / f"{name}.json")
    writer = _Writer(folder, name, layout, per_shard)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (images, facts) in enumerate(samples):
            writer.add(f"{number:09d}", images, facts)
            if progress:
                progress(number + 1)
        shards = writer.close()
        if not shards:
            raise UsageError(f"no pair to write into {folder}: {_why(skipped)}")
        index = _write_index(folder / f"{name}.json", layout, shards)
        for stale in before - {shard.file for shard in shards}:
            (folder / stale).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write shards ({error.strerror})") from None
    finally:
        writer.drop()
    splits = Counter[Split]()
    for shard in shards:
        splits[shard.split] += shard.count
    return Sharded(index, splits.total(), dict(splits), len(shards), tuple(skipped))


def _why(skipped: list[str]) -> str:
    return skipped[0] if skipped else "the pairs are empty"


def _listed(index: Path) -> set[str]:
    try:
        return {shard.file for shard in read_index(index).shards} if index.is_file() else set()
    except GeolocError:
        return set()


def _write_index(path: Path, layout: Layout, shards: list[Shard]) -> Path:
    splits: dict[Split, int] = {}
    for shard in shards:
        splits[shard.split] = splits.get(shard.split, 0) + shard.count
    index = ShardIndex(
        layout=layout, count=sum(splits.values()), splits=splits, shards=tuple(shards)
    )
    write_whole(path, index.model_dump_json(indent=1) + "\n")
    return path


@dataclass
class _Open:
    """A shard that is being written, hidden until all are whole."""

    file: str
    split: Split
    archive: tarfile.TarFile
    count: int = 0


@dataclass
class _Writer:
    """One open archive for each split; their numbers run through all of them."""

    folder: Path
    name: str
    layout: Layout
    per_shard: int
    open: dict[Split, _Open] = field(default_factory=dict)
    done: dict[str, Shard] = field(default_factory=dict)
    number: int = 0

    def add(self, key: str, images: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
        split: Split = facts.get("split") or "train"
        into = self.open.get(split) or self._begin(split)
        for part, data in images.items():
            _put(into.archive, self._name(key, split, part, _KEPT[photo_kind(data) or ""]), data)
        _put(
            into.archive,
            self._name(key, split, "json", "json"),
            json.dumps(facts, ensure_ascii=False, sort_keys=True).encode(),
        )
        into.count += 1
        if into.count >= self.per_shard:
            self._end(into)

    def close(self) -> list[Shard]:
        """End what is open, and let all take their names; the shards in the order of those."""
        for into in list(self.open.values()):
            self._end(into)
        shards = [self.done[name] for name in sorted(self.done)]
        for shard in shards:
            self._part(shard.file).replace(self.folder / shard.file)
        return shards

    def drop(self) -> None:
        """Remove what has not taken its name."""
        for into in self.open.values():
            with suppress(OSError):  # of a full disk: what is open has still to be written
                into.archive.close()
        for file in [*self.done, *(into.file for into in self.open.values())]:
            self._part(file).unlink(missing_ok=True)

    def _part(self, file: str) -> Path:
        return self.folder / f".{Path(file).stem}.part.tar"

    def _begin(self, split: Split) -> _Open:
        file = f"{self.name}-{self.number:06d}.tar"
        self.number += 1
        archive = tarfile.open(self._part(file), "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self.open[split] = _Open(file, split, archive)
        return self.open[split]

    def _end(self, into: _Open) -> None:
        into.archive.close()
        part = self._part(into.file)
        self.done[into.file] = Shard(
            file=into.file,
            split=into.split,
            count=into.count,
            bytes=part.stat().st_size,
            sha256=file_sha256(part),
        )
        del self.open[into.split]

    def _name(self, key: str, split: Split, part: str, suffix: str) -> str:
        if self.layout == "plain":
            return f"{split}/{'pairs' if part == 'json' else part}/{key}.{suffix}"
        return f"{key}.json" if part == "json" else f"{key}.{part}.{suffix}"


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody, at time 0: archives of one content are equal
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def _read(pair: Pair, skipped: list[str]) -> tuple[Mapping[str, bytes], Mapping[str, Any]] | None:
    """The images of a pair and its facts; None, and a line in ``skipped``, for broken ones."""
    if pair.overhead is None:
        raise UsageError(
            f"{pair.photo}: has a place and no overhead image: cut it with 'geoloc pairs build'"
        )
    try:
        images = {
            "ground": storable(pair.photo, pair.photo.read_bytes()),
            "overhead": storable(pair.overhead, pair.overhead.read_bytes()),
        }
    except PhotoError as error:
        skipped.append(str(error))
    except OSError as error:
        skipped.append(f"{error.filename} cannot be read: {error.strerror}")
    else:
        return images, facts_of(pair)
    return None


def storable(path: Path, data: bytes) -> bytes:
    """An image file as it is stored: as it is, or, of kinds that few readers know, as PNG.

    Raises PhotoError for one that cannot be decoded.
    """
    photo = decode_photo(path, data)
    if photo_kind(data) in _KEPT:
        return data
    buffer = io.BytesIO()
    Image.fromarray(photo.pixels).save(buffer, "PNG")
    return buffer.getvalue()


def facts_of(pair: Pair) -> dict[str, Any]:
    """The JSON of a pair, without what is not known."""
    lon, lat = pair.lonlat or (None, None)
    told = {
        "lon": lon, "lat": lat, "split": pair.split, "group": pair.group or None,
        "heading": pair.heading, "date": pair.date or None, "photo": pair.photo.name,
    }  # fmt: skip
    return {key: value for key, value in told.items() if value is not None}
