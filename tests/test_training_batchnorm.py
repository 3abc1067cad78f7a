"""Two processes normalise by the whole batch, and have the gradients of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.dying import ROOT

CODE = """
import sys
import torch
from torch import distributed, nn
from geoloc.training.batchnorm import share_batchnorm, total_of

rank, store = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2),
        nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
        nn.BatchNorm1d(3),
    ).double().train()


def loss(vectors):
    return ((vectors - target) ** 2).mean(1).sqrt().sum()


torch.manual_seed(1)
images, target = torch.randn(6, 3, 12, 12).double() * 2 + 1, torch.randn(6, 3).double()
one, two = network(), network()
share_batchnorm(two)
shared = nn.parallel.DistributedDataParallel(two)
loss(one(images)).backward()
rows = shared(images[rank * 3 : rank * 3 + 3])
every = rows.new_zeros(2, 3, 3)
every[rank] = rows
loss(total_of(every).flatten(0, 1)).backward()
for a, b in zip(one.parameters(), two.parameters(), strict=True):
    assert torch.allclose(a.grad, b.grad, atol=1e-12), (a.grad, b.grad)
assert one.state_dict().keys() == two.state_dict().keys()
for name, value in one.state_dict().items():
    assert torch.allclose(value, two.state_dict()[name]), name
assert torch.allclose(one.eval()(images), two.eval()(images), atol=1e-12)
distributed.destroy_process_group()
"""


def test_statistics_and_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CODE, str(rank), str(tmp_path / "store")],
            cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], told[0][-2000:]
