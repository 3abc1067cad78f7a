"""The kind of a picture by its first bytes, as file names may be wrong."""

from __future__ import annotations

from .directories import Directory, directories, number

_STARTS = {
    b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"GIF87a": "gif", b"GIF89a": "gif",
    b"II*\x00": "tiff", b"MM\x00*": "tiff", b"II+\x00": "tiff", b"MM\x00+": "tiff",
    b"\xff\x0a": "jxl", b"\x00\x00\x00\x0cJXL \r\n\x87\n": "jxl",
    b"\xff\x4f\xff\x51": "jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n": "jp2",
    b"IIRO": "raw", b"IIRS": "raw", b"MMOR": "raw", b"IIU\x00": "raw",  # Olympus, Panasonic
    b"FUJIFILMCCD-RAW": "raw", b"FOVb": "raw", b"\x00MRM": "raw", b"8BPS": "psd",
}  # fmt: skip
_BRANDS = {
    b"heic": "heif", b"heix": "heif", b"heim": "heif", b"heis": "heif", b"hevc": "heif",
    b"hevx": "heif", b"hevm": "heif", b"hevs": "heif", b"mif1": "heif", b"mif2": "heif",
    b"msf1": "heif", b"avif": "avif", b"avis": "avif", b"crx ": "raw", b"jxl ": "jxl",
}  # fmt: skip
_BMP_HEADS = (12, 40, 52, 56, 64, 108, 124)  # bytes of the second header, by version

_NEW_SUBFILE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 262, 330, 50706
_REDUCED = 1
_OF_A_SENSOR = (32803, 34892)  # photometric: a mosaic of colours, linear values


def photo_kind(head: bytes) -> str | None:
    """The kind of picture that begins with ``head``, the first KiB or more; None if unknown.

    "jpeg", "png", "gif", "webp", "tiff", "bmp", "heif" and "avif" are read; of "raw" (of a
    camera's sensor: CR2, CR3, NEF, ARW, DNG, RAF, ORF, RW2 …) the preview is read, if it is full
    size; "jxl", "jp2" and "psd" are recognized and refused.
    """
    kind = next((kind for start, kind in _STARTS.items() if head.startswith(start)), None)
    if kind == "tiff":
        return "raw" if _is_raw(head) else "tiff"
    if kind:
        return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADS:
        return "bmp"
    if head[6:14] == b"HEAPCCDR":
        return "raw"  # Canon CRW
    return _kind_by_brand(head) if head[4:8] == b"ftyp" else None


def _kind_by_brand(head: bytes) -> str | None:
    """The kind of an ISO base media file (ISO 14496-12) by its major brand; "mif1" names the
    structure alone."""
    end = min(int.from_bytes(head[:4]), len(head))
    others = [head[at : at + 4] for at in range(16, end - 3, 4)]
    if head[8:12] == b"mif1" and b"avif" in others:
        return "avif"
    return _BRANDS.get(head[8:12])


def _is_raw(head: bytes) -> bool:
    """Whether a TIFF holds sensor values, even if a thumbnail precedes them."""
    return head[8:10] == b"CR" or any(map(_of_a_sensor, directories(head)))


def _of_a_sensor(directory: Directory) -> bool:
    below = number(directory, _NEW_SUBFILE) & _REDUCED and _SUB_IFDS in directory
    known = number(directory, _PHOTOMETRIC) in _OF_A_SENSOR or _DNG_VERSION in directory
    return bool(known or below)
