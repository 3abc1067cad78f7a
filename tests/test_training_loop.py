"""The loop: it learns, keeps the best epoch, and goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from geoloc.errors import SpecMismatchError
from geoloc.training.loop import METRICS, Epoch, LoopSpec, fit
from tests.dying import die

SPEC = LoopSpec(epochs=6, lr=0.05, schedule="cosine")


class Line:
    """Fit y = 3 x - 1; ``scores`` are what the validation says, epoch by epoch."""

    name = "line"

    def __init__(self, scores: list[float] | None = None) -> None:
        torch.manual_seed(0)
        self.net: nn.Module = nn.Linear(1, 1)
        self.scores = scores

    def steps(self) -> int:
        return 5

    def batches(self, epoch: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch)
        for _ in range(self.steps()):
            yield torch.randn(16, 1, generator=generator)

    def loss(self, batch: Tensor) -> Tensor:
        return (self.net(batch) - (3 * batch - 1)).square().mean()

    def validate(self) -> Mapping[str, float]:
        if self.scores:
            return {"score": self.scores.pop(0)}
        return {"score": -float(self.loss(torch.linspace(-2, 2, 9)[:, None]))}


def weights(task: Line) -> list[float]:
    return [
        float(value)
        for value in torch.nn.utils.parameters_to_vector(task.net.parameters()).detach()
    ]


def test_a_stopped_run_ends_where_a_whole_one_does(tmp_path: Path) -> None:
    whole = Line()
    fit(whole, SPEC, tmp_path / "whole")
    seen: list[int] = []

    def stop(epoch: Epoch) -> None:
        seen.append(epoch.number)
        if epoch.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Line(), SPEC, tmp_path / "stopped", stop)
    again = Line()
    fit(again, SPEC, tmp_path / "stopped", lambda epoch: seen.append(epoch.number))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert weights(again) == weights(whole)
    lines = (tmp_path / "stopped" / METRICS).read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_the_best_validated_epoch_is_kept(tmp_path: Path) -> None:
    kept: list[list[float]] = []
    task = Line(scores=[0.1, 0.9, 0.3, 0.2, 0.1, 0.0])
    figures = fit(task, SPEC, tmp_path, lambda _: kept.append(weights(task)))
    assert figures == {"score": 0.9}
    assert weights(task) == kept[1]


def test_another_training_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    fit(Line(), SPEC, tmp_path, identity="data a")
    for spec, identity in ((SPEC.model_copy(update={"lr": 0.1}), "data a"), (SPEC, "data b")):
        with pytest.raises(SpecMismatchError, match="has another training"):
            fit(Line(), spec, tmp_path, identity=identity)


def test_metrics_tell_of_epochs_that_count_and_of_each_once(tmp_path: Path) -> None:
    """A kill between the line and the checkpoint, or in the middle of the line."""

    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Line(), SPEC, tmp_path, stop)
    metrics = tmp_path / METRICS
    whole = metrics.read_text()
    metrics.write_text(whole + whole.splitlines()[-1].replace('"number": 3', '"number": 4') + "\n{")
    fit(Line(), SPEC, tmp_path)
    lines = metrics.read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[:3] == whole.splitlines()


def test_killed_as_an_epoch_is_kept_it_ends_where_a_whole_run_does(tmp_path: Path) -> None:
    whole = Line()
    fit(whole, SPEC, tmp_path / "whole")
    die(
        "from tests.test_training_loop import *\n"
        f"fit(Line(), SPEC, Path({str(tmp_path)!r}) / 'killed')",
        r"open .*metrics",
        at=3,
    )
    again = Line()
    fit(again, SPEC, tmp_path / "killed")
    assert weights(again) == weights(whole)
    lines = (tmp_path / "killed" / METRICS).read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        "best.pt", "last.pt", "metrics.csv", METRICS,
    ]  # fmt: skip
