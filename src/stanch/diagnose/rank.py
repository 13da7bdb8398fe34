"""From evidence to an answer: the same evidence gives the same answer, byte for byte.

Each cause starts with its prior and gains or loses the weight of every question that evidence
answers. Within a family of causes that exclude each other the sums become probabilities together
with "something else" (sum 0); families are judged apart, so two independent causes can both be
likely. A cause that only follows from a likelier one stays in the list, below its root.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from stanch.diagnose.after import WEIGHT as CHANGE_WEIGHT
from stanch.diagnose.after import change_before, finding_of
from stanch.diagnose.catalogue import CAUSES, PAST, explained_by, separator
from stanch.diagnose.cause import Cause
from stanch.diagnose.causes.ids import (
    LONG_RECOVERY,
    SHUTDOWN_WAITS,
    STANDBY_WITHOUT_SESSIONS,
    STOPPED_CLEANLY,
)
from stanch.diagnose.clues import ending
from stanch.diagnose.clues.lock import recovering
from stanch.diagnose.clues.wire import between, leaving
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.managed import by_nature, provider_of
from stanch.diagnose.managed_moves import for_provider, question_for
from stanch.diagnose.unwell import unwell
from stanch.model.changes import NotedChange
from stanch.model.diagnosis import CauseFinding, Diagnosis, Finding, Verdict
from stanch.model.ids import CauseId
from stanch.model.reach import STATE_MEANINGS
from stanch.model.symptoms import SymptomKind

STANDS_FROM = 0.55
"""From this probability on a cause is named; below it is a candidate. Above one half, so that of
two causes that look alike to the evidence at hand neither stands."""
SHOWN_FROM = 0.05
"""Candidates below this are left out."""
STOP_SHARE = 1 / 3
"""Of the time looked back over: a stop in order, which most often was a planned restart, is history
the sooner."""
TELLS_NOTHING = frozenset({SymptomKind.REPORTED, SymptomKind.OUTSIDE_ALERT})
"""Other people's words: anything may be behind them."""
CHANGE_NEEDS = 2.0
"""Evidence of this weight has to stand beside a change for it to count."""
PROBABILITY_MAX = 0.99
"""Nothing is certain that was inferred."""

WAIT = "Wait: the server is recovering by itself and will be back when its WAL is replayed."
NEVER_RESTART_RECOVERY = "Do not restart it: recovery would begin from the start again."


def diagnose(evidence: Evidence) -> Diagnosis:
    """Ranked causes, or the reason why there are none."""
    found = _ranked(evidence, CAUSES, past=False)
    if _is_between(evidence):
        return _while_recovering(evidence, found)
    if any(f.probability >= STANDS_FROM and not _is_aside(f, evidence) for f in found):
        return _answer(evidence, Verdict.CAUSE, found, _story(found))
    reach = value_of(evidence.reach)
    if reach is None or not reach.answers:
        return _answer(evidence, Verdict.UNKNOWN, found, _why_unknown(evidence))
    wrong = unwell(evidence)
    if wrong:
        return _answer(evidence, Verdict.UNKNOWN, found, wrong)
    past = _over(evidence) or _ceased(evidence)
    if past and past[0].id != STOPPED_CLEANLY and (crashes := ending.goes_on(evidence)):
        told = f"It crashed {len(crashes)} times within the last minute: {past[0].summary}"
        return _answer(evidence, Verdict.CAUSE, past, told)
    if past:
        return _answer(evidence, Verdict.RECOVERED, past, f"Over: {past[0].summary}")
    if value_of(evidence.sessions) is None:
        return _answer(
            evidence,
            Verdict.UNKNOWN,
            found,
            "The server answers, but what goes on inside could not be read.",
        )
    return _answer(
        evidence, Verdict.HEALTHY, (), "The server answers and nothing looked at is wrong."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    cause: Cause
    sum: float
    evidence_for: tuple[Finding, ...]
    evidence_against: tuple[Finding, ...]
    missing: tuple[Finding, ...]
    change: NotedChange | None = None


def _score(cause: Cause, evidence: Evidence, *, past: bool) -> _Scored:
    total, pro, con, missing = cause.prior, list[Finding](), list[Finding](), list[Finding]()
    for weigh in cause.weighs:
        if past and weigh.now:
            continue
        answer = weigh.clue.ask(evidence)
        if answer.yes is None:
            if answer.text:
                text = f"{weigh.clue.question} Not known: {answer.text}"
                missing.append(Finding(evidence=weigh.clue.id, text=text))
            continue
        weight = weigh.yes if answer.yes else weigh.no
        total += weight
        if weight:
            finding = Finding(evidence=weigh.clue.id, text=answer.text, weight=weight, at=answer.at)
            (pro if weight > 0 else con).append(finding)
    # Only beside other evidence: a change alone is no cause.
    shown = not past and any(finding.weight >= CHANGE_NEEDS for finding in pro)
    change = change_before(cause, evidence) if shown else None
    if change is not None:
        total += CHANGE_WEIGHT
        pro.append(finding_of(change, cause.began(evidence) or evidence.onset or evidence.at))
    return _Scored(
        cause=cause,
        sum=total,
        evidence_for=tuple(sorted(pro, key=lambda f: (-f.weight, f.evidence))),
        evidence_against=tuple(sorted(con, key=lambda f: (f.weight, f.evidence))),
        missing=tuple(missing),
        change=change,
    )


def _probabilities(scored: Sequence[_Scored]) -> dict[CauseId, float]:
    """Softmax within each family, with "something else" at sum 0 as one more member."""
    families: dict[str, float] = {}
    for one in scored:
        family = one.cause.kin
        families[family] = families.get(family, 1.0) + math.exp(one.sum)
    return {
        one.cause.id: min(PROBABILITY_MAX, math.exp(one.sum) / families[one.cause.kin])
        for one in scored
    }


def _ranked(evidence: Evidence, causes: Sequence[Cause], *, past: bool) -> tuple[CauseFinding, ...]:
    scored = [
        _score(cause, evidence, past=past) for cause in causes if past or _is_shown(cause, evidence)
    ]
    probable = _probabilities(scored)
    found = [
        _finding(one, probable, evidence) for one in scored if probable[one.cause.id] >= SHOWN_FROM
    ]
    follows = {finding.id: finding.follows for finding in found}
    sums = {one.cause.id: one.sum for one in scored}

    def place(f: CauseFinding) -> tuple[int, bool, bool, float, float, CauseId]:
        stands = f.probability >= STANDS_FROM
        links = _links(f.id, follows)
        return (links, not stands, f.hurts_later, -f.probability, -sums[f.id], f.id)

    return tuple(sorted(found, key=place))


def _is_aside(found: CauseFinding, evidence: Evidence) -> bool:
    """It hurts nobody yet and brings about nothing of what is seen: true, and not the answer."""
    seen = {symptom.kind for symptom in evidence.symptoms} - TELLS_NOTHING
    return found.hurts_later and bool(seen) and not seen & explained_by(found.id)


def _is_shown(cause: Cause, evidence: Evidence) -> bool:
    shown = not cause.shown_by or any(
        clue.ask(evidence).yes is answer for clue, answer in cause.shown_by
    )
    return shown and not _has_ceased(cause, evidence)


def _has_ceased(cause: Cause, evidence: Evidence) -> bool:
    return cause.over_once is not None and cause.over_once.ask(evidence).yes is True


def _links(cause_id: CauseId, follows: Mapping[CauseId, CauseId | None]) -> int:
    """How far from the root of its story: roots come before what only follows from them."""
    above, links = follows.get(cause_id), 0
    while above is not None:
        above, links = follows.get(above), links + 1
    return links


def _finding(one: _Scored, probable: dict[CauseId, float], evidence: Evidence) -> CauseFinding:
    cause = one.cause
    return CauseFinding(
        id=cause.id,
        summary=cause.tell(evidence),
        # Three digits are more than the weights are worth, and keep the bytes the same everywhere.
        probability=round(probable[cause.id], 3),
        evidence_for=one.evidence_for,
        evidence_against=one.evidence_against,
        missing=one.missing,
        safe_first=cause.safe_first,
        never=cause.never,
        forbids=cause.forbids,
        subject=cause.subject(evidence),
        facts=cause.facts(evidence),
        follows=_root_of(cause, probable),
        runbook=cause.runbook,
        hurts_later=cause.hurts_later(evidence),
        since=cause.began(evidence),
        after_change=one.change,
        impact_in_s=cause.impact_in_s(evidence),
    )


def _root_of(cause: Cause, probable: dict[CauseId, float]) -> CauseId | None:
    """The standing cause that brings this one about; a cause that does not stand follows none."""
    if probable[cause.id] < STANDS_FROM:
        return None
    above = [
        other
        for other in CAUSES
        if cause.id in other.brings_about and probable.get(other.id, 0.0) >= STANDS_FROM
    ]
    # Of what stands in a row, the nearest: the others are told as what brought that about.
    ids = {other.id for other in above}
    nearest = [other.id for other in above if not ids & {*other.brings_about}] or [*ids]
    return max(nearest, key=lambda i: (probable[i], i), default=None)


def _is_between(evidence: Evidence) -> bool:
    """The server itself says that it starts up, or its startup process replays WAL."""
    asked = between.ask(evidence).yes
    if asked is None:
        return bool(recovering.ask(evidence).yes)
    return asked


def _while_recovering(evidence: Evidence, found: tuple[CauseFinding, ...]) -> Diagnosis:
    """What keeps it out for good (a full volume, a setting) is the cause; the rest needs time."""
    if any(f.probability >= STANDS_FROM and _keeps_down(f) for f in found):
        return _answer(evidence, Verdict.CAUSE, found, _story(found))
    waiting = tuple(
        replace(
            finding,
            safe_first=WAIT,
            never=(NEVER_RESTART_RECOVERY, *finding.never),
            forbids=tuple(dict.fromkeys((*finding.forbids, "start_server", "set_aside_lock_file"))),
        )
        for finding in found
    )
    long = next((f for f in found if f.id == LONG_RECOVERY and _stands(f)), None)
    if long is not None:
        return _answer(evidence, Verdict.CAUSE, waiting, _long_story(long, found))
    because = (
        f" Before that: {found[0].summary}" if found and found[0].probability >= STANDS_FROM else ""
    )
    return _answer(evidence, Verdict.UNKNOWN, waiting, f"{_between_text(evidence)}{because}")


def _stands(found: CauseFinding) -> bool:
    return found.probability >= STANDS_FROM


def _long_story(long: CauseFinding, found: tuple[CauseFinding, ...]) -> str:
    """What people wait for comes first, and what made it necessary after it."""
    before = next((f for f in found if f.id == long.follows), None)
    return long.summary + (f" Before that: {before.summary}" if before else "")


def _keeps_down(found: CauseFinding) -> bool:
    """A volume that is full now (one that has room again stands in nobody's way), a setting, or
    sessions that do not leave."""
    waits = found.id in {STANDBY_WITHOUT_SESSIONS, SHUTDOWN_WAITS}
    return waits or found.fact("volume_full") is True


def _between_text(evidence: Evidence) -> str:
    if leaving.ask(evidence).yes:
        return (
            "The server is shutting down: wait until it has ended. A smart shutdown waits for "
            "every session; a fast one (`pg_ctl stop -m fast`) ends them."
        )
    replaying = recovering.ask(evidence)
    detail = f" ({replaying.text})" if replaying.yes else ""
    return f"The server is recovering, wait{detail}."


def _over(evidence: Evidence) -> tuple[CauseFinding, ...]:
    """Failures that the log or the kernel still tells of, while the server answers again."""
    found = _ranked(evidence, PAST, past=True)
    if not found or found[0].probability < STANDS_FROM or not found[0].evidence_for:
        return ()
    ends = [event.at for event in ending.ending(evidence) if event.at is not None]
    if not ends:
        return ()
    share = STOP_SHARE if found[0].id == STOPPED_CLEANLY else 1.0
    within = timedelta(seconds=evidence.lookback_s * share)
    return found if evidence.at - max(ends) <= within else ()


def _ceased(evidence: Evidence) -> tuple[CauseFinding, ...]:
    """What the log tells of the last minutes, and has stopped."""
    causes = [cause for cause in CAUSES if _has_ceased(cause, evidence)]
    found = _ranked(evidence, causes, past=True) if causes else ()
    return found if found and found[0].probability >= STANDS_FROM else ()


def _story(found: tuple[CauseFinding, ...]) -> str:
    standing = [f for f in found if f.probability >= STANDS_FROM and f.follows is None]
    return " And, apart from that: ".join(f.summary for f in standing)


def _why_unknown(evidence: Evidence) -> str:
    reach = value_of(evidence.reach)
    if reach is None:
        return "Whether the server answers could not be found out."
    meaning, provider = STATE_MEANINGS[reach.state], provider_of(evidence)
    look = meaning.check_next if provider is None else f"Look at {provider.events}."
    return f"{meaning.sentence} Why is not known. {look}".strip()


def _answer(
    evidence: Evidence, verdict: Verdict, found: tuple[CauseFinding, ...], summary: str
) -> Diagnosis:
    rivals = [f for f in found if f.follows is None][:2]
    between_two = separator(rivals[0].id, rivals[1].id) if len(rivals) == 2 else ""
    provider = provider_of(evidence)
    if provider is not None:
        found = tuple(for_provider(f, provider) for f in found)
        between_two = question_for(between_two, provider)
    return Diagnosis(
        verdict=verdict,
        causes=found,
        at=evidence.at,
        elapsed_ms=round(evidence.elapsed_ms, 1),
        summary=summary,
        separator=between_two,
        absent=tuple(Finding(evidence=m.what, text=m.reason) for m in evidence.missing()),
        by_nature=by_nature(evidence),
    )
