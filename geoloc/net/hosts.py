"""Which hosts may be asked on behalf of others: public ones, and those the user allows.

What a catalog of a stranger names, or an address that somebody typed into a form, must not reach
the services of this machine or of the house. A host is judged by every address that it has::

    GEOLOC_PRIVATE_HOSTS="tiles.lan, 10.1.2.3, 192.168.7.0/24, 127.0.0.1:9000, /mnt/imagery"

A folder in that list is one whose files a catalog on a server may name, as those of a house do.
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
    """Why a URL's host is not asked; empty where it may be, or where nobody knows its address.

    ``known``: host and port of who names the URL, which may name itself.
    """
    try:
        parts = urlsplit(url)
        host, place = parts.hostname or "", place_of(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "it is no URL"
    if not host:
        return "it names no host"
    if known and place == known:
        return ""
    told = (refused_address(host, port, one) for one in addresses(host, port))
    return next(filter(None, told), "")


def refused_redirect(asked: str, location: str) -> str:
    """Why a redirect is not followed: it leads to a private host from another one."""
    return refusal(urljoin(asked, location), place_of(asked))


def place_of(url: str) -> str:
    """Host and port of a URL. Raises ValueError where it is none."""
    parts = urlsplit(url)
    return f"{(parts.hostname or '').lower()}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def addresses(host: str, port: int = 0) -> list[str]:
    """All addresses of a host; none where it is not known."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def refused_address(host: str, port: int, address: str, allowed: str | None = None) -> str:
    """Why an address that a host has is not connected to; empty where it may be.

    ``allowed``: what `ALLOWED` holds, where that is not this process's own.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is no address"
    if _is_public(found) or _is_allowed(host.lower(), port, found, _rules(allowed)):
        return ""
    shown = host if host == address else f"{host} ({address})"
    return f"{shown} is a private host: if it is meant, add {host} to {ALLOWED}"


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
    """Whether a file lies, links followed, in a folder that the user allows."""
    folders = [Path(rule) for rule in _rules() if rule.startswith("/")]
    found = Path(path).resolve()
    return any(found.is_relative_to(folder.resolve()) for folder in folders)


def _rules(allowed: str | None = None) -> list[str]:
    told = os.environ.get(ALLOWED, "") if allowed is None else allowed
    rules = (rule.strip() for rule in told.split(","))
    return [rule for rule in rules if rule]


def _is_allowed(host: str, port: int, address: Address, rules: list[str]) -> bool:
    lower = map(str.lower, rules)
    return any(rule in (host, f"{host}:{port}") or _holds(rule, address) for rule in lower)


def _holds(rule: str, address: Address) -> bool:
    """Whether a rule is a network, or an address, that holds this one."""
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False
