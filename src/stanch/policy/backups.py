"""Where the backups of a target lie, and the keys that say so."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.policy.kinds import Path, Text
from stanch.policy.shapes import Key, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """Places on the machine that Stanch runs on. Empty: not looked at."""

    dumps: str = ""
    """A folder of dumps."""
    pgbackrest: str = ""
    """A stanza."""
    pgbackrest_config: str = ""
    """Empty: where pgBackRest looks by itself."""

    @property
    def any(self) -> bool:
        return bool(self.dumps or self.pgbackrest)


BACKUPS = Section(
    title="backups",
    make=Backups,
    keys=(
        Key(
            name="dumps",
            field="dumps",
            holds=Path(),
            doc="A folder of dumps on the machine of Stanch: `*.sql`, `*.sql.gz`, `*.dump`, or "
            "folders of `pg_dump -Fd`. Only whole ones count.",
            example="/var/backups/orders",
        ),
        Key(
            name="pgbackrest",
            field="pgbackrest",
            holds=Text(word="stanza", pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", like="orders"),
            doc="The server's stanza, where pgBackRest runs on the machine of Stanch and may be "
            "asked by its OS user.",
            example="orders",
        ),
        Key(
            name="pgbackrest_config",
            field="pgbackrest_config",
            holds=Path(),
            doc="Its configuration file. Left out: where pgBackRest looks by itself.",
            example="/etc/pgbackrest/orders.conf",
        ),
    ),
)
