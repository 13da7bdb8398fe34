"""What a server does in a second, against all that it has ever counted: nobody need have watched.

One second is held against every transaction since the server counts: how much is read for each of
them is the same at noon and at night, and changes with a plan, an index or a version.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_figures
from stanch.diagnose.clues.work import processors_short
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.facts.pace import Grown, Pace, TablePace
from stanch.facts.redacting import CUT
from stanch.model.readings import Reading

NEW_TIMES = 2.0
"""So many times as much for each transaction as in the mean of all before is new."""
LARGE_ROWS_MIN = 10_000
WHOLE_ROWS_S_MIN = 500_000
WHOLE_READS_MIN = 2.0
"""A report reads a table whole once; a query that lacks an index does so again and again."""
INDEX_ROWS_S_MIN = 100_000
ROWS_A_SCAN_MIN = 1000.0
ROWS_A_SCAN_TIMES = 5.0
LOGINS_S_MIN = 30.0
LOGINS_TIMES = 2.0
LOGINS_A_COMMIT_MIN = 0.2
"""A session that lives lets hundreds of transactions through."""
BUSIER_TIMES = 2.0
BUSIER_COMMITS_S_MIN = 50.0
CROWD_MIN = 10
CROWD_SHARE = 0.5

_FROM_WHERE = re.compile(r"(?is)\bwhere\b(.*?)(?:\b(?:group|order)\s+by\b|\blimit\b|$)")
_FROM_ORDER = re.compile(r"(?is)\border\s+by\b(.*)")
_COUNTS_ALL = re.compile(r"(?i)\bover\s*\(\s*\)")
_SOME = re.compile(r"(?i)\b(?:limit|fetch|having|min\s*\(|max\s*\()")
_CONDITION = re.compile(r"(?i)\b(?:where|join)\b")
_WORD = re.compile(r"[^\W\d][\w$]*")


def times_more(pace: Pace, counter: Grown) -> float:
    """How many times as much comes for each transaction as before; infinite where nothing did."""
    now = counter.by / max(1.0, pace.commits.by)
    before = counter.before / max(1.0, pace.commits.before)
    if before > 0:
        return now / before
    return math.inf if now > 0 else 0.0


# --- tables that are read whole -----------------------------------------------------------------


def names_table(query: str, table: str) -> bool:
    """Whether a statement names the table, with or without its schema."""
    name = re.escape(table.rpartition(".")[2])
    return re.search(rf"(?i)(?<![\w$]){name}(?![\w$])", query) is not None


def searches(evidence: Evidence, table: str) -> tuple[str, ...]:
    """Statements that look for rows of a table and run now or ended a moment ago, those of most
    sessions first."""
    activity = value_of(evidence.activity)
    if activity is None:
        return ()
    running = (
        d for d in activity.doings if d.state == "active" and d.backend_type == "client backend"
    )
    sessions = Counter[str]()
    for one in (*running, *activity.ended):
        if names_table(one.query, table) and (
            _FROM_WHERE.search(one.query) or _FROM_ORDER.search(one.query)
        ):
            sessions[one.query] += one.sessions
    return tuple(sorted(sessions, key=lambda query: (-sessions[query], query)))


def whole_read(evidence: Evidence) -> TablePace | None:
    """The large table of which most rows are read by reading it whole, again and again, while
    somebody looks for some of them."""
    pace = value_of(evidence.pace)
    found = [
        table
        for table in (pace.tables if pace else ())
        if pace is not None
        and table.rows >= LARGE_ROWS_MIN
        and pace.rate(table.whole_rows) >= WHOLE_ROWS_S_MIN
        and table.whole_rows.by >= WHOLE_READS_MIN * table.rows
        and searches(evidence, table.name)
    ]
    return max(found, key=lambda table: (table.whole_rows.by, table.name), default=None)


def _whole_reads_are_new(pace: Pace, table: TablePace) -> bool:
    return times_more(pace, table.whole_rows) >= NEW_TIMES


def _whole_reads_new(pace: Pace, evidence: Evidence) -> YES_NO:
    table = whole_read(evidence)
    if table is None:
        return False, "no large table is read whole again and again by whoever looks for rows"
    times, reads = times_more(pace, table.whole_rows), table.whole_rows.by / table.rows
    said = (
        f"{table.name} ({table.rows} rows) was read whole {reads:.0f} times in {pace.seconds:.1f} s"
    )
    if not _whole_reads_are_new(pace, table):
        return False, f"{said}, as it always is"
    more = "as never before" if math.isinf(times) else f"{times:.0f} times as much as before"
    return True, f"{said}, for each transaction {more}"


def _whole_reads_hurt(_pace: Pace, evidence: Evidence) -> YES_NO:
    """As it is every day, perhaps; with a processor to spare it would hurt nobody."""
    table, short = whole_read(evidence), processors_short(evidence)
    if table is None or short is None:
        return ""
    search = whole_reader(evidence, table)
    if not short or asks_for_all(search):
        return False, f"reading {table.name} whole keeps nobody from a processor"
    return True, f"no processor is left beside {search[:90]}, which reads {table.name} whole"


def looked_for(query: str) -> set[str]:
    """The words of its conditions; where it has none, those that it is sorted by."""
    found = _FROM_WHERE.search(query) or _FROM_ORDER.search(query)
    return {word.casefold() for word in _WORD.findall(found[1])} if found else set()


def _fitting(search: str, table: TablePace) -> list[str]:
    """Columns that it looks by and that an index of the table begins with."""
    return sorted(looked_for(search) & {column.casefold() for column in table.indexed})


def whole_reader(evidence: Evidence, table: TablePace) -> str:
    """The search that most likely reads a table whole: whoever looks by an index beside it does
    not, unless all do."""
    found = searches(evidence, table.name)
    return next((search for search in found if not _fitting(search, table)), found[0])


def _index_ignored(_pace: Pace, evidence: Evidence) -> YES_NO:
    table = whole_read(evidence)
    if table is None:
        return ""
    search = whole_reader(evidence, table)
    fits = _fitting(search, table)
    if fits:
        return True, f"{table.name} has an index on {fits[0]}, by which {search[:90]} looks"
    return False, f"no index of {table.name} begins with what {search[:90]} looks for"


def asks_for_all(query: str) -> bool:
    """Whether a statement wants every row of what it reads, so that no index can spare it any.

    One without a condition does where nothing says that a part is enough, and where it counts all
    rows beside the part that it shows: `count(*) OVER ()`. A text that was cut may go on.
    """
    if query.endswith(CUT) or _CONDITION.search(query):
        return False
    return _COUNTS_ALL.search(query) is not None or _SOME.search(query) is None


def _all_rows_wanted(pace: Pace, evidence: Evidence) -> YES_NO:
    table = whole_read(evidence)
    if table is None or not _whole_reads_are_new(pace, table):
        return ""
    search = whole_reader(evidence, table)
    if not asks_for_all(search):
        return False, f"{search[:90]} looks for some rows of {table.name}"
    return True, f"every row of {table.name} is wanted by {search[:90]}: no index can spare any"


def _invalid_would_serve(figures: Figures, evidence: Evidence) -> YES_NO:
    table = whole_read(evidence)
    if table is None or figures.value("progress", "create index"):
        return ""
    wanted = looked_for(whole_reader(evidence, table))
    for index in figures.named("index_invalid"):
        leads = {
            f.detail.casefold()
            for f in figures.named("index_invalid_leads")
            if f.subject == index.subject
        }
        if index.detail == table.name.rpartition(".")[2] and leads & wanted:
            said = f"{table.name} is looked through by {min(leads)}, which {index.subject} is for"
            return True, f"{said}, and that is invalid"
    return False, f"no invalid index would serve who reads {table.name}"


# --- rows by index ------------------------------------------------------------------------------


def heavy_scans(evidence: Evidence) -> tuple[TablePace, float, float] | None:
    """The table of which an index scan fetches many times the rows it did before: now, before."""
    pace = value_of(evidence.pace)
    found: list[tuple[float, TablePace, float, float]] = []
    for table in pace.tables if pace else ():
        if pace is None or pace.rate(table.index_rows) < INDEX_ROWS_S_MIN:
            continue
        now = table.index_rows.by / max(1.0, table.index_scans.by)
        before = table.index_rows.before / max(1.0, table.index_scans.before)
        if now >= ROWS_A_SCAN_MIN and now >= ROWS_A_SCAN_TIMES * before:
            found.append((table.index_rows.by, table, now, before))
    most = max(found, key=lambda one: (one[0], one[1].name), default=None)
    return None if most is None else most[1:]


def _scans_heavier(_pace: Pace, evidence: Evidence) -> YES_NO:
    found = heavy_scans(evidence)
    if found is None:
        return False, "index scans fetch about as many rows as before"
    table, now, before = found
    return True, f"an index scan of {table.name} fetches {now:.0f} rows, before {before:.0f}"


# --- logins and transactions --------------------------------------------------------------------


def _logins_fast(pace: Pace, _evidence: Evidence) -> YES_NO:
    if pace.sessions is None:
        return "logins are counted from version 14 on"
    rate, mean = pace.rate(pace.sessions), pace.mean(pace.sessions)
    said = (
        f"{rate:.0f} logins a second beside {pace.rate(pace.commits):.0f} commits; "
        f"its mean is {mean:.1f}"
    )
    fast = rate >= LOGINS_S_MIN and rate >= LOGINS_TIMES * mean
    return fast and pace.sessions.by >= LOGINS_A_COMMIT_MIN * pace.commits.by, said


def _busier(pace: Pace, _evidence: Evidence) -> YES_NO:
    rate, mean = pace.rate(pace.commits), pace.mean(pace.commits)
    said = f"{rate:.0f} commits a second; the mean since it counts is {mean:.0f}"
    return rate >= BUSIER_COMMITS_S_MIN and rate >= BUSIER_TIMES * mean, said


def _crowd(found: tuple[Reading, ...], evidence: Evidence) -> YES_NO:
    figures, working = value_of(evidence.figures), found[0].value
    sessions = figures.value("client_backends") if figures else None
    if working is None or not sessions:
        return "who is at work was not read"
    said = f"{working:.0f} of {sessions:.0f} client sessions want a processor at once"
    return working >= CROWD_MIN and working >= CROWD_SHARE * sessions, said


whole_reads_new = clue_on(
    "whole_reads_new",
    "Is a large table read whole again and again, for every transaction more than ever?",
    lambda e: e.pace,
    _whole_reads_new,
)
invalid_would_serve = clue_on(
    "invalid_would_serve",
    "Would an index that is invalid serve who reads that table whole?",
    lambda e: e.figures,
    _invalid_would_serve,
    reads=("index_invalid", "index_invalid_leads"),
)
whole_reads_hurt = clue_on(
    "whole_reads_hurt",
    "Is no processor left while somebody looks for rows by reading that table whole?",
    lambda e: e.pace,
    _whole_reads_hurt,
)
index_ignored = clue_on(
    "index_ignored",
    "Has that table a usable index on a column that the statement looks for?",
    lambda e: e.pace,
    _index_ignored,
)
all_rows_wanted = clue_on(
    "all_rows_wanted",
    "Does the statement that reads that table whole since now want every row of it?",
    lambda e: e.pace,
    _all_rows_wanted,
)
scans_heavier = clue_on(
    "scans_heavier",
    "Does an index scan fetch many times as many rows as before?",
    lambda e: e.pace,
    _scans_heavier,
)
logins_fast = clue_on(
    "logins_fast",
    "Do far more logins succeed in a second than ever, one for a few transactions each?",
    lambda e: e.pace,
    _logins_fast,
)
busier = clue_on(
    "busier",
    "Are there several times as many commits a second as in the mean since it counts?",
    lambda e: e.pace,
    _busier,
)
crowd = clue_on_figures(
    "crowd",
    "Do most sessions want a processor at the same time?",
    "active_without_wait",
    _crowd,
)
