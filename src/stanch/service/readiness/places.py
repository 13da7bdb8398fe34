"""The places where backups and WAL lie, each looked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from stanch.adapters.channels.trying import Tried
from stanch.adapters.postgres.visit import visiting
from stanch.facts.archive import ARCHIVED_SQL, parse_archived
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.ports.backups import ArchiveReader, BackupReader
from stanch.model.shown import shortened
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.service.watched.backups import BackupPlaces
from stanch.watch.backups.told import archive_words, seen_words

LOOK_S = 30.0
ASK_S = 5.0
DETAIL_CHARS_MAX = 400


async def try_places(
    target: TargetPolicy, *, now: Callable[[], datetime]
) -> tuple[tuple[str, Tried], ...]:
    """One look at each place, one after the other; reads only.

    Cost: as a look of the watch; where WAL is archived, one short session beside.
    """
    if not target.backups.any:
        return ()
    ways = BackupPlaces(target, now=now)
    found: list[tuple[str, Tried]] = []
    try:
        for reader, _ in ways.places.backups:
            found.append((f"{target.name} backups {reader.place}", await _backups(reader, now)))
        if ways.places.archives:
            segment_bytes = await _segment_bytes(target)
            for archive, _ in ways.places.archives:
                found += await _archive(target, archive, segment_bytes)
    finally:
        await ways.close()
    return tuple(found)


async def _backups(reader: BackupReader, now: Callable[[], datetime]) -> Tried:
    seen = await reader.look(deadline_s=LOOK_S)
    if isinstance(seen, Missing):
        return _tried(False, seen.reason)
    return _tried(*seen_words(seen, at=now()))


async def _archive(
    target: TargetPolicy, archive: ArchiveReader, segment_bytes: int | None
) -> list[tuple[str, Tried]]:
    on = f"{target.name} WAL in {archive.place}"
    walked = await archive.walk(deadline_s=LOOK_S)
    if isinstance(walked, Missing):
        return [(on, _tried(False, walked.reason))]
    return [
        (
            f"{on} {held.repository}".rstrip(),
            _tried(*archive_words(held, segment_bytes=segment_bytes)),
        )
        for held in walked
    ]


async def _segment_bytes(target: TargetPolicy) -> int | None:
    if target.wake == "never":
        return None
    try:
        async with asyncio.timeout(ASK_S), visiting(target.dsn, deadline_s=ASK_S) as visit:
            asked = await visit.fetch_json(ARCHIVED_SQL, timeout_s=ASK_S)
            return parse_archived(asked).segment_bytes
    except (ProbeFailed, SetupError, TimeoutError):
        return None


def _tried(ok: bool, words: str) -> Tried:
    return Tried(ok=ok, detail=shortened(printable(words), DETAIL_CHARS_MAX))
