"""What a policy can say about the canary, and what it is told where that makes no sense."""

from __future__ import annotations

import pytest

from stanch.policy.canary import CanaryPolicy
from stanch.policy.parse import read_policy
from stanch.policy.policy import Policy

POLICY = """\
state_directory: /var/lib/stanch
people: {{ann: {{name: Ann}}}}
ladder: [ann]
channels: {{console: {{type: terminal}}}}
targets:
  orders:
    dsn: service=orders
    {line}
"""


def read(line: str) -> tuple[Policy | None, list[str]]:
    parsed = read_policy(POLICY.format(line=line), file="p")
    return parsed.policy, [str(error) for error in parsed.errors]


def test_one_key_is_enough_and_none_is_no_canary() -> None:
    policy, errors = read("canary: {every: 20s}")
    assert errors == []
    assert policy is not None
    found = CanaryPolicy(every_s=20.0, deadline_s=5.0, table="stanch.canary")
    assert policy.targets[0].canary == found
    without, _ = read("wake: always")
    assert without is not None
    assert without.targets[0].canary is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("canary: {}", "every"),
        ("canary: {every: 10ms}", "every"),
        ("canary: {every: 10s, table: canary}", "is not a table"),
        ("canary: {every: 10s, table: 'a.b; DROP TABLE x'}", "is not a table"),
        ("canary: {every: 10s, tabel: a.b}", "tabel"),
        ("canary: {every: 10s}\n    wake: never", "would wake a server"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_its_line(line: str, words: str) -> None:
    policy, errors = read(line)
    assert policy is None
    assert len(errors) == 1
    assert words in errors[0]
    assert errors[0].startswith("p:8:") or errors[0].startswith("p:9:")
