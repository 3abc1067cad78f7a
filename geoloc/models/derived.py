"""Models derived from another without changing a vector: with more names, or another distance.

Both networks stay what they were, so cubes of the first model are cubes of the second as well. A
derived model keeps the specifications of all that it was derived from, by which that is checked.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError, UsageError
from .calibration import read_calibration, write_calibration
from .model import Model, read_model, write_model, write_whole
from .spec import MODEL_NAME
from .store import publish, refuse_other_folder

BASES_FILE = "bases.json"
CARD_FILE = "card.md"
FIGURES_FILE = "figures.json"


def check_out(model: Model, out: Path) -> None:
    """Raise, before any work, where the new model cannot be written or would replace its base."""
    refuse_other_folder(out)
    if out.resolve() == model.path:
        raise UsageError(f"--out {out} is the model itself, which stays as it is: name another")
    if not re.fullmatch(MODEL_NAME, out.name):
        raise UsageError(
            f"--out {out}: the folder gives the model its name: use letters, digits, . _ and -"
        )


def derive(
    model: Model,
    out: Path,
    changes: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    card: str,
    same_distance: bool = False,
) -> Model:
    """Write a model with the vectors of another to ``out``, whole or not at all.

    ``changes``: fields of its specification; ``files``: new ones, or in place of old ones;
    ``card``: what is added to the card. ``same_distance``: the figures of the first model hold for
    it as well. Raises ModelError.
    """
    contents: dict[str, Path | bytes] = {
        name: model.file(name) for name in model.spec.used_files() if name != model.spec.bases
    }
    bases = [one.facts() for one in (*model.bases, model.spec)]
    contents[BASES_FILE] = json.dumps(bases, ensure_ascii=False).encode()
    raw = {**model.spec.facts(), **changes, "bases": BASES_FILE}
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = write_model(draft, json.loads(json.dumps(raw)), {**contents, **files})
        if not made.serves(model.digest):
            raise ModelError(f"{out.name}: its vectors would be other than those of {model.name}")
        write_whole(draft / CARD_FILE, (_card_of(model) + card).encode())
        if same_distance:
            _keep_figures(model, made)
        publish(draft, out)
    except OSError as error:
        raise ModelError(f"{out} cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return read_model(out)


def _card_of(model: Model) -> str:
    path = model.file(CARD_FILE)
    return path.read_text(encoding="utf-8").rstrip() + "\n\n" if path.is_file() else ""


def _keep_figures(model: Model, made: Model) -> None:
    """What was measured of the distance, which is the same."""
    with contextlib.suppress(ModelError):  # a damaged calibration is none
        if (calibration := read_calibration(model)) is not None:
            write_calibration(made, calibration.model_copy(update={"model": made.digest}))
    if model.file(FIGURES_FILE).is_file():
        write_whole(made.path / FIGURES_FILE, model.file(FIGURES_FILE).read_bytes())
