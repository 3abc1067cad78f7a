"""What is written of an evaluation: figures as JSON and Markdown, scores as CSV, plots as PNG."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from ..errors import OutputError
from ..files.whole import whole_file
from .bootstrap import Figure
from .tables import markdown

EVALUATION = "evaluation.json"
FORMAT = "geoloc-evaluation/1"

Tables = Mapping[str, Mapping[str, Mapping[str, Figure]]]


class Evaluated(Protocol):
    """What every evaluation has."""

    def to_json(self) -> dict[str, Any]: ...

    def items(self) -> list[dict[str, Any]]: ...

    def tables(self) -> Tables: ...


def write_evaluation(
    evaluation: Evaluated,
    out: Path,
    *,
    kind: str,
    title: str,
    plots: Mapping[str, bytes] | None = None,
) -> Path:
    """Write ``scores.csv``, plots, ``evaluation.md`` and last ``evaluation.json``.

    None of them takes its place before all are written. Raises OutputError; what was there stays.
    """
    facts = {"format": FORMAT, "kind": kind, **evaluation.to_json()}
    items = evaluation.items()
    files: dict[str, bytes | str] = {
        "scores.csv": _csv(items),
        **(plots or {}),
        "evaluation.md": markdown(title, evaluation.tables(), facts, sorted(plots or {})),
        EVALUATION: json.dumps(
            {**facts, "items": items}, allow_nan=False, ensure_ascii=False, indent=1
        ) + "\n",
    }  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as parts:  # ends with what was begun first
            for name, content in reversed(files.items()):
                part = parts.enter_context(whole_file(out / name))
                part.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OutputError(
            f"cannot write to {out}: {error.strerror}; choose another --out"
        ) from None
    return out / EVALUATION


def _csv(items: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for item in items for key in item)) or ["photo"]
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(items)
    return text.getvalue()
