"""Which target an alert is about, and how bad it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from signals_at import SIGNALS, policy_with, signal
from stanch.model.ids import TargetName
from stanch.policy.policy import Policy, Severity, TargetPolicy
from stanch.policy.signals import SignalMailbox, SignalRoute, Signals, SignalSource
from stanch.watch.signals.routing import Router

POLICY = policy_with(SIGNALS, targets=("orders", "billing"))


def target(labels: dict[str, str], policy: Policy = POLICY, **more: Any) -> str | None:
    return Router(policy).route(signal(labels=labels, **more)).target


def rank(word: str, policy: Policy = POLICY, **more: Any) -> int:
    return Router(policy).route(signal(severity=word, **more)).rank


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"target": "billing", "cluster": "orders"}, "billing"),
        ({"cluster": "orders"}, "orders"),
        ({"instance": "billing.example.com:9187"}, "billing"),
        ({"host": "ORDERS.example.com"}, "orders"),
        ({"about": "Orders"}, "orders"),
        ({"instance": "elsewhere.example.com:9187"}, None),
        ({"target": "nobody"}, None),
        ({"cluster": "orders-2"}, None),
        ({}, None),
    ],
)
def test_labels_lead_to_the_target(labels: dict[str, str], expected: str | None) -> None:
    assert target(labels) == expected


def test_every_label_of_a_route_has_to_fit_and_a_star_is_any_text() -> None:
    routes = (SignalRoute(target="orders", labels=("job=pg", "instance=db1.*:9187")),)
    policy = policy_with(replace(SIGNALS, routes=routes))
    assert target({"job": "pg", "instance": "db1.example.com:9187"}, policy) == "orders"
    assert target({"job": "node", "instance": "db1.example.com:9187"}, policy) is None
    assert target({"job": "pg", "instance": "db1xexample.com:9187"}, policy) is None


def test_the_first_route_that_fits_counts_and_only_for_its_source() -> None:
    routes = (
        SignalRoute(target="billing", labels=("team=blue",), source="other"),
        SignalRoute(target="orders", labels=("team=*",)),
    )
    policy = policy_with(replace(SIGNALS, routes=routes), targets=("orders", "billing"))
    assert target({"team": "blue"}, policy) == "orders"
    assert target({"team": "blue"}, policy, source="other") == "billing"


def test_a_host_of_two_targets_means_neither() -> None:
    policy = replace(
        POLICY,
        targets=tuple(
            TargetPolicy(name=TargetName(n), dsn=f"host=db.example.com port={p}")
            for n, p in (("a", 5432), ("b", 5433))
        ),
    )
    assert target({"instance": "db.example.com:9187"}, policy) is None


def test_a_source_may_have_a_usual_target() -> None:
    source = SignalSource(name="prom", format="alertmanager", token_file="/t", target="orders")
    assert target({}, policy_with(Signals(sources=(source,)))) == "orders"


def test_a_mailbox_may_have_a_usual_target() -> None:
    mailbox = SignalMailbox(
        host="h", username="u", password_file="/p", senders=("@example.com",), target="orders"
    )
    assert (
        target({"about": "Acme"}, policy_with(Signals(mailbox=mailbox)), source="mail") == "orders"
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [("critical", 1), ("P0", 1), ("high", 2), ("P1", 2), ("warning", 3), ("info", 4), ("test", 4)],
)
def test_usual_words_have_their_usual_rank(word: str, expected: int) -> None:
    assert rank(word) == expected


def test_the_policys_own_labels_count_before_what_others_mean() -> None:
    scale = tuple(
        Severity(rank=r, label=label, name=f"n{r}", ack_within_s=60)
        for r, label in enumerate(("P1", "P2", "P3", "P4"), 1)
    )
    assert rank("p1", replace(POLICY, severities=scale)) == 1
    assert rank("p1") == 2


def test_an_unknown_word_has_the_rank_of_its_source() -> None:
    source = SignalSource(name="prom", format="alertmanager", token_file="/t", severity=3)
    assert rank("purple", policy_with(Signals(sources=(source,)))) == 3
    assert rank("", POLICY) == 2
