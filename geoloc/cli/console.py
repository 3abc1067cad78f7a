"""What every command shares: tables and progress on the terminal, JSON for machines."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ..errors import GeolocError
from ..progress import rate_words
from .ending import Terminated

INTERRUPTED = "interrupted; what was finished is kept: run the same command again to go on"

out = Console(highlight=False, soft_wrap=True)
"""Results."""

JSON = typer.Option(False, "--json", help="Print one JSON object on stdout.")
"""The option of every command that has a result; see `print_json`."""

_WIDEST = 1000  # characters of a table that is no terminal's

err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, notes and errors: never mixed into what a machine reads."""


class Advance(Protocol):
    """How the library reports how far long work has come: done, of how many, and a word on it."""

    def __call__(self, done: float, total: int, told: str = "") -> None: ...


_LOOK, _LINES = 1.0, 30.0  # seconds between looks at how far work has come, and between lines


class RateColumn(ProgressColumn):
    """How many a second, or an hour where that is less than one."""

    def render(self, task: Task) -> Text:
        """Empty until it is known."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text()
        return Text(rate_words(speed))


@contextmanager
def stages(*, long: bool = False) -> Iterator[Callable[[str], Advance]]:
    """Progress on stderr: bars, one a stage of the work, or lines where that is no terminal.

    A line comes every 30 s; of ``long`` work also once there is anything to report. An
    interruption by the user becomes an error of one line. However it is ended, how far it came
    is the last line before that.
    """
    lines = _Lines(long)
    try:
        with _bars(lines) if err.is_terminal else _speaking(lines) as stage:
            yield stage
    except KeyboardInterrupt:
        lines.tell()
        raise GeolocError(INTERRUPTED) from None
    except Terminated:
        lines.tell()
        raise


@contextmanager
def _bars(lines: _Lines) -> Iterator[Callable[[str], Advance]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:

        def stage(title: str) -> Advance:
            task, note_course = bars.add_task(title, total=None), lines.stage(title)

            def advance(done: float, total: int, told: str = "") -> None:
                note_course(done, total, told)
                bars.update(
                    task, completed=done, total=total, description=f"{title} {told}".strip()
                )

            return advance

        yield stage


@dataclass
class Course:
    """How far a stage has come, when (s of a clock) it was begun, and first reported progress.

    What is left is reckoned from the latter: what is made ready before says nothing of the pace.
    """

    title: str
    begun: float
    paced: float
    done: float = 0.0
    total: int | None = None
    told: str = ""

    def text(self, now: float) -> str:
        """One line: how much of how much, time elapsed and left."""
        elapsed = f"{_clock(now - self.begun)} elapsed"
        if not self.total:
            return f"{self.title}: begun, {elapsed}"
        share = self.done / self.total
        left = (
            f", about {_clock((now - self.paced) * (1 - share) / share)} left" if share > 0 else ""
        )
        count = f"{int(self.done):,} of {self.total:,}"
        word = f", {self.told}" if self.told else ""
        return f"{self.title}: {count} ({100 * share:.0f} %){word}, {elapsed}{left}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@dataclass
class _Lines:
    """Reports now and then how far the stage that moved last has come."""

    early: bool
    stages: list[Course] = field(default_factory=list)
    current: Course | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def stage(self, title: str) -> Advance:
        begun = time.monotonic()
        course = Course(title, begun, begun)
        self.stages.append(course)

        def advance(done: float, total: int, told: str = "") -> None:
            if course.total is None:
                course.paced = time.monotonic()
            course.done, course.total, self.current = done, total, course
            course.told = told

        return advance

    def tell(self) -> None:
        """How far that stage is now, if there is anything to report."""
        if self.current:
            note(self.current.text(time.monotonic()))

    def speak(self) -> None:
        """Until the work has ended."""
        last, early = time.monotonic(), self.early
        while not self.ended.wait(_LOOK):
            now = time.monotonic()
            course = self.current or next(iter(self.stages), None)
            if course and (now - last >= _LINES or (early and self.current)):
                note(course.text(now))
                last, early = now, False


@contextmanager
def _speaking(lines: _Lines) -> Iterator[Callable[[str], Advance]]:
    speaker = threading.Thread(target=lines.speak, name="progress", daemon=True)
    speaker.start()
    try:
        yield lines.stage
    finally:
        lines.ended.set()
        speaker.join()


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


def note_left_out(lines: Sequence[str], most: int, more: str = "more") -> None:
    """Remarks on what was left out: the first ones, and how many ``more`` there are."""
    for line in lines[:most]:
        note(f"left out: {line}")
    if len(lines) > most:
        note(f"left out: {len(lines) - most} {more}")


class _Notes(logging.Handler):
    """What the library logs becomes notes, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def show_remarks() -> None:
    """Have the library's own remarks shown, such as the address of a cluster's dashboard."""
    logger = logging.getLogger("geoloc")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Notes) for handler in logger.handlers):
        logger.addHandler(_Notes())
