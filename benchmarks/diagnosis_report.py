"""The report of a run of `diagnosis.py`, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stanch.drill.lab.scoring import NOTHING, Judged, confusion, score
from stanch.drill.lab.trial import Trial

Row = tuple[str, Trial, Mapping[str, Judged], str]
"""Kind, trial, judgement by viewer, and why it could not be made."""

MADE_OF = {
    "fault": "one fault, with something harmless beside it in three of ten",
    "healthy": "a server with nothing but its load",
    "harmless": "something that looks like trouble and is none",
    "recovered": "one fault that was taken back before anybody asked",
    "two faults": "two faults of different areas",
    "no host": "one fault; nothing of the server's machine can be read",
    "no rights": "one fault; the role that looks is a member of nothing",
}
TARGET_FIRST, TARGET_PAIR = 0.95, 0.90


def written(rows: Sequence[Row], facts: Mapping[str, str], *, command: str) -> str:
    """The whole report."""
    out = [f"# Diagnosis, {facts['at'][:10]}", "", f"Command: `{command}`", ""]
    out += ["| Machine | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in facts.items()), ""]
    out += [
        "`watched`: the diagnosis of `stanch run`, which saw the server before it broke.",
        "`stranger`: `stanch diagnose`, which did not. It is not asked of what lies where only a "
        "policy says (backups, poolers, a cluster's other servers): a dash.",
        "",
        *_kinds(rows),
        "",
        "## Faults",
        "",
        *_faults(rows),
        "",
        "## What was said in place of the truth",
        "",
        *_confused(rows),
        "",
        "## Not made",
        "",
        *([f"- {_names(trial)}: {why}" for _, trial, _, why in rows if why] or ["Nothing."]),
        "",
    ]
    return "\n".join(out)


def _kinds(rows: Sequence[Row]) -> Iterator[str]:
    yield (
        "| Trials | Seen by | n | Right first | Among three | All named | Verdict right "
        "| False alarms | Brier | Median | p95 |"
    )
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for kind, meaning in MADE_OF.items():
        for viewer in ("watched", "stranger"):
            judged = [j[viewer] for k, _, j, _ in rows if k == kind and viewer in j]
            if not judged:
                continue
            s = score(judged)
            yield (
                f"| {kind}: {meaning} | {viewer} | {s.trials} | {s.first:.0%} | {s.three:.0%} "
                f"| {s.all_named:.0%} | {s.verdicts:.0%} | {s.false_alarms} | {s.brier:.3f} "
                f"| {s.took_s:.1f} s | {s.took_s_p95:.1f} s |"
            )
    yield ""
    yield f"Targets: right first {TARGET_FIRST:.0%}, both of two named {TARGET_PAIR:.0%}, no false"
    yield "alarm on a healthy server, an answer within 3 s in the median and 5 s in 95 of 100."


def _faults(rows: Sequence[Row]) -> Iterator[str]:
    yield "| Fault | Truth | n | Watched | Stranger | Else |"
    yield "| --- | --- | ---: | ---: | ---: | --- |"
    single = [(t, j) for kind, t, j, _ in rows if kind == "fault" and j]
    made = {t.faults[0].id: t.faults[0] for t, _ in single}
    for fault in sorted(made.values(), key=lambda f: (f.area, f.id)):
        mine = [j for t, j in single if t.faults[0] is fault]
        right = {v: _right(mine, v) for v in ("watched", "stranger")}
        else_ = sorted({j[v].first for j in mine for v in j if not j[v].is_first})
        yield (
            f"| {fault.id} | {fault.causes[0]} | {len(mine)} | {right['watched']} "
            f"| {right['stranger']} | {', '.join(else_)} |"
        )


def _right(mine: Sequence[Mapping[str, Judged]], viewer: str) -> str:
    asked = [judged[viewer].is_first for judged in mine if viewer in judged]
    return str(sum(asked)) if asked else "-"


def _confused(rows: Sequence[Row]) -> Iterator[str]:
    yield "| Truth | Said | Watched | Stranger |"
    yield "| --- | --- | ---: | ---: |"
    counts = {
        viewer: confusion(j[viewer] for kind, _, j, _ in rows if viewer in j and kind == "fault")
        for viewer in ("watched", "stranger")
    }
    wrong = {pair for c in counts.values() for pair in c if pair[0] != pair[1]}
    if not wrong:
        yield f"| {NOTHING} | | | |"
    for truth, said in sorted(wrong):
        cells = " | ".join(str(counts[v][truth, said]) for v in ("watched", "stranger"))
        yield f"| {truth} | {said} | {cells} |"


def _names(trial: Trial) -> str:
    return " + ".join(fault.id for fault in trial.faults) or "healthy"
