"""What a run writes down of itself: an object a line, a table, and TensorBoard's events."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..files.whole import write_whole

METRICS = "metrics.jsonl"
"""Name of the file in a run's folder with one JSON object per epoch."""
TABLE = "metrics.csv"
"""The same as a table."""
EVENTS = "tensorboard"
"""Folder of the events that ``tensorboard --logdir`` shows."""


class Logs:
    """The logs of a run that goes on after so many whole ``epochs`` and ``steps``.

    What an earlier process wrote of epochs that count no more is taken out. Raises OutputError.
    """

    def __init__(self, run: Path, epochs: int, steps: int, *, events: bool) -> None:
        self.run, self._events = run, None
        try:
            cut_metrics(run / METRICS, epochs)
            if events:
                self._events = _writer(run / EVENTS, steps)
        except OSError as error:
            raise _unwritable(run, error) from None

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Values after an optimiser step."""
        self._put(number, "step", values)

    def epoch(self, row: Mapping[str, Any], figures: Mapping[str, float], steps: int) -> None:
        """One epoch: ``row`` as it is kept, its figures after so many steps."""
        try:
            with (self.run / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            write_whole(self.run / TABLE, _table(self.run / METRICS), alone=True)
        except OSError as error:
            raise _unwritable(self.run, error) from None
        self._put(steps, "valid", figures)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._events is not None:
            self._events.close()

    def _put(self, step: int, group: str, values: Mapping[str, float]) -> None:
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{group}/{name}", value, step)


def cut_metrics(path: Path, epochs: int) -> None:
    """Keep the lines of completed epochs; drop others, also partial ones."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _counts(line, epochs)]
    if kept != lines:
        write_whole(path, "".join(kept), alone=True)


def _counts(line: str, epochs: int) -> bool:
    try:
        return line.endswith("\n") and int(json.loads(line)["number"]) <= epochs
    except ValueError:
        return False


def _table(path: Path) -> str:
    """The rows of a file of metrics as CSV, each figure in a column of its own."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows.append({k: v for k, v in row.items() if k != "figures"} | row.get("figures", {}))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _writer(folder: Path, steps: int) -> Any:
    """TensorBoard's writer, or None where it is not installed; later steps are hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        return None
    return SummaryWriter(str(folder), purge_step=steps + 1)


def _unwritable(run: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{run}: the log cannot be written ({error.strerror}): free some space and run the same "
        "command again, which goes on from the last checkpoint"
    )
