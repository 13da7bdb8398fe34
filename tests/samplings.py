"""Short ways to say what a watch sees, and what the rules make of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stanch.detect.engine import NOTHING, Detector, Remembered
from stanch.detect.in_force import plan_for
from stanch.detect.plan import Plan
from stanch.detect.tracker import Cleared, Raised, Tracks, step
from stanch.model.host import Volume, VolumeUse
from stanch.model.ids import TargetName
from stanch.model.readings import Reading
from stanch.model.rules import RuleChange
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom
from stanch.model.vitals import ServerSettings, SessionVitals, Vitals, WorkCounters
from stanch.policy.policy import TargetPolicy

T0 = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
"""A Monday."""
ORDERS = TargetName("orders")
TARGET = TargetPolicy(name=ORDERS, dsn="service=orders")


def target(**changes: Mapping[str, Any]) -> TargetPolicy:
    """The usual target with some rules changed: `target(disk_low={"limit": 5.0})`."""
    rules = {name: RuleChange(kind=name, **change) for name, change in changes.items()}
    return replace(TARGET, rules=rules)


def vitals(
    *,
    used: int = 10,
    waiting: int = 0,
    oldest_wait_s: float | None = None,
    sessions: Mapping[str, Any] | None = None,
    work: Mapping[str, Any] | None = None,
    **more: Any,
) -> Vitals:
    """A healthy server with 100 usable connections, unless said otherwise."""
    counted = SessionVitals(
        client_backends=used,
        active=1,
        active_without_wait=1,
        waiting_on_lock=waiting,
        oldest_lock_wait_s=oldest_wait_s,
    )
    done = WorkCounters(commits=0, rollbacks=0, deadlocks=0, temp_files=0, temp_bytes=0)
    healthy = Vitals(
        at=T0,
        postmaster_start=T0 - timedelta(days=1),
        version_num=150018,
        in_recovery=False,
        transaction_read_only=True,
        sees_sessions=True,
        settings=ServerSettings(max_connections=103, superuser_reserved_connections=3),
        backends=used,
        sessions=replace(counted, **(sessions or {})),
        work=replace(done, **(work or {})),
    )
    return replace(healthy, **more)


def volume(*, free_mib: float, total_mib: float = 1000, inodes_free: int | None = 99) -> Volume:
    return Volume(
        use=VolumeUse.DATA,
        path="/data",
        mount_point="/data",
        device="/dev/x",
        fs_type="ext4",
        total_bytes=int(total_mib * 2**20),
        free_bytes=int(free_mib * 2**20),
        inodes_total=100,
        inodes_free=inodes_free,
        network=False,
        read_only=False,
    )


def seen(**parts: Any) -> Sample:
    return Sample(target=ORDERS, at=T0, **parts)


def told(name: str, value: float | None, subject: str = "", detail: str = "") -> Sample:
    """A sample in which one source tells one thing."""
    return seen(readings=(Reading(name=name, value=value, subject=subject, detail=detail),))


class Watched:
    """Feeds samples through the rules and keeps what they raised and cleared."""

    def __init__(
        self,
        policy: TargetPolicy = TARGET,
        *,
        plan: Plan | None = None,
        tracks: Tracks | None = None,
        usual: Remembered = NOTHING,
    ) -> None:
        self.policy = policy
        self.detector = Detector(plan or plan_for(policy), usual)
        self.tracks: Tracks = tracks or {}
        self.raised: list[str] = []
        self.cleared: list[str] = []
        self.symptoms: list[Symptom] = []
        self.ended: list[Cleared] = []

    def look(self, seconds: float, sample: Sample) -> Watched:
        moment = T0 + timedelta(seconds=seconds)
        sample = replace(sample, at=moment)
        if sample.vitals is not None:
            sample = replace(sample, vitals=replace(sample.vitals, at=moment))
        self.tracks, changes = step(
            self.tracks,
            self.detector.conditions(sample, self.tracks),
            target=ORDERS,
            at=moment,
            clear_hold_s=self.policy.limits.clear_hold_s,
        )
        for change in changes:
            match change:
                case Raised(symptom=symptom):
                    self.raised.append(symptom.key)
                    self.symptoms.append(symptom)
                case Cleared(key=key):
                    self.cleared.append(key)
                    self.ended.append(change)
        return self

    def all(self, series: Iterable[tuple[float, Sample]]) -> Watched:
        for seconds, sample in series:
            self.look(seconds, sample)
        return self
