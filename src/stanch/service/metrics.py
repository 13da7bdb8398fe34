"""What the responder says about itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from stanch.model.ids import TargetName
from stanch.model.timeline import Lane
from stanch.service.watched.slow_lane import WatchCost


class SignalMetrics:
    """What came in from outside."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.total = Counter(
            "stanch_signals_total",
            "Alerts and heartbeats from outside, by what became of them.",
            ["source", "outcome"],
            registry=registry,
        )
        self.waiting = Gauge(
            "stanch_signals_waiting",
            "Alerts from outside that wait to be stored.",
            registry=registry,
        )
        self.standing = Gauge(
            "stanch_signals_standing",
            "Alerts from outside that fire, that match no target, that no incident knows yet.",
            ["which"],
            registry=registry,
        )
        self.heartbeat_age_seconds = Gauge(
            "stanch_expected_heartbeat_age_seconds",
            "How long ago a heartbeat that has to arrive was heard.",
            ["name"],
            registry=registry,
        )

    def count(self, source: str, outcome: str, times: int) -> None:
        self.total.labels(source, outcome).inc(times)


class OwnCost:
    """What being watched costs a target."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, says: str) -> Gauge:
            return Gauge(name, says, ["target"], registry=registry)

        self.sessions_held = gauge("stanch_sessions_held", "Sessions of ours at the target now.")
        self.vitals_seconds = gauge(
            "stanch_vitals_seconds", "How long the newest question about vitals took, in all."
        )
        self.vitals_parse_seconds = gauge(
            "stanch_vitals_parse_seconds", "Of that, our own time to read the answer."
        )
        self.slow_look_age_seconds = gauge(
            "stanch_slow_look_age_seconds", "Age of the newest whole look of the slow lane."
        )

    def tell(self, target: TargetName, cost: WatchCost) -> None:
        self.sessions_held.labels(target).set(cost.sessions_held)
        self.vitals_seconds.labels(target).set(cost.vitals_s)
        self.vitals_parse_seconds.labels(target).set(cost.parse_s)
        if cost.slow_look_age_s is not None:
            self.slow_look_age_seconds.labels(target).set(cost.slow_look_age_s)

    def forget_target(self, target: TargetName) -> None:
        for told in (
            self.sessions_held,
            self.vitals_seconds,
            self.vitals_parse_seconds,
            self.slow_look_age_seconds,
        ):
            told.remove(target)


class Metrics:
    """One registry per responder; nothing global."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.loop_lag_seconds = Histogram(
            "stanch_loop_lag_seconds",
            "How late the event loop of the core process was.",
            buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1, 5),
            registry=self._registry,
        )
        self.store_waiting = Gauge(
            "stanch_store_waiting", "Operations that wait for the journal.", registry=self._registry
        )
        self.lane_working = Gauge(
            "stanch_lane_working", "Claims under way.", ["lane"], registry=self._registry
        )
        self.sample_age_seconds = Gauge(
            "stanch_sample_age_seconds",
            "Age of the newest sample.",
            ["target"],
            registry=self._registry,
        )
        self.incidents_open = Gauge(
            "stanch_incidents_open", "Open incidents.", registry=self._registry
        )
        self.windows = Gauge(
            "stanch_windows",
            "Maintenance and silences that stand.",
            ["which"],
            registry=self._registry,
        )
        self.halted = Gauge("stanch_halted", "1 while a halt stands.", registry=self._registry)
        self.recorder_lost = Gauge(
            "stanch_recorder_lost",
            "Samples that the flight recorder could not write since the start.",
            registry=self._registry,
        )
        self.clock_jump_seconds = Gauge(
            "stanch_clock_jump_seconds",
            "How far the wall clock was set away from the responder's.",
            registry=self._registry,
        )
        self.heartbeats_total = Counter(
            "stanch_heartbeats_total", "Heartbeats sent.", ["outcome"], registry=self._registry
        )
        self.store_failures_total = Counter(
            "stanch_store_failures_total",
            "Times an event could not be made durable.",
            registry=self._registry,
        )
        self.signals = SignalMetrics(self._registry)
        self.own_cost = OwnCost(self._registry)
        self.task_failures_total = Counter(
            "stanch_task_failures_total",
            "Tasks that ended by a bug and were started again.",
            ["task"],
            registry=self._registry,
        )

    def set_lanes(self, working: dict[Lane, int]) -> None:
        for lane, count in working.items():
            self.lane_working.labels(lane.value).set(count)

    def set_windows(self, *, maintenance: int, silence: int) -> None:
        self.windows.labels("maintenance").set(maintenance)
        self.windows.labels("silence").set(silence)

    def forget_target(self, target: TargetName) -> None:
        self.sample_age_seconds.remove(target)
        self.own_cost.forget_target(target)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
