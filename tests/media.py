"""Makes folders of small photos, videos and chats, good ones and broken ones, for tests."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pillow_heif import register_heif_opener

U8 = NDArray[np.uint8]

register_heif_opener()


def picture(seed: int, height: int = 72, width: int = 96) -> U8:
    """A picture ``(h, w, 3)`` unlike that of any other seed, in colours and in shape."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(30, 220, (3, 4, 3), dtype=np.uint8))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(9):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(4, width // 3), rng.integers(4, height // 2)
        draw.rectangle((x, y, x + w, y + h), fill=tuple(map(int, rng.integers(0, 255, 3))))
    noisy = np.asarray(image) + rng.normal(0, 5, (height, width, 3))
    return np.asarray(noisy.clip(0, 255), np.uint8)


def small_jpeg() -> bytes:
    """The file of a picture of one colour."""
    memory = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 120, 30)).save(memory, "jpeg")
    return memory.getvalue()


def save(path: Path, seed: int, **options: Any) -> Path:
    """Write a picture in the format that the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, **options)
    return path


def video(
    path: Path,
    frames: Sequence[U8],
    fps: int = 10,
    codec: str = "mpeg4",
    container: str | None = None,
) -> Path:
    """Write frames ``(h, w, 3)``, their sides even, in the container that the name tells or that
    is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.options = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {}
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path


def shot(seed: int, count: int, height: int = 144, width: int = 192) -> list[U8]:
    """Frames of one shot: a camera that moves slowly over one picture."""
    whole = picture(seed, height + 20, width + count)
    return [whole[10 : 10 + height, n : n + width] for n in range(count)]


def turn_mp4(path: Path) -> None:
    """Let the file say that it is to be shown a quarter turn clockwise, as phones do."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times, layer, volume
    content[start : start + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def message(number: int, **fields: Any) -> dict[str, Any]:
    """A message of an export."""
    moment = 1_750_000_000 + 3600 * (number - 3)
    head = {"id": number, "type": "message", "date": "2025-06-15T18:06:40"}
    told = {"date_unixtime": str(moment), "from": "Olena", "from_id": "user1", "text": ""}
    return head | told | fields


def write_export(folder: Path, messages: Sequence[dict[str, Any]], **chat: Any) -> Path:
    """Write ``result.json`` of a single chat."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"name": "Watch", "type": "private_channel", "id": 9, "messages": list(messages)}
    path = folder / "result.json"
    path.write_text(json.dumps(record | chat, ensure_ascii=False), encoding="utf-8")
    return path


def cut(suffix: str, part: float) -> Callable[[Path], object]:
    """Writes a photo of which only a part arrived."""

    def write(path: Path) -> object:
        memory = io.BytesIO()
        kind = {"jpg": "jpeg", "tif": "tiff", "heic": "heif"}.get(suffix, suffix)
        Image.fromarray(picture(3)).save(memory, kind)
        return path.write_bytes(memory.getvalue()[: int(part * memory.tell())])

    return write


def damaged_png(path: Path) -> None:
    """The pixels overwritten, head and end as they were."""
    save(path, 5)
    content = bytearray(path.read_bytes())
    content[200:900] = b"\x55" * 700
    path.write_bytes(content)


def cut_video(path: Path, size: int) -> None:
    """The first bytes of a video."""
    video(path, shot(4, 6))
    path.write_bytes(path.read_bytes()[:size])


def sound(path: Path) -> None:
    """A video file with audio only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        quiet.sample_rate = 8000
        for packet in [*stream.encode(quiet), *stream.encode()]:
            container.mux(packet)


def unreadable(path: Path) -> None:
    """A good photo that nobody may read."""
    save(path, 6)
    path.chmod(0)


def _text(*words: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(b"".join(words))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "text.jpg": (_text(b"this is text\n" * 20), "is not a photo"),
    "page.jpg": (_text(b"<!doctype html><title>404</title>"), "is not a photo"),
    "document.jpg": (_text(b"%PDF-1.7\n" * 30), "is not a photo"),
    "drawing.png": (_text(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "is not a photo"),
    "archive.heic": (_text(b"PK\x03\x04" + bytes(300)), "is not a photo"),
    "zeros.jpg": (_text(bytes(5000)), "is not a photo"),
    "noise, with comma.png": (lambda path: path.write_bytes(os.urandom(900)), "is not a photo"),
    "nothing.jpg": (_text(), "is empty (0 bytes)"),
    "nothing.mp4": (_text(), "is empty (0 bytes)"),
    "head alone.jpg": (_text(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01"), ""),
    "head alone.webp": (_text(b"RIFF\x10\x00\x00\x00WEBPVP8 " + b"\x01" * 30), ""),
    "head alone.gif": (_text(b"GIF89a" + b"\xff" * 9), ""),
    "cut.jpg": (cut("jpg", 0.4), "is damaged or cut short"),
    "cut.png": (cut("png", 0.4), "is damaged or cut short"),
    "cut.webp": (cut("webp", 0.5), "is damaged or cut short"),
    "cut.tif": (cut("tif", 0.5), ""),
    "cut.heic": (cut("heic", 0.6), "is damaged or cut short"),
    "cut.avif": (cut("avif", 0.6), ""),
    "damaged.png": (damaged_png, "is damaged or cut short"),
    "bomb.png": (lambda path: path.write_bytes(bomb()), "pixels, the limit is"),
    "cut.mp4": (lambda path: cut_video(path, 900), "is not a video"),
    "cut.mkv": (lambda path: cut_video(path, 60), ""),
    "text.webm": (_text(b"this is no film\n" * 9), "is not a video"),
    "black.mp4": (lambda path: video(path, [np.zeros((64, 96, 3), np.uint8)] * 12), "no usable"),
    "sound.mov": (sound, "it is audio only"),
    "pipe.jpg": (lambda path: os.mkfifo(path), "is not a regular file"),
    "outside.jpg": (lambda path: path.symlink_to("/etc/hostname"), "leads out of the folder"),
    "gone.png": (lambda path: path.symlink_to(path.with_name("nowhere")), "broken link"),
    "circle.jpg": (lambda path: path.symlink_to(path.name), "leads in a circle"),
    "closed.jpg": (unreadable, "Permission denied"),
}
"""Thirty ways to be no photo or video: who writes the file, and words of the reason."""


def bomb() -> bytes:
    """A PNG whose header announces 40,000 x 40,000 px."""
    import zlib

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(
        ">I", zlib.crc32(chunk)
    ) + b"\x00\x00\x00\x00IDAT"  # fmt: skip
