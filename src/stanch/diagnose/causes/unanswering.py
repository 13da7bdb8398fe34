"""A server that runs and is of no use: suspended, turning this role away, or not the right one."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CONNECTIONS_LEAKED,
    CONNECTIONS_LOAD,
    CREDENTIALS_REFUSED,
    NETWORK_UNREACHABLE,
    OTHER_CLUSTER,
    POSTMASTER_STOPPED,
    STANDBY_WITHOUT_SESSIONS,
)
from stanch.diagnose.clues import lock, logins, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind


def _tell_suspended(evidence: Evidence) -> str:
    processes = value_of(evidence.processes)
    if processes is None or processes.postmaster_pid is None:
        return "The server process is suspended: nobody new is let in."
    by = "held by a debugger or tracer" if processes.postmaster_traced else "suspended (SIGSTOP)"
    return (
        f"The server process {processes.postmaster_pid} is {by}: sessions that are open live on, "
        "nobody new is answered."
    )


def _suspended_facts(evidence: Evidence) -> Facts:
    processes = value_of(evidence.processes)
    return (
        *server_facts(evidence),
        ("postmaster_pid", processes.postmaster_pid if processes else None),
        ("traced", processes.postmaster_traced if processes else None),
    )


def _tell_refused(evidence: Evidence) -> str:
    reach = value_of(evidence.reach)
    layer = reach.failed_layer if reach else None
    said = f": {layer.detail}" if layer and layer.detail else "."
    return f"The server runs, but does not let the watch's role in{said}"


def _tell_other(evidence: Evidence) -> str:
    return (
        "Another database cluster answers: its system identifier is "
        f"{wire.cluster_answering(evidence)}, and that of the one that is meant is "
        f"{wire.cluster_expected(evidence)}."
    )


def _other_facts(evidence: Evidence) -> Facts:
    return (
        *server_facts(evidence),
        ("cluster_expected", wire.cluster_expected(evidence)),
        ("cluster_answering", wire.cluster_answering(evidence)),
    )


postmaster_stopped = Cause(
    id=POSTMASTER_STOPPED,
    section=Section.PROCESS,
    sentence="The postmaster is suspended: connections are taken by the kernel and answered by "
    "nobody, while sessions that are open go on working.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever connects; open sessions go on.",
    family="down",
    prior=-2.5,
    weighs=(
        Weigh(clue=lock.postmaster_suspended, yes=7.0, no=-7.0, now=True),
        Weigh(clue=wire.unanswered, yes=2.0, no=-2.5, now=True),
        Weigh(clue=wire.answers, yes=-6.0, no=0.0, now=True),
    ),
    tell=_tell_suspended,
    facts=_suspended_facts,
    apart={
        NETWORK_UNREACHABLE: "On the machine itself: does ps show the postmaster in state T?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Find out who suspended it and why (a debugger, a snapshot or backup script, "
    "somebody's kill -STOP); once that is over, a person lets it go on with kill -CONT.",
    never=(
        "Do not end it with SIGKILL: every open session would be lost, and it only waits.",
        "Do not start a second server on this data directory.",
        "Do not promote a standby: sessions that are open still commit here.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}server-shutdown.html",
)

credentials_refused = Cause(
    id=CREDENTIALS_REFUSED,
    section=Section.ACCESS,
    sentence="The server turns the role away that was to log in: a password that was changed or "
    "has expired, a rule in pg_hba.conf, a role that is gone or may not log in.",
    onset=Onset.AT_ONCE,
    impact="At once for every new login of that role; open sessions go on.",
    family="access",
    prior=-2.0,
    weighs=(
        Weigh(clue=wire.not_let_in, yes=6.5, no=-7.0, now=True),
        # What is told has a cause of its own.
        Weigh(clue=logins.reason_told, yes=-6.0, no=0.0, now=True),
    ),
    tell=_tell_refused,
    facts=server_facts,
    apart={
        CONNECTIONS_LEAKED: "Which SQLSTATE does the refusal carry: 28P01 or 28000 (who you "
        "are), or 53300 (no room)?",
        CONNECTIONS_LOAD: "Which SQLSTATE does the refusal carry: 28P01 or 28000 (who you "
        "are), or 53300 (no room)?",
    },
    symptoms=(SymptomKind.UNWATCHED,),
    follows_change=(
        ItemKind.ROLE,
        ItemKind.SETTING,
    ),
    safe_first="Log in as another role to see whether it is this role or everybody; then compare "
    "password, expiry (rolvaliduntil) and pg_hba.conf with what was changed last.",
    never=(
        "Do not open pg_hba.conf to everybody (trust) to get back in.",
        "Do not restart the server: it runs, and a reload is enough for pg_hba.conf.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}client-authentication-problems.html",
)

other_cluster = Cause(
    id=OTHER_CLUSTER,
    section=Section.PROCESS,
    sentence="Another database cluster answers at the address of the one that is watched: a server "
    "started on the same port, a name that leads elsewhere, or data that was made anew.",
    onset=Onset.AT_ONCE,
    impact="At once: what is written goes to another database than before.",
    family="access",
    prior=-3.0,
    weighs=(Weigh(clue=wire.other_cluster, yes=9.0, no=-9.0, now=True),),
    tell=_tell_other,
    facts=_other_facts,
    apart={
        CREDENTIALS_REFUSED: "Which system_identifier does pg_control_system() give, once "
        "somebody is let in?",
    },
    symptoms=(SymptomKind.OTHER_CLUSTER,),
    safe_first="Find out which server has the address now, and whether the data behind it is meant "
    "to be there; until then keep the application from writing to it.",
    never=(
        "Do not start the watched server beside it: both would want the same port.",
        "Do not remove the data directory of the watched cluster: its data is only there.",
    ),
    forbids=("start_server", "set_aside_lock_file", "end_idle_sessions", "end_blocking_session"),
    runbook="",
    source=f"{DOC}functions-info.html#FUNCTIONS-INFO-CONTROLDATA",
)

standby_without_sessions = Cause(
    id=STANDBY_WITHOUT_SESSIONS,
    section=Section.REPLICATION,
    sentence="A standby with hot_standby = off: it replays WAL and takes no session, however long "
    "one waits.",
    onset=Onset.AT_START,
    impact="At once for whoever wants to read there.",
    family="down",
    prior=-3.0,
    weighs=(Weigh(clue=wire.no_hot_standby, yes=9.0, no=-9.0, now=True),),
    tell=lambda _evidence: (
        "The server is a standby with hot_standby switched off: it replays WAL "
        "and never takes a session."
    ),
    facts=server_facts,
    apart={
        POSTMASTER_STOPPED: "Is a fresh login refused (57P03), or is there no answer at all?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(ItemKind.SETTING,),
    safe_first="Ask whether it is meant to be read from: if so, set hot_standby = on and restart "
    "it; if not, take it out of the targets, because nothing can be read of it over SQL. Was it a "
    "primary, find out who made it a standby.",
    never=(
        "Do not promote it to get in: that makes a second primary.",
        "Do not remove standby.signal: it would start as a primary of its own.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}hot-standby.html",
)
