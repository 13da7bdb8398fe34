"""When a running server may be restarted: it has to be sure that it would start again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.facts.stopping import RunningServer, Startable
from stanch.model.diagnosis import Missing
from stanch.model.host import Volume
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.ports.acting import ManagerStatus, Postmaster
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.guarding import first_no, no, unknown
from stanch.respond.sessions import KEPT_APPLICATIONS
from stanch.respond.turning.files import no_corruption, room_for_wal
from stanch.respond.turning.guards import (
    HOST,
    MANAGER,
    NO_JOBS,
    NOBODY_ELSE,
    SAME_SERVER,
    ServerReadings,
    may_ask,
    the_server,
)
from stanch.steps.action import Guard

RECEIVERS = ("pg_receivewal", "pg_recvlogical", "barman_receive")
"""They go on for ever, and connect again."""
SHOWN = 3
STANDBY_MARKER = "standby.signal"

GUARDS = (
    HOST,
    MANAGER,
    SAME_SERVER,
    NOBODY_ELSE,
    NO_JOBS,
    Guard(name="no_markers", asks="Was no backup, restore or upgrade left unfinished?"),
    Guard(name="no_backup", asks="Is no backup or rewrite under way that would be lost?"),
    Guard(name="no_corruption_signs", asks="Does the log show no sign of damaged files?"),
    Guard(name="acting_session", asks="Is there a session that may read its settings files?"),
    Guard(name="files_readable", asks="Can it read all of its settings files and pg_hba.conf?"),
    Guard(name="same_programs", asks="Are the programs of the version that runs still there?"),
    Guard(name="same_owner", asks="Do its files belong to whom it runs as?"),
    Guard(name="room_for_wal", asks="Is there room for the start to write WAL?"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartReadings:
    """Everything the guards look at."""

    target: TargetPolicy
    which: ServerReadings
    startable: Startable | Missing
    volumes: tuple[Volume | Missing, ...]
    corruption: tuple[str, ...] | Missing
    """Log lines that speak of damage."""


def may_restart(step: PlannedStep, seen: RestartReadings) -> Refusal | Postmaster:
    """The server that may be restarted, or the first reason not to."""
    which = seen.which
    refusal = may_ask("restart", which.manager)
    found = refusal or the_server(step, which)
    if isinstance(found, Refusal):
        return found
    assert isinstance(which.manager, ManagerStatus)
    assert isinstance(which.server, RunningServer)
    refusal = first_no(
        (
            _no_markers(which.manager, which.server),
            _no_backup(which.server),
            no_corruption(seen.corruption, which.control),
            _files_readable(seen.startable),
            _same_programs(which.manager, which.server),
            _same_owner(which),
            room_for_wal(seen.volumes, which.control, seen.target),
        )
    )
    return refusal or found


def _no_markers(manager: ManagerStatus, server: RunningServer) -> Refusal | None:
    """A standby carries its own all its life; whatever else lies there changes the next start."""
    expected = (STANDBY_MARKER,) if server.in_recovery else ()
    standing = [marker for marker in manager.markers if marker not in expected]
    if not standing:
        return None
    reason = f"{', '.join(standing)}: the next start would not be like the last one"
    return no("no_markers", reason, lifts="A person who knows how that work ended.")


def _no_backup(server: RunningServer) -> Refusal | None:
    lifts = "The end of it, or a person who decides that it may be lost."
    if server.base_backups:
        return no("no_backup", f"{server.base_backups} base backups are being taken", lifts=lifts)
    busy = [
        name
        for name in server.applications
        if name.casefold().startswith(KEPT_APPLICATIONS)
        and not name.casefold().startswith(RECEIVERS)
    ]
    if not busy:
        return None
    reason = f"{', '.join(busy[:SHOWN])}: a backup or a rewrite is at work"
    return no("no_backup", printable(reason), lifts=lifts)


def _files_readable(files: Startable | Missing) -> Refusal | None:
    """A running server goes on with what it read before; the next start fails on these lines."""
    guard = "files_readable"
    if isinstance(files, Missing):
        return unknown(guard, files, lifts="`stanch grants` prints the right to read them.")
    wrong = files.settings or files.rules
    if wrong:
        where = "the settings files have" if files.settings else "pg_hba.conf has"
        reason = f"{where} errors, and the server would not start: {'; '.join(wrong[:SHOWN])}"
        return no(guard, printable(reason), lifts="Files without errors.")
    if not files.rules_read:
        return no(guard, "pg_hba.conf has no rule: nobody could log in", lifts="A rule in it.")
    return None


def _same_programs(manager: ManagerStatus, server: RunningServer) -> Refusal | None:
    guard = "same_programs"
    if manager.programs_major is None:
        reason = "the programs it would be started with do not tell their version"
        return no(guard, reason, lifts="`bin_directory` in stanch.yaml, or a person.")
    if manager.programs_major == manager.data_major == server.major:
        return None
    reason = (
        f"version {server.major} runs, PG_VERSION says {manager.data_major}, and the programs "
        f"are of version {manager.programs_major}"
    )
    return no(guard, reason, lifts="Programs of the version that runs.")


def _same_owner(which: ServerReadings) -> Refusal | None:
    assert isinstance(which.manager, ManagerStatus)
    runs = None if isinstance(which.processes, Missing) else which.processes.postmaster
    owner = which.manager.owner_uid
    if runs is not None and runs.uid is not None and runs.uid == owner:
        return None
    uid = "an unknown user" if runs is None or runs.uid is None else f"user {runs.uid}"
    reason = f"the data directory belongs to user {owner}, and the server runs as {uid}"
    return no("same_owner", reason, lifts="Files of the user that it runs as.")
