"""Whether a target really serves again. Pure: judges readings, never assumes one.

Rescued means that a fresh login of the application's role works, that a write by it is made
durable, and that there is headroom: connections below the mark, and room on the disk; after a full
disk also what retains the WAL is named, because otherwise it fills up again.
"""

from __future__ import annotations

from dataclasses import dataclass

from stanch.model.diagnosis import CauseFinding, Diagnosis, Missing
from stanch.model.events import RescueChecked
from stanch.model.host import Volume, VolumeUse
from stanch.model.ports.acting import LoginReading
from stanch.model.symptoms import SymptomKind
from stanch.model.vitals import Vitals
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable

DISK_CAUSES = frozenset({"disk_full_data", "disk_full_wal"})

DISK_PROBABILITY_MIN = 0.5
"""From here on an incident counts as one of a full disk."""

RETAINER_UNNAMED = (None, "", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueReadings:
    """One look at everything that has to work."""

    login: LoginReading | Missing
    vitals: Vitals | Missing
    volumes: tuple[Volume | Missing, ...] | None
    """None: this machine is not the server's, so its disks cannot be looked at."""
    diagnosis: Diagnosis | None
    was_primary: bool | None = None
    """What the server last was before the incident; None: nobody saw it then."""
    cluster: str = ""
    """System identifier of who answers now; empty: not read."""
    was_cluster: str = ""
    """Of who answered before the incident; empty: not read."""


def judge(seen: RescueReadings, target: TargetPolicy) -> RescueChecked:
    """What one look says; `ok` only if nothing that could be looked at speaks against it."""
    login_ok, write_ok, login = _login(seen.login)
    room_ok, room = _headroom(seen, target)
    role = _role(seen)
    other = _other_cluster(seen)
    ok = login_ok and write_ok is not False and room_ok and not role and not other
    return RescueChecked(
        ok=ok,
        detail="; ".join(part for part in (other, login, role, room) if part),
        login_ok=login_ok,
        write_ok=write_ok,
        headroom_ok=room_ok,
    )


def _login(login: LoginReading | Missing) -> tuple[bool, bool | None, str]:
    if isinstance(login, Missing):
        return False, None, f"no login was tried: {login.reason}"
    role = printable(login.role) or "the role"
    why = f" ({printable(login.detail)[:300]})" if login.detail else ""
    if not login.login_ok:
        return False, login.write_ok, f"{role} cannot log in{why}"
    if login.write_ok is False:
        return True, False, f"{role} logs in but cannot write{why}"
    if login.write_ok is None:
        return True, None, f"{role} logs in; a write was not proven{why}"
    return True, True, f"{role} logs in and writes within {login.took_ms:.0f} ms"


def _role(seen: RescueReadings) -> str:
    """What is wrong with its role; empty where nothing is, or it cannot be told."""
    if isinstance(seen.vitals, Missing) or not seen.vitals.in_recovery or not seen.was_primary:
        return ""
    return "it was a primary before the incident and is in recovery now: a standby takes no writes"


def _other_cluster(seen: RescueReadings) -> str:
    """Another cluster in the place of ours serves, but not the data that was lost from sight."""
    if not seen.cluster or not seen.was_cluster or seen.cluster == seen.was_cluster:
        return ""
    now, before = printable(seen.cluster)[:40], printable(seen.was_cluster)[:40]
    return (
        "another database cluster answers than before the incident: "
        f"its system identifier is {now}, and it was {before}"
    )


def _headroom(seen: RescueReadings, target: TargetPolicy) -> tuple[bool, str]:
    connections_ok, connections = _connections(seen.vitals, target)
    disk_ok, disk = _disk(seen, target)
    return connections_ok and disk_ok, "; ".join(part for part in (connections, disk) if part)


def _connections(vitals: Vitals | Missing, target: TargetPolicy) -> tuple[bool, str]:
    if isinstance(vitals, Missing):
        return False, f"connections cannot be counted: {printable(vitals.reason)[:300]}"
    used = vitals.sessions.client_backends if vitals.sessions else vitals.backends
    usable = max(1, vitals.settings.usable_connections)
    ok = used < usable * target.limit(SymptomKind.CONNECTIONS_HIGH) / 100.0
    return ok, f"{used} of {usable} connections in use"


def _disk(seen: RescueReadings, target: TargetPolicy) -> tuple[bool, str]:
    if seen.volumes is None:
        return True, ""
    cause = _disk_cause(seen.diagnosis)
    for volume in seen.volumes:
        if isinstance(volume, Missing):
            if cause is not None:
                return False, f"{printable(volume.what)} cannot be read"
            continue
        if volume.use not in (VolumeUse.DATA, VolumeUse.WAL, VolumeUse.TABLESPACE):
            continue
        ok, detail = _volume(volume, cause, target)
        if not ok:
            return False, detail
    return True, _named(cause)


def _volume(volume: Volume, cause: CauseFinding | None, target: TargetPolicy) -> tuple[bool, str]:
    at = printable(volume.mount_point)
    if volume.free_bytes <= target.limit(SymptomKind.DISK_FULL):
        return False, f"{at} is full: {volume.free_bytes} bytes free"
    share = 100.0 * volume.free_bytes / volume.total_bytes if volume.total_bytes else 0.0
    if cause is None or share >= target.limit(SymptomKind.DISK_LOW):
        return True, ""
    if cause.fact("retainer") in RETAINER_UNNAMED:
        return False, f"{at} is low ({share:.0f} % free) and what fills it is not known"
    return True, ""


def _named(cause: CauseFinding | None) -> str:
    if cause is None:
        return ""
    retainer = cause.fact("retainer")
    if retainer in RETAINER_UNNAMED or retainer == "none":
        return ""
    return f"WAL is retained by {printable(str(retainer))[:100]}"


def _disk_cause(diagnosis: Diagnosis | None) -> CauseFinding | None:
    causes = diagnosis.causes if diagnosis else ()
    likely = (c for c in causes if c.probability >= DISK_PROBABILITY_MIN)
    return next((cause for cause in likely if cause.id in DISK_CAUSES), None)
