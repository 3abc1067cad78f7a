"""Pairs with their images where they lie: in files, or as members of tar shards, read one by one.

A training shows its pairs in another order in each epoch. So an archive is not streamed but looked
into: where its members begin is noted once (some 100 bytes a pair), and each is read when needed.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..arrays import U8
from ..errors import GeolocError, PhotoError, UsageError
from ..photos import decode_photo, read_photo
from .file import Pair, Split, read_pairs
from .shards import (
    archives_of,
    find_index,
    lonlat_of,
    member_of,
    parse_facts,
    require_size,
    split_of,
)
from .tars import is_tar, require_end

_THREADS = 8


@dataclass(frozen=True)
class Stored:
    """An image file, or a ``member`` of an archive: ``size`` bytes from ``offset`` on."""

    path: Path
    member: str = ""
    offset: int = 0
    size: int = 0

    def __str__(self) -> str:
        return str(self.path / self.member)

    def read(self) -> bytes:
        """The bytes. Raises PhotoError."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size) if self.member else file.read()
        except OSError as error:
            raise PhotoError(f"{self} cannot be read: {error.strerror}") from None
        if self.member and len(data) != self.size:
            raise PhotoError(f"{self} ends early: the shard was cut; copy or make it again")
        return data

    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.read()).hexdigest()

    def length(self) -> int:
        """Bytes; -1 of a file that is not there."""
        try:
            return self.size if self.member else self.path.stat().st_size
        except OSError:
            return -1

    def pixels(self) -> U8:
        """Upright RGB ``(h, w, 3)``. Raises PhotoError."""
        if not self.member:
            return read_photo(self.path).pixels
        return decode_photo(self.path / self.member, self.read()).pixels


@dataclass(frozen=True)
class StoredPair:
    """A pair, its images not read yet."""

    ground: Stored
    overhead: Stored
    split: Split
    group: str
    lonlat: tuple[float, float] | None = None


def stored_pairs(pairs: Path) -> list[StoredPair]:
    """The pairs of a pairs file, or of a folder of shards (or one shard, or their index).

    An image that many pairs show is one, also where a shard holds a copy for each of them: else a
    place would be its own wrong answer. Raises UsageError or GeolocError, one line, for what is
    missing, cut or without images.
    """
    found = list(find_stored_pairs(pairs)) if is_shards(pairs) else _of_file(pairs)
    one = first_copies(image for pair in found for image in (pair.ground, pair.overhead))
    return [replace(pair, ground=one[pair.ground], overhead=one[pair.overhead]) for pair in found]


def is_shards(pairs: Path) -> bool:
    """Whether a path is a folder of shards, or one, or their index."""
    return pairs.is_dir() or is_tar(pairs) or (pairs.is_file() and find_index(pairs) is not None)


def _of_file(path: Path) -> list[StoredPair]:
    return [
        StoredPair(
            Stored(pair.photo), Stored(chip_path(path, pair)), pair.split, pair.group, pair.lonlat
        )
        for pair in read_pairs(path)
    ]


def chip_path(path: Path, pair: Pair) -> Path:
    """The chip of a pair of a file. Raises UsageError for one that only names its place."""
    if pair.overhead is None:
        raise UsageError(
            f"{path}: {pair.photo.name}: pairs by lon, lat need chips cut first, by 'geoloc pairs "
            "build', which gives the column overhead; or evaluate a cube with a truth file"
        )
    return pair.overhead


def first_copies(images: Iterable[Stored]) -> dict[Stored, Stored]:
    """Each image, and the first one of the same bytes.

    Only those of a length that occurs twice are read. One that cannot be read is itself: whoever
    needs it says why.
    """
    unique = list(dict.fromkeys(images))
    lengths = [image.length() for image in unique]
    often = {length for length, count in Counter(lengths).items() if count > 1}
    alike = [image for image, length in zip(unique, lengths, strict=True) if length in often]
    first, one = dict[str, Stored](), {image: image for image in unique}
    with ThreadPoolExecutor(_THREADS) as pool:
        for image, digest in zip(alike, pool.map(_digest, alike), strict=True):
            one[image] = first.setdefault(digest, image) if digest else image
    return one


def _digest(image: Stored) -> str:
    try:
        return image.sha256()
    except PhotoError:
        return ""


def find_stored_pairs(folder: Path) -> Iterator[StoredPair]:
    """The pairs of a folder of shards, of an index or of one archive, in their order.

    Raises UsageError where there are no shards, GeolocError, one line, for one that is missing, cut
    short or compressed, or a sample without both images.
    """
    for path, shard in archives_of(folder):
        if shard is not None:
            require_size(path, shard)
        if path.is_file():
            require_end(path)
        key, members, count = "", dict[str, Stored](), 0
        for stored in _members(path):
            found, part = member_of(stored.member)
            if part and found != key and members:
                yield _pair(path, key, members)
                members, count = {}, count + 1
            if part:
                key, members[part] = found, stored
        if members:
            yield _pair(path, key, members)
            count += 1
        if shard is not None and count != shard.count:
            raise GeolocError(f"{path} holds {count} samples, its index says {shard.count}")


def _members(path: Path) -> Iterator[Stored]:
    """The files of an uncompressed archive, by their headers alone."""
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isreg():
                    yield Stored(path, member.name, member.offset_data, member.size)
                archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them
    except (tarfile.TarError, EOFError, OSError) as error:
        raise GeolocError(
            f"{path} cannot be looked into ({error}): if it is compressed, unpack it or write it "
            "anew with 'geoloc pairs shard', else copy it again"
        ) from None


def _pair(path: Path, key: str, members: dict[str, Stored]) -> StoredPair:
    for part in ("ground", "overhead"):
        if part not in members:
            raise GeolocError(f"{path}: {key} has no {part} image: make the shard again")
    facts = parse_facts(path, key, members["json"].read()) if "json" in members else {}
    split = split_of(path, key, facts)
    group = str(facts.get("group") or "")
    return StoredPair(members["ground"], members["overhead"], split, group, lonlat_of(facts))
