"""Whether an address is this machine's own."""

from __future__ import annotations

import ipaddress

import psutil


def is_this_machine(address: str) -> bool | None:
    """Whether `address`, as a session was opened to it, belongs to this machine.

    A folder (`/…`) or an abstract name (`@…`) is a Unix socket and always does. None: it is no
    address. A loopback address may still be a tunnel or a published container port; the lock file
    tells, not the address.
    """
    if address.startswith(("/", "@")):
        return True
    try:
        asked = _plain(address)
    except ValueError:
        return None
    return asked.is_loopback or any(asked == own for own in _own_addresses())


def _own_addresses() -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    own: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            try:
                own.add(_plain(entry.address))
            except ValueError:  # link-layer addresses
                continue
    return own


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
