"""stanch.yaml to a policy: strict, and with every finding at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import cast

from stanch.model.errors import PolicyInvalid
from stanch.model.findings import Finding
from stanch.policy.crosscheck import crosscheck
from stanch.policy.inheriting import inherit
from stanch.policy.keys import POLICY
from stanch.policy.nodes import Unreadable, compose
from stanch.policy.places import Places
from stanch.policy.policy import Policy
from stanch.policy.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a policy file says, or what is wrong with it; warnings come with either."""

    policy: Policy | None
    """None when there is at least one error."""
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "warning")


def read_policy(text: str, *, file: str) -> Parsed:
    """Everything there is to say about a policy file. Never raises on any text."""
    node = compose(text)
    if isinstance(node, Unreadable):
        found = Finding(
            file=file, line=node.line, column=node.column, path="", what=node.what, hint=node.hint
        )
        return Parsed(policy=None, findings=(found,))
    places = Places(file)
    places.mark((), node)
    draft = inherit(cast("Policy", Reading(places).section(POLICY, node, ())))
    crosscheck(draft, places)
    findings = places.in_order()
    valid = all(finding.level == "warning" for finding in findings)
    return Parsed(policy=draft if valid else None, findings=findings)


def parse_policy(text: str, *, file: str) -> Policy:
    """The policy in this text. Raises PolicyInvalid with every finding; warnings fail nothing."""
    parsed = read_policy(text, file=file)
    if parsed.policy is None:
        raise PolicyInvalid(
            "\n".join(str(finding) for finding in parsed.errors),
            hint="`stanch check` shows every finding with what to do about it.",
            findings=parsed.findings,
        )
    return parsed.policy


def policy_hash(text: str) -> str:
    """The name of a policy text: hex SHA-256 of its UTF-8 bytes.

    Pass `canonical_text(policy)`, so that comments and spacing make no new policy.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
