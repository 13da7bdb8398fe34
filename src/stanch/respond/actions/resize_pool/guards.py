"""When a pool may grow. Pure: from a look at the pooler and the server taken right before."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.facts.pooler import PooledDatabase, Pooler, ServerRoom
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond.guarding import first_no, no, unknown
from stanch.respond.pooling.guards import COMMON, LEADS_HERE, leads_here
from stanch.steps.action import Guard

SETTINGS = ("default_pool_size", "reserve_pool_size", "max_db_connections")
FACTOR_MAX = 2
KEPT_SHARE = 0.1
KEPT_MIN = 5
"""Connections of the server that no pool is let have, for whoever comes past the pooler."""

GUARDS = (
    *COMMON,
    LEADS_HERE,
    Guard(name="setting", asks="May that setting change at run time, and does it hold here?"),
    Guard(name="unchanged", asks="Is it still as it was when the plan was made?"),
    Guard(name="bounded", asks="Does it grow, and to no more than twice as many?"),
    Guard(name="is_the_limit", asks="Do clients wait, and is it this limit that they wait at?"),
    Guard(name="at_work", asks="Are its sessions at work: not idle in a transaction, not locked?"),
    Guard(
        name="server_has_room",
        asks="Has the server enough left for every pool that it makes larger, and some to keep?",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One setting, from one value to another."""

    setting: str
    from_size: int
    size: int


def wanted(step: PlannedStep) -> Wanted | Refusal:
    """What a step asks for, where it is anything that may be asked for."""
    setting, before, after = (step.param(n) for n in ("setting", "from_size", "size"))
    if setting not in SETTINGS:
        return no("setting", f"only {', '.join(SETTINGS)} are ever changed")
    assert isinstance(before, int)
    assert isinstance(after, int)
    if not 0 < before < after <= FACTOR_MAX * before:
        return no("bounded", f"from {before} to {after} is no step of at most twice as many")
    return Wanted(setting=str(setting), from_size=before, size=after)


def may_resize(
    step: PlannedStep, database: PooledDatabase, seen: Pooler, room: ServerRoom | Missing
) -> Refusal | Wanted:
    """What may be set, or the first reason to leave it alone."""
    what = wanted(step)
    if isinstance(what, Refusal):
        return what
    if isinstance(room, Missing):
        return unknown("server_has_room", room)
    refusal = first_no(
        (
            leads_here(database, seen, room),
            _setting(what, database, seen),
            _is_the_limit(what, database, seen),
            _at_work(database, seen, room),
            _room(what, seen, room),
        )
    )
    return refusal or what


def effective(setting: str, database: PooledDatabase) -> int | None:
    """What holds for one database, whoever set it."""
    return {
        "default_pool_size": database.pool_size,
        "reserve_pool_size": database.reserve_pool,
        "max_db_connections": database.max_connections,
    }[setting]


def _setting(what: Wanted, database: PooledDatabase, seen: Pooler) -> Refusal | None:
    now = seen.setting(what.setting)
    if now is None:
        return no("setting", f"{what.setting} is not told, or does not change at run time")
    if now != what.from_size:
        reason = f"{what.setting} was {what.from_size} and is now {now}"
        return no("unchanged", reason, lifts="A new plan for what is there now.")
    if effective(what.setting, database) != now:
        reason = f"{database.name} has a value of its own, which {what.setting} does not change"
        return no("setting", reason, lifts="A person, in pgbouncer.ini, and RELOAD.")
    return None


def _is_the_limit(what: Wanted, database: PooledDatabase, seen: Pooler) -> Refusal | None:
    waiting = [p for p in seen.pools if p.database == database.name and p.waiting > 0]
    if not waiting:
        return no("is_the_limit", f"nobody waits for {database.name}", lifts="Nothing is needed.")
    all_of_them = seen.open(database.name)
    most = database.max_connections or 0
    at_most = most > 0 and all_of_them >= most
    if what.setting == "max_db_connections":
        full = at_most
    else:
        size = database.pool_size
        full = size is not None and not at_most and any(p.open >= size for p in waiting)
    if full:
        return None
    reason = f"they do not wait at {what.setting}: {all_of_them} connections are open"
    return no("is_the_limit", reason, lifts="The limit that they do wait at.")


def _at_work(database: PooledDatabase, seen: Pooler, room: ServerRoom) -> Refusal | None:
    pids = {link.pid for link in seen.links if link.database == database.name}
    behind = [s for s in room.sessions if s.pid in pids]
    held = [s for s in behind if s.state.startswith("idle in") or s.wait_type == "Lock"]
    hidden = [s for s in behind if not s.state]
    if 2 * (len(held) + len(hidden)) < len(behind):
        return None
    reason = (
        f"{len(held)} of its {len(behind)} sessions are idle in a transaction or wait for a lock"
        + (f", and {len(hidden)} are hidden" if hidden else "")
    )
    return no("at_work", reason, lifts="The end of the transaction that holds them up.")


def _room(what: Wanted, seen: Pooler, room: ServerRoom) -> Refusal | None:
    # Every pool of the pooler may grow by it, and all of them may lead to this server.
    pools = len(seen.databases) if what.setting == "max_db_connections" else len(seen.pools)
    needs = (what.size - what.from_size) * max(pools, 1)
    keeps = max(KEPT_MIN, round(KEPT_SHARE * room.usable))
    if needs <= room.left - keeps:
        return None
    reason = f"it takes up to {needs} more, the server has {room.left} left and keeps {keeps}"
    return no("server_has_room", reason, lifts="Connections of the server that are free again.")
