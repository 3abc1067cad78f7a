"""Makes folders of small photos, videos and chats, good ones and broken ones, for tests."""

from __future__ import annotations

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

U8 = NDArray[np.uint8]


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


def save(path: Path, seed: int, **options: Any) -> Path:
    """Write a picture in the format that the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, **options)
    return path


def video(path: Path, frames: Sequence[U8], fps: int = 10, codec: str = "mpeg4") -> Path:
    """Write frames ``(h, w, 3)``, their sides even."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.options = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {}
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
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


def break_file(kind: int, path: Path, good: bytes) -> None:
    """One of twelve ways to be no photo; ``good``: a JPEG's bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[int, Callable[[], bytes]] = {
        0: lambda: b"",
        1: lambda: b"this is text\n" * 20,
        2: lambda: good[: len(good) // 3],
        3: lambda: good[:20],
        4: lambda: b"<!doctype html><title>404</title>" + good[:50],
        5: lambda: b"\x89PNG\r\n\x1a\n" + good[:200],
        6: lambda: os.urandom(900),
        7: lambda: bomb(),
        8: lambda: b"\x00" * 5000,
        9: lambda: good[:2] + os.urandom(2000),
        10: lambda: b"RIFF\x10\x00\x00\x00WEBPVP8 " + b"\x01" * 30,
        11: lambda: b"GIF89a" + b"\xff" * 9,
    }
    path.write_bytes(content[kind % 12]())


def bomb() -> bytes:
    """A PNG whose header announces 40,000 x 40,000 px."""
    import zlib

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(
        ">I", zlib.crc32(chunk)
    ) + b"\x00\x00\x00\x00IDAT"  # fmt: skip
