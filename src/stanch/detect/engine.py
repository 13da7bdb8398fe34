"""One target's rules at work: a sample in, conditions out, and the memory that rates need.

Quiet is cheap: a rule whose number is good and that has nothing standing makes no object at all.
Nothing is concluded from what is missing: a sample without a reading leaves its symptom as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from math import isfinite
from types import MappingProxyType

from stanch.detect.counts import Fewer
from stanch.detect.judges import (
    BASELINES_MAX,
    Above,
    Absent,
    Below,
    SlowerThanUsual,
    judge_of,
)
from stanch.detect.look import Judge, Look
from stanch.detect.plan import Plan, Ready
from stanch.detect.reachability import reachability
from stanch.detect.surroundings import Surroundings, by_name, key_of, passed
from stanch.detect.tracker import Condition, Tracks
from stanch.detect.usual import Baseline
from stanch.detect.vitals import Lasting
from stanch.detect.words import figures_of, over, sentence
from stanch.model.readings import Reading
from stanch.model.rules import Judgement
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.model.vitals import Vitals
from stanch.policy.rules import declared_rules

Remembered = Mapping[tuple[SymptomKind, str], Baseline]
NOTHING: Remembered = MappingProxyType({})

LASTED_S_MAX = 10 * 366 * 86_400.0
"""No onset is put further back than ten years: what says so has its clock wrong."""


class Detector:
    """The rules of one target. Feed it every sample of that target, in order."""

    def __init__(
        self, plan: Plan, usual: Remembered = NOTHING, standing: Iterable[Symptom] = ()
    ) -> None:
        """`usual`: what an earlier process has learned, by rule and subject. `standing`: what it
        told, and has not seen to be over."""
        self._plan = plan
        self._above, self._below = Above(), Below()
        self._judges: dict[SymptomKind, Judge] = {}
        self._recall(usual)
        self._go_on(standing)
        self._lasting = Lasting()
        self._vitals: Vitals | None = None
        """The last ones: what they name may be asked for by a rule over something else."""

    def adopt(self, plan: Plan) -> None:
        """Go on under a changed policy, with everything remembered so far."""
        self._plan = plan

    def _recall(self, usual: Remembered) -> None:
        rules = declared_rules()
        for (kind, subject), baseline in usual.items():
            if rules[kind].judgement is Judgement.SLOWER_THAN_USUAL:
                judge = self._judges.setdefault(kind, SlowerThanUsual(rules[kind]))
                assert isinstance(judge, SlowerThanUsual)
                if len(judge.baselines) < BASELINES_MAX:
                    judge.baselines[subject] = baseline

    def _go_on(self, standing: Iterable[Symptom]) -> None:
        """Of what was missing it has to be known how much, or the rest would be the usual."""
        for symptom in standing:
            judge = self._fewer(symptom.kind)
            if judge is not None:
                last = symptom.measured or 0.0
                usual = last + 1.0 if symptom.limit is None else symptom.limit
                since_s = symptom.since.timestamp()
                judge.expect(symptom.subject, usual=usual, last=last, since_s=since_s)

    def give_up(self, keys: Iterable[str]) -> None:
        """What is missing by these symptoms nobody waits for: a person said so."""
        for key in keys:
            kind, _, subject = key.partition(":")
            judge = self._fewer(SymptomKind(kind))
            if judge is not None:
                judge.give_up(subject)

    def _fewer(self, kind: SymptomKind) -> Fewer | None:
        rule = declared_rules()[kind]
        if rule.judgement is not Judgement.FEWER:
            return None
        judge = self._judges.setdefault(kind, judge_of(rule))
        assert isinstance(judge, Fewer)
        return judge

    def learned(self) -> Iterator[tuple[SymptomKind, str, Baseline]]:
        """What it knows to be usual: worth keeping over a restart."""
        for kind, judge in self._judges.items():
            if isinstance(judge, SlowerThanUsual):
                for subject, baseline in judge.baselines.items():
                    yield kind, subject, baseline

    def conditions(self, sample: Sample, tracks: Tracks) -> Sequence[Condition]:
        """What the rules say about one sample, given what stands."""
        out = list(reachability(sample))
        readings = by_name(sample)
        vitals = sample.vitals
        if vitals is not None:
            self._count_anew(vitals)
            self._vitals = vitals
            self._lasting.note(vitals)
        look = Surroundings(
            sample=sample,
            at_s=sample.at.timestamp(),
            tracks=tracks,
            readings=readings,
            last_vitals=self._vitals,
            lasting=self._lasting,
            out=out,
        )
        if vitals is not None:
            self._judge_vitals(vitals, look)
        if readings:
            self._judge_readings(readings, look)
        for ready in self._plan.absent:
            self._judge_silence(ready, look)
        return out

    def _count_anew(self, vitals: Vitals) -> None:
        """Who streams from a primary goes elsewhere when it becomes a standby, and is not gone."""
        if self._vitals is None or self._vitals.in_recovery is vitals.in_recovery:
            return
        for judge in self._judges.values():
            if isinstance(judge, Fewer):
                judge.forget()

    # --- vitals: the fast path ---

    def _judge_vitals(self, vitals: Vitals, look: Surroundings) -> None:
        tracks, lasting = look.tracks, self._lasting
        for ready in self._plan.vitals:
            get = ready.one
            if get is None:
                assert ready.many is not None
                values = ready.many(vitals, lasting)
                if values is not None:
                    self._judge_each(ready, values, look)
                continue
            value = get(vitals, lasting)
            if ready.above is not None:
                if (value is None or value < ready.above) and ready.key not in tracks:
                    continue
            elif ready.below is not None:
                if (value is None or value > ready.below) and ready.key not in tracks:
                    continue
            elif ready.key not in tracks and not self._judge(ready).due(value, look.at_s):
                continue
            self._judge_one(ready, "", value, look)

    def _judge_each(
        self, ready: Ready, values: Iterable[tuple[str, float | None]], look: Surroundings
    ) -> None:
        seen: set[str] | None = set() if look.tracks else None
        for subject, value in values:
            if seen is not None:
                seen.add(subject)
            self._judge_one(ready, subject, value, look)
        if seen is not None:
            _gone(ready, seen, look)

    # --- readings of other sources ---

    def _judge_readings(
        self, readings: Mapping[str, Mapping[str, Reading]], look: Surroundings
    ) -> None:
        by_reading = self._plan.by_reading
        wanted = [ready for name in readings for ready in by_reading.get(name, ())]
        for ready in sorted(wanted, key=lambda r: r.order):
            told = readings[ready.rule.reading]
            only = ready.rule.subjects
            for subject, reading in told.items():
                if only and subject not in only:
                    continue
                if not _is_no_news(ready, reading.value) or key_of(ready, subject) in look.tracks:
                    self._judge_one(ready, subject, reading.value, look, reading=reading)
            could_not = "" in told and told[""].value is None
            if look.tracks and not could_not:
                _gone(ready, told.keys(), look)

    def _judge_silence(self, ready: Ready, look: Surroundings) -> None:
        judge = self._judge(ready)
        assert isinstance(judge, Absent)
        told = look.readings.get(ready.rule.reading, {})
        for subject in list(judge.subjects()):
            if subject not in told:
                silent = judge.silence(subject, look.at_s, ready.settings)
                self._conclude(ready, subject, silent, look, reading=None)

    # --- one value ---

    def _judge(self, ready: Ready) -> Judge:
        match ready.rule.judgement:
            case Judgement.ABOVE:
                return self._above
            case Judgement.BELOW:
                return self._below
            case _:
                judge = self._judges.get(ready.rule.kind)
                if judge is None:
                    judge = self._judges[ready.rule.kind] = judge_of(ready.rule)
                return judge

    def _judge_one(
        self,
        ready: Ready,
        subject: str,
        value: float | None,
        look: Surroundings,
        *,
        reading: Reading | None = None,
    ) -> None:
        if value is not None and not isfinite(value):
            value = None
        track = look.tracks.get(key_of(ready, subject)) if look.tracks else None
        standing = track is not None and track.standing
        found = self._judge(ready).look(
            subject, value, look.at_s, settings=ready.settings, standing=standing
        )
        self._conclude(ready, subject, found, look, reading=reading)

    def _conclude(
        self,
        ready: Ready,
        subject: str,
        found: Look,
        look: Surroundings,
        *,
        reading: Reading | None,
    ) -> None:
        key, rule = key_of(ready, subject), ready.rule
        bad, also, extra = self._verdict(ready, subject, found, look)
        if not bad and key not in look.tracks:
            return
        if bad:
            look.bad.add(key)
            if not look.may_tell(ready, key):
                return
        detail = "; ".join(part for part in (look.detail(rule.reading, subject), extra) if part)
        figures = figures_of(rule, ready.settings.limit, found)
        since = reading.since if reading is not None else None
        if rule.lasting and bad and since is None:
            lasted_s = (also if also is not None else found.measured) or 0.0
            since = look.sample.at - timedelta(seconds=min(lasted_s, LASTED_S_MAX))
        look.out.append(
            Condition(
                kind=rule.kind,
                bad=bad,
                subject=subject,
                measured=figures.measured,
                limit=figures.limit,
                unit=figures.unit,
                detail=self._said(ready, subject, found, look, detail=detail, bad=bool(bad)),
                since=since,
                hold_s=ready.settings.hold_s,
                clear_hold_s=rule.clear_hold_s,
                damped=True,
                anew=found.anew,
                lapsed=found.lapsed,
            )
        )

    def _verdict(
        self, ready: Ready, subject: str, found: Look, look: Surroundings
    ) -> tuple[bool | None, float | None, str]:
        """The verdict once every other reading has had its say; with what two of them said."""
        rule, bad, also, extra = ready.rule, found.bad, None, ""
        if rule.either is not None and not bad:
            other = look.second(rule.either, subject)
            if other is not None and passed(rule.either, rule.either.limit, other):
                bad, extra = True, look.detail(rule.either.reading, subject)
        if rule.also is not None and bad:
            also, limit = look.second(rule.also, subject), ready.settings.also
            bad = None if also is None or limit is None else passed(rule.also, limit, also)
        if bad and rule.unless is not None:
            worse = self._plan.by_kind.get(rule.unless)
            bad = look.beside(worse, subject, hold_s=ready.settings.hold_s)
        return bad, also, extra

    def _said(
        self, ready: Ready, subject: str, found: Look, look: Surroundings, *, detail: str, bad: bool
    ) -> str:
        rule = ready.rule
        if not bad:
            return over(rule, subject, found, detail=detail)
        names = look.largest(rule, detail) if rule.names else ""
        return sentence(rule, ready.settings.limit, subject, found, detail=detail, names=names)


def _is_no_news(ready: Ready, value: float | None) -> bool:
    """What neither raises nor, where nothing stands, ends anything: certainly good, or missing."""
    if ready.above is not None:
        return value is None or value < ready.above
    return ready.below is not None and (value is None or value > ready.below)


def _gone(ready: Ready, seen: Iterable[str], look: Surroundings) -> None:
    """Symptoms of subjects that are no longer there are over."""
    prefix = f"{ready.key}:"
    present = {f"{prefix}{subject}" for subject in seen}
    for key in look.tracks:
        if key.startswith(prefix) and key not in present:
            subject = key.removeprefix(prefix)
            over_now = Condition(
                kind=ready.rule.kind, bad=False, subject=subject, detail="no longer there"
            )
            look.out.append(over_now)
