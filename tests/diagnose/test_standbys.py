"""Standbys and consumers that get no WAL, take none, or confirm none; and those that are well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import cases_disk as d
import cases_replication as c
import evidences as w
from stanch.diagnose.clues.replication import sync_asked_for
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.outside import LogEvent, ServerProcesses
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Verdict
from stanch.model.ids import TargetName
from stanch.model.readings import Reading as Figure
from stanch.model.symptoms import Symptom, SymptomKind

GIB, MIB = w.GIB, w.MIB
PID = 500.0
"""Of every walsender in these cases."""


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


# --- consumers of slots -------------------------------------------------------------------------


def silent(seconds: float | None, slot: str = "") -> Figure:
    return w.figure("sender_silent_s", seconds, f"{PID:.0f}", slot)


def read_by(
    *, sent: float = 0.0, silent_s: float | None = 3.0, kept: float = 30.0 * GIB, **more: Any
) -> Evidence:
    """A slot in use: how much it keeps, how far its consumer is, and when that one last spoke."""
    kind = more.pop("kind", "logical")
    unconfirmed = more.pop("unconfirmed", None)
    told = () if unconfirmed is None else (w.figure("slot_unconfirmed_bytes", unconfirmed, "cdc"),)
    figures = d.figures(
        *d.slot("cdc", kept, active=True, kind=kind),
        *c.sender("cdc_reader", sent=sent, late_s=None),
        silent(silent_s, "cdc"),
        *told,
    )
    return w.healthy(figures=figures, volumes=d.wal_room(60 * GIB), symptoms=(), **more)


MOVING: dict[str, Evidence] = {
    "a slow line, over which the receiver speaks all the time": read_by(
        sent=29.0 * GIB, silent_s=0.4, kind="physical"
    ),
    "a consumer that catches up after a night": read_by(
        sent=20.0 * GIB, silent_s=2.0, unconfirmed=20.5 * GIB
    ),
    "a long transaction that keeps restart_lsn back": read_by(unconfirmed=4.0 * MIB),
    "a consumer between two of its words": read_by(kept=1.5 * GIB, unconfirmed=1.4 * GIB),
    "a quiet server whose receiver speaks every ten seconds": read_by(
        kept=16.0 * MIB, silent_s=9.5, kind="physical"
    ),
    "a consumer of whose words nobody was told": read_by(silent_s=None),
}


@pytest.mark.parametrize("what", sorted(MOVING))
def test_a_slot_whose_consumer_moves_is_not_stuck(what: str) -> None:
    assert "slot_stuck" not in standing(MOVING[what])


def test_a_consumer_that_says_nothing_is_named_before_the_lag_it_makes() -> None:
    found = diagnose(read_by(sent=29.0 * GIB, silent_s=40.0, kind="physical"))
    assert [(f.id, f.follows) for f in found.causes if f.probability >= STANDS_FROM] == [
        ("slot_stuck", None),
        ("lag_sending", "slot_stuck"),
    ]
    assert found.causes[0].subject == "cdc"


def test_a_consumer_that_has_everything_and_confirms_nothing_is_named_by_a_stranger() -> None:
    """Some say no time at all with their word."""
    for silent_s in (None, 0.5):
        assert standing(read_by(silent_s=silent_s, unconfirmed=29.0 * GIB)) == ["slot_stuck"]


def test_a_consumer_whose_walsender_is_suspended_is_not_to_blame() -> None:
    held = w.read(ServerProcesses(postmaster_pid=w.PID, children=12, suspended=(int(PID),)))
    evidence = read_by(sent=29.0 * GIB, silent_s=40.0, kind="physical", processes=held)
    assert standing(evidence) == ["lag_sending"]


def left(retained: float, **differs: Any) -> Evidence:
    figures = d.figures(*d.slot("old_standby", retained, active=False, kind="physical"))
    return w.healthy(figures=figures, volumes=d.wal_room(90 * GIB), **differs)


def test_a_slot_left_behind_that_keeps_many_times_max_wal_size_is_told_as_a_later_trouble() -> None:
    found = first(left(5.0 * GIB))
    assert (found.id, found.subject, found.hurts_later) == ("slot_inactive", "old_standby", True)
    assert diagnose(left(5.0 * GIB)).verdict is Verdict.CAUSE
    assert standing(left(1.5 * GIB)) == []


def test_a_slot_that_filled_the_volume_a_moment_ago_is_no_later_trouble() -> None:
    """There is room again, because somebody made some."""
    text = "could not write to file: No space left on device"
    refused = w.line("no_space_wal", 20, text, severity="PANIC", sqlstate="53100")
    assert not first(left(5.0 * GIB, log=w.log(refused))).hurts_later


def test_a_standby_that_left_and_its_slot_are_one_story() -> None:
    gone = Symptom(kind=SymptomKind.STANDBY_GONE, target=TargetName("orders"), since=w.ago(300))
    assert diagnose(left(5.0 * GIB, symptoms=(gone,))).verdict is Verdict.CAUSE


# --- a walsender that is held -------------------------------------------------------------------


def held_back(*pids: int, sent: float = 20.0 * MIB, **figure: Any) -> Evidence:
    seen = ServerProcesses(postmaster_pid=w.PID, children=12, suspended=pids)
    return w.healthy(
        figures=c.primary(*c.sender(sent=sent, late_s=None), *figure.values()),
        processes=w.read(seen),
    )


def test_a_walsender_that_is_suspended_is_named_with_its_process() -> None:
    found = first(held_back(int(PID)))
    assert (found.id, found.subject) == ("lag_sending", "two")
    assert "(process 500) is suspended" in found.summary


def test_a_walsender_that_is_looked_at_for_a_moment_is_no_cause() -> None:
    assert standing(held_back(int(PID), sent=0.2 * MIB)) == []


def test_another_process_that_is_suspended_holds_no_standby_back() -> None:
    assert standing(held_back(int(PID) + 1)) == []


def test_a_receiver_that_has_said_nothing_for_long_is_late_though_nothing_is_measured() -> None:
    said = silent(30.0)
    assert standing(held_back(sent=20.0 * MIB, said=said)) == ["lag_sending"]
    assert standing(held_back(sent=20.0 * MIB, said=silent(9.0))) == []


# --- commits that wait --------------------------------------------------------------------------


def waiting(*senders: Figure, names: str, standbys: int = 1) -> Evidence:
    return replace(
        c.CASES["sync_standby_gone"],
        figures=c.primary(*senders, standbys=standbys, synchronous_standby_names=names),
    )


def test_an_asynchronous_standby_is_none_that_commits_wait_for() -> None:
    found = first(waiting(*c.sender("near"), names='"given-away"'))
    assert found.id == "sync_standby_gone"
    assert '\'"given-away"\' is connected; connected is "near"' in found.summary


def test_fewer_synchronous_standbys_than_commits_wait_for_are_told() -> None:
    one = c.sender("near", detail="streaming quorum")
    found = first(waiting(*one, names="ANY 2 (near, far)"))
    assert found.id == "sync_standby_gone"
    assert "only 1 of 2" in found.summary
    assert standing(waiting(*one, names="ANY 1 (near, far)")) == []


@pytest.mark.parametrize(
    ("names", "asked_for"),
    [
        ("a", 1),
        ("a, b", 1),
        ("*", 1),
        ("2 (a, b, c)", 2),
        ("FIRST 3 (a, b, c)", 3),
        ("any 2(a,b)", 2),
        ('"2 (x"', 1),
    ],
)
def test_how_many_standbys_a_commit_waits_for(names: str, asked_for: int) -> None:
    assert sync_asked_for(names) == asked_for


# --- replay that is paused, seen from the primary -----------------------------------------------


def beside(**other: Any) -> Evidence:
    seen = c.cluster(c.member("orders", primary=True), c.member("orders-2", **other))
    return w.healthy(figures=c.primary(*c.sender()), cluster=seen)


PAUSED = {"replay_paused": True, "unreplayed_bytes": 12 * MIB}


def test_a_primary_tells_of_a_standby_that_says_that_its_replay_is_paused() -> None:
    found = first(beside(**PAUSED))
    assert (found.id, found.subject, found.hurts_later) == ("replay_paused", "orders-2", True)
    assert '"orders-2" is paused: 12.0 MiB' in found.summary
    assert found.fact("unreplayed_bytes") == 12 * MIB


NOT_PAUSED: dict[str, dict[str, Any]] = {
    "it has nothing to replay": {**PAUSED, "unreplayed_bytes": 0},
    "it replays": {**PAUSED, "replay_paused": False},
    "it said so a while ago": {**PAUSED, "seen_at": w.ago(600)},
    "it is of another origin": {**PAUSED, "system_identifier": "8"},
}


@pytest.mark.parametrize("what", sorted(NOT_PAUSED))
def test_no_standby_is_told_as_paused(what: str) -> None:
    assert standing(beside(**NOT_PAUSED[what])) == []


def test_what_keeps_people_from_work_on_the_primary_comes_before_a_paused_standby() -> None:
    both = replace(beside(**PAUSED), chains=w.chains(w.chain(4, 12.0, "idle in transaction")))
    assert standing(both)[:2] == ["idle_in_transaction", "replay_paused"]


# --- standbys that are turned away --------------------------------------------------------------

FAILED = 'could not connect to the primary server: connection to server at "db1", port 5432 failed:'
NO_ENTRY = (
    f"{FAILED} FATAL:  no pg_hba.conf entry for replication connection from host "
    '"10.0.0.2", user "replicator", no encryption'
)
WRONG = f'{FAILED} FATAL:  password authentication failed for user "replicator"'
REFUSED = f"{FAILED} Connection refused"
RESTARTED = (
    w.line("shutdown_request_fast", 40, "received fast shutdown request"),
    w.line("shut_down", 39, "database system is shut down"),
    w.line("starting", 38),
    w.line("ready", 37),
)


def tried(text: str, *ago: float, **more: Any) -> tuple[LogEvent, ...]:
    return tuple(
        w.line("primary_unreachable", s, text, severity="FATAL", **more)
        for s in (ago or (11, 6, 1))
    )


def alone(*lines: LogEvent, streams: float = 0.0) -> Evidence:
    """A standby, and what it logged."""
    return w.healthy(figures=c.standby(streams=streams), log=w.log(*lines))


@pytest.mark.parametrize(
    ("text", "cause_id"), [(NO_ENTRY, "hba_refused"), (WRONG, "password_wrong")]
)
def test_a_standby_tells_why_its_primary_turns_it_away_though_it_was_restarted(
    text: str, cause_id: str
) -> None:
    evidence = alone(*RESTARTED, *tried(text))
    found = first(evidence)
    assert standing(evidence) == [cause_id]
    assert (found.subject, found.since) == ("role replicator", w.ago(11))
    assert found.summary.startswith('This standby is turned away as role "replicator"')


TAKEN: dict[str, Evidence] = {
    "it streams again": alone(*tried(NO_ENTRY), streams=1.0),
    "it was refused ten minutes ago": alone(*tried(NO_ENTRY, 620, 610, 600)),
    "its primary is down since": alone(*tried(NO_ENTRY, 60), *tried(REFUSED, 5)),
    "a client wrote those words": alone(*tried(NO_ENTRY, who="app@app")),
    "it is a primary, whose log is older than its promotion": w.healthy(
        figures=c.primary(), log=w.log(*tried(WRONG))
    ),
}


@pytest.mark.parametrize("what", sorted(TAKEN))
def test_no_standby_is_told_as_turned_away(what: str) -> None:
    assert not {"hba_refused", "password_wrong"} & {*standing(TAKEN[what])}


GONE = Symptom(kind=SymptomKind.STANDBY_GONE, target=TargetName("orders"), since=w.ago(8))
KNOCKS = tuple(
    w.line("hba_rejected", s, "no pg_hba.conf entry for replication connection from host", **more)
    for s, more in ((6, {"severity": "FATAL"}), (1, {"severity": "FATAL"}))
)
FAILS = tuple(
    w.line("auth_failed", s, 'password authentication failed for user "replicator"') for s in (6, 1)
)
REPLICATES = w.figure("role_replicates", 1.0, "replicator")


def primary_of_one(*lines: LogEvent, symptoms: tuple[Symptom, ...] = (GONE,)) -> Evidence:
    return w.healthy(
        figures=c.primary(REPLICATES, standbys=0), log=w.log(*lines), symptoms=symptoms
    )


@pytest.mark.parametrize(
    ("lines", "cause_id"), [(KNOCKS, "hba_refused"), (FAILS, "password_wrong")]
)
def test_a_standby_that_left_and_is_turned_away_is_told_by_its_primary(
    lines: tuple[LogEvent, ...], cause_id: str
) -> None:
    assert standing(primary_of_one(*lines)) == [cause_id]
    assert first(primary_of_one(*lines)).summary.startswith("A standby")
    assert standing(primary_of_one(*lines, symptoms=())) == []
    assert standing(primary_of_one(lines[0])) == []


def test_a_person_who_mistypes_while_a_standby_is_away_is_none() -> None:
    others = [replace(line, text=line.text.replace("replicator", "ann")) for line in FAILS]
    assert standing(primary_of_one(*others)) == []
