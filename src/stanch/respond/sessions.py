"""Whose sessions are left alone, and whether a session is still the one that was meant. Pure."""

from __future__ import annotations

from datetime import datetime

from stanch.model.diagnosis import Scalar
from stanch.model.plans import Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no

KEPT_APPLICATIONS = (
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pg_receivewal",
    "pg_recvlogical",
    "pg_rewind",
    "pgbackrest",
    "barman",
    "wal-g",
    "pg_repack",
    "pg_squeeze",
    "pg_upgrade",
)
"""Backups, restores and rewrites: their end costs more than the wait; a person decides."""

IDLE_STATES = frozenset({"idle in transaction", "idle in transaction (aborted)"})
"""A root in these has been forgotten; in any other it may be at work that somebody needs."""


def is_protected(application: str, target: TargetPolicy) -> bool:
    """Named by policy, or Stanch itself."""
    name = application.casefold()
    protected = {application.casefold() for application in target.protected_applications}
    return name in protected or name.startswith("stanch")


def spared(application: str, target: TargetPolicy) -> Refusal | None:
    """Why no session of this application is ended; None where its name does not protect it."""
    if is_protected(application, target):
        return no("not_protected", f"{application!r} is protected by policy or is Stanch")
    if application.casefold().startswith(KEPT_APPLICATIONS):
        lifts = "A person who decides that the backup may be lost."
        return no("not_protected", f"{application!r} is a backup or a rewrite", lifts=lifts)
    return None


def same_moment(told: Scalar, seen: datetime | None) -> bool:
    """Whether a moment of a fact is exactly the one read now; None is no moment."""
    if not isinstance(told, str) or seen is None:
        return False
    try:
        then = datetime.fromisoformat(told)
    except ValueError:
        return False
    return then.tzinfo is not None and then == seen
