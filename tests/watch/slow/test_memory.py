"""What is told of answers that came, stayed away, or have to wait for their turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stanch.facts.slow.questions import OF_A_DATABASE, SlowAnswer
from stanch.facts.statements import StatementsHome
from stanch.model.changes import Item, ItemKind
from stanch.model.readings import Reading
from stanch.watch.slow.memory import (
    BRIDGED_FOR,
    DATABASES_MAX,
    NOT_LET_IN,
    WAITING_MAX,
    Answered,
    Place,
    SlowMemory,
    Turns,
)

T0 = datetime(2026, 3, 1, tzinfo=UTC)
LOOK = timedelta(minutes=5)
KEYS, INDEXES = ("sequence_used_pct", "int4_key_used_pct"), "invalid_indexes"


def sequence(pct: float, subject: str = "app.s") -> SlowAnswer:
    return SlowAnswer(readings=(Reading(name=KEYS[0], subject=subject, value=pct),))


def listed(*names: str, there: tuple[str, ...] = ()) -> SlowAnswer:
    items = [Item(kind=ItemKind.DATABASE, name=name, value="UTF8") for name in (*names, *there)]
    return SlowAnswer(databases=names, items=tuple(items))


class Looks:
    """One look after the other, five minutes apart."""

    def __init__(self, *databases: str) -> None:
        self.memory = SlowMemory()
        self.listed = listed(*databases)
        self.count = -1

    def look(
        self, said: SlowAnswer | str, *, everywhere: bool = False, turns: Turns | None = None
    ) -> dict[tuple[str, str], Reading]:
        """The question about keys is answered so in the first database visited; nothing else is."""
        self.count += 1
        at = T0 + self.count * LOOK
        turns = turns or self.memory.turns(self.listed)
        answers: dict[Place, Answered] = {
            (database, "keys"): Answered(said=said, at=at)
            for database in (turns.visited if everywhere else turns.visited[:1])
        }
        for database in turns.shut:
            answers[database, "keys"] = Answered(said=NOT_LET_IN, at=at)
        told = self.memory.told(answers, turns, version_num=150000, at=at)
        assert len({(r.name, r.subject) for r in told}) == len(told), "nothing is told twice"
        return {(r.name, r.subject): r for r in told}


def test_one_failure_is_bridged_and_an_answer_in_between_counts_anew() -> None:
    looks, told = Looks("app"), list[float | None]()
    for said in (sequence(79), "57014", sequence(80), "57014", "57014", "57014", sequence(81)):
        told.append(looks.look(said)[KEYS[0], "app.s"].value)
    assert told == [79, 79, 80, 80, None, None, 81]


def test_a_database_that_never_answered_is_unknown_and_not_zero() -> None:
    told = Looks("app").look("no pg_hba.conf entry")
    assert {told[name, "app"].value for name in (*KEYS, INDEXES)} == {None}
    assert told[KEYS[0], "app"].detail == "no pg_hba.conf entry"
    assert (KEYS[0], "") not in told


def test_what_was_answered_and_is_gone_is_gone_and_not_unknown() -> None:
    looks = Looks("app")
    looks.look(sequence(90))
    told = looks.look(SlowAnswer())
    assert (KEYS[0], "app.s") not in told
    assert told[KEYS[0], ""].value == 0


def test_a_database_that_takes_us_no_more_is_unknown_and_a_dropped_one_is_gone() -> None:
    looks = Looks("app")
    looks.look(sequence(90))
    looks.listed = listed("shop", there=("app",))
    told = [looks.look(SlowAnswer())[KEYS[0], "app.s"] for _ in range(3)]
    assert [reading.value for reading in told] == [90, None, None]
    assert told[-1].detail == NOT_LET_IN
    looks.listed = listed("shop")
    assert (KEYS[0], "app.s") not in looks.look(SlowAnswer())


def test_databases_that_could_not_be_listed_are_visited_as_they_were_listed_before() -> None:
    looks = Looks("app", "shop")
    assert looks.memory.turns(None) == Turns()
    looks.look(sequence(90))
    assert looks.memory.turns(None) == Turns(visited=("app", "shop"))


def test_what_waits_for_its_turn_is_told_as_before_with_an_end() -> None:
    looks = Looks("app")
    looks.look(sequence(90))
    waits = Turns(waiting=("app",))
    told = [looks.look(SlowAnswer(), turns=waits)[KEYS[0], "app.s"] for _ in range(10)]
    bridged = int(BRIDGED_FOR / LOOK) - 1
    assert [r.value for r in told] == [90] * bridged + [None] * (10 - bridged)
    assert told[-1].detail == "not asked for 50 min"


def test_what_failed_and_then_waits_is_not_told_as_if_it_were_fresh() -> None:
    looks = Looks("app")
    looks.look(sequence(90))
    looks.look("57014")
    waits = looks.look(SlowAnswer(), turns=Turns(waiting=("app",)))
    assert waits[KEYS[0], "app.s"].value is None


def test_those_wait_longest_that_were_visited_last_and_new_ones_come_first() -> None:
    memory, names = SlowMemory(), [f"db{n}" for n in range(DATABASES_MAX + 5)]
    first = memory.turns(listed(*names))
    assert first.waiting == tuple(names[-5:])
    second = memory.turns(listed(*names, "new"))
    assert {*first.waiting, "new"} <= set(second.visited)
    assert second.left_out == "6 of 26 databases wait for their turn in the next looks"
    assert memory.turns(listed(*names[:DATABASES_MAX])).left_out == ""


@pytest.mark.parametrize("loaded", [True, False])
def test_where_statements_are_read_is_visited_in_every_look(loaded: bool) -> None:
    memory, names = SlowMemory(), [f"db{n}" for n in range(3 * DATABASES_MAX)]
    home = StatementsHome(schema="public", version="1.10", loaded=loaded, allowed=True)
    for n in range(3):
        turns = memory.turns(listed(*names))
        assert ("db0" in turns.visited) is (loaded or n == 0)
        said = SlowAnswer(home=home) if n == 0 else SlowAnswer()
        answers = {("db0", "statements_home"): Answered(said=said, at=T0)} if n == 0 else {}
        memory.told(answers, turns, version_num=150000, at=T0)


def test_of_a_crowd_that_waits_the_largest_are_told_and_nothing_is_said_to_be_over() -> None:
    looks = Looks("app", "shop")
    many = (
        Reading(name=KEYS[0], subject=f"app.s{n}", value=n / 10) for n in range(WAITING_MAX + 9)
    )
    looks.look(SlowAnswer(readings=tuple(many)))
    told = looks.look(SlowAnswer(), turns=Turns(visited=("shop",), waiting=("app",)))
    sequences = {s: r.value for (name, s), r in told.items() if name == KEYS[0] and s}
    assert len(sequences) <= WAITING_MAX
    assert f"app.s{WAITING_MAX + 8}" in sequences
    assert told[KEYS[0], ""].value is None


def test_items_are_not_kept() -> None:
    memory = SlowMemory()
    item = Item(kind=ItemKind.RELATION, name="t", value="1")
    answers = {
        ("app", q.name): Answered(said=SlowAnswer(items=(item,)), at=T0) for q in OF_A_DATABASE
    }
    memory.told(answers, memory.turns(listed("app")), version_num=150000, at=T0)
    assert "RELATION" not in repr(vars(memory))
