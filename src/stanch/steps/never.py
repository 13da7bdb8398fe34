"""What is never done, and what a standing diagnosis forbids.

The forbidden ones have no code path at all: this table exists so that documents, messages and
tests name the same list, and so that a runbook which asks for one of them is refused with the
safe equivalent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stanch.model.diagnosis import Diagnosis
from stanch.model.plans import Lift, Refusal
from stanch.steps.action import Action, Guard

POLICY = Guard(name="policy", asks="Does policy let it happen at all?", yields=True)
DIAGNOSIS = Guard(name="diagnosis", asks="Does no standing cause forbid it?", yields=True)

WHICH_SERVER = frozenset(
    {"other_cluster", "live_lock_file", "split_brain", "standby_promoted", "timeline_diverged"}
)
"""Causes about which server this is, or whether it lives: nobody overrides what they forbid."""

STANDING_PROBABILITY_MIN = 0.15
"""A cause at least this likely still stands, and what it forbids is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden:
    """Nobody can make Stanch do this."""

    id: str
    what: str
    why: str
    instead: str
    pattern: str
    """How it looks in a command somebody wrote down; used only to refuse such runbooks."""


FORBIDDEN: tuple[Forbidden, ...] = (
    Forbidden(
        id="delete_wal",
        what="deleting files in pg_wal, pg_xact, base or any other part PostgreSQL owns",
        why="commits are lost and the server may never start again",
        instead="free known-safe space, then remove what retains the WAL (slot, archiver)",
        pattern=r"\brm\b[^\n]*\b(pg_wal|pg_xlog|pg_xact|pg_clog|pg_multixact|base)\b"
        r"|\bpg_archivecleanup\b[^\n]*\b(pg_wal|pg_xlog)\b"
        r"|\bfind\b[^\n]*\b(pg_wal|pg_xlog|pg_xact)\b[^\n]*-delete\b",
    ),
    Forbidden(
        id="reset_wal",
        what="pg_resetwal",
        why="it discards commits and leaves inconsistent tables behind",
        instead="restore from a backup to the last moment it reaches",
        pattern=r"\bpg_reset(wal|xlog)\b",
    ),
    Forbidden(
        id="delete_lock_file",
        what="deleting postmaster.pid",
        why="a live server shuts down a minute later, or two servers write to the same files",
        instead="prove that the lock file is stale and rename it",
        pattern=r"\b(rm|unlink)\b[^\n]*\bpostmaster\.pid\b",
    ),
    Forbidden(
        id="discard_archive",
        what="an archive_command that succeeds without keeping the WAL",
        why="point-in-time recovery silently has a hole from there on",
        instead="repair the archive; free known-safe space in the meantime",
        pattern=r"archive_command[^\n]*(/bin/true|'true'|\"true\"|exit 0|/dev/null|=\s*':'|cd \.)",
    ),
    Forbidden(
        id="replication_role",
        what="session_replication_role for repairs",
        why="foreign keys and triggers are skipped, so the repair breaks what it did not look at",
        instead="repair in dependency order with the triggers on",
        pattern=r"\bsession_replication_role\b",
    ),
    Forbidden(
        id="vacuum_full",
        what="VACUUM FULL to gain space",
        why="it needs room for a whole copy and locks the table while it fails",
        instead="free known-safe space or grow the volume; rewrite tables later",
        pattern=r"\bVACUUM\s*(\(\s*[^)]*\bFULL\b|FULL\b)",
    ),
    Forbidden(
        id="promote",
        what="promoting a standby without its manager or proof of fencing",
        why="two primaries take writes and one side's are lost",
        instead="ask the manager that owns the cluster",
        pattern=r"\bpg_promote\s*\(|\bpg_ctl(cluster)?\b[^\n]*\bpromote\b",
    ),
    Forbidden(
        id="kill_9",
        what="SIGKILL to a backend or the postmaster",
        why="every other session is thrown out and crash recovery follows",
        instead="end the one session with pg_terminate_backend",
        pattern=r"\bkill(all)?\s+(-9|-KILL|-s\s*KILL|-SIGKILL)\b",
    ),
)


INCLUDES: dict[str, tuple[str, ...]] = {"restart_server": ("start_server", "stop_server")}
"""Whoever forbids a part of it forbids the whole."""


def forbidden_in(text: str) -> tuple[Forbidden, ...]:
    """Every forbidden thing a piece of text tells somebody to do, in the order of the table."""
    return tuple(f for f in FORBIDDEN if re.search(f.pattern, text, re.IGNORECASE))


def refuse_by_diagnosis(
    action: str, diagnosis: Diagnosis | None, lifted: Sequence[Lift] = ()
) -> Refusal | None:
    """Refuses an action that any cause still standing forbids, but for what a person overrides."""
    if diagnosis is None:
        return None
    parts = {action, *INCLUDES.get(action, ())}
    for cause in diagnosis.causes:
        if parts.intersection(cause.forbids) and cause.probability >= STANDING_PROBABILITY_MIN:
            refusal = Refusal(
                guard=DIAGNOSIS.name,
                reason=f"the standing diagnosis forbids it: {cause.summary}",
                lifts=f"A newer diagnosis in which {cause.id} no longer stands.",
                about=cause.id,
                firm=cause.id in WHICH_SERVER,
            )
            if not any(lift.covers(refusal) for lift in lifted):
                return refusal
    return None


def overridden(lifted: Sequence[Lift], action: Action) -> tuple[Lift, ...]:
    """Of what was lifted, what this action's guards yield to: nothing else was ever lifted."""
    names = {guard.name for guard in yielding(action)}
    return tuple(x for x in lifted if x.action == action.name and x.guard in names)


def yielding(action: Action) -> tuple[Guard, ...]:
    """The guards of an action that a person may override, those that all actions share first."""
    return (POLICY, DIAGNOSIS, *(guard for guard in action.guards if guard.yields))
