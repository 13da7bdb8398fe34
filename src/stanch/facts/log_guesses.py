"""What an unknown prefix of log lines gives away: time, process, SQLSTATE and whose session it is.

Nobody may have said what `log_line_prefix` is, and a server that is down cannot be asked. A line at
LOG carries `00000` where the prefix has `%e`: what stands before it there stands before every code.
"""

from __future__ import annotations

import re
from typing import Final

from stanch.facts.log_rules import BY_SQLSTATE

NO_ERROR: Final = "00000"

_SUCCESS: Final = re.compile(
    rb"(?m)^(?P<before>(?:(?!: {2})[^\n]){0,300}?)(?<![0-9A-Za-z])00000(?![0-9A-Za-z])"
    rb"(?:(?!: {2})[^\n]){0,300}?\bLOG:  "
)
_BEFORE: Final = re.compile(r"\D{0,6}$")
"""Without the digits of a time or a process that may precede."""
_CODE: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Z]{5}(?![0-9A-Za-z])")
_LETTERED: Final = frozenset(
    state for rule in BY_SQLSTATE for state in rule.sqlstates if not state.isdecimal()
)
"""No process, line or port has such a number."""
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})? [A-Za-z+-][\w:/+-]*")
_PID: Final = re.compile(r"\[(\d{1,10})[\]-]")
_NAME: Final = r"[^\s@:,;=()\[\]]{1,64}"
_ROLE_AT_DATABASE: Final = re.compile(
    rf"(?:^|[\s:,;(\[])(?P<user>{_NAME})@(?P<database>{_NAME})(?=$|[\s,;:)\]])"
)
_NAMED: Final = tuple(
    (field, re.compile(rf"(?:^|[\s,;(\[])(?:{words})=(?P<name>{name})"))
    for field, words, name in (
        ("user", "user", _NAME),
        ("database", "db|database", _NAME),
        ("application_name", "app|application", r"[^,;=\n\[\]]{1,64}"),
    )
)


class PrefixGuess:
    """Learns from the lines of one log; what it does not know it leaves out.

    A name in the prefix is whatever the client sent: evidence, never proof.
    """

    def __init__(self) -> None:
        self._before: str | None = None

    def learn(self, content: bytes) -> None:
        """Find out where the SQLSTATE stands, if these lines tell it."""
        if self._before is not None or NO_ERROR.encode() not in content:
            return
        found = _SUCCESS.search(content)
        if found is None:
            return
        before = _BEFORE.search(found["before"].decode("utf-8", "replace"))
        sign = "" if before is None else before[0]
        # Blanks alone stand before a process as well.
        if sign.strip() or not found["before"]:
            self._before = sign

    def fields(self, prefix: str) -> dict[str, str]:
        """What this line's prefix says, by the names that prefixes give to it."""
        found: dict[str, str] = {}
        stamp, pid = _STAMP.search(prefix), _PID.search(prefix)
        if stamp is not None:
            found["stamp"] = stamp[0]
        if pid is not None:
            found["pid"] = pid[1]
        state = self._state(prefix)
        if state:
            found["sqlstate"] = state
        return found | _whose(prefix)

    def _state(self, prefix: str) -> str:
        if self._before is None:
            lettered = [code for code in _CODE.findall(prefix) if code in _LETTERED]
            return lettered[0] if len(lettered) == 1 else ""
        for code in _CODE.finditer(prefix):
            if prefix[: code.start()].endswith(self._before) and (self._before or not code.start()):
                return code[0]
        return ""


def _whose(prefix: str) -> dict[str, str]:
    pair = _ROLE_AT_DATABASE.search(prefix)
    if pair is not None:
        found = {"user": pair["user"], "database": pair["database"]}
    else:
        told = ((name, pattern.search(prefix)) for name, pattern in _NAMED)
        found = {name: match["name"].strip() for name, match in told if match is not None}
    return {name: text for name, text in found.items() if text}
