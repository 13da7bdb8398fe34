"""Who else may have a hand on a server: other managers, running jobs, markers of unfinished work.

Pure questions over processes and files that were seen; `manager.py` looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stanch.model.ports.acting import Job
from stanch.model.shown import shortened

MARKERS = (
    "backup_label",
    "tablespace_map",
    "recovery.signal",
    "standby.signal",
    "recovery.conf",
    "backup.manifest",
    "pg_upgrade_output.d",
    "global/pg_control.old",
    ".barman-recover.info",
)
"""Left behind by a backup, a restore, a copy or an upgrade that did not end."""

UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/lib/systemd/system")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenProcess:
    """One running process, as far as this machine shows it."""

    pid: int
    ppid: int
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _JobRule:
    """A program whose run means that somebody else is at work on a server."""

    program: str
    words: tuple[str, ...] = ()
    """At least one of these is among its arguments; none given: any run of it counts."""
    anywhere: bool = False
    """Counts wherever it works, because its arguments do not name the data directory."""


JOB_RULES = (
    _JobRule(program="pg_ctl", words=("start", "stop", "restart", "promote", "init", "initdb")),
    _JobRule(program="pg_ctlcluster", words=("start", "stop", "restart", "promote"), anywhere=True),
    _JobRule(program="pg_upgrade", anywhere=True),
    _JobRule(program="pg_upgradecluster", anywhere=True),
    _JobRule(program="pg_dropcluster", anywhere=True),
    _JobRule(program="pg_renamecluster", anywhere=True),
    _JobRule(program="pg_rewind"),
    _JobRule(program="pg_basebackup"),
    _JobRule(program="pg_combinebackup"),
    _JobRule(program="pg_checksums"),
    _JobRule(program="pg_resetwal"),
    _JobRule(program="initdb"),
    _JobRule(program="pgbackrest", words=("restore",), anywhere=True),
    _JobRule(program="barman", words=("recover", "restore"), anywhere=True),
    _JobRule(program="wal-g", words=("backup-fetch",), anywhere=True),
    _JobRule(program="systemctl", words=("stop", "restart", "start"), anywhere=True),
    _JobRule(program="rsync"),
    _JobRule(program="cp"),
    _JobRule(program="mv"),
    _JobRule(program="tar"),
)

INTERPRETERS = frozenset({"python", "perl", "ruby", "sh", "bash", "dash"})

RIVALS = (
    ("patroni", "Patroni"),
    ("pg_autoctl", "pg_auto_failover"),
    ("repmgrd", "repmgr"),
    ("stolon-keeper", "Stolon"),
)
"""Programs that start servers on their own judgement, wherever their configuration is."""


def jobs_among(
    processes: Iterable[SeenProcess], *, data_directory: str, own_pid: int
) -> tuple[Job, ...]:
    """Running commands that stop, start, upgrade, restore or copy this server."""
    return tuple(
        Job(pid=p.pid, command=shortened(" ".join(p.command), 200))
        for p in processes
        if p.pid != own_pid and _is_job(p, data_directory)
    )


def _is_job(process: SeenProcess, data_directory: str) -> bool:
    programs = _programs(process)
    for rule in JOB_RULES:
        if rule.program not in programs:
            continue
        arguments = process.command[1:]
        if rule.words and not set(rule.words) & set(arguments):
            continue
        if rule.program == "systemctl" and not any("postgres" in a for a in arguments):
            continue
        if rule.program == "pg_ctlcluster":
            return _is_cluster(arguments, os.path.realpath(data_directory))
        if rule.anywhere or _names(rule.program, arguments, data_directory):
            return True
    return False


def _programs(process: SeenProcess) -> set[str]:
    """The program a process runs; for a script that is the script, not its interpreter."""
    words = [os.path.basename(word) for word in process.command]
    first = words[0] if words else process.name
    if first.rstrip("0123456789.") not in INTERPRETERS:
        return {first, process.name}
    script = next((word for word in words[1:] if word and not word.startswith("-")), "")
    return {script, process.name}


def _is_cluster(arguments: Sequence[str], real: str) -> bool:
    """Whether a Debian cluster named by its arguments (`15 main`, `15-main`) is this server."""
    words = [word for argument in arguments for word in re.split(r"[-/]", argument, maxsplit=1)]
    for version, cluster in pairwise(words):
        if not version.isdigit():
            continue
        conf = _text(Path("/etc/postgresql") / version / cluster / "postgresql.conf")
        if real in conf or real.endswith(f"/{version}/{cluster}"):
            return True
    return False


def _names(program: str, arguments: Sequence[str], data_directory: str) -> bool:
    real = os.path.realpath(data_directory)
    values = [a.split("=", 1)[-1].removeprefix("-D") for a in arguments]
    paths = [os.path.realpath(value) for value in values if value.startswith("/")]
    if program == "pg_ctl" and not paths:
        # PGDATA or a relative folder: which server it means cannot be seen from here.
        return True
    return any(p in (real, os.path.dirname(real)) or p.startswith(real + "/") for p in paths)


def markers_in(data_directory: str) -> tuple[str, ...]:
    """Names of the markers present; an unreadable folder counts as one."""
    folder = Path(data_directory)
    if not os.access(folder, os.R_OK | os.X_OK):
        return ("unreadable data directory",)
    return tuple(name for name in MARKERS if os.path.lexists(folder / name))


def runs_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def rival_manager(data_directory: str, processes: Iterable[SeenProcess], *, own_unit: str) -> str:
    """Another manager that owns this server or may; empty when none was seen."""
    if os.path.lexists(Path(data_directory) / "patroni.dynamic.json"):
        return "Patroni (patroni.dynamic.json)"
    for process in processes:
        programs = _programs(process)
        for program, title in RIVALS:
            if program in programs:
                return f"{title} (process {process.pid})"
    return _unit_of(data_directory, own_unit=own_unit)


def _unit_of(data_directory: str, *, own_unit: str) -> str:
    """The systemd unit whose file names this data directory; empty when there is none."""
    if not runs_systemd():
        return ""
    own = (own_unit, _template(own_unit))
    for folder in UNIT_FOLDERS:
        for unit in sorted(Path(folder).glob("*.service")):
            if unit.name not in own and data_directory in _text(unit):
                return f"systemd ({unit.name})"
    return ""


def units_naming(
    data_directory: str, *, folders: Sequence[str] = UNIT_FOLDERS, systemd: bool | None = None
) -> tuple[str, ...]:
    """The systemd units whose files name exactly this data directory, and none below or beside it.

    `systemd`: whether it runs here, None to look.
    """
    if not (runs_systemd() if systemd is None else systemd):
        return ()
    named = re.compile(rf"(?<![\w./-]){re.escape(data_directory.rstrip('/'))}/*(?![\w./-])")
    found = (
        unit.name
        for folder in folders
        for unit in sorted(Path(folder).glob("*.service"))
        if any(named.search(line) for line in _text(unit).splitlines() if not line.startswith("#"))
    )
    return tuple(dict.fromkeys(found))


def _template(unit: str) -> str:
    """The file of an instance such as `postgresql@15-main.service`."""
    return re.sub(r"@.+\.service$", "@.service", unit)


def unit_restarts(own_unit: str) -> bool:
    """Whether the unit a manager works through brings a dead server back by itself."""
    if not own_unit or not runs_systemd():
        return False
    template = _template(own_unit)
    for folder in UNIT_FOLDERS:
        for name in (own_unit, template):
            files = [Path(folder) / name, *(Path(folder) / f"{name}.d").glob("*.conf")]
            if any(_says_restart(_text(file)) for file in files):
                return True
    return False


def _says_restart(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    return any(line.startswith("Restart=") and line != "Restart=no" for line in lines)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
