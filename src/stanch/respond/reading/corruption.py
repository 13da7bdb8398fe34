"""Log lines that speak of damaged files: a start would overwrite what they are evidence of."""

from __future__ import annotations

import re

from stanch.facts.log_class import LogClass
from stanch.facts.log_classes import classify
from stanch.facts.log_prefix import AUTO

DAMAGE = frozenset(
    {
        LogClass.INVALID_PAGE,
        LogClass.TOAST_DAMAGED,
        LogClass.INDEX_DAMAGED,
        LogClass.PANIC_FSYNC,
        LogClass.NO_CHECKPOINT,
    }
)

_SEVERITIES = frozenset({"WARNING", "ERROR", "FATAL", "PANIC", "LOG"})

_WORDS = re.compile(
    r"^could not read blocks? \d+|^could not locate a valid checkpoint record"
    r"|^invalid (primary )?checkpoint record|^unexpected data beyond EOF"
    r"|^incorrect (resource manager data )?checksum in (file|record)"
    r"|^xlog flush request .* is not satisfied|^missing chunk number \d+ for toast value"
    r"|^(right|left) sibling's .* corrupt|^could not access status of transaction"
)

LINES_MAX = 5


def corruption_signs(log: bytes) -> tuple[str, ...]:
    """The newest lines that speak of damage, newest first, at most five.

    Anybody may make a server log such words through a statement; that only leads to a refusal.
    """
    found: list[str] = []
    for line in reversed(log.decode("utf-8", "replace").splitlines()):
        if _speaks_of_damage(line):
            found.append(line.strip()[:400])
        if len(found) >= LINES_MAX:
            break
    return tuple(found)


def _speaks_of_damage(line: str) -> bool:
    match = AUTO.match(line)
    if match is None or match["severity"] not in _SEVERITIES:
        return False
    message = match["message"]
    if _WORDS.match(message):
        return True
    return classify(match["severity"], None, message).log_class in DAMAGE
