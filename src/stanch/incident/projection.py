"""How a store keeps wakes true: fold, then ask what is due under the policy in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from stanch.incident.due import due
from stanch.incident.fold import apply
from stanch.incident.state import Incident
from stanch.model.ids import RESPONDER, IncidentId
from stanch.model.timeline import Lane, Recorded
from stanch.policy.policy import Policy


class IncidentProjection:
    """Folds incidents; the responder's own stream folds to an incident in which nothing is due.

    `policy_of` maps a policy hash to that policy; None where its text is no longer readable, and
    then the one given as `current` is used: people must be paged under some policy.
    """

    def __init__(
        self, policy_of: Callable[[str], Policy | None], current: Callable[[], Policy | None]
    ) -> None:
        self._policy_of = policy_of
        self._current = current

    def initial(self, incident_id: IncidentId) -> Incident:
        return Incident(id=incident_id)

    def apply(self, state: Incident, recorded: Recorded) -> Incident:
        return apply(state, recorded)

    def policy(self, state: Incident) -> Policy | None:
        """The policy in force for this incident."""
        return self._policy_of(state.policy_hash) or self._current()

    def is_open(self, state: Incident) -> bool:
        return state.opened_at is not None and not state.status.ended

    def wakes(self, state: Incident) -> Mapping[Lane, datetime | None]:
        policy = self.policy(state)
        earliest: dict[Lane, datetime | None] = dict.fromkeys(Lane)
        if policy is None or state.id == RESPONDER or state.opened_at is None:
            return earliest
        # `now` only matters for how many levels an overdue page skips, not for when it is due.
        for item in due(policy, state, state.opened_at):
            earlier = earliest[item.lane]
            earliest[item.lane] = item.at if earlier is None else min(earlier, item.at)
        return earliest
