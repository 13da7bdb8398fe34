"""Delete files that were kept or have aged for this day, one at a time, until there is room."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import FileAnswer, FileKeeper, FileReport, KeptFile
from stanch.model.symptoms import SymptomKind
from stanch.policy.quoting import printable
from stanch.respond.actions.free_space.guards import GUARDS, SpaceReadings, deletable, low
from stanch.respond.actions.free_space.planning import PLANNING
from stanch.respond.guarding import no
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look at the volume and at every file again."""
    files = await _files(step, world)
    return files if isinstance(files, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Delete one file after the other and stop as soon as there is room.

    Dumps are read and deleted only once nothing else is left. The permit is asked before each;
    stopping half-way leaves more room and nothing else.
    """
    files = await _files(step, world)
    if isinstance(files, Refusal):
        return files
    done: list[FileReport] = []
    room = await _remove_each(files, step, world, permit=permit, done=done)
    if room is False and _dumps_may_go(step, world):
        dumps = await _files(step, world)
        if not isinstance(dumps, Refusal):
            files = (*files, *dumps)
            room = await _remove_each(dumps, step, world, permit=permit, done=done)
    if not done:
        nothing = no("known_safe", "every file changed or vanished at the last moment")
        return room if isinstance(room, Refusal) else nothing
    return _report(done, files)


async def _remove_each(
    files: tuple[KeptFile, ...],
    step: PlannedStep,
    world: World,
    *,
    permit: Permit,
    done: list[FileReport],
) -> bool | Refusal:
    """Whether there is room now, or why it was stopped before."""
    assert world.files is not None
    for file in files:
        refusal = permit()
        if refusal is not None:
            return refusal
        report = await world.files.remove(file)
        if report.answer is FileAnswer.DONE:
            done.append(report)
        space = await world.files.space(str(step.param("volume")))
        if isinstance(space, Missing) or not low(space, world.target):
            return True
    return False


def _report(done: list[FileReport], files: tuple[KeptFile, ...]) -> ActReport:
    freed = sum(report.freed_bytes for report in done)
    told = "; ".join(printable(report.detail) for report in done)
    before = "\n".join(printable(f"{f.path}, inode {f.inode}, {f.size_bytes} bytes") for f in files)
    return ActReport(outcome=StepOutcome.DONE, detail=f"freed {freed} bytes: {told}", before=before)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is the volume no longer full?"""
    if world.files is None:
        return Verification(ok=False, pending=True, detail="the volume cannot be read")
    space = await world.files.space(str(step.param("volume")))
    if isinstance(space, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {space.reason}")
    detail = f"{space.free_bytes} bytes free, {space.free_pct:.1f} %"
    full = space.free_bytes <= world.target.limit(SymptomKind.DISK_FULL)
    return Verification(ok=not full, detail=detail)


async def _files(step: PlannedStep, world: World) -> tuple[KeptFile, ...] | Refusal:
    """What may go; of dumps only where the rest gives nothing."""
    if world.files is None:
        return no("files", "this machine is not the server's", lifts="Run Stanch on that machine.")
    seen = await _readings(step, world, world.files)
    found = deletable(seen, world.target)
    nothing = isinstance(found, Refusal) and found.guard == "known_safe"
    if not nothing or not _dumps_may_go(step, world):
        return found
    return deletable(replace(seen, old_dumps=await _dumps(world, world.files)), world.target)


def _dumps_may_go(step: PlannedStep, world: World) -> bool:
    """Policy lets them, and a person was asked."""
    allowed = world.target.free_space.keep_dumps is not None
    return allowed and bool(world.target.backups.dumps) and step.param("without_dumps") is not True


async def _dumps(world: World, files: FileKeeper) -> tuple[KeptFile, ...] | Missing:
    """Old dumps with enough newer ones that are whole. Cost: reads those newer ones."""
    keep, backups, now = world.target.free_space.keep_dumps, world.target.backups, world.at()
    assert keep is not None
    before = now - timedelta(seconds=backups.dumps_keep_s)
    found = await files.old_dumps(backups.dumps, keep=keep, modified_before=before, now=now)
    return found if isinstance(found, Missing) else tuple(found)


async def _readings(step: PlannedStep, world: World, files: FileKeeper) -> SpaceReadings:
    paths = world.target.free_space.ballast
    ballast = await asyncio.gather(*(files.kept_file(path) for path in paths))
    return SpaceReadings(
        space=await files.space(str(step.param("volume"))),
        ballast=tuple(ballast),
        old_logs=await _old_logs(world, files),
    )


async def _old_logs(world: World, files: FileKeeper) -> tuple[KeptFile, ...] | Missing:
    """Server logs older than policy says. No permission, no look."""
    days = world.target.free_space.old_logs_days
    if days is None or not world.log_directory:
        return ()
    before = world.at() - timedelta(days=days)
    found = await files.old_logs(world.log_directory, modified_before=before)
    return found if isinstance(found, Missing) else tuple(found)


FREE_SPACE = Action(
    name="free_space",
    sentence="Delete ballast, then old server logs, then old dumps, one file at a time.",
    params=(
        Param(name="volume", kind="text", doc="Mount point of the full volume.", identity=True),
        Param(
            name="without_dumps",
            kind="flag",
            doc="Leave dumps alone; set where nobody is asked.",
            required=False,
        ),
    ),
    guards=GUARDS,
    risks=(Risk(what="deleting a file to gain space", guards=("still_full", "known_safe")),),
    stands_on="free space on a full volume",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
