"""Signs of tables, databases and rows that somebody took away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.missed import (
    MISSING,
    Missed,
    burst,
    database_of,
    forced_before,
    missed,
    plain,
)
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import History
from stanch.diagnose.inside import Changes
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.changes import ItemKind, NotedChange
from stanch.model.reach import Reach, ReachState
from stanch.model.shown import shortened

SAID_WITHIN_S = 7200.0
"""A statement or a change longer ago than this is no longer what people complain of now."""
DEPLOYED_BEFORE = timedelta(minutes=30)
DROPPED_BEFORE = timedelta(minutes=1)
"""With a schema goes whatever is missed right afterwards."""
TABLES_LISTED_MAX = 20

_WHAT = re.compile(
    r"(?i)(?:drop\s+(?:foreign\s+)?(?P<sort>table|schema|database)|truncate(?:\s+table)?)\s+"
    r"(?:only\s+)?(?:if\s+exists\s+)?(?P<names>.{1,250})"
)
_ENDS = re.compile(r"(?i)\s+(cascade|restrict|restart|continue|with)\b.*$|;?\s*$")


# --- who took it away ---------------------------------------------------------------------------


def removals(evidence: Evidence, kind: str) -> Iterator[tuple[LogEvent, str]]:
    """Statements of the log that took something away, with each name that they have."""
    log = value_of(evidence.log)
    for event in log.events if log else ():
        found = _WHAT.search(event.text) if event.kind == kind else None
        if found is None:
            continue
        if event.at and (evidence.at - event.at).total_seconds() > SAID_WITHIN_S:
            continue
        for name in names_of(event.text):
            yield event, name


def names_of(statement: str) -> Iterator[str]:
    """Every name that a DROP or a TRUNCATE has."""
    found = _WHAT.search(statement)
    for name in _ENDS.sub("", found["names"]).split(",") if found is not None else ():
        yield plain(name)


def gone(evidence: Evidence, kind: ItemKind, name: str) -> NotedChange | None:
    """The noted change that took a thing of this name away."""
    noted = value_of(evidence.changes)
    for change in noted.changes if noted else ():
        told = change.told.casefold()
        if change.kind != kind.value or not ("is gone" in told or "ran drop" in told):
            continue
        crowd = re.search(r"it was: \d+ gone: (.*)", change.told)
        if plain(change.what) == name or (crowd and name in re.split(r"[,\s]+", crowd[1])):
            return change
    return None


def _gone(evidence: Evidence, kind: ItemKind, missing: str) -> YES_NO:
    found = missed(evidence, missing)
    if found is None:
        return ""
    change = gone(evidence, kind, plain(found.name))
    if change is None:
        return False, f"no {kind.value} {shortened(found.name, 80)} was seen to go"
    return True, f"{shortened(change.what, 80)}: {shortened(change.told, 150)}", change.at


def dropped_by(evidence: Evidence, missing: str, sort: str) -> LogEvent | None:
    """The statement of the log that took away what is missed; a schema takes its tables along."""
    found = missed(evidence, missing)
    if found is None:
        return None
    for event, name in removals(evidence, "object_dropped"):
        how = _WHAT.search(event.text)
        said = (how["sort"] or "").casefold() if how else ""
        if said == sort and name == plain(found.name):
            return event
        if sort == "table" and said == "schema" and _right_before(event, found, name):
            return event
    return None


def _right_before(event: LogEvent, found: Missed, schema: str) -> bool:
    if found.name.casefold().startswith(f"{schema}."):
        return True
    return event.at is not None and timedelta() <= found.first_at - event.at <= DROPPED_BEFORE


def _drop_logged(_log: Log, evidence: Evidence, missing: str, sort: str) -> YES_NO:
    if missed(evidence, missing) is None:
        return ""
    event = dropped_by(evidence, missing, sort)
    if event is None:
        return False, "no such statement in the log, or statements are not logged (log_statement)"
    by = f" by {shortened(event.who, 80)}" if event.who else ""
    return True, f"{shortened(event.text, 150)}{by}", event.at


def _still_there(figures: Figures, evidence: Evidence) -> YES_NO:
    found = missed(evidence, "no_such_table")
    asked = next(iter(figures.named("tables")), None)
    if found is None or asked is None:
        return "" if found is None else "how many tables there are was not told"
    if found.database and found.database != asked.subject:
        return f"the tables of {shortened(found.database, 80)} were not read"
    named = [f.subject for f in figures.named("table_live_rows")]
    same = next((subject for subject in named if plain(subject) == plain(found.name)), None)
    if same is not None:
        return True, f"there is a table {same} in database {asked.subject}"
    if (asked.value or 0) > TABLES_LISTED_MAX:
        return f"it is none of the {TABLES_LISTED_MAX} largest tables"
    return False, f"none of the {asked.value:.0f} tables of {asked.subject} has that name"


def _deployed(changes: Changes, evidence: Evidence) -> YES_NO:
    found = missed(evidence, "no_such_column") or missed(evidence, "no_such_table")
    if found is None:
        return ""
    since = found.first_at - DEPLOYED_BEFORE
    kinds = {ItemKind.DEPLOY.value, ItemKind.ROLLOUT.value}
    fits = [c for c in changes.changes if c.kind in kinds and since <= c.at <= found.last_at]
    if not fits:
        return False, "no deploy was noted shortly before"
    last = max(fits, key=lambda c: (c.at, c.what))
    return True, f"{shortened(last.what, 80)}: {shortened(last.told, 120)}", last.at


def _path_changed(changes: Changes, evidence: Evidence) -> YES_NO:
    found = missed(evidence, "no_such_table")
    if found is None:
        return ""
    for change in changes.changes:
        said = f"{change.what} {change.told}".casefold()
        late_s = (found.first_at - change.at).total_seconds()
        if "search_path" in said and -60.0 <= late_s <= SAID_WITHIN_S:
            return True, shortened(f"{change.what}: {change.told}", 200), change.at
    return False, "no change of search_path was noted"


# --- databases ----------------------------------------------------------------------------------


def database_missed(evidence: Evidence) -> str:
    """The database that is not there: the one that most ask for, or the one of the watch."""
    found = missed(evidence, "no_such_database")
    if found is not None:
        return found.name
    reach = value_of(evidence.reach)
    layer = reach.failed_layer if reach else None
    own = MISSING["no_such_database"].search(layer.detail) if layer else None
    return own[1] if own else ""


def _own_database(seen: Reach, _evidence: Evidence) -> YES_NO:
    layer = seen.failed_layer
    missing = layer is not None and "does not exist" in layer.detail
    if seen.state is ReachState.NO_SUCH_DATABASE and missing:
        return True, shortened(layer.detail, 150) if layer else "it does not exist"
    return (False, "it is there") if seen.state is ReachState.UP else ""


def _was_there(_seen: Reach, evidence: Evidence) -> YES_NO:
    own = own_database.ask(evidence)
    if not own.yes or evidence.well_at is None:
        return ""
    return True, f"it was there at {evidence.well_at:%H:%M:%S} UTC", evidence.well_at


def _served(log: Log, evidence: Evidence) -> YES_NO:
    """A statement that failed, or a session that was ended: by then its login had come through."""
    found = missed(evidence, "no_such_database")
    if found is None:
        return ""
    for event in reversed(log.events):
        is_inside = event.severity == "ERROR" or event.kind == "session_ended"
        if (
            is_inside
            and database_of(event.who) == found.name
            and event.at
            and event.at <= found.first_at
        ):
            return True, f"{shortened(event.who, 80)} worked in it", event.at
    return False, "of no session that worked in it there is a line in the log"


def _flushed(log: Log, evidence: Evidence) -> YES_NO:
    found = missed(evidence, "no_such_database")
    if found is None:
        return ""
    at = forced_before(log, found)
    if at is None:
        return False, "no checkpoint was forced right before, or none is logged (log_checkpoints)"
    said = f"a checkpoint was forced at {at:%H:%M:%S} UTC, as DROP DATABASE does"
    return True, f"{said}, right before it was missed", at


def _had_size(history: History, evidence: Evidence) -> YES_NO:
    found = missed(evidence, "no_such_database")
    told = history.named("database_size_bytes")
    if found is None or not told:
        return ""
    known = next((c for c in told if c.subject == found.name and c.usual), None)
    if known is None:
        return False, f"no database {shortened(found.name, 80)} was ever seen"
    return True, f"it was there, with {(known.usual or 0.0) / 2**20:.0f} MiB"


def _listed(figures: Figures, evidence: Evidence) -> YES_NO:
    name = database_missed(evidence)
    known = [f.subject for f in figures.named("xid_age_of_database")]
    if not name or not known:
        return "" if not name else "the databases were not told"
    said = "is" if name in known else "is none"
    return name in known, f"{shortened(name, 80)} {said} of the {len(known)} databases"


table_gone = clue_on(
    "table_gone",
    "Was that table seen to go, by the inventory or in the log?",
    lambda e: e.changes,
    lambda _, e: _gone(e, ItemKind.RELATION, "no_such_table"),
)
table_drop_logged = clue_on(
    "table_drop_logged",
    "Does the log show the statement that dropped it?",
    lambda e: e.log,
    lambda log, e: _drop_logged(log, e, "no_such_table", "table"),
)
table_still_there = clue_on(
    "table_still_there",
    "Is there a table of that name all the same?",
    lambda e: e.figures,
    _still_there,
    reads=("tables", "table_live_rows"),
)
deployed = clue_on(
    "deployed", "Was something deployed shortly before?", lambda e: e.changes, _deployed
)
search_path_changed = clue_on(
    "search_path_changed", "Was search_path changed?", lambda e: e.changes, _path_changed
)
databases_missed = clue_on(
    "databases_missed",
    "Did many logins begin to ask for a database that is not there (3D000)?",
    lambda e: e.log,
    lambda log, e: burst(log, e, "no_such_database", "database"),
)
own_database = clue_on(
    "own_database",
    "Is the database that the watch logs in to not there?",
    lambda e: e.reach,
    _own_database,
)
database_was_there = clue_on(
    "database_was_there", "Was that database there before?", lambda e: e.reach, _was_there
)
database_served = clue_on(
    "database_served",
    "Does the log show sessions that worked in that database before?",
    lambda e: e.log,
    _served,
)
database_flushed = clue_on(
    "database_flushed",
    "Was a checkpoint forced right before that database was missed?",
    lambda e: e.log,
    _flushed,
)
database_had_size = clue_on(
    "database_had_size",
    "Was the size of that database seen before?",
    lambda e: e.history,
    _had_size,
    reads=("database_size_bytes",),
)
database_gone = clue_on(
    "database_gone",
    "Was that database seen to go, by the inventory or in the log?",
    lambda e: e.changes,
    lambda _, e: _gone(e, ItemKind.DATABASE, "no_such_database"),
)
database_drop_logged = clue_on(
    "database_drop_logged",
    "Does the log show the statement that dropped the database?",
    lambda e: e.log,
    lambda log, e: _drop_logged(log, e, "no_such_database", "database"),
)
database_listed = clue_on(
    "database_listed",
    "Does the server list a database of that name?",
    lambda e: e.figures,
    _listed,
    reads=("xid_age_of_database",),
)
