"""Operational failures, one tree.

StanchError
├── PolicyInvalid          the policy file has errors; each has file, line, what, hint
├── StoreError
│   ├── StoreUnavailable   an event cannot be made durable now (retryable)
│   ├── StoreLocked        another process owns this state directory
│   ├── StoreCorrupt       the hash chain or the file does not verify
│   └── StoreUnsuitable    the state directory lies where promises cannot be kept
├── StaleDecision          the timeline moved on since the decision (retryable after reading)
├── TargetError
│   ├── ProbeFailed        a question to a target got no answer (retryable)
│   └── ActionFailed       an action was tried and reported a failure
├── ChannelError           a message could not be handed over
└── SetupError             something this machine lacks

Expected answers are values (`Refusal`, `Missing`), never exceptions; broken invariants are
assertions.
"""

from __future__ import annotations

from collections.abc import Sequence

from stanch.model.findings import Finding


class StanchError(Exception):
    """What went wrong, on what, and what to do about it.

    Message grammar follows PostgreSQL: lowercase, no full stop; the hint is a sentence.
    """

    retryable: bool = False

    def __init__(self, what: str, *, on: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.on = on
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.on}: " if self.on else ""
        return f"{where}{self.what}"


class PolicyInvalid(StanchError):
    """The policy file cannot be used; `what` lists every finding, one a line."""

    def __init__(
        self, what: str, *, on: str = "", hint: str = "", findings: Sequence[Finding] = ()
    ) -> None:
        super().__init__(what, on=on, hint=hint)
        self.findings = tuple(findings)


class StoreError(StanchError):
    """The store of timelines failed."""


class StoreUnavailable(StoreError):
    """An event cannot be made durable now: disk full, read-only, or gone."""

    retryable = True


class StoreLocked(StoreError):
    """Another process owns this state directory."""


class StoreCorrupt(StoreError):
    """The stored timelines do not verify: changed, truncated or damaged."""


class StoreUnsuitable(StoreError):
    """The state directory cannot keep the promises made of it."""


class StaleDecision(StanchError):
    """The timeline moved on since this decision was made; read it again and decide again."""

    retryable = True


class TargetError(StanchError):
    """Something about a watched server failed."""


class ProbeFailed(TargetError):
    """A question to a target got no answer in time."""

    retryable = True


class ActionFailed(TargetError):
    """An action was tried and the server or its manager reported a failure."""


class ChannelError(StanchError):
    """A message could not be handed over to its channel."""

    def __init__(self, what: str, *, on: str = "", hint: str = "", retryable: bool = True) -> None:
        super().__init__(what, on=on, hint=hint)
        self.retryable = retryable


class SetupError(StanchError):
    """This machine lacks something the command needs."""
