"""Clients that come and go, as an application without a pool does, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString, cast

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.rig import Rig

PATIENCE_S = 3
"""A visitor gives up connecting after this long, like most applications."""

Visit = Callable[[], None]

FULL = ("connection slots", "too many clients", "too many connections", "no more connections")
"""What a server, a role's or a database's limit and a pooler say when they are full."""


def visit(rig: Rig, sql: str = "SELECT 1", **parameters: str | int) -> Visit:
    """Log in as the application does today, ask once, leave."""

    def once() -> None:
        # Read anew each time: what prepares a rig may move the server or put a pooler before it.
        dsn = make_conninfo(rig.dsn, connect_timeout=PATIENCE_S, **parameters)
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(cast("LiteralString", sql))

    return once


def usual_visitors(rig: Rig) -> None:
    """A few logins a second, as on any day."""
    application = words.application(rig.rng)
    pause_s = rig.rng.uniform(0.2, 0.5)
    rig.keep(visit(rig, application_name=application), pause_s=pause_s)


def turned_away(once: Visit, *saying: str) -> Callable[[], bool]:
    """Whether a visit ends in an error, with one of these words where some are given."""

    def is_turned_away() -> bool:
        try:
            once()
        except psycopg.Error as error:
            return not saying or any(one in str(error) for one in saying)
        return False

    return is_turned_away


def until_full(rig: Rig, arrive: Visit, *, most: int = 200) -> None:
    """Let them arrive until there is no room, and go on trying, so that no gap stays open.

    Raises: NotMade where there is room for more than `most`.
    """
    for _ in range(most):
        try:
            arrive()
        except psycopg.OperationalError as error:
            if not any(word in str(error) for word in FULL):
                raise NotMade(f"another refusal than the one that was wanted: {error}") from error
            break
    else:
        raise NotMade(f"still room after {most} sessions")
    with suppress(psycopg.Error):
        arrive()
    rig.keep(arrive, pause_s=rig.rng.uniform(0.1, 0.4))
