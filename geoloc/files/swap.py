"""Two folders swapped in one step, so that readers see the one or the other."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

_HERE = -100  # AT_FDCWD: paths are not relative to a descriptor
_EXCHANGE = 2  # RENAME_EXCHANGE
_UNABLE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def swap(one: Path, other: Path) -> bool:
    """Exchange two existing paths on one file system.

    False, with nothing changed, if the system or the file system cannot do that (most network
    file systems). Raises OSError for other failures. Source: renameat2(2), Linux.
    """
    rename = _rename()
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNABLE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@cache
def _rename() -> Any:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # another system, or a C library without it
        return None
    text, number = ctypes.c_char_p, ctypes.c_int
    renameat2.argtypes = (number, text, number, text, ctypes.c_uint)
    renameat2.restype = number
    return renameat2
