"""What is asked for without a photo: the name of a scene class, or other words for a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelError, NotInstalledError, UnknownClassError
from ..models import FeatureSpace, Model
from ..scenes import display_name, find_class, is_misspelt
from .target import Target, cube_model

if TYPE_CHECKING:
    from ..encoders.text import Words

_NAMED = 3  # names that the answer to words is near to


def meaning(target: Target, scene: str) -> tuple[str, Words | None]:
    """The class that a user's words name, or the words and where the cube's model places them.

    Raises UnknownClassError with the nearest names where the model takes names alone, or a name
    is misspelt; what `words_vector` raises where it takes words.
    """
    names = target.cube.features.names
    try:
        return find_class(scene, names), None
    except UnknownClassError as unknown:
        model = _model(target)
        if model is None or model.spec.text is None or is_misspelt(scene, names):
            raise
        no_name = str(unknown)
    from ..encoders.text import words_vector

    words = " ".join(scene.split())
    try:
        return words, words_vector(model, words)
    except NotInstalledError as missing:
        raise NotInstalledError(f"{no_name} Otherwise, {missing}") from None


def widened(features: FeatureSpace, scene: str, words: Words) -> FeatureSpace:
    """The feature space with one more name, that of the words, on the scale of the others."""
    assert features.readout is not None  # words need one
    scale = float((features.readout**2).sum(1).mean() ** 0.5)
    return features.with_name(scene, scale * words.vector)


def words_note(words: Words) -> str:
    """What the answer to words is worth, in a few sentences."""
    near = ", ".join(
        f"{display_name(name)} ({cosine:.2f})" for name, cosine in words.nearest[:_NAMED]
    )
    known = "known" if words.familiar else "unknown"
    start = (
        f"These words are no scene class of this model, and mean a place of {known} kind; "
        f"nearest to them: {near}."
    )
    if words.doubt:
        return (
            f"{start} The encoder of words may not understand them ({words.doubt}): trust the "
            "answer only if those names say the same, and ask in English or Russian too."
        )
    if words.familiar:
        return f"{start} What it knows is found by other words nearly as well as by its name."
    return (
        f"{start} None of them says the same, and what a model was not trained on it finds little "
        "better than by chance: take this answer as a search for the nearest ones."
    )


def _model(target: Target) -> Model | None:
    try:
        return cube_model(target)
    except ModelError:
        return None
