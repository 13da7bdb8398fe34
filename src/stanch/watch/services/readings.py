"""Whether a service is well, by what its health check answered and what the policy expects."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.facts.json_path import value_at
from stanch.facts.machines.json_values import read_json
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.model.shown import shortened
from stanch.policy.signs import HealthCheck

BODY_BYTES_MAX = 64 * 1024
SHOWN_MAX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from a service."""

    status: int
    ms: float
    """Until the last byte that was read."""
    body: bytes = b""
    """Read only where a value in it is expected."""
    cut: bool = False
    """There was more of it than is read."""


def service_readings(check: HealthCheck, answer: Answer | Missing) -> tuple[Reading, ...]:
    """No answer is not well; how long it took is known only of answers."""
    trouble = answer.reason if isinstance(answer, Missing) else trouble_in(check, answer)
    ms = None if isinstance(answer, Missing) else answer.ms
    return (
        Reading(
            name="health_check_ok",
            value=0.0 if trouble else 1.0,
            subject=check.name,
            detail=trouble,
        ),
        Reading(name="health_check_ms", value=ms, subject=check.name),
    )


def trouble_in(check: HealthCheck, answer: Answer) -> str:
    """What is not as expected; empty where all is."""
    if answer.status != check.status:
        return f"status {answer.status} in place of {check.status}"
    if not check.json:
        return ""
    if answer.cut:
        return f"the answer is longer than {BODY_BYTES_MAX // 1024} kB"
    value = value_at(read_json(answer.body), check.json)
    if value is None:
        return f"{check.json} is no single value of the answer"
    if value != check.equals:
        said = shortened(value, SHOWN_MAX)
        return f"{check.json} is {said!r} in place of {check.equals!r}"
    return ""
