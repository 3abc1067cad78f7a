"""For ``dask worker --preload``: a worker that writes one block of a cube, the others when it may.

It may while the file that ``GEOLOC_TEST_GATE`` names is there, so that a test can be sure of
blocks that are not written yet.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from geoloc.jobs.tasks import BuildTask

_written: set[str] = set()


def dask_setup(_worker: Any) -> None:
    """Hold all blocks but the first of each cube; the name and the argument are Dask's."""
    finish = BuildTask.finish

    def held(task: BuildTask, block: Any, read: Any) -> Any:
        cube = str(task.writer().url)
        while cube in _written and not Path(os.environ["GEOLOC_TEST_GATE"]).exists():
            time.sleep(0.05)
        _written.add(cube)
        return finish(task, block, read)

    BuildTask.finish = held  # type: ignore[method-assign]
