"""What the policy says about clusters: read strictly, refused where it contradicts itself."""

from __future__ import annotations

import pytest

from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, read_policy

HEAD = """
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example}}
ladder: [asha]
channels: {screen: {type: terminal}}
targets: {a: {dsn: service=a}, b: {dsn: service=b}}
clusters:
"""


def test_a_cluster_is_read_and_survives_being_stored() -> None:
    text = HEAD + "  shop: {targets: [a, b], poolers: [bouncer], services: [checkout]}\n"
    policy = parse_policy(text, file="p")
    cluster = policy.cluster_of("b")
    assert cluster is not None
    assert cluster.names == ("shop", "bouncer", "checkout")
    assert policy.cluster_of("c") is None
    assert parse_policy(canonical_text(policy), file="p") == policy


@pytest.mark.parametrize(
    ("clusters", "path", "what"),
    [
        ("  shop: {targets: [a, c]}", "clusters.shop.targets.2", "unknown target"),
        ("  shop: {targets: []}", "clusters.shop.targets", "is empty"),
        ("  shop: {services: [x]}", "clusters.shop", "targets is missing"),
        (
            "  shop: {targets: [a]}\n  bank: {targets: [b, a]}",
            "clusters.bank.targets.2",
            "is in cluster",
        ),
        (
            "  shop: {targets: [a], services: [X]}\n  bank: {targets: [b], poolers: [x]}",
            "clusters.bank.poolers.1",
            "is in cluster",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(clusters: str, path: str, what: str) -> None:
    [finding] = read_policy(HEAD + clusters, file="p").errors
    assert finding.path == path
    assert what in finding.what


def test_a_service_may_be_called_as_a_target_of_another_cluster_is() -> None:
    clusters = "  shop: {targets: [a], services: [b]}\n  bank: {targets: [b]}"
    assert read_policy(HEAD + clusters, file="p").errors == ()
