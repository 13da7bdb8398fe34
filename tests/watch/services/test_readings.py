"""When a service counts as well: by status, and by one value of its answer."""

from __future__ import annotations

import pytest

from stanch.facts.json_path import steps, value_at
from stanch.model.diagnosis import Missing
from stanch.policy.signs import HealthCheck
from stanch.watch.services.readings import Answer, service_readings, trouble_in

PLAIN = HealthCheck(name="shop", url="http://shop.example.com/health")
DEEP = HealthCheck(name="shop", url="http://x", json=".database", equals="connected")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".database", "connected"),
        (".checks[1].ok", "false"),
        (".checks[0]", None),
        ('."a key"[0]', "7"),
        (".nothing", "null"),
        (".gone", None),
        (".checks[9]", None),
        (".database.deeper", None),
    ],
)
def test_a_path_names_one_value(path: str, value: str | None) -> None:
    answer = {
        "database": "connected",
        "checks": [{"ok": True}, {"ok": False}],
        "a key": [7],
        "nothing": None,
    }
    assert value_at(answer, path) == value


@pytest.mark.parametrize("path", ["", "database", ".", ".a..b", ".a[x]", ".a[-1]", ".a | length"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        steps(path)


@pytest.mark.parametrize(
    ("check", "answer", "trouble"),
    [
        (PLAIN, Answer(status=200, ms=1), ""),
        (PLAIN, Answer(status=301, ms=1), "status 301 in place of 200"),
        (DEEP, Answer(status=200, ms=1, body=b'{"database": "connected"}'), ""),
        (
            DEEP,
            Answer(status=200, ms=1, body=b'{"database": "disconnected"}'),
            ".database is 'disconnected' in place of 'connected'",
        ),
        (DEEP, Answer(status=200, ms=1, body=b"<html>"), ".database is no single value"),
        (DEEP, Answer(status=200, ms=1, body=b"[" * 60_000), ".database is no single value"),
        (DEEP, Answer(status=200, ms=1, body=b"{}", cut=True), "longer than 64 kB"),
        (DEEP, Answer(status=503, ms=1, body=b'{"database": "connected"}'), "status 503"),
    ],
)
def test_trouble_is_what_is_not_as_expected(
    check: HealthCheck, answer: Answer, trouble: str
) -> None:
    said = trouble_in(check, answer)
    assert bool(said) == bool(trouble)
    assert trouble in said


def test_hostile_values_are_short_and_on_one_line() -> None:
    body = b'{"database": "\\u001b[2J\\n' + b"x" * 60_000 + b'"}'
    said = trouble_in(DEEP, Answer(status=200, ms=1, body=body))
    assert said.isprintable()
    assert len(said) < 200


def test_a_service_that_gave_no_answer_is_not_well_and_has_no_time() -> None:
    ok, took = service_readings(PLAIN, Missing(what="health check", reason="refused"))
    assert (ok.name, ok.value, ok.subject, ok.detail) == (
        "health_check_ok", 0.0, "shop", "refused",
    )  # fmt: skip
    assert (took.name, took.value) == ("health_check_ms", None)
