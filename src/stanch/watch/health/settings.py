"""The section about settings that endanger data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from stanch.facts.health.server import Override, ServerRead, SettingRead
from stanch.watch.health.report import Judgement, Line, Section


class _Rule(NamedTuple):
    """A value that should not stand there, and why."""

    value: str
    judgement: Judgement
    why: str
    do: str


_DANGER, _LOOK = Judgement.DANGER, Judgement.LOOK
_ON: Final = "Switch it on and reload the configuration."
_OFF: Final = "Switch it off, once the repair it was meant for is over."
RULES: Final[Mapping[str, _Rule]] = MappingProxyType(
    {
        "fsync": _Rule(
            "off", _DANGER, "A power cut or a crash of the machine can destroy all of it.", _ON
        ),
        "full_page_writes": _Rule(
            "off", _DANGER, "A page torn by a crash cannot be repaired from WAL.", _ON
        ),
        "autovacuum": _Rule("off", _DANGER, "Tables bloat, statistics age, and ids run out.", _ON),
        "track_counts": _Rule(
            "off", _DANGER, "Autovacuum does not know what to do without it.", _ON
        ),
        "zero_damaged_pages": _Rule(
            "on", _DANGER, "Damaged pages are thrown away without anybody being asked.", _OFF
        ),
        "ignore_checksum_failure": _Rule(
            "on", _DANGER, "Damaged pages are read as if they were whole.", _OFF
        ),
        "ignore_system_indexes": _Rule(
            "on", _DANGER, "Meant for repairing a broken catalogue; everything else is slow.", _OFF
        ),
        "allow_system_table_mods": _Rule(
            "on", _LOOK, "A superuser can break the catalogue with one statement.", _OFF
        ),
        "synchronous_commit": _Rule(
            "off",
            _LOOK,
            "The last commits before a crash, under a second of them, are lost.",
            "Keep it only where losing confirmed work is agreed upon; else switch it on.",
        ),
        "data_checksums": _Rule(
            "off",
            _LOOK,
            "Damage by the disk goes unnoticed, also into the backups.",
            "pg_checksums --enable while the server is stopped; or at the next move.",
        ),
        "session_replication_role": _Rule(
            "replica", _DANGER, "Foreign keys and triggers are not enforced.", "Set it to origin."
        ),
        "password_encryption": _Rule(
            "md5",
            _LOOK,
            "New passwords are stored as MD5, which can be replayed.",
            "Set scram-sha-256 and have passwords set anew.",
        ),
        "wal_level": _Rule(
            "minimal",
            _LOOK,
            "Neither a standby nor an archive is possible.",
            "Set replica, unless losing everything since the last dump is agreed upon.",
        ),
    }
)
FINE: Final = ("fsync", "full_page_writes", "autovacuum", "data_checksums", "synchronous_commit")
"""Shown also where they are as they should be."""


def settings_section(server: ServerRead) -> Section:
    """Every setting that should not stand as it does, and the most important ones that do."""
    found = [line for setting in server.settings for line in _setting(setting, server)]
    found += [line for override in server.overrides for line in _override(override)]
    worst_first = sorted(found, key=lambda line: line.judgement is not _DANGER)
    fine = [
        Line(what=name, value=value)
        for name in FINE
        if (value := server.value(name)) is not None and name not in {line.what for line in found}
    ]
    note = "" if server.sees_settings else "Some settings are hidden: GRANT pg_read_all_settings."
    return Section(
        id="settings",
        title="Settings that endanger data",
        lines=(*worst_first, *fine),
        note=note,
    )


def _setting(setting: SettingRead, server: ServerRead) -> Iterator[Line]:
    rule = RULES.get(setting.name)
    if rule is not None and setting.value == rule.value:
        yield Line(
            what=setting.name,
            value=setting.value,
            judgement=rule.judgement,
            why=rule.why,
            do=rule.do,
            figures={"source": setting.source},
        )
    if setting.pending_restart:
        yield Line(
            what=setting.name,
            value="changed in a file, waits for a restart",
            judgement=_LOOK,
            why="The next start, perhaps after a crash at night, is the first with the new value.",
            do="Restart when somebody is there to see whether it comes up.",
        )
    if setting.name == "ssl" and setting.value == "off" and _listens_widely(server):
        yield Line(
            what="ssl",
            value="off, while it listens on every address",
            judgement=_LOOK,
            why="Data and passwords may cross the network in the clear.",
            do="Switch it on with a certificate, or listen on local addresses alone.",
        )


def _listens_widely(server: ServerRead) -> bool:
    return bool({"*", "0.0.0.0", "::"} & set((server.value("listen_addresses") or "").split(",")))  # noqa: S104


def _override(override: Override) -> Iterator[Line]:
    rule = RULES.get(override.name)
    if rule is None or override.value != rule.value:
        return
    role = f"role {override.role}" if override.role else "every role"
    where = f" in database {override.database}" if override.database else ""
    yield Line(
        what=f"{override.name} of {role}{where}",
        value=override.value,
        judgement=rule.judgement,
        why=rule.why,
        do="ALTER ROLE … or ALTER DATABASE … RESET it, unless that is agreed upon.",
    )
