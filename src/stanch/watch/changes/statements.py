"""What the log of a server says was changed, and by whom: bounded, each statement once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from stanch.facts.ddl import Statement, refused_in, statements_in, who
from stanch.facts.log_records import LogRecord
from stanch.model.changes import Change, ItemKind

WAITING_MAX: Final = 500
"""Until they are taken, a second later; beyond, the oldest give way."""
TEMPORARY_MAX: Final = 500
"""Names of temporary tables that are remembered, so that what is done to them is nothing new."""
LATELY_MAX: Final = 200
TWICE: Final = timedelta(seconds=2)
"""The server and pgaudit both log a statement within this."""
BACK_MAX: Final = timedelta(days=30)
AHEAD_MAX: Final = timedelta(minutes=5)
"""A clock that is further off, or a client that forges a line, does not say when it was."""
SOURCE: Final = "log"


class Statements:
    """Fed with the records of one server's log; `take` gives what they changed."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """`now` is for records that have no time of their own."""
        self._now = now
        self._waiting: OrderedDict[tuple[str, ...], Change] = OrderedDict()
        self._lately: OrderedDict[tuple[str, ...], datetime] = OrderedDict()
        self._temporary: OrderedDict[tuple[int | None, str], None] = OrderedDict()

    def hear(self, record: LogRecord) -> None:
        """One record of the log, in its order."""
        for statement in statements_in(record):
            self._take(record, statement, failed=False)
        for statement in refused_in(record):
            self._take(record, statement, failed=True)

    def take(self) -> tuple[Change, ...]:
        """What is new, once."""
        if not self._waiting:
            return ()
        found = tuple(self._waiting.values())
        self._waiting.clear()
        return found

    def _take(self, record: LogRecord, statement: Statement, *, failed: bool) -> None:
        if self._is_temporary(record, statement):
            return
        at, by = self._moment(record), who(record)
        change = Change(
            at=at,
            kind=statement.kind,
            what=_place(record, statement),
            before=None,
            after=None,
            source=SOURCE,
            by=by,
            how=statement.how,
            failed=failed,
        )
        name = statement.name.rpartition(".")[2]
        alike = (statement.kind, name, statement.how, by, str(record.pid), str(failed))
        last = self._lately.pop(alike, None)
        self._lately[alike] = at
        while len(self._lately) > LATELY_MAX:
            self._lately.popitem(last=False)
        if last is not None and abs(at - last) <= TWICE and not failed:
            return
        self._waiting[*alike, at.isoformat()] = change
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)

    def _moment(self, record: LogRecord) -> datetime:
        """When it was run, where the log says so and can be believed."""
        now = self._now()
        at = record.at or now
        return at if now - BACK_MAX <= at <= now + AHEAD_MAX else now

    def _is_temporary(self, record: LogRecord, statement: Statement) -> bool:
        """What only its session sees: told by its making, remembered by session and name."""
        if statement.kind is not ItemKind.RELATION:
            return statement.temporary
        key = (record.pid, statement.name)
        if statement.temporary:
            self._temporary[key] = None
            while len(self._temporary) > TEMPORARY_MAX:
                self._temporary.popitem(last=False)
            return True
        return key in self._temporary


def _place(record: LogRecord, statement: Statement) -> str:
    """The thing as inventories name it, as far as the statement says which."""
    if statement.kind in (ItemKind.RELATION, ItemKind.EXTENSION, ItemKind.OBJECT):
        return ".".join(filter(None, (record.database, statement.name)))
    return statement.name
