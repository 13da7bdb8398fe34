"""One parameter of a server, and what a reload of its settings files would bring with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load

PARAMETER_SQL: Final = load("parameter")
"""Takes the name."""
RELOAD_SQL: Final = "SELECT pg_catalog.pg_reload_conf()::text AS outcome"
"""PostgreSQL 13 to 18; EXECUTE on pg_reload_conf(), or superuser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """A setting whose file says something else than what is in force."""

    name: str
    written: str | None
    """None: it stands in no file any more."""
    setting: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """From pg_settings and pg_file_settings, as the session that asked sees them."""

    cluster: str
    """The system identifier of who answered."""
    name: str
    setting: str
    """In the unit beside it."""
    unit: str
    context: str
    source: str
    default: str
    """The server's own, where no file says anything."""
    pending_restart: bool
    cluster_name_source: str
    alter_system: bool
    """False: allow_alter_system is off (17 and newer)."""
    written: str | None
    """In postgresql.auto.conf; None: it is not in it."""
    written_sql: str
    """The same as the server quotes it; empty where it is not in it."""
    below: str | None
    """What the other files say, which holds once it is not in postgresql.auto.conf."""
    errors: tuple[str, ...]
    """What the server cannot read in its files."""
    differing: tuple[Differing, ...]
    """What is not in force as it is written, among others this one."""

    @property
    def beneath(self) -> str:
        """What holds once it is not in postgresql.auto.conf."""
        return self.default if self.below is None else self.below


def parse_parameter(payload: object) -> Parameter | None:
    """What the answer to PARAMETER_SQL says; None: no such parameter. Raises: ProbeFailed."""
    answer = read_object(payload, "parameter")
    if not answer.fields:
        return None
    return Parameter(
        cluster=answer.text("cluster"),
        name=answer.text("name"),
        setting=answer.text("setting"),
        unit=answer.text("unit"),
        context=answer.text("context"),
        source=answer.text("source"),
        default=answer.text("default"),
        pending_restart=answer.flag("pending_restart"),
        cluster_name_source=answer.text("cluster_name_source"),
        alter_system=answer.flag("alter_system"),
        written=answer.text_or_none("written"),
        written_sql=answer.text("written_sql"),
        below=answer.text_or_none("below"),
        errors=tuple(one.text("said") for one in answer.parts("errors")),
        differing=tuple(_differing(one) for one in answer.parts("differing")),
    )


def _differing(answer: Answer) -> Differing:
    return Differing(
        name=answer.text("name"),
        written=answer.text_or_none("written"),
        setting=answer.text("setting"),
        unit=answer.text("unit"),
    )
