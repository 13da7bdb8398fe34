"""Why logins are turned away: the server's words to the watch, and what its log says of others.

A client is told as little as possible: a wrong password, one that has expired, and a role that does
not exist read the same on the wire (28P01). Which it was stands in the DETAIL of the server's log.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.clues.refusals import (
    first_of,
    lately,
    lines_lately,
    period,
    role_turned_away,
    roles_in,
    roles_refused,
    whom,
)
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import Log
from stanch.model.reach import Reach, ReachState
from stanch.model.shown import span

REFUSED_MIN: Final = 3
"""Fewer are one person who tries."""
WRONG_MIN: Final = 10
"""Of wrong passwords: people mistype more often than roles expire."""
FAILED_MANY: Final = 20
ROLES_MANY: Final = 4
UNKNOWN_SHARE: Final = 0.5
RELOAD_BEFORE: Final = timedelta(minutes=10)

HBA: Final = "hba_rejected"
EXPIRED: Final = "password_expired"
WRONG: Final = "auth_failed"
UNKNOWN: Final = "role_unknown"
NOT_PERMITTED: Final = "login_not_permitted"
REFUSALS: Final = (HBA, EXPIRED, WRONG, UNKNOWN, NOT_PERMITTED)


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
        return False, f"no {what} in the log of {period(evidence)}"
    roles, own = roles_in(events), role_turned_away(evidence)
    ours = _is_turned_away(evidence) and (not own or not roles or own in roles)
    said = f"{lines} {what} of {whom(roles)} in {period(evidence)}"
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
    said = f"{lines} logins of {len(roles)} roles failed in {period(evidence)}"
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
