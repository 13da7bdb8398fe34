"""Rename a lock file that is proven stale, so that the server can start again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import FileAnswer
from stanch.policy.quoting import printable
from stanch.respond.actions.set_aside_lock_file.guards import GUARDS, LockReadings, may_set_aside
from stanch.respond.actions.set_aside_lock_file.planning import PLANNING
from stanch.respond.guarding import no
from stanch.respond.reading.run import read_lock
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Take every proof again."""
    if world.host is None or world.files is None:
        return no("host", "this machine is not the server's", lifts="Run Stanch on that machine.")
    if step.param("data_directory") != world.data_directory:
        return no("same_file", f"the data directory is now {world.data_directory}")
    manager = None if world.manager is None else await world.manager.status()
    lock, container = await asyncio.gather(
        read_lock(world, world.host), world.host.container_signs()
    )
    return may_set_aside(step, LockReadings(lock=lock, container=container, manager=manager))


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Rename it on condition that it is still the proven file; evidence of it is kept."""
    assert world.host is not None
    assert world.files is not None
    inode, sha256 = step.param("lock_inode"), step.param("lock_sha256")
    assert isinstance(inode, int)
    assert isinstance(sha256, str)
    before = await world.host.lock_file()
    sockets = await world.files.socket_directories(world.data_directory)
    refusal = permit()
    if refusal is not None:
        return refusal
    report = await world.files.set_aside_lock_file(
        world.data_directory,
        inode=inode,
        sha256=sha256,
        new_name=stale_name(world.at()),
        sockets=() if isinstance(sockets, Missing) else sockets,
    )
    kept = ""
    if before is not None and not isinstance(before, Missing):
        kept = printable(before.content.decode("utf-8", "replace"))
    if report.answer is FileAnswer.DONE:
        # Not a reason to refuse: a lock that is left in the way is named by the start itself.
        unknown = f"; {sockets.what}: {sockets.reason}" if isinstance(sockets, Missing) else ""
        return ActReport(detail=report.detail + unknown, before=kept, after=report.new_path)
    if report.answer is FileAnswer.NOT_PUT_BACK:
        return ActReport(outcome=StepOutcome.FAILED, detail=report.detail, before=kept)
    return no("same_file", report.detail, lifts="A new diagnosis of what is there now.")


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is the proven file out of the way?"""
    assert world.host is not None
    now = await world.host.lock_file()
    if now is None:
        return Verification(ok=True, detail="no lock file is in the way any more")
    if isinstance(now, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {now.reason}")
    if now.inode != step.param("lock_inode"):
        return Verification(ok=True, detail="a newer lock file stands there: the server started")
    return Verification(ok=False, detail="the lock file is still there")


def stale_name(at: datetime) -> str:
    """`postmaster.pid.stale.20260314T091530Z`: says what it is and since when."""
    return f"postmaster.pid.stale.{at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}"


SET_ASIDE_LOCK_FILE = Action(
    name="set_aside_lock_file",
    sentence="Rename a lock file that is proven to belong to no living server.",
    params=(
        Param(
            name="data_directory",
            kind="text",
            doc="The data directory with the lock file.",
            identity=True,
        ),
        Param(name="lock_inode", kind="count", doc="Which file it is.", identity=True),
        Param(name="lock_sha256", kind="text", doc="SHA-256 of all its bytes.", identity=True),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="setting a lock file aside",
            guards=("same_file", "proven_stale", "restart_inhibited", "no_container"),
        ),
    ),
    stands_on="set a stale lock file aside",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
