"""The loop: it learns, keeps the best epoch, and goes on where it was stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geoloc.errors import GeolocError, ModelError, SpecMismatchError
from geoloc.training.loop import METRICS, Epoch, LoopSpec, Progress, Watch, _factor, fit
from tests.dying import ROOT, die

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


def stop_after(epochs: int) -> Progress:
    """Progress that interrupts a run after so many epochs."""

    def seen(epoch: Epoch) -> None:
        if epoch.number == epochs:
            raise KeyboardInterrupt

    return seen


def test_on_a_full_disk_the_last_checkpoint_stays(tmp_path: Path) -> None:
    """A limit of the size of files stands for the disk; signals of it are ignored by Python."""
    whole = Line()
    fit(whole, SPEC, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), SPEC, tmp_path / "full", stop_after(2))
    kept = (tmp_path / "full" / "last.pt").read_bytes()
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from geoloc.errors import OutputError\n"
        "from geoloc.training.loop import fit\n"
        "from tests.test_training_loop import SPEC, Line\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "try:\n"
        "    fit(Line(), SPEC, Path(sys.argv[1]))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "full")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "cannot be written" in done.stdout and "free some space" in done.stdout
    assert done.stdout.count("\n") == 1
    assert (tmp_path / "full" / "last.pt").read_bytes() == kept
    assert not list((tmp_path / "full").glob(".*"))
    again = Line()
    fit(again, SPEC, tmp_path / "full")
    assert weights(again) == weights(whole)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    fit(Line(), SPEC, tmp_path)
    whole = (tmp_path / "last.pt").read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>", b""):
        (tmp_path / "last.pt").write_bytes(content)
        with pytest.raises(ModelError, match=r"last\.pt: this checkpoint cannot be read"):
            fit(Line(), SPEC, tmp_path)
    torch.save({"epoch": 3, "identity": "old"}, tmp_path / "last.pt")
    with pytest.raises(SpecMismatchError, match="another training"):
        fit(Line(), SPEC, tmp_path)


def test_what_differs_is_named(tmp_path: Path) -> None:
    fit(Line(), SPEC, tmp_path, identity={"data": "a", "teacher": "x"})
    with pytest.raises(SpecMismatchError, match=r"differs in teacher\)"):
        fit(Line(), SPEC, tmp_path, identity={"data": "a", "teacher": "y"})
    other = SPEC.model_copy(update={"lr": 0.1, "ema": 0.5})
    with pytest.raises(SpecMismatchError, match=r"differs in loop\.lr, loop\.ema\)"):
        fit(Line(), other, tmp_path, identity={"data": "a", "teacher": "x"})


def test_a_loss_that_is_no_number_is_refused(tmp_path: Path) -> None:
    task = Line()
    task.loss = lambda _: task.net(torch.full((1, 1), float("inf"))).sum()  # type: ignore[method-assign]
    with pytest.raises(GeolocError, match="epoch 1, step 1 is not finite"):
        fit(task, SPEC, tmp_path)


def test_the_rate_rises_then_falls() -> None:
    spec = LoopSpec(epochs=4, lr=1.0, schedule="cosine", warmup=0.25)
    rates = [_factor(spec, step, 20) for step in range(20)]
    assert np.allclose(rates[:5], [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert rates[5] == 1.0 and rates[-1] < 0.02
    assert sorted(rates[5:], reverse=True) == rates[5:]
    still = LoopSpec(epochs=4, lr=1.0, warmup=0.25)
    assert [_factor(still, step, 20) for step in (4, 5, 19)] == [5 / 6, 1.0, 1.0]


def test_averaged_weights_are_validated_and_kept(tmp_path: Path) -> None:
    spec = LoopSpec(epochs=2, lr=0.05, ema=0.8)
    steps: list[list[float]] = []
    task = Line(scores=[0.1, 0.2])
    fit(task, spec, tmp_path, watch=Watch(step=lambda *_: steps.append(weights(task))))
    average = np.array(steps[0])
    for number, step in enumerate(steps[1:], start=2):
        share = 1 - min(0.8, (1 + number) / (10 + number))
        average += share * (np.array(step) - average)
    assert np.allclose(weights(task), average, atol=1e-6)
