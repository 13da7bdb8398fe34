"""Signs of somebody who should not be there, and rights that went away."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import (
    CREDENTIALS_REFUSED,
    DANGEROUS_RIGHTS_GAINED,
    DATA_COPIED_OUT,
    LOGIN_ATTACK,
    RIGHTS_REVOKED,
    STANDBY_WRITTEN_TO,
)
from stanch.diagnose.causes.logins import FORBIDS
from stanch.diagnose.clues import copies, logins, security
from stanch.diagnose.clues.refusals import first_of, lately, lines_lately, period, roles_in
from stanch.diagnose.clues.security import (
    copying,
    gained,
    most_denied,
    newest_member,
    program_run,
    taken,
)
from stanch.diagnose.evidence import Evidence
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

NEVER_LOGS = "Do not rotate or remove logs: they are the evidence."


def _tell_attack(evidence: Evidence) -> str:
    lines = lines_lately(evidence, *logins.REFUSALS)
    roles = roles_in(lately(evidence, *logins.REFUSALS))
    unknown = lines_lately(evidence, logins.UNKNOWN)
    return (
        f"{lines} logins of {len(roles)} different roles failed in "
        f"{period(evidence)}, {unknown} of them of roles that do not exist: somebody tries."
    )


login_attack = Cause(
    id=LOGIN_ATTACK,
    section=Section.ACCESS,
    sentence="Somebody tries passwords: many logins of many roles fail.",
    onset=Onset.AT_ONCE,
    impact="When a password is guessed; before that it takes connections and fills the log.",
    family="attack",
    prior=-3.0,
    weighs=(
        Weigh(clue=logins.many_roles, yes=3.5, no=-4.0),
        Weigh(clue=logins.roles_unknown, yes=1.5, no=-1.5),
        # A server on the Internet sees some of it every day.
        Weigh(clue=security.failures_rose, yes=1.5, no=-1.5),
    ),
    shown_by=((logins.many_roles, True),),
    tell=_tell_attack,
    facts=lambda e: (
        ("server_running", True),
        ("failed_logins", lines_lately(e, *logins.REFUSALS)),
        ("roles", len(roles_in(lately(e, *logins.REFUSALS)))),
    ),
    began=lambda e: first_of(e, *logins.REFUSALS),
    apart={
        CREDENTIALS_REFUSED: "Are the refused roles those of your own applications?",
    },
    symptoms=(SymptomKind.LOGIN_FAILURES, SymptomKind.ADDRESSES_BANNED),
    safe_first="Find the addresses (log_connections, or the firewall) and block them there; look "
    "whether any login of theirs went through.",
    never=(
        "Do not block whole networks before you know that no application of yours is in them.",
        NEVER_LOGS,
    ),
    runbook="",
    source=f"{DOC}auth-pg-hba-conf.html",
)


def _tell_gained(evidence: Evidence) -> str:
    change, doing = gained(evidence), program_run(evidence)
    if change is not None:
        return (
            f'Role "{shortened(change.what, 80)}" was given rights over everything: '
            f"{shortened(change.told, 150)}."
        )
    if (member := newest_member(evidence)) is not None:
        return (
            f'Role "{shortened(member.subject, 80)}" was made a member of {member.detail} '
            f"{span(member.value or 0.0)} ago, by estimate."
        )
    if doing is not None and not security.dangerous_rose.ask(evidence).yes:
        return f'Role "{doing.usename}" runs a program of the server\'s machine through COPY.'
    return "More roles than before have rights over everything, or over files and programs."


def _gainer(evidence: Evidence) -> str:
    change, member = gained(evidence), newest_member(evidence)
    return change.what if change else member.subject if member else ""


def _gained_facts(evidence: Evidence) -> Facts:
    doing = program_run(evidence)
    return (
        ("server_running", True),
        ("role", _gainer(evidence) or None),
        ("program_pid", doing.oldest_pid if doing else None),
        ("program_role", doing.usename if doing else None),
    )


dangerous_rights_gained = Cause(
    id=DANGEROUS_RIGHTS_GAINED,
    section=Section.ACCESS,
    sentence="A role was made superuser, or may now write the server's files or run its programs.",
    onset=Onset.AT_ONCE,
    impact="Whenever whoever has that role uses it: it may do anything, and cover it up.",
    family="rights_gained",
    prior=-3.0,
    weighs=(
        Weigh(clue=security.dangerous_rose, yes=5.0, no=-1.5),
        Weigh(clue=security.rights_gained, yes=4.5, no=-0.5),
        # The catalog tells the age of a membership, not of a role's own rights.
        Weigh(clue=security.became_member, yes=4.5, no=0.0),
        Weigh(clue=security.program_runs, yes=2.0, no=0.0, now=True),
        Weigh(clue=security.after_attack, yes=1.0, no=0.0),
    ),
    shown_by=(
        (security.dangerous_rose, True),
        (security.rights_gained, True),
        (security.became_member, True),
    ),
    tell=_tell_gained,
    facts=_gained_facts,
    subject=lambda e: f"role {role}" if (role := _gainer(e)) else "",
    began=lambda e: change.at if (change := gained(e)) else None,
    apart={
        RIGHTS_REVOKED: "Were rights given or taken?",
        DATA_COPIED_OUT: "Were rights given, or rows copied with rights that were there?",
    },
    symptoms=(SymptomKind.NEW_DANGEROUS_ROLE,),
    hurts_later=lambda _e: True,
    safe_first="Ask whoever is named in the change whether it was them. If nobody knows: keep the "
    "logs and pg_roles as they are now, then take the rights back and change passwords.",
    never=(
        "Do not drop the role: what it owns and did is evidence.",
        "Do not restart the machine: what runs in memory would be lost.",
        NEVER_LOGS,
    ),
    runbook="",
    source=f"{DOC}predefined-roles.html",
)


def _tell_copied(evidence: Evidence) -> str:
    found, table = copying(evidence), copies.whole_table(evidence)
    if found is None:
        return "Rows are copied out of the server by somebody who does not do so usually."
    changed = security.copied_by_changed_role.ask(evidence).yes
    new = ", a role that is new or was changed lately" if changed else ""
    what = f"the whole of {shortened(table, 80)}" if table else "rows"
    return (
        f'Role "{shortened(found.subject, 63)}" copies {what} out of the server{new}: '
        f"{shortened(found.detail, 120)}."
    )


data_copied_out = Cause(
    id=DATA_COPIED_OUT,
    section=Section.ACCESS,
    sentence="Whole tables are copied out of the server by somebody who does not do so usually.",
    onset=Onset.AT_ONCE,
    impact="At once, and for good: what has left does not come back.",
    family="copied_out",
    prior=-3.5,
    weighs=(
        # Reports copy rows, too: it is whole tables, by hand, that are asked about.
        Weigh(clue=security.copying_out, yes=1.0, no=-4.0, now=True),
        Weigh(clue=security.copied_by_stranger, yes=1.0, no=-2.0, now=True),
        Weigh(clue=copies.copied_whole, yes=1.5, no=-1.0, now=True),
        Weigh(clue=copies.copied_by_hand, yes=1.0, no=-1.0, now=True),
        Weigh(clue=security.copied_by_changed_role, yes=3.0, no=0.0),
        Weigh(clue=security.after_attack, yes=2.0, no=0.0),
    ),
    shown_by=((security.copying_out, True),),
    tell=_tell_copied,
    facts=lambda e: (
        ("server_running", True),
        ("role", found.subject if (found := copying(e)) else None),
        ("client", found.detail if (found := copying(e)) else None),
        ("copied_bytes", round(found.value or 0.0) if (found := copying(e)) else None),
    ),
    subject=lambda e: f"role {found.subject}" if (found := copying(e)) else "",
    apart={
        LOGIN_ATTACK: "Has anybody got in, or do they only try?",
    },
    symptoms=(SymptomKind.NEW_DANGEROUS_ROLE, SymptomKind.LOGIN_FAILURES),
    safe_first="Ask whoever owns the role whether it is them. If not: note address, application "
    "and statement, end that session, take away the role's LOGIN, and call whoever is to be told.",
    never=(
        "Do not drop the role: what it owns and did is evidence.",
        NEVER_LOGS,
    ),
    runbook="",
    source=f"{DOC}progress-reporting.html#COPY-PROGRESS-REPORTING",
)


def _tell_revoked(evidence: Evidence) -> str:
    lines, who = lines_lately(evidence, security.DENIED), most_denied(evidence)
    change = taken(evidence)
    of = f" of {shortened(who, 100)}" if who else ""
    count = f"{lines} statements{of} were refused for want of rights" if lines else ""
    count = count or "The watch may not connect to its database any more"
    after = f", after {shortened(change.what, 60)}: {shortened(change.told, 100)}" if change else ""
    return f"{count}{after}."


rights_revoked = Cause(
    id=RIGHTS_REVOKED,
    section=Section.DATA,
    sentence="Rights were taken, or an owner was changed, and statements that worked are refused.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever lost the right.",
    family="rights_revoked",
    prior=-3.0,
    weighs=(
        Weigh(clue=security.denied_logged, yes=2.5, no=-2.0),
        Weigh(clue=security.denied_often, yes=1.5, no=0.0, now=True),
        Weigh(clue=security.denied_rose, yes=1.5, no=-1.0, now=True),
        Weigh(clue=security.rights_taken, yes=2.5, no=-0.5),
        Weigh(clue=logins.connect_revoked, yes=7.0, no=0.0, now=True),
    ),
    shown_by=((security.denied_logged, True), (logins.connect_revoked, True)),
    tell=_tell_revoked,
    facts=lambda e: (
        ("server_running", True),
        ("refused_statements", lines_lately(e, security.DENIED)),
        ("most_refused", most_denied(e) or None),
        ("changed", change.what if (change := taken(e)) else None),
    ),
    subject=most_denied,
    began=lambda e: first_of(e, security.DENIED),
    apart={
        STANDBY_WRITTEN_TO: "Which SQLSTATE do the statements end with: 42501 (rights) or 25006 "
        "(read-only)?",
        CREDENTIALS_REFUSED: "Does the refusal carry 42501 (rights), or 28P01 or 28000 (who you "
        "are)?",
    },
    symptoms=(SymptomKind.ERROR_RATE_HIGH, SymptomKind.LOG_ERRORS, SymptomKind.UNWATCHED),
    brings_about=(CREDENTIALS_REFUSED,),
    safe_first="Find the GRANT, REVOKE or change of owner in the log or the migration, and give "
    "back exactly what it took.",
    never=(
        "Do not make the role a superuser, and do not grant ALL, to be rid of the errors.",
        "Do not restart the server: rights are no matter of its state.",
    ),
    follows_change=(
        ItemKind.OBJECT,
        ItemKind.ROLE,
        ItemKind.RELATION,
        ItemKind.DATABASE,
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}ddl-priv.html",
)
