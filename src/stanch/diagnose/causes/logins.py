"""Why a role is not let in, where the server's words or its log tell it."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CREDENTIALS_REFUSED,
    HBA_REFUSED,
    LOGIN_ATTACK,
    LOGIN_NOT_PERMITTED,
    PASSWORD_EXPIRED,
    PASSWORD_WRONG,
)
from stanch.diagnose.clues import logins
from stanch.diagnose.clues.refusals import first_of, lines_lately, period, roles_refused, whom
from stanch.diagnose.clues.turned_away import (
    Refusal,
    by_hba,
    by_password,
    standby_hba,
    standby_password,
    told,
)
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

NEVER_TRUST = "Do not open pg_hba.conf to everybody (trust) to get back in."
NEVER_RESTART = "Do not restart the server: it runs, and a reload is enough for pg_hba.conf."
NEVER_MAKE_ANEW = (
    "Do not drop the role and make it anew: what it owns and what it was granted goes with it."
)
SYMPTOMS = (SymptomKind.UNWATCHED, SymptomKind.LOGIN_FAILURES)
STANDBYS_TOO = (*SYMPTOMS, SymptomKind.STANDBY_GONE)
FORBIDS = ("start_server", "set_aside_lock_file")


def _of_standby(evidence: Evidence, *kinds: str) -> Refusal | None:
    """The standby that is turned away for it, where one is."""
    if logins.HBA in kinds:
        return by_hba(evidence)
    return by_password(evidence) if logins.WRONG in kinds else None


def _roles(evidence: Evidence, *kinds: str) -> tuple[str, ...]:
    standby = _of_standby(evidence, *kinds)
    if standby is not None and standby.role:
        return (standby.role,)
    return roles_refused(evidence, *kinds)


def _since(evidence: Evidence, *kinds: str) -> datetime | None:
    standby = _of_standby(evidence, *kinds)
    return first_of(evidence, *kinds) if standby is None else standby.since


def _subject(evidence: Evidence, *kinds: str) -> str:
    roles = _roles(evidence, *kinds)
    return f"role {roles[0]}" if len(roles) == 1 else ""


def _facts(evidence: Evidence, *kinds: str) -> Facts:
    roles = _roles(evidence, *kinds)
    return (
        *server_facts(evidence),
        ("role", roles[0] if roles else None),
        ("roles", len(roles)),
        ("refused_logins", lines_lately(evidence, *kinds)),
    )


def _times(evidence: Evidence, *kinds: str) -> str:
    """How often, as the end of a sentence."""
    lines = lines_lately(evidence, *kinds)
    if not lines:
        return "."
    return f": {lines} such login{'s' if lines > 1 else ''} in {period(evidence)}."


def _tell_hba(evidence: Evidence) -> str:
    standby = by_hba(evidence)
    if standby is not None:
        return f"{told(standby)} by pg_hba.conf of its primary, and gets no WAL: {standby.text}"
    who = whom(roles_refused(evidence, logins.HBA))
    return f"pg_hba.conf does not let {who} in{_times(evidence, logins.HBA)}"


def _tell_expired(evidence: Evidence) -> str:
    roles = roles_refused(evidence, logins.EXPIRED)
    figures = value_of(evidence.figures)
    since = next(
        (
            f" {span(found.value)} ago"
            for found in (figures.named("role_expired") if figures else ())
            if found.subject in roles and found.value is not None
        ),
        "",
    )
    return f"The password of {whom(roles)} expired{since}{_times(evidence, logins.EXPIRED)}"


def _tell_not_permitted(evidence: Evidence) -> str:
    kinds = (logins.NOT_PERMITTED, logins.UNKNOWN)
    who = whom(roles_refused(evidence, *kinds))
    return f"{who[0].upper()}{who[1:]} is gone or may not log in{_times(evidence, *kinds)}"


def _tell_wrong(evidence: Evidence) -> str:
    standby = by_password(evidence)
    if standby is not None:
        return f"{told(standby)} for a wrong password, and gets no WAL: {standby.text}"
    who = whom(roles_refused(evidence, logins.WRONG))
    return f"Logins of {who} come with a wrong password{_times(evidence, logins.WRONG)}"


hba_refused = Cause(
    id=HBA_REFUSED,
    section=Section.ACCESS,
    sentence="No line of pg_hba.conf lets these logins in: a line was changed or removed, or the "
    "client comes from another address or without TLS.",
    onset=Onset.AT_START,
    impact="At once for every new login that the lines do not fit; open sessions go on.",
    family="access",
    prior=-3.0,
    weighs=(
        Weigh(clue=logins.hba_said, yes=7.0, no=0.0, now=True),
        Weigh(clue=logins.hba_logged, yes=2.5, no=-1.5),
        Weigh(clue=logins.hba_reloaded, yes=2.0, no=-0.5),
        Weigh(clue=standby_hba, yes=7.0, no=0.0, now=True),
        # The Internet tries every door; a file that locks applications out names their roles.
        Weigh(clue=logins.many_roles, yes=-4.0, no=0.5),
    ),
    shown_by=((logins.hba_said, True), (logins.hba_logged, True), (standby_hba, True)),
    tell=_tell_hba,
    facts=lambda e: _facts(e, logins.HBA),
    subject=lambda e: _subject(e, logins.HBA),
    began=lambda e: _since(e, logins.HBA),
    apart={
        CREDENTIALS_REFUSED: "Does the refusal name pg_hba.conf (28000), or the password (28P01)?",
        PASSWORD_WRONG: "Does the refusal name pg_hba.conf (28000), or the password (28P01)?",
        LOGIN_ATTACK: "Are the refused logins of roles that exist, from addresses of your own?",
    },
    symptoms=STANDBYS_TOO,
    brings_about=(CREDENTIALS_REFUSED,),
    safe_first="Compare pg_hba.conf with its last good copy (the socket on the machine most often "
    "still lets you in), put that copy back and reload.",
    never=(NEVER_TRUST, NEVER_RESTART),
    follows_change=(ItemKind.SETTING, ItemKind.ROLE, ItemKind.DEPLOY, ItemKind.ROLLOUT),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}auth-pg-hba-conf.html",
)

password_expired = Cause(
    id=PASSWORD_EXPIRED,
    section=Section.ACCESS,
    sentence="The password of a role was given an end (VALID UNTIL), and that has passed.",
    onset=Onset.AT_ONCE,
    impact="At once for every new login of that role with a password; open sessions go on.",
    family="access",
    prior=-3.0,
    weighs=(
        Weigh(clue=logins.expiry_logged, yes=6.0, no=-2.5),
        Weigh(clue=logins.role_has_expired, yes=3.5, no=-3.0, now=True),
        Weigh(clue=logins.not_permitted_said, yes=-4.0, no=0.0, now=True),
    ),
    shown_by=((logins.expiry_logged, True),),
    tell=_tell_expired,
    facts=lambda e: _facts(e, logins.EXPIRED),
    subject=lambda e: _subject(e, logins.EXPIRED),
    began=lambda e: first_of(e, logins.EXPIRED),
    apart={
        CREDENTIALS_REFUSED: "Does the log say under the refusal that the password has expired, "
        "and is rolvaliduntil in pg_roles in the past?",
        PASSWORD_WRONG: "Is rolvaliduntil of the role in pg_roles in the past?",
    },
    symptoms=SYMPTOMS,
    brings_about=(CREDENTIALS_REFUSED,),
    safe_first="Ask whether the role is still meant to be used; if so set a new end with "
    "ALTER ROLE ... VALID UNTIL, and change the password where the rules ask for it.",
    never=(NEVER_MAKE_ANEW, NEVER_TRUST, NEVER_RESTART),
    follows_change=(ItemKind.ROLE,),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}sql-createrole.html",
)

login_not_permitted = Cause(
    id=LOGIN_NOT_PERMITTED,
    section=Section.ACCESS,
    sentence="The role that logs in was dropped or renamed, or lost its right to log in (NOLOGIN).",
    onset=Onset.AT_ONCE,
    impact="At once for every new login of that role; open sessions go on.",
    family="access",
    prior=-3.0,
    weighs=(
        Weigh(clue=logins.not_permitted_said, yes=6.0, no=0.0, now=True),
        Weigh(clue=logins.not_permitted_logged, yes=5.0, no=-1.5),
        Weigh(clue=logins.role_changed, yes=1.0, no=0.0),
        Weigh(clue=logins.many_roles, yes=-4.0, no=0.0),
    ),
    shown_by=((logins.not_permitted_said, True), (logins.not_permitted_logged, True)),
    tell=_tell_not_permitted,
    facts=lambda e: _facts(e, logins.NOT_PERMITTED, logins.UNKNOWN),
    subject=lambda e: _subject(e, logins.NOT_PERMITTED, logins.UNKNOWN),
    began=lambda e: first_of(e, logins.NOT_PERMITTED, logins.UNKNOWN),
    apart={
        CREDENTIALS_REFUSED: "Is the role in pg_roles, with rolcanlogin true?",
        PASSWORD_WRONG: "Is the role in pg_roles, with rolcanlogin true?",
        LOGIN_ATTACK: "Is it one role that an application uses, or many that never were there?",
    },
    symptoms=SYMPTOMS,
    brings_about=(CREDENTIALS_REFUSED,),
    safe_first="Look for the role in pg_roles and for who changed it; give LOGIN back with "
    "ALTER ROLE, or point the application to the role that is meant.",
    never=(
        "Do not make a dropped role anew as superuser: give it back what it had, and no more.",
        NEVER_TRUST,
        NEVER_RESTART,
    ),
    follows_change=(ItemKind.ROLE,),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}role-attributes.html",
)

password_wrong = Cause(
    id=PASSWORD_WRONG,
    section=Section.ACCESS,
    sentence="An application logs in with a password that the server does not take: one side was "
    "changed and the other was not.",
    onset=Onset.AT_ONCE,
    impact="At once for every new login with that password; open sessions go on.",
    family="access",
    prior=-3.0,
    weighs=(
        Weigh(clue=logins.wrong_logged, yes=4.5, no=-2.0),
        Weigh(clue=standby_password, yes=7.5, no=0.0, now=True),
        Weigh(clue=logins.password_said, yes=1.5, no=0.0, now=True),
        Weigh(clue=logins.role_changed, yes=1.0, no=0.0),
        Weigh(clue=logins.expiry_logged, yes=-4.0, no=0.0),
        Weigh(clue=logins.role_has_expired, yes=-3.0, no=0.5, now=True),
        Weigh(clue=logins.not_permitted_logged, yes=-3.0, no=0.0),
        Weigh(clue=logins.many_roles, yes=-4.0, no=0.0),
    ),
    shown_by=((logins.wrong_logged, True), (standby_password, True)),
    tell=_tell_wrong,
    facts=lambda e: _facts(e, logins.WRONG),
    subject=lambda e: _subject(e, logins.WRONG),
    began=lambda e: _since(e, logins.WRONG),
    apart={
        CREDENTIALS_REFUSED: "What does the log say in the DETAIL under the refusal?",
        LOGIN_ATTACK: "Do the failed logins come from the application's own addresses?",
    },
    symptoms=STANDBYS_TOO,
    brings_about=(CREDENTIALS_REFUSED,),
    safe_first="Find out which side changed (a rotated secret, ALTER ROLE ... PASSWORD) and bring "
    "the other in line; until then stop the application's retries.",
    never=(
        "Do not set the password back to one that may have leaked, not even for a while.",
        NEVER_MAKE_ANEW,
        NEVER_TRUST,
        NEVER_RESTART,
    ),
    follows_change=(ItemKind.ROLE, ItemKind.DEPLOY, ItemKind.ROLLOUT),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}auth-password.html",
)
