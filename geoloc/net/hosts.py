"""Which hosts may be contacted on behalf of others: public ones, and those the user allows.

A URL in a stranger's catalog, or one typed into a form, must not reach services of this machine or
of its private network. A host is checked by every address that it has::

    GEOLOC_PRIVATE_HOSTS="tiles.lan, 10.1.2.3, 192.168.7.0/24, 127.0.0.1:9000, /mnt/imagery"

A folder in that list holds files that a catalog on a server may name, as in-house catalogs do.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from urllib.parse import urljoin, urlsplit

ALLOWED = "GEOLOC_PRIVATE_HOSTS"
"""The variable that names private hosts, networks and folders that others may name."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def refusal(url: str, known: str = "") -> str:
    """Why a URL's host must not be contacted; empty if it may be, or if it has no known address.

    ``known``: host and port of the document that names the URL, which may name its own server.
    """
    try:
        parts = urlsplit(url)
        host, place = parts.hostname or "", place_of(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "it is not a URL"
    if not host:
        return "it names no host"
    if known and place == known:
        return ""
    reasons = (refused_address(host, port, one) for one in addresses(host, port))
    return next(filter(None, reasons), "")


def refused_redirect(url: str, location: str) -> str:
    """Why a redirect is not followed: it leads to a private host from another one."""
    return refusal(urljoin(url, location), place_of(url))


def place_of(url: str) -> str:
    """Host and port of a URL. Raises ValueError if it is invalid."""
    parts = urlsplit(url)
    return f"{(parts.hostname or '').lower()}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def addresses(host: str, port: int = 0) -> list[str]:
    """All addresses of a host; none if it cannot be resolved."""
    try:
        results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(one[4][0]) for one in results))


def refused_address(host: str, port: int, address: str, allowed: str | None = None) -> str:
    """Why an address of a host must not be connected to; empty if it may be.

    ``allowed``: the value of `ALLOWED`, if not that of this process.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is not an address"
    if _is_public(parsed) or _is_allowed(host.lower(), port, parsed, _rules(allowed)):
        return ""
    shown = host if host == address else f"{host} ({address})"
    return f"{shown} is a private host: if that is intended, add {host} to {ALLOWED}"


def _is_public(address: Address) -> bool:
    inner = _inner(address)
    if inner is not None:
        return _is_public(inner)
    return address.is_global and not address.is_multicast


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def is_allowed_file(path: str) -> bool:
    """Whether a file is, with links resolved, in a folder that the user allows."""
    folders = [Path(rule) for rule in _rules() if rule.startswith("/")]
    resolved = Path(path).resolve()
    return any(resolved.is_relative_to(folder.resolve()) for folder in folders)


def _rules(allowed: str | None = None) -> list[str]:
    value = os.environ.get(ALLOWED, "") if allowed is None else allowed
    rules = (rule.strip() for rule in value.split(","))
    return [rule for rule in rules if rule]


def _is_allowed(host: str, port: int, address: Address, rules: list[str]) -> bool:
    lower = map(str.lower, rules)
    return any(rule in (host, f"{host}:{port}") or _covers(rule, address) for rule in lower)


def _covers(rule: str, address: Address) -> bool:
    """Whether a rule is a network, or an address, that includes this one."""
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False
