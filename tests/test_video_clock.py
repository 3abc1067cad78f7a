"""A video's time starts at 0 and never goes back, and a frame is found again by it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from geoloc.errors import PhotoError, UsageError
from geoloc.video import Sampling, read_frame, read_frames
from tests.media import shot

Folder = Path
CLOSE = Sampling(gap=1, apart=0.3)


def clip(
    path: Path,
    seeds: tuple[int, ...] = (1, 2),
    container: str | None = None,
    codec: str = "mpeg2video",
    start: float = 0.0,
    rate: int = 25,
    group: int = 12,
) -> Path:
    """Two seconds of each seed, with frames that depend on later ones where the codec has them."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.gop_size, stream.bit_rate = group, 2_000_000
        stream.codec_context.max_b_frames = 2 if codec in ("mpeg2video", "mpeg4", "libx264") else 0
        pictures = [pixels for seed in seeds for pixels in shot(seed, 2 * rate, 96, 128)]
        for n, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = n + round(start * rate), Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    clip(folder / "a.ts", (1, 2), "mpegts")
    clip(folder / "b.ts", (3, 4), "mpegts")
    clip(folder / "late.ts", (5, 6), "mpegts", start=36_000)
    clip(folder / "short.ts", (7,), "mpegts")
    clip(folder / "a.mpg", (1, 2), "mpeg")
    clip(folder / "b.mpg", (3, 4), "mpeg")
    return folder


def assert_found_again(path: Path, length: float, sampling: Sampling = CLOSE) -> None:
    frames = list(read_frames(path, sampling))
    times = [frame.time for frame in frames]
    assert 0 <= times[0] < 0.2 and all(a < b for a, b in pairwise(times))
    assert length - 2.5 < times[-1] <= length
    for frame in frames:
        assert read_frame(path, frame.time).sha256 == frame.sha256, (path.name, frame.time)


@pytest.mark.parametrize("long", [180.0, 1.0], ids=["all frames", "key frames"])
@pytest.mark.parametrize(("names", "length"), [
    (("late.ts",), 4), (("a.ts", "b.ts"), 8), (("a.ts", "a.ts"), 8), (("a.ts", "late.ts"), 8),
    (("late.ts", "a.ts", "b.ts"), 12), (("short.ts", "a.ts", "short.ts"), 8),
    (("a.mpg", "b.mpg"), 8),
])  # fmt: skip
def test_recordings_that_were_joined(
    parts: Path, tmp_path: Path, names: tuple[str, ...], length: float, long: float
) -> None:
    path = joined(tmp_path / f"j{Path(names[0]).suffix}", *(parts / name for name in names))
    assert_found_again(path, length, Sampling(gap=1, apart=0.3, long=long))


def test_each_part_shows_its_own_pictures(parts: Path, tmp_path: Path) -> None:
    """The second part's frames are not those of the first part at the same timestamps."""
    path = joined(tmp_path / "ab.ts", parts / "a.ts", parts / "b.ts")
    frames = list(read_frames(path, CLOSE))
    for start, seed in enumerate((1, 2, 3, 4)):
        (seen, *_) = (f for f in frames if 2 * start + 0.1 < f.time < 2 * start + 1.9)
        off = [
            np.abs(seen.pixels.astype(int) - shot(s, 50, 96, 128)[25]).mean() for s in range(1, 5)
        ]
        assert int(np.argmin(off)) + 1 == seed


@pytest.mark.parametrize("long", [180.0, 1.0])
@pytest.mark.parametrize(("name", "container", "codec"), [
    ("a.mp4", None, "mpeg4"), ("a.mkv", None, "mpeg4"), ("a.avi", None, "mpeg4"),
    ("a.flv", None, "flv1"), ("a.wmv", None, "wmv2"), ("a.mpg", "mpeg", "mpeg2video"),
    ("a.m2v", "mpeg2video", "mpeg2video"), ("a.h264", "h264", "libx264"),
    ("a.mxf", None, "mpeg2video"),
    ("a.y4m", "yuv4mpegpipe", "rawvideo"), ("a.ts", "mpegts", "libx264"),
])  # fmt: skip
def test_every_container(
    tmp_path: Path, name: str, container: str, codec: str, long: float
) -> None:
    """Some have no timestamps of showing, or none at all."""
    path = clip(tmp_path / name, (1, 2), container, codec)
    assert_found_again(path, 4, Sampling(gap=1, apart=0.3, long=long))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mpg"])
def test_a_late_start_is_second_0(tmp_path: Path, suffix: str) -> None:
    path = clip(tmp_path / f"a.{suffix}", start=100, codec="mpeg2video")
    assert_found_again(path, 4)
    with pytest.raises(UsageError, match=r"no frame at 100\.\d+ s"):
        read_frame(path, 100.3)


def test_a_part_that_begins_within_a_group(parts: Path, tmp_path: Path) -> None:
    """Until its first key frame nothing can be shown of it, and nothing gets a wrong time."""
    a, b = ((parts / name).read_bytes() for name in ("a.ts", "b.ts"))
    path = tmp_path / "cut.ts"
    path.write_bytes(a + b[188 * 25 :])
    frames = list(read_frames(path, CLOSE))
    assert all(x.time < y.time for x, y in pairwise(frames)) and frames[-1].time > 5
    for frame in frames:
        assert read_frame(path, frame.time).sha256 == frame.sha256


def test_damage_in_a_joined_recording_is_no_traceback(parts: Path, tmp_path: Path) -> None:
    content = bytearray((parts / "a.ts").read_bytes() + (parts / "late.ts").read_bytes())
    rng, path = np.random.default_rng(2), tmp_path / "a.ts"
    for _ in range(5):
        for at in rng.integers(0, len(content), 200):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            times = [frame.time for frame in read_frames(path, CLOSE)]
            assert times == sorted(times)
        except PhotoError as error:
            assert "\n" not in str(error)
