"""A picture's bytes without metadata, for files whose metadata is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_WEBP_OTHERS = (b"EXIF", b"XMP ", b"ICCP")
_ADOBE, _SCAN = 0xEE, 0xDA  # JPEG markers: how colours are stored; where pixels begin


def without_metadata(kind: str, data: bytes) -> bytes | None:
    """The same pixels without EXIF, XMP, profiles and comments; None for kinds where these cannot
    be separated."""
    strip = _STRIP.get(kind)
    return strip(data) if strip else None


def _png(data: bytes) -> bytes:
    kept = (chunk for name, chunk in _png_chunks(data) if name in _PNG_PIXELS)
    return _PNG_HEAD + b"".join(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG_HEAD)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 8], data[at:end]
        at = end


def _webp(data: bytes) -> bytes:
    kept, at = b"", 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if data[at : at + 4] not in _WEBP_OTHERS:
            kept += data[at:end]
        at = end
    return b"RIFF" + (4 + len(kept)).to_bytes(4, "little") + b"WEBP" + kept


def _jpeg(data: bytes) -> bytes:
    """Without comments and without application segments other than Adobe's."""
    kept, at = data[:2], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker = data[at + 1]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker == _ADOBE:
            kept += data[at:end]
        at = end
    return kept + data[at:]


_STRIP: Mapping[str, Callable[[bytes], bytes]] = {"png": _png, "webp": _webp, "jpeg": _jpeg}
