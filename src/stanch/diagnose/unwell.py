"""What is wrong with a server that answers, where no cause explains it: never called healthy."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.diagnose.clues.lag import lag_told
from stanch.diagnose.clues.sessions import near_limit
from stanch.diagnose.clues.slow_runs import long_run
from stanch.diagnose.clues.work import processors_short, waits_for_processor
from stanch.diagnose.evidence import Evidence, postmaster_lives, value_of
from stanch.diagnose.inside import SessionGroup, Sessions
from stanch.facts.workings import Doing
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

HOLDERS_SHOWN = 3


def unwell(evidence: Evidence) -> str:
    """Sentences about what stands out; empty where nothing does."""
    return " ".join(_found(evidence))


def _found(evidence: Evidence) -> Iterator[str]:
    sessions, lock = value_of(evidence.sessions), value_of(evidence.lock_file)
    if sessions is not None:
        full = near_limit.ask(evidence)
        if full.yes or _over_the_rule(sessions, evidence):
            yield f"{full.text[0].upper()}{full.text[1:]}: {_who(sessions)}."
        for limit in sessions.limits_hit:
            yield f"{limit[0].upper()}{limit[1:]}: it turns further logins away."
    run = long_run(evidence)
    if run is not None and processors_short(evidence):
        yield _waiting(run, evidence)
    if behind := lag_told(evidence):
        yield behind
    if lock is not None and not lock.present and postmaster_lives(evidence):
        yield (
            "The running server's postmaster.pid is gone: it looks every minute and then stops "
            "itself at once."
        )


def _waiting(run: Doing, evidence: Evidence) -> str:
    waits = waits_for_processor.ask(evidence).text
    age, text = span(run.oldest_query_s or 0.0), shortened(run.query, 120)
    said = f"several sessions have been at one statement for {age}: {text}"
    return f"{waits[0].upper()}{waits[1:]}; {said}"


def _over_the_rule(sessions: Sessions, evidence: Evidence) -> bool:
    """The watch says that connections run short, and they still do: its limit may be lower."""
    limits = [s.limit for s in evidence.symptoms if s.kind is SymptomKind.CONNECTIONS_HIGH]
    usable = sessions.usable or 0
    return any(
        limit is not None and usable and 100 * sessions.client_backends >= limit * usable
        for limit in limits
    )


def _who(sessions: Sessions) -> str:
    most = sorted(sessions.groups, key=lambda g: (-g.sessions, g.application_name, g.state))
    told = [_group(group) for group in most[:HOLDERS_SHOWN]]
    return ", ".join(told) or "nobody is shown"


def _group(group: SessionGroup) -> str:
    whose = f'"{group.application_name}"' if group.application_name else f"role {group.usename}"
    return f"{group.sessions} {group.state or 'in an unknown state'} of {whose}"
