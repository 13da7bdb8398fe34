"""Symptoms that tell of a moment, and what they leave of "wrong right now"."""

from __future__ import annotations

from collections.abc import Collection

from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules


def tells_of_a_moment(key: str) -> bool:
    """Whether a symptom, by its key, says that something happened, not how things are."""
    return declared_rules()[SymptomKind(key.partition(":")[0])].of_a_moment


def wrong_now(standing: Collection[str], seen: Collection[str]) -> tuple[str, ...]:
    """The keys among `standing`, sorted, that hold an incident in which all of `seen` was met.

    A crash ten minutes ago does not keep an outage open that is over since; where nothing but
    such moments was ever seen, they are all there is to go by.
    """
    if all(tells_of_a_moment(key) for key in seen):
        return tuple(sorted(standing))
    return tuple(sorted(key for key in standing if not tells_of_a_moment(key)))
