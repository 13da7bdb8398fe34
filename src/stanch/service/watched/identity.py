"""Which database cluster answers at a target's address: the one that is watched, or another."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.model.readings import Reading

OTHER_CLUSTER = "other_cluster"
_OURS = (Reading(name=OTHER_CLUSTER, value=0.0),)
"""Told with nearly every sample of every target, and made once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """System identifiers, as `pg_control_system()` tells them; empty: not known."""

    expected: str = ""
    """By the policy, else as noted when the server was first seen."""
    answering: str = ""
    """Of the server in which the open session is."""

    @property
    def is_ours(self) -> bool:
        """Nothing is expected, or that very cluster answers. An unread answer proves nothing."""
        return not self.expected or self.answering == self.expected

    @property
    def is_another(self) -> bool:
        return bool(self.answering) and not self.is_ours


def identity_readings(identity: Identity) -> tuple[Reading, ...]:
    """What a rule can judge; nothing where nobody knows who answers."""
    if not identity.expected or not identity.answering:
        return ()
    if identity.is_ours:
        return _OURS
    detail = (
        f"its system identifier is {identity.answering}, and the one watched here is "
        f"{identity.expected}; if that is meant (an upgrade, a restore), set system_identifier: "
        f'"{identity.answering}" for this target in stanch.yaml and reload'
    )
    return (Reading(name=OTHER_CLUSTER, value=1.0, detail=detail),)
