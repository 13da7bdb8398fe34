"""Notes in open incidents which of before look like them, beside whatever is being done."""

from __future__ import annotations

import asyncio

import structlog

from stanch.incident.memory import alike
from stanch.incident.state import Incident
from stanch.model.errors import StoreError
from stanch.model.events import PastNoted
from stanch.model.ids import CauseId, IncidentId
from stanch.model.ports.timelines import Timelines
from stanch.service.record.book import Book

EVERY_S = 2.0
LOOKED_AT_MAX = 100
"""So many incidents back; each is read once a process."""

log = structlog.get_logger("remembering")


class Remembering:
    """One per responder."""

    def __init__(self, book: Book, timelines: Timelines) -> None:
        self._book = book
        self._timelines = timelines
        self._over: dict[IncidentId, Incident] = {}
        self._compared: dict[IncidentId, CauseId] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Compare what is open, has a cause, and was not compared with that cause yet."""
        for incident in self._book.known():
            first = incident.named.first if incident.named else None
            if incident.status.ended or first is None:
                continue
            known = incident.past.cause if incident.past else self._compared.get(incident.id)
            if known == first.id:
                continue
            try:
                found = alike(incident, await self._ended())
                if found or incident.past is not None:
                    await self._book.record(incident.id, PastNoted(cause=first.id, incidents=found))
            except StoreError as error:
                log.warning("earlier incidents not compared", error=str(error))
                return
            self._compared[incident.id] = first.id

    async def _ended(self) -> list[Incident]:
        for incident_id in await self._timelines.incident_ids(open_only=False, limit=LOOKED_AT_MAX):
            if incident_id not in self._over:
                incident = await self._book.at_hand(incident_id)
                if incident.status.ended:
                    self._over[incident_id] = incident
        reopened = {i.id for i in self._book.known() if not i.status.ended}
        return [incident for key, incident in self._over.items() if key not in reopened]
