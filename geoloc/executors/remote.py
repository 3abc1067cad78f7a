"""Workers of a Dask cluster that runs elsewhere, by the address of its scheduler."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import dask

from ..errors import ClusterError
from .task import Executor
from .workers import connect

_LOG = logging.getLogger(__name__)


def open_remote(address: str) -> AbstractContextManager[Executor]:
    """Its workers, as long as the context lasts. Raises ClusterError where it is out of reach."""
    _warn_of(address)
    _require_certificates(address)
    return connect(address, lambda: address)


def is_open(address: str) -> bool:
    """Whether an address leads beyond this machine without TLS: a scheduler runs what is sent
    there, pickles of anybody who reaches it, and what is sent can be read on the way."""
    scheme, _, rest = address.partition("://")
    host = urlsplit(f"//{rest}").hostname or ""
    if scheme not in ("tcp", "ws", "ucx", "ucxx") or host in ("localhost", ""):
        return False
    with contextlib.suppress(ValueError):
        return not ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return True


def _warn_of(address: str) -> None:
    if is_open(address):
        _LOG.warning(
            "warning: Dask cluster %s has no TLS: whoever reaches its scheduler runs code on its "
            "machines: give tls://… with the settings distributed.comm.tls (deploy/README.md), "
            "or keep its network to itself",
            address,
        )


def _require_certificates(address: str) -> None:
    """Raise ClusterError for TLS without the settings: Dask's own word for it is a TypeError."""
    lacking = [
        name
        for name in ("ca-file", "client.cert", "client.key")
        if not dask.config.get(f"distributed.comm.tls.{name}", None)
    ]
    if address.startswith(("tls://", "wss://")) and lacking:
        raise ClusterError(
            f"Dask cluster {address} cannot be reached without distributed.comm.tls."
            f"{', '.join(lacking)} in Dask's configuration (deploy/README.md)"
        )
