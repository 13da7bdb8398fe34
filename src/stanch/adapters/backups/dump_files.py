"""Whether one dump is whole: its last line for SQL, its trailer for gzip, its table of contents."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
import zlib
from pathlib import Path
from typing import BinaryIO, Final

READ_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of a compressed dump; a larger one is judged by its first bytes only."""
TAIL_BYTES: Final = 4096
_PIECE_BYTES: Final = 1024 * 1024
_LIST_S: Final = 20.0
_READ_S: Final = 30.0
_CUT: Final = re.compile(r"end of file|could not uncompress")
UNPACKED_BYTES_MAX: Final = 16 * 1024 * 1024 * 1024
_LAST_LINES: Final = (
    b"-- PostgreSQL database dump complete",
    b"-- PostgreSQL database cluster dump complete",
)
_WAL: Final = re.compile(r"[0-9A-F]{24}(?:\.|$)")
_GZIP: Final = b"\x1f\x8b"
_CUSTOM: Final = b"PGDMP"


def kind_of(path: str, *, is_folder: bool) -> str:
    """How it was dumped, by its name; empty: it is no dump."""
    name = path.lower()
    if is_wal_name(path):
        return ""
    if is_folder:
        return "directory" if os.path.exists(f"{path}/toc.dat") else ""
    if name.endswith(".sql.gz"):
        return "sql.gz"
    if name.endswith(".sql"):
        return "sql"
    return "custom" if name.endswith((".dump", ".pgdump", ".backup")) else ""


def is_wal_name(path: str) -> bool:
    """Whether it is a file of a WAL archive, such as the note of a base backup (`.backup`)."""
    return _WAL.match(path.rpartition("/")[2]) is not None


def fault_of(path: str, kind: str) -> str:
    """Why it cannot be restored from; empty: nothing was found.

    Cost: reads a compressed dump whole, once. Never: what `pg_restore --list` cannot see, where a
    custom dump is too large to be read: data that is cut off behind its table of contents.
    """
    try:
        match kind:
            case "sql":
                with _opened(path) as file:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                    return sql_fault(file.read(TAIL_BYTES))
            case "sql.gz":
                return _gzip_path_fault(path)
            case "custom":
                with _opened(path) as file:
                    fault = custom_fault(file.read(TAIL_BYTES))
                return fault or _custom_path_fault(path)
            case _:
                return _list_fault(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def shows_its_end(size_bytes: int, kind: str) -> bool:
    """Whether one without a fault is finished for certain: a custom dump may still be growing."""
    return kind != "custom" and (kind != "sql.gz" or size_bytes <= READ_BYTES_MAX)


def proves_whole(size_bytes: int, kind: str) -> bool:
    """Whether `fault_of` reads one of this kind and size to its end, and so would find a cut."""
    if kind == "sql":
        return True
    can = kind == "sql.gz" or (kind == "custom" and _program() is not None)
    return can and size_bytes <= READ_BYTES_MAX


def _opened(path: str) -> BinaryIO:
    # Without O_NONBLOCK opening a named pipe would wait for its writer for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a regular file")
    return os.fdopen(handle, "rb")


def custom_fault(head: bytes) -> str:
    """Why a custom dump is none, by its first bytes."""
    return "" if head.startswith(_CUSTOM) else "does not begin as a dump of pg_dump"


def sql_fault(tail: bytes) -> str:
    """Why a dump as SQL is not whole, by its last bytes."""
    if any(line in tail for line in _LAST_LINES):
        return ""
    return "ends without the last line of pg_dump"


def _gzip_path_fault(path: str) -> str:
    """A pipe whose pg_dump died leaves a whole gzip file, so the end of the text counts as well."""
    with _opened(path) as file:
        if file.read(len(_GZIP)) != _GZIP:
            return "is no gzip file"
        if os.fstat(file.fileno()).st_size > READ_BYTES_MAX:
            return ""
        file.seek(0)
        return gzip_fault(file)


def gzip_fault(file: BinaryIO) -> str:
    """Why a dump in a gzip file is not whole; one that unpacks without end is not judged."""
    tail, unpacked = b"", 0
    try:
        with gzip.GzipFile(fileobj=file) as text:
            while piece := text.read(_PIECE_BYTES):
                tail, unpacked = (tail + piece)[-TAIL_BYTES:], unpacked + len(piece)
                if unpacked > UNPACKED_BYTES_MAX:
                    return ""
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return "the gzip file is cut off or damaged"
    return sql_fault(tail)


def _custom_path_fault(path: str) -> str:
    """What lies behind the table of contents is only seen by whoever reads it."""
    fault = _list_fault(path)
    if fault or os.stat(path).st_size > READ_BYTES_MAX:
        return fault
    read = _restore_fault(path, "--file=/dev/null", within_s=_READ_S)
    # Any other complaint is of this pg_restore: time, or a compression that it does not know.
    return read if _CUT.search(read) else ""


def _list_fault(path: str) -> str:
    return _restore_fault(path, "--list", within_s=_LIST_S)


def _restore_fault(path: str, how: str, *, within_s: float) -> str:
    program = _program()
    if program is None:
        return ""
    try:
        ran = subprocess.run(
            (program, how, "--", path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=within_s,
            check=False,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return f"pg_restore could not read it within {within_s:g} s"
    lines = ran.stderr[:2000].decode("utf-8", "replace").strip().splitlines()
    return "" if ran.returncode == 0 else (lines[-1][:200] if lines else "pg_restore refuses it")


def _program() -> str | None:
    return shutil.which("pg_restore") or _newest_program()


def _newest_program() -> str | None:
    found = Path("/usr/lib/postgresql").glob("*/bin/pg_restore")
    known = {int(p.parts[-3]): str(p) for p in found if p.parts[-3].isdigit()}
    return known[max(known)] if known else None
