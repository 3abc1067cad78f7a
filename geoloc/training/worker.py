"""``python -m geoloc.training.worker``: one of the other processes of a training.

It is started by `processes`, reads one line of JSON from its standard input, trains its share, and
ends when that input ends. A failure is its last line on standard output.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from ..errors import GeolocError, one_line
from .machine import FabricEngine, Machine
from .processes import READY, share_threads
from .spec import TrainSpec
from .train import share_training


def main() -> None:
    """Train one share."""
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    machine = Machine.model_validate(given["machine"])
    spec = TrainSpec.model_validate_json(given["training"])
    rank, world, port = given["rank"], given["world"], given["port"]
    share_threads(machine, world)

    def join() -> FabricEngine:
        print(READY, flush=True)
        return FabricEngine(machine, spec.loop.precision, rank=rank, world=world, port=port)

    share_training(spec, machine, join)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(3)


if __name__ == "__main__":
    try:
        main()
    except GeolocError as error:
        print(one_line(error, 1000), flush=True)
        os._exit(1)
    except Exception as error:  # noqa: BLE001  # whatever it is, process 0 says it
        print(f"{type(error).__name__}: {one_line(error)}", flush=True)
        os._exit(1)
    os._exit(0)
