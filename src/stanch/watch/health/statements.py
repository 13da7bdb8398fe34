"""The section about the statements that took most time."""

from __future__ import annotations

from stanch.facts.statements import StatementRead, StatementsRead
from stanch.watch.health.report import Judgement, Line, Section, part, thousands

MEAN_LOOK_MS = 5_000.0
"""As long as a running query may take before anybody is told."""
CALLS_MIN = 10


def statements_section(read: StatementsRead, *, note: str = "") -> Section:
    """Most time in all first; the mean is what is judged, and only of what runs often."""
    lines = tuple(_statement(one, read.total_ms) for one in read.largest)
    quiet = Line(what="statements", value="none recorded yet")
    return Section(id="statements", title="Slowest statements", lines=lines or (quiet,), note=note)


def _statement(one: StatementRead, total_ms: float) -> Line:
    share = one.total_ms / total_ms if total_ms else 0.0
    slow = one.mean_ms >= MEAN_LOOK_MS and one.calls >= CALLS_MIN
    calls = "call" if one.calls == 1 else "calls"
    return Line(
        what=f"{one.role or '(unknown role)'} in {one.database or '(dropped)'}, {one.queryid}",
        value=f"{part(share)} of all time: {thousands(one.calls)} {calls} of {_ms(one.mean_ms)},"
        f" at most {_ms(one.max_ms)}",
        judgement=Judgement.LOOK if slow else Judgement.OK,
        why="Each call takes more than 5 s on average." if slow else "",
        do="EXPLAIN (ANALYZE, BUFFERS) it on a copy; mostly an index or a limit is missing."
        if slow
        else "",
        share=share,
        detail=one.query if one.query is not None else "",
        figures={
            "queryid": one.queryid,
            "calls": one.calls,
            "total_ms": round(one.total_ms, 3),
            "mean_ms": round(one.mean_ms, 3),
            "max_ms": round(one.max_ms, 3),
            "rows": one.rows,
        },
    )


def _ms(ms: float) -> str:
    if ms >= 1000:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.2f} ms"
