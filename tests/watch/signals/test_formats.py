"""Payloads as their senders document them, and as nobody should send them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals_at import fixture
from stanch.model.signals import Parsed, Signal, SignalStatus
from stanch.policy.signals import FORMATS, SignalFormat, SignalSource
from stanch.watch.signals import payload
from stanch.watch.signals.reading import read

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SENTRY = {
    "key": "data.metric_alert.id | data.issue.id | data.event.issue_id",
    "title": "data.description_title | data.issue.title | data.event.title",
    "status": "action",
    "severity": "action",
    "detail": "data.description_text",
    "starts_at": "data.metric_alert.date_started",
    "link": "data.web_url",
}


def source(kind: SignalFormat, **more: Any) -> SignalSource:
    return SignalSource(name="s", format=kind, token_file="/t", **more)


def parsed(kind: SignalFormat, plain: Any, **more: Any) -> Parsed:
    return read(source(kind, **more), json.dumps(plain).encode(), AT)


def only(found: Parsed) -> Signal:
    [signal] = found.signals
    return signal


# --- as documented ------------------------------------------------------------------------------


def test_each_alert_of_a_group_is_a_signal_with_its_own_state() -> None:
    found = parsed("alertmanager", fixture("alertmanager"))
    down, over, rest = found.signals
    assert found.refused == ()
    assert (down.key, down.status) == ("1a30ba71cca2921f", SignalStatus.FIRING)
    assert down.title == "PostgresDown: db1 does not answer"
    assert down.severity == "critical"
    assert down.detail == "pg_up was 0 for 30 seconds."
    assert down.starts_at == datetime(2026, 3, 1, 11, 58, 30, 828000, tzinfo=UTC)
    assert down.ends_at is None
    assert down.labels["instance"] == "db1.example.com:9187"
    assert down.links[0] == "https://runbooks.example.com/postgres-down"
    assert (over.status, over.ends_at) == (
        SignalStatus.RESOLVED,
        datetime(2026, 3, 1, 11, 59, tzinfo=UTC),
    )
    assert rest.status is SignalStatus.RESOLVED


def test_alerts_that_a_group_left_out_are_one_more_alert_until_the_group_fits_again() -> None:
    plain = fixture("alertmanager")
    cut = parsed("alertmanager", {**plain, "truncatedAlerts": 7}).signals[-1]
    whole = parsed("alertmanager", plain).signals[-1]
    assert (cut.status, cut.title) == (
        SignalStatus.FIRING,
        "7 more alerts of one group were not sent",
    )
    assert (whole.key, whole.status) == (cut.key, SignalStatus.RESOLVED)


def test_an_alertmanager_without_fingerprints_is_told_apart_by_labels() -> None:
    plain = fixture("alertmanager")
    for alert in plain["alerts"]:
        del alert["fingerprint"]
    first, second, _ = parsed("alertmanager", plain).signals
    assert first.key != second.key
    assert first.key == parsed("alertmanager", plain).signals[0].key


def test_grafana_sends_the_same_shape_with_links_to_its_dashboards() -> None:
    signal = parsed("grafana", fixture("grafana")).signals[0]
    assert signal.title == "High memory usage: This alert was triggered for zone us-1"
    assert "https://grafana.example.com/d/abc" in signal.links
    assert signal.labels["host"] == "db1.example.com"


def test_grafana_trying_its_contact_point_wakes_nobody() -> None:
    labels = {"alertname": "TestAlert", "instance": "Grafana"}
    plain = {"version": "1", "alerts": [{"status": "firing", "labels": labels}]}
    assert only(parsed("grafana", plain)).severity == "test"


@pytest.mark.parametrize(
    ("status", "expected"),
    [("triggered", "firing"), ("acknowledged", "firing"), ("resolved", "resolved")],
)
def test_pagerduty_tells_the_state_of_an_incident(status: str, expected: str) -> None:
    plain = fixture("pagerduty")
    plain["event"]["data"]["status"] = status
    signal = only(parsed("pagerduty", plain))
    assert signal.status == expected
    assert (signal.key, signal.severity) == ("PGR0VU2", "P1")
    assert signal.title == "Orders database is unreachable"
    assert signal.labels["service"] == "Orders API"
    assert signal.occurred_at == datetime(2026, 3, 1, 11, 59, 45, 126000, tzinfo=UTC)


def test_pagerduty_without_priorities_gives_the_urgency() -> None:
    plain = fixture("pagerduty")
    plain["event"]["data"]["priority"] = None
    assert only(parsed("pagerduty", plain)).severity == "high"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("pagey.ping", {"message": "Hello!", "type": "ping"}),
        ("service.updated", {"type": "service"}),
    ],
)
def test_pagerduty_events_about_something_else_are_taken_and_are_no_alert(
    kind: str, data: dict[str, Any]
) -> None:
    found = parsed("pagerduty", {"event": {"event_type": kind, "data": data}})
    assert found.signals == ()
    assert [r.because for r in found.refused] == ["ignored"]


def test_pagerduty_of_version_2_is_told_how_to_change() -> None:
    [refused] = parsed("pagerduty", {"messages": []}).refused
    assert "version 3" in refused.reason


def test_better_stack_tells_start_and_end() -> None:
    plain = fixture("betterstack")
    start = only(parsed("betterstack", plain))
    assert (start.key, start.status) == ("1", SignalStatus.FIRING)
    assert start.title == "Orders health: Error 500"
    assert start.labels["host"] == "orders.example.com"
    plain["data"]["attributes"]["resolved_at"] = "2026-03-01T11:58:00Z"
    end = only(parsed("betterstack", {**plain, "event": "resolved"}))
    assert (end.key, end.status) == ("1", SignalStatus.RESOLVED)
    assert end.ends_at == datetime(2026, 3, 1, 11, 58, tzinfo=UTC)


def test_an_acknowledged_incident_of_better_stack_goes_on() -> None:
    plain = fixture("betterstack")
    plain["data"]["attributes"]["acknowledged_at"] = "2026-03-01T11:58:00Z"
    assert only(parsed("betterstack", {**plain, "event": "acknowledged"})).status == "firing"


def test_better_stack_about_a_monitor_is_no_alert() -> None:
    found = parsed("betterstack", {"event": "created", "data": {"id": "1", "type": "monitor"}})
    assert [r.because for r in found.refused] == ["ignored"]


def test_posthog_tells_that_an_alert_fires() -> None:
    signal = only(parsed("posthog", fixture("posthog")))
    assert signal.title == "query time above 5 s"
    assert signal.status is SignalStatus.FIRING
    assert "more than upper threshold" in signal.detail


def test_an_ordinary_event_of_posthog_is_no_alert() -> None:
    found = parsed("posthog", {"event": {"event": "$pageview", "properties": {}}})
    assert found.signals == ()
    assert found.refused[0].because == "unknown_shape"


@pytest.mark.parametrize(("action", "status"), [("critical", "firing"), ("resolved", "resolved")])
def test_json_is_read_by_the_paths_of_the_policy(action: str, status: str) -> None:
    plain = {**fixture("sentry_metric_alert"), "action": action}
    signal = only(parsed("json", plain, fields=SENTRY))
    assert (signal.key, signal.status) == ("77", status)
    assert signal.title == "Critical: Too many errors"
    assert signal.links == (
        "https://sentry.example.com/organizations/acme/alerts/rules/details/12/",
    )
    assert signal.starts_at == datetime(2026, 3, 1, 11, 55, tzinfo=UTC)


def test_json_with_a_list_is_a_signal_for_each_item() -> None:
    fields = {"each": "checks", "key": "id", "title": "name", "status": "state", "labels": "tags"}
    plain = {
        "checks": [
            {"id": 1, "name": "a", "state": "DOWN", "tags": {"db": "orders"}},
            {"id": 2, "name": "b", "state": "UP"},
        ]
    }
    down, up = parsed("json", plain, fields=fields).signals
    assert (down.key, down.status, down.labels["db"]) == ("1", "firing", "orders")
    assert (up.key, up.status) == ("2", "resolved")


def test_json_in_which_nothing_is_found_is_refused() -> None:
    found = parsed("json", {"other": 1}, fields={"key": "id", "title": "name"})
    assert found.refused[0].because == "unknown_shape"


def test_the_own_form_needs_only_a_title() -> None:
    signal = only(parsed("stanch", {"title": "dump failed"}))
    assert (signal.key, signal.title, signal.status) == ("dump failed", "dump failed", "firing")


def test_the_own_form_holds_everything_a_signal_has() -> None:
    signal = only(
        parsed(
            "stanch",
            {
                "key": "dump",
                "title": "dump failed",
                "status": "resolved",
                "severity": "P1",
                "target": "orders",
                "detail": "exit code 1",
                "labels": {"job": "nightly"},
                "links": ["https://example.com/log"],
                "starts_at": "2026-03-01T10:00:00+00:00",
                "ends_at": AT.timestamp() - 60,
            },
        )
    )
    assert signal.status is SignalStatus.RESOLVED
    assert dict(signal.labels) == {"target": "orders", "job": "nightly"}
    assert signal.ends_at == AT - timedelta(seconds=60)


def test_an_unknown_field_of_the_own_form_refuses_that_signal_alone() -> None:
    found = parsed("stanch", {"signals": [{"titel": "x"}, {"title": "y"}]})
    assert only(found).title == "y"
    assert "'titel'" in found.refused[0].reason


# --- as nobody should send them -----------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("body", "because"),
    [
        (b"", "malformed"),
        (b"\xff\xfe{", "malformed"),
        (b'{"alerts": [', "malformed"),
        (b"[]", "malformed"),
        (b'"x"', "malformed"),
        (b'{"a": NaN}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b" " * (payload.BODY_BYTES_MAX + 1), "too_large"),
    ],
)
def test_what_is_no_json_object_is_refused_with_a_reason(
    kind: SignalFormat, body: bytes, because: str
) -> None:
    found = read(source(kind, fields={"key": "id", "title": "t"}), body, AT)
    assert found.signals == ()
    assert [r.because for r in found.refused] == [because]
    assert found.refused[0].reason


def test_one_bad_alert_of_a_group_does_not_cost_the_others() -> None:
    plain = fixture("alertmanager")
    plain["alerts"] += [7, {"status": "maybe", "labels": {"a": "b"}}, {"status": "firing"}]
    found = parsed("alertmanager", plain)
    assert len(found.signals) == 3
    assert [r.reason.split(":")[0] for r in found.refused] == ["alert 3", "alert 4", "alert 5"]


def fired(**more: Any) -> Signal:
    return only(parsed("stanch", {"title": "x", **more}))


def test_a_start_in_the_future_is_the_moment_of_arrival() -> None:
    signal = fired(starts_at="2031-01-01T00:00:00Z")
    assert signal.starts_at == AT
    assert signal.bounded == ("starts_in_the_future",)


def test_a_start_that_is_a_little_ahead_is_the_clock_of_the_source() -> None:
    signal = fired(starts_at="2026-03-01T12:04:00Z")
    assert (signal.starts_at, signal.bounded) == (AT, ())


def test_a_start_long_ago_is_not_believed() -> None:
    signal = fired(starts_at="2001-01-01T00:00:00Z")
    assert signal.starts_at is None
    assert signal.bounded == ("starts_long_ago",)


@pytest.mark.parametrize("said", ["0001-01-01T00:00:00Z", "", "yesterday", 0, -1e300, [], True])
def test_what_is_no_moment_is_no_start(said: Any) -> None:
    signal = fired(starts_at=said)
    assert (signal.starts_at, signal.bounded) == (None, ())


def test_labels_are_kept_until_their_room_is_used_up() -> None:
    signal = fired(labels={f"n{i}": "v" * 150 for i in range(1000)})
    size = sum(len(k) + len(v) for k, v in signal.labels.items())
    assert 0 < len(signal.labels) <= payload.LABELS_MAX
    assert size <= payload.LABEL_CHARS_MAX
    assert "labels" in signal.bounded


def test_texts_are_cut_and_hold_no_control_characters() -> None:
    signal = fired(key="k" * 500, detail="\x1b[31m" + "é" * 5000, labels={"a\n": "b\x00"})
    assert len(signal.key) <= payload.KEY_CHARS_MAX
    assert len(signal.detail) <= payload.DETAIL_CHARS_MAX
    assert signal.detail.isprintable()
    assert dict(signal.labels) == {"a\\n": "b\\x00"}
    assert {"key", "text"} <= set(signal.bounded)


def test_a_link_that_is_no_web_address_is_left_out() -> None:
    signal = fired(
        links=["javascript:alert(1)", "https://a.example.com/\x07", "http://ok.example.com"]
    )
    assert signal.links == ("http://ok.example.com",)
    assert "links" in signal.bounded


ALERTS: tuple[SignalFormat, ...] = tuple(kind for kind in FORMATS if kind != "deploy")
"""Deploys are no alerts, and are read elsewhere."""
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6)
    ),
    max_leaves=20,
)
WORDS = st.sampled_from(
    ["alerts", "status", "labels", "event", "data", "type", "id", "attributes", "properties"]
)
NEAR = st.dictionaries(WORDS, ANY_JSON | st.sampled_from(["incident", "firing", "4"]), max_size=9)


@settings(max_examples=60)
@given(plain=st.dictionaries(st.text(max_size=10), ANY_JSON, max_size=6) | NEAR)
def test_any_object_is_read_or_refused_within_the_limits(plain: dict[str, Any]) -> None:
    for kind in ALERTS:
        found = parsed(kind, plain, fields={"key": "id", "title": "data", "each": ""})
        assert all(refused.reason for refused in found.refused)
        for one in found.signals:
            assert len(one.key) <= payload.KEY_CHARS_MAX
            assert len(one.title) <= payload.TITLE_CHARS_MAX + 1
            assert one.title.isprintable()


@settings(max_examples=60)
@given(body=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for kind in ALERTS:
        assert read(source(kind, fields={"key": "a"}), body, AT) is not None
