"""Images where they lie: in files of their own, or as members of tar shards, read one by one.

A training shows its pairs in another order in each epoch. So an archive is not streamed but looked
into: where its members begin is noted once (some 100 bytes a pair), and each is read when needed.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import GeolocError, PhotoError
from ..pairs import Split
from ..pairs.shards import archives_of, member_of, parse_facts, require_size, split_of
from ..pairs.tars import require_end
from ..photos import decode_photo, read_photo


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

    def pixels(self) -> NDArray[np.uint8]:
        """Upright RGB ``(h, w, 3)``. Raises PhotoError."""
        if not self.member:
            return read_photo(self.path).pixels
        return decode_photo(self.path / self.member, self.read()).pixels


@dataclass(frozen=True)
class StoredPair:
    """A pair of a shard, its images not read yet."""

    ground: Stored
    overhead: Stored
    split: Split
    group: str


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
    return StoredPair(members["ground"], members["overhead"], split, str(facts.get("group") or ""))
