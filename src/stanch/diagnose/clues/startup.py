"""Why a start gave up: what its last words name, and what lies in the data directory."""

from __future__ import annotations

import re
from enum import StrEnum

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cause import Clue
from stanch.diagnose.clues.ending import ending, gave_up
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.ports.traces import StartFiles
from stanch.model.shown import shortened, span

SAID_CHARS_MAX = 200


class Reason(StrEnum):
    """What a start gave up for, where its last words name more than "it did not work"."""

    VERSION = "version"
    RESOURCES = "resources"
    SETTINGS = "settings"
    LIBRARY = "library"
    CONTROL = "control"


# Words of PostgreSQL 13 to 18. A session cannot write a FATAL line of its own making.
_BY_WORDS = (
    (Reason.VERSION, re.compile(r"database files are incompatible with server")),
    (
        Reason.RESOURCES,
        re.compile(
            r"could not (?:map anonymous shared memory|create shared memory segment"
            r"|create semaphores)"
        ),
    ),
    (Reason.CONTROL, re.compile(r"could not find the database system")),
    (
        Reason.SETTINGS,
        re.compile(
            r"recovery aborted because of insufficient parameter settings"
            r"|hot standby is not possible because|could not access the server configuration file"
            r"|WAL (?:streaming|archival) |\"?max_wal_senders\"? must be less than"
            r"|\"?superuser_reserved_connections\"? |private key file "
            r"|could not load (?:server certificate|private key|root certificate) file"
            r"|must specify restore_command when standby mode is not enabled"
        ),
    ),
)
_BY_KIND = {
    "config_error": Reason.SETTINGS,
    "library_missing": Reason.LIBRARY,
    "no_checkpoint": Reason.CONTROL,
}


def reason_of(event: LogEvent) -> Reason | None:
    """What the last words of a start name; None: something that has no cause of its own."""
    if event.kind in _BY_KIND:
        return _BY_KIND[event.kind]
    return next((reason for reason, words in _BY_WORDS if words.match(event.text)), None)


def gave_up_for(evidence: Evidence, reason: Reason) -> LogEvent | None:
    """The last words of the newest start, where they name this."""
    event = gave_up(evidence)
    return event if event is not None and reason_of(event) is reason else None


def said(event: LogEvent | None) -> str:
    """The server's own words with their detail, for a sentence."""
    if event is None:
        return ""
    detail = f" ({event.detail.rstrip('.')})" if event.detail else ""
    return shortened(f"{event.text.rstrip('.')}{detail}".replace("\n", " "), SAID_CHARS_MAX)


def _clue(reason: Reason, question: str) -> Clue:
    def read(log: Log, evidence: Evidence) -> YES_NO:
        if not log.events:
            return f"nothing of use in {log.path}"
        event = gave_up_for(evidence, reason)
        if event is None:
            return False, "no start in the log gave up for that"
        return True, f"the log says: {event.text}", event.at

    return clue_on(f"gave_up_for_{reason}", question, lambda e: e.log, read)


for_version = _clue(Reason.VERSION, "Did a start give up because the files are of another version?")
for_resources = _clue(
    Reason.RESOURCES,
    "Did a start give up because the kernel gave it no shared memory or semaphores?",
)
for_settings = _clue(Reason.SETTINGS, "Did a start give up because of a setting?")
for_library = _clue(Reason.LIBRARY, "Did a start give up because a library is missing?")
for_control = _clue(
    Reason.CONTROL, "Did a start find no checkpoint, or a control file that is no good?"
)


def _named(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return ""
    event = gave_up(evidence)
    if event is None:
        return ""
    reason = reason_of(event)
    if reason is None:
        return False, "its last words name nothing that has a cause of its own"
    return True, f"its last words name what has a cause of its own: {reason.value}", event.at


reason_named = clue_on(
    "start_reason_named",
    "Do the last words of the start name what has a cause of its own?",
    lambda e: e.log,
    _named,
)


def settings_said(evidence: Evidence) -> str:
    """What the server found wrong with its settings, rather than that it found something."""
    event = gave_up_for(evidence, Reason.SETTINGS)
    if event is None or event.kind != "config_error":
        return said(event)
    for other in reversed(ending(evidence)):
        if other.kind == "config_error" and other.severity == "LOG":
            return said(other)
    return said(event)


# --- what lies in the data directory ------------------------------------------------------------


def _upgrade(files: StartFiles, evidence: Evidence) -> YES_NO:
    if not files.upgrade_output:
        return False, "pg_upgrade left no pg_upgrade_output.d"
    at = files.upgrade_at
    age = f", last written to {span((evidence.at - at).total_seconds())} ago" if at else ""
    return True, f"pg_upgrade left pg_upgrade_output.d/{files.upgrade_output}{age}", at


def _set_aside(files: StartFiles, _evidence: Evidence) -> YES_NO:
    if files.control_set_aside and not files.control_file:
        return True, "global/pg_control is gone and global/pg_control.old is there"
    return False, "pg_upgrade did not set the control file aside"


def _no_control(files: StartFiles, _evidence: Evidence) -> YES_NO:
    if files.control_file:
        return False, "global/pg_control is there"
    return True, "global/pg_control is gone"


def _label(files: StartFiles, _evidence: Evidence) -> YES_NO:
    if files.backup_label:
        return True, "backup_label is there: it says where a restore has to begin"
    return False, "there is no backup_label"


upgrade_left = clue_on(
    "upgrade_left",
    "Did pg_upgrade leave its output in the data directory, as when it fails?",
    lambda e: e.files,
    _upgrade,
)
control_set_aside = clue_on(
    "control_set_aside",
    "Did pg_upgrade set this cluster's control file aside (pg_control.old)?",
    lambda e: e.files,
    _set_aside,
)
control_gone = clue_on("control_gone", "Is the control file gone?", lambda e: e.files, _no_control)
backup_label_left = clue_on(
    "backup_label_left", "Is a backup_label there?", lambda e: e.files, _label
)


def version_of(evidence: Evidence) -> str:
    """What the data directory was made with."""
    files = value_of(evidence.files)
    return files.version if files else ""
