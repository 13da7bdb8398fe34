"""Keeping the flight recorder's minutes with an incident, before the ring runs over them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from stanch.incident.state import Incident
from stanch.model.errors import StoreError
from stanch.model.events import EvidenceKept
from stanch.model.ids import ITSELF, BlobKey, IncidentId, TargetName
from stanch.model.ports.timelines import Timelines
from stanch.service.clock import Clock
from stanch.service.record.book import Book
from stanch.store.recorder.frozen import AFTER_ENDING, AT_OPENING, packed

LOOK_EVERY_S = 0.5
AFTER_ENDING_S = 30.0
"""So long after the end the second copy is made: how the target went on belongs to it."""
TOO_LATE_S = 900.0
"""Later than this the ring may hold nothing of it any more."""
RETRY_S = 10.0

log = structlog.get_logger("recordings")


class Keeping(Timelines, Protocol):
    """A store that also keeps bulky content."""

    async def put_blob(self, content: bytes) -> BlobKey: ...


class Recordings:
    """Looks at every incident in memory and keeps what is not kept yet, also after a restart."""

    def __init__(
        self,
        book: Book,
        store: Keeping,
        clock: Clock,
        *,
        path_of: Callable[[TargetName], Path],
    ) -> None:
        self._book = book
        self._store = store
        self._clock = clock
        self._path_of = path_of
        self._kept: dict[IncidentId, set[str]] = {}
        """Names of what is kept or cannot be; read from a timeline once a process."""
        self._not_before: dict[IncidentId, datetime] = {}

    async def run(self) -> None:
        """Until cancelled. Recording never holds up anything else: it waits for its turn here."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Keep what is due now; what fails is tried again later."""
        now = self._clock.now()
        known = {incident.id: incident for incident in self._book.known()}
        self._kept = {i: names for i, names in self._kept.items() if i in known}
        self._not_before = {i: at for i, at in self._not_before.items() if i in known}
        for incident in known.values():
            name = due_name(incident, now)
            if not name or now < self._not_before.get(incident.id, now):
                continue
            try:
                if name not in await self._names(incident.id):
                    await self._keep(incident, name)
            except StoreError as error:
                log.warning("recording not kept", incident=incident.id, error=str(error))
                self._not_before[incident.id] = now + timedelta(seconds=RETRY_S)

    async def _names(self, incident_id: IncidentId) -> set[str]:
        if incident_id not in self._kept:
            timeline = await self._store.read(incident_id)
            events = [recorded.event for recorded in timeline]
            self._kept[incident_id] = {e.name for e in events if isinstance(e, EvidenceKept)}
        return self._kept[incident_id]

    async def _keep(self, incident: Incident, name: str) -> None:
        path = self._path_of(incident.target)
        if not await asyncio.to_thread(path.exists):
            # Nobody watches it here: declared by a person, or told about from outside.
            self._kept[incident.id].add(name)
            return
        content = await asyncio.to_thread(packed, path)
        key = await self._store.put_blob(content)
        await self._book.record(
            incident.id, EvidenceKept(name=name, blob=key, size_bytes=len(content))
        )
        self._kept[incident.id].add(name)
        log.info("recording kept", incident=incident.id, name=name, bytes=len(content))


def due_name(incident: Incident, now: datetime) -> str:
    """Which copy should exist by now; empty where none is due, or it is too late for one."""
    if incident.opened_at is None or incident.target == ITSELF:
        return ""
    if not incident.status.ended:
        late = now - incident.opened_at > timedelta(seconds=TOO_LATE_S)
        return "" if late else AT_OPENING
    if incident.ended_at is None:
        return ""
    ago_s = (now - incident.ended_at).total_seconds()
    return AFTER_ENDING if AFTER_ENDING_S <= ago_s <= TOO_LATE_S else ""
