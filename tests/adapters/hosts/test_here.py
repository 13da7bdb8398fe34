"""An address is this machine's, another's, or no address at all."""

from __future__ import annotations

import socket

import psutil
import pytest

from stanch.adapters.hosts.here import is_this_machine

OWN = [
    entry.address
    for entries in psutil.net_if_addrs().values()
    for entry in entries
    if entry.family in (socket.AF_INET, socket.AF_INET6)
]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.8.7", "::1", "[::1]", "::ffff:127.0.0.1", "/run/pg", "@pg", *OWN],
)
def test_own_addresses_and_sockets_are_this_machine(address: str) -> None:
    assert is_this_machine(address) is True


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_other_addresses_are_not(address: str) -> None:
    assert is_this_machine(address) is False


@pytest.mark.parametrize("address", ["", "db.example.com", "127.0.0.1.example.com", "\x00", "1"])
def test_what_is_no_address_cannot_be_told(address: str) -> None:
    assert is_this_machine(address) is None
