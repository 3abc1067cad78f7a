"""How servers are asked through the gate (`geoloc.net.gate`), which is another process.

Who has a proxy set reaches servers through that alone, which looks names up elsewhere: then names
are judged before GDAL opens a file (`geoloc.imagery.redirects`), and nothing more is.
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
    """What a gate lets pass: see `geoloc.net.gate.Visit`."""

    gate: GateProcess
    login: str
    port: int

    @property
    def refused(self) -> int:
        """How many connections were refused so far."""
        return int(self._fared()["refused"])

    @property
    def reason(self) -> str:
        """Why the last one was."""
        return str(self._fared()["reason"])

    def _fared(self) -> dict[str, Any]:
        return self.gate.ask(number=int(self.login.partition(":")[0]))

    def options(self) -> dict[str, str]:
        """Of GDAL, to have all connections made with these rights."""
        return {
            "GDAL_HTTP_PROXY": f"socks5h://127.0.0.1:{self.port}",
            "GDAL_HTTP_PROXYUSERPWD": self.login,
        }

    def client_options(self, *, plain: bool) -> dict[str, Any]:
        """Of obstore, to have all connections made with these rights; ``plain``: not by TLS alone.

        The header would reach a server by TLS: what it opens is what that server itself may name.
        """
        ticket = {"default_headers": {TICKET: self.login}} if plain else {}
        return {"proxy_url": f"http://{self.login}@127.0.0.1:{self.port}", **ticket}


class GateProcess:
    """The gate of this process. It ends when this one does: its questions come to an end."""

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
        """Whether it was not ended from outside."""
        return self._process.poll() is None

    def rights(self, known: str = "", *, shut: bool = False) -> Rights:
        """To ask ``known`` (host:port) though it is private, or nobody at all."""
        key = known, shut, os.environ.get(ALLOWED, "")
        if key not in self._rights:
            told = self.ask(known=known, shut=shut, allowed=key[2])
            self._rights.setdefault(key, Rights(self, **told))
        return self._rights[key]

    def ask(self, **question: object) -> dict[str, Any]:
        """An answer of the gate. Raises OSError where it was ended."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None
        with self._lock:
            print(json.dumps(question), file=to, flush=True)
            line = back.readline()
        if not line:
            raise ConnectionResetError("the process that judges connections was ended: try again")
        answer: dict[str, Any] = json.loads(line)
        return answer


@functools.lru_cache(maxsize=1)
def _gate_of(_process: int) -> GateProcess:
    return GateProcess()


def gate(*, gdal: bool = True) -> GateProcess | None:
    """This process's; None where the user has a proxy set, which is asked instead.

    ``gdal``: a proxy of GDAL's alone counts as well.
    """
    set_for = urllib.request.getproxies()
    own = gdal and os.environ.get("GDAL_HTTP_PROXY")
    if own or any(set_for.get(name) for name in ("http", "https", "all")):
        return None
    for name in ("no_proxy", "NO_PROXY"):  # without any proxy they say nothing, but GDAL heeds them
        os.environ.pop(name, None)
    found = _gate_of(os.getpid())
    if not found.runs:
        _gate_of.cache_clear()
        found = _gate_of(os.getpid())
    return found


def place_named(href: str) -> str:
    """Host and port of the web address in a path of GDAL's; empty where there is none."""
    found = _WEB.search(href)
    with suppress(ValueError):
        return place_of(found[0]) if found else ""
    return ""
