"""End the one session at the head of a chain that everybody else waits for."""

from __future__ import annotations

from stanch.facts.blocking import BlockingChain, blocking_roots
from stanch.facts.sessions import (
    END_SESSION_SQL,
    WaitingSession,
    end_session_parameters,
)
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.quoting import printable
from stanch.respond.actions.end_blocking_session.guards import GUARDS, may_end
from stanch.respond.actions.end_blocking_session.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.run import read_waiting
from stanch.respond.sessions import same_moment
from stanch.respond.signalling.run import Signal, send
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again who waits for whom."""
    chain = await _chain(step, world)
    return chain if isinstance(chain, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """End it, on condition that it is still the same session in the same transaction."""
    assert world.actor is not None
    chain = await _chain(step, world)
    if isinstance(chain, Refusal):
        return chain
    root = chain.root
    assert root is not None
    assert root.backend_start is not None
    parameters = end_session_parameters(
        root.pid,
        root.backend_start,
        xact_start=root.xact_start,
        while_idle_in_transaction=step.param("while_idle") is True,
    )
    signal = Signal(
        sql=END_SESSION_SQL,
        parameters=parameters,
        pid=root.pid,
        verb="end",
        unless="same_session",
        done=f"ended pid {root.pid}, for which {len(chain.waiters)} sessions waited",
        before=_told(root),
    )
    return await send(signal, world.actor, permit)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Do the others move? Nobody may wait for that session any more."""
    rows = await read_waiting(world)
    if isinstance(rows, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {rows.reason}")
    behind = [chain for chain in blocking_roots(rows) if _is_it(step, chain)]
    if behind:
        waiters = len(behind[0].waiters)
        return Verification(ok=False, detail=f"{waiters} sessions still wait for it")
    still = sum(1 for row in rows if row.waits)
    also = f"; {still} wait for others" if still else ""
    return Verification(ok=True, detail=f"nobody waits for it any more{also}")


def _is_it(step: PlannedStep, chain: BlockingChain) -> bool:
    if chain.root_pid != step.param("root_pid") or chain.root is None:
        return False
    return same_moment(step.param("root_backend_start"), chain.root.backend_start)


async def _chain(step: PlannedStep, world: World) -> BlockingChain | Refusal:
    if world.reader is None or world.actor is None:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        return no("acting_session", "there is no session that may end others", lifts=lifts)
    return may_end(step, await read_waiting(world), target=world.target)


def _told(root: WaitingSession) -> str:
    return printable(
        f"pid {root.pid}, {root.usename}@{root.datname}, {root.application_name!r}, "
        f"{root.state} in a transaction of {root.xact_age_s or 0:.0f} s, last: {root.query}"
    )


END_BLOCKING_SESSION = Action(
    name="end_blocking_session",
    sentence="End the session at the head of the chain; its transaction is rolled back.",
    params=(
        Param(name="root_pid", kind="count", doc="Its process id.", identity=True),
        Param(
            name="root_backend_start",
            kind="moment",
            doc="When the session began.",
            identity=True,
        ),
        Param(
            name="root_xact_start",
            kind="moment",
            doc="When its transaction began.",
            identity=True,
        ),
        Param(
            name="while_idle",
            kind="flag",
            doc="Only while it is idle in its transaction; set where nobody is asked.",
            required=False,
        ),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="ending the session others wait for",
            guards=("same_session", "still_root", "ordinary_client", "not_protected"),
        ),
    ),
    stands_on="end sessions",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
