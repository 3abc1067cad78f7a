"""Other processes that fail are reported in one line, and none outlives the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from geoloc.errors import ClusterError, UsageError
from geoloc.training import train_student
from geoloc.training.logs import METRICS
from geoloc.training.machine import Machine
from geoloc.training.processes import joined
from tests.dying import ROOT
from tests.training_pairs import place_pairs, spec_of, write_teacher

TWO = Machine(accelerator="cpu", devices=2)


def test_what_another_process_says_of_its_failure_is_passed_on(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "gone.csv", Path("no-such-model"), tmp_path / "student")
    with (
        pytest.raises(ClusterError, match=r"process 1 of 2 .* failed: .*no-such-model"),
        joined(TWO, "32", spec.model_dump_json()),
    ):
        raise AssertionError("it began without the other")


def test_a_batch_that_two_cannot_share_is_refused_in_one_line(tmp_path: Path) -> None:
    pairs, teacher = place_pairs(tmp_path / "p", 4, 2), write_teacher(tmp_path / "teacher")
    with pytest.raises(UsageError, match="a batch of 3 pairs cannot be shared by 2 processes"):
        train_student(spec_of(pairs, teacher, tmp_path / "student", batch=3), machine=TWO)


@pytest.mark.slow
def test_two_killed_processes_go_on_and_leave_nobody(tmp_path: Path) -> None:
    pairs, teacher = place_pairs(tmp_path / "p"), write_teacher(tmp_path / "teacher")
    spec = spec_of(pairs, teacher, tmp_path / "student", loop={"epochs": 12, "lr": 1e-3})
    code = (
        "import sys\n"
        "from geoloc.training import TrainSpec, train_student\n"
        "from geoloc.training.machine import Machine\n"
        "train_student(TrainSpec.model_validate_json(sys.argv[1]),\n"
        "    machine=Machine(accelerator='cpu', devices=2))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, spec.model_dump_json()], cwd=ROOT)
    metrics = tmp_path / "student.run" / METRICS
    while process.poll() is None and not (
        metrics.exists() and metrics.read_text().count("\n") >= 2
    ):
        time.sleep(0.05)
    children = psutil.Process(process.pid).children()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(children) == 1
    psutil.wait_procs(children, timeout=60)
    assert not any(child.is_running() for child in children)
    seen: list[int] = []
    train_student(spec, lambda epoch: seen.append(epoch.number), machine=TWO)
    assert seen[0] > 1 and seen[-1] == 12
