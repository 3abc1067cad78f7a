"""Logs: one line an epoch that counts, the same as a table, and TensorBoard's events."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from geoloc.training.logs import EVENTS, METRICS, TABLE, Logs


def write(run: Path, epochs: range, resumed: int, loss: float) -> None:
    logs = Logs(run, resumed, 10 * resumed, events=True)
    for number in epochs:
        for step in range(10):
            logs.step(10 * (number - 1) + step + 1, {"loss": loss, "lr": 0.1})
        row = {"number": number, "loss": loss, "figures": {"score": number / 10}}
        logs.epoch(row, {"score": number / 10}, 10 * number)
    logs.close()


def test_of_a_run_that_goes_on_each_epoch_stands_once(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4), 0, 5.0)
    write(tmp_path, range(3, 5), 2, 4.0)  # the third did not count
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [(line["number"], line["loss"]) for line in lines] == [
        (1, 5.0), (2, 5.0), (3, 4.0), (4, 4.0),
    ]  # fmt: skip
    with (tmp_path / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["number"], row["loss"], row["score"]) for row in rows] == [
        ("1", "5.0", "0.1"), ("2", "5.0", "0.2"), ("3", "4.0", "0.3"), ("4", "4.0", "0.4"),
    ]  # fmt: skip


def test_tensorboard_shows_the_steps_of_the_run_that_went_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path, range(1, 4), 0, 5.0)
    write(tmp_path, range(3, 5), 2, 4.0)
    events = EventAccumulator(str(tmp_path / EVENTS))
    events.Reload()
    seen = [(event.step, event.value) for event in events.Scalars("step/loss")]
    assert [step for step, _ in seen] == list(range(1, 41))
    assert {value for step, value in seen if step > 20} == {4.0}
    assert [event.step for event in events.Scalars("valid/score")] == [10, 20, 30, 40]
