"""How far standbys are behind, and at which stage of its way the WAL is held up."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.facts.workings import Doing
from stanch.model.readings import Reading as Figure
from stanch.model.shown import human_bytes
from stanch.model.symptoms import Symptom, SymptomKind

MIB = 1024 * 1024
LAG_BYTES = 64 * MIB
"""So much is behind no healthy server for want of a moment."""
LATE_BYTES_MIN = 16 * MIB
LATE_S = 10.0
SILENT_S = 12.0
"""Receivers speak every ten seconds at least (wal_receiver_status_interval, the --status-interval
of pg_receivewal and pg_recvlogical), and each time they have written something."""
LAG_KINDS = (SymptomKind.REPLICATION_LAG, SymptomKind.REPLICATION_DELAY)
WANTED = "RecoveryApplyDelay"
"""recovery_min_apply_delay: the standby is late because somebody wants it to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """One receiver of this server's WAL, and how much is held up at each stage of its way."""

    name: str
    state: str
    sync_state: str
    sending_bytes: float
    """Written here and not sent yet."""
    flushing_bytes: float
    """Sent and not on the standby's disk yet."""
    replaying_bytes: float
    """On its disk and not replayed yet."""
    late_s: float | None
    pid: int = 0
    """Of its walsender."""
    silent_s: float | None = None
    """Since its last word; None: it has not said one, or nobody was told."""
    slot: str = ""
    """The slot it uses."""

    @property
    def total_bytes(self) -> float:
        return self.sending_bytes + self.flushing_bytes + self.replaying_bytes


def lags(figures: Figures) -> tuple[Lag, ...]:
    """Every receiver that says where it is, the furthest behind first.

    Two standbys may have one name: the figures of one come in the order of the receivers.
    """
    senders = figures.named("sender")
    said = {figure.subject: figure for figure in figures.named("sender_silent_s")}
    stages = [
        [figure.value for figure in figures.named(name)]
        for name in ("sent_lag_bytes", "flush_lag_bytes", "replay_lag_bytes", "replay_lag_s")
    ]
    found = [
        _lag(sender, row, said.get(f"{sender.value or 0:.0f}"))
        for sender, *row in zip(senders, *stages, strict=False)
        if row[0] is not None
    ]
    return tuple(sorted(found, key=lambda lag: (-lag.total_bytes, lag.name)))


def _lag(sender: Figure, row: list[float | None], said: Figure | None) -> Lag:
    sent, flushed, replayed, late_s = row
    sent = max(0.0, sent or 0.0)
    # Receivers that only keep WAL do not replay; some do not say what they have flushed.
    flushed = sent if flushed is None else max(sent, flushed)
    replayed = flushed if replayed is None else max(flushed, replayed)
    state, _, sync_state = sender.detail.partition(" ")
    return Lag(
        name=sender.subject,
        state=state,
        sync_state=sync_state,
        sending_bytes=sent,
        flushing_bytes=flushed - sent,
        replaying_bytes=replayed - flushed,
        late_s=late_s,
        pid=round(sender.value or 0),
        silent_s=None if said is None else said.value,
        slot="" if said is None else said.detail,
    )


def worst(evidence: Evidence) -> Lag | None:
    """The receiver that is furthest behind, where that is worth a word."""
    figures = value_of(evidence.figures)
    found = [lag for lag in lags(figures) if _matters(lag, evidence)] if figures else []
    return found[0] if found else None


def _matters(lag: Lag, evidence: Evidence) -> bool:
    if lag.state == "backup":
        return False
    if is_suspended(lag, evidence):
        return lag.sending_bytes >= MIB
    # What was measured last stays as it is while the receiver says nothing.
    late = (lag.late_s or 0.0) >= LATE_S or (lag.silent_s or 0.0) >= SILENT_S
    stands = any(s.subject in ("", lag.name) for s in _told(evidence))
    least = LATE_BYTES_MIN if late or stands else LAG_BYTES
    return lag.total_bytes >= least


def is_suspended(lag: Lag, evidence: Evidence) -> bool:
    """Somebody has suspended its walsender, or traces it: nothing is sent, no word is heard."""
    processes = value_of(evidence.processes)
    return processes is not None and lag.pid in processes.suspended


def _told(evidence: Evidence) -> tuple[Symptom, ...]:
    return tuple(s for s in evidence.symptoms if s.kind in LAG_KINDS)


def lag_since(evidence: Evidence) -> Symptom | None:
    """The oldest symptom of lag that stands."""
    return min(_told(evidence), key=lambda s: s.since, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a standby has received and not replayed."""

    bytes: float
    late_s: float | None


def backlog(evidence: Evidence) -> Backlog | None:
    """Of a standby that is worth a word; None on a primary and where nothing is waiting."""
    figures = value_of(evidence.figures)
    if figures is None or not figures.value("in_recovery"):
        return None
    waiting = figures.value("received_bytes_to_replay") or 0.0
    late_s = figures.value("last_replayed_xact_age_s")
    late = late_s is not None and late_s >= LATE_S
    enough = waiting >= LATE_BYTES_MIN or (late and waiting > 0)
    return Backlog(bytes=waiting, late_s=late_s) if enough else None


def replayer(evidence: Evidence) -> Doing | None:
    """What the startup process of a standby does just now."""
    activity = value_of(evidence.activity)
    found = [d for d in activity.doings if d.backend_type == "startup"] if activity else []
    return found[0] if found else None


def lag_text(lag: Lag) -> str:
    """What is held up at each stage, in words."""
    return (
        f'standby "{lag.name}": {human_bytes(lag.sending_bytes)} not sent, '
        f"{human_bytes(lag.flushing_bytes)} not written there, "
        f"{human_bytes(lag.replaying_bytes)} not replayed"
    )


def lag_told(evidence: Evidence) -> str:
    """A sentence about the standby that is furthest behind, or this one; empty for none."""
    lag, behind = worst(evidence), backlog(evidence)
    if lag is not None:
        return f"{lag_text(lag)[0].upper()}{lag_text(lag)[1:]}."
    if behind is None or (doing := replayer(evidence)) is None or doing.wait_event == WANTED:
        return ""
    return f"{human_bytes(behind.bytes)} of WAL are received and not replayed."


def ahead_bytes(evidence: Evidence) -> float | None:
    """On a standby: what its primary has written and this one has not received."""
    cluster, figures = value_of(evidence.cluster), value_of(evidence.figures)
    own = cluster.of(evidence.target) if cluster else None
    if cluster is None or figures is None or own is None or not figures.value("in_recovery"):
        return None
    if not figures.value("receiver_streaming"):
        return None
    replayed = figures.value("wal_bytes_total")
    to_replay = figures.value("received_bytes_to_replay")
    primaries = [
        m.position_bytes
        for m in cluster.others(evidence.target)
        if m.primary
        and m.is_fresh(evidence.at)
        and m.position_bytes is not None
        and m.system_identifier == own.system_identifier
    ]
    if replayed is None or to_replay is None or len(primaries) != 1:
        return None
    return primaries[0] - replayed - max(0.0, to_replay)
