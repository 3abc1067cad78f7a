"""Weights that others have published: where they are, and that they stay what they first were.

The networks of CSAIL, trained on Places365 (Zhou et al., "Places: A 10 Million Image Database for
Scene Recognition", 2017; Creative Commons BY). Nobody has published their sha256, so that of the
first use counts from then on: it is kept beside the models of the store.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ModelError, UsageError
from ..files.whole import file_sha256
from ..stores import local_path, without_secrets
from .model import write_whole
from .store import store_dir
from .transfer import Progress, RemoteFolder, drop, receive

OFFICIAL = "http://places2.csail.mit.edu/models_places365"
LICENCE = "Creative Commons BY (MIT CSAIL, Places365)"

_PAGE = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<")
_LOOKED_AT = 4096  # bytes of a file that show a web page


@dataclass(frozen=True)
class Published:
    """A checkpoint: ``file`` of the network ``arch``, which takes photos of ``input_px``."""

    name: str
    arch: str
    file: str
    input_px: int = 224


def _places365(arch: str, input_px: int = 224) -> Published:
    name = f"places365-{arch}" + ("" if input_px == 224 else f"-{input_px}")
    return Published(name, arch, f"{arch}_places365.pth.tar", input_px)


PLACES365_MODELS = {
    one.name: one
    for one in (
        _places365("alexnet"),
        _places365("alexnet", 227),
        _places365("densenet161"),
        _places365("resnet18"),
        _places365("resnet50"),
    )
}
"""By the name of the model. AlexNet was trained on 227 px; torchvision's takes 224 px as well."""


def published(name: str) -> Published:
    """The checkpoint of a model by its name, or by that of its network. Raises UsageError."""
    found = PLACES365_MODELS.get(name) or PLACES365_MODELS.get(f"places365-{name}")
    if found is None:
        raise UsageError(
            f"{name!r} is neither the URL of a model's directory nor a published network, of which "
            f"there are {', '.join(PLACES365_MODELS)}"
        )
    return found


def receive_checkpoint(
    what: Published, folder: Path, mirror: str | None = None, progress: Progress | None = None
) -> tuple[Path, str]:
    """The file, whole in ``folder``, and its sha256; one that is there already is not asked for.

    ``mirror``: URL or path of a folder with a file of that name, in place of CSAIL's. Raises
    ModelError where it cannot be fetched, is a web page, or is not what it was when first used;
    UsageError for a mirror that is none.
    """
    remote, path = _folder(what, mirror), folder / what.file
    if path.is_file():
        digest = file_sha256(path)
    else:
        part = folder / f"{what.file}.part"
        digest = receive(remote, what.file, part, progress)
        _require_weights(part, f"{remote.shown}/{what.file}")
        part.replace(path)
    known = known_digest(what)
    if known not in (None, digest):
        path.unlink()
        raise ModelError(
            f"{remote.shown}/{what.file}: its sha256 is {digest[:12]}…, and on first use it was "
            f"{known[:12]}…: fetch it from elsewhere with --mirror or, if you trust this one more, "
            f"delete {_record(what)}"
        )
    return path, digest


def known_digest(what: Published) -> str | None:
    """The sha256 that a checkpoint had on first use; None before. Raises ModelError."""
    path = _record(what)
    try:
        digest = json.loads(path.read_bytes())["sha256"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        digest = None
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ModelError(f"{path} does not say a sha256: delete it to trust the next download")
    return digest


def remember_digest(what: Published, digest: str) -> None:
    """Keep what a checkpoint was on first use."""
    path = _record(what)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps({"file": what.file, "sha256": digest}) + "\n").encode())


def _record(what: Published) -> Path:
    return store_dir() / ".published" / f"{what.file}.json"


def _require_weights(part: Path, where: str) -> None:
    with part.open("rb") as stream:
        start = stream.read(_LOOKED_AT)
    if not start or _PAGE.match(start):
        drop(part)
        told = "a web page" if start else "nothing"
        raise ModelError(
            f"{where}: the server sent {told} in place of weights: name another folder with "
            "--mirror, such as one to which you have copied the file"
        )


def _folder(what: Published, mirror: str | None) -> RemoteFolder:
    url = (mirror or OFFICIAL).rstrip("/").removesuffix(f"/{what.file}")
    with contextlib.suppress(ValueError):  # such as unclosed brackets
        parts = urlsplit(url)
        if local_path(url) is not None or (
            parts.netloc and not parts.query and not parts.fragment and parts.scheme
        ):
            return RemoteFolder(url, without_secrets(url))
    shown = without_secrets(re.split("[?#]", url)[0])
    raise UsageError(
        f"--mirror {shown}: give the URL or path of a folder that holds {what.file}, "
        "with nothing after a ? or #"
    )
