"""What may be called rescued, and what may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from acting_worlds import AT, TARGET, cause, diagnosis
from stanch.model.diagnosis import Missing
from stanch.model.host import Volume, VolumeUse
from stanch.model.ports.acting import LoginReading
from stanch.model.vitals import ServerSettings, SessionVitals, Vitals, WorkCounters
from stanch.respond.rescue import RescueReadings, judge

GB = 1 << 30
GONE = Missing(what="it", reason="no answer")

LOGIN = LoginReading(role="app", login_ok=True, write_ok=True, detail="", took_ms=12.0)


def vitals(used: int) -> Vitals:
    return Vitals(
        at=AT,
        postmaster_start=AT,
        version_num=150000,
        in_recovery=False,
        transaction_read_only=False,
        sees_sessions=True,
        settings=ServerSettings(max_connections=103, superuser_reserved_connections=3),
        backends=used,
        sessions=SessionVitals(
            client_backends=used, active=0, active_without_wait=0, waiting_on_lock=0
        ),
        work=WorkCounters(commits=0, rollbacks=0, deadlocks=0, temp_files=0, temp_bytes=0),
        archiver=None,
        slots=(),
        senders=(),
        xid_age_max=None,
        mxid_age_max=None,
        prepared_xacts=0,
        oldest_prepared_xact_age_s=None,
        wal_lsn=None,
        wal_position_bytes=None,
    )


STANDBY_NOW = replace(vitals(50), in_recovery=True)


def volume(free_bytes: int, use: VolumeUse = VolumeUse.WAL) -> Volume:
    return Volume(
        use=use,
        path="/data/pg_wal",
        mount_point="/data",
        device="tmpfs",
        fs_type="tmpfs",
        total_bytes=100 * GB,
        free_bytes=free_bytes,
        inodes_total=None,
        inodes_free=None,
        network=False,
        read_only=False,
    )


GOOD = RescueReadings(
    login=LOGIN,
    vitals=vitals(50),
    volumes=(volume(50 * GB),),
    diagnosis=diagnosis(cause("killed")),
)


def disk(retainer: str | None, free_bytes: int, *, probability: float = 0.9) -> RescueReadings:
    found = cause("disk_full_wal", probability=probability, retainer=retainer)
    return replace(GOOD, diagnosis=diagnosis(found), volumes=(volume(free_bytes),))


def changed(**changes: Any) -> RescueReadings:
    return replace(GOOD, login=replace(LOGIN, **changes))


def test_a_login_a_write_and_headroom_are_a_rescue() -> None:
    seen = judge(GOOD, TARGET)
    assert (seen.ok, seen.login_ok, seen.write_ok, seen.headroom_ok) == (True, True, True, True)


NOT_RESCUED = [
    ("no way to log in", replace(GOOD, login=GONE)),
    ("the role is turned away", changed(login_ok=False, write_ok=None)),
    ("the role cannot write", changed(write_ok=False)),
    ("connections are at the mark", replace(GOOD, vitals=vitals(80))),
    ("connections cannot be counted", replace(GOOD, vitals=GONE)),
    ("the disk is full, whatever the cause", replace(GOOD, volumes=(volume(0),))),
    (
        "the disk has just what counts as full",
        replace(GOOD, volumes=(volume(32 * 1024 * 1024),)),
    ),
    ("the disk is low and nobody knows why", disk("unknown", 5 * GB)),
    ("the disk is low and nobody looked why", disk(None, 5 * GB)),
    (
        "a primary came back as a standby",
        replace(GOOD, vitals=STANDBY_NOW, was_primary=True),
    ),
    ("another cluster answers in its place", replace(GOOD, cluster="43", was_cluster="42")),
    ("the full disk cannot be read", replace(disk("archiver", GB), volumes=(GONE,))),
]

RESCUED = [
    ("one below the mark", replace(GOOD, vitals=vitals(79))),
    ("a role that only watches logs in", changed(write_ok=None)),
    ("a standby is a standby again", replace(GOOD, vitals=STANDBY_NOW, was_primary=False)),
    ("a standby whose past nobody saw", replace(GOOD, vitals=STANDBY_NOW)),
    ("a primary is a primary again", replace(GOOD, was_primary=True)),
    ("the same cluster answers", replace(GOOD, cluster="42", was_cluster="42")),
    ("which cluster answers was not read", replace(GOOD, was_cluster="42")),
    ("which cluster it was was not read", replace(GOOD, cluster="42")),
    ("the disks are elsewhere", replace(GOOD, volumes=None)),
    ("the disk is low and what fills it is named", disk("archiver", 5 * GB)),
    ("the disk has room again, whoever filled it", disk("unknown", 11 * GB)),
    ("a low disk that was not the trouble", replace(GOOD, volumes=(volume(5 * GB),))),
    ("a full log volume", replace(GOOD, volumes=(volume(0, VolumeUse.LOG),))),
    ("a disk cause nobody believes in", disk("unknown", 5 * GB, probability=0.1)),
]


@pytest.mark.parametrize(("_why", "seen"), NOT_RESCUED, ids=[w for w, _ in NOT_RESCUED])
def test_it_is_not_rescued_when(_why: str, seen: RescueReadings) -> None:
    checked = judge(seen, TARGET)
    assert not checked.ok
    assert checked.detail


@pytest.mark.parametrize(("_why", "seen"), RESCUED, ids=[w for w, _ in RESCUED])
def test_it_is_rescued_when(_why: str, seen: RescueReadings) -> None:
    assert judge(seen, TARGET).ok


def test_a_write_that_was_not_proven_is_said_to_be_so() -> None:
    checked = judge(changed(write_ok=None), TARGET)
    assert checked.write_ok is None
    assert "not proven" in checked.detail


def test_a_changed_role_is_said_in_a_sentence() -> None:
    checked = judge(replace(GOOD, vitals=STANDBY_NOW, was_primary=True), TARGET)
    assert "was a primary" in checked.detail


def test_the_retainer_is_named() -> None:
    assert "slot:old" in judge(disk("slot:old", 50 * GB), TARGET).detail


def test_hostile_words_of_the_server_stay_on_one_line() -> None:
    nasty = "\x1b[31m\nFATAL" * 100
    seen = judge(changed(login_ok=False, detail=nasty, role="a\nb"), TARGET)
    assert seen.detail.isprintable()
    assert len(seen.detail) < 1000
