"""Levels that cannot be meant: unknown people, no order in time, nothing that changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from stanch.model.ids import PersonId
from stanch.policy.levels import Level
from stanch.policy.places import PathTo, Places
from stanch.policy.quoting import quoted
from stanch.policy.reading import nearest

Contradiction = tuple[PathTo, str, str]


def level_contradictions(
    levels: Sequence[Level], people: Sequence[PersonId], places: Places, *, below: PathTo = ()
) -> Iterator[Contradiction]:
    """What is wrong with the levels of a policy, or of the target that `below` names."""
    for before, level in pairwise(levels):
        if level.from_s <= before.from_s:
            hint = f"Write the levels in the order in which they begin; {before.name} comes first."
            yield (*below, "levels", level.name, "from"), "does not begin after the last one", hint
    for level in levels:
        path = (*below, "levels", level.name)
        for index, person in enumerate(level.page, 1):
            if person not in people and not places.given(("people", person)):
                hint = nearest(person, tuple(people)) or "Define them under `people`."
                yield (*path, "page", str(index)), f"unknown person {quoted(person)}", hint
        empty = level.act is None and not (level.page or level.propose or level.says)
        if empty and level.from_s > 0:
            yield path, "changes nothing", "Give it `act`, `page`, `propose` or `says`."
        if level.from_s == 0 and (level.page or level.propose):
            hint = "The ladder is paged, and the runbook of the cause is proposed, from the start."
            yield path, "pages or proposes from the first second on", hint
