"""Runbooks: strict to the line, complete where shipped, and never telling anybody to do harm."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.model.errors import PolicyInvalid
from stanch.model.findings import Finding
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.gathering.run import GATHERABLE
from stanch.respond.library import load_runbooks, shipped_runbooks
from stanch.respond.runbook import GATHER, Runbook, parse_runbook

GOOD = """---
id: my-own
title: Something is wrong
causes: [killed]
severity: high
time_target: 10m
owner: ann
last_drilled: 2026-01-01
---

# Something is wrong

Free some room first.

```stanch
do: free_space
params: {volume: $volume}
guards: [files, known_safe]
verify: There is room.
deadline: 20s
no_undo: A deleted file is gone.
expect: Room.
```
"""


def parsed(text: str) -> Runbook:
    return parse_runbook(text, file="my-own.md", actions=CATALOGUE, gathered=GATHERABLE)


def findings(text: str) -> list[Finding]:
    with pytest.raises(PolicyInvalid) as caught:
        parsed(text)
    return list(caught.value.findings)


def test_a_runbook_is_read_as_it_is_written() -> None:
    runbook = parsed(GOOD)
    assert (runbook.id, runbook.causes, runbook.time_target_s) == ("my-own", ("killed",), 600.0)
    assert runbook.last_drilled == "2026-01-01"
    [step] = runbook.steps
    assert (step.do, dict(step.params)) == ("free_space", {"volume": "$volume"})
    assert (step.deadline_s, step.on_failure, step.approval) == (20.0, "stop", "policy")


GATHERS = """\
Look first.

```stanch
gather: [volumes, slots]
expect: It is told which volume is full.
```

Free some room first.
"""


def test_what_is_to_be_gathered_is_a_step_that_only_reads_and_never_stops_the_others() -> None:
    runbook = parsed(GOOD.replace("Free some room first.\n", GATHERS))
    look, free = runbook.steps
    assert (look.do, dict(look.params)) == (GATHER, {"what": "volumes, slots"})
    assert (look.on_failure, look.approval, look.guards) == ("continue", "policy", ())
    assert free.do == "free_space"


def test_a_runbook_may_have_nothing_but_things_to_gather() -> None:
    start = GOOD.index("Free some")
    [look] = parsed(GOOD[:start] + GATHERS).steps
    assert CATALOGUE[look.do].reads_only


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("[volumes, slots]", "[volumes, slotts]", "gather.slotts"),
        ("[volumes, slots]", "volumes", "gather"),
        ("[volumes, slots]", "[]", "gather"),
        ("expect: It is told which volume is full.\n", "", "expect"),
        ("[volumes, slots]", "[volumes]\nparams: {volume: $volume}", "params"),
        ("[volumes, slots]", "[volumes]\ndo: free_space", "do"),
        ("[volumes, slots]", "[volumes]\ndeadline: soon", "deadline"),
    ],
)
def test_what_cannot_be_gathered_is_told_with_its_place(before: str, after: str, path: str) -> None:
    text = GOOD.replace("Free some room first.\n", GATHERS.replace(before, after))
    [found] = findings(text)
    assert found.path == path


WRONG = [
    ("an unknown key in the head", ("owner: ann", "owner: ann\nonwer: bo"), "onwer", 8),
    ("a missing key in the head", ("owner: ann\n", ""), "owner", 1),
    ("an id with blanks", ("id: my-own", "id: my own"), "id", 2),
    ("a time without unit", ("time_target: 10m", "time_target: 600"), "time_target", 6),
    ("causes that are no list", ("causes: [killed]", "causes: killed"), "causes", 4),
    ("an unknown key in a step", ("expect: Room.", "expect: Room.\nguard: files"), "guard", 23),
    ("a key twice", ("expect: Room.", "expect: Room.\nexpect: More."), "expect", 23),
    ("an unknown action", ("do: free_space", "do: free_sapce"), "do", 16),
    ("an unknown guard", ("[files, known_safe]", "[files, knwon_safe]"), "guards.knwon_safe", 18),
    ("no guards at all", ("guards: [files, known_safe]\n", ""), "guards", 15),
    ("guards that are no list", ("[files, known_safe]", "all"), "guards", 18),
    ("an unknown parameter", ("{volume: $volume}", "{volum: $volume}"), "params.volum", 17),
    ("a missing parameter", ("params: {volume: $volume}\n", ""), "params.volume", 16),
    ("a parameter of another kind", ("$volume", "7"), "params.volume", 17),
    ("a deadline of nothing", ("deadline: 20s", "deadline: 0s"), "deadline", 20),
    ("a deadline without unit", ("deadline: 20s", "deadline: 20"), "deadline", 20),
    ("an unknown approval", ("expect: Room.", "expect: Room.\napproval: no"), "approval", 23),
    ("neither undo nor no_undo", ("no_undo: A deleted file is gone.\n", ""), "undo", 15),
    ("undo and no_undo", ("expect: Room.", "expect: Room.\nundo: Put it back."), "undo", 15),
    ("a condition on nothing", ("expect: Room.", "expect: Room.\nwhen: server"), "when", 23),
]


@pytest.mark.parametrize(("_why", "change", "path", "line"), WRONG, ids=[w[0] for w in WRONG])
def test_a_mistake_is_named_with_its_line(
    _why: str, change: tuple[str, str], path: str, line: int
) -> None:
    assert change[0] in GOOD
    found = findings(GOOD.replace(*change, 1))
    assert (path, line) in [(f.path, f.line) for f in found], found


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("rm $PGDATA/postmaster.pid", "postmaster.pid"),
        ("pg_resetwal -f $PGDATA", "pg_resetwal"),
        ("rm -rf $PGDATA/pg_wal/0000*", "pg_wal"),
        ("VACUUM FULL;", "VACUUM FULL"),
    ],
)
def test_a_runbook_that_tells_people_to_do_harm_is_refused_with_what_to_do_instead(
    command: str, what: str
) -> None:
    [finding] = findings(f"{GOOD}\n```sh\n{command}\n```\n")
    assert what in finding.what
    assert finding.hint
    assert finding.line == GOOD.count("\n") + 2


def test_a_warning_in_prose_is_no_command() -> None:
    assert parsed(f"{GOOD}\nNever `rm postmaster.pid`, and no pg_resetwal.\n").id == parsed(GOOD).id


@pytest.mark.parametrize("text", ["", "no head", "---\nid: x\n", "---\n- a\n---\n", "---\n\n---\n"])
def test_what_is_no_runbook_is_refused(text: str) -> None:
    assert findings(text)


def test_an_open_block_is_a_mistake_and_not_half_a_step() -> None:
    assert any("never closed" in f.what for f in findings(GOOD.removesuffix("```\n")))


@given(st.text(max_size=400))
def test_no_text_makes_the_parser_fall_over(text: str) -> None:
    for candidate in (text, f"---\n{text}\n---\n", f"{GOOD}\n```stanch\n{text}\n```\n"):
        with suppress(PolicyInvalid):
            parsed(candidate)


# --- the shipped ones -----------------------------------------------------------------------------


def test_the_shipped_runbooks_cover_every_rescue() -> None:
    assert {runbook.id for runbook in shipped_runbooks()} == {
        "autovacuum-starved",
        "checkpoint-storm",
        "mass-write",
        "table-dropped",
        "start-server",
        "stale-lock-file",
        "connections-exhausted",
        "blocking-chain",
        "disk-full",
        "pool-exhausted",
        "pool-paused",
        "replay-conflict",
        "restart-pending",
        "runaway-statement",
        "slot-inactive",
        "old-statistics",
        "dead-rows",
        "wraparound",
        "invalid-index",
        "killed-for-memory",
        "waiting-schema-change",
    }


@pytest.mark.parametrize("runbook", shipped_runbooks(), ids=lambda r: r.id)
def test_a_shipped_step_names_every_guard_of_its_action(runbook: Runbook) -> None:
    for one in runbook.steps:
        assert set(one.guards) == {g.name for g in CATALOGUE[one.do].guards}


@pytest.mark.parametrize("runbook", shipped_runbooks(), ids=lambda r: r.id)
def test_a_person_can_follow_a_shipped_runbook_by_hand(runbook: Runbook) -> None:
    blocks = runbook.text.count("```sh") + runbook.text.count("```sql")
    done = [step for step in runbook.steps if step.do != GATHER]
    assert blocks >= len(done) + 1, "commands to look, and commands for every step"
    assert runbook.text.index("```s") < runbook.text.index("```stanch")


def test_no_two_shipped_runbooks_answer_one_cause() -> None:
    causes = [cause for runbook in shipped_runbooks() for cause in runbook.causes]
    assert len(causes) == len(set(causes))


# --- the user's own -------------------------------------------------------------------------------


def test_a_runbook_of_the_user_overrides_the_shipped_one_of_its_id(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(GOOD.replace("id: my-own", "id: disk-full"))
    in_force = {runbook.id: runbook for runbook in load_runbooks(str(tmp_path))}
    assert in_force["disk-full"].owner == "ann"
    assert in_force["start-server"].file == "start-server.md"


def test_one_bad_runbook_of_the_user_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_text("nothing")
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyInvalid) as caught:
        load_runbooks(str(tmp_path))
    assert {Path(f.file).name for f in caught.value.findings} == {"bad.md", "bytes.md"}


def test_the_same_id_twice_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(GOOD)
    (tmp_path / "b.md").write_text(GOOD)
    with pytest.raises(PolicyInvalid, match="twice"):
        load_runbooks(str(tmp_path))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match="is not a folder"):
        load_runbooks(str(tmp_path / "none"))
