"""Backups under a prefix of a bucket: which are whole, how far they reach back, what was left."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from stanch.adapters.backups.dump_files import (
    TAIL_BYTES,
    custom_fault,
    gzip_fault,
    is_wal_name,
    sql_fault,
)
from stanch.adapters.backups.judging import Judge
from stanch.adapters.backups.leaving import OneLook
from stanch.adapters.backups.newest import Newest
from stanch.adapters.backups.s3_link import SMALL_BYTES, Asked, S3Link, code_of
from stanch.model.backups import Backup, BackupsSeen, Uploads
from stanch.model.diagnosis import Missing

POINTERS_MAX: Final = 8
READ_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of a compressed dump; a larger one is judged by its first bytes only."""
LEFT_AFTER: Final = timedelta(days=1)
"""An upload that is older is not the one of today's backup."""
UPLOAD_PAGES_MAX: Final = 10
_PACKED = ("gz", "zst", "lz4", "xz", "bz2")
_SEALED = (".gpg", ".age", ".enc")
_CUSTOM = ("dump", "pgdump", "backup")
_POINTERS = ("latest", "last")


def kind_of_key(name: str) -> str:
    """How it was made, by its name; empty: it is no backup.

    `sql`, `sql.gz` and `custom` are looked into. Others, and what is encrypted, are known by their
    size alone.
    """
    if is_wal_name(name):
        return ""
    name = name.lower()
    sealed = next((end for end in _SEALED if name.endswith(end)), "")
    words = name.removesuffix(sealed).rpartition("/")[2].split(".")[1:]
    kind = ""
    if words and words[-1] in _CUSTOM:
        kind = "custom"
    elif words and words[-1] in ("sql", "tar", "tgz"):
        kind = words[-1]
    elif len(words) > 1 and words[-1] in _PACKED and words[-2] in ("sql", "tar", *_CUSTOM):
        kind = f"{words[-2]}.{words[-1]}"
    return kind + sealed if kind else ""


class S3Dumps:
    """A `BackupReader` of one prefix. Needs: ListBucket; with GetObject it looks into dumps.

    An object is there only when its upload has ended, but whoever uploaded it may have died before
    the dump was whole; so the newest are looked into, as far as that is cheap. Cost a look: a
    request for each thousand objects, and for a new dump one or two small reads.
    """

    def __init__(self, link: S3Link, *, now: Callable[[], datetime]) -> None:
        self._link = link
        self._now = now
        self._prefix = link.where.prefix
        self._judge = Judge(self._fault)
        self._looking = OneLook(self._look, late=f"{link.source} was not listed")
        self._asked: Asked | None = None

    @property
    def place(self) -> str:
        return self._link.source

    async def look(self, *, deadline_s: float) -> BackupsSeen | Missing:
        return await self._looking.answer(deadline_s=deadline_s)

    def _look(self) -> BackupsSeen | Missing:
        asked = self._link.open()
        if isinstance(asked, Missing):
            return asked
        self._asked = asked
        try:
            kept, pointers = Newest(), list[tuple[str, int]]()
            for one in self._link.objects(asked, self._prefix):
                name = str(one["Key"]).removeprefix(self._prefix)
                at, size = one["LastModified"], int(one["Size"])
                if self._is_wal(str(one["Key"])):
                    continue
                if name.lower().partition(".")[0] in _POINTERS:
                    pointers = [*pointers, (name, size)][:POINTERS_MAX]
                elif kind := kind_of_key(name):
                    kept.add(Backup(name=name, kind=kind, at=at, size_bytes=size))
            backups = self._judge.judged(kept.newest_first())
            left, running = self._uploads(asked)
            more, more_bytes = kept.between
            return BackupsSeen(
                backups=backups,
                more=more,
                more_bytes=more_bytes,
                latest_fault=self._latest_fault(asked, pointers, backups),
                running=running,
                uploads=left,
            )
        except asked.errors as error:
            return self._link.failed(error)

    def _is_wal(self, key: str) -> bool:
        wal = self._link.where.wal_prefix
        return bool(wal) and wal != self._prefix and key.startswith(wal)

    def _fault(self, backup: Backup) -> str:
        asked, key, size = self._asked, self._prefix + backup.name, backup.size_bytes
        assert asked is not None
        try:
            match backup.kind:
                case "sql":
                    tail = self._link.read(asked, key, span=f"{max(0, size - TAIL_BYTES)}-{size}")
                    return sql_fault(tail)
                case "custom":
                    return custom_fault(self._link.read(asked, key, span="0-63"))
                case "sql.gz" if size <= READ_BYTES_MAX:
                    packed = self._link.read(asked, key, span=f"0-{size}")
                    return gzip_fault(io.BytesIO(packed))
                case "sql.gz":
                    head = self._link.read(asked, key, span="0-1")
                    return "" if head == b"\x1f\x8b" else "is no gzip file"
                case _:
                    return ""
        except asked.errors as error:
            if not code_of(error):
                raise
            # The right to list is enough to watch; and it may have been removed meanwhile.
            return ""

    def _uploads(self, asked: Asked) -> tuple[Uploads | None, bool]:
        """Those that were left, and whether a younger one goes on."""
        now, left, running = self._now(), list[tuple[datetime, str]](), False
        try:
            for one in self._uploads_begun(asked):
                name = str(one["Key"]).removeprefix(self._prefix)
                begun: datetime = one["Initiated"]
                if now - begun >= LEFT_AFTER:
                    left.append((begun, name))
                else:
                    running = running or bool(kind_of_key(name))
        except asked.errors as error:
            if not code_of(error):
                raise
            # Not every storage lists them, and not everybody may.
            return None, False
        if not left:
            return None, running
        oldest_at, oldest = min(left)
        return Uploads(count=len(left), oldest_at=oldest_at, oldest_name=oldest), running

    def _uploads_begun(self, asked: Asked) -> Iterator[Any]:
        more: dict[str, str] = {}
        for _ in range(UPLOAD_PAGES_MAX):
            page = asked.client.list_multipart_uploads(
                Bucket=self._link.where.bucket, Prefix=self._prefix, **more
            )
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            more = {
                "KeyMarker": page.get("NextKeyMarker", ""),
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }

    def _latest_fault(
        self, asked: Asked, pointers: Sequence[tuple[str, int]], backups: Sequence[Backup]
    ) -> str:
        """A pointer is a small text with a name in it, or a copy of the newest backup."""
        good = max((b for b in backups if b.is_good), key=lambda b: b.at, default=None)
        if good is None:
            return ""
        for name, size in pointers:
            if kind_of_key(name) and size > TAIL_BYTES:
                if size != good.size_bytes:
                    return f"{name} has {size} bytes, the newest good one {good.size_bytes}"
                continue
            fault = self._pointer_fault(asked, name, min(size, SMALL_BYTES), good)
            if fault:
                return fault
        return ""

    def _pointer_fault(self, asked: Asked, name: str, size: int, good: Backup) -> str:
        if kind_of_key(name):
            # A copy of a very small dump.
            return "" if size == good.size_bytes else f"{name} is not the newest good one"
        if not size:
            return f"{name} is empty"
        try:
            told = self._link.read(asked, self._prefix + name, span=f"0-{size}")
        except asked.errors as error:
            if not code_of(error):
                raise
            return ""
        text = told.decode("utf-8", "replace").strip()
        if good.name.rpartition("/")[2] in text:
            return ""
        return f"{name} says {text[:120]!r}, the newest good one is {good.name}"
