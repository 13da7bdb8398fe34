"""A cause that began right after a change names it; a change alone is no cause."""

from __future__ import annotations

import pytest

import evidences as w
from stanch.diagnose.after import WEIGHT
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import diagnose
from stanch.model.diagnosis import CauseFinding, Verdict

LEAK = w.sessions(w.group("idle", 90, age_s=900.0), w.group("active", 6))
DEPLOY = w.change(120, "deploy", "shop", "shop 4.2 is out")


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


def test_the_change_before_the_onset_is_named_and_speaks_for_the_cause() -> None:
    found = first(w.healthy(sessions=LEAK, changes=w.changes(DEPLOY)))
    assert found.id == "connections_leaked"
    assert found.after_change == DEPLOY
    [finding] = [f for f in found.evidence_for if f.evidence == "change"]
    assert (finding.text, finding.weight) == ("1 min before it began: shop 4.2 is out", WEIGHT)


def test_of_several_changes_the_nearest_is_named() -> None:
    earlier = w.change(600, "deploy", "shop", "shop 4.1 is out")
    found = first(w.healthy(sessions=LEAK, changes=w.changes(DEPLOY, earlier)))
    assert found.after_change == DEPLOY


@pytest.mark.parametrize(
    "change",
    [
        w.change(120, "relation", "orders.n"),
        w.change(3600, "deploy", "shop"),
        w.change(20, "deploy", "shop"),
    ],
    ids=["another kind", "long before", "after it began"],
)
def test_a_change_that_cannot_have_done_it_is_not_named(change: w.NotedChange) -> None:
    found = first(w.healthy(sessions=LEAK, changes=w.changes(change)))
    assert found.after_change is None


def test_a_change_on_a_healthy_server_is_no_cause() -> None:
    kinds = ("setting", "role", "extension", "relation", "server", "object", "image", "deploy")
    found = diagnose(w.healthy(changes=w.changes(*(w.change(90, k, "x") for k in kinds))))
    assert (found.verdict, found.causes) == (Verdict.HEALTHY, ())
