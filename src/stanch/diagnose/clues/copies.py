"""Who copies rows out of the server: how much of a table, and with which program."""

from __future__ import annotations

import re
from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.missed import plain
from stanch.diagnose.clues.security import copying
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.inside import Activity
from stanch.model.shown import shortened

LARGE_ROWS_MIN: Final = 10_000
BY_HAND: Final = (
    *("psql", "pgcli", "dbeaver", "pgadmin", "datagrip", "tableplus", "navicat", "heidisql"),
    *("postico", "beekeeper", "sqlectron", "azuredatastudio", "no name"),
)
"""How programs that people type into call themselves; a service has a name of its own."""

_NAME: Final = r"(?:\"[^\"]{1,130}\"|[\w$]{1,130})"
_WHOLE: Final = re.compile(
    rf"(?i)^\W*copy\s+(?P<table>{_NAME}(?:\.{_NAME})?)"
    r"\s*(?:\([^)]{0,2000}\)\s*)?to\s+stdout"
)


def whole_table(evidence: Evidence) -> str:
    """The table that is copied as it stands, and not the rows of a query; empty where none is."""
    activity, found = value_of(evidence.activity), copying(evidence)
    for doing in activity.doings if activity and found else ():
        said = _WHOLE.match(doing.query)
        of_a_client = doing.backend_type == "client backend" and doing.state == "active"
        if said and of_a_client and found and doing.usename == found.subject:
            return said["table"]
    return ""


def _whole(_activity: Activity, evidence: Evidence) -> YES_NO:
    if copying(evidence) is None:
        return ""
    table, figures = whole_table(evidence), value_of(evidence.figures)
    if not table:
        return False, "no session copies a table as it stands"
    for one in figures.named("table_live_rows") if figures else ():
        if plain(one.subject) == plain(table) and (one.value or 0.0) < LARGE_ROWS_MIN:
            return False, f"{shortened(table, 80)} has {one.value or 0.0:.0f} rows"
    return True, f"table {shortened(table, 80)} is copied whole"


def _by_hand(_figures: Figures, evidence: Evidence) -> YES_NO:
    found = copying(evidence)
    if found is None:
        return ""
    program = found.detail.partition(", from ")[0]
    is_by_hand = program.casefold().startswith(BY_HAND)
    kind = "a program that people type into" if is_by_hand else "a program with a name of its own"
    return is_by_hand, f"{kind}: {shortened(program, 80)}"


copied_whole = clue_on(
    "copied_whole",
    "Is a large table copied as it stands, and not what a query chose of it?",
    lambda e: e.activity,
    _whole,
    reads=("table_live_rows",),
)
copied_by_hand = clue_on(
    "copied_by_hand",
    "Is it done with a program that people type into?",
    lambda e: e.figures,
    _by_hand,
    reads=("copying_out",),
)
