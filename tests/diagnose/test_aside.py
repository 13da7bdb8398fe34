"""What hurts nobody yet is told, and is not the answer to what hurts now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import evidences as w
from cases import ALL
from stanch.diagnose.catalogue import BY_ID, explained_by
from stanch.diagnose.rank import diagnose
from stanch.model.diagnosis import Verdict
from stanch.model.ids import CauseId, TargetName
from stanch.model.symptoms import Symptom, SymptomKind

LATER = CauseId("slot_inactive")


def seen(kind: SymptomKind) -> tuple[Symptom, ...]:
    return (Symptom(kind=kind, target=TargetName("orders"), since=w.AT - timedelta(seconds=5)),)


def verdict_on(kind: SymptomKind | None) -> tuple[Verdict, list[str]]:

    evidence = replace(ALL[LATER], symptoms=seen(kind) if kind else ())
    found = diagnose(evidence)
    return found.verdict, [cause.id for cause in found.causes if cause.hurts_later]


def test_it_is_no_answer_to_a_symptom_it_cannot_bring_about() -> None:
    assert SymptomKind.SESSIONS_BLOCKED not in explained_by(LATER)
    verdict, _ = verdict_on(SymptomKind.SESSIONS_BLOCKED)
    assert verdict is not Verdict.CAUSE


def test_it_is_the_answer_where_it_brings_about_what_is_seen_or_nobody_watches() -> None:
    for kind in (next(iter(BY_ID[LATER].symptoms)), SymptomKind.REPORTED, None):
        verdict, later = verdict_on(kind)
        assert (verdict, LATER in later) == (Verdict.CAUSE, True)
