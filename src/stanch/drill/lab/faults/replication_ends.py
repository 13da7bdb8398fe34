"""Standbys that are cut off, down or closed, and what that does to the primary."""

from __future__ import annotations

from typing import Literal

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means.standbys import (
    another_standby,
    bulk_table,
    goes_through,
    standby_logged,
    standby_of,
    streams,
    write,
)
from stanch.drill.lab.rig import Rig

NAMES = ("replica-b", "dr-site", "pg3", "standby_west", "node2", "orders-dr")
SYNC_SQL = "SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"
COMMITS_WAIT_SQL = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
NO_STANDBY_SQL = "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_replication)"
RETAINED_SQL = (
    "SELECT 1 FROM pg_replication_slots WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)"
    " > %s * pg_size_bytes(current_setting('max_wal_size'))"
)
"""Several times what the WAL is ever meant to take."""
REMOVED = "has already been removed"


def _gone(rig: Rig, standby: ScratchServer) -> None:
    """It goes down, in one way or another."""
    modes: tuple[Literal["fast", "immediate"], ...] = ("fast", "immediate")
    if rig.rng.random() < 0.3:
        standby.kill()
    else:
        standby.stop(rig.rng.choice(modes))
    rig.until(lambda: not standby.processes())


# --- down ---------------------------------------------------------------------------------------


def _wal_removed(rig: Rig) -> None:
    standby, table = standby_of(rig), bulk_table(rig)
    standby.stop("fast")
    for _ in range(rig.rng.randint(2, 4)):
        write(rig, table, rig.rng.randint(2, 6))
        # Stands for the ones that come by the clock while a standby is away for a day.
        rig.admin("CHECKPOINT")
    standby.start()
    standby_logged(rig, REMOVED)


def _killed(rig: Rig) -> None:
    standby = standby_of(rig)
    standby.kill()
    rig.until(lambda: not standby.processes())


def _closed(rig: Rig) -> None:
    standby = standby_of(rig)
    standby.set_conf({"hot_standby": False})
    standby.restart()
    streams(rig, "standby1")


def _with_slot(rig: Rig) -> None:
    name = rig.rng.choice(NAMES)
    slot = f"{name.replace('-', '_')}_slot"
    rig.notes["other"] = another_standby(rig, name, slot=slot)


def _slot_left(rig: Rig) -> None:
    _gone(rig, rig.notes["other"])
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_replication_slots WHERE NOT active"))
    table, size = bulk_table(rig), rig.rng.randint(2, 5)

    def keeps_much() -> bool:
        write(rig, table, rig.rng.randint(8, 20))
        # By the clock, as it were: the server is not short of anything but the room it keeps.
        rig.admin("CHECKPOINT")
        return bool(rig.admin(RETAINED_SQL, (size,)))

    rig.until(keeps_much, seconds=60.0)


# --- waited for ---------------------------------------------------------------------------------


def _waits_for(rig: Rig, names: str) -> None:
    rig.server.set_conf({"synchronous_standby_names": names})
    rig.undo(lambda: rig.server.set_conf({"synchronous_standby_names": ""}))


def _synchronous(rig: Rig) -> None:
    name = rig.rng.choice(NAMES)
    rig.notes["other"] = another_standby(rig, name)
    quorum = rig.rng.choice(("{}", "FIRST 1 ({})", "ANY 1 ({})"))
    _waits_for(rig, quorum.format(f'"{name}"'))
    rig.until(lambda: rig.admin(SYNC_SQL))


def _synchronous_gone(rig: Rig) -> None:
    _gone(rig, rig.notes["other"])
    # First of all when it is healed: what else is taken back could not commit.
    rig.undo(lambda: rig.server.set_conf({"synchronous_standby_names": ""}))
    rig.until(lambda: rig.admin(COMMITS_WAIT_SQL))


def _synchronous_to_standby1(rig: Rig) -> None:
    _waits_for(rig, "standby1")
    rig.until(lambda: rig.admin(SYNC_SQL))


def _misnamed(rig: Rig) -> None:
    old = rig.rng.choice(NAMES)
    _waits_for(rig, rig.rng.choice(('"{}"', 'FIRST 1 ("{}")')).format(old))
    rig.until(lambda: rig.admin(COMMITS_WAIT_SQL))


# --- refused ------------------------------------------------------------------------------------


def _replicator(rig: Rig) -> None:
    """A role of its own for the standby, with its password, as it should be."""
    role = rig.rng.choice(("replicator", "repl", "standby_user", "streaming"))
    password = f"s{rig.rng.getrandbits(64):x}"
    rig.admin(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{password}'")
    rig.notes["replicator"] = role
    goes_through(rig, user=role, password=password)
    streams(rig, role, "usename")


def _comes_again(rig: Rig) -> None:
    """The standby connects anew: restarted for an update, or the connection was lost."""
    if rig.rng.random() < 0.5:
        standby_of(rig).restart()
    else:
        rig.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    rig.until(lambda: rig.admin(NO_STANDBY_SQL))


def _no_replication_rules(rig: Rig) -> None:
    path = rig.server.data_directory / "pg_hba.conf"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if "replication" not in line.split()]
    rig.server.folder.write_owned(path, "\n".join(kept) + "\n")
    rig.server.set_conf({})


def _hba_closed(rig: Rig) -> None:
    if rig.rng.random() < 0.6:
        _no_replication_rules(rig)
    else:
        rig.server.add_hba(f"host replication {rig.notes['replicator']} all reject")
    _comes_again(rig)
    standby_logged(rig, "pg_hba.conf")


def _password_changed(rig: Rig) -> None:
    changed = f"n{rig.rng.getrandbits(64):x}"
    rig.admin(f"ALTER ROLE {rig.notes['replicator']} PASSWORD '{changed}'")
    _comes_again(rig)
    standby_logged(rig, "password authentication failed")


FAULTS = (
    Fault(
        id="standby-lost-its-wal",
        area=Area.REPLICATION,
        story="The standby was down for a while without a slot; the primary has removed the WAL"
        " that it needs.",
        causes=("wal_removed",),
        make=_wal_removed,
        needs=Needs(standby=True),
        seen_on="standby",
    ),
    Fault(
        id="standby-lost-its-wal-seen-from-primary",
        area=Area.REPLICATION,
        story="After maintenance the standby asks the primary again and again for WAL that is no"
        " longer there.",
        causes=("wal_removed",),
        make=_wal_removed,
        needs=Needs(standby=True),
    ),
    Fault(
        id="synchronous-standby-gone",
        area=Area.REPLICATION,
        story="The only synchronous standby went down, and since then every commit waits for it.",
        causes=("sync_standby_gone",),
        make=_synchronous_gone,
        needs=Needs(prepare=(_synchronous,)),
        shows_after_s=3.0,
        answers=False,  # What is written waits for ever.
    ),
    Fault(
        id="synchronous-standby-misnamed",
        area=Area.REPLICATION,
        story="synchronous_standby_names was set to a standby that was given away last year:"
        " commits hang, though the standby that there is streams.",
        causes=("sync_standby_gone",),
        make=_misnamed,
        needs=Needs(standby=True, prepare=(_synchronous_to_standby1,)),
        shows_after_s=3.0,
        answers=False,  # What is written waits for ever.
    ),
    Fault(
        id="standby-refused-by-hba",
        area=Area.REPLICATION,
        story="Somebody tidied pg_hba.conf on the primary, and the standby's next connection was"
        " refused.",
        causes=("hba_refused",),
        make=_hba_closed,
        needs=Needs(standby=True, prepare=(_replicator,)),
        seen_on="standby",
    ),
    Fault(
        id="standby-has-old-password",
        area=Area.REPLICATION,
        story="The replication role got a new password, and nobody told the standby.",
        causes=("password_wrong",),
        make=_password_changed,
        needs=Needs(standby=True, auth="scram-sha-256", prepare=(_replicator,)),
        seen_on="standby",
    ),
    Fault(
        id="standby-killed",
        area=Area.REPLICATION,
        story="The standby's postmaster was killed with SIGKILL and stays down; the primary is"
        " well.",
        causes=("killed",),
        make=_killed,
        needs=Needs(standby=True),
        seen_on="standby",
        answers=False,
    ),
    Fault(
        id="standby-takes-no-sessions",
        area=Area.REPLICATION,
        story="The standby was restarted with hot_standby = off: it replays and lets nobody in.",
        causes=("standby_without_sessions",),
        make=_closed,
        needs=Needs(standby=True),
        seen_on="standby",
        answers=False,
    ),
    Fault(
        id="standby-down-with-slot",
        area=Area.REPLICATION,
        story="A standby of another team is down, and its slot makes the primary keep all WAL"
        " since.",
        causes=("slot_inactive",),
        make=_slot_left,
        needs=Needs(prepare=(_with_slot,)),
        shows_after_s=3.0,
    ),
)
