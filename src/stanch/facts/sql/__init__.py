"""The statements, one described file each; this module only loads them.

Every statement returns one row with one JSON value, runs on PostgreSQL 13 to 18 unchanged, and
calls no function that takes a lock on a user's table; those about sequences and about sizes of
tables leave out what is locked. It holds no percent sign outside a parameter, so it is safe with
and without parameters.
"""

from __future__ import annotations

from importlib.resources import files


def load(name: str) -> str:
    """The text of one statement, by file name without `.sql`.

    Without what it says to its readers: every session would send that, and both ends keep it.
    """
    text = (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--"))
