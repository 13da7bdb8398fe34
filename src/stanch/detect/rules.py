"""Every rule of this release: one sample and the limits in, conditions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from stanch.detect.tracker import Condition
from stanch.model.host import Volume
from stanch.model.reach import STATE_MEANINGS, Reach, ReachState
from stanch.model.samples import Sample
from stanch.model.symptoms import SymptomKind
from stanch.model.vitals import Vitals
from stanch.policy.policy import Limits

DOWN = frozenset(
    {
        ReachState.REFUSED,
        ReachState.TIMEOUT,
        ReachState.UNREACHABLE,
        ReachState.DNS_FAILURE,
        ReachState.STARTING_UP,
        ReachState.SHUTTING_DOWN,
        ReachState.HUNG,
    }
)
"""States in which no application gets served."""

NOT_LET_IN = frozenset(
    {
        ReachState.AUTH_FAILED,
        ReachState.NO_SUCH_DATABASE,
        ReachState.TLS_FAILURE,
        ReachState.CONNECTION_LIMIT,
        ReachState.TURNED_AWAY,
    }
)
"""The server answers, but not to us: we cannot tell how it is."""

UNWATCHED_HOLD_S = 10.0


def conditions(sample: Sample, limits: Limits) -> Iterator[Condition]:
    """What the rules say about one sample. Missing readings yield no verdict."""
    if sample.reach is not None:
        yield from _reachability(sample, sample.reach)
    if sample.unread:
        yield Condition(
            kind=SymptomKind.UNWATCHED,
            # Where nobody gets in, that is the trouble, and this follows from it.
            bad=True if sample.lets_in else None,
            detail=f"the watch cannot read it: {sample.unread}",
            since=sample.lost_at,
            hold_s=UNWATCHED_HOLD_S,
        )
    if sample.vitals is not None:
        yield Condition(
            kind=SymptomKind.SERVER_DOWN,
            # An open session says nothing about a server that lets nobody new in.
            bad=False if sample.lets_in else None,
            detail="answers over an open session and lets new ones in",
        )
        yield Condition(kind=SymptomKind.UNWATCHED, bad=False, detail="lets the watch in")
        yield from _connections(sample.vitals, limits)
        yield _blocked(sample, sample.vitals, limits)
    by_mount: dict[str, list[Volume]] = {}
    for volume in sample.volumes or ():
        by_mount.setdefault(volume.mount_point, []).append(volume)
    for same in by_mount.values():
        yield from _disk(same, limits)


def _reachability(sample: Sample, reach: Reach) -> Iterator[Condition]:
    meaning = STATE_MEANINGS[reach.state]
    failed = reach.failed_layer
    told = f"{reach.state.value}: {meaning.sentence}"
    detail = f"{told} ({failed.name}: {failed.detail})" if failed and failed.detail else told
    down = reach.state in DOWN
    yield Condition(
        kind=SymptomKind.SERVER_DOWN,
        # An unconfirmed silence is no verdict; an answer always is one.
        bad=None if down and not sample.confirmed else down,
        detail=detail,
        since=sample.lost_at,
    )
    if reach.state is ReachState.TOO_MANY_CLIENTS:
        yield Condition(
            kind=SymptomKind.CONNECTIONS_EXHAUSTED,
            bad=True if sample.confirmed else None,
            detail=detail,
            since=sample.lost_at,
        )
    if not sample.unread:
        yield Condition(
            kind=SymptomKind.UNWATCHED,
            bad=None if down else reach.state in NOT_LET_IN,
            detail=detail,
            hold_s=UNWATCHED_HOLD_S,
        )


def _connections(vitals: Vitals, limits: Limits) -> Iterator[Condition]:
    """Share of the slots an ordinary role can have. Source: pg_stat_activity, pg_monitor."""
    usable = vitals.settings.usable_connections
    if usable <= 0:
        return
    used = vitals.sessions.client_backends if vitals.sessions else vitals.backends
    share_pct = 100.0 * used / usable
    detail = f"{used} of {usable} connections in use"
    # The worse one first: an incident takes its title from what opened it.
    yield Condition(
        kind=SymptomKind.CONNECTIONS_EXHAUSTED,
        bad=share_pct >= limits.connections_critical_pct,
        measured=round(share_pct, 1),
        limit=limits.connections_critical_pct,
        unit="%",
        detail=detail,
        hold_s=limits.connections_hold_s,
    )
    yield Condition(
        kind=SymptomKind.CONNECTIONS_HIGH,
        bad=share_pct >= limits.connections_high_pct,
        measured=round(share_pct, 1),
        limit=limits.connections_high_pct,
        unit="%",
        detail=detail,
        hold_s=limits.connections_hold_s,
    )


def _blocked(sample: Sample, vitals: Vitals, limits: Limits) -> Condition:
    sessions = vitals.sessions
    if sessions is None:
        return Condition(kind=SymptomKind.SESSIONS_BLOCKED, bad=None)
    waiting, oldest_s = sessions.waiting_on_lock, sessions.oldest_lock_wait_s or 0.0
    return Condition(
        kind=SymptomKind.SESSIONS_BLOCKED,
        bad=waiting >= limits.blocked_sessions_min and oldest_s >= limits.blocked_wait_s_min,
        measured=float(waiting),
        limit=float(limits.blocked_sessions_min),
        unit="sessions",
        detail=f"{waiting} sessions wait for locks, the oldest for {oldest_s:.0f} s",
        since=sample.at - timedelta(seconds=oldest_s) if waiting else None,
    )


def _disk(same: Sequence[Volume], limits: Limits) -> Iterator[Condition]:
    """Free space for an ordinary user, in bytes and inodes: either one running out is enough.

    `same` are the server's parts on one volume: it is told once, with everything it holds.
    """
    volume = same[0]
    free_pct = 100.0 * volume.free_bytes / volume.total_bytes if volume.total_bytes else 0.0
    no_inodes = volume.inodes_free == 0
    holds = ", ".join(sorted({v.use.value for v in same}))
    detail = (
        f"{volume.mount_point} ({holds}) has {volume.free_bytes / 2**20:.0f} MiB free"
        f" of {volume.total_bytes / 2**20:.0f} MiB"
    )
    full = volume.free_bytes <= limits.disk_full_free_bytes or no_inodes
    yield Condition(
        kind=SymptomKind.DISK_FULL,
        subject=volume.mount_point,
        bad=full,
        measured=float(volume.free_bytes),
        limit=float(limits.disk_full_free_bytes),
        unit="bytes",
        detail=f"{detail}; no inodes left" if no_inodes else detail,
    )
    yield Condition(
        kind=SymptomKind.DISK_LOW,
        subject=volume.mount_point,
        # Full is told by its own rule; saying both would be telling one thing twice.
        bad=free_pct <= limits.disk_low_free_pct and not full,
        measured=round(free_pct, 1),
        limit=limits.disk_low_free_pct,
        unit="% free",
        detail=detail,
        hold_s=limits.connections_hold_s,
    )
