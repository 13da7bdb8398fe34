"""What the other servers of a cluster last said of themselves, for a diagnosis of one of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from stanch.diagnose.cluster import ClusterSeen, Member
from stanch.incident.topology import together
from stanch.model.ids import TargetName
from stanch.model.samples import Sample
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing

PROMOTED_WITHIN = timedelta(hours=24)
"""So long a standby that became a primary counts to the cluster it came from, where the policy
does not say that it does: afterwards it was meant to be a server of its own."""


class Neighbours:
    """Hears every sample before anybody concludes from it; kept while the process lives."""

    def __init__(self, *, policies: Policies, standing: Standing) -> None:
        self._policies = policies
        self._standing = standing
        self._members: dict[TargetName, Member] = {}
        self._came_from: dict[TargetName, tuple[TargetName, datetime]] = {}
        """Promoted standbys with the server that they followed until then."""

    def note(self, sample: Sample) -> None:
        """One look. Without vitals all that the server said last stands, with its time."""
        vitals, target = sample.vitals, sample.target
        if vitals is None:
            return
        before, standby = self._members.get(target), vitals.standby
        promoted_at = before.promoted_at if before is not None else None
        if vitals.in_recovery:
            promoted_at = None
            self._came_from.pop(target, None)
        elif before is None or before.primary is False:
            # To a process that has just begun, nobody says when it was.
            promoted_at = sample.at if before is not None else None
            followed = self._standing.follows.get(target)
            if followed is not None:
                self._came_from[target] = (followed.upstream, sample.at)
        self._members[target] = Member(
            target=target,
            seen_at=sample.at,
            primary=not vitals.in_recovery,
            system_identifier=sample.seat.cluster if sample.seat is not None else "",
            timeline=vitals.timeline,
            position_bytes=vitals.wal_position_bytes,
            running_since=vitals.postmaster_start,
            promoted_at=promoted_at,
            replay_paused=None if standby is None else standby.replay_paused,
            unreplayed_bytes=None if standby is None else standby.received_bytes_to_replay,
        )

    def seen(self, target: TargetName) -> ClusterSeen:
        """The cluster of a target: as the policy says, else as its servers were seen to stream."""
        declared = self._policies.current.cluster_of(target)
        names = declared.targets if declared is not None else self._learned(target)
        return ClusterSeen(
            members=tuple(self._members.get(name, Member(target=name)) for name in names),
            declared=declared is not None,
        )

    def _learned(self, target: TargetName) -> tuple[TargetName, ...]:
        policy = self._policies.current
        free = {t.name for t in policy.targets if policy.cluster_of(t.name) is None}
        newest = max((m.seen_at for m in self._members.values() if m.seen_at), default=None)
        came = [
            (name, upstream)
            for name, (upstream, at) in self._came_from.items()
            if newest is not None and newest - at <= PROMOTED_WITHIN
        ]
        follows = ((f.target, f.upstream) for f in self._standing.follows.values())
        pairs = [(a, b) for a, b in (*follows, *came) if a in free and b in free]
        return tuple(together(target, pairs))
