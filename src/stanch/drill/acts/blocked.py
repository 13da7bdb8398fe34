"""A migration left open holds a lock that every write of the application waits for."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psycopg

from stanch.drill.acts.act import Act, Broken, NotStaged, always_possible
from stanch.drill.judging import Expectation
from stanch.drill.scene import ORDERS, Place

FORGETFUL = "nightly-migration"


@contextmanager
def _forget_to_commit(place: Place) -> Generator[Broken]:
    with place.server.connect("app", application_name=FORGETFUL) as session:
        try:
            session.execute("SET lock_timeout = '10s'")
            session.execute("BEGIN")
            session.execute("ALTER TABLE load_row ADD COLUMN note text")
        except psycopg.Error as error:
            raise NotStaged(f"the migration could not begin: {error}") from error
        at = datetime.now(UTC)
        what = f'"{FORGETFUL}" alters load_row and goes idle without COMMIT.'
        yield Broken(at=at, what=what)
        # Ended by then; where it is not, its change is taken back.
        with suppress(psycopg.Error):
            session.rollback()


BLOCKED = Act(
    name="blocked",
    title="A blocking chain headed by an idle transaction",
    target=ORDERS,
    expected=Expectation(
        cause="idle_in_transaction",
        actions=("end_blocking_session",),
        names=(FORGETFUL,),
        noticed_within_s=10,
        rescued_within_s=30,
    ),
    cannot=always_possible,
    breaks=_forget_to_commit,
)
