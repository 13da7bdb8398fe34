"""Everything one diagnosis rests on, as plain values that can be kept and judged again.

Each item is a `Reading` (what, when, from where, how long it took) or `Missing` with the reason.
The bundle is small on purpose: counts instead of rows, the last log events instead of the log.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Generic, TypeVar

from stanch.diagnose.cluster import ClusterSeen
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import History
from stanch.diagnose.inside import Activity, Chains, Changes, Retention, Sessions
from stanch.diagnose.outside import (
    Control,
    Kernel,
    LockFileSeen,
    Log,
    Place,
    ServerProcesses,
    Volumes,
)
from stanch.facts.pace import Pace
from stanch.model.codec import decode, encode
from stanch.model.diagnosis import Missing
from stanch.model.host import ProcessorUse
from stanch.model.machine import ServiceState
from stanch.model.patroni import PatroniSeen
from stanch.model.ports.traces import StartFiles
from stanch.model.reach import Reach, ReachState
from stanch.model.symptoms import Symptom

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    """One reading with its provenance."""

    value: T
    at: datetime
    source: str
    """View, file or command it came from."""
    took_ms: float


# --- the wire -----------------------------------------------------------------------------------

RUNNING = frozenset(
    {
        ReachState.UP,
        ReachState.READ_ONLY,
        ReachState.TOO_MANY_CLIENTS,
        ReachState.AUTH_FAILED,
        ReachState.NO_SUCH_DATABASE,
        ReachState.TLS_FAILURE,
        ReachState.CONNECTION_LIMIT,
        ReachState.TURNED_AWAY,
    }
)
"""States that only a server open for business can cause."""


def is_open(reach: Reach) -> bool:
    """A server spoke and is neither starting nor stopping, even if it let nobody in."""
    spoke = reach.state is ReachState.REFUSED and reach.sqlstate is not None
    return reach.state in RUNNING or spoke


LOOKBACK_S = 900.0
NOT_KEPT = Missing(what="evidence", reason="not gathered when this was kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was read of one target for one diagnosis."""

    target: str
    at: datetime
    """When the gathering ended; ages are measured against it."""
    elapsed_ms: float
    reach: Reading[Reach] | Missing
    sessions: Reading[Sessions] | Missing
    chains: Reading[Chains] | Missing
    retention: Reading[Retention] | Missing
    log: Reading[Log] | Missing
    control: Reading[Control] | Missing
    lock_file: Reading[LockFileSeen] | Missing
    processes: Reading[ServerProcesses] | Missing
    volumes: Reading[Volumes] | Missing
    kernel: Reading[Kernel] | Missing
    place: Reading[Place] | Missing
    activity: Reading[Activity] | Missing = NOT_KEPT
    figures: Reading[Figures] | Missing = NOT_KEPT
    """Numbers by name, as the server tells them now."""
    history: Reading[History] | Missing = NOT_KEPT
    """The flight recorder: what was usual before, and the last value of everything recorded."""
    changes: Reading[Changes] | Missing = NOT_KEPT
    pace: Reading[Pace] | Missing = NOT_KEPT
    """What the server did in the second or so between two looks."""
    cluster: Reading[ClusterSeen] | Missing = NOT_KEPT
    """The servers that belong together, as the watch of each of them knows it."""
    patroni: Reading[PatroniSeen] | Missing = NOT_KEPT
    beside: Reading[Figures] | Missing = NOT_KEPT
    """What poolers in front of it and services that use it say."""
    service: Reading[ServiceState] | Missing = NOT_KEPT
    """The server's container or service, as whoever keeps it says."""
    machine: Reading[ProcessorUse] | Missing = NOT_KEPT
    """Who used the processors of its machine meanwhile."""
    files: Reading[StartFiles] | Missing = NOT_KEPT
    """What of the data directory decides whether it can be started."""
    symptoms: tuple[Symptom, ...] = ()
    """What the watch sees standing on this target, and since when."""
    onset: datetime | None = None
    """Since when something is seen to be wrong; None: nobody watched."""
    noted_pid: int | None = None
    """The postmaster's, noted while the server was known to live."""
    well_at: datetime | None = None
    """When the server was last seen to be well, by whoever watches it."""
    cluster_expected: str = ""
    """System identifier of the cluster that is watched; empty: nobody knows it."""
    cluster_answering: str = ""
    """Of the one that answers; empty: none does, or it was not read."""
    lookback_s: float = LOOKBACK_S
    """What ended longer ago than this is history, not a finding."""
    disk_full_free_bytes: int = 32 * 1024 * 1024
    """At or below this a volume counts as full; the policy's limit."""
    managed: str = ""
    """The provider that keeps the server, by its name or as somebody says; see `managed`."""
    backup_old_s: float | None = None
    """From this age on the newest good backup is too old; the policy's limit, None: nobody said."""

    def missing(self) -> tuple[Missing, ...]:
        """What could not be read, in the order of the fields; not who is not there to be asked."""
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(v for v in values if isinstance(v, Missing) and v.reason)


def to_bytes(evidence: Evidence) -> bytes:
    """The bundle as it is kept beside the timeline."""
    return encode(evidence)


def from_bytes(data: bytes) -> Evidence:
    """The bundle that `to_bytes` kept. Raises CodecError."""
    return decode(Evidence, data)


def postmaster_lives(evidence: Evidence) -> bool | None:
    """Whether a postmaster runs on the data directory; None where it cannot be told.

    Where some processes could not be inspected, the lock file decides: a postmaster whose PID it
    does not name stops itself within a minute.
    """
    processes, lock = value_of(evidence.processes), value_of(evidence.lock_file)
    if processes is None:
        return None
    if processes.postmaster_pid is not None:
        return True
    if not processes.uninspected:
        return False
    if lock is None or lock.holder_unknown:
        return None
    is_nobody = not lock.present or lock.holder_pid is None or lock.holder_is_postmaster is False
    return False if is_nobody else None


def is_lately(evidence: Evidence, at: datetime | None) -> bool:
    """Within what is looked back over; a line of the log without a time stands at its end."""
    return at is None or (evidence.at - at).total_seconds() <= evidence.lookback_s


def value_of(item: Reading[T] | Missing) -> T | None:
    """The value where there is one."""
    return None if isinstance(item, Missing) else item.value
