"""Commands for a responder that hangs: small files it reads once it breathes again.

    inbox/<id>.json              waiting
    inbox/done/<id>.json         executed, with <id>.result beside it
    inbox/rejected/<name>        unusable, with <name>.reason beside it

A command may be handed out twice when the responder dies between doing it and `finish`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stanch.store.failures import from_os
from stanch.store.statedir import sync_directory, write_all

COMMAND_BYTES_MAX = 64 * 1024
DONE_KEPT_MAX = 200
REJECTED_KEPT_MAX = 100
_UNFINISHED_S_MAX = 60.0
_NAME = re.compile(r"\d{20}-[0-9a-f]{16}\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command as its sender wrote it: a JSON object, otherwise unchecked."""

    id: str
    text: str


class _Unusable(Exception):
    """Why a file in the inbox is no command."""


def drop(inbox: Path, command_json: str) -> str:
    """Leave a command; it is durable when this returns its id. For any process that may write here.

    Raises: StoreUnavailable, StoreUnsuitable.
    """
    command_id = f"{time.time_ns():020d}-{secrets.token_hex(8)}"
    try:
        _place(inbox / f"{command_id}.json", command_json.encode("utf-8", "replace"))
    except OSError as error:
        raise from_os(error, on=str(inbox), doing="leave a command") from error
    return command_id


def collect(inbox: Path, *, limit: int = 100) -> list[Command]:
    """The commands that wait, oldest first; what is unusable is set aside with a reason.

    Raises: StoreUnavailable, StoreUnsuitable where the inbox cannot be read.
    """
    commands: list[Command] = []
    try:
        names = sorted(entry.name for entry in os.scandir(inbox))
        for name in names:
            if len(commands) >= limit:
                break
            if name in ("done", "rejected") or _being_written(inbox / name):
                continue
            try:
                text = _checked(inbox / name)
            except _Unusable as why:
                _set_aside(inbox, name, str(why))
            except FileNotFoundError:
                continue
            else:
                if text is not None:
                    commands.append(Command(id=name.removesuffix(".json"), text=text))
    except OSError as error:
        raise from_os(error, on=str(inbox), doing="read the inbox") from error
    return commands


def finish(inbox: Path, command_id: str, result_json: str) -> None:
    """Note what came of a command, so that it is not handed out again. May be called twice.

    Raises: StoreUnavailable, StoreUnsuitable.
    """
    done = inbox / "done"
    try:
        done.mkdir(mode=0o700, exist_ok=True)
        # The result first: once it exists, `collect` takes the command as executed.
        _place(done / f"{command_id}.result", result_json.encode("utf-8", "replace"))
        _move_to_done(inbox, f"{command_id}.json")
        _prune(done, DONE_KEPT_MAX * 2)
    except OSError as error:
        raise from_os(error, on=str(inbox), doing="finish a command") from error


def result(inbox: Path, command_id: str) -> str | None:
    """What came of a command; None while it waits, and long after."""
    try:
        return (inbox / "done" / f"{command_id}.result").read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os(error, on=str(inbox), doing="read a result") from error


def _checked(path: Path) -> str | None:
    """The command in a file; None where it was executed already."""
    if not _NAME.fullmatch(path.name):
        raise _Unusable("its name is not one that `stanch` gives")
    raw = _read_plain(path)
    try:
        text = raw.decode()
        plain = json.loads(text)
    except RecursionError as error:
        raise _Unusable("it is nested too deeply") from error
    except ValueError as error:
        raise _Unusable(f"it is not whole JSON in UTF-8: {error}") from error
    if not isinstance(plain, dict):
        raise _Unusable("it is not a JSON object")
    if (path.parent / "done" / f"{path.stem}.result").exists():
        _move_to_done(path.parent, path.name)
        return None
    return text


def _read_plain(path: Path) -> bytes:
    # Not blocking, not following: a pipe or a link here is no command, and must not hold us up.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _Unusable(f"it cannot be opened: {(error.strerror or '').lower()}") from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise _Unusable("it is not a plain file")
        if info.st_uid not in (os.geteuid(), 0):
            raise _Unusable(f"it belongs to user id {info.st_uid}")
        if info.st_size > COMMAND_BYTES_MAX:
            raise _Unusable(f"it has {info.st_size} bytes, more than {COMMAND_BYTES_MAX}")
        return os.read(fd, COMMAND_BYTES_MAX)
    finally:
        os.close(fd)


def _being_written(path: Path) -> bool:
    """A draft of `_place`, unless it is so old that its writer must have died."""
    if not path.name.startswith(".tmp-"):
        return False
    with suppress(FileNotFoundError):
        return abs(time.time() - path.lstat().st_mtime) < _UNFINISHED_S_MAX
    return True


def _place(path: Path, content: bytes) -> None:
    draft = path.with_name(f".tmp-{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        try:
            if os.geteuid() == 0:
                # Root may leave commands for a responder that runs as somebody else.
                owner = path.parent.stat()
                os.fchown(fd, owner.st_uid, owner.st_gid)
            write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _move_to_done(inbox: Path, name: str) -> None:
    with suppress(FileNotFoundError):
        (inbox / name).rename(inbox / "done" / name)
    sync_directory(inbox)


def _set_aside(inbox: Path, name: str, reason: str) -> None:
    rejected = inbox / "rejected"
    rejected.mkdir(mode=0o700, exist_ok=True)
    # A name of our own in front: theirs may be there already, or be as long as names can be.
    kept = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    with suppress(FileNotFoundError):
        (inbox / name).rename(rejected / f"{kept}.rejected")
    shown = name.encode("utf-8", "backslashreplace").decode()
    _place(rejected / f"{kept}.reason", f"{shown!r}: {reason}\n".encode("utf-8", "replace"))
    _prune(rejected, REJECTED_KEPT_MAX * 2)


def _prune(folder: Path, kept_max: int) -> None:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    for name in names[:-kept_max]:
        (folder / name).unlink(missing_ok=True)
