"""SIGTERM and SIGHUP end a command as Ctrl-C does: locks released, finished work kept.

Service managers, schedulers and ``kill`` send SIGTERM, a terminal that is closed SIGHUP. Python
ends at once on them, and nothing is tidied up. So the first becomes an exception in the main
thread, on whose way up everything is closed; the second ends the process at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(SystemExit):
    """A signal ends the process: exit code 128 and its number, as shells count."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def end_in_order() -> None:
    """Have these signals raise `Terminated`, but for what is ignored (``nohup``) or handled."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        if signal.getsignal(each) is _end:
            signal.signal(each, signal.SIG_DFL)
    raise Terminated(number)
