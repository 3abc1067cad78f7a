"""One writer a cube: a lock with an owner, signs of life, and an end when its owner is gone.

The owner writes ``<cube>/LOCK`` as a new object (a conditional PUT, or a link that must be
new) and renews it every few seconds. Another process on the owner's machine asks the system
whether the owner lives. Elsewhere only time tells, and clocks differ: a lock that looks fresh
is believed; one that looks old, or from the future, is watched for a while by the watcher's own
clock, and counts as left behind only if nobody renewed it meanwhile.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from zarr.core.sync import sync

from ..errors import CubeError, UnavailableError
from .remains import sweep
from .store import (
    LOCK,
    list_folder,
    open_store,
    read_text,
    storage_errors,
    write_text,
    write_text_once,
)

if TYPE_CHECKING:
    from zarr.abc.store import Store

BEAT = 10.0
"""Seconds between two signs of life."""

_ATTEMPTS = 5
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """Who holds a lock: ``machine`` changes with every boot, ``renewed`` is its clock's time."""

    token: str
    purpose: str
    user: str
    host: str
    machine: str
    pid: int
    started: float
    since: float
    renewed: float

    @classmethod
    def this_process(cls, purpose: str) -> Owner:
        now = time.time()
        return cls(
            token=uuid.uuid4().hex,
            purpose=purpose,
            user=_user(),
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            since=now,
            renewed=now,
        )

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """None where the text is no lock of this kind."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    def lives(self) -> bool:
        """Whether its process runs; to be asked on its own machine.

        One that is dead and whose parent has not asked for it yet (a zombie) does not: in a
        container without an init that may last for ever.
        """
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1
            return same and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.Error:
            return False

    def describe(self) -> str:
        """For people: who, since when, and when last heard of."""
        now = time.time()
        return (
            f"process {self.pid} of {self.user} on {self.host} ({self.purpose}), for "
            f"{now - self.since:.0f} s, last heard of {now - self.renewed:.0f} s ago"
        )


class CubeLock:
    """A lock that this process holds."""

    def __init__(self, url: str | Path, store: Store, owner: Owner) -> None:
        self.url, self._store, self._owner = url, store, owner
        self._lost: Owner | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises CubeError where another process took the lock over, as after a long sleep."""
        if self._lost is not None:
            raise CubeError(
                f"cube {self.url} was taken over by {self._lost.describe()}: nothing is lost; "
                "run the same command again when it has finished"
            )

    def release(self) -> None:
        """Give it back, if it is still ours."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(CubeError), storage_errors(self.url):
            holder = _read(self._store)
            if holder is not None and holder.token == self._owner.token:
                sync(self._store.delete(LOCK))

    def _renew(self) -> None:
        while not self._ended.wait(BEAT):
            # A store that is out of reach for a while is not a lost lock.
            with contextlib.suppress(CubeError), storage_errors(self.url):
                holder = _read(self._store)
                if holder is not None and holder.token != self._owner.token:
                    self._lost = holder
                    return
                self._owner = replace(self._owner, renewed=time.time())
                write_text(self._store, LOCK, self._owner.to_text())


@contextlib.contextmanager
def hold_lock(url: str | Path, purpose: str) -> Iterator[CubeLock]:
    """Be the only one who writes to this cube. Raises CubeError, naming the owner, if not."""
    with storage_errors(url):
        store = open_store(url, read_only=False)
        owner = Owner.this_process(purpose)
        killed = _acquire(url, store, owner)
        sweep(url, killed=killed)
        _drop_claims(store, owner)
    lock = CubeLock(url, store, owner)
    try:
        yield lock
    finally:
        lock.release()


def _acquire(url: str | Path, store: Store, owner: Owner) -> bool:
    """Take the lock; whether another owner had left it behind."""
    killed = False
    for _ in range(_ATTEMPTS):
        if write_text_once(store, LOCK, owner.to_text()):
            return killed
        text = read_text(store, LOCK)
        if text is None:
            continue  # given back meanwhile
        if not _left_behind(store, LOCK, text, owner):
            raise UnavailableError(
                f"cube {url} is being written by {_who(text)}: wait for it, or stop it"
            )
        _break(store, LOCK, text, owner)
        killed = True
    raise UnavailableError(f"cube {url}: others keep taking its lock: try again")


def _left_behind(store: Store, key: str, text: str, mine: Owner) -> bool:
    other = Owner.parse(text)
    if other is not None and other.machine == mine.machine:
        return not other.lives()
    if other is not None and -BEAT < time.time() - other.renewed < 6 * BEAT:
        return False
    _LOG.info("the lock of %s may be left behind: watched for %g s", _who(text), 3 * BEAT)
    time.sleep(3 * BEAT)
    return read_text(store, key) == text


def _who(text: str) -> str:
    other = Owner.parse(text)
    return other.describe() if other else "an unknown process"


def _break(store: Store, key: str, text: str, owner: Owner) -> None:
    """Remove a lock that was left behind. Of several who try, one does it, the others wait.

    That one holds a lock for it, which may be left behind as well, and is broken likewise.
    """
    claim = f"{key}.broken-{uuid.uuid5(uuid.NAMESPACE_OID, text).hex}"
    if not write_text_once(store, claim, owner.to_text()):
        theirs = read_text(store, claim)
        if theirs is not None and _left_behind(store, claim, theirs, owner):
            _break(store, claim, theirs, owner)
        else:
            time.sleep(1)
        return
    if read_text(store, key) == text:
        sync(store.delete(key))
    sync(store.delete(claim))


def _drop_claims(store: Store, owner: Owner) -> None:
    """Remove claims to break a lock whose owners were killed between that and their removal."""
    for key in list_folder(store):
        if not key.startswith(f"{LOCK}.broken-"):
            continue
        other = Owner.parse(read_text(store, key) or "")
        if other is not None and other.machine == owner.machine and not other.lives():
            with contextlib.suppress(FileNotFoundError):  # others tidy as well
                sync(store.delete(key))


def _read(store: Store) -> Owner | None:
    text = read_text(store, LOCK)
    return None if text is None else Owner.parse(text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _machine() -> str:
    """This boot of this machine, and which processes it sees: pids mean the same within it."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
