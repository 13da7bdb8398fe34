"""Settings: files that cannot be read, values that the next start refuses, libraries not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from stanch.adapters.postgres.binaries import Binaries, all_binaries, reachable_binaries
from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.control_group import limit_memory, memory_group
from stanch.drill.lab.means.starting import does_not_restart
from stanch.drill.lab.rig import Rig

# --- files that somebody edited -----------------------------------------------------------------

FINE = (
    "log_min_duration_statement = 500ms",
    "work_mem = 8MB",
    "# random_page_cost = 1.1  # SSD",
    "log_checkpoints = on",
    "deadlock_timeout = 2s",
    "autovacuum_naptime = 30s",
)
"""What was meant besides, and is in order."""

UNREADABLE = (
    "log_min_duration_statement = '500ms",
    "work mem = 16MB",
    "log_line_prefix '%m [%p] ' '%q%u@%d '",
    "autovacuum = on;",
    "effective_cache_size == 2GB",
    "statement_timeout = 30 s",
    "max_wal_size: 4GB",
)
"""No lines of a configuration file."""

REFUSED = (
    "max_conections = 300",
    "shared_bufers = 512MB",
    "innodb_buffer_pool_size = 1GB",
    "checkpoint_segments = 32",
    "stats_temp_dir = '/run/postgresql'",
    "shared_buffers = lots",
    "shared_buffers = '8 Gigs'",
    "max_connections = 0",
    "max_connections = two hundred",
    "work_mem = '64 megs'",
    "wal_level = archive_all",
    "fsync = maybe",
    "log_destination = 'sylog'",
    "port = 543210",
)
"""Unknown parameters, and values that theirs cannot have."""


def _unreadable_on_restart(rig: Rig) -> None:
    _edit(rig, "postgresql.conf", rig.rng.choice(REFUSED))
    does_not_restart(rig, "contains errors")


def _unreadable_on_reload(rig: Rig) -> None:
    _edit(rig, "postgresql.conf", rig.rng.choice(UNREADABLE))
    rig.admin("SELECT pg_reload_conf()")
    rig.logged("contains errors")


def _edit(rig: Rig, name: str, line: str) -> None:
    """Add it to that file of the server, among other lines that are in order."""
    path = rig.server.data_directory / name
    added: list[str] = rig.rng.sample(FINE, rig.rng.randint(0, 2))
    added.insert(rig.rng.randint(0, len(added)), line)
    text = path.read_text(encoding="utf-8")
    rig.server.folder.write_owned(path, "\n".join([text.rstrip("\n"), "", *added]) + "\n")


HBA_UNREADABLE = (
    "host all all 10.20.0.0/33 scram-sha-256",
    "host all all 10.20.0.0/16 scram-sha256",
    "host all all 10.20.0.0/16",
    "host app app 10.20.0.7 scram-sha-256",
    "hosts all all 10.20.0.0/16 md5",
    "host all all 10.20.0.0/16 md5 clientcert",
    "local all all peer map",
)


def _hba_unreadable(rig: Rig) -> None:
    path = rig.server.data_directory / "pg_hba.conf"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines.insert(rig.rng.randint(0, len(lines)), rig.rng.choice(HBA_UNREADABLE))
    rig.server.folder.write_owned(path, "\n".join(lines) + "\n")
    rig.admin("SELECT pg_reload_conf()")
    rig.logged("was not reloaded")


# --- values -------------------------------------------------------------------------------------


def _waits_for_a_restart(rig: Rig) -> None:
    rng = rig.rng
    values = {
        "max_connections": str(rng.randint(15, 60) * 10),
        "shared_buffers": f"{rng.choice((48, 64, 128, 256))}MB",
        "max_worker_processes": str(rng.randint(12, 40)),
        "max_locks_per_transaction": str(rng.choice((128, 256, 512))),
    }
    for name in rng.sample(sorted(values), rng.randint(1, 2)):
        rig.admin(f"ALTER SYSTEM SET {name} = '{values[name]}'")
    rig.admin("SELECT pg_reload_conf()")
    rig.until("SELECT 1 FROM pg_settings WHERE pending_restart")


def _more_memory_than_there_is(rig: Rig) -> None:
    gb = psutil.virtual_memory().total // 1024**3
    if rig.rng.random() < 0.5 or _huge_pages_free():
        # Somebody who meant megabytes, or a machine that was made smaller.
        buffers = f"{max(gb, 1) * rig.rng.randint(2, 12)}GB"
        rig.admin(f"ALTER SYSTEM SET shared_buffers = '{buffers}'")
    else:
        rig.admin("ALTER SYSTEM SET huge_pages = 'on'")
    does_not_restart(rig, "could not map anonymous shared memory")


def _huge_pages_free() -> bool:
    path = Path("/proc/meminfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return any(line.startswith("HugePages_Free:") and int(line.split()[1]) for line in lines)


# --- programs and libraries ---------------------------------------------------------------------

NOT_INSTALLED = ("timescaledb", "pg_cron", "pgaudit", "pg_stat_statments", "citus", "pglogical")
"""None of them comes with PostgreSQL."""


def _preloads_what_is_not_there(rig: Rig) -> None:
    lacking = rig.rng.choice(NOT_INSTALLED)
    libraries = rig.rng.choice(([lacking], ["pg_stat_statements", lacking]))
    if rig.rng.random() < 0.5:
        listed = ", ".join(f"'{name}'" for name in libraries)
        rig.admin(f"ALTER SYSTEM SET shared_preload_libraries = {listed}")
    else:
        _edit(rig, "postgresql.conf", f"shared_preload_libraries = '{', '.join(libraries)}'")
    does_not_restart(rig, "could not access file")


def _another_version(rig: Rig) -> None:
    rig.server.stop("fast")
    newer = _newer_programs(rig)
    if newer is not None and rig.rng.random() < 0.6:
        # The packages were upgraded, the data directory was not.
        rig.server.binaries = newer
    else:
        major = rig.server.binaries.major + rig.rng.choice((-2, -1, 1))
        rig.server.folder.write_owned(rig.server.data_directory / "PG_VERSION", f"{major}\n")
    does_not_restart(rig, "incompatible with server")


def _newer_programs(rig: Rig) -> Binaries | None:
    """Elder programs stop at a setting that they do not know, before they look at the data."""
    folder = rig.server.folder
    for found in all_binaries():
        if found.major > rig.server.binaries.major:
            return reachable_binaries(found, folder.user, into=folder.path)
    return None


LIBRARIES = (
    # A library of PostgreSQL's own stands for one of the site's; its function; who calls it how.
    ("pg_trgm", "similarity", "(text, text) RETURNS real", "'shoe', 'shoes'"),
    ("fuzzystrmatch", "levenshtein", "(text, text) RETURNS integer", "'ann', 'anna'"),
    (
        "earthdistance",
        "geo_distance",
        "(point, point) RETURNS double precision",
        "'(1,2)', '(3,4)'",
    ),
)
NAMES = ("shop_text", "geo_tools", "libscore", "site_functions")


def _own_library(rig: Rig) -> None:
    """The site has functions in C, in a library of its own."""
    source, function, types, arguments = rig.rng.choice(LIBRARIES)
    name, places = rig.rng.choice(NAMES), rig.server.folder.path / "lib"
    [(packaged,)] = rig.admin("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'")
    places.mkdir(mode=0o755)
    shutil.copyfile(Path(packaged, f"{source}.so"), places / f"{name}.so")
    (places / f"{name}.so").chmod(0o755)
    rig.server.set_conf({"dynamic_library_path": f"{places}:$libdir"})
    rig.until(lambda: rig.admin("SHOW dynamic_library_path") != [("$libdir",)])
    made = f"CREATE FUNCTION {function}{types} AS '{name}', '{function}' LANGUAGE C STRICT"
    rig.admin(made)
    rig.sql(f"CREATE VIEW site_score AS SELECT {function}({arguments}) AS score")
    rig.sql("SELECT score FROM site_score")


def _library_lost(rig: Rig) -> None:
    [path] = (rig.server.folder.path / "lib").iterdir()
    content = path.read_bytes()
    path.unlink()
    way = rig.rng.choice(("removed", "removed", "cut short", "private"))
    if way == "cut short":
        path.write_bytes(content[: rig.rng.randint(0, len(content) // 3)])
    elif way == "private":
        path.write_bytes(content)
        path.chmod(0o600)
    # Sessions that have it loaded go on; these have not.
    for _ in range(rig.rng.randint(1, 3)):
        application = words.application(rig.rng)
        rig.keep(lambda a=application: _score(rig, a), pause_s=rig.rng.uniform(0.1, 0.6))
    rig.until(lambda: any(said in rig.server.log_text() for said in LOST))


LOST = ("could not access file", "could not load library")


def _score(rig: Rig, application: str) -> None:
    rig.sql("SELECT score FROM site_score", application_name=application)


# --- memory that settings promise ---------------------------------------------------------------

SORT_SQL = """
SELECT count(*) FROM (
    SELECT md5(n::text) AS key FROM (SELECT generate_series(1, {rows}) AS n) AS numbers
    ORDER BY key OFFSET 0
) AS sorted
"""
SORT_BYTES_A_ROW = 110
"""As measured: a key of 32 characters takes that much of the memory of a sort."""

SHORT_OF_MEMORY = 0.9


def _service_memory(rig: Rig) -> None:
    limit_memory(rig, rig.rng.randint(300, 600))


def _work_mem_for_everybody(rig: Rig) -> None:
    group = memory_group(rig)
    limit = int((group / "memory.limit_in_bytes").read_text())
    sessions = rig.rng.randint(6, 14)
    rig.admin(f"ALTER SYSTEM SET work_mem = '{rig.rng.choice((512, 1024, 2048))}MB'")
    rig.admin("SELECT pg_reload_conf()")
    rows = int(limit * rig.rng.uniform(1.3, 1.8) / sessions / SORT_BYTES_A_ROW)
    for _ in range(sessions):
        # In a new session each time: whoever was cut off comes back and asks again.
        application = words.application(rig.rng)
        rig.keep(lambda a=application: _sort(rig, rows, a))
    most = group / "memory.max_usage_in_bytes"
    rig.until(lambda: int(most.read_text()) > limit * SHORT_OF_MEMORY)


def _sort(rig: Rig, rows: int, application: str) -> None:
    rig.sql(SORT_SQL.format(rows=rows), application_name=application)


FAULTS = (
    Fault(
        id="unreadable-settings",
        area=Area.SETTINGS,
        story="An edit of postgresql.conf went wrong, and the next restart stopped at it.",
        causes=("bad_configuration",),
        make=_unreadable_on_restart,
        answers=False,
    ),
    Fault(
        id="preloads-missing-library",
        area=Area.SETTINGS,
        story="A library that is not installed was added to those to preload; no start since.",
        causes=("preload_library_missing",),
        make=_preloads_what_is_not_there,
        answers=False,
    ),
    Fault(
        id="another-version",
        area=Area.SETTINGS,
        story="The data directory of one version was to be started by the programs of another.",
        causes=("version_mismatch",),
        make=_another_version,
        answers=False,
    ),
    Fault(
        id="reload-refused",
        area=Area.SETTINGS,
        story="Somebody edited postgresql.conf and reloaded; nothing was read, for a slip in it.",
        causes=("reload_refused",),
        make=_unreadable_on_reload,
    ),
    Fault(
        id="restart-forgotten",
        area=Area.SETTINGS,
        story="Somebody changed a setting that takes a restart, and reloaded only.",
        causes=("restart_pending",),
        make=_waits_for_a_restart,
    ),
    Fault(
        id="hba-unreadable",
        area=Area.SETTINGS,
        story="Somebody wrote a line into pg_hba.conf that cannot be read, and reloaded.",
        causes=("hba_invalid",),
        make=_hba_unreadable,
    ),
    Fault(
        id="too-much-shared-memory",
        area=Area.SETTINGS,
        story="Shared memory was set to more than the machine gives; the restart failed.",
        causes=("kernel_resources_short",),
        make=_more_memory_than_there_is,
        answers=False,
    ),
    Fault(
        id="extension-library-lost",
        area=Area.SETTINGS,
        story="An update took the library of the site's own functions away; calls of them fail.",
        causes=("extension_library_missing",),
        make=_library_lost,
        needs=Needs(prepare=(_own_library,)),
        shows_after_s=2.0,
    ),
    Fault(
        id="work-mem-for-everybody",
        area=Area.SETTINGS,
        story="work_mem was raised for one report and for everybody; all sort, and memory ends.",
        causes=("work_mem_too_high",),
        or_else=("oom_killed",),  # While it crashes it tells nobody what it is set to.
        make=_work_mem_for_everybody,
        needs=Needs(root=True, prepare=(_service_memory,)),
        shows_after_s=4.0,
    ),
)
