"""Lines of auth.log, fail2ban.log and ufw.log: who was refused, banned or blocked, from where.

Names in these lines are whatever a stranger typed, so an address is taken only from the place
where the program itself writes it, and only if it is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

LINE_CHARS_MAX: Final = 2048
REPEATS_MAX: Final = 100_000


class GuardClass(StrEnum):
    """What the programs that guard a machine tell."""

    AUTH_FAILED = "auth_failed"
    """sshd, sudo or su refused somebody."""
    FOUND = "found"
    """fail2ban counted a failure."""
    BANNED = "banned"
    UNBANNED = "unbanned"
    BLOCKED = "blocked"
    """UFW dropped a packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLine:
    """One line of one of these logs."""

    guard_class: GuardClass
    source: str
    """The address; for sudo and su, where there is none, the program's name."""
    pid: int | None = None
    abandoned: bool = False
    """sshd says only that somebody left before logging in: a failure unless one was told."""
    times: int = 1


_HEAD: Final = re.compile(
    r"^(?:"
    # RFC 5424, as some forwarders write it into files.
    r"<\d{1,3}>1 \S{1,64} \S{1,255} (?P<program5>\S{1,48}) (?P<pid5>\d{1,10}|-) \S{1,32} "
    r"(?:-|\[[^\n]{0,1000}?\](?= |$)) ?"
    # RFC 3164 with its own stamp, or with an ISO 8601 one.
    r"|(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.,]{8,20}\S{0,6}) "
    r"(?:\S{1,255} )??(?P<program>[\w./-]{1,48})(?:\[(?P<pid>\d{1,10})\])?: "
    r")(?P<message>.*)$"
)
_REPEATED: Final = re.compile(r"^message repeated (?P<times>\d{1,9}) times: \[ ?(?P<message>.*)\]$")
_SSHD_FAILED: Final = re.compile(
    r"^Failed (?!none )[\w/-]{1,40} for .* from (?P<source>\S{2,64}) port \d{1,5}"
    r"(?: ssh2)?(?:: .*)?$"
)
_SSHD_LEFT: Final = re.compile(
    r"^(?:Connection (?:closed|reset) by|Disconnected from) (?:invalid|authenticating) user "
    r".* (?P<source>\S{2,64}) port \d{1,5} \[preauth\]$"
)
_SUDO: Final = re.compile(
    r"^ *\S{1,64} : (?:(?P<times>\d{1,3}) incorrect password attempts?|user NOT in sudoers) ;"
)
_SU: Final = re.compile(r"^FAILED SU \(to ")
_FAIL2BAN: Final = re.compile(
    r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} fail2ban\.\w{1,20} *\[\d{1,10}\]: [A-Z]{1,10} +"
    r"\[[^\]\n]{1,64}\] (?P<word>Restore Ban|Ban|Unban|Found) (?P<source>\S{2,64})(?: |$)"
)
_FAIL2BAN_WORDS: Final = {
    "Ban": GuardClass.BANNED,
    # After its restart fail2ban bans again whom it had banned: the ban was counted already.
    "Unban": GuardClass.UNBANNED,
    "Found": GuardClass.FOUND,
}
_UFW: Final = re.compile(
    r"^(?:\[ *[\d.]{1,24}\] )?\[UFW (?:LIMIT )?BLOCK\] IN=\S{0,32} .{0,200}?"
    r"\bSRC=(?P<source>[0-9A-Fa-f.:]{2,45}) "
)


def guard_line(line: str) -> GuardLine | None:
    """What one line tells; None for a line that tells none of this. Cost: a few patterns."""
    text = line[:LINE_CHARS_MAX]
    banned = _FAIL2BAN.match(text)
    if banned is not None:
        found = _FAIL2BAN_WORDS.get(banned["word"])
        return None if found is None else _from(banned["source"], found)
    head = _HEAD.match(text)
    if head is None:
        return None
    program = (head["program"] or head["program5"] or "").rpartition("/")[2]
    pid, message, times = head["pid"] or head["pid5"] or "", head["message"], 1
    repeated = _REPEATED.match(message)
    if repeated is not None:
        message, times = repeated["message"], min(int(repeated["times"]), REPEATS_MAX)
    return _told(program, int(pid) if pid.isdigit() else None, message, times)


def _told(program: str, pid: int | None, message: str, times: int) -> GuardLine | None:
    match program:
        case "sshd" | "sshd-session" | "sshd-auth":
            failed, left = _SSHD_FAILED.match(message), _SSHD_LEFT.match(message)
            match = failed or left
            if match is None:
                return None
            return _from(
                match["source"],
                GuardClass.AUTH_FAILED,
                pid=pid,
                abandoned=failed is None,
                times=times,
            )
        case "sudo":
            refused = _SUDO.match(message)
            if refused is None:
                return None
            tries = max(1, int(refused["times"] or 1)) * times
            return GuardLine(guard_class=GuardClass.AUTH_FAILED, source="sudo", times=tries)
        case "su" if _SU.match(message):
            return GuardLine(guard_class=GuardClass.AUTH_FAILED, source="su", times=times)
        case "kernel":
            blocked = _UFW.match(message)
            return None if blocked is None else _from(blocked["source"], GuardClass.BLOCKED)
        case _:
            return None


def _from(
    source: str,
    guard_class: GuardClass,
    *,
    pid: int | None = None,
    abandoned: bool = False,
    times: int = 1,
) -> GuardLine | None:
    try:
        address = str(ip_address(source.partition("%")[0]))
    except ValueError:
        # sshd with UseDNS writes names; a name is the stranger's own word for himself.
        address = "by name"
    return GuardLine(
        guard_class=guard_class, source=address, pid=pid, abandoned=abandoned, times=times
    )
