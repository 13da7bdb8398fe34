"""Rights that are missing: who was allowed before, and who never was."""

from __future__ import annotations

import pytest

import cases_access as c
import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import Missing

UNSEEN = Missing(what="history", reason="nobody watches this server")


def refused(count: int, every_s: float) -> Evidence:
    """By somebody who never saw the server before."""
    said = c.lines("permission_denied", c.DENIED, count, every_s=every_s)
    return w.healthy(log=w.log(*said), history=UNSEEN, changes=UNSEEN)


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


def test_an_application_that_is_refused_again_and_again_has_lost_its_rights() -> None:
    assert standing(refused(30, 0.5)) == ["rights_revoked"]


@pytest.mark.parametrize(("count", "every_s"), [(60, 15.0), (30, 30.0), (5, 1.0)])
def test_a_probe_that_is_refused_now_and_then_tells_of_nothing(count: int, every_s: float) -> None:
    assert standing(refused(count, every_s)) == []
