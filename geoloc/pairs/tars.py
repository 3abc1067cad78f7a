"""Members of tar archives, streamed: nothing is unpacked, a cut archive is one line."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import GeolocError, UsageError, one_line
from ..photos import MAX_BYTES

_BLOCK = 512  # bytes of a tar; an archive ends with two of zeros


def is_tar(path: Path) -> bool:
    """Whether a path is named as a tar archive is."""
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each regular file of an archive, in its order; links are passed over.

    Raises UsageError where it is missing, GeolocError, one line, where it is cut short or damaged.
    """
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # which else grow without end
                if member.isreg():
                    yield member.name, _content(path, archive, member)
        require_end(path)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: correct the path") from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise GeolocError(cut_short(path, error)) from None


def cut_short(path: Path, error: object) -> str:
    """What is said of an archive that cannot be read to its end."""
    return f"{path} is cut short or damaged ({one_line(error)}): copy or make it again"


def require_end(path: Path) -> None:
    """Raise GeolocError where an uncompressed archive lacks its end: one cut between two members
    looks whole to a reader."""
    if path.suffix.lower() != ".tar":
        return
    with path.open("rb") as file:
        start = file.read(_BLOCK)
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - 2 * _BLOCK))
        end = file.read()
    compressed = start[:2] == b"\x1f\x8b" or start[:3] == b"BZh" or start[:6] == b"\xfd7zXZ\x00"
    if not compressed and (size % _BLOCK or any(end) or size < 2 * _BLOCK):
        raise GeolocError(cut_short(path, "its end is missing"))


def _content(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_BYTES:
        raise GeolocError(f"{path}: {member.name[:80]!r} has {member.size:,} bytes: leave it out")
    file = archive.extractfile(member)
    data = file.read() if file else b""
    if len(data) != member.size:
        raise GeolocError(cut_short(path, f"{member.name[:80]!r} ends early"))
    return data
