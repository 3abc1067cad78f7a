"""Files to items: decode, recognise what was seen before, encode the rest in batches."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..encoders import Model
from ..errors import GeolocError, OutputError, PhotoError
from ..names import alike, free_name, path_text, safe_name, text_path, writable
from ..photos import Photo, read_photo
from ..query.answers import Progress
from ..query.encode import encode_batches, kept
from ..query.folders import holds_picture, picture_key
from ..query.repeat import reread
from ..video import Sampling, read_frames
from .media import Medium
from .pictures import Seen, Signature
from .store import CLUSTERS, Done, Item, Sighting, Store

PREVIEW = "photo.jpg"
"""The picture of an item beside its answer: of a video's frame there is no other file."""

_PREVIEW_QUALITY = 90


@dataclass
class Reader:
    """Reads media into the store; ``folder``: where the items' folders are; ``cube``: its
    `cube_key`, by which what lies there already is known for this run's own."""

    store: Store
    folder: Path
    model: Model
    sampling: Sampling
    cube: str
    _seen: Seen = field(default_factory=Seen)
    _files: dict[str, Done] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _next: int = 1
    _recorded: int = 0
    _open: deque[Done] = field(default_factory=deque)
    _new: deque[tuple[Done, int, str, Signature]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        for item in self.store.items().values():
            self._remember(item.id, item.folder, item.signature)
        self._files = {done.sha256: done for done in self.store.media() if done.sha256}

    def read(self, media: Sequence[Medium], progress: Progress) -> None:
        """Read what is new or changed; each medium is recorded once all of it is encoded."""
        stamps = self.store.stamps()
        fresh = [m for m in media if stamps.get(m.name) != _stamp(m.path)]
        before, total = len(media) - len(fresh), len(media)
        progress(before, total)
        for photos, vectors in encode_batches(self._photos(fresh), self.model):
            self._take(photos, vectors)
            progress(before + self._commit(but=1), total)
        self._commit()
        progress(total, total)

    def _photos(self, media: Sequence[Medium]) -> Iterator[Photo]:
        """The photos that have to be encoded; all that is known of the others is noted."""
        for medium in media:
            done = Done(medium.name, _stamp(medium.path), "", medium.kind)
            self._open.append(done)
            try:
                done.sha256 = _digest(medium.path)
                if known := self._files.get(done.sha256):
                    done.failure = known.failure
                    done.sightings = [replace(s, how="same bytes") for s in known.sightings]
                    continue
                self._files[done.sha256] = done
                for photo in _decode(medium, done.sha256, self.sampling):
                    if self._is_new(photo, done):
                        yield photo
            except GeolocError as error:
                done.failure = writable(str(error).removeprefix(f"{medium.path} "))

    def _is_new(self, photo: Photo, done: Done) -> bool:
        """Whether a picture is not the same as one before; either way it is sighted."""
        signature, frame = Signature.of(photo.pixels), photo.origin.get("frame")
        time = frame["time"] if frame else None
        number = self._seen.find(signature)
        if number is not None:
            done.sightings.append(Sighting(number, "looks the same", time))
            return False
        number, folder = self._next, self._free_name(photo)
        self._remember(number, folder, signature)
        done.sightings.append(Sighting(number, "original", time))
        self._new.append((done, number, folder, signature))
        return True

    def _take(self, photos: Sequence[Photo], vectors: NDArray[np.float32]) -> None:
        for photo, vector in zip(photos, vectors, strict=True):
            done, number, folder, signature = self._new.popleft()
            _write_preview(photo, self.folder / folder)
            done.items.append(Item(number, folder, _record(photo), signature, vector))

    def _commit(self, but: int = 0) -> int:
        """Record the media that are complete: all ``but`` the one that is being read."""
        while len(self._open) > but:
            self.store.add(self._open.popleft())
            self._recorded += 1
        return self._recorded

    def _remember(self, number: int, folder: str, signature: Signature) -> None:
        self._seen.add(number, signature)
        self._names.add(alike(folder))
        self._next = max(self._next, number + 1)

    def _free_name(self, photo: Photo) -> str:
        frame = photo.origin.get("frame")
        name = safe_name(photo.name, f" {frame['time']:.2f} s" if frame else "")
        return free_name(
            name, lambda name: alike(name) in self._names or self._foreign(name, photo)
        )

    def _foreign(self, name: str, photo: Photo) -> bool:
        """Whether something lies under a new item's name that is not of its picture.

        Under its own name an earlier run left it, whose list is gone or was of other settings.
        """
        key = picture_key({"sha256": photo.sha256, **photo.origin})
        places = (self.folder / name, self.folder.parent / CLUSTERS / name)
        return not all(
            holds_picture(place, key, self.cube, unfinished={PREVIEW}) for place in places
        )


def photo_of(item: Item, folder: Path, messages: Sequence[dict[str, Any]]) -> Photo:
    """An item's picture for its report, with all that is known of where it is from.

    A preview that was taken away is made again from the original; raises UsageError or
    PhotoError where that cannot be had.
    """
    record, place = item.record, folder / item.folder
    path = Path(text_path(record["path"]))
    if not (place / PREVIEW).is_file():
        again = {**record, **record["origin"]}
        _write_preview(kept(reread(again)), place)
    with Image.open(place / PREVIEW) as image:
        pixels = np.asarray(image.convert("RGB"))
    origin = {**record["origin"], **({"messages": list(messages)} if messages else {})}
    return Photo(path, path.stem, record["sha256"], pixels, tuple(record["size"]),
                 record["exif"], origin, tuple(record.get("notes", ())))  # fmt: skip


def _decode(medium: Medium, sha256: str, sampling: Sampling) -> Iterator[Photo]:
    if medium.kind == "photo":
        yield read_photo(medium.path)
        return
    for frame in read_frames(medium.path, sampling):
        yield frame.photo(medium.path, sha256)


def _record(photo: Photo) -> dict[str, Any]:
    return {
        "path": path_text(photo.path),
        "sha256": photo.sha256,
        "size": list(photo.size),
        "exif": dict(photo.exif),
        "origin": dict(photo.origin),
        "notes": list(photo.notes),
    }


def _write_preview(photo: Photo, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo.pixels).save(folder / PREVIEW, quality=_PREVIEW_QUALITY)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change; of what cannot be looked at, nothing that stays the same."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _digest(path: Path) -> str:
    if not path.is_file():
        raise PhotoError(f"{path} is no regular file, or a link to nothing: get the file again")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PhotoError(f"{path} cannot be read: {error.strerror}") from None
