"""The questions of the slow lane, and how their answers are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load
from stanch.facts.statements import HOME_SQL, StatementsHome, home_of
from stanch.facts.tables import bloat_share, table_sizes_sql, tables_of, tables_sql
from stanch.model.changes import Item, ItemKind
from stanch.model.errors import ProbeFailed
from stanch.model.readings import Reading
from stanch.model.shown import shortened

BLOAT = "table_bloat_pct"
BLOAT_PAGES_MIN = 12_800
"""A hundred megabytes, with pages of the usual size."""
BLOAT_TABLES_MAX = 100
SIZE_PAGES_MIN = 1_280
SIZE_TABLES_MAX = 20
READINGS_MAX = 20
"""Of one question in one database; the statements have the same limits."""
NO_RIGHT = "no"
TEXT_CHARS_MAX = 300
"""Of a subject, a detail, an item's name and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowQuestion:
    """One statement without parameters; its answer is one JSON object."""

    name: str
    sql: str
    makes: tuple[str, ...] = ()
    """Names of the readings that it gives; an answer with any other is wrong."""
    majors: tuple[int, int] = (13, 99)
    """The first and the last version that it can be asked on."""
    reads: Callable[[Answer], tuple[Reading, ...]] | None = None
    """What makes readings of the answer, where it does not give them as they are."""
    view: str = ""
    """A view that few roles may read. It is asked about first: a refusal is an error in the log."""
    function: str = ""
    """The function behind it, with its parentheses."""

    @property
    def right_sql(self) -> str:
        """Whether this role may ask, as `yes` or NO_RIGHT; empty where every role may."""
        if not self.view:
            return ""
        return (
            "SELECT CASE WHEN"  # both names are written in this file
            f" has_table_privilege('{self.view}', 'SELECT')"
            f" AND has_function_privilege('{self.function}', 'EXECUTE')"
            f" THEN 'yes' ELSE '{NO_RIGHT}' END"
        )

    @property
    def right_missing(self) -> str:
        return f"needs SELECT on {self.view} and EXECUTE on {self.function}"

    def fits(self, version_num: int) -> bool:
        first, last = self.majors
        return first <= version_num // 10000 <= last


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowAnswer:
    """What one question gave."""

    readings: tuple[Reading, ...] = ()
    items: tuple[Item, ...] = ()
    databases: tuple[str, ...] = ()
    """Only of the question about databases: those that may be visited."""
    home: StatementsHome | None = None
    """Only of the question about statements: where their extension lives."""


def _question(
    name: str, *makes: str, file: str = "", majors: tuple[int, int] = (13, 99)
) -> SlowQuestion:
    sql = load(f"slow_{file or name}")
    return SlowQuestion(name=name, sql=sql, makes=makes, majors=majors)


def _guarded(name: str, makes: str, *, view: str, function: str) -> SlowQuestion:
    sql = load(f"slow_{name}")
    return SlowQuestion(name=name, sql=sql, makes=(makes,), view=view, function=function)


def bloat_question(pages_min: int = BLOAT_PAGES_MIN) -> SlowQuestion:
    """How much of the large tables is empty."""
    sql = tables_sql(BLOAT_TABLES_MAX, pages_min=pages_min)
    return SlowQuestion(name="bloat", sql=sql, makes=(BLOAT,), reads=_bloat_readings)


def _bloat_readings(answer: Answer) -> tuple[Reading, ...]:
    """The emptiest, and one that says it where widths may not be read."""
    read = tables_of(answer)
    shares = [(bloat_share(table, read.block_bytes), table) for table in read.largest]
    known = [(share, table) for share, table in shares if share is not None]
    known.sort(key=lambda pair: (-pair[0], pair[1].full_name))
    found = [
        Reading(name=BLOAT, value=100 * share, subject=f"{read.database}.{table.full_name}")
        for share, table in known[:READINGS_MAX]
    ]
    hidden = sum(not table.has_widths for table in read.largest)
    if hidden:
        why = f"of {hidden} large tables this role may not read what ANALYZE found, or it never ran"
        found.append(Reading(name=BLOAT, value=None, subject=read.database, detail=why))
    return tuple(found)


TABLE_SIZES = SlowQuestion(
    name="table_sizes",
    sql=table_sizes_sql(SIZE_TABLES_MAX, pages_min=SIZE_PAGES_MIN),
    makes=("table_size_bytes",),
)
KEYS = _question("keys", "sequence_used_pct", "int4_key_used_pct")
_CHECKPOINTS = ("checkpoints_timed_total", "checkpoints_requested_total")

OF_THE_SERVER = (
    _question("databases"),
    _question("sizes", "database_size_bytes"),
    _question("settings", "settings_pending_restart"),
    _question("roles", "dangerous_roles"),
    _guarded("hba", "hba_errors", view="pg_hba_file_rules", function="pg_hba_file_rules()"),
    _guarded(
        "setting_files",
        "settings_errors",
        view="pg_file_settings",
        function="pg_show_all_file_settings()",
    ),
    _question("checkpoints", *_CHECKPOINTS, file="checkpoints_16", majors=(13, 16)),
    _question("checkpoints", *_CHECKPOINTS, file="checkpoints_17", majors=(17, 99)),
)
"""Asked once, in whichever database."""

OF_A_DATABASE = (
    KEYS,
    _question("indexes", "invalid_indexes"),
    _question("collations", "collation_mismatches"),
    TABLE_SIZES,
    bloat_question(),
    _question("inventory"),
    SlowQuestion(name="statements_home", sql=HOME_SQL),
)
"""Asked in each database: catalogs show only their own."""


def read_slow(question: SlowQuestion, payload: str) -> SlowAnswer:
    """What the answer to a question says. Raises: ProbeFailed, where it is none."""
    answer = read_object(payload, question.name)
    if question.reads is not None:
        return SlowAnswer(readings=question.reads(answer))
    readings = tuple(_reading(question, part) for part in answer.parts("readings"))
    items = tuple(_item(part) for part in answer.parts("items"))
    return SlowAnswer(
        readings=readings, items=items, databases=_databases(answer), home=home_of(answer)
    )


def _reading(question: SlowQuestion, part: Answer) -> Reading:
    name = part.text("name")
    if name not in question.makes:
        raise ProbeFailed(f"the answer's {part.where}.name is not one of its readings", on="answer")
    return Reading(
        name=name,
        value=part.number_or_none("value"),
        subject=shortened(part.text("subject"), TEXT_CHARS_MAX),
        detail=shortened(part.text("detail"), TEXT_CHARS_MAX),
    )


def _item(part: Answer) -> Item:
    try:
        kind = ItemKind(part.text("kind"))
    except ValueError as error:
        raise ProbeFailed(f"the answer's {part.where}.kind is unknown", on="answer") from error
    return Item(
        kind=kind,
        name=shortened(part.text("name"), TEXT_CHARS_MAX),
        value=shortened(part.text("value"), TEXT_CHARS_MAX),
    )


def _databases(answer: Answer) -> tuple[str, ...]:
    found = answer.fields.get("databases")
    if not isinstance(found, list):
        return ()
    return tuple(name for name in cast("list[object]", found) if isinstance(name, str))
