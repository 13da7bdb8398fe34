"""Every guard of set_aside_lock_file, each single proof included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from acting_worlds import AT, bare_world, step
from stanch.facts.lock_file import LockFile, LockFileState, LockFileVerdict, Proof, ProofName
from stanch.model.diagnosis import Missing
from stanch.model.host import ContainerSigns, ProcessInfo
from stanch.model.ports.acting import Job, ManagerStatus
from stanch.respond.actions.set_aside_lock_file.guards import GUARDS, LockReadings, may_set_aside
from stanch.respond.actions.set_aside_lock_file.run import SET_ASIDE_LOCK_FILE, stale_name
from stanch.respond.reading.run import LockReading

SHA = "f" * 64
STEP = step("set_aside_lock_file", data_directory="/data", lock_inode=5, lock_sha256=SHA)
GONE = Missing(what="it", reason="permission denied")

HOLDER = ProcessInfo(
    pid=100,
    ppid=1,
    started_at=None,
    exe="/usr/bin/sleep",
    cwd="/",
    title="sleep 60",
    state="sleeping",
    uid=101,
)

PROVEN = LockFileVerdict(
    state=LockFileState.STALE,
    proofs=tuple(Proof(name=name, ok=True, detail="holds") for name in ProofName),
)

LOCK = LockReading(
    lock=LockFile(pid=100),
    inode=5,
    sha256=SHA,
    path="/data/postmaster.pid",
    content=b"100\n",
    process=HOLDER,
    verdict=PROVEN,
)

MANAGER = ManagerStatus(
    restarts_by_itself=False, other_manager="", jobs=(), markers=(), may_act=True, owner_uid=101
)

GOOD = LockReadings(lock=LOCK, container=ContainerSigns(in_container=False), manager=MANAGER)


def without(name: ProofName, ok: bool | None) -> LockReadings:
    """One proof missing, in the proofs and in the state that follows from them."""
    proofs = tuple(replace(p, ok=ok) if p.name is name else p for p in PROVEN.proofs)
    verdict = LockFileVerdict(state=LockFileState.UNPROVEN, proofs=proofs)
    return replace(GOOD, lock=replace(LOCK, verdict=verdict))


def signs(in_container: bool | None) -> LockReadings:
    return replace(GOOD, container=ContainerSigns(in_container=in_container, signs=("x",)))


STOPS: list[tuple[str, str, Callable[[], LockReadings]]] = [
    ("the file cannot be read", "same_file", lambda: replace(GOOD, lock=GONE)),
    ("there is no file", "same_file", lambda: replace(GOOD, lock=None)),
    ("its inode changed", "same_file", lambda: replace(GOOD, lock=replace(LOCK, inode=6))),
    ("its bytes changed", "same_file", lambda: replace(GOOD, lock=replace(LOCK, sha256="0" * 64))),
    ("this is a container", "no_container", lambda: signs(True)),
    ("nobody can tell whether it is one", "no_container", lambda: signs(None)),
    ("the signs cannot be read", "no_container", lambda: replace(GOOD, container=GONE)),
    (
        "a server is alive",
        "proven_stale",
        lambda: replace(
            GOOD, lock=replace(LOCK, verdict=replace(PROVEN, state=LockFileState.LIVE))
        ),
    ),
    (
        "a verdict without proofs",
        "proven_stale",
        lambda: replace(GOOD, lock=replace(LOCK, verdict=replace(PROVEN, proofs=()))),
    ),
    (
        "nobody has its PID",
        "in_the_way",
        lambda: replace(GOOD, lock=replace(LOCK, process=None)),
    ),
    ("no manager is known", "restart_inhibited", lambda: replace(GOOD, manager=None)),
    ("the manager cannot be asked", "restart_inhibited", lambda: replace(GOOD, manager=GONE)),
    (
        "it restarts by itself",
        "restart_inhibited",
        lambda: replace(GOOD, manager=replace(MANAGER, restarts_by_itself=True)),
    ),
    (
        "nobody knows whether it does",
        "restart_inhibited",
        lambda: replace(GOOD, manager=replace(MANAGER, restarts_by_itself=None)),
    ),
    (
        "another manager owns it",
        "restart_inhibited",
        lambda: replace(GOOD, manager=replace(MANAGER, other_manager="Patroni")),
    ),
    (
        "somebody is starting it",
        "restart_inhibited",
        lambda: replace(GOOD, manager=replace(MANAGER, jobs=(Job(pid=9, command="pg_ctl start"),))),
    ),
]


@pytest.mark.parametrize(("_why", "guard", "make"), STOPS, ids=[why for why, _, _ in STOPS])
def test_it_is_left_alone_when(_why: str, guard: str, make: Callable[[], LockReadings]) -> None:
    refusal = may_set_aside(STEP, make())
    assert refusal is not None
    assert refusal.guard == guard


@pytest.mark.parametrize("name", ProofName)
@pytest.mark.parametrize("ok", [False, None])
def test_without_any_single_proof_it_is_left_alone(name: ProofName, ok: bool | None) -> None:
    refusal = may_set_aside(STEP, without(name, ok))
    assert refusal is not None
    assert refusal.guard == "proven_stale"
    assert name.value in refusal.reason


def test_a_state_that_contradicts_its_proofs_is_not_believed() -> None:
    """The proofs decide; a state of `stale` with one proof open is a bug somewhere else."""
    proofs = tuple(p for p in PROVEN.proofs if p.name is not ProofName.SHARED_MEMORY)
    verdict = LockFileVerdict(state=LockFileState.STALE, proofs=proofs)
    refusal = may_set_aside(STEP, replace(GOOD, lock=replace(LOCK, verdict=verdict)))
    assert refusal is not None
    assert "shared_memory" in refusal.reason


def test_a_file_with_every_proof_may_be_set_aside() -> None:
    assert may_set_aside(STEP, GOOD) is None


def test_every_guard_is_tested_here() -> None:
    assert {g.name for g in GUARDS} - {guard for _, guard, _ in STOPS} == {"host"}


async def test_without_host_access_it_is_refused() -> None:
    refusal = await SET_ASIDE_LOCK_FILE.check(STEP, bare_world())
    assert refusal is not None
    assert refusal.guard == "host"


def test_the_new_name_says_what_it_is_and_since_when() -> None:
    assert stale_name(AT) == "postmaster.pid.stale.20260314T090000000000Z"
