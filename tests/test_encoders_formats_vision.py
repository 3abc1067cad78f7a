"""torchvision comes without its compiler, which still comes when it is wanted."""

from __future__ import annotations

import subprocess
import sys


def run(*lines: str) -> list[str]:
    """What a fresh interpreter printed."""
    command = [sys.executable, "-c", "\n".join(("import sys", *lines))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_network_does_not_wait_for_the_compiler() -> None:
    assert run(
        "from geoloc.encoders.formats.networks import build_network",
        "import torch",
        "with torch.inference_mode():",
        "    build_network('shufflenet_v2_x0_5', 5).eval()(torch.zeros(1, 3, 64, 64))",
        "print('torchvision.ops.roi_align' in sys.modules)",
        "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)",
    ) == ["True", "False", "False"]


def test_whoever_wants_the_compiler_gets_it() -> None:
    assert run(
        "from geoloc.encoders.formats.vision import _compiler_put_off",
        "with _compiler_put_off():",
        "    from torch._dynamo.utils import is_compile_supported",
        "    import torchvision",
        "    print('sympy' in sys.modules)",
        "    from torch._dynamo.utils import counters",
        "    import torch._dynamo.config",
        "    print(len(counters), torch._dynamo.config.__name__)",
        "print(torch._dynamo.utils.counters is counters, 'sympy' in sys.modules)",
        "print(is_compile_supported('cpu'), torch._dynamo.utils.is_compile_supported('cpu'))",
    ) == ["False", "0", "torch._dynamo.config", "True", "True", "True", "True"]
