"""What a login tells beside getting in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stanch.model.reach import Layer, Reach, ReachState
from stanch.watch.reachability.readings import reach_readings

AT = datetime(2026, 11, 21, tzinfo=UTC)
IN = Reach(
    state=ReachState.UP,
    layers=(Layer(name="tcp", ok=True, ms=1.5), Layer(name="tls", ok=True, ms=4.0)),
    elapsed_ms=6.0,
    certificate_ends=AT + timedelta(days=13, hours=12),
)


def test_each_layer_and_the_days_of_the_certificate_are_told() -> None:
    told = {(r.name, r.subject): r.value for r in reach_readings(IN, at=AT)}
    assert told == {
        ("layer_ms", "tcp"): 1.5,
        ("layer_ms", "tls"): 4.0,
        ("tls_days_left", ""): 13.5,
    }


def test_a_standby_that_lets_us_in_tells_the_same() -> None:
    assert reach_readings(replace(IN, state=ReachState.READ_ONLY), at=AT)


def test_without_tls_there_are_no_days_left_and_not_zero() -> None:
    names = {r.name for r in reach_readings(replace(IN, certificate_ends=None), at=AT)}
    assert names == {"layer_ms"}


def test_a_login_that_failed_tells_nothing_of_the_usual_times() -> None:
    assert reach_readings(replace(IN, state=ReachState.TLS_FAILURE), at=AT) == ()
