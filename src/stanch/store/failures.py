"""Telling a full disk from a damaged file: SQLite's answers in the words of the house."""

from __future__ import annotations

import errno
import sqlite3

from stanch.model.errors import StoreCorrupt, StoreError, StoreUnavailable, StoreUnsuitable

_FULL = "Free space on its volume; nothing needs to be restarted afterwards."
_READ_ONLY = (
    "Check that the volume is mounted read-write and that the user running Stanch owns the files."
)
_UNAVAILABLE_HINTS = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_IOERR: "Look for disk errors in the kernel's log (dmesg).",
    sqlite3.SQLITE_BUSY: "Another program keeps the database locked: a backup, or a shell.",
    sqlite3.SQLITE_LOCKED: "Another program keeps the database locked: a backup, or a shell.",
    sqlite3.SQLITE_NOMEM: "The machine is short of memory.",
    sqlite3.SQLITE_PROTOCOL: "Another program keeps the database locked: a backup, or a shell.",
    sqlite3.SQLITE_INTERRUPT: "",
}
_CORRUPT_HINT = (
    "Keep a copy of the whole state directory as it is, then run `stanch timeline verify`; "
    "nothing was deleted or changed."
)
_CORRUPT_CODES = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_SCHEMA,
    # The statements are fixed, so "no such table or column" means that the file changed.
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_MISMATCH,
}


def from_driver(error: BaseException | None, *, on: str) -> StoreError:
    """The operational failure behind an exception of the sqlite3 module."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in _UNAVAILABLE_HINTS:
        return StoreUnavailable(_said(error), on=on, hint=_UNAVAILABLE_HINTS[primary])
    if primary in _CORRUPT_CODES:
        return StoreCorrupt(_said(error), on=on, hint=_CORRUPT_HINT)
    if primary == sqlite3.SQLITE_CONSTRAINT:
        what = f"the timelines changed under this process: {_said(error)}"
        return StoreCorrupt(what, on=on, hint=_CORRUPT_HINT)
    return StoreUnavailable(_said(error), on=on)


def ran_full(error: StoreError) -> bool:
    """Was it the space that ran out?"""
    driver = getattr(error.__cause__, "orig", error.__cause__)
    return getattr(driver, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def corrupt(what: str, *, on: str) -> StoreCorrupt:
    """Something in the store does not verify."""
    return StoreCorrupt(what, on=on, hint=_CORRUPT_HINT)


def from_os(error: OSError, *, on: str, doing: str) -> StoreError:
    """The operational failure behind a refused file operation in the state directory."""
    said = (error.strerror or str(error)).lower()
    what = f"cannot {doing}: {said}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreUnavailable(what, on=on, hint=_FULL)
    if error.errno in (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return StoreUnavailable(what, on=on, hint=_UNAVAILABLE_HINTS[sqlite3.SQLITE_IOERR])
    return StoreUnsuitable(what, on=on, hint=_READ_ONLY)


def _said(error: BaseException | None) -> str:
    name = getattr(error, "sqlite_errorname", "")
    text = str(error) or "the database failed"
    return f"{text} ({name})" if name else text
