"""Until when an incident is left to heal by itself. Pure.

Only a server that is down heals so, by whoever restarts it, and what only suffers from that.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from stanch.incident.effects import HEAL_WITH_IT
from stanch.incident.state import Incident
from stanch.model.symptoms import Symptom
from stanch.policy.policy import Policy
from stanch.policy.rules import declared_rules
from stanch.policy.rules.moments import tells_of_a_moment


def heals_until(policy: Policy, i: Incident) -> datetime | None:
    """The end of the allowance that counts from when the server went down.

    None: it is not down, or something else stands that is worth a page and that no page has told.
    What is too small to wake anybody for shortens nothing, nor does what people know already.
    """
    if i.down_at is None:
        return None
    news = (i.symptoms[key] for key in i.unpaged if key in i.symptoms)
    if any(_pages_by_itself(policy, symptom) for symptom in news):
        return None
    return i.down_at + timedelta(seconds=i.page_after_s)


def _pages_by_itself(policy: Policy, symptom: Symptom) -> bool:
    if symptom.kind in HEAL_WITH_IT or tells_of_a_moment(symptom.kind.value):
        return False
    rank = symptom.rank or declared_rules()[symptom.kind].severity
    return policy.severity(rank).pages
