"""Lines of auth.log, fail2ban and UFW, as the programs write them and as strangers forge them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.auth_log import GuardClass, guard_line

OLD = "Nov 21 11:40:00 db1 "
ISO = "2026-11-21T11:40:00.123456+01:00 db1 "
NEW = "<38>1 2026-11-21T11:40:00Z db1 sshd 712 - - "
BAN = "2026-11-21 11:40:00,123 fail2ban.actions        [812]: NOTICE  [sshd] "
UFW = (
    "kernel: [ 123.456] [UFW BLOCK] IN=eth0 OUT= MAC=52:54 SRC=192.0.2.7 DST=198.51.100.2 LEN=40 "
    "PROTO=TCP SPT=4711 DPT=5432 WINDOW=1024 SYN "
)


def told(line: str) -> tuple[GuardClass, str, int] | None:
    found = guard_line(line)
    return None if found is None else (found.guard_class, found.source, found.times)


@pytest.mark.parametrize("head", [f"{OLD}sshd[712]: ", f"{ISO}sshd-session[712]: ", NEW])
def test_a_refused_login_over_ssh_is_told_with_its_address_whatever_the_stamp(head: str) -> None:
    line = f"{head}Failed password for root from 192.0.2.7 port 4711 ssh2"
    assert told(line) == (GuardClass.AUTH_FAILED, "192.0.2.7", 1)
    found = guard_line(line)
    assert found is not None
    assert found.pid == 712


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("sshd[7]: Failed publickey for a from 2001:db8::7 port 9 ssh2: RSA SHA256:x", 1),
        ("sshd[7]: message repeated 3 times: [ Failed password for a from ::1 port 9 ssh2]", 3),
        ("sshd[7]: Connection closed by invalid user x 192.0.2.7 port 9 [preauth]", 1),
        ("sudo:   asha : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; COMMAND=/bin/sh", 3),
        ("sudo:   asha : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root", 1),
        ("su[9]: FAILED SU (to root) asha on pts/1", 1),
    ],
)
def test_every_refusal_counts_as_often_as_it_happened(message: str, expected: int) -> None:
    found = guard_line(OLD + message)
    assert found is not None
    assert (found.guard_class, found.times) == (GuardClass.AUTH_FAILED, expected)


@pytest.mark.parametrize(
    "line",
    [
        f"{OLD}sshd[7]: Accepted publickey for asha from 192.0.2.7 port 9 ssh2",
        f"{OLD}sshd[7]: Failed none for asha from 192.0.2.7 port 9 ssh2",
        f"{OLD}sshd[7]: Connection closed by 192.0.2.7 port 9 [preauth]",
        f"{OLD}sudo:   asha : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
        f"{OLD}su[9]: (to root) asha on pts/1",
        f"{OLD}cron[9]: Failed password for root from 192.0.2.7 port 9 ssh2",
        f"{OLD}kernel: [ 1.0] [UFW ALLOW] IN=eth0 OUT= SRC=192.0.2.7 DST=192.0.2.1 ",
        f"{BAN}Restore Ban 192.0.2.7",
        f"{BAN}192.0.2.7 already banned",
    ],
)
def test_what_was_allowed_or_told_before_counts_as_nothing(line: str) -> None:
    assert guard_line(line) is None


def test_bans_and_their_ends_and_blocked_packets_are_told_apart() -> None:
    assert told(f"{BAN}Ban 192.0.2.7") == (GuardClass.BANNED, "192.0.2.7", 1)
    assert told(f"{BAN}Unban 192.0.2.7") == (GuardClass.UNBANNED, "192.0.2.7", 1)
    found = "2026-11-21 11:40:00,123 fail2ban.filter [8]: INFO    [sshd] Found 192.0.2.7 - x"
    assert told(found) == (GuardClass.FOUND, "192.0.2.7", 1)
    assert told(OLD + UFW) == (GuardClass.BLOCKED, "192.0.2.7", 1)


def test_a_name_that_looks_like_the_rest_of_the_line_does_not_accuse_another_address() -> None:
    name = "x from 198.51.100.1 port 1 ssh2"
    line = f"{OLD}sshd[7]: Failed password for invalid user {name} from 192.0.2.7 port 9 ssh2"
    assert told(line) == (GuardClass.AUTH_FAILED, "192.0.2.7", 1)


def test_a_host_name_in_place_of_an_address_is_not_believed() -> None:
    line = f"{OLD}sshd[7]: Failed password for a from friend.example.com port 9 ssh2"
    assert told(line) == (GuardClass.AUTH_FAILED, "by name", 1)


@given(st.text(max_size=200), st.sampled_from([OLD + "sshd[7]: ", ISO + "sudo: ", BAN, NEW, ""]))
def test_no_line_whatever_raises(text: str, head: str) -> None:
    guard_line(head + text)
    guard_line(head + text * 50)
