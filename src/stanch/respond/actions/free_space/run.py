"""Delete files that were kept or have aged for this day, one at a time, until there is room."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import FileAnswer, FileKeeper, KeptFile
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

    The permit is asked before each; stopping half-way leaves more room and nothing else.
    """
    assert world.files is not None
    files = await _files(step, world)
    if isinstance(files, Refusal):
        return files
    done: list[str] = []
    freed = 0
    for file in files:
        refusal = permit()
        if refusal is not None:
            return _report(done, freed, files=files, refusal=refusal)
        report = await world.files.remove(file)
        if report.answer is FileAnswer.DONE:
            done.append(printable(report.detail))
            freed += report.freed_bytes
        space = await world.files.space(str(step.param("volume")))
        if isinstance(space, Missing) or not low(space, world.target):
            break
    nothing = no("known_safe", "every file changed or vanished at the last moment")
    return _report(done, freed, files=files, refusal=nothing)


def _report(
    done: list[str], freed: int, *, files: tuple[KeptFile, ...], refusal: Refusal
) -> ActReport | Refusal:
    if not done:
        return refusal
    detail = f"freed {freed} bytes: {'; '.join(done)}"
    before = "\n".join(printable(f"{f.path}, inode {f.inode}, {f.size_bytes} bytes") for f in files)
    return ActReport(outcome=StepOutcome.DONE, detail=detail, before=before)


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
    if world.files is None:
        return no("files", "this machine is not the server's", lifts="Run Stanch on that machine.")
    return deletable(await _readings(step, world, world.files), world.target)


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
    sentence="Delete ballast, then old server logs, one file at a time.",
    params=(
        Param(name="volume", kind="text", doc="Mount point of the full volume.", identity=True),
    ),
    guards=GUARDS,
    risks=(Risk(what="deleting a file to gain space", guards=("still_full", "known_safe")),),
    stands_on="free space on a full volume",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
