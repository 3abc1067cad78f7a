"""Access to servers through the gate (`geoloc.net.gate`), which is another process.

If the user has set a proxy, servers are only reached through that, and it resolves names itself:
then names are only checked before GDAL opens a file (`geoloc.imagery.redirects`).
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .hosts import ALLOWED, place_of
from .proxied import TICKET

_WEB = re.compile(r"https?://[^/?#\s]+")
_SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from geoloc.net.gate import serve; serve()"


@dataclass(frozen=True)
class Rights:
    """What a gate allows: see `geoloc.net.gate.Visit`."""

    gate: GateProcess
    login: str
    port: int

    @property
    def refused(self) -> int:
        """How many connections have been refused."""
        return int(self._status()["refused"])

    @property
    def reason(self) -> str:
        """Why the last one was refused."""
        return str(self._status()["reason"])

    def _status(self) -> dict[str, Any]:
        return self.gate.ask(number=int(self.login.partition(":")[0]))

    def options(self) -> dict[str, str]:
        """GDAL's options to make all connections with these rights."""
        return {
            "GDAL_HTTP_PROXY": f"socks5h://127.0.0.1:{self.port}",
            "GDAL_HTTP_PROXYUSERPWD": self.login,
        }

    def client_options(self, *, plain: bool) -> dict[str, Any]:
        """obstore's options to make all connections with these rights; ``plain``: also without TLS.

        By TLS the header would reach the server itself, but grants only that server's rights.
        """
        ticket = {"default_headers": {TICKET: self.login}} if plain else {}
        return {"proxy_url": f"http://{self.login}@127.0.0.1:{self.port}", **ticket}


class GateProcess:
    """The gate of this process. It ends with this process, when its standard input closes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rights: dict[tuple[str, bool, str], Rights] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(Path(__file__).parents[2])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, start_new_session=True,
        )  # fmt: skip

    @property
    def runs(self) -> bool:
        """Whether it is still running."""
        return self._process.poll() is None

    def rights(self, known: str = "", *, shut: bool = False) -> Rights:
        """Rights to reach ``known`` (host:port) even if private; with ``shut``, nothing at all."""
        key = known, shut, os.environ.get(ALLOWED, "")
        if key not in self._rights:
            visit = self.ask(known=known, shut=shut, allowed=key[2])
            self._rights.setdefault(key, Rights(self, **visit))
        return self._rights[key]

    def ask(self, **question: object) -> dict[str, Any]:
        """An answer of the gate. Raises OSError if it has ended."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None
        with self._lock:
            print(json.dumps(question), file=to, flush=True)
            line = back.readline()
        if not line:
            raise ConnectionResetError("the process that checks connections has ended: try again")
        answer: dict[str, Any] = json.loads(line)
        return answer


@functools.lru_cache(maxsize=1)
def _gate_of(_process: int) -> GateProcess:
    return GateProcess()


def gate(*, gdal: bool = True) -> GateProcess | None:
    """This process's gate; None if the user has set a proxy, which is used instead.

    ``gdal``: a proxy set for GDAL alone counts as well.
    """
    set_for = urllib.request.getproxies()
    own = gdal and os.environ.get("GDAL_HTTP_PROXY")
    if own or any(set_for.get(name) for name in ("http", "https", "all")):
        return None
    for name in ("no_proxy", "NO_PROXY"):  # meaningless without a proxy, but GDAL heeds them
        os.environ.pop(name, None)
    process = _gate_of(os.getpid())
    if not process.runs:
        _gate_of.cache_clear()
        process = _gate_of(os.getpid())
    return process


def place_named(href: str) -> str:
    """Host and port of the URL in a GDAL path; empty if there is none."""
    match = _WEB.search(href)
    with suppress(ValueError):
        return place_of(match[0]) if match else ""
    return ""
