"""Formats of network files, by the word in ``model.json``: a new one is a file and a line here."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """opener: module and function ``(spec, path, dim, engine) -> network``, imported when it is
    used: see `geoloc.encoders.runtime.open_network`. endings: of its files. has_arch: the network
    is named by ``arch`` and can be taken apart, as the method dense needs.
    """

    opener: str
    endings: tuple[str, ...]
    has_arch: bool = False


FORMATS = {
    "torchvision": Format(
        "geoloc.encoders.formats.networks:open_network", (".safetensors",), has_arch=True
    ),
    "exported": Format("geoloc.encoders.formats.exported:open_network", (".onnx", ".pt2")),
}
