from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, Diagnosis, Finding, Verdict
from stanch.model.ids import CauseId, IncidentId, ObligationId, WriterId
from stanch.model.messages import Handover
from stanch.model.plans import Mode, Refusal, StepOutcome
from stanch.model.symptoms import SymptomKind
from stanch.model.timeline import Recorded
from stanch.review.postmortem import postmortem
from strange import event_of, texts, times
from timelines import ANN, BO, Story, at, diagnosed, intended, opened, page, plan, symptom

PEOPLE = {ANN: "Ann", BO: "Bo"}
HEADINGS = [
    "Summary",
    "Impact",
    "Timeline",
    "What changed before",
    "Seen before",
    "Root cause",
    "Resolution",
    "What went well",
    "What went wrong",
    "Action items",
    "Durations",
]
KILLED = CauseFinding(
    id=CauseId("killed"),
    summary="the server was killed from outside",
    probability=0.93,
    evidence_for=(Finding(evidence="controldata", text="state is in production"),),
    evidence_against=(Finding(evidence="server log", text="no crash was logged"),),
    missing=(Finding(evidence="kernel log", text="not readable by this user"),),
)
OTHER = CauseFinding(id=CauseId("crashed"), summary="a backend crashed", probability=0.05)
FOUND = e.DiagnosisRecorded(
    diagnosis=Diagnosis(verdict=Verdict.CAUSE, causes=(KILLED, OTHER), at=at(0.2), elapsed_ms=180.0)
)
ACK = e.IncidentAcknowledged(by=ANN, via="cli")
GOOD = e.RescueChecked(ok=True, detail="", login_ok=True, write_ok=True, headroom_ok=True)
RESCUED = e.IncidentRescued(window_s=10, checks=3, detail="", obligation=ObligationId("r"))
RESOLVED = e.IncidentResolved(verified=True, reason="stable for 10 min")
ON_TIME = symptom().since - timedelta(seconds=0.4)
EARLY = opened(symptom=replace(symptom(), since=ON_TIME))
[TO_ANN] = page().deliveries


def delivered(outcome: Handover, *, attempt: int = 1, detail: str = "") -> e.DeliveryEnded:
    return e.DeliveryEnded(
        id=TO_ANN.id,
        message_id=TO_ANN.message_id,
        attempt=attempt,
        outcome=outcome,
        detail=detail,
    )


def attempt(number: int = 1, *, possible_repeat: bool = False) -> e.DeliveryAttempted:
    return e.DeliveryAttempted(
        id=TO_ANN.id,
        message_id=TO_ANN.message_id,
        attempt=number,
        possible_repeat=possible_repeat,
    )


def step(outcome: StepOutcome, detail: str = "", refusal: Refusal | None = None) -> e.StepEnded:
    return e.StepEnded(
        plan_id=plan().id,
        step_id=plan().steps[0].id,
        attempt=1,
        outcome=outcome,
        detail=detail,
        refusal=refusal,
    )


VERIFIED = e.StepVerified(
    plan_id=plan().id, step_id=plan().steps[0].id, ok=True, detail="accepts connections"
)
DONE = e.PlanEnded(plan_id=plan().id, completed=True, reason="verified")


def rescued_story() -> Story:
    story = Story(EARLY).then(FOUND, 0.2).then(page(), 0.3).then(attempt(), 0.3)
    story.then(delivered(Handover.ACCEPTED, detail="250 OK"), 0.5)
    story.then(e.PlanProposed(plan=plan()), 1).then(intended(), 2)
    story.then(step(StepOutcome.DONE, "pg_ctl start"), 4).then(VERIFIED, 5).then(DONE, 5)
    for second in (6, 10, 14):
        story.then(GOOD, second)
    return story.then(RESCUED, 16).then(ACK, 240).then(RESOLVED, 640)


def sections(story: Story | list[Recorded], **kwargs: object) -> dict[str, str]:
    timeline = story.timeline if isinstance(story, Story) else story
    text = postmortem(timeline, people=PEOPLE, **kwargs)  # type: ignore[arg-type]
    parts = text.split("\n## ")
    return {"": parts[0]} | {p.split("\n")[0]: p.partition("\n")[2] for p in parts[1:]}


def test_the_report_of_an_automatic_rescue_reads_as_a_whole() -> None:
    report = sections(rescued_story(), ack_within_s=300)
    assert list(report)[1:] == HEADINGS
    assert "| Status | resolved, checked on the database |" in report[""]
    assert "| Target | orders |" in report[""]
    assert "| Taken by | Ann |" in report[""]
    assert report["Summary"].splitlines()[1:] == [
        "orders, 2026-03-01 02:59:59 UTC: server down.",
        "Most likely cause: the server was killed from outside (93%).",
        "It served again 6.4 s after it began. Status: resolved, checked on the database.",
    ]
    assert "- From 2026-03-01 02:59:59 UTC to 2026-03-01 03:00:06 UTC (6.4 s)." in report["Impact"]
    assert report["What went well"].splitlines()[1:] == [
        "- Detected 0.4 s after onset.",
        "- A cause was named 0.2 s after the incident opened.",
        "- Acknowledged after 4 min, limit 5 min.",
        "- Every hand-over worked at the first attempt (1 in all).",
        "- Stanch brought it back by itself; it served again 6.4 s after onset.",
    ]
    assert report["What went wrong"].splitlines()[1:] == [
        "- Could not be read: kernel log: not readable by this user"
    ]
    assert report["Durations"].splitlines()[3:8] == [
        "| detect | onset to incident open | 0.4 s |",
        "| acknowledge | first page to taken | 4 min |",
        "| diagnose | incident open to cause named | 0.2 s |",
        "| mitigate | onset to serving again, as proven since | 6.4 s |",
        "| resolve | onset to resolved | 10 min 40 s |",
    ]


def test_the_root_cause_comes_with_evidence_for_against_and_missing() -> None:
    cause = sections(rescued_story())["Root cause"]
    assert cause.index("state is in production") > cause.index("Evidence for it")
    assert cause.index("no crash was logged") > cause.index("Evidence against it")
    assert cause.index("not readable by this user") > cause.index("Missing")
    assert "a backend crashed (5%)" in cause


def test_each_event_is_one_line_with_its_time_in_utc() -> None:
    story = rescued_story()
    lines = [ln for ln in sections(story)["Timeline"].splitlines() if ln.startswith("- ")]
    assert len(lines) == len(story.timeline)
    assert lines[0].startswith("- 03:00:00 Incident opened: server down")


def test_days_are_written_where_an_incident_spans_several() -> None:
    story = Story(opened()).then(RESOLVED, 90_000)
    lines = sections(story)["Timeline"].splitlines()
    assert any(line.startswith("- 2026-03-02 04:00:00 ") for line in lines)


def test_a_fact_written_down_late_is_marked() -> None:
    story = Story(opened()).then(page(), 1)
    late = replace(story.timeline[-1], basis_seq=0)
    report = sections([story.timeline[0], late])
    assert report["Timeline"].count("(written down late)") == 1


def test_the_data_statement_says_what_is_known_and_what_is_not() -> None:
    impact = sections(rescued_story())["Impact"]
    assert "Data at risk: none seen. Until the cause was known: possible." in impact
    assert "test writes worked in 3 of 3 checks" in impact
    assert "Not known: whether any row was lost." in impact


def test_the_record_s_head_is_anchored_in_the_report() -> None:
    story = Story(opened())
    head = replace(story.timeline[0], hash=bytes(range(32)))
    anchor = f"{head.writer_id}:{head.n}:{bytes(range(32)).hex()}"
    assert f"1 entries, anchor {anchor}" in sections([head])[""]


def test_that_a_dead_server_let_no_session_in_is_nothing_to_mend() -> None:
    absent = (
        Finding(evidence="sessions", text="no session: refused"),
        Finding(evidence="chains", text="no session: auth_failed"),
    )
    found = replace(FOUND, diagnosis=replace(FOUND.diagnosis, absent=absent))
    report = sections(Story(EARLY).then(found, 0.2), until=at(600))
    assert "no session: refused" in report["Root cause"], "what was not read is still told"
    for section in ("What went wrong", "Action items"):
        assert "no session: refused" not in report[section]
        assert "no session: auth" in report[section]


def test_an_unresolved_incident_claims_no_end() -> None:
    report = sections(Story(EARLY).then(FOUND, 0.2), until=at(600))
    assert "| Status | open |" in report[""]
    assert "not over at 2026-03-01 03:10:00 UTC" in report["Impact"]
    assert "When it served again is not known." in report["Summary"]
    assert "Stanch changed nothing on the target." in report["Resolution"]
    assert report["Durations"].count("not reached") == 3


def test_what_healed_by_itself_is_told_as_such_and_nobody_is_blamed_for_not_being_paged() -> None:
    healed = e.IncidentResolved(verified=True, reason="serves", self_healed=True)
    story = Story(opened()).then(e.SymptomCleared(key="server_down"), 4).then(healed, 30)
    report = sections(story)
    assert "| Status | resolved by itself, checked on the database |" in report[""]
    assert "healed by itself before anybody had to be paged" in report["What went well"]
    assert "Nobody was told" not in report["What went wrong"]


def test_an_incident_nobody_was_told_about_is_a_fault_of_its_own() -> None:
    assert "Nobody was told." in sections(Story(opened()))["What went wrong"]


def test_a_refused_step_is_told_with_its_guard_its_reason_and_what_would_lift_it() -> None:
    no = Refusal(guard="no_live_postmaster", reason="pid 7 is alive", lifts="Stop pid 7 by hand.")
    story = Story(opened()).then(FOUND, 1).then(e.PlanProposed(plan=plan()), 2)
    story.then(intended(), 3).then(step(StepOutcome.REFUSED, refusal=no), 3)
    report = sections(story)
    assert "refused by guard no\\_live\\_postmaster" in report["Resolution"]
    assert "Stanch changed nothing on the target." in report["Resolution"]
    assert "Guard no\\_live\\_postmaster kept Stanch from acting" in report["What went well"]
    assert "pid 7 is alive" in report["What went wrong"]
    assert "- [ ] So that Stanch may act next time: Stop pid 7 by hand." in report["Action items"]


def test_a_step_without_outcome_is_not_told_as_nothing() -> None:
    story = Story(opened()).then(e.PlanProposed(plan=plan()), 2).then(intended(), 3)
    report = sections(story)
    assert "changed nothing" not in report["Resolution"]
    assert "What came of step start\\_server was not recorded." in report["Resolution"]
    assert "What came of step start\\_server was not recorded." in report["What went wrong"]


def test_a_step_in_doubt_is_told_as_in_doubt() -> None:
    story = Story(opened()).then(e.PlanProposed(plan=plan()), 2).then(intended(), 3)
    story.then(step(StepOutcome.IN_DOUBT, "no answer within 30 s"), 40)
    report = sections(story)
    assert "in doubt: no answer within 30 s" in report["What went wrong"]
    assert "changed nothing" not in report["Resolution"]


def test_failed_doubtful_and_repeated_pages_are_told_one_by_one() -> None:
    story = Story(opened()).then(page(), 1).then(attempt(1), 1)
    story.then(delivered(Handover.FAILED, detail="451 try later"), 2).then(attempt(2), 3)
    story.then(delivered(Handover.IN_DOUBT, attempt=2, detail="no answer"), 13)
    story.then(attempt(3, possible_repeat=True), 14)
    story.then(delivered(Handover.ACCEPTED, attempt=3), 15)
    report = sections(story)
    wrong = report["What went wrong"]
    assert "Attempt 1 of page 1 to Ann over mail failed: 451 try later" in wrong
    assert "Attempt 2 of page 1 to Ann over mail may not have arrived: no answer" in wrong
    assert "possibly a repeat" in report["Timeline"]
    assert "first attempt" not in report["What went well"]
    assert report["Action items"].count("Repair the way to people over mail") == 1


def test_an_attempt_without_outcome_is_said_to_have_none() -> None:
    story = Story(opened()).then(page(), 1).then(attempt(1), 1)
    wrong = sections(story)["What went wrong"]
    assert "What came of the last attempt of page 1 to Ann over mail was not recorded." in wrong


def test_a_late_acknowledgement_is_measured_against_the_limit() -> None:
    story = Story(opened()).then(page(1), 1).then(page(2, persons=(BO,)), 301)
    report = sections(story.then(replace(ACK, by=BO), 361), ack_within_s=300)
    assert "Acknowledged only after 6 min, limit 5 min." in report["What went wrong"]
    assert "It took 2 levels of escalation" in report["What went wrong"]
    assert "Acknowledged" not in report["What went well"]
    assert "first page, to Ann, was not acknowledged in time" in report["Action items"]


def test_without_a_known_limit_no_judgement_is_made() -> None:
    story = Story(opened()).then(page(1), 1).then(ACK, 5000)
    report = sections(story)
    assert "only after" not in report["What went wrong"]
    assert "Acknowledged after 1 h 23 min." in report["What went well"]


def test_nobody_acknowledging_is_told() -> None:
    story = Story(opened()).then(page(1), 1).then(page(2), 301).then(RESOLVED, 700)
    assert "Nobody acknowledged it; pages went out 2 times." in sections(story)["What went wrong"]


def test_what_was_over_before_the_limit_blames_nobody_for_not_acknowledging() -> None:
    story = Story(opened()).then(page(1), 1).then(RESOLVED, 30)
    report = sections(story, ack_within_s=300)
    assert "Nobody acknowledged" not in report["What went wrong"]
    assert "not acknowledged in time" not in report["Action items"]


def test_a_plan_nobody_approved_is_told_and_asks_for_a_decision() -> None:
    ran_out = e.PlanEnded(plan_id=plan().id, completed=False, reason="nobody approved it")
    story = Story(opened()).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1).then(ran_out, 1801)
    report = sections(story)
    assert "A plan waited for approval and ran out" in report["What went wrong"]
    assert "Decide who approves plans" in report["Action items"]


def test_an_approved_plan_that_ended_late_did_not_run_out_for_want_of_approval() -> None:
    late = e.PlanEnded(plan_id=plan().id, completed=False, reason="halted")
    story = Story(opened()).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1)
    story.then(e.PlanApproved(plan_id=plan().id, digest="d" * 64, by=BO), 60).then(late, 1900)
    assert "ran out" not in sections(story)["What went wrong"]


def test_a_plan_overtaken_before_it_expired_is_not_blamed_on_anyone() -> None:
    overtaken = e.PlanEnded(plan_id=plan().id, completed=False, reason="no longer needed")
    story = Story(opened()).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1).then(overtaken, 60)
    assert "ran out" not in sections(story)["What went wrong"]


def test_an_approved_rescue_names_who_approved_it() -> None:
    story = Story(EARLY).then(e.PlanProposed(plan=plan(Mode.ADVISE)), 1)
    story.then(e.PlanApproved(plan_id=plan().id, digest="d" * 64, by=BO), 60)
    story.then(intended(), 61).then(step(StepOutcome.DONE), 62).then(VERIFIED, 63).then(DONE, 63)
    story.then(GOOD, 64).then(RESCUED, 74)
    report = sections(story)
    assert "Stanch brought it back after Bo approved" in report["What went well"]
    assert "| Status | serves again, not yet resolved |" in report[""]


def test_closing_without_proof_is_never_reported_as_resolved() -> None:
    closed = e.IncidentResolved(verified=False, reason="looks fine", by=ANN)
    report = sections(Story(opened()).then(closed, 60))
    assert "closed by a person, without proof on the database" in report[""]
    assert "closed without proof" in report["What went wrong"]
    assert "Check on the database that it serves" in report["Action items"]


def test_a_relapse_makes_it_open_again_and_is_told() -> None:
    again = e.SymptomObserved(symptom=replace(symptom(), since=at(60)))
    story = Story(opened()).then(GOOD, 5).then(RESCUED, 15).then(again, 61)
    report = sections(story)
    assert "| Status | open |" in report[""]
    assert "It failed 2 times before it held." in report["What went wrong"]


def test_a_gap_in_the_watch_is_told_with_its_length() -> None:
    story = Story(opened()).then(e.ResponderResumed(away_since=at(10)), 70)
    assert "Stanch was not watching for up to 1 min" in sections(story)["What went wrong"]


def test_a_changed_mind_about_the_cause_is_told() -> None:
    story = Story(opened()).then(diagnosed("crashed"), 1).then(FOUND, 2)
    wrong = sections(story)["What went wrong"]
    assert "The first diagnosis named crashed, the last one killed." in wrong


def test_what_is_left_and_will_hurt_some_day_is_not_told_as_the_root_cause() -> None:
    assert isinstance(FOUND, e.DiagnosisRecorded)
    killed = FOUND.diagnosis.causes[0]
    later = replace(
        killed, id=CauseId("wal_burst"), summary="Much WAL is written", hurts_later=True
    )
    left = replace(FOUND, diagnosis=replace(FOUND.diagnosis, causes=(later,)))
    report = sections(Story(opened()).then(FOUND, 1).then(left, 2))
    assert "Much WAL" not in report["Root cause"]
    assert killed.summary[1:20] in report["Root cause"]


def test_what_a_person_saw_first_is_told_and_not_claimed_as_detected() -> None:
    report = sections(Story(opened(declared_by=BO)))
    assert "Bo noticed it before Stanch did." in report["What went wrong"]
    assert "Detected" not in report["What went well"]


@pytest.mark.parametrize(
    ("cause", "facts", "item"),
    [
        ("disk_full_data", (("volume", "/d"), ("safe_bytes", 0)), "Keep a ballast file on /d"),
        ("disk_full_wal", (("retainer", "slot:old"),), "See why slot:old keeps WAL"),
        ("connections_leaked", (("application_name", "shop"),), "Mend shop"),
        ("idle_in_transaction", (("root_usename", "etl"),), "for the role etl"),
    ],
)
def test_an_action_item_follows_from_a_fact_of_the_cause(
    cause: str, facts: tuple[tuple[str, str | int], ...], item: str
) -> None:
    def report(with_facts: tuple[tuple[str, str | int], ...]) -> str:
        found = replace(KILLED, id=CauseId(cause), facts=with_facts)
        diagnosis = replace(FOUND.diagnosis, causes=(found,))
        story = Story(opened()).then(e.DiagnosisRecorded(diagnosis=diagnosis), 1)
        return sections(story)["Action items"]

    assert item in report(facts)
    assert item not in report(())


def test_every_kind_of_symptom_has_its_impact() -> None:
    for kind in SymptomKind:
        assert sections(Story(opened(symptom=symptom(kind))))["Impact"].strip()


@pytest.mark.parametrize("length", range(len(rescued_story().timeline) + 1))
def test_every_prefix_of_an_incident_can_be_reviewed(length: int) -> None:
    report = sections(rescued_story().timeline[:length])
    assert list(report)[1:] == HEADINGS
    resolved = length == len(rescued_story().timeline)
    assert ("| Status | resolved" in report[""]) is resolved


def test_the_same_timeline_gives_the_same_bytes() -> None:
    texts_ = {postmortem(rescued_story().timeline, people=PEOPLE) for _ in range(2)}
    assert len(texts_) == 1


READABLE = [*(event_of(kind) for kind in e.KINDS.values()), event_of(e.UnknownEvent)]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.lists(st.tuples(st.one_of(READABLE), times, st.booleans()), max_size=12),
    texts,
    st.one_of(st.none(), times),
)
def test_no_timeline_however_hostile_adds_a_heading_a_link_or_markup(
    events: list[tuple[e.Event, object, bool]], name: str, until: object
) -> None:
    timeline = [
        Recorded(
            incident_id=IncidentId("20260301-001"),
            seq=n,
            at=when,  # type: ignore[arg-type]
            event=event,
            writer_id=WriterId("w"),
            n=n,
            basis_seq=0 if late else n - 1,
            hash=b"",
        )
        for n, (event, when, late) in enumerate(events, start=1)
    ]
    text = postmortem(timeline, people={ANN: name}, ack_within_s=60, until=until)  # type: ignore[arg-type]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    kinds = {t.type for t in tokens} | {c.type for t in tokens for c in t.children or ()}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "code_inline", "fence"}
    assert not kinds & {"code_block", "em_open", "strong_open", "s_open", "blockquote_open"}
    headings = [t.tag for t in tokens if t.type == "heading_open"]
    assert headings == ["h1", *["h2"] * len(HEADINGS)]
    assert "://" not in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_the_hostile_title_of_a_target_is_shown_as_text() -> None:
    sly = opened(title="<script>alert(1)</script>\n## All well\n[x](http://evil.example.com)")
    header = sections(Story(sly))[""]
    assert "&lt;script&gt;" in header
    assert "<script>" not in header
