"""Files to items: decode, recognise what was seen before, encode the rest in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import F32, U8
from ..errors import NotInstalledError, OutputError, PhotoError
from ..files.modes import make_folder, open_answer
from ..files.whole import file_sha256, whole_file
from ..models import Model
from ..names import alike, free_name, path_text, safe_name, text_path
from ..photos import Photo, read_photo
from ..photos.likeness import Seen, Signature
from ..progress import Progress, Stages
from ..query.encode import encode_batches, kept
from ..query.folders import holds_picture, picture_key
from ..query.recorded import reread
from ..video import Sampling, read_frames
from .copies import Sight, lead_record, leads_already
from .layout import CLUSTERS
from .media import Medium
from .mishaps import contained, is_foreseen
from .store import Done, Item, Sighting, Store

PREVIEW = "photo.jpg"
"""The picture of an item beside its answer: of a video's frame there is no other file."""

_PREVIEW_QUALITY = 90
_AGAIN = (-2, -2)  # the stamp of what shall be read again: no file has it


@dataclass
class Reader:
    """Reads media into the store; ``folder``: where the items' folders are; ``cube``: its
    `cubes_key`, by which what lies there already is known for this run's own."""

    store: Store
    folder: Path
    models: Sequence[Model]
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
        known = [done for done in self.store.media() if done.stamp != _AGAIN]
        self._files = {done.sha256: done for done in known if done.sha256}

    def read(self, media: Sequence[Medium], progress: Progress) -> None:
        """Read what is new or changed; each medium is recorded once all of it is encoded."""
        stamps = self.store.stamps()
        fresh = [m for m in media if stamps.get(m.name) != _stamp(m.path)]
        before, total = len(media) - len(fresh), len(media)
        progress(before, total)
        for photos, vectors in encode_batches(self._photos(fresh), self.models):
            self._take(photos, vectors)
            progress(before + self._commit(but=1), total)
        self._commit()
        progress(total, total)

    def _photos(self, media: Sequence[Medium]) -> Iterator[Photo]:
        """The photos that have to be encoded; all that is known of the others is noted."""
        for medium in media:
            done = Done(medium.name, _stamp(medium.path), "", medium.kind)
            self._open.append(done)
            with contained(medium.name, partial(_fail, done, medium.path)):
                yield from self._new_photos(medium, done)

    def _new_photos(self, medium: Medium, done: Done) -> Iterator[Photo]:
        try:
            done.sha256 = _digest(medium.path)
            if known := self._files.get(done.sha256):
                done.failure = known.failure
                done.sightings = [_elsewhere(seen, medium.path) for seen in known.sightings]
                return
            self._files[done.sha256] = done
            for photo in _decode(medium, done.sha256, self.sampling):
                if self._is_new(photo, done):
                    yield photo
        except Exception as error:
            passing = isinstance(error, NotInstalledError) or not is_foreseen(error)
            if passing or not done.sha256:
                # it may be well another time: rights are given, a library is mended or installed
                done.stamp = _AGAIN
                self._files.pop(done.sha256, None)
            raise

    def _is_new(self, photo: Photo, done: Done) -> bool:
        """Whether a picture is not the same as one before; either way it is sighted."""
        signature, frame = Signature.of(photo.pixels), photo.origin.get("frame")
        time, record = frame["time"] if frame else None, _record(photo, done.stamp[0])
        number = self._seen.find(signature)
        if number is not None:
            done.sightings.append(Sighting(number, time=time, record=record))
            return False
        number, folder = self._next, self._free_name(photo)
        self._remember(number, folder, signature)
        done.sightings.append(Sighting(number, time=time, record=record))
        self._new.append((done, number, folder, signature))
        return True

    def _take(self, photos: Sequence[Photo], vectors: F32) -> None:
        for photo, vector in zip(photos, vectors, strict=True):
            done, number, folder, signature = self._new.popleft()
            _write_preview(photo, self.folder / folder)
            record = _record(photo, done.stamp[0])
            done.items.append(Item(number, folder, record, signature, vector))

    def lead(
        self,
        sights: Mapping[int, Sequence[Sight]],
        fail: Callable[[str, str], None],
        progress: Stages,
    ) -> None:
        """Make each item the copy that leads: the first of its ``sights``.

        A larger copy may have come later, the one that led may be gone. One that cannot be
        read any more is told by ``fail`` (name, reason), and the item stays what it was.
        """
        items = self.store.items()
        leads = [(items[number], seen[0]) for number, seen in sights.items()]
        leads = [(item, lead) for item, lead in leads if lead.sighting.record]
        moved = [
            replace(item, record=lead_record(item, lead))
            for item, lead in leads
            if leads_already(item, lead)
        ]
        self.store.replace([item for item in moved if item.record != items[item.id].record])
        others = [pair for pair in leads if not leads_already(*pair)]
        if not others:
            return
        report, done = progress("reading the larger copies"), 0
        waiting: deque[tuple[Item, Sight, Signature]] = deque()
        for photos, vectors in encode_batches(_decoded(others, waiting, fail), self.models):
            renewed = []
            for photo, vector in zip(photos, vectors, strict=True):
                item, lead, signature = waiting.popleft()
                _write_preview(photo, self.folder / item.folder)
                origin = {**lead.sighting.record["origin"], **photo.origin}
                record = {**lead.sighting.record, "origin": origin}
                renewed.append(replace(item, record=record, signature=signature, vector=vector))
            self.store.replace(renewed)
            done += len(renewed)
            report(done, len(others))

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


def photo_of(item: Item, folder: Path, evidence: Mapping[str, Any]) -> Photo:
    """An item's picture for its report, with all that is known of where it is from: ``evidence``
    goes into its origin.

    A preview that was taken away, or shows another picture, is made again from the original;
    raises UsageError or PhotoError where that cannot be had.
    """
    record, place = item.record, folder / item.folder
    path = Path(text_path(record["path"]))
    pixels = _preview(place / PREVIEW)
    if pixels is None or not _shows(item, pixels):
        again = kept(reread({**record, **record["origin"]}))
        _write_preview(again, place)
        pixels = again.pixels
    origin = {**record["origin"], **evidence}
    return Photo(path, path.stem, record["sha256"], pixels, tuple(record["size"]),
                 record["exif"], origin, tuple(record.get("notes", ())))  # fmt: skip


def _shows(item: Item, pixels: U8) -> bool:
    """Whether a preview is of this very picture."""
    seen = Seen()
    seen.add(item.id, item.signature)
    return seen.find(Signature.of(pixels)) is not None


def _decode(medium: Medium, sha256: str, sampling: Sampling) -> Iterator[Photo]:
    if medium.kind == "photo":
        yield read_photo(medium.path)
        return
    for frame in read_frames(medium.path, sampling):
        yield frame.photo(medium.path, sha256)


def _decoded(
    leads: Sequence[tuple[Item, Sight]],
    waiting: deque[tuple[Item, Sight, Signature]],
    fail: Callable[[str, str], None],
) -> Iterator[Photo]:
    """The copies that lead from now on, read again; ``waiting`` holds which they are."""
    for item, lead in leads:
        with contained(lead.medium.name, partial(fail, lead.medium.name)):
            record = lead.sighting.record
            photo = reread({**record, **record["origin"], "file": lead.medium.path.name})
            waiting.append((item, lead, Signature.of(photo.pixels)))
            yield photo


def _elsewhere(seen: Sighting, path: Path) -> Sighting:
    """The same bytes in another file."""
    return replace(seen, record={**seen.record, "path": path_text(path)})


def _fail(done: Done, path: Path, reason: str) -> None:
    done.failure = reason.removeprefix(f"{path} ")


def _record(photo: Photo, size: int) -> dict[str, Any]:
    return {
        "path": path_text(photo.path),
        "sha256": photo.sha256,
        "bytes": size,
        "size": list(photo.size),
        "exif": dict(photo.exif),
        "origin": dict(photo.origin),
        "notes": list(photo.notes),
    }


def _preview(path: Path) -> U8 | None:
    """The pixels ``(h, w, 3)`` of a preview; None where it was taken away or torn."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError):
        return None


def _write_preview(photo: Photo, folder: Path) -> None:
    try:
        make_folder(folder)
        with whole_file(folder / PREVIEW, alone=True) as part, open_answer(part, "wb") as file:
            Image.fromarray(photo.pixels).save(file, "jpeg", quality=_PREVIEW_QUALITY)
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
        raise PhotoError(f"{path} is not a regular file, or is a broken link: get the file again")
    try:
        return file_sha256(path)
    except OSError as error:
        raise PhotoError(f"{path} cannot be read: {error.strerror}") from None
