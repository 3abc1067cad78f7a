"""A store's errors explained in one line, with the fix."""

from __future__ import annotations

import errno
import json
import re

from ..net.gated import gate
from ..net.hosts import place_of

_FIXES = {
    errno.EACCES: "correct the permissions, or name another place",
    errno.EROFS: "name another place",
    errno.ENOSPC: "free some room, and run the same command again",
    errno.EDQUOT: "free some room, and run the same command again",
    errno.EEXIST: "a file of that name is in the way: move it, or name another place",
    errno.ENOTDIR: "a file of that name is in the way: move it, or name another place",
}
_ROLE = "169.254.169.254"  # queried for a machine's role if there are no credentials
_PASSING = re.compile(r" - HTTP error: |status code: (429|5\d\d)\b")  # unreachable or overloaded
_ASKED = re.compile(r"Error performing \w+ (https?://\S+) in ")
_NO_TUNNEL = " - HTTP error: error sending request"  # the whole message if a proxy refuses
_CODEC = re.compile(r"(?i)zstd|blosc|lz4|gzip|decompress|decode|checksum|\bcrc")
_DAMAGED = "restore it from a copy, or delete it and run the same command again"


def reason_of(error: Exception) -> str:
    """Why a store could not be read or written, and the fix if one is known."""
    if isinstance(error, json.JSONDecodeError):
        return f"its metadata is damaged ({error}): {_DAMAGED}"
    if _is_of_a_codec(error):
        return f"a part of it is damaged ({_first_line(error)}): {_DAMAGED}"
    if isinstance(error, OSError) and error.errno in _FIXES:
        return f"{_first_line(error)}: {_FIXES[error.errno]}"
    return _remote_reason(_first_line(error), str(error))


def may_pass(error: Exception) -> bool:
    """Whether a retry may work in a minute: the store is unreachable or overloaded."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    line = _first_line(error)
    return bool(_PASSING.search(line)) and _ROLE not in str(error) and not _refused(line)


def _is_of_a_codec(error: Exception) -> bool:
    """Whether bytes could not be decoded: a RuntimeError, like a thread that cannot start."""
    return type(error) is RuntimeError and bool(_CODEC.search(str(error)))


def _remote_reason(line: str, text: str) -> str:
    """The same for an object store, whose errors are only distinguished by their text."""
    if reason := _refused(line):
        return f"its server redirects to, or names, a refused address: {reason}"
    if _ROLE in text:
        return (
            "no credentials for the object store were found: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if "NoSuchBucket" in text:
        return "the bucket does not exist (NoSuchBucket): make it, or correct the address"
    if "InvalidAccessKeyId" in text or "SignatureDoesNotMatch" in text:
        return "the object store does not know these credentials: correct AWS_ACCESS_KEY_ID…"
    if "AccessDenied" in text or "403 Forbidden" in text:
        return f"the object store refuses access: check these credentials ({line})"
    return line


def _refused(line: str) -> str:
    """Why `geoloc.net.gate` refused a request; empty if it failed for another reason.

    With TLS the error itself does not say so: then it counts if the gate has refused before.
    """
    request, guard = _ASKED.search(line), gate(gdal=False)
    if request is None or guard is None:
        return ""
    reason = guard.rights(place_of(request[1])).reason
    return reason if reason and (reason in line or _NO_TUNNEL in line) else ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__
