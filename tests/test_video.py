"""Frames that are worth a look, from small videos whose cuts and flaws are known."""

from __future__ import annotations

import io
import struct
from contextlib import nullcontext, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from geoloc.errors import PhotoError, UsageError
from geoloc.video import Sampling, is_title, read_frame, read_frames
from geoloc.video.container import _is_whole, _missing_of_avi
from tests.media import U8, shot, turn_mp4, video

BLACK = np.full((144, 192, 3), 6, np.uint8)


def title() -> U8:
    image = Image.new("RGB", (192, 144), (20, 30, 90))
    ImageDraw.Draw(image).text((40, 60), "NEWS OF THE DAY\nKyiv 2024", fill="white", font_size=16)
    return np.asarray(image)


def blurred(frames: list[U8]) -> list[U8]:
    return [np.asarray(Image.fromarray(f).filter(ImageFilter.GaussianBlur(9))) for f in frames]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.mov", "mpeg4"), ("a.webm", "libvpx"), ("a.mkv", "mpeg4")],
)
def test_a_frame_after_each_cut_of_every_container(tmp_path: Path, name: str, codec: str) -> None:
    path = video(tmp_path / name, [*shot(1, 15), *shot(2, 15), *shot(3, 15)], codec=codec)
    frames = list(read_frames(path))
    assert [f.reason for f in frames] == ["first", "cut", "cut"]
    assert [f.time for f in frames] == pytest.approx([0.0, 1.5, 3.0], abs=0.21)
    for frame, seed in zip(frames, (1, 2, 3), strict=True):
        assert frame.pixels.shape == (144, 192, 3)
        off = np.abs(frame.pixels.astype(int) - shot(seed, 15)[0]).mean()
        assert off < 25


def test_no_more_than_the_gap_passes_without_a_frame(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", shot(4, 120))
    times = [f.time for f in read_frames(path, Sampling(gap=3))]
    assert times == pytest.approx([0, 3, 6, 9], abs=0.41)
    few = [f.time for f in read_frames(path, Sampling(gap=1, most=3))]
    assert len(few) == 3
    assert few[-1] > 7  # spread over all of it


def test_black_blurred_and_title_frames_are_passed_over(tmp_path: Path) -> None:
    good = shot(5, 20)
    path = video(tmp_path / "a.mp4", [*[BLACK] * 6, *[title()] * 12, *blurred(shot(6, 12)), *good])
    frames = list(read_frames(path))
    assert len(frames) == 1
    assert 2.99 <= frames[0].time <= 3.5
    assert is_title(title().astype(np.float32))
    with pytest.raises(PhotoError, match="no usable frame"):
        list(read_frames(video(tmp_path / "b.mp4", [BLACK] * 12)))


def test_a_clear_sky_is_no_title() -> None:
    pixels = shot(7, 1)[0].astype(np.float32)
    pixels[:75] = (120, 160, 220)
    assert not is_title(pixels)


def test_turned_as_the_file_says(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", shot(8, 8))
    before = next(read_frames(path)).pixels
    turn_mp4(path)
    after = next(read_frames(path)).pixels
    assert after.shape == (192, 144, 3)
    np.testing.assert_array_equal(after, np.rot90(before, -1))


def test_key_frames_do_for_a_long_video(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", [*shot(1, 40), *shot(2, 40), *shot(3, 40)])
    frames = list(read_frames(path, Sampling(long=5)))
    assert len(frames) >= 3
    assert frames[0].reason == "first"


def test_a_frame_is_found_again(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", [*shot(1, 15), *shot(2, 30)])
    for frame in read_frames(path, Sampling(gap=1)):
        assert read_frame(path, frame.time).sha256 == frame.sha256
    with pytest.raises(UsageError, match=r"no frame at 0\.333 s"):
        read_frame(path, 0.333)


def test_damage_is_told_after_what_could_be_seen(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", [*shot(1, 15), *shot(2, 15), *shot(3, 40)])
    content = path.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) // 2])
    frames = []
    with pytest.raises(PhotoError, match=r"ends at [34]\.\d s of 7\.0 s: it was cut short"):
        for frame in read_frames(cut):
            frames.append(frame)  # noqa: PERF402  (those before the error count)
    assert frames  # a stream that ends early is no damage to its beginning


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", r"is empty \(0 bytes\)"), (b"no video" * 100, "is not a video"),
     (b"\x00\x00\x00\x20ftypisom" + b"\x00" * 99, "is not a video|no pictures")],
)  # fmt: skip
def test_what_is_no_video_is_refused_in_one_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=reason) as caught:
        list(read_frames(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="does not exist"):
        list(read_frames(tmp_path / "none.mp4"))


def test_a_truncated_mp4_is_told(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", shot(1, 30))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(PhotoError, match=r"a\.mp4 is not a video"):
        list(read_frames(path))


def test_frames_are_bounded_in_size(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", shot(1, 3))
    with pytest.raises(PhotoError, match="192 x 144"):
        list(read_frames(path, Sampling(pixels=20_000)))


def timed(path: Path, times: list[int], sound: float = 0.0, **options: str) -> Path:
    """A video whose frames are shown at these times (ms); ``sound``: so many s of silence."""
    codec = {".webm": "libvpx", ".flv": "flv1"}.get(path.suffix, "mpeg4")
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 144, 192, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        quiet = container.add_stream("pcm_s16le", rate=8000) if sound else None
        for time, pixels in zip(times, shot(1, len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if quiet:
            silence = np.zeros((1, int(8000 * sound)), np.int16)
            heard = av.AudioFrame.from_ndarray(silence, "s16", "mono")
            heard.sample_rate = 8000
            container.mux([*quiet.encode(heard), *quiet.encode()])
    return path


STEADY = [100 * n for n in range(60)]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm", ".avi"])
@pytest.mark.parametrize(
    "times",
    [[n * n * 9 for n in range(40)], [0, 100, 200, 15_000], [20_000 + time for time in STEADY]],
    ids=["variable rate", "a long last frame", "a late start"],
)
def test_whole_files_are_not_accused(tmp_path: Path, suffix: str, times: list[int]) -> None:
    path = timed(tmp_path / f"a{suffix}", times)
    assert list(read_frames(path))
    assert list(read_frames(path, Sampling(long=3)))


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_sound_may_last_longer_than_the_pictures(tmp_path: Path, suffix: str) -> None:
    """`timed` writes it last: the streams are not interleaved."""
    assert list(read_frames(timed(tmp_path / f"a{suffix}", STEADY, sound=20)))


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mkv", {"live": "1"}), ("a.webm", {"live": "1"}),
     ("a.mp4", {"movflags": "frag_keyframe+empty_moov"})],
)  # fmt: skip
def test_a_file_that_tells_no_length_is_not_accused(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    path = timed(tmp_path / name, STEADY, **options)
    assert list(read_frames(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with suppress(PhotoError):  # the last frame may be told as damaged
        assert list(read_frames(path))


@pytest.mark.parametrize("whole", [True, False])
def test_a_matroska_file_is_judged_by_its_bytes_alone(tmp_path: Path, whole: bool) -> None:
    """Lengths are estimates in live recordings, and a last picture may stay for seconds."""
    path = timed(tmp_path / "a.mkv", STEADY)
    content = path.read_bytes()
    before, told, after = content.partition(b"\x44\x89\x88")  # Duration, a double
    assert told
    longer = before + told + struct.pack(">d", 1.5 * struct.unpack(">d", after[:8])[0]) + after[8:]
    path.write_bytes(longer if whole else longer[:-200])
    told_short = nullcontext() if whole else pytest.raises(PhotoError)
    with told_short:
        assert list(read_frames(path))


@pytest.mark.parametrize("content", [b"", b"\x18\x53\x80\x67", b"\x18\x53\x80\x67\x00", b"\x18S"])
def test_a_matroska_file_that_announces_nothing_is_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mkv").write_bytes(content)
    assert _is_whole(tmp_path / "a.mkv")


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mkv", {}), ("a.webm", {}), ("a.flv", {}), ("a.mp4", {"movflags": "faststart"})],
)
@pytest.mark.parametrize("long", [180.0, 3.0])
def test_a_file_that_is_cut_short_is_told(
    tmp_path: Path, name: str, options: dict[str, str], long: float
) -> None:
    path = timed(tmp_path / name, STEADY, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PhotoError, match=r"ends at \d\.\d s of 6\.0 s|is damaged after") as caught:
        list(read_frames(path, Sampling(long=long)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("told", "whole"), [(None, False), (0xFFFFFFFF, True), (0, True)])
def test_an_avi_lacks_what_it_announces(tmp_path: Path, told: int | None, whole: bool) -> None:
    """Recorders that were switched off announce nothing."""
    path = timed(tmp_path / "a.avi", STEADY)
    content = bytearray(path.read_bytes()[: path.stat().st_size // 2])
    if told is not None:
        content[4:8] = struct.pack("<I", told)
    path.write_bytes(content)
    with nullcontext() if whole else pytest.raises(PhotoError, match=r"lacks [\d,]+ bytes that"):
        assert list(read_frames(path))
    path.write_bytes(bytes(content[:12]) + b"no AVI")
    refused(path, "is not a video")


def test_the_parts_of_a_long_avi_are_counted_together(tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(timed(tmp_path / "b.avi", STEADY).read_bytes() * 2)
    assert _missing_of_avi(tmp_path / "a.avi") == 0
    content = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: len(content) * 3 // 4])
    assert _missing_of_avi(tmp_path / "a.avi") == len(content) - len(content) * 3 // 4


@pytest.mark.parametrize("largest", [0, 1, 2])
def test_the_largest_of_several_streams_is_looked_at(tmp_path: Path, largest: int) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        for number in range(3):
            stream = file.add_stream("mpeg4", rate=10)
            stream.height, stream.width = (144, 192) if number == largest else (72, 96)
            stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for number, stream in enumerate(file.streams.video):
            for pixels in shot(number, 10, stream.height, stream.width):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    (frame,) = list(read_frames(path))
    assert np.abs(frame.pixels.astype(int) - shot(largest, 10)[0]).mean() < 25
    note = "a.mp4: it holds 2 more video streams, not looked at: save each as a file of its own"
    assert frame.photo(path, "0").notes == (note,)
    assert read_frame(path, frame.time).photo(path, "0").notes == (note,)
    alone = next(read_frames(video(tmp_path / "b.mp4", shot(1, 10))))
    assert alone.photo(path, "0").notes == ()


def refused(path: Path, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason) as caught:
        list(read_frames(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(PhotoError, match=reason):
        read_frame(path, 0.0)


def test_pictures_of_an_unknown_codec_are_refused_in_one_line(tmp_path: Path) -> None:
    content = video(tmp_path / "a.mkv", shot(1, 10)).read_bytes()
    assert b"V_MPEG4/ISO/ASP" in content
    (tmp_path / "a.mkv").write_bytes(content.replace(b"V_MPEG4/ISO/ASP", b"V_SOMETHING/ELS"))
    refused(tmp_path / "a.mkv", "a codec that cannot be decoded: convert it")


def test_the_cover_of_music_is_no_picture_of_a_place(tmp_path: Path) -> None:
    cover = io.BytesIO()
    Image.fromarray(shot(1, 1)[0]).save(cover, "JPEG")
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        heard = container.add_stream("aac", rate=8000)
        picture = container.add_stream("mjpeg", rate=1)
        picture.height, picture.width, picture.pix_fmt = 144, 192, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        packet.time_base = Fraction(1, 1000)
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        quiet.sample_rate = 8000
        container.mux([*heard.encode(quiet), *heard.encode(), packet])
    refused(tmp_path / "a.m4a", "it is audio only with a cover")


@pytest.mark.parametrize(("suffix", "keys"), [
    ("mov", "com.apple.quicktime.location.ISO6709"), ("mp4", "location"), ("mkv", "location"),
])  # fmt: skip
def test_what_a_container_claims_is_evidence_of_each_frame(
    tmp_path: Path, suffix: str, keys: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    options = {"movflags": "use_metadata_tags"} if suffix == "mov" else {}
    with av.open(str(path), "w", options=options) as container:
        container.metadata.update(
            {keys: "-33.5000-070.2500/", "creation_time": "2024-06-01T10:00:00Z"}
        )
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 144, 192, "yuv420p"
        for pixels in shot(1, 10):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (frame,) = read_frames(path)
    photo = frame.photo(path, "0" * 64)
    assert photo.exif == {"time": "2024-06-01T10:00:00+00:00", "gps": {"lat": -33.5, "lon": -70.25}}
    assert photo.origin["frame"]["time"] == 0.0
    assert read_frame(path, 0.0).claims == photo.exif


def test_zeros_of_a_container_are_no_claim(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", shot(1, 10))
    (frame,) = read_frames(path)
    assert frame.claims == {} and frame.photo(path, "0").notes == ()


def test_small_frames_are_told(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", shot(1, 10, 48, 64))
    (note,) = next(read_frames(path)).photo(path, "0").notes
    assert note.startswith("a.mp4 has only 64 x 48 px")
