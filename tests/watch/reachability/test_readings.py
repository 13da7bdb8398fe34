"""What a login tells beside getting in."""

from __future__ import annotations

from dataclasses import replace

from stanch.model.reach import Layer, Reach, ReachState
from stanch.watch.reachability.readings import reach_readings

IN = Reach(
    state=ReachState.UP,
    layers=(Layer(name="tcp", ok=True, ms=1.5), Layer(name="tls", ok=True, ms=4.0)),
    elapsed_ms=6.0,
)


def test_each_layer_is_told() -> None:
    told = {(r.name, r.subject): r.value for r in reach_readings(IN)}
    assert told == {("layer_ms", "tcp"): 1.5, ("layer_ms", "tls"): 4.0}


def test_a_standby_that_lets_us_in_tells_the_same() -> None:
    assert reach_readings(replace(IN, state=ReachState.READ_ONLY)) == reach_readings(IN)


def test_a_login_that_failed_tells_nothing_of_the_usual_times() -> None:
    assert reach_readings(replace(IN, state=ReachState.TLS_FAILURE)) == ()
