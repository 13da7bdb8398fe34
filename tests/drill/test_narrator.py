"""What is told stays readable: hostile text is escaped, never read as markup, never drawn over."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from stanch.drill.acts.act import Broken
from stanch.drill.acts.programme import PROGRAMME
from stanch.drill.judging import Outside, PageSeen, Seen, Status
from stanch.drill.narrator import EVIDENCE_MAX, Narrator
from stanch.drill.result import Result, as_json
from stanch.drill.told import Told, told_of

BROKE = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
HOSTILE = "\x1b[2J[bold red]DROP[/] [link=http://x]\r\n\x07"


@pytest.fixture
def page() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def narrator(page: io.StringIO) -> Narrator:
    return Narrator(Console(file=page, width=300, highlight=False))


def entry(kind: str, seconds: float, **body: Any) -> dict[str, Any]:
    at = (BROKE + timedelta(seconds=seconds)).isoformat()
    return {"kind": kind, "at": at, "seq": 1, "body": body}


def diagnosis(cause: str, *, evidence: int = 1, verdict: str = "cause") -> dict[str, Any]:
    found = {
        "id": cause,
        "probability": 0.99,
        "summary": f"about {cause}",
        "evidence_for": [{"text": f"sign {n}"} for n in range(evidence)],
        "evidence_against": [{"text": "but this"}],
        "missing": [{"text": "unknown that"}],
    }
    return {"diagnosis": {"verdict": verdict, "causes": [found]}}


def test_times_are_counted_from_the_break(narrator: Narrator, page: io.StringIO) -> None:
    narrator.broken(Broken(at=BROKE, what="kill -9 7"))
    narrator.entry(entry("incident.opened.v1", 0.254, symptom={"detail": "refused"}))
    narrator.entry(entry("incident.opened.v1", -0.5, symptom={"detail": "low"}))
    said = page.getvalue()
    assert "+0.00 s broken" in said
    assert "+0.25 s noticed     refused" in said
    assert "-0.50 s noticed     low" in said


def test_hostile_text_neither_moves_the_cursor_nor_becomes_markup(
    narrator: Narrator, page: io.StringIO
) -> None:
    narrator.broken(Broken(at=BROKE, what=HOSTILE))
    narrator.entry(entry("incident.opened.v1", 1, symptom={"detail": HOSTILE}))
    narrator.paged(PageSeen(to=HOSTILE, subject=HOSTILE, short=HOSTILE, at=BROKE))
    said = page.getvalue()
    assert not {"\x1b", "\x07", "\r"} & set(said)
    assert said.count("[bold red]DROP[/]") == 5


def test_evidence_of_all_three_kinds_is_shown_with_its_sign(
    narrator: Narrator, page: io.StringIO
) -> None:
    narrator.entry(entry("diagnosis.recorded.v1", 1, **diagnosis("killed")))
    said = page.getvalue()
    assert "killed (99%): about killed" in said
    for line in ("+ sign 0", "- but this", "? unknown that"):
        assert line in said


def test_a_long_list_of_evidence_is_cut_and_counted(narrator: Narrator, page: io.StringIO) -> None:
    narrator.entry(entry("diagnosis.recorded.v1", 1, **diagnosis("killed", evidence=12)))
    assert page.getvalue().count("+ sign") == EVIDENCE_MAX
    assert "+ and 3 more" in page.getvalue()


def test_only_a_new_cause_is_told_again(narrator: Narrator, page: io.StringIO) -> None:
    for cause in ("killed", "killed", "disk_full_wal"):
        narrator.entry(entry("diagnosis.recorded.v1", 1, **diagnosis(cause)))
    narrator.entry(entry("diagnosis.recorded.v1", 1, **diagnosis("none", verdict="unknown")))
    assert page.getvalue().count("about ") == 2


def test_an_act_forgets_the_cause_of_the_one_before(narrator: Narrator, page: io.StringIO) -> None:
    for number in (1, 2):
        narrator.act_begins(PROGRAMME[0], number, 2)
        narrator.entry(entry("diagnosis.recorded.v1", 1, **diagnosis("killed")))
    assert page.getvalue().count("about killed") == 2


def test_a_quiet_console_says_nothing(page: io.StringIO) -> None:
    narrator = Narrator(Console(file=page, quiet=True))
    narrator.broken(Broken(at=BROKE, what="kill -9 7"))
    narrator.summary([])
    assert page.getvalue() == ""


def shown(*entries: dict[str, Any]) -> dict[str, Any]:
    opened = entry(
        "incident.opened.v1", 0.2, symptom={"detail": "refused"}, target="orders", title="down"
    )
    named = {"cause": "killed", "summary": "it was killed", "probability": 0.9, "for": ["a sign"]}
    return {
        "id": "20260301-001",
        "target": "orders",
        "diagnosis": {**named, "against": [], "missing": []},
        "timeline": [opened, *entries],
    }


def ended(step: str, outcome: str, *, plan: str = "p1") -> dict[str, Any]:
    return entry("step.outcome.v1", 1, plan_id=plan, step_id=step, outcome=outcome, detail=outcome)


def verified(step: str, ok: bool, *, plan: str = "p1") -> dict[str, Any]:
    return entry("step.verified.v1", 1, plan_id=plan, step_id=step, ok=ok, detail="looked")


def test_a_verification_belongs_to_the_step_of_its_own_plan() -> None:
    told = told_of(
        shown(
            ended("1-start_server", "failed"),
            ended("1-start_server", "done", plan="p2"),
            verified("1-start_server", True, plan="p2"),
        )
    )
    assert [(s.action, s.outcome, s.verified) for s in told.steps] == [
        ("start_server", "failed", None),
        ("start_server", "done", True),
    ]


def test_what_never_happened_is_not_told() -> None:
    told = told_of(shown())
    assert (told.rescued_at, told.resolved_at, told.steps, told.withheld) == (None, None, (), ())
    assert not told.resolved_verified
    assert told.diagnosed_at is None


def test_the_cause_counts_from_when_it_was_first_named() -> None:
    told = told_of(
        shown(
            entry("diagnosis.recorded.v1", 1, **diagnosis("crashed")),
            entry("diagnosis.recorded.v1", 2, **diagnosis("killed")),
            entry("diagnosis.recorded.v1", 3, **diagnosis("killed")),
        )
    )
    assert told.diagnosed_at == BROKE + timedelta(seconds=2)


def test_the_json_of_an_act_has_its_figures_and_its_words() -> None:
    told = Told(
        incident_id="20260301-001",
        target="orders",
        opened_at=BROKE + timedelta(seconds=0.2),
        observed="refused",
        cause="killed",
        rescued_at=BROKE + timedelta(seconds=3),
    )
    outside = Outside(login_and_write_ok=True, detail="writes", outage_s=0.4)
    seen = Seen(broke_at=BROKE, told=told, outside=outside)
    result = Result(act="killed", title="A title", status=Status.FAILED, reasons=("x",), seen=seen)
    line = as_json(result)
    assert (line["noticed_after_s"], line["rescued_after_s"], line["outage_s"]) == (0.2, 3.0, 0.4)
    assert (line["paged_after_s"], line["pages"], line["reasons"]) == (None, [], ["x"])


def test_a_skipped_act_says_why_and_has_no_figures() -> None:
    skipped = Result(act="x", title="X", status=Status.SKIPPED, reasons=("takes root",))
    assert as_json(skipped)["reasons"] == ["takes root"]
    assert (skipped.noticed_s, skipped.outage_s) == (None, None)
