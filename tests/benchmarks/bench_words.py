"""Words as a query: ranks of the right names, what nonsense gets, and images found by words.

    python -m tests.benchmarks.bench_words [--model landuse] [--overhead DIR] [--fit]

``--overhead``: class folders named as those of AID; images that a model was trained on say nothing
of new ones. ``--fit`` makes ``geoloc/encoders/sense.safetensors`` anew (1 minute).
"""

from __future__ import annotations

import argparse
import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from geoloc.encoders.sense import WEIGHTS
from geoloc.encoders.text import _encoder, sentence_vectors, words_vector
from geoloc.errors import UsageError
from geoloc.evaluation.bootstrap import mean_figure
from geoloc.evaluation.retrieval import average_precision
from geoloc.evaluation.tables import figure_text
from geoloc.evaluation.vectors import overhead_vectors
from geoloc.models import Model, load_model
from geoloc.pairs import class_images
from tests.benchmarks.phrases import ABOVE, KNOWN, NONSENSE, OTHER, STRANGE, UNKNOWN

LANGUAGES = ("English", "Russian", "Ukrainian")
ALPHABETS = {"LATIN": "abcdefghijklmnopqrstuvwxyz", "CYRILLIC": "абвгдежзийклмнопрстуфхцчшщъыьэюя"}
SCRIPTS = ("LATIN",) * 5 + ("CYRILLIC",) * 3 + ("CJK", "HANGUL", "ARABIC", "THAI")


def vocabulary() -> dict[str, list[str]]:
    """Whole words among the pieces of the encoder's own vocabulary, by script."""
    found: dict[str, list[str]] = {}
    for piece in _encoder()._tokenizer._pieces:
        word = piece[1:]
        scripts = {unicodedata.name(c, "?").split()[0] for c in word}
        if piece.startswith("▁") and word.isalpha() and word == word.lower() and len(scripts) == 1:
            script = scripts.pop()
            if len(word) >= (4 if script in ALPHABETS else 2):
                found.setdefault(script, []).append(word)
    return found


def nonsense(rng: random.Random, words: Sequence[str], letters: str) -> str:
    """Random letters, as frequent as in words or all alike, or those of a word in another order."""
    kind = rng.random()
    if kind < 0.4:
        return "".join(rng.choice("".join(rng.sample(list(words), 20))) for _ in range(7))
    if kind < 0.7:
        word = rng.choice(list(words))
        return "".join(rng.sample(word, len(word)))
    return "".join(rng.choice(letters) for _ in range(rng.randint(3, 9)))


def fit(count: int = 2200, ridge: float = 5.0) -> None:
    """The linear function of `sense`: words against nonsense, one to three of either."""
    rng, words = random.Random(0), vocabulary()
    good, bad = list[str](), list[str]()
    for _ in range(count):
        script, other = rng.choice(SCRIPTS), rng.choice(SCRIPTS[:8])
        good.append(" ".join(rng.choices(words[script], k=rng.randint(1, 3))))
        parts = (nonsense(rng, words[other], ALPHABETS[other]) for _ in range(rng.randint(1, 3)))
        bad.append(" ".join(parts))
    x = sentence_vectors([*good, *bad]).astype(np.float64)
    y = np.repeat([1.0, -1.0], count)
    mean = x.mean(0)
    x -= mean
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    save_file({"weights": weights.astype(np.float16),
               "shift": np.array([-mean @ weights], np.float32)}, WEIGHTS)  # fmt: skip


def answer(model: Model, words: str) -> str:
    """What a user gets: refused, doubted, of an unknown kind, or as if known."""
    try:
        found = words_vector(model, words)
    except UsageError:
        return "refused"
    return "doubted" if found.doubt else "known" if found.familiar else "unknown"


def rank(model: Model, words: str, right: Sequence[str]) -> str:
    """How the best right name ranks among the five nearest."""
    try:
        names = [name for name, _ in words_vector(model, words).nearest]
    except UsageError:
        return "refused"
    return next((str(at) for at, name in enumerate(names, 1) if name in right), ">5")


def images_by_words(model: Model, folder: Path) -> None:
    """Class mAP of finding overhead images by words, by language."""
    files = [file for name in ABOVE for file in class_images(folder / name)]
    images = overhead_vectors(model, files)
    own = np.array([file.parent.name for file in images.files])
    for at, language in enumerate(LANGUAGES):
        vectors = [vector(model, said[at]) for said in ABOVE.values()]
        right = np.stack([own == name for name in ABOVE])
        ap = average_precision(-np.stack(vectors) @ images.vectors.T, right)
        print(f"{language}: mAP {figure_text(mean_figure(ap))}, chance {right.mean():.3f}")


def vector(model: Model, words: str) -> NDArray[np.float32]:
    """Of words, or nothing of those that are refused."""
    try:
        return words_vector(model, words).vector
    except UsageError:
        return np.zeros(model.dim, np.float32)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="landuse")
    parser.add_argument("--overhead", type=Path)
    parser.add_argument("--fit", action="store_true")
    asked = parser.parse_args()
    if asked.fit:
        fit()
    model = load_model(asked.model)
    for *said, right in KNOWN:
        print(" | ".join(f"{words}: {rank(model, words, right)}" for words in said), flush=True)
    for said in UNKNOWN:
        print(" | ".join(f"{words}: {answer(model, words)}" for words in said), flush=True)
    for name, texts in (("other languages", OTHER), ("unknown languages", STRANGE),
                        ("nonsense", NONSENSE)):  # fmt: skip
        print(name, dict(Counter(answer(model, text) for text in texts)), flush=True)
    if asked.overhead:
        images_by_words(model, asked.overhead)


if __name__ == "__main__":
    main()
