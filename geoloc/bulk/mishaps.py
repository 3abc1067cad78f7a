"""Unexpected failures: one file costs itself, never the run; the details are kept for a person."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import ClusterError, CubeError, GeolocError, ModelError
from ..files.modes import make_folder, open_answer
from ..names import writable

DETAILS = "errors.log"
"""Tracebacks of what nobody foresaw, beside the answers; only there where something was."""

_LOG = logging.getLogger("geoloc.bulk")
_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
_OF_THE_RUN = (CubeError, ModelError, ClusterError)
_SHOWN = 160  # characters of a low-level message
_LEAST_BYTES = 1 << 16  # of a disk that is not full


@contextmanager
def contained(name: str, fail: Callable[[str], None], out: Path | None = None) -> Iterator[None]:
    """Work on one thing that may fail alone: ``fail`` gets the reason, in one line.

    What concerns all of the run goes on up: a full disk (``out``: where it writes), too many
    open files, a cube or model that is broken, an interruption.
    """
    try:
        yield
    # Decoders, parsers and writers of a dozen libraries meet whatever people send: this is the
    # one place where all of their errors end, so that the other ten thousand files are answered.
    except Exception as error:
        if ends_the_run(error, out):
            raise
        fail(_reason(name, error))


def ends_the_run(error: BaseException, out: Path | None = None) -> bool:
    """Whether an error, or what caused it, would be met again at the next file."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    of_the_machine = any(isinstance(e, OSError) and e.errno in _OF_THE_MACHINE for e in chain)
    return of_the_machine or isinstance(error, _OF_THE_RUN) or (out is not None and _is_full(out))


def _is_full(out: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(out).free < _LEAST_BYTES
    return False


def is_foreseen(error: BaseException) -> bool:
    """Whether an error says in words of ours what is wrong."""
    return isinstance(error, GeolocError)


def _reason(name: str, error: Exception) -> str:
    if is_foreseen(error):
        return writable(" ".join(str(error).split()))
    if isinstance(error, OSError) and error.strerror:
        return writable(f"cannot be read or written: {error.strerror}")
    words = " ".join(str(error).split())[:_SHOWN]
    reason = f"{type(error).__name__}: {words}" if words else type(error).__name__
    line = writable(f"failed unexpectedly ({reason}); details in {DETAILS}")
    _LOG.error("%s %s", writable(name), line, exc_info=error)
    return line


class _Quiet(logging.FileHandler):
    def _open(self) -> Any:
        path = Path(self.baseFilename)
        make_folder(path.parent)
        return open_answer(path, self.mode, encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  as logging calls it
        """A log that cannot be written stops nothing."""


@contextmanager
def kept_details(out: Path) -> Iterator[None]:
    """Keep the details of what was not foreseen in ``out``, as long as this lasts."""
    handler = _Quiet(out / DETAILS, delay=True, encoding="utf-8", errors="replace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _LOG.addHandler(handler)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        handler.close()
