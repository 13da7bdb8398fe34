"""Archived WAL under a prefix of a bucket, by the names of its objects."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from stanch.adapters.backups.leaving import OneLook
from stanch.adapters.backups.s3_link import SMALL_BYTES, Asked, S3Link, code_of
from stanch.facts.wal_names import WalNames, parse_history
from stanch.model.backups import Branch, WalHeld
from stanch.model.diagnosis import Missing

WALK_EVERY_S: Final = 1800.0


class S3Wal:
    """An `ArchiveReader` of one prefix. Needs: ListBucket.

    Cost: a request for each thousand objects; the newest history file is read where it may be.
    """

    every_s = WALK_EVERY_S

    def __init__(self, link: S3Link) -> None:
        self._link = link
        self._prefixes: dict[str, str] = {}
        """Where objects lie, by the first sixteen digits of their names."""
        self._looking = OneLook(self._walk, late=f"{link.source} was not listed")

    @property
    def place(self) -> str:
        return f"{self._link.source} wal"

    async def walk(self, *, deadline_s: float) -> tuple[WalHeld, ...] | Missing:
        return await self._looking.answer(deadline_s=deadline_s)

    async def when(self, wal: str, *, repository: str, deadline_s: float) -> datetime | None:
        asked = OneLook(lambda: self._when(wal), late="it was not listed")
        found = await asked.answer(deadline_s=deadline_s)
        return None if isinstance(found, Missing) else found

    def _when(self, wal: str) -> datetime | None:
        asked = self._link.open()
        if isinstance(asked, Missing):
            return None
        prefix = self._prefixes.get(wal[:16], self._link.where.wal_prefix) + wal
        try:
            times = [one["LastModified"] for one in self._link.objects(asked, prefix)]
        except asked.errors:
            return None
        return max(times, default=None)

    def _walk(self) -> tuple[WalHeld, ...] | Missing:
        asked = self._link.open()
        if isinstance(asked, Missing):
            return asked
        names, prefixes, histories = WalNames(), dict[str, str](), dict[str, str]()
        try:
            for one in self._link.objects(asked, self._link.where.wal_prefix):
                key = str(one["Key"])
                folder, slash, name = key.rpartition("/")
                if place := names.add(name):
                    prefixes.setdefault(place, folder + slash)
                elif name in names.histories:
                    histories[name] = key
            branches = self._branches(asked, histories.get(names.history(), ""))
        except asked.errors as error:
            return self._link.failed(error)
        if names.too_many:
            return Missing(
                what="backups", reason=f"{self.place}: more WAL than can be kept in mind"
            )
        self._prefixes = prefixes
        return (WalHeld(runs=names.runs(), branches=branches),)

    def _branches(self, asked: Asked, key: str) -> tuple[Branch, ...]:
        if not key.endswith(".history"):
            return ()
        try:
            told = self._link.read(asked, key, span=f"0-{SMALL_BYTES}")
        except asked.errors as error:
            if not code_of(error):
                raise
            # The right to list is enough to watch.
            return ()
        return parse_history(told.decode("utf-8", "replace"))
