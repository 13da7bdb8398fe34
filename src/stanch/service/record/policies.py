"""Policies by hash: the one in force now, and those that older incidents still run under."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from stanch.model.errors import PolicyInvalid
from stanch.policy.policy import Policy, TargetPolicy

log = structlog.get_logger("policy")

Parse = Callable[[str], Policy]


class Policies:
    """Every policy this process has seen, by the hash its incidents carry."""

    def __init__(self, current_hash: str, current: Policy, text: str, parse: Parse) -> None:
        self._parse = parse
        self._known: dict[str, Policy | None] = {current_hash: current}
        self._take(current_hash, current, text)

    def _take(self, policy_hash: str, policy: Policy, text: str) -> None:
        self.current_hash, self.current, self.current_text = policy_hash, policy, text
        self._targets: dict[str, TargetPolicy] = {one.name: one for one in policy.targets}

    def target(self, name: str) -> TargetPolicy | None:
        """A target of the policy in force: every sample asks, and there may be a thousand."""
        return self._targets.get(name)

    def apply(self, policy_hash: str, policy: Policy, text: str) -> None:
        """From now on this one is in force for whatever opens."""
        self._known[policy_hash] = policy
        self._take(policy_hash, policy, text)

    def learn(self, policy_hash: str, text: str) -> None:
        """An older policy's text, as the store kept it."""
        if policy_hash in self._known:
            return
        try:
            self._known[policy_hash] = self._parse(text)
        except PolicyInvalid as error:
            # A release may have become stricter; nothing is judged by it then.
            log.warning("an older policy cannot be read any more", hash=policy_hash, error=error)
            self._known[policy_hash] = None

    def of(self, policy_hash: str) -> Policy | None:
        return self._known.get(policy_hash)

    def for_incident(self, policy_hash: str) -> Policy:
        """The policy in force for an incident; the current one where its own is unreadable."""
        return self._known.get(policy_hash) or self.current
