"""The generations of a cube: what there is, which one stood for a date, which may go."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from zarr.core.sync import sync

from ..domain import Status
from ..errors import CubeError
from .reader import Cube, how_to_build
from .readers import last_used
from .root import index_generations, publish
from .seal import document_of, update_attributes
from .store import (
    current_generation,
    generation_names,
    number_of,
    open_store,
    read_attributes,
    storage_errors,
)

FIRST_GENERATION = "g0001"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generation:
    """One generation of a cube. ``finished`` is when readers could open it first, None if never.

    ``imagery_first`` and ``imagery_last`` are the dates of its oldest and newest image.
    """

    name: str
    current: bool
    created: str
    finished: str | None
    imagery_first: str | None
    imagery_last: str | None
    blocks_done: int
    blocks_broken: int
    blocks_missing: int

    @property
    def day(self) -> dt.date:
        """The day that it stands for: of its newest image, or else of its making."""
        return dt.date.fromisoformat((self.imagery_last or self.created)[:10])

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "day": self.day.isoformat()}


def list_generations(url: str | Path) -> list[Generation]:
    """All generations that were laid out, oldest first, unfinished ones too.

    Raises CubeError where there is no cube.
    """
    current = current_generation(url)
    described = [_describe(url, name, current) for name in generation_names(url)]
    generations = [generation for generation in described if generation is not None]
    if not generations:
        raise CubeError(f"cube {url} does not exist: run {how_to_build(url)}")
    return generations


def generation_of_date(url: str | Path, day: dt.date) -> str:
    """The newest finished generation whose imagery is not younger than ``day``.

    Raises CubeError, naming those there are, where all are younger.
    """
    finished = [g for g in list_generations(url) if g.finished or g.current]
    # of several for one day the later one: it mends the earlier
    fitting = [g for g in finished if g.day <= day]
    if fitting:
        return max(fitting, key=lambda g: (g.day, number_of(g.name))).name
    names = ", ".join(f"{g.name} of {g.day}" for g in finished) or "none finished"
    raise CubeError(f"cube {url} holds nothing as old as {day}: its generations are {names}")


def next_generation(url: str | Path, current: str) -> str:
    """The generation after the current one: one begun but never published, or a new name."""
    newest = max(generation_names(url), key=number_of, default=current)
    return newest if number_of(newest) > number_of(current) else f"g{number_of(current) + 1:04d}"


def newest_finished(url: str | Path) -> str | None:
    """The newest generation that readers could open once; None where none is known."""
    newest = None
    for name in generation_names(url):
        with contextlib.suppress(CubeError):
            if (document_of(url, name) or {"attributes": {}})["attributes"].get("finished"):
                newest = name
    return newest


def restore_current(url: str | Path) -> str | None:
    """Name the newest finished generation where CURRENT names none that is there.

    The name that was written, or None where nothing was to be done. The caller holds the lock.
    """
    with contextlib.suppress(CubeError):
        current = current_generation(url)
        if current is not None and read_attributes(url, current) is not None:
            return None
    newest = newest_finished(url)
    if newest is not None:
        publish(url, newest)
    return newest


def finish_generation(url: str | Path, generation: str, dates: Iterable[str]) -> None:
    """Let readers open it from now on; ``dates`` of imagery are remembered beside those found."""
    cube = Cube(url, generation)
    known = sorted({*dates, *cube.imagery_dates()})
    update_attributes(
        url,
        generation,
        {
            "finished": cube.attrs.get("finished") or _now(),
            "imagery_first": known[0] if known else None,
            "imagery_last": known[-1] if known else None,
        },
    )
    publish(url, generation)


def prune_generations(
    url: str | Path, keep: int, *, grace: float = 0.0, now: float | None = None
) -> list[str]:
    """Delete old generations but for the ``keep`` newest; names of those deleted.

    The current generation and an unfinished one after it always stay; remains of an
    interrupted deletion go. ``grace``: seconds for which one stays that was current or, as far
    as readers leave word (`readers`), opened, counted back from ``now`` (s since 1970); a remark
    in the log names those that stay for it. The caller holds the cube's lock.
    """
    current = current_generation(url)
    if current is None:
        raise CubeError(f"cube {url} has no finished generation: there is nothing to prune")
    names = generation_names(url)
    listed = list_generations(url)
    whole = [g.name for g in listed if number_of(g.name) <= number_of(current)]
    kept = {*sorted(whole, key=number_of)[-max(keep, 1) :], current}
    kept |= {name for name in names if number_of(name) > number_of(current)}
    now = time.time() if now is None else now
    used = {name: _last_use(url, name, listed) for name in names if name not in kept}
    spared = {name: moment for name, moment in used.items() if now - moment < grace}
    for name, moment in spared.items():
        _LOG.info(
            "%s is kept for now: it was last in use %s ago, and what was within %s may still be "
            "read by somebody (--grace 0 deletes it all the same)",
            name, _span(max(now - moment, 0)), _span(grace),
        )  # fmt: skip
    removed = [name for name in used if name not in spared]
    if removed:
        index_generations(url, current, without=tuple(removed))
    for name in removed:
        _delete(url, name)
    return removed


def _last_use(url: str | Path, name: str, listed: list[Generation]) -> float:
    """When a generation was opened last, or could be without being named (s since 1970).

    It stopped being the current one when the next was finished.
    """
    if name not in {generation.name for generation in listed}:
        return -math.inf  # remains of a deletion
    later = [g.finished for g in listed if g.finished and number_of(g.name) > number_of(name)]
    ended = dt.datetime.fromisoformat(later[0]).timestamp() if later else -math.inf
    return max(ended, last_used(url, name) or -math.inf)


def _span(seconds: float) -> str:
    return str(dt.timedelta(seconds=round(seconds)))


def _delete(url: str | Path, name: str) -> None:
    with storage_errors(url):
        store = open_store(url, read_only=False)
        sync(store.delete(f"{name}/zarr.json"))  # first: what remains is no generation any more
        sync(store.delete_dir(name))


def _describe(url: str | Path, name: str, current: str | None) -> Generation | None:
    attrs = read_attributes(url, name) or {}
    if "spec_digest" not in attrs:
        return None
    done = Cube(url, name).chunk_status
    return Generation(
        name=name,
        current=name == current,
        created=attrs["created"],
        finished=attrs.get("finished"),
        imagery_first=attrs.get("imagery_first"),
        imagery_last=attrs.get("imagery_last"),
        blocks_done=int(np.count_nonzero(done == Status.DONE)),
        blocks_broken=int(np.count_nonzero(done == Status.BROKEN)),
        blocks_missing=int(np.count_nonzero(done == Status.MISSING)),
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
