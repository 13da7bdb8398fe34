"""What nobody is paged for just now, whoever said so: a command, or the policy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.silences import PolicySilence, silenced_by
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing


class Silences:
    """Silences as incidents have to hear of them; each ends by itself."""

    def __init__(self, standing: Standing, policies: Policies) -> None:
        self._standing = standing
        self._policies = policies

    def of(self, symptom: Symptom, at: datetime) -> tuple[e.RuleSilenced, ...]:
        """What a symptom is silenced by at this moment, each with the end of all that follows it
        without a gap."""
        said = self._standing.silences(symptom, at)
        held = [
            e.RuleSilenced(
                rule=symptom.kind.value,
                subject=one.subject,
                until=one.until,
                reason=f"silenced by {one.by}: {one.reason}",
            )
            for one in said
        ]
        commanded = max((one.until for one in said), default=at)
        found = self._by_policy(symptom, at, commanded)
        if found is not None:
            silence, until = found
            told = f"silenced by the policy ({silence.name}): {silence.reason}"
            held.append(
                e.RuleSilenced(
                    rule=symptom.kind.value, subject=symptom.subject, until=until, reason=told
                )
            )
        return tuple(held)

    def _by_policy(
        self, symptom: Symptom, at: datetime, commanded: datetime
    ) -> tuple[PolicySilence, datetime] | None:
        """Also one that begins when a commanded silence ends: nobody is paged in between."""
        silences = self._policies.current.silences
        if not silences:
            return None
        now = silenced_by(silences, symptom, at)
        later = silenced_by(silences, symptom, commanded) if commanded > at else None
        if now is None or later is None:
            return now or later
        return now[0], max(now[1], later[1])

    def changes(self, incident: Incident, at: datetime) -> Sequence[e.RuleSilenced]:
        """What an open incident has to hear, so that it is held for what holds now and no longer.

        Whoever was paged for it already goes on to be asked, until somebody takes it.
        """
        if incident.status.ended:
            return ()
        wanted: dict[str, e.RuleSilenced] = {}
        for symptom in _judged(incident, at):
            for held in self.of(symptom, at):
                known = wanted.get(held.key)
                if known is None or known.until < held.until:
                    wanted[held.key] = held
        lifted = [
            _until(key, wanted[key].until if key in wanted else at)
            for key, until in incident.silenced.items()
            if until > (wanted[key].until if key in wanted else at)
        ]
        if incident.page_level:
            return lifted
        return [*lifted, *(h for k, h in wanted.items() if incident.silenced.get(k, at) < h.until)]

    def standing_in_policy(self, at: datetime) -> tuple[tuple[str, datetime], ...]:
        """Silences of the policy whose window is open, by name, each with its end."""
        windows = ((s.name, s.window(at)) for s in self._policies.current.silences)
        return tuple((name, window.ends) for name, window in windows if window is not None)


def _judged(incident: Incident, at: datetime) -> list[Symptom]:
    """What stands, as severe as it is, and what was silenced of which nothing stands now."""
    standing = list(incident.symptoms.values())
    kinds = {s.kind.value for s in standing}
    idle = [k for k in incident.silenced if k not in incident.symptoms and k not in kinds]
    return [*standing, *(_symptom(incident.target, key, at) for key in idle)]


def _symptom(target: TargetName, key: str, at: datetime) -> Symptom:
    kind, _, subject = key.partition(":")
    return Symptom(kind=SymptomKind(kind), target=target, since=at, subject=subject)


def _until(key: str, until: datetime) -> e.RuleSilenced:
    rule, _, subject = key.partition(":")
    reason = "the silence was ended, ends earlier now, or does not hold what is as severe as this"
    return e.RuleSilenced(rule=rule, subject=subject, until=until, reason=reason)
