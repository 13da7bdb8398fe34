"""A lock file is stale only when every proof holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.lock_file import (
    LockFile,
    LockFileFacts,
    LockFileState,
    LockFileWitness,
    ProofName,
    judge_lock_file,
    kernel_is_to_be_asked,
    parse_lock_file,
)
from stanch.model.diagnosis import Missing
from stanch.model.host import (
    ContainerSigns,
    DataDirectoryProcesses,
    FileHolder,
    FileHolds,
    ProcessInfo,
    SharedMemory,
    Volume,
    VolumeUse,
)

CONTENT = b"4711\n/srv/data\n1700000000\n5432\n/tmp\nlocalhost\n  5432001        17\nready   \n"
LOCK = parse_lock_file(CONTENT)
MISSING = Missing(what="it", reason="not allowed")

STRANGER = ProcessInfo(
    pid=4711,
    ppid=1,
    started_at=datetime.fromtimestamp(1700005000, UTC),
    exe="/usr/bin/sleep",
    cwd="/",
    title="sleep 100",
    state="sleeping",
    uid=1,
)
POSTMASTER = replace(
    STRANGER,
    started_at=datetime.fromtimestamp(1700000000.4, UTC),
    exe="/usr/lib/postgresql/15/bin/postgres",
    cwd="/srv/data",
)
NOBODY = DataDirectoryProcesses(postmaster=None, members=(), orphans=(), holders=())
ORPHAN = replace(POSTMASTER, pid=4720, title="postgres: app app [local] idle")
BACKUP = FileHolder(pid=99, title="tar c /srv/data", files=("/srv/data/base/1/2",))
HIDDEN = replace(NOBODY, unreadable=1, unreadable_pids=(1,))
NONE_OPEN = FileHolds(held=(), files=1200, complete=True)
ONE_OPEN = FileHolds(held=("/srv/data/base/1/2",), files=1199, complete=False)
NOT_ALL_ASKED = FileHolds(held=(), files=64, complete=False, gap="the time was over")
LOCAL = Volume(
    use=VolumeUse.DATA,
    path="/srv/data",
    mount_point="/srv",
    device="/dev/vdb",
    fs_type="ext4",
    total_bytes=1,
    free_bytes=1,
    inodes_total=None,
    inodes_free=None,
    network=False,
    read_only=False,
)
PROVEN = LockFileFacts(
    data_directory="/srv/data",
    witness=LockFileWitness(boot_id="a", pid=4711, started_at_epoch_s=1700000000),
    boot_id="a",
    process=STRANGER,
    processes=NOBODY,
    file_holds=MISSING,
    shared_memory=SharedMemory(shm_id=17, exists=False, attached=0),
    volumes=(LOCAL,),
    container=ContainerSigns(in_container=False),
)


def test_all_eight_lines_are_read() -> None:
    expected = LockFile(
        pid=4711,
        data_directory="/srv/data",
        started_at_epoch_s=1700000000,
        port=5432,
        socket_directory="/tmp",
        listen_address="localhost",
        shm_key=5432001,
        shm_id=17,
        status="ready",
    )
    assert parse_lock_file(CONTENT) == expected


@pytest.mark.parametrize("length", range(len(CONTENT)))
def test_a_file_cut_anywhere_is_read_as_far_as_it_goes(length: int) -> None:
    lock = parse_lock_file(CONTENT[:length])
    assert lock.pid is None or str(lock.pid) in "4711"


def test_a_single_user_server_has_a_negative_pid() -> None:
    lock = parse_lock_file(b"-4711\n/srv/data\n1700000000\n")
    assert (lock.pid, lock.single_user) == (4711, True)


@given(st.binary(max_size=300))
def test_garbage_is_never_stale(content: bytes) -> None:
    lock = parse_lock_file(content)
    if lock != LOCK:
        assert judge_lock_file(lock, PROVEN).state is not LockFileState.STALE


@pytest.mark.parametrize("process", [None, STRANGER], ids=["nobody", "another process"])
def test_with_every_proof_it_is_stale(process: ProcessInfo | None) -> None:
    verdict = judge_lock_file(LOCK, replace(PROVEN, process=process))
    assert verdict.state is LockFileState.STALE
    assert all(proof.ok for proof in verdict.proofs)


@pytest.mark.parametrize("processes", [HIDDEN, MISSING], ids=["some hidden", "not readable"])
def test_the_kernels_word_is_enough_where_processes_are_hidden(
    processes: DataDirectoryProcesses | Missing,
) -> None:
    facts = replace(PROVEN, processes=processes, file_holds=NONE_OPEN)
    assert judge_lock_file(LOCK, facts).state is LockFileState.STALE


@pytest.mark.parametrize("gap", [MISSING, NOT_ALL_ASKED], ids=["no leases", "not all asked"])
def test_all_processes_seen_is_enough_where_the_kernel_does_not_tell(
    gap: FileHolds | Missing,
) -> None:
    assert judge_lock_file(LOCK, replace(PROVEN, file_holds=gap)).state is LockFileState.STALE


def test_who_is_in_the_way_is_named_as_a_person_finds_it() -> None:
    long = replace(BACKUP, title="\x1b[2J" + "x" * 500)
    for holder in (BACKUP, long):
        facts = replace(PROVEN, processes=replace(NOBODY, holders=(holder,)))
        detail = judge_lock_file(LOCK, facts).proof(ProofName.NO_FILE_HOLDER).detail
        assert f"process {BACKUP.pid} (" in detail
        assert BACKUP.files[0] in detail
        assert len(detail) < 300


def test_no_open_file_does_not_outweigh_shared_memory_in_use() -> None:
    alive = SharedMemory(shm_id=17, exists=True, attached=3)
    facts = replace(PROVEN, processes=HIDDEN, file_holds=NONE_OPEN, shared_memory=alive)
    assert judge_lock_file(LOCK, facts).state is LockFileState.LIVE


@pytest.mark.parametrize(
    ("processes", "asked"),
    [
        (NOBODY, True),
        (HIDDEN, True),
        (MISSING, True),
        (replace(NOBODY, holders=(BACKUP,)), False),
        (replace(NOBODY, orphans=(ORPHAN,)), False),
        (replace(HIDDEN, postmaster=POSTMASTER), False),
    ],
)
def test_the_kernel_is_not_asked_about_files_of_a_server_that_is_seen_at_work(
    processes: DataDirectoryProcesses | Missing, *, asked: bool
) -> None:
    assert kernel_is_to_be_asked(processes) is asked


def test_a_boot_since_then_is_a_proof_too() -> None:
    assert judge_lock_file(LOCK, replace(PROVEN, boot_id="b")).state is LockFileState.STALE


@pytest.mark.parametrize(
    ("facts", "name", "ok"),
    [
        (replace(PROVEN, boot_id=MISSING), ProofName.BOOT_ID, None),
        (replace(PROVEN, witness=MISSING), ProofName.BOOT_ID, None),
        (
            replace(PROVEN, witness=LockFileWitness(boot_id="a", pid=1, started_at_epoch_s=2)),
            ProofName.BOOT_ID,
            None,
        ),
        (replace(PROVEN, process=MISSING), ProofName.PROCESS_START, None),
        (replace(PROVEN, process=MISSING), ProofName.PROCESS_IDENTITY, None),
        (replace(PROVEN, process=replace(STRANGER, pid=9)), ProofName.PROCESS_START, None),
        (
            replace(PROVEN, process=replace(STRANGER, started_at=None)),
            ProofName.PROCESS_START,
            None,
        ),
        (
            replace(PROVEN, process=replace(STRANGER, started_at=POSTMASTER.started_at)),
            ProofName.PROCESS_START,
            False,
        ),
        (replace(PROVEN, process=replace(STRANGER, exe=None)), ProofName.PROCESS_IDENTITY, None),
        (replace(PROVEN, process=replace(STRANGER, cwd=None)), ProofName.PROCESS_IDENTITY, None),
        (
            replace(PROVEN, process=replace(STRANGER, state="zombie")),
            ProofName.PROCESS_IDENTITY,
            None,
        ),
        (
            replace(PROVEN, process=replace(STRANGER, exe=POSTMASTER.exe)),
            ProofName.PROCESS_IDENTITY,
            False,
        ),
        (
            replace(PROVEN, process=replace(STRANGER, cwd="/srv/data/")),
            ProofName.PROCESS_IDENTITY,
            False,
        ),
        (replace(PROVEN, processes=MISSING), ProofName.NO_FILE_HOLDER, None),
        (replace(PROVEN, processes=HIDDEN), ProofName.NO_FILE_HOLDER, None),
        (
            replace(PROVEN, processes=HIDDEN, file_holds=NOT_ALL_ASKED),
            ProofName.NO_FILE_HOLDER,
            None,
        ),
        (replace(PROVEN, processes=HIDDEN, file_holds=ONE_OPEN), ProofName.NO_FILE_HOLDER, False),
        (replace(PROVEN, file_holds=ONE_OPEN), ProofName.NO_FILE_HOLDER, False),
        (
            replace(PROVEN, processes=replace(NOBODY, holders=(BACKUP,)), file_holds=NONE_OPEN),
            ProofName.NO_FILE_HOLDER,
            False,
        ),
        (
            replace(PROVEN, processes=replace(NOBODY, holders=(BACKUP,))),
            ProofName.NO_FILE_HOLDER,
            False,
        ),
        (replace(PROVEN, shared_memory=MISSING), ProofName.SHARED_MEMORY, None),
        (
            replace(PROVEN, shared_memory=SharedMemory(shm_id=18, exists=False, attached=0)),
            ProofName.SHARED_MEMORY,
            None,
        ),
        (replace(PROVEN, volumes=()), ProofName.EXCLUSIVE_VOLUME, None),
        (replace(PROVEN, volumes=(LOCAL, MISSING)), ProofName.EXCLUSIVE_VOLUME, None),
        (
            replace(PROVEN, volumes=(replace(LOCAL, network=None),)),
            ProofName.EXCLUSIVE_VOLUME,
            None,
        ),
        (
            replace(PROVEN, volumes=(LOCAL, replace(LOCAL, network=True))),
            ProofName.EXCLUSIVE_VOLUME,
            False,
        ),
        (replace(PROVEN, container=MISSING), ProofName.EXCLUSIVE_VOLUME, None),
        (
            replace(PROVEN, container=ContainerSigns(in_container=None)),
            ProofName.EXCLUSIVE_VOLUME,
            None,
        ),
        (
            replace(PROVEN, container=ContainerSigns(in_container=True)),
            ProofName.EXCLUSIVE_VOLUME,
            False,
        ),
    ],
)
def test_one_proof_short_is_unproven(
    facts: LockFileFacts, name: ProofName, *, ok: bool | None
) -> None:
    verdict = judge_lock_file(LOCK, facts)
    assert verdict.state is LockFileState.UNPROVEN
    assert verdict.proof(name).ok is ok


@pytest.mark.parametrize(
    "facts",
    [
        replace(PROVEN, process=POSTMASTER),
        replace(PROVEN, process=replace(POSTMASTER, exe=f"{POSTMASTER.exe} (deleted)")),
        replace(PROVEN, process=None, processes=replace(NOBODY, orphans=(ORPHAN,))),
        replace(PROVEN, shared_memory=SharedMemory(shm_id=17, exists=True, attached=1)),
    ],
    ids=["postmaster", "upgraded postmaster", "orphan", "attached memory"],
)
def test_any_sign_of_life_is_live(facts: LockFileFacts) -> None:
    verdict = judge_lock_file(LOCK, facts)
    assert verdict.state is LockFileState.LIVE
    assert verdict.signs_of_life


def test_a_server_of_another_folder_under_the_same_pid_is_unproven_not_live() -> None:
    other = replace(POSTMASTER, cwd="/srv/other")
    assert judge_lock_file(LOCK, replace(PROVEN, process=other)).state is LockFileState.UNPROVEN
