"""What is dangerous about steps in runbooks: why, and what does the same without the danger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Danger = Literal["danger", "care"]

DOC = "https://www.postgresql.org/docs/current/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """One kind of step that makes things worse."""

    id: str
    danger: Danger
    """`danger` may lose data or the service; `care` misleads, or does so in some circumstances."""
    what: str
    why: str
    instead: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Risky:
    """A step of a text that is one of them."""

    hazard: Hazard
    line: int
    """Counted from 1, in the whole text."""
    step: str
    """The command or statement, on one line and without secrets."""
    section: str = ""
    note: str = ""
    """What is special about this one."""


_KNOWN: list[Hazard] = []


def _hazard(
    hazard_id: str, danger: Danger, *, what: str, why: str, instead: str, source: str
) -> Hazard:
    hazard = Hazard(id=hazard_id, danger=danger, what=what, why=why, instead=instead, source=source)
    _KNOWN.append(hazard)
    return hazard


# --- files of the server ------------------------------------------------------------------------

LOCK_FILE_REMOVED = _hazard(
    "lock-file-removed",
    "danger",
    what="removes postmaster.pid without a proof that it is stale",
    why="a live server ends itself within a minute when its lock file is gone, or a second one "
    "starts on the same files; another container may hold the volume",
    instead="prove that no process of any container uses the directory (pid, start time, open "
    "files, shared memory), rename the file, and look at it again; in a container restart the "
    "container, which is all it needs",
    source=f"{DOC}server-start.html",
)
WAL_REMOVED = _hazard(
    "wal-removed",
    "danger",
    what="deletes or moves files that the server needs to start (pg_wal, pg_xact, base, global)",
    why="commits are lost, and crash recovery may never end",
    instead="find what keeps the WAL (a slot, a failing archive command), mend it, and let the "
    "next checkpoint remove the files; meanwhile free something else on the volume",
    source=f"{DOC}storage-file-layout.html",
)
WAL_RESET = _hazard(
    "wal-reset",
    "danger",
    what="runs pg_resetwal",
    why="it throws commits away and leaves tables that contradict each other",
    instead="copy the directory as it is, then restore a backup to the last moment it reaches",
    source=f"{DOC}app-pgresetwal.html",
)
DATA_DIRECTORY_REMOVED = _hazard(
    "data-directory-removed",
    "danger",
    what="deletes a data directory, or a volume that may hold one",
    why="it may be the wrong host, or the only copy that is left; nobody gets it back",
    instead="check host and directory, rename it, and delete it when the new one has proven itself",
    source="https://about.gitlab.com/blog/postmortem-of-database-outage-of-january-31/",
)
RIGHTS_OPENED = _hazard(
    "rights-opened",
    "danger",
    what="opens files for everybody, or gives a whole tree to somebody",
    why="the server refuses a data directory that others may write to, and keys become readable",
    instead="set owner and mode of the one path that the log names: 0700 or 0750 for the directory",
    source=f"{DOC}creating-cluster.html",
)

# --- processes ----------------------------------------------------------------------------------

KILLED_HARD = _hazard(
    "killed-hard",
    "danger",
    what="sends SIGKILL",
    why="one killed backend throws everybody out and starts crash recovery; a killed postmaster "
    "leaves backends behind that hold the files",
    instead="pg_cancel_backend, then pg_terminate_backend for the one session; for the server a "
    "fast stop, then an immediate one, through its manager",
    source=f"{DOC}server-shutdown.html",
)
ALL_SESSIONS_ENDED = _hazard(
    "all-sessions-ended",
    "danger",
    what="ends sessions without choosing whose",
    why="backups, replication helpers and everybody's work go too, and all come back at once",
    instead="look first who they are; end one application's idle sessions, oldest first, and only "
    "as many as are needed",
    source=f"{DOC}functions-admin.html#FUNCTIONS-ADMIN-SIGNAL",
)
IDLE_SESSIONS_ENDED = _hazard(
    "idle-sessions-ended",
    "care",
    what="ends every idle session of a database",
    why="a healthy pool keeps idle sessions on purpose; it meets errors, and opens as many again",
    instead="choose by application_name or usename whose pool leaks, print the list first, leave "
    "monitoring and poolers alone, and mend the leak",
    source=f"{DOC}monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW",
)
RESTART_BEFORE_LOOK = _hazard(
    "restart-before-look",
    "danger",
    what="restarts the server before anybody has looked why it failed",
    why="on damaged files a start rewrites pages, and what a stuck server knows is gone; after a "
    "kill it starts recovery from the beginning",
    instead="read the end of the log, pg_controldata and the exit code first; copy the directory "
    "where the log speaks of damage",
    source="https://wiki.postgresql.org/wiki/Corruption",
)
RESTART_ON_DAMAGE = _hazard(
    "restart-on-damage",
    "danger",
    what="restarts a server whose data may be damaged",
    why="crash recovery and vacuum write over the only copy of what could be saved",
    instead="stop it, copy the whole directory, and look into the copy with amcheck",
    source="https://wiki.postgresql.org/wiki/Corruption",
)
WAITS_BLINDLY = _hazard(
    "waits-blindly",
    "care",
    what="waits for some seconds and takes the next answer for the result",
    why="crash recovery may take minutes; whoever goes on to restore a backup meanwhile destroys "
    "a server that was coming back",
    instead="wait on a condition with a deadline (pg_isready in a loop), and read in the log "
    "whether recovery goes forward",
    source=f"{DOC}app-pg-isready.html",
)
MEMORY_LIMIT_BLIND = _hazard(
    "memory-limit-blind",
    "care",
    what="sets a container's memory without reading what the server asks for",
    why="a limit near shared_buffers has it killed again, and one equal to its swap leaves no room",
    instead="read shared_buffers, work_mem and the peak first, raise the limit above both, and "
    "find the statement that took the memory",
    source=f"{DOC}kernel-resources.html#LINUX-MEMORY-OVERCOMMIT",
)
CONTAINER_GUESSED = _hazard(
    "container-guessed",
    "danger",
    what="takes the first container that a list happens to show",
    why="with two of them (a replica, a test, an old one that was kept) every later step acts on "
    "whichever was started last",
    instead="name it: --filter name=^NAME$ or a label, and stop unless exactly one is found",
    source="https://docs.docker.com/reference/cli/docker/container/ls/",
)
PROMOTED_UNFENCED = _hazard(
    "promoted-unfenced",
    "danger",
    what="promotes a standby while nothing proves that the old primary is gone",
    why="two servers take writes, and one side's are lost; whoever is told of the new address last "
    "still writes to the old one",
    instead="let the cluster's manager do it, or first fence the old primary (stop it and keep it "
    "stopped, take its address away) and check how far the standby has got",
    source=f"{DOC}warm-standby-failover.html",
)

# --- space --------------------------------------------------------------------------------------

VACUUM_FULL = _hazard(
    "vacuum-full",
    "danger",
    what="runs VACUUM FULL or CLUSTER",
    why="it writes a whole copy of each table before the old one goes, and locks out everybody: on "
    "a full disk it fails after making things worse",
    instead="free known-safe space (ballast, old logs) or grow the volume; plain VACUUM later; "
    "rewrite one table at a time, with room to spare",
    source=f"{DOC}sql-vacuum.html",
)
BACKUPS_REMOVED = _hazard(
    "backups-removed",
    "danger",
    what="deletes older backups by count or age alone",
    why="the newest may be empty, cut off or of the damaged database; nobody has restored it",
    instead="restore the newest one on another machine first, keep at least three that are proven, "
    "and let the backup tool expire the rest",
    source=f"{DOC}backup.html",
)
CONTAINER_LOG_TRUNCATED = _hazard(
    "container-log-truncated",
    "danger",
    what="empties the log files of running containers",
    why="the log of this very incident is evidence and goes first; the engine goes on writing at "
    "its old place, and every other container loses its log too",
    instead="copy the log away, set max-size and max-file of the log driver, and recreate the one "
    "container that wrote it",
    source="https://docs.docker.com/engine/logging/drivers/json-file/",
)

# --- restoring ----------------------------------------------------------------------------------

RESTORED_IN_PLACE = _hazard(
    "restored-in-place",
    "danger",
    what="restores over the database that failed",
    why="it is the only copy of whatever was written after the backup, and of the evidence",
    instead="restore beside it, under another name or on another port, check it, then switch; keep "
    "the old one until somebody has compared the two",
    source=f"{DOC}continuous-archiving.html#BACKUP-PITR-RECOVERY",
)
WHOLE_FOR_A_PART = _hazard(
    "whole-for-a-part",
    "danger",
    what="replaces the whole database where an index or a block is damaged",
    why="an index is built anew from its table without any loss; a restore loses all later writes",
    instead="find with amcheck (bt_index_check, verify_heapam) what is damaged; REINDEX "
    "CONCURRENTLY that index; take single tables from a backup restored beside",
    source=f"{DOC}amcheck.html",
)
COPY_UNCHECKED = _hazard(
    "copy-unchecked",
    "danger",
    what="takes pg_dump for a safety copy without looking whether it came to its end",
    why="on damaged data it stops at the first bad page, and the shell leaves a file that looks "
    "like a backup; then the original is dropped",
    instead="copy the files of the stopped server (cp -a, or a snapshot of the volume), check the "
    "exit code of every dump, and read it back with pg_restore --list",
    source=f"{DOC}app-pgdump.html",
)
MIGRATED_IN_RECOVERY = _hazard(
    "migrated-in-recovery",
    "care",
    what="changes the schema of a database that was restored a moment ago",
    why="nobody has proven yet that the data is whole, and a migration may drop what is to be "
    "compared",
    instead="compare first, then run the version of the application that fits the backup; migrate "
    "when the incident is over",
    source=f"{DOC}backup-dump.html#BACKUP-DUMP-RESTORE",
)

# --- statements ---------------------------------------------------------------------------------

DROPPED_UNGUARDED = _hazard(
    "dropped-unguarded",
    "danger",
    what="drops or empties something without a way back",
    why="the files are gone with the commit; only a backup has the rows",
    instead="rename it (ALTER ... RENAME) or revoke the rights, wait, and drop it later; have a "
    "backup from right before, and a look at current_database() and the host first",
    source=f"{DOC}sql-droptable.html",
)
CHANGED_ALL_ROWS = _hazard(
    "changed-all-rows",
    "danger",
    what="deletes or changes every row of a table",
    why="without WHERE and outside of a transaction the first slip is final",
    instead="BEGIN, the statement with its WHERE, look at the count it reports, then COMMIT or "
    "ROLLBACK",
    source=f"{DOC}sql-delete.html",
)
SAFETY_TURNED_OFF = _hazard(
    "safety-turned-off",
    "danger",
    what="turns off what keeps data whole",
    why="fsync and full_page_writes off lose the cluster at the next crash; "
    "zero_damaged_pages and pg_surgery destroy rows; session_replication_role skips foreign keys",
    instead="mend what makes it slow or fail; try repairs on a copy of the files",
    source=f"{DOC}runtime-config-wal.html",
)
ARCHIVE_DISCARDED = _hazard(
    "archive-discarded",
    "danger",
    what="has the archive command succeed without keeping anything",
    why="from there on no restore to a point in time works, and nobody notices",
    instead="mend the archive; free known-safe space meanwhile; where it must be, switch "
    "archive_mode off openly and take a new base backup after it",
    source=f"{DOC}continuous-archiving.html",
)
REINDEX_AS_CHECK = _hazard(
    "reindex-as-check",
    "danger",
    what="rebuilds indexes to find out whether one is damaged",
    why="each rebuild locks its table against writes, hides the evidence, and fills the disk; a "
    "damaged table stays damaged",
    instead="bt_index_check(index, heapallindexed => true) of amcheck, on a copy if there is one; "
    "then REINDEX CONCURRENTLY the one that fails",
    source=f"{DOC}amcheck.html",
)
COUNT_AS_INTEGRITY = _hazard(
    "count-as-integrity",
    "care",
    what="takes a number of rows or tables for proof that the data is whole",
    why="a restore that lost half of the rows, or a schema without any, passes as well",
    instead="compare counts and the newest row with what is expected, run amcheck and "
    "pg_checksums, and have the application read and write through its own role",
    source=f"{DOC}amcheck.html",
)
INDEX_LOCKS_WRITES = _hazard(
    "index-locks-writes",
    "care",
    what="builds an index and locks out every write meanwhile",
    why="writes wait for as long as it takes, and their connections pile up",
    instead="CREATE INDEX CONCURRENTLY or REINDEX ... CONCURRENTLY, outside of a transaction, with "
    "a lock_timeout",
    source=f"{DOC}sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
)
SLOT_DROPPED = _hazard(
    "slot-dropped",
    "care",
    what="drops a replication slot",
    why="its consumer can never go on from where it was, and has to be built anew",
    instead="find out whose it is and how far behind; bring the consumer back where it can be",
    source=f"{DOC}warm-standby.html#STREAMING-REPLICATION-SLOTS",
)
SECRET_SHOWN = _hazard(
    "secret-shown",
    "danger",
    what="has a secret on the command line",
    why="everybody on the machine sees it in the list of processes, and it stays in the history, "
    "in this document and in every chat it is pasted to",
    instead="~/.pgpass or PGPASSFILE, a service file, or the secret store; change this one",
    source=f"{DOC}libpq-pgpass.html",
)

HAZARDS: tuple[Hazard, ...] = tuple(sorted(_KNOWN, key=lambda hazard: hazard.id))
"""All of them, by id."""
