"""Look at a pooler afresh, and command it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from stanch.facts.pooler import (
    POOL_SESSIONS_SQL,
    PooledDatabase,
    Pooler,
    ServerRoom,
    parse_databases,
    parse_links,
    parse_pool_lines,
    parse_room,
    parse_settings,
    parse_version,
    session_parameters,
)
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.pooler import PoolerControl
from stanch.policy.quoting import printable
from stanch.respond.pooling.guards import may_change
from stanch.respond.reading.run import QUESTION_TIMEOUT_S
from stanch.steps.action import ActReport
from stanch.steps.world import World

COMMAND_DEADLINE_S = 2.0
RIGHTS = "The user of `admin_dsn` has to be one of admin_users in pgbouncer.ini."


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A pooler that may be changed, with the console that was looked through."""

    control: PoolerControl
    pooler: Pooler
    database: PooledDatabase


@asynccontextmanager
async def opened(step: PlannedStep, world: World) -> AsyncGenerator[Opened | Refusal]:
    """The pooler of a step, looked at now; its console is closed in the end."""
    control = world.poolers.get(str(step.param("pooler")))
    if control is None:
        seen = Missing(what="the pooler", reason="policy has no console that may change it")
        answer = may_change(step, seen)
        assert isinstance(answer, Refusal)
        yield answer
        return
    try:
        seen = await look(control)
        answer = may_change(step, seen)
        if isinstance(answer, Refusal) or isinstance(seen, Missing):
            assert isinstance(answer, Refusal)
            yield answer
        else:
            yield Opened(control=control, pooler=seen, database=answer)
    finally:
        await control.close()


async def look(control: PoolerControl) -> Pooler | Missing:
    """All that its console says, by the session that will command it."""
    t = QUESTION_TIMEOUT_S
    try:
        product, version = parse_version(await control.show("VERSION", timeout_s=t))
        return Pooler(
            product=product,
            version=version,
            databases=parse_databases(await control.show("DATABASES", timeout_s=t)),
            pools=parse_pool_lines(await control.show("POOLS", timeout_s=t)),
            links=parse_links(await control.show("SERVERS", timeout_s=t)),
            settings=parse_settings(await control.show("CONFIG", timeout_s=t)),
            is_watched_one=await control.is_watched_one(timeout_s=t),
        )
    except ProbeFailed as error:
        return Missing(what="the pooler", reason=str(error))


async def server_room(opened: Opened, world: World) -> ServerRoom | Missing:
    """What the watched server says of the backends behind the pooler, and what it has left."""
    if world.reader is None:
        return Missing(what="the server", reason="there is no session to it")
    links = [link for link in opened.pooler.links if link.database == opened.database.name]
    try:
        answer = await world.reader.fetch_json(
            POOL_SESSIONS_SQL, session_parameters(links), timeout_s=QUESTION_TIMEOUT_S
        )
        return parse_room(answer)
    except ProbeFailed as error:
        return Missing(what="the server", reason=str(error))


async def pooler_of(step: PlannedStep, world: World) -> Pooler | Missing:
    """For looks afterwards: the pooler as it is now."""
    control = world.poolers.get(str(step.param("pooler")))
    if control is None:
        return Missing(what="the pooler", reason="policy has no console that may change it")
    try:
        return await look(control)
    finally:
        await control.close()


async def command(control: PoolerControl, text: str, *, before: str, done: str) -> ActReport:
    """Send one command. Raises: ActionFailed, where the pooler did not take it."""
    acted = await control.execute(text, deadline_s=COMMAND_DEADLINE_S)
    if acted.outcome == "in_doubt":
        return ActReport(
            outcome=StepOutcome.IN_DOUBT, detail=printable(acted.detail), before=before
        )
    if acted.outcome != "done":
        what = f"the pooler did not take it: {printable(acted.detail) or acted.outcome}"
        raise ActionFailed(what, on=printable(text), hint=RIGHTS)
    return ActReport(detail=done, before=before)


def told(opened: Opened) -> str:
    """The pooler as it was, for the report."""
    database, pooler = opened.database, opened.pooler
    lines = "; ".join(
        f"{line.database}/{line.user}: {line.in_use} of {line.open} in use, {line.waiting} wait"
        for line in pooler.pools
        if line.database == database.name
    )
    version = ".".join(map(str, pooler.version))
    return printable(
        f"{pooler.product} {version}, {database.name}: paused {database.paused}, "
        f"pool_size {database.pool_size}; {lines}"
    )
