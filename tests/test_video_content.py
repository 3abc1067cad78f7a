"""Videos are known by their first bytes; sound, photos and texts are not taken for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoloc.video import is_video_content
from tests.media import shot, video

CONTAINERS = [
    ("mpegts", "mpeg2video"), ("mpeg", "mpeg2video"), ("vob", "mpeg2video"), ("avi", "mpeg4"),
    ("asf", "mpeg4"), ("mp4", "mpeg4"), ("mov", "mpeg4"), ("3gp", "mpeg4"), ("matroska", "mpeg4"),
    ("webm", "libvpx"), ("flv", "flv1"), ("mxf", "mpeg2video"), ("yuv4mpegpipe", "rawvideo"),
    ("mpeg2video", "mpeg2video"),
]  # fmt: skip


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("stream") / "a.bin"
    return video(path, shot(1, 4), 25, "mpeg2video", container="mpegts").read_bytes()


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
def test_containers_are_known_by_content(tmp_path: Path, container: str, codec: str) -> None:
    path = video(tmp_path / "CLIP.BIN", shot(1, 4), 25, codec, container=container)
    assert is_video_content(path.read_bytes()[:1024])


@pytest.mark.parametrize(("before", "after"), [(0, 0), (4, 0), (0, 16)])
@pytest.mark.parametrize("cut", [0, 1, 100])
def test_transport_streams_of_every_packet_size(
    stream: bytes, before: int, after: int, cut: int
) -> None:
    """Camcorders put a time code before each packet, tuners parity behind it."""
    packets = [stream[at : at + 188] for at in range(0, 188 * 12, 188)]
    content = b"".join(bytes(before) + packet + bytes(after) for packet in packets)
    assert is_video_content(content[cut : cut + 1024])


@pytest.mark.parametrize(
    "head",
    [
        b"", b"G" * 1024, b"\xe9" + b"G" * 1024, b"ACGT" * 256, bytes(1024), bytes(range(256)) * 4,
        b"\xff\xd8\xff\xe0" + bytes(1020), b"RIFF\x00\x00\x00\x00WAVEfmt ", b"I'm free of it all",
        b"\x00\x00\x00\x18ftypheic" + bytes(16), b"\x00\x00\x00\x18ftypcrx " + bytes(16),
        b"\x00\x00\x00\x18ftypM4A " + bytes(16), b"OggS\x00\x02" + bytes(22) + b"\x01vorbis",
        b"OggS\x00\x02" + bytes(22) + b"OpusHead", b"ID3\x04" + bytes(99), b"%PDF-1.7\n" * 99,
    ],
)  # fmt: skip
def test_others_are_no_videos(head: bytes) -> None:
    assert not is_video_content(head)


def test_ogg_with_pictures_is_a_video() -> None:
    assert is_video_content(b"OggS\x00\x02" + bytes(22) + b"\x80theora\x03")
