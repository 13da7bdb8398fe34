"""Lines of the log that tell of refusals: how many lately, since when, and of whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from stanch.diagnose.evidence import Evidence, is_lately, value_of
from stanch.diagnose.outside import LogEvent
from stanch.model.reach import ReachState
from stanch.model.shown import shortened, span

NAME_CHARS_MAX: Final = 63

_ROLE: Final = re.compile(r'\b(?:user|role) "([^"\n]{1,63})"')


def period(evidence: Evidence) -> str:
    """What is looked back over, in words."""
    return f"the last {span(evidence.lookback_s)}"


def lately(evidence: Evidence, *kinds: str) -> tuple[LogEvent, ...]:
    """Events of these classes within what is looked back over, oldest first."""
    log = value_of(evidence.log)
    if log is None:
        return ()
    return tuple(e for e in log.events if e.kind in kinds and is_lately(evidence, e.at))


def lines_lately(evidence: Evidence, *kinds: str) -> int:
    """How many lines; of a class that also has older ones, as many as were kept."""
    log, lines = value_of(evidence.log), 0
    for kind in kinds if log is not None else ():
        count = log.count(kind) if log is not None else None
        if count is None:
            continue
        whole = is_lately(evidence, count.first_at)
        lines += count.lines if whole else len(lately(evidence, kind))
    return lines


def first_of(evidence: Evidence, *kinds: str) -> datetime | None:
    """When the first of these lines was written, of those that are not long ago."""
    times = [e.at for e in lately(evidence, *kinds) if e.at is not None]
    log = value_of(evidence.log)
    for kind in kinds if log is not None and times else ():
        count = log.count(kind) if log is not None else None
        if count is not None and count.first_at is not None and is_lately(evidence, count.first_at):
            times.append(count.first_at)
    return min(times, default=None)


def roles_in(events: Iterable[LogEvent]) -> tuple[str, ...]:
    """Roles that the lines name, in the order of their names."""
    return tuple(sorted({role for event in events if (role := _role_of(event))}))


def _role_of(event: LogEvent) -> str:
    found = _ROLE.search(event.text)
    return found[1] if found is not None else shortened(event.who.partition("@")[0], NAME_CHARS_MAX)


def role_turned_away(evidence: Evidence) -> str:
    """The watch's own role, where the server refused it and said its name; else empty."""
    reach = value_of(evidence.reach)
    layer = reach.failed_layer if reach is not None else None
    if reach is None or reach.state is not ReachState.AUTH_FAILED or layer is None:
        return ""
    found = _ROLE.search(layer.detail)
    return found[1] if found is not None else ""


def roles_refused(evidence: Evidence, *kinds: str) -> tuple[str, ...]:
    """Whom these lines are about; the watch's own role where it was refused, too."""
    own = role_turned_away(evidence)
    return tuple(sorted({*roles_in(lately(evidence, *kinds)), *((own,) if own else ())}))


def whom(roles: tuple[str, ...]) -> str:
    """`role "app"`, `3 roles ("a", "b", …)`; shortened, for a sentence."""
    if not roles:
        return "a role"
    named = ", ".join(f'"{role}"' for role in roles[:2])
    if len(roles) == 1:
        return f"role {named}"
    return f"{len(roles)} roles ({named}{', …' if len(roles) > 2 else ''})"
