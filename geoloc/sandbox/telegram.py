"""A chat about the world, as Telegram Desktop exports it ("Export chat history", JSON).

    result.json  photos/photo_1@03-06-2025_10-12-33.jpg  video_files/video_1@….mp4  truth.csv

It holds what a real export holds and a reader must bear: service messages, text as string and
as list, files that were not exported, the same picture posted twice, a position somebody sent.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import GeolocError, NotInstalledError, OutputError
from ..extras import extra
from ..files.whole import whole_file, write_whole
from ..progress import Progress, unheard
from .camera import Camera
from .photos import take_photo
from .relief import Relief
from .shots import (
    Spots,
    Town,
    find_spots,
    heading_of,
    moment,
    shows_place,
    stands_free,
    to_lonlat,
)
from .sky import Light
from .view import Surroundings, render

NOT_INCLUDED = "(File not included. Change data exporting settings to download.)"
_VIDEO_SIZE = 480, 270
_FPS, _FRAMES, _DARK = 10, 32, 4
_PHOTOS = 3
_RENDERED = _PHOTOS + 1  # the video too
_PACE = 0.9  # m a frame: a car in a town
_SEED = 5000  # apart from the seeds of the photos beside it
_PEOPLE = (("Olena", "user501"), ("Taras", "user502"), ("Field notes", "channel900"))

Message = dict[str, Any]
Truth = tuple[str, float, float]

_LOG = logging.getLogger(__name__)


def write_telegram(
    world: Town,
    folder: Path,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    progress: Progress = unheard,
) -> Path:
    """Write the export into ``folder``; returns the path of ``result.json``.

    ``size``: px ``(width, height)`` of its photos instead of a phone's. ``progress`` is called for
    its photos and its video.
    Raises OutputError where the folder cannot be written.
    """
    try:
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        (folder / "video_files").mkdir(exist_ok=True)
        return _write(world, folder, seed, size, progress)
    except OSError as error:
        raise OutputError(f"cannot write the chat to {folder}: {error.strerror}") from error


def _write(
    world: Town, folder: Path, seed: int, size: tuple[int, int] | None, progress: Progress
) -> Path:
    around = Surroundings(world)
    progress(0, _RENDERED)
    start = datetime(2025, 6, 3, 7, 12, 33, tzinfo=UTC)
    times = [start + timedelta(minutes=37 * n, seconds=11 * n) for n in range(12)]
    shots = []
    for n in range(_PHOTOS):
        shots.append(take_photo(world, n, _SEED + seed, around, size))
        progress(n + 1, _RENDERED)
    pixels = [shot.view.pixels for shot in shots]
    photos = [_photo(folder, n + 1, when, p, 87) for n, (when, p) in
              enumerate(zip((times[2], times[3], times[6]), pixels, strict=True))]  # fmt: skip
    again = _photo(folder, 4, times[8], pixels[0], 62, shrink=0.8)
    video, ridden = _video_or_none(world, folder, times[5], seed, around)
    progress(_RENDERED, _RENDERED)
    messages = [
        _service(1, times[0], "create_channel", title="Sandbox watch"),
        _message(2, times[1], 0, "Whoever passes by, please post what you see."),
        _message(3, times[2], 0, "", photos[0]),
        _message(
            4, times[3], 1, ["Seen here: ", {"type": "bold", "text": "crossroads"}], photos[1]
        ),
        _message(5, times[4], 1, "", {"photo": NOT_INCLUDED, "width": 1280, "height": 960}),
        _message(6, times[5], 2, "from the car", video),
        _message(7, times[6], 2, ["", {"type": "hashtag", "text": "#today"}, " again"], photos[2]),
        _service(8, times[7], "pin_message", message_id=4),
        _message(9, times[8], 2, "forwarded", again | {"forwarded_from": "Olena"}),
        _message(10, times[9], 0, "", _missing_video()),
        _message(11, times[10], 1, "I was here", {"location_information": _position(shots[1])}),
        _message(12, times[11], 0, ["thanks ", {"type": "mention", "text": "@taras"}]),
    ]
    export = {"name": "Sandbox watch", "type": "private_channel", "id": 1900000000 + seed,
              "messages": messages}  # fmt: skip
    path = folder / "result.json"
    write_whole(path, json.dumps(export, ensure_ascii=False, indent=1) + "\n")
    truth = [(data["photo"], shots[n].lon, shots[n].lat)
             for data, n in zip([*photos, again], (0, 1, 2, 0), strict=True)]  # fmt: skip
    _write_truth(folder / "truth.csv", [*truth, *ridden])
    return path


def _write_truth(path: Path, rows: list[Truth]) -> None:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "lon", "lat"))
        writer.writerows((name, f"{lon:.7f}", f"{lat:.7f}") for name, lon, lat in rows)


def _stamp(when: datetime) -> str:
    return when.strftime("%d-%m-%Y_%H-%M-%S")


def _message(
    number: int, when: datetime, person: int, text: str | list[Any], extra: Message | None = None
) -> Message:
    name, key = _PEOPLE[person]
    parts = text if isinstance(text, list) else [text] if text else []
    entities = [{"type": "plain", "text": p} if isinstance(p, str) else p for p in parts]
    head = {"id": number, "type": "message", "date": when.strftime("%Y-%m-%dT%H:%M:%S"),
            "date_unixtime": str(int(when.timestamp())), "from": name, "from_id": key}  # fmt: skip
    return head | (extra or {}) | {"text": text, "text_entities": entities}


def _service(number: int, when: datetime, action: str, **extra: object) -> Message:
    name, key = _PEOPLE[2]
    return {"id": number, "type": "service", "date": when.strftime("%Y-%m-%dT%H:%M:%S"),
            "date_unixtime": str(int(when.timestamp())), "actor": name, "actor_id": key,
            "action": action, **extra, "text": "", "text_entities": []}  # fmt: skip


def _position(shot: Any) -> dict[str, float]:
    return {"latitude": round(shot.lat, 6), "longitude": round(shot.lon, 6)}


def _missing_video() -> Message:
    return {"file": NOT_INCLUDED, "thumbnail": NOT_INCLUDED, "media_type": "video_file",
            "mime_type": "video/mp4", "duration_seconds": 17,
            "width": 1280, "height": 720}  # fmt: skip


def _photo(
    folder: Path, number: int, when: datetime, pixels: NDArray[np.uint8], quality: int,
    shrink: float = 1.0,
) -> Message:  # fmt: skip
    """Store a picture as the messenger does: without EXIF."""
    image = Image.fromarray(pixels)
    if shrink != 1:
        image = image.resize((round(image.width * shrink), round(image.height * shrink)))
    name = f"photos/photo_{number}@{_stamp(when)}.jpg"
    image.save(folder / name, "JPEG", quality=quality)
    size = (folder / name).stat().st_size
    return {"photo": name, "photo_file_size": size, "width": image.width, "height": image.height}


def _video_or_none(
    world: Town, folder: Path, when: datetime, seed: int, around: Surroundings
) -> tuple[Message, list[Truth]]:
    """As `_video`; without the package that encodes it, a video that was not exported."""
    try:
        with extra("video", "the chat is written without its video, which"):
            import av  # noqa: F401
    except NotInstalledError as missing:
        _LOG.info("%s", missing)
        return _missing_video(), []
    return _video(world, folder, when, seed, around)


def _video(
    world: Town, folder: Path, when: datetime, seed: int, around: Surroundings
) -> tuple[Message, list[Truth]]:
    """A ride along a road: the message's fields, and the middle of the ride."""
    rng = np.random.default_rng([world.seed, seed, 83])
    relief, cameras = _ride(find_spots(world), around, rng)
    middle = cameras[len(cameras) // 2]
    lon, lat = to_lonlat(world.crs).transform(middle.x, middle.y)
    light = moment(lon, lat, rng, clouds=0.3).light
    name = f"video_files/video_1@{_stamp(when)}.mp4"
    frames = list(_frames(relief, cameras, light))
    _encode(folder / name, frames)
    thumb = f"{name}_thumb.jpg"
    Image.fromarray(frames[_DARK]).resize((320, 180)).save(folder / thumb, "JPEG", quality=70)
    width, height = _VIDEO_SIZE
    return {
        "file": name, "file_name": "VID_0142.mp4", "file_size": (folder / name).stat().st_size,
        "thumbnail": thumb, "media_type": "video_file", "mime_type": "video/mp4",
        "duration_seconds": round((_FRAMES + _DARK) / _FPS), "width": width, "height": height,
    }, [(name, lon, lat)]  # fmt: skip


def _ride(
    spots: Spots, around: Surroundings, rng: np.random.Generator
) -> tuple[Relief, list[Camera]]:
    """Cameras along a straight stretch of road on which nothing stands in the way."""
    for _ in range(80):
        spot = spots.draw(rng)
        turn = rng.normal(0, 3)
        cameras = []
        for n in range(_FRAMES):
            along = (n - _FRAMES / 2) * _PACE
            x = spot[0] + along * spot[2] + 1.6 * spot[3]
            y = spot[1] + along * spot[3] - 1.6 * spot[2]
            cameras.append(Camera(float(x), float(y), (heading_of(spot) + turn) % 360, 68.0, 0.5,
                                  width=_VIDEO_SIZE[0], height=_VIDEO_SIZE[1]))  # fmt: skip
        relief = around.relief(float(spot[0]), float(spot[1]), 25.0, detail=False)
        if all(stands_free(relief, camera) for camera in cameras) and all(
            shows_place(relief, camera) for camera in cameras[::8]
        ):
            return relief, cameras
    raise GeolocError("no free stretch of road for a video: try another seed")


def _frames(relief: Relief, cameras: list[Camera], light: Light) -> Iterator[NDArray[np.uint8]]:
    """A few nearly black frames, as when the lens is still covered, then the ride."""
    rng = np.random.default_rng(7)
    width, height = _VIDEO_SIZE
    for _ in range(_DARK):
        yield rng.integers(0, 9, (height, width, 3), np.uint8)
    shake = rng.normal(0, 0.25, (len(cameras), 2)).cumsum(axis=0) * 0.4
    for camera, (pitch, roll) in zip(cameras, shake, strict=True):
        moved = replace(camera, pitch=camera.pitch + float(pitch), roll=float(roll))
        yield render(relief, moved, light, seed=3, oversample=1.3).pixels


def _encode(path: Path, frames: list[NDArray[np.uint8]]) -> None:
    import av

    codec: Literal["libx264", "mpeg4"] = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w") as container:
        # the plainest way of encoding: x264's cleverer ones read memory that was never set, so
        # bytes would differ from run to run
        plain = {"preset": "ultrafast", "crf": "24"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=_FPS, options=plain)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = _VIDEO_SIZE
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # the bytes depend on the number of threads
        if not plain:
            stream.bit_rate = 900_000
        for pixels in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
