"""Why logins are turned away: the server's words to the watch, and what its log says of others.

A client is told as little as possible: a wrong password, one that has expired, and a role that does
not exist read the same on the wire (28P01). Which it was stands in the DETAIL of the server's log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.reach import Reach, ReachState
from stanch.model.shown import shortened, span

LATELY_S: Final = 900.0
REFUSED_MIN: Final = 3
"""Fewer are one person who tries."""
WRONG_MIN: Final = 10
"""Of wrong passwords: people mistype more often than roles expire."""
FAILED_MANY: Final = 20
ROLES_MANY: Final = 4
NAME_CHARS_MAX: Final = 63
UNKNOWN_SHARE: Final = 0.5
RELOAD_BEFORE: Final = timedelta(minutes=10)

HBA: Final = "hba_rejected"
EXPIRED: Final = "password_expired"
WRONG: Final = "auth_failed"
UNKNOWN: Final = "role_unknown"
NOT_PERMITTED: Final = "login_not_permitted"
REFUSALS: Final = (HBA, EXPIRED, WRONG, UNKNOWN, NOT_PERMITTED)

_ROLE: Final = re.compile(r'\b(?:user|role) "([^"\n]{1,63})"')


# --- the log ------------------------------------------------------------------------------------


def is_lately(evidence: Evidence, at: datetime | None) -> bool:
    """A line without a time counts: it stands at the end of the log."""
    return at is None or (evidence.at - at).total_seconds() <= LATELY_S


def lately(evidence: Evidence, *kinds: str) -> tuple[LogEvent, ...]:
    """Events of these classes in the last quarter of an hour, oldest first."""
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


def _is_turned_away(evidence: Evidence) -> bool:
    reach = value_of(evidence.reach)
    return reach is not None and reach.state is ReachState.AUTH_FAILED


def _logged(
    log: Log, evidence: Evidence, kinds: tuple[str, ...], *, what: str, lines_min: int
) -> YES_NO:
    """Enough such lines; one is enough where it can be about the watch, which is turned away."""
    if not log.records_read:
        return f"nothing of use in {log.path}"
    events, lines = lately(evidence, *kinds), lines_lately(evidence, *kinds)
    if not events:
        return False, f"no {what} in the log of the last {span(LATELY_S)}"
    roles, own = roles_in(events), role_turned_away(evidence)
    ours = _is_turned_away(evidence) and (not own or not roles or own in roles)
    said = f"{lines} {what} of {whom(roles)} in the last {span(LATELY_S)}"
    return ours or lines >= lines_min, said, events[-1].at


# --- the server's own words ---------------------------------------------------------------------


def _says(seen: Reach, words: tuple[str, ...]) -> YES_NO:
    layer = seen.failed_layer
    if seen.state is not ReachState.AUTH_FAILED or layer is None:
        return False, f"the watch's own login ends as {seen.state}"
    return any(word in layer.detail for word in words), f"the server says: {layer.detail}"


hba_said = clue_on(
    "hba_said",
    "Does the server tell the watch that pg_hba.conf does not let it in?",
    lambda e: e.reach,
    # In every language its messages name the file.
    lambda seen, _e: _says(seen, ("pg_hba.conf",)),
)
not_permitted_said = clue_on(
    "not_permitted_said",
    "Does the server tell the watch that its role is gone or may not log in (28000)?",
    lambda e: e.reach,
    lambda seen, _e: _says(seen, ("is not permitted to log in", '28000: role "')),
)
password_said = clue_on(
    "password_said",
    "Does the server tell the watch that its password is refused (28P01)?",
    lambda e: e.reach,
    lambda seen, _e: _says(seen, ("28P01",)),
)


# --- what the log says of it --------------------------------------------------------------------


def _reloaded_before(log: Log, evidence: Evidence) -> YES_NO:
    first = first_of(evidence, HBA)
    if first is None:
        return ""
    reloads = [e.at for e in log.events if e.kind == "reloaded" and e.at is not None]
    before = [at for at in reloads if at <= first <= at + RELOAD_BEFORE]
    if not before:
        return False, "the settings files were not reloaded shortly before"
    return (
        True,
        "the first such login came right after the settings files were reloaded",
        before[-1],
    )


def _many_roles(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    lines = lines_lately(evidence, *REFUSALS)
    roles = roles_in(lately(evidence, *REFUSALS))
    said = f"{lines} logins of {len(roles)} roles failed in the last {span(LATELY_S)}"
    return lines >= FAILED_MANY and len(roles) >= ROLES_MANY, said


def _roles_unknown(log: Log, evidence: Evidence) -> YES_NO:
    lines = lines_lately(evidence, *REFUSALS)
    if not log.records_read or not lines:
        return ""
    unknown = lines_lately(evidence, UNKNOWN)
    said = f"{unknown} of {lines} failed logins are of roles that do not exist"
    return unknown >= UNKNOWN_SHARE * lines, said


def _expired(figures: Figures, evidence: Evidence) -> YES_NO:
    roles = roles_refused(evidence, EXPIRED, WRONG)
    if not roles:
        return ""
    for found in figures.named("role_expired"):
        if found.subject in roles and found.value is not None:
            return True, f'the password of role "{found.subject}" expired {span(found.value)} ago'
    return False, f"no password of {whom(roles)} has expired"


hba_logged = clue_on(
    "hba_logged",
    "Does the log show several logins that pg_hba.conf does not let in (28000)?",
    lambda e: e.log,
    lambda log, e: _logged(
        log, e, (HBA,), what="logins refused by pg_hba.conf", lines_min=REFUSED_MIN
    ),
)
hba_reloaded = clue_on(
    "hba_reloaded",
    "Did the first of them come right after a reload?",
    lambda e: e.log,
    _reloaded_before,
)
expiry_logged = clue_on(
    "expiry_logged",
    "Does the log say of refused logins that the password has expired?",
    lambda e: e.log,
    lambda log, e: _logged(
        log, e, (EXPIRED,), what="logins with an expired password", lines_min=REFUSED_MIN
    ),
)
role_has_expired = clue_on(
    "role_has_expired",
    "Has the password of a role that is refused expired (pg_roles.rolvaliduntil)?",
    lambda e: e.figures,
    _expired,
    reads=("role_expired",),
)
not_permitted_logged = clue_on(
    "not_permitted_logged",
    "Does the log show several logins of roles that are gone or may not log in?",
    lambda e: e.log,
    lambda log, e: _logged(
        log,
        e,
        (NOT_PERMITTED, UNKNOWN),
        what="logins without a role that may log in",
        lines_min=REFUSED_MIN,
    ),
)
wrong_logged = clue_on(
    "wrong_logged",
    "Does the log show logins with a wrong password, again and again?",
    lambda e: e.log,
    lambda log, e: _logged(
        log, e, (WRONG,), what="logins with a wrong password", lines_min=WRONG_MIN
    ),
)
many_roles = clue_on(
    "many_roles",
    "Do many logins of many different roles fail?",
    lambda e: e.log,
    _many_roles,
)
roles_unknown = clue_on(
    "roles_unknown",
    "Are most of them of roles that do not exist?",
    lambda e: e.log,
    _roles_unknown,
)


def _role_changed(evidence: Evidence) -> Answer:
    changes = value_of(evidence.changes)
    roles = roles_refused(evidence, *REFUSALS)
    if changes is None or not roles:
        return Answer(yes=None, text="what was changed is not known" if changes is None else "")
    for change in changes.changes:
        if change.kind == "role" and change.what in roles:
            text = f'role "{change.what}" was changed: {change.told}'
            return Answer(yes=True, text=text[:300], at=change.at)
    return Answer(yes=False, text=f"no change of {whom(roles)} was seen")


role_changed = Clue(
    id="role_changed",
    question="Was a role that is refused changed lately?",
    ask=_role_changed,
)


def _reason_told(evidence: Evidence) -> Answer:
    """Only of the watch's own login: it is the one that the general cause is about."""
    if not _is_turned_away(evidence):
        return Answer(yes=None, text="")
    finer = (hba_said, not_permitted_said, connect_revoked, hba_logged, expiry_logged)
    for clue in (*finer, not_permitted_logged, wrong_logged):
        answer = clue.ask(evidence)
        if answer.yes:
            return Answer(yes=True, text=f"it is told which: {answer.text}", at=answer.at)
    return Answer(yes=False, text="neither the server's words nor its log tell more")


connect_revoked = clue_on(
    "connect_revoked",
    "Does the server tell the watch that it may not connect to this database (42501)?",
    lambda e: e.reach,
    lambda seen, _e: _says(seen, ("42501",)),
)
reason_told = Clue(
    id="reason_told",
    question="Is it told why the role is turned away?",
    ask=_reason_told,
)
