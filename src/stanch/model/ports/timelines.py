"""What the rest of the house needs from a store of timelines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from stanch.model.ids import BlobKey, IncidentId, ObligationId
from stanch.model.timeline import Append, Blob, ChainReport, Claim, Lane, Recorded


class Timelines(Protocol):
    """Append-only timelines with wakes and leases. One writing process; see the first ADR.

    Every method may raise StoreUnavailable; nothing else may be assumed to have happened then.
    """

    async def append(self, entry: Append) -> tuple[Recorded, ...]:
        """Make events durable. Raises StaleDecision, StoreUnavailable."""
        ...

    async def open_incident(self, at: datetime, first: Append) -> tuple[Recorded, ...]:
        """Like `append`, into a new incident whose id is allotted in the same transaction."""
        ...

    async def settled(self) -> None:
        """Wait until whatever was handed over before, with or without an answer, is done or not."""
        ...

    async def read(self, incident_id: IncidentId, *, after_seq: int = 0) -> Sequence[Recorded]: ...

    async def incident_ids(self, *, open_only: bool, limit: int) -> Sequence[IncidentId]:
        """Newest first."""
        ...

    async def fulfilled_in(self, obligation: ObligationId) -> IncidentId | None:
        """The timeline in which it was fulfilled, the newest where there are several."""
        ...

    async def next_due(self, lane: Lane) -> datetime | None:
        """The earliest moment at which something unclaimed is due."""
        ...

    async def claim(
        self, lane: Lane, *, at: datetime, lease_s: float, limit: int
    ) -> Sequence[Claim]:
        """Take leases on what is due at `at`; lease expiry uses the database's own clock."""
        ...

    async def release(self, claim: Claim, *, retry_at: datetime | None = None) -> None:
        """Give a lease back; `retry_at` puts the wake off where the work made no event."""
        ...

    async def put_blob(self, content: bytes) -> BlobKey: ...

    async def blob(self, key: BlobKey) -> Blob: ...

    async def put_policy(self, policy_hash: str, text: str) -> None: ...

    async def policy_text(self, policy_hash: str) -> str | None: ...

    async def verify(self) -> ChainReport: ...
