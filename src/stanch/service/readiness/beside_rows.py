"""The rows of the capability table about what stands beside a server: its poolers, its hooks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stanch.adapters.hosts.docker_engine import DockerEngine
from stanch.adapters.pools.admin import PoolerAdmin
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.services.hooks import HttpHooks
from stanch.facts.pooler import Pooler
from stanch.model.containers import ContainerSeen
from stanch.model.diagnosis import Missing
from stanch.model.errors import SetupError
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import TargetPolicy
from stanch.policy.signs import ConsolePools
from stanch.respond.pooling.guards import PRODUCT, VERSION_MIN
from stanch.respond.pooling.run import look
from stanch.service.readiness.machine_row import CONTAINER, Judged

CHANGE_POOLER = "change the pooler"
CALL_HOOKS = "call its hooks"
HOOK_TIMEOUT_S = 3.0


async def look_beside(target: TargetPolicy) -> dict[str, Judged]:
    """Cost: two console sessions a pooler with `admin_dsn`, one GET a hook, one question to a
    container's engine. Changes nothing."""
    rows: dict[str, Judged] = {}
    consoles = [pools for pools in target.pools if isinstance(pools, ConsolePools)]
    if consoles:
        seen = {p.name: await _pooler(p) for p in consoles if p.admin_dsn}
        rows[CHANGE_POOLER] = judge_poolers(seen)
    if target.hooks:
        told = {h.name: await HttpHooks().value(h, timeout_s=HOOK_TIMEOUT_S) for h in target.hooks}
        rows[CALL_HOOKS] = judge_hooks(told)
    if isinstance(target.host, DockerHost):
        rows[CONTAINER] = judge_container(await DockerEngine(target.host).container())
    return rows


def judge_container(seen: ContainerSeen | Missing | None) -> Judged:
    """Whoever may look may do everything: the engine has one right."""
    if isinstance(seen, ContainerSeen):
        above = f"; {seen.keeper} starts and stops it" if seen.keeper else ""
        told = f"{seen.name} ({seen.id[:12]}) is {seen.status}{above}"
        change = "Nothing: ask whoever keeps it." if above else ""
        return Judged(can=not above, why=told, change=change)
    why = "there is no such container" if seen is None else seen.reason
    change = "Correct `host`, or put the OS user of Stanch into the group of the engine's socket."
    return Judged(can=False, why=why, change=change)


def judge_poolers(seen: Mapping[str, tuple[str, Pooler] | Missing]) -> Judged:
    """By name of its source: the console's user and what it saw; those with `admin_dsn` only."""
    if not seen:
        return Judged(can=False, why="no pooler has an admin_dsn", change=ADMIN_LINES)
    for name, found in seen.items():
        lack = found.reason if isinstance(found, Missing) else _lack(*found)
        if lack:
            return Judged(can=False, why=f"{name}: {lack}", change=ADMIN_LINES)
    return Judged(
        can=True, why=f"{', '.join(seen)}: its console lets {PRODUCT} be changed", change=""
    )


def judge_hooks(told: Mapping[str, str | Missing]) -> Judged:
    for name, value in told.items():
        if isinstance(value, Missing):
            change = "Correct its `verify_url` and `json`: nobody could see what it does."
            return Judged(can=False, why=f"{name}: {value.reason}", change=change)
    return Judged(can=True, why=f"how it is now can be seen: {', '.join(told)}", change="")


ADMIN_LINES = (
    "In pgbouncer.ini: admin_users = stanch_act, stats_users = stanch_watch; RELOAD; then name it "
    "in `admin_dsn` of that source."
)


async def _pooler(pools: ConsolePools) -> tuple[str, Pooler] | Missing:
    control = PoolerAdmin(pools)
    try:
        user = resolve(pools.admin_dsn).user
        seen = await look(control)
    except SetupError as error:
        return Missing(what="the pooler", reason=str(error))
    finally:
        await control.close()
    return seen if isinstance(seen, Missing) else (user, seen)


def _lack(user: str, seen: Pooler) -> str:
    """Why it cannot be changed; empty where it can."""
    if seen.product != PRODUCT or seen.version < VERSION_MIN:
        return f"not a {PRODUCT} {'.'.join(map(str, VERSION_MIN))} or newer"
    if not seen.is_watched_one:
        return "`dsn` and `admin_dsn` do not lead to one process"
    if user not in re.split(r"[,\s]+", seen.settings.get("admin_users", "")):
        return f"{user} is not among admin_users"
    return ""
