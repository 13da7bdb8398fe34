"""Tables as whoever analyzes or vacuums them is bound to them."""

from __future__ import annotations

from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.diagnosis import Scalar
from stanch.model.readings import Reading


def database_asked(evidence: Evidence) -> str | None:
    """The one whose tables were told; None where they are of several, or of none."""
    figures = value_of(evidence.figures)
    told = {one.subject for one in figures.named("tables")} if figures else set[str]()
    return next(iter(told)) if len(told) == 1 else None


def table_facts(evidence: Evidence, name: str | None) -> tuple[tuple[str, Scalar], ...]:
    """Of a table of that database by `schema.name`; none where two are called so."""
    figures = value_of(evidence.figures)
    told = figures.named("table_identity") if figures else ()
    found = [one for one in told if one.subject == name]
    return identity(found[0], database_asked(evidence)) if len(found) == 1 else ()


def identity(one: Reading, database: str | None) -> tuple[tuple[str, Scalar], ...]:
    """From a detail of the form `oid analyzed vacuumed schema`."""
    parts = one.detail.split(" ", 3)
    if len(parts) != 4 or database is None or not parts[0].isdecimal():
        return ()
    oid, analyzed, vacuumed, schema = parts
    if not one.subject.startswith(f"{schema}."):
        return ()
    return (
        ("table_database", database),
        ("table_schema", schema),
        ("table_name", one.subject.removeprefix(f"{schema}.")),
        ("table_oid", int(oid)),
        ("table_analyzed_at", None if analyzed == "-" else analyzed),
        ("table_vacuumed_at", None if vacuumed == "-" else vacuumed),
    )


def index_facts(evidence: Evidence, table: str) -> tuple[tuple[str, Scalar], ...]:
    """The one invalid index of the table that is read whole; none where it is not the only one."""
    figures, database = value_of(evidence.figures), database_asked(evidence)
    last = table.rpartition(".")[2]
    invalid = [
        one.subject
        for one in (figures.named("index_invalid") if figures else ())
        if one.detail == last
    ]
    told = figures.named("index_identity") if figures else ()
    found = [one for one in told if invalid == [one.subject]]
    parts = found[0].detail.split(" ", 2) if len(found) == 1 else []
    if len(parts) != 3 or database is None or not (parts[0] + parts[1]).isdecimal():
        return ()
    if not found[0].subject.startswith(f"{parts[2]}."):
        return ()
    return (
        ("index_database", database),
        ("index_schema", parts[2]),
        ("index_name", found[0].subject.removeprefix(f"{parts[2]}.")),
        ("index_oid", int(parts[0])),
        ("index_table_oid", int(parts[1])),
    )
