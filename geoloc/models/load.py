"""A model by its name, its directory, its URL or its digest."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..errors import ModelError
from .fetch import fetch_aside, is_url, model_at_url
from .model import Model, read_model
from .published import PLACES365_MODELS
from .spec import SPEC_FILE
from .store import known_models, model_of_digest, shipped_models, store_dir


def find_model(name_or_path: str | Path) -> Path:
    """Directory of a model: a path, a name in the store, a shipped one, or a URL.

    A model at a URL is fetched into the store once (see ``fetch``).
    Raises ModelError if there is none, naming the models that exist.
    """
    text = str(name_or_path)
    if is_url(text):
        return model_at_url(text)
    places = [Path(text).expanduser()]
    if Path(text).name == text:
        places += [store_dir() / text, *(p for n, p in shipped_models().items() if n == text)]
    for place in places:
        if (place / SPEC_FILE).is_file():
            return place
    if text in PLACES365_MODELS:
        raise ModelError(f"model {text!r} is not here yet: geoloc models fetch {text}")
    known = ", ".join(name for name in known_models()) or "none"
    raise ModelError(
        f"model {text!r} is neither a directory with {SPEC_FILE} nor in the store {store_dir()} "
        f"(known: {known}): bring it in with 'geoloc models fetch' or 'import', or correct the name"
    )


def load_model(name_or_path: str | Path, *, verify: bool = True) -> Model:
    """Find, read and check a model (`find_model`, `read_model`) without loading its networks."""
    return read_model(find_model(name_or_path), verify=verify)


def load_exact(name_or_path: str | Path, digest: str) -> Model:
    """The model with this digest: an installed one under any name, else the one named.

    Raises ModelError if there is none: vectors of another model are never used in its place.
    """
    installed = model_of_digest(digest)
    if installed is not None:
        return installed
    try:
        named = load_model(name_or_path)
        what = f"is {named.digest[:12]}"
        if named.digest != digest and is_url(name_or_path):
            named = _fetched_again(str(name_or_path)) or named
        if named.digest == digest:
            return named
    except ModelError as error:
        what = f"cannot be used ({error})"
    raise ModelError(
        f"the work is planned for model {digest[:12]}, but on this machine {name_or_path} {what}: "
        "install the same model here ('geoloc models fetch' or 'import'), or start the work again "
        "with this one"
    )


def _fetched_again(url: str) -> Model | None:
    """The current model at the URL, if reachable; the one fetched earlier may be outdated."""
    with contextlib.suppress(ModelError):
        return fetch_aside(url)
    return None
