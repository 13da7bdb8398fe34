"""Data and programs that do not belong together: another version, an upgrade not finished."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC
from stanch.diagnose.causes.ids import (
    CANNOT_START,
    STOPPED_CLEANLY,
    UPGRADE_FAILED,
    VERSION_MISMATCH,
)
from stanch.diagnose.causes.startup import (
    FORBIDS,
    NEVER_AGAIN,
    NEVER_INITDB,
    NEVER_RESETWAL_UNSAVED,
    given_up_facts,
    kept_down,
    saying,
)
from stanch.diagnose.clues import startup
from stanch.diagnose.clues.startup import Reason
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind


def _tell_version(evidence: Evidence) -> str:
    version = startup.version_of(evidence)
    made = f" (made with PostgreSQL {version})" if version else ""
    return f"The server's programs do not fit its data{made}{saying(evidence, Reason.VERSION)}."


def _tell_upgrade(evidence: Evidence) -> str:
    files = value_of(evidence.files)
    if files is None:
        return "An upgrade with pg_upgrade was not finished."
    if files.control_set_aside and not files.control_file:
        return (
            "pg_upgrade set this cluster's control file aside (global/pg_control.old): its files "
            "belong to the new cluster, or were about to."
        )
    return startup.upgrade_left.ask(evidence).text[:1].upper() + (
        f"{startup.upgrade_left.ask(evidence).text[1:]}: the upgrade failed or is not over."
    )


version_mismatch = Cause(
    id=VERSION_MISMATCH,
    section=Section.PROCESS,
    sentence="The data directory was made by another version of PostgreSQL than the programs that "
    "are started on it: an image tag that moved, a package that replaced the old one.",
    onset=Onset.AT_START,
    impact="At once: the server does not start; the data is untouched.",
    family="down",
    prior=-3.0,
    weighs=(
        *kept_down(),
        Weigh(clue=startup.for_version, yes=10.0, no=-7.0),
    ),
    shown_by=((startup.for_version, True),),
    tell=_tell_version,
    facts=lambda e: given_up_facts(e, Reason.VERSION),
    apart={
        CANNOT_START: "Does the log say that database files are incompatible with the server?",
        UPGRADE_FAILED: "Was pg_upgrade run (pg_upgrade_output.d, global/pg_control.old), or were "
        "only the programs replaced?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(ItemKind.IMAGE, ItemKind.ROLLOUT, ItemKind.SERVER),
    safe_first="Start the programs of the version that PG_VERSION in the data directory names; "
    "upgrade later, with pg_upgrade or a dump.",
    never=(
        NEVER_INITDB,
        NEVER_RESETWAL_UNSAVED,
        "Do not edit PG_VERSION: the files keep the old form.",
        NEVER_AGAIN,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}upgrading.html",
)

upgrade_failed = Cause(
    id=UPGRADE_FAILED,
    section=Section.PROCESS,
    sentence="pg_upgrade was not finished, or its old cluster is being started: which of the two "
    "clusters has the data decides everything.",
    onset=Onset.AT_START,
    impact="At once: neither cluster serves; a start of the wrong one destroys data.",
    family="down",
    prior=-3.0,
    weighs=(
        *kept_down(),
        Weigh(clue=startup.upgrade_left, yes=8.0, no=-1.0, now=True),
        Weigh(clue=startup.control_set_aside, yes=9.0, no=-1.0, now=True),
    ),
    shown_by=((startup.upgrade_left, True), (startup.control_set_aside, True)),
    tell=_tell_upgrade,
    facts=lambda e: (
        *given_up_facts(e, Reason.CONTROL),
        ("control_set_aside", bool(startup.control_set_aside.ask(e).yes)),
    ),
    apart={
        CANNOT_START: "Are there pg_upgrade_output.d or global/pg_control.old in the data "
        "directory?",
        STOPPED_CLEANLY: "Was the server stopped for an upgrade (pg_upgrade_output.d in either "
        "data directory)?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Start neither cluster. Read the logs in pg_upgrade_output.d; with --link or --swap "
    "go back by a restore once the new cluster has been started, else by renaming pg_control.old.",
    never=(
        "Do not start the old cluster once the new one has run with --link or --swap: both write "
        "to the same files.",
        "Do not run pg_upgrade again before the new data directory was made anew.",
        "Do not run delete_old_cluster.sh before the new cluster was proven.",
        NEVER_RESETWAL_UNSAVED,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}pgupgrade.html",
)
