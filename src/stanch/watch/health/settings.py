"""Sections about settings that endanger data, and about what a server knows of its backups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from stanch.facts.health.server import BackupsRead, Override, ServerRead, SettingRead
from stanch.model.shown import span
from stanch.watch.health.report import Judgement, Line, Section

ARCHIVE_LOOK_S = 24 * 3600.0
DISCARDING: Final = frozenset({"/bin/true", "/usr/bin/true", "true", ":", "exit", "echo"})
"""First words of archive commands that keep nothing and report success."""


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


def backups_section(read: BackupsRead, server: ServerRead) -> Section:
    """The archive and a backup under way: the server keeps no list of backups that were taken."""
    lines = [_archive(read, server)]
    if read.running:
        lines.append(Line(what="base backup", value=f"{read.running} being taken right now"))
    return Section(
        id="backups",
        title="Last backup",
        lines=tuple(lines),
        note="When a backup was last taken, and whether it can be restored, only the backup tool"
        " knows: the server keeps no record of it.",
    )


def _discards(command: str) -> bool:
    words = command.split("#")[0].split()
    return bool(words) and words[0] in DISCARDING


def _archive(read: BackupsRead, server: ServerRead) -> Line:
    mode = server.value("archive_mode") or "unknown"
    command = (server.value("archive_command") or "").strip()
    figures = {
        "archive_mode": mode,
        "archived_count": read.archived_count,
        "failed_count": read.failed_count,
        "last_age_s": read.last_age_s,
    }
    last = "never" if read.last_age_s is None else f"{span(read.last_age_s)} ago ({read.last_wal})"
    value, judgement, why, do = f"last archived {last}", Judgement.OK, "", ""
    if mode == "off":
        value = "off"
        judgement = _LOOK
        why = "Without an archive everything since the last backup is lost with the disk."
        do = "Archive WAL with the backup tool, or accept in writing what may be lost."
    elif not (command or server.value("archive_library")):
        value = "on, without a command or library"
        judgement = _DANGER
        why = "WAL is kept for an archive that nobody fills, until the volume is full."
        do = "Set the archive command of the backup tool."
    elif _discards(command):
        value = f"discarded by archive_command: {command}"
        judgement = _DANGER
        why = "WAL is thrown away and counts as archived: no backup can be rolled forward."
        do = "Set the archive command of the backup tool, then take a full backup."
    elif read.failing:
        ago = span(read.last_failed_age_s or 0.0)
        value = f"failing: {read.last_failed_wal} {ago} ago; last archived {last}"
        judgement = _DANGER
        why = "WAL piles up until the volume is full, and what is not archived cannot be restored."
        do = "Read the server's log for what the archive command says."
    elif (read.last_age_s or 0.0) >= ARCHIVE_LOOK_S:
        judgement = _LOOK
        why = "Nothing was archived for a day: no writes, or an archiver that is stuck."
        do = "Set archive_timeout, so that silence is always a fault."
    return Line(
        what="WAL archive", value=value, judgement=judgement, why=why, do=do, figures=figures
    )
