"""What holds for every series of readings: tracking, hysteresis, trends, baselines, bounds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from math import inf, nan

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from samplings import ORDERS, T0, Watched, seen, target
from stanch.detect.counts import Changed
from stanch.detect.judges import Above, Below, Memory, RateAbove
from stanch.detect.look import SUBJECTS_MAX, Look
from stanch.detect.tracker import Cleared, Condition, Raised, Tracks, step
from stanch.detect.trend import POINTS_MIN, seconds_until, slope_per_s
from stanch.detect.usual import (
    HOURS,
    STORED_BYTES_MAX,
    WEEKS_KEPT,
    WEEKS_MIN,
    Baseline,
    hour_of_week,
)
from stanch.detect.windows import POINTS_MAX, Window
from stanch.model.readings import Reading
from stanch.model.rules import Direction, RuleSettings, settings_of
from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules

VERDICTS = st.sampled_from([True, False, None])
STEPS = st.lists(st.tuples(st.sampled_from([0.2, 1.0, 5.0]), VERDICTS), max_size=60)
HOLD_S, CLEAR_S = 3.0, 4.0
LIMIT = RuleSettings(limit=80.0, clear=70.0, also=None, hold_s=0.0, severity=1, off=False)
VALUES = st.floats(min_value=-1e12, max_value=1e12)


def track(steps: Sequence[tuple[float, bool | None]], *, damped: bool) -> list[tuple[float, str]]:
    """When something was raised and cleared."""
    tracks: Tracks = {}
    changes: list[tuple[float, str]] = []
    t = 0.0
    for after_s, bad in steps:
        t += after_s
        condition = Condition(kind=SymptomKind.DISK_LOW, bad=bad, hold_s=HOLD_S, damped=damped)
        tracks, found = step(
            tracks,
            [condition],
            target=ORDERS,
            at=T0 + timedelta(seconds=t),
            clear_hold_s=CLEAR_S,
        )
        for change in found:
            changes.append((t, "raised" if isinstance(change, Raised) else "cleared"))
            assert isinstance(change, Raised | Cleared)
    return changes


@given(STEPS, st.booleans())
def test_raising_and_clearing_alternate_and_each_was_held(
    steps: list[tuple[float, bool | None]], damped: bool
) -> None:
    changes = track(steps, damped=damped)
    assert [what for _, what in changes] == ["raised", "cleared"] * (len(changes) // 2) + (
        ["raised"] if len(changes) % 2 else []
    )
    times: list[tuple[float, bool | None]] = []
    t = 0.0
    for after_s, bad in steps:
        t += after_s
        times.append((t, bad))
    for when, what in changes:
        wanted, hold_s = (True, HOLD_S) if what == "raised" else (False, CLEAR_S)
        assert dict(times)[when] is wanted
        run: list[float] = []
        for moment, bad in reversed([pair for pair in times if pair[0] <= when]):
            # Unknown breaks no run of bad readings, and proves no run of good ones.
            if bad is not wanted and not (what == "raised" and bad is None):
                break
            if bad is wanted:
                run.append(moment)
        assert when - min(run) >= hold_s - 1e-9


@given(st.lists(st.sampled_from([0.2, 1.0, 600.0]), max_size=60))
def test_nothing_but_missing_readings_is_never_a_symptom(gaps: list[float]) -> None:
    assert track([(gap, None) for gap in gaps], damped=True) == []


@given(st.integers(min_value=3, max_value=8))
def test_each_return_but_the_first_has_to_be_good_for_twice_as_long(returns: int) -> None:
    flapping = ([(1.0, True)] * 5 + [(1.0, False)] * 400) * returns
    changes = track(flapping, damped=True)
    took = [
        cleared - raised
        for (raised, _), (cleared, _) in zip(changes[::2], changes[1::2], strict=False)
    ]
    # Back within ten minutes each time; the first return is not held against it.
    assert len(took) == returns
    assert all(later >= earlier for earlier, later in pairwise(took))
    assert took[-1] >= 2 ** (returns - 2) * CLEAR_S - 1


def test_undamped_conditions_are_over_as_quickly_each_time() -> None:
    flapping = ([(1.0, True)] * 5 + [(1.0, False)] * 60) * 6
    changes = track(flapping, damped=False)
    took = {
        cleared - raised
        for (raised, _), (cleared, _) in zip(changes[::2], changes[1::2], strict=False)
    }
    assert len(took) == 1


@given(VALUES, st.booleans())
def test_between_limit_and_clear_limit_everything_stays_as_it_is(
    value: float, standing: bool
) -> None:
    found = Above().look("", value, 0.0, settings=LIMIT, standing=standing)
    if 70.0 < value < 80.0:
        assert found.bad is standing
    else:
        assert found.bad is (value >= 80.0)
    low = settings_of(declared_rules()[SymptomKind.INODES_LOW])
    found = Below().look("", value, 0.0, settings=low, standing=standing)
    assert found.bad is (standing if low.limit < value < low.clear else value <= low.limit)


@given(
    st.floats(min_value=1e-3, max_value=1e6),
    st.floats(min_value=1e3, max_value=1e12),
    st.floats(min_value=0, max_value=2e9),
)
def test_a_straight_fall_is_foretold_to_the_second(
    per_s: float, free: float, start_s: float
) -> None:
    points = [(start_s + 30.0 * n, free - per_s * 30.0 * n) for n in range(20)]
    left = points[-1][1]
    assume(left > 1.0)
    assume(per_s * 30 > free * 1e-12)
    eta = seconds_until(points, 0.0)
    assert eta is not None
    assert abs(eta - left / per_s) <= 0.01 * left / per_s + 1e-6


@given(
    st.lists(st.integers(0, 19), max_size=3, unique=True),
    st.floats(min_value=-1e9, max_value=1e9),
)
def test_three_wild_points_of_twenty_do_not_move_the_forecast_far(
    wild: list[int], off: float
) -> None:
    points = [(30.0 * n, 1e9 - 1e5 * 30 * n) for n in range(20)]
    # The newest value is taken as it is: what is free now is known.
    bent = [(t, v + off if n in wild and n != 19 else v) for n, (t, v) in enumerate(points)]
    straight, robust = seconds_until(points, 0.0), seconds_until(bent, 0.0)
    assert straight is not None
    if robust is not None:
        assert 0.5 * straight <= robust <= 2.0 * straight


@given(st.integers(2, 6), st.floats(min_value=1.0, max_value=1e9))
def test_a_saw_has_no_trend(teeth: int, height: float) -> None:
    length = 30 // teeth
    points = [(30.0 * n, 1e10 - height * (n % length) / length) for n in range(length * teeth)]
    assume(len(points) >= POINTS_MIN and length >= 3)
    eta = seconds_until(points, 0.0)
    assert eta is None, "up and down is no direction"


@given(st.lists(VALUES, max_size=POINTS_MIN - 1))
def test_too_few_points_have_no_trend(values: list[float]) -> None:
    assert slope_per_s([(float(n), v) for n, v in enumerate(values)]) is None


@given(st.floats(min_value=0, max_value=1e12))
def test_what_does_not_move_is_never_full(free: float) -> None:
    assert seconds_until([(30.0 * n, free) for n in range(30)], -1.0) is None


TIMES = st.lists(st.tuples(st.floats(0, 1e4), VALUES), max_size=80)


@given(TIMES)
def test_a_window_is_bounded_and_in_order_whatever_the_clock_does(
    series: list[tuple[float, float]],
) -> None:
    window = Window(900.0)
    for at_s, value in series:
        window.add(at_s, value)
        times = [t for t, _ in window.points]
        assert times == sorted(times)
        assert len(times) <= POINTS_MAX + 2
        assert window.points[-1] == (at_s, value)


@given(st.lists(st.tuples(st.floats(0.5, 30), st.integers(0, 50)), min_size=1, max_size=200))
def test_a_rate_is_never_more_than_was_counted(increments: list[tuple[float, int]]) -> None:
    rule = declared_rules()[SymptomKind.DEADLOCKS]
    judge, held = RateAbove(rule, Memory(rule.window_s)), settings_of(rule)
    at_s, total = 1000.0, 0
    for after_s, more in increments:
        at_s, total = at_s + after_s, total + more
        found = judge.look("", float(total), at_s, settings=held, standing=False)
        assert found.measured is not None
        assert 0.0 <= found.measured <= 60.0 * total / rule.window_s + 1e-9


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_a_counter_that_starts_again_is_no_event(values: list[int]) -> None:
    judge = Changed(Direction.UP)
    held = settings_of(declared_rules()[SymptomKind.OOM_KILL])
    grown_at: float | None = None
    for n, value in enumerate(values):
        grew = bool(n) and value > values[n - 1]
        if grew:
            grown_at = 10.0 * n
        found = judge.look("", float(value), 10.0 * n, settings=held, standing=False)
        recently = grown_at is not None and 10.0 * n - grown_at < held.limit
        assert found == Look(recently, float(value), anew=grew)


@given(st.lists(st.tuples(st.sampled_from([5, 173, 341, 509, 700, 6000]), VALUES), max_size=40))
def test_a_baseline_is_bounded_silent_at_first_and_survives_being_stored(
    series: list[tuple[int, float]],
) -> None:
    baseline = Baseline()
    for hour, value in sorted(series):
        for minute in range(0, 60, 10):
            baseline.learn(hour * 3600.0 + 60 * minute, value)
    assert all(len(baseline.seen(hour)) <= WEEKS_KEPT for hour in range(HOURS))
    again = Baseline.from_stored(baseline.stored())
    assert len(baseline.stored()) <= STORED_BYTES_MAX
    baseline.learn(7000 * 3600.0, 1.0)
    again.learn(7000 * 3600.0, 1.0)
    assert again.stored() == baseline.stored(), "the hour in hand came along as well"
    for hour in (5, 700 % HOURS, 6000 % HOURS, 7):
        usual = baseline.usual(hour * 3600.0)
        assert usual == again.usual(hour * 3600.0)
        count = len(baseline.seen(hour_of_week(hour)))
        assert (usual is None) == (count < WEEKS_MIN)


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "\x00", "{subject}", "'; DROP TABLE t; --", "\ud800", "x" * 100_000]),
)
READINGS = st.builds(
    Reading,
    name=st.one_of(st.sampled_from([r.reading for r in declared_rules().values()]), HOSTILE),
    value=st.one_of(st.none(), st.floats(), st.sampled_from([nan, inf, -inf, 0.0, 1e308])),
    subject=HOSTILE,
    detail=HOSTILE,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 1000), st.lists(READINGS, max_size=4)), max_size=6))
def test_hostile_readings_break_nothing(series: list[tuple[float, list[Reading]]]) -> None:
    watched = Watched(target(disk_full={"hold_s": 0.0}))
    t = 0.0
    for after_s, readings in series:
        t += after_s
        watched.look(t, seen(readings=tuple(readings)))
    assert all(len(symptom.detail) <= 600 for symptom in watched.symptoms)
    assert all(len(symptom.key) <= 300 for symptom in watched.symptoms)


def test_of_a_million_subjects_only_so_many_are_remembered() -> None:
    memory = Memory(60.0)
    windows = [memory.of(f"s{n}") for n in range(SUBJECTS_MAX + 10)]
    assert windows[SUBJECTS_MAX:] == [None] * 10
    assert len(memory.windows) == SUBJECTS_MAX
