from __future__ import annotations

from pathlib import Path

import pytest

from stanch.diagnose.catalogue import BY_ID, CAUSES, look_alikes, separator
from stanch.diagnose.cause import Cause
from stanch.diagnose.page import causes_page
from stanch.policy.policy import ACTIONS

EVERY = pytest.mark.parametrize("cause", CAUSES, ids=lambda c: c.id)


def test_the_page_of_causes_is_the_catalogue() -> None:
    assert Path("docs/causes.md").read_text(encoding="utf-8") == causes_page()


def test_no_cause_is_listed_twice() -> None:
    assert len(BY_ID) == len(CAUSES)


@EVERY
def test_a_cause_forbids_only_actions_that_exist(cause: Cause) -> None:
    assert set(cause.forbids) <= set(ACTIONS)


@EVERY
def test_a_cause_has_a_question_that_separates_it_from_each_look_alike(cause: Cause) -> None:
    assert look_alikes(cause)
    assert all(separator(cause.id, other).endswith("?") for other in look_alikes(cause))


@EVERY
def test_what_separates_two_causes_is_said_by_one_of_them(cause: Cause) -> None:
    assert set(cause.apart) <= set(BY_ID) - {cause.id}
    assert not [other for other in cause.apart if cause.id in BY_ID[other].apart]


@EVERY
def test_a_cause_can_be_spoken_for_and_against(cause: Cause) -> None:
    assert max(max(w.yes, w.no) for w in cause.weighs) >= 3
    assert min(min(w.yes, w.no) for w in cause.weighs) <= -1
    assert cause.prior < 0


@EVERY
def test_a_cause_weighs_no_question_twice(cause: Cause) -> None:
    asked = [w.clue.id for w in cause.weighs]
    assert len(asked) == len(set(asked))


DOCUMENTATION = (
    "https://www.postgresql.org/docs/",
    "https://patroni.readthedocs.io/",
    "https://www.pgbouncer.org/",
)


@EVERY
def test_a_cause_says_what_to_do_and_what_never_to_do(cause: Cause) -> None:
    assert cause.safe_first.endswith(".")
    assert cause.impact.endswith(".")
    assert cause.never
    assert all(sentence.startswith("Do not ") for sentence in cause.never)
    assert cause.source.startswith(DOCUMENTATION)


def test_no_cause_brings_about_itself_even_in_a_circle() -> None:
    for cause in CAUSES:
        reached, stack = set[str](), list(cause.brings_about)
        while stack:
            found = stack.pop()
            if found not in reached:
                reached.add(found)
                stack.extend(BY_ID[found].brings_about)
        assert cause.id not in reached
