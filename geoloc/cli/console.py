"""What every command shares: tables and progress on the terminal, JSON for machines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ..errors import GeolocError

INTERRUPTED = "interrupted; what was finished is kept: run the same command again to go on"

out = Console(highlight=False, soft_wrap=True)
"""Results."""

_WIDEST = 1000  # characters of a table that is no terminal's

err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, notes and errors: never mixed into what a machine reads."""


Advance = Callable[[int, int], None]
"""How the library tells how far long work has come: done, and of how many."""


class RateColumn(ProgressColumn):
    """How many a second, or an hour where that is less than one."""

    def render(self, task: Task) -> Text:
        """Empty until it is known."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text()
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{3600 * speed:.0f}/h")


@contextmanager
def stages() -> Iterator[Callable[[str], Advance]]:
    """Progress bars on stderr, one a stage of the work; silent where that is no terminal.

    An interruption by the user becomes an error of one line.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:

            def stage(title: str) -> Advance:
                task = bars.add_task(title, total=None)
                return lambda done, total: bars.update(task, completed=done, total=total)

            yield stage
    except KeyboardInterrupt:
        raise GeolocError(INTERRUPTED) from None


@contextmanager
def progress(title: str) -> Iterator[Advance]:
    """One progress bar; see `stages`."""
    with stages() as stage:
        yield stage(title)


def print_json(value: Any) -> None:
    """One JSON object on stdout, strict (no NaN)."""
    out.out(json.dumps(value, allow_nan=False, ensure_ascii=False))


def print_table(title: str, columns: dict[str, str], rows: list[list[str]]) -> None:
    """A table; ``columns`` maps each heading to its justification. Nothing in it is cut short."""
    table = Table(title=title, title_justify="left")
    for heading, justify in columns.items():
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    # a file or a pipe has no width: the table is as wide as it wants to be
    console = out if out.is_terminal else Console(file=out.file, width=_WIDEST, highlight=False)
    console.print(table)


def note(text: str) -> None:
    """A remark beside the results."""
    err.print(text, markup=False)


class _Notes(logging.Handler):
    """What the library logs becomes notes, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def known_cluster(word: str) -> str:
    """``--cluster`` as given, refused at once where it means nothing: it may be needed late."""
    from ..cluster import check_kind

    return check_kind(word)


def show_remarks() -> None:
    """Have the library's own remarks shown, such as the address of a cluster's dashboard."""
    logger = logging.getLogger("geoloc")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Notes) for handler in logger.handlers):
        logger.addHandler(_Notes())
