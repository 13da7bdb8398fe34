from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.model import events as e
from stanch.model.changes import NotedChange
from stanch.model.diagnosis import CauseFinding, Diagnosis, Finding, Verdict
from stanch.model.ids import CauseId, IncidentId, ObligationId, TargetName
from stanch.model.memory import PastIncident
from stanch.model.plans import Mode, Refusal
from stanch.notify.body import body
from stanch.notify.story import Story, approve_command
from stanch.notify.texts import News, page_text, update_text
from timelines import ANN, ORDERS, T0, at, plan, symptom

NOW = at(245)
KILLED = CauseFinding(
    id=CauseId("killed"),
    summary="The server was killed from outside.",
    probability=0.934,
    evidence_for=(Finding(evidence="controldata", text="state is 'in production'"),),
    evidence_against=(Finding(evidence="server log", text="no crash was logged"),),
    missing=(Finding(evidence="kernel log", text="not readable by this user"),),
    safe_first="Start it through its manager.",
    never=("Do not delete postmaster.pid.",),
)
FOUND = Diagnosis(verdict=Verdict.CAUSE, causes=(KILLED,), at=at(1), elapsed_ms=40.0)
STORY = Story(
    incident_id=IncidentId("20260301-001"),
    target=ORDERS,
    title="server down",
    since=T0,
    severity_label="P0",
    data_at_risk="none seen",
    symptoms=(symptom(),),
    diagnosis=FOUND,
    did=("Started the server with pg_ctl.",),
    people={ANN: "Ann"},
)
WITHHELD = e.PlanWithheld(
    cause="disk_full_data",
    refusal=Refusal(guard="nothing_safe", reason="nothing is safe to free", lifts="Add ballast."),
    options=("Grow the volume.", "Drop the slot after asking its owner."),
)


def test_a_page_s_short_text_tells_all_that_matters_on_one_line() -> None:
    assert page_text(STORY, at=NOW).short == (
        "P0 orders: server down. Since 03:00 UTC (4 min 5 s). Data at risk: none seen. "
        "Cause: killed 93%. Did: Started the server with pg_ctl. stanch ack 001"
    )


def test_a_page_before_any_diagnosis_says_so_and_claims_nothing() -> None:
    short = page_text(replace(STORY, diagnosis=None, did=()), at=NOW).short
    assert "Cause: not looked at yet." in short
    assert "Did nothing yet." in short


def test_a_page_without_a_cause_says_unknown_although_candidates_were_ranked() -> None:
    unsure = replace(FOUND, verdict=Verdict.UNKNOWN)
    text = page_text(replace(STORY, diagnosis=unsure), at=NOW)
    assert "Cause: unknown." in text.short
    assert "killed" not in text.short
    assert "NEAREST CANDIDATE" in text.body


def test_what_changed_before_is_told_with_its_link_and_escaped() -> None:
    noted = NotedChange(
        at=STORY.since,
        kind="deploy",
        what="checkout\x1b[2J",
        told="version 1.4.2; by ann",
        link="https://ci.example.com/7",
    )
    told = body(replace(STORY, changes=(noted,)), at=STORY.since)
    assert "WHAT CHANGED BEFORE" in told
    assert "version 1.4.2; by ann" in told
    assert "https://ci.example.com/7" in told
    assert "\x1b" not in told
    assert "WHAT CHANGED BEFORE" not in body(STORY, at=STORY.since)


def test_what_was_seen_before_is_told_with_what_ended_it_and_escaped() -> None:
    before = PastIncident(
        id=IncidentId("20260201-004"),
        target=ORDERS,
        title="server down",
        cause=CauseId("killed"),
        likeness=0.9,
        opened_at=T0,
        took_s=240.0,
        fixed_by="people (ann\x1b[2J)",
    )
    text = body(replace(STORY, past=(before,)), at=NOW)
    assert "SEEN BEFORE\n- 20260201-004 on orders, killed: over after 4 min, ended by" in text
    assert "\x1b" not in text
    assert "SEEN BEFORE" not in body(STORY, at=NOW)


def test_a_drill_says_so_everywhere() -> None:
    text = page_text(replace(STORY, drill=True), at=NOW)
    assert "DRILL" in text.short
    assert "DRILL" in text.subject
    assert "DRILL" in text.body


def test_a_target_named_in_the_title_is_not_named_twice() -> None:
    short = page_text(replace(STORY, title="orders: server down"), at=NOW).short
    assert short.count("orders") == 1


def test_long_causes_and_deeds_give_way_before_target_what_and_acknowledgement() -> None:
    cause = replace(KILLED, summary="word " * 100)
    story = replace(
        STORY,
        target=TargetName("customer-db-eu-central-1-primary"),
        title="connections exhausted",
        diagnosis=replace(FOUND, causes=(cause,)),
        did=("deed " * 100,),
    )
    short = page_text(story, at=NOW).short
    assert len(short) <= 160
    assert "customer-db-eu-central-1-primary: connections exhausted." in short
    assert short.endswith("stanch ack 001")
    assert "03:00 UTC" in short
    assert "none seen" in short


def test_the_body_holds_the_evidence_the_safe_move_and_what_never_to_do() -> None:
    text = page_text(STORY, at=NOW).body
    for part in (
        "state is 'in production' (controldata)",
        "no crash was logged (server log)",
        "not readable by this user (kernel log)",
        "Start it through its manager.",
        "- Never delete postmaster.pid.",
        "Started the server with pg_ctl.",
        "    stanch ack 001",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 78


def test_a_waiting_plan_is_shown_with_the_exact_command_and_what_cannot_be_undone() -> None:
    waiting = plan(Mode.ADVISE)
    text = page_text(replace(STORY, plan=waiting), at=NOW).body
    assert "    stanch approve 001 dddddddddddd" in text.splitlines()
    assert "Cannot be undone: it only starts" in text
    assert waiting.digest.startswith(approve_command(STORY, waiting).split()[-1])


def test_no_waiting_plan_no_approve_command() -> None:
    assert "stanch approve" not in page_text(STORY, at=NOW).body


def test_what_stanch_does_not_do_comes_with_its_reason_and_the_options_in_order() -> None:
    text = page_text(replace(STORY, withheld=WITHHELD), at=NOW).body
    assert "nothing is safe to free" in text
    assert text.index("Grow the volume") < text.index("Drop the slot")


def test_what_tells_the_first_two_causes_apart_stands_in_the_body() -> None:
    apart = replace(FOUND, separator="Does ps show the postmaster in state T?")
    text = page_text(replace(STORY, diagnosis=apart), at=NOW).body
    assert "To tell the first two apart: Does ps show the postmaster in state T?" in text


def test_a_hundred_symptoms_are_counted_not_listed() -> None:
    story = replace(STORY, symptoms=(symptom(),) * 100)
    assert "- and 88 more" in page_text(story, at=NOW).body


UPDATES: tuple[tuple[News, str], ...] = (
    (e.DiagnosisRecorded(diagnosis=FOUND), "cause: The server was killed from outside 93%"),
    (
        e.PlanEnded(plan_id=plan().id, completed=True, reason="verified"),
        "Stanch acted, the effect is verified: Started the server with pg_ctl",
    ),
    (
        e.PlanEnded(plan_id=plan().id, completed=False, reason="step failed"),
        "the plan ended: step failed",
    ),
    (
        e.IncidentRescued(window_s=60, checks=12, detail="ok", obligation=ObligationId("r")),
        "serves again, checked for 1 min (12 times)",
    ),
    (e.IncidentResolved(verified=True, reason="stable for 10 min"), "resolved: stable"),
    (e.IncidentAcknowledged(by=ANN, via="cli"), "Ann has taken it"),
    (e.PlanProposed(plan=plan(Mode.ADVISE)), "stanch approve 001 dddddddddddd"),
    (WITHHELD, "Stanch does not act: nothing is safe to free"),
    (e.SeveritySet(rank=2, label="P1", reason="spreads", by=ANN), "severity is now P1 by Ann"),
)


@pytest.mark.parametrize(("event", "says"), UPDATES, ids=lambda x: getattr(x, "kind", ""))
def test_an_update_says_what_is_new_on_one_short_line(event: News, says: str) -> None:
    text = update_text(event, STORY, at=NOW)
    assert says in text.short
    assert text.short.startswith("P0 orders:")
    assert text.short.endswith("(001)")
    assert "    stanch ack 001" in text.body


def test_nobody_is_asked_to_take_what_is_taken_or_over() -> None:
    taken = update_text(UPDATES[3][0], replace(STORY, taken_by=ANN), at=NOW).body
    assert "taken by Ann" in taken
    assert "stanch ack" not in taken
    over = update_text(UPDATES[4][0], replace(STORY, taken_by=ANN, over=True), at=NOW).body
    assert "is closed" in over
    assert "    stanch postmortem 001" in over
    assert "stanch ack" not in over


def test_an_update_about_a_deed_says_that_it_worked_before_its_wording_is_cut() -> None:
    done = e.PlanEnded(plan_id=plan().id, completed=True, reason="verified")
    story = replace(STORY, did=("Start the server of /var/lib/" + "x" * 200 + ": done",))
    assert "Stanch acted, the effect is verified" in update_text(done, story, at=NOW).short


def test_a_cause_whose_wording_does_not_fit_is_called_by_its_name_not_by_half_a_sentence() -> None:
    cause = replace(
        KILLED, id=CauseId("idle_in_transaction"), summary="Session 4711 (application " + "x" * 80
    )
    story = replace(
        STORY, title="sessions blocked", did=(), diagnosis=replace(FOUND, causes=(cause,))
    )
    assert "Cause: idle in transaction 93%." in page_text(story, at=NOW).short


def test_a_look_that_found_nothing_wrong_is_not_told_as_an_unknown_cause() -> None:
    healthy = replace(FOUND, verdict=Verdict.HEALTHY, causes=())
    assert "it looked healthy" in page_text(replace(STORY, diagnosis=healthy), at=NOW).short


def test_an_incident_closed_without_proof_is_never_called_resolved() -> None:
    event = e.IncidentResolved(verified=False, reason="looks fine", by=ANN)
    text = update_text(event, STORY, at=NOW)
    assert "closed by Ann without proof" in text.short
    assert "resolved" not in text.short
    assert "Nobody checked the database." in " ".join(text.body.split())


def test_a_rescue_is_not_called_resolved() -> None:
    event = e.IncidentRescued(window_s=60, checks=12, detail="", obligation=ObligationId("r"))
    assert "Not resolved yet" in update_text(event, STORY, at=NOW).body


anything = st.text(alphabet=st.characters(codec=None), max_size=300)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    text = lambda: draw(anything)  # noqa: E731
    finding = Finding(evidence=text(), text=text())
    cause = CauseFinding(
        id=CauseId(text()),
        summary=text(),
        probability=draw(st.floats(0, 1)),
        evidence_for=(finding,),
        missing=(finding,),
        never=(text(),),
    )
    verdict = draw(st.sampled_from(list(Verdict)))
    since = T0 + timedelta(seconds=draw(st.integers(-10_000_000, 10_000_000)))
    return Story(
        incident_id=IncidentId(text()),
        target=TargetName(text()),
        title=text(),
        since=since,
        severity_label=text(),
        data_at_risk="possible",
        symptoms=(replace(symptom(), detail=text()),),
        diagnosis=draw(
            st.sampled_from([None, replace(FOUND, verdict=verdict, causes=(cause,))]),
        ),
        did=tuple(draw(st.lists(anything, max_size=2))),
        plan=draw(st.sampled_from([None, replace(plan(), digest=text(), runbook=text())])),
        withheld=replace(WITHHELD, options=(text(),)),
        drill=draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(stories())
def test_whatever_the_story_a_page_is_one_printable_line_of_160_characters(story: Story) -> None:
    text = page_text(story, at=NOW)
    assert len(text.short) <= 160
    assert text.short.isprintable()
    assert text.subject.isprintable()
    assert "stanch ack" in text.short
    assert all(line.isprintable() for line in text.body.split("\n"))


@settings(max_examples=200, deadline=None)
@given(stories(), st.sampled_from([event for event, _ in UPDATES]))
def test_whatever_the_story_an_update_is_one_printable_line_of_160_characters(
    story: Story, event: News
) -> None:
    text = update_text(event, story, at=NOW)
    assert len(text.short) <= 160
    assert text.short.isprintable()
    assert all(line.isprintable() for line in text.body.split("\n"))


@given(
    st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True),
    st.from_regex(r"[a-z ]{1,40}[a-z]", fullmatch=True),
    st.lists(anything, max_size=2),
    anything,
)
def test_ordinary_targets_and_titles_are_never_cut(
    target: str, title: str, did: list[str], summary: str
) -> None:
    causes = (replace(KILLED, summary=summary),)
    story = replace(
        STORY,
        target=TargetName(target),
        title=title,
        did=tuple(did),
        diagnosis=replace(FOUND, causes=causes),
    )
    short = page_text(story, at=NOW).short
    assert short.startswith(f"P0 {target}: {title.strip()}.")
    assert short.endswith("stanch ack 001")


def test_a_megabyte_of_query_text_costs_no_time_and_no_space() -> None:
    story = replace(STORY, title="x" * 1_000_000, did=("\x00" * 1_000_000,))
    text = page_text(story, at=NOW)
    assert len(text.short) <= 160
    assert len(text.body) < 10_000
