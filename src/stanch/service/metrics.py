"""What the responder says about itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFigures:
    """One target at the moment of being asked."""

    target: TargetName
    sample_age_s: float | None
    cost: WatchCost


class EachTarget(Collector):
    """How each target is watched and what that costs it, made when somebody asks: gauges that are
    kept and set every second cost a thousand targets more than all else that is told here."""

    def __init__(self) -> None:
        self.figures: Callable[[], Iterable[TargetFigures]] = tuple

    def collect(self) -> Iterable[Metric]:
        """For the registry; a target that is gone is gone here, too."""
        figures = tuple(self.figures())
        for name, says, value in _OF_A_TARGET:
            family = GaugeMetricFamily(name, says, labels=["target"])
            for one in figures:
                found = value(one)
                if found is not None:
                    family.add_metric([one.target], found)
            yield family


_OF_A_TARGET: tuple[tuple[str, str, Callable[[TargetFigures], float | None]], ...] = (
    ("stanch_sample_age_seconds", "Age of the newest sample.", lambda one: one.sample_age_s),
    (
        "stanch_sessions_held",
        "Sessions of ours at the target now.",
        lambda one: one.cost.sessions_held,
    ),
    (
        "stanch_vitals_seconds",
        "How long the newest question about vitals took, in all.",
        lambda one: one.cost.vitals_s,
    ),
    (
        "stanch_vitals_parse_seconds",
        "Of that, our own time to read the answer.",
        lambda one: one.cost.parse_s,
    ),
    (
        "stanch_slow_look_age_seconds",
        "Age of the newest whole look of the slow lane.",
        lambda one: one.cost.slow_look_age_s,
    ),
)


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
        self.each_target = EachTarget()
        self._registry.register(self.each_target)
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

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
