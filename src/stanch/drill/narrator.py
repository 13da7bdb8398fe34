"""Tells a person at a terminal, or a file, what is happening, line by line as it happens.

Nothing is drawn over: what is said stays readable when it is piped. Text of servers and mails is
shown escaped and never read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from stanch.drill.acts.act import Act, Broken
from stanch.drill.judging import PageSeen, Status
from stanch.drill.result import Result
from stanch.drill.told import Entry, first_cause, moment_of
from stanch.policy.policy import READING_ACTIONS
from stanch.policy.quoting import printable

WHEN_COLUMNS = 9
WORD_COLUMNS = 11
EVIDENCE_MAX = 9
"""Pieces of evidence shown a sign; how many more there are is said."""
DASH = "–"

STATUS_STYLES = {Status.OK: "bold green", Status.FAILED: "bold red", Status.SKIPPED: "yellow"}


class Narrator:
    """Writes to one console; with a quiet console it says nothing."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._broke_at: datetime | None = None
        self._cause = ""

    # --- before ---

    def setting_up(self, what: str) -> None:
        self._console.print(Text(what, style="dim"))

    def opening(self, facts: Sequence[tuple[str, str]], rules: Sequence[tuple[str, str]]) -> None:
        """What is on the stage, and where the policy is quicker than out of the box."""
        self._console.print()
        self._pairs(facts)
        self._console.print()
        self._console.print(Text("The policy, made quick for this demonstration:", style="bold"))
        self._pairs(rules)

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=WORD_COLUMNS, no_wrap=True)
        grid.add_column(overflow="fold")
        for name, text in pairs:
            grid.add_row(Text(name, style="cyan"), Text(printable(text)))
        self._console.print(Padding(grid, (0, 0, 0, 2)))

    # --- an act ---

    def act_begins(self, act: Act, number: int, count: int) -> None:
        self._broke_at, self._cause = None, ""
        self._console.print()
        title = Text(f"{number}/{count}  {act.title}", style="bold")
        self._console.print(Rule(title, align="left", style="dim", characters="─"))

    def broken(self, broken: Broken) -> None:
        self._broke_at = broken.at
        self._line(broken.at, "broken", broken.what, "bold red")

    def entry(self, entry: Entry) -> None:
        """One event of the timeline, where it belongs to the story."""
        tell = {
            "incident.opened.v1": self._noticed,
            "diagnosis.recorded.v1": self._diagnosed,
            "plan.withheld.v1": self._withheld,
            "step.outcome.v1": self._did,
            "step.verified.v1": self._verified,
            "incident.rescued.v1": self._rescued,
            "incident.resolved.v1": self._resolved,
            "incident.reopened.v1": self._reopened,
        }.get(entry["kind"])
        if tell is not None:
            tell(moment_of(entry), entry)

    def paged(self, page: PageSeen) -> None:
        self._line(page.at, "paged", f"{page.to} by mail: {page.subject}", "bold yellow")
        self._more(f"{page.short} ({len(page.short)} characters)")

    def act_ended(self, result: Result) -> None:
        if result.seen is not None:
            outside = result.seen.outside
            self._line(None, "outside", outside.detail)
            self._line(None, "outage", outage_text(result))
        if result.post_mortem:
            self._line(None, "story", result.post_mortem)
        reasons = "; ".join(result.reasons)
        text = f"{result.status.value}: {reasons}" if reasons else result.status.value
        self._line(None, "", text, STATUS_STYLES[result.status], whole=True)

    def _noticed(self, at: datetime, entry: Entry) -> None:
        self._line(at, "noticed", entry["body"]["symptom"]["detail"], "bold yellow")

    def _diagnosed(self, at: datetime, entry: Entry) -> None:
        first = first_cause(entry)
        if first is None or first["id"] == self._cause:
            return
        self._cause = first["id"]
        sure = f"{first['probability']:.0%}"
        self._line(at, "cause", f"{first['id']} ({sure}): {first['summary']}", "bold magenta")
        for sign, name, style in (
            ("+", "evidence_for", "green"),
            ("-", "evidence_against", "red"),
            ("?", "missing", "yellow"),
        ):
            self._evidence(sign, [finding["text"] for finding in first[name]], style)

    def _evidence(self, sign: str, texts: Sequence[str], style: str) -> None:
        for text in texts[:EVIDENCE_MAX]:
            self._more(text, sign=sign, style=style)
        if len(texts) > EVIDENCE_MAX:
            self._more(f"and {len(texts) - EVIDENCE_MAX} more", sign=sign, style=style)

    def _withheld(self, at: datetime, entry: Entry) -> None:
        self._line(at, "no plan", entry["body"]["refusal"]["reason"], "yellow")

    def _did(self, at: datetime, entry: Entry) -> None:
        body = entry["body"]
        action = str(body["step_id"]).partition("-")[2]
        if action in READING_ACTIONS:
            self._line(at, "kept", body["detail"], "dim")
            return
        done = "" if body["outcome"] == "done" else f" {body['outcome']}"
        self._line(at, "did", f"{action}{done}: {body['detail']}", "bold blue")

    def _verified(self, at: datetime, entry: Entry) -> None:
        if str(entry["body"]["step_id"]).partition("-")[2] in READING_ACTIONS:
            return
        word, style = ("verified", "green") if entry["body"]["ok"] else ("not yet", "yellow")
        self._line(at, word, entry["body"]["detail"], style)

    def _rescued(self, at: datetime, entry: Entry) -> None:
        body = entry["body"]
        told = f"{body['detail']} ({body['checks']} checks in {body['window_s']:.1f} s)"
        self._line(at, "rescued", told, "bold green")

    def _resolved(self, at: datetime, entry: Entry) -> None:
        self._line(at, "resolved", entry["body"]["reason"], "green")

    def _reopened(self, at: datetime, entry: Entry) -> None:
        self._line(at, "reopened", entry["body"]["reason"], "yellow")

    # --- after ---

    def summary(self, results: Iterable[Result]) -> None:
        self._console.print()
        table = Table(title="What Stanch did", title_justify="left", title_style="bold")
        for name in ("act", "cause"):
            table.add_column(name, overflow="fold")
        for name in ("noticed", "paged", "rescued", "app outage"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("result", no_wrap=True)
        for result in results:
            cause = result.seen.told.cause if result.seen and result.seen.told else DASH
            times = (result.noticed_s, result.paged_s, result.rescued_s, result.outage_s)
            status = Text(result.status.value, style=STATUS_STYLES[result.status])
            table.add_row(result.act, printable(cause), *map(seconds_text, times), status)
        self._console.print(table)
        self._console.print(
            Text(
                "Seconds after the break; rescued includes the 2 s of checks. The application's"
                " outage: from its first failed write to the good one after the last.",
                style="dim",
            )
        )

    def closing(self, lines: Sequence[tuple[str, str]]) -> None:
        self._console.print()
        self._pairs(lines)

    # --- lines ---

    def _line(
        self, at: datetime | None, word: str, text: str, style: str = "", *, whole: bool = False
    ) -> None:
        """`when word text`, the text wrapped under itself."""
        grid = self._grid()
        when = "" if at is None or self._broke_at is None else self._when(at, self._broke_at)
        body = Text(printable(text), style=style if whole else "")
        grid.add_row(Text(when, style="dim"), Text(word, style=style), body)
        self._console.print(grid)

    def _more(self, text: str, *, sign: str = "", style: str = "dim") -> None:
        grid = self._grid()
        shown = f"{sign} {printable(text)}" if sign else printable(text)
        grid.add_row("", "", Text(shown, style=style))
        self._console.print(grid)

    def _grid(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=WHEN_COLUMNS, justify="right", no_wrap=True)
        grid.add_column(width=WORD_COLUMNS, no_wrap=True)
        grid.add_column(overflow="fold")
        return grid

    def _when(self, at: datetime, broke_at: datetime) -> str:
        return f"{(at - broke_at).total_seconds():+.2f} s"


def seconds_text(seconds: float | None) -> str:
    """Two places, as the narration has them; a dash where there is no figure."""
    return DASH if seconds is None else f"{seconds:.2f} s"


def outage_text(result: Result) -> str:
    """What the application's own writers saw."""
    assert result.seen is not None
    if result.seen.outside.still_out:
        return "the application's writes still fail"
    if result.outage_s is None:
        return "none: no write of the application failed"
    return f"{result.outage_s:.2f} s, from the application's first failed write until none failed"
