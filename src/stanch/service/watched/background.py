"""What an incident and the flight recorder know of a target, for its diagnosis."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path

from stanch.diagnose.background import Background
from stanch.diagnose.cluster import ClusterSeen
from stanch.diagnose.history import History, history_from
from stanch.diagnose.inside import Changes
from stanch.incident.state import Incident
from stanch.model.diagnosis import Missing
from stanch.model.errors import StoreError
from stanch.store.recorder.reading import read_recording

_ONE_READER = threading.Lock()
"""A recording takes a fifth of a second of processor time: many at once would hold the watch up."""
WAIT_S_MAX = 1.0


def background_of(
    incident: Incident, recording: Path | None, cluster: ClusterSeen | Missing
) -> Background:
    """Symptoms, onset and changes as the incident has them; what was usual from the recording."""
    onset = incident.since or incident.opened_at or datetime.now(UTC)

    async def history() -> History | Missing:
        if recording is None:
            return Missing(what="history", reason="nothing is recorded of this target")
        return await asyncio.to_thread(read_history, recording, onset)

    async def changes() -> Changes | Missing:
        if incident.changes is None:
            return Missing(what="changes", reason="none was seen, or none is noted yet")
        return Changes(changes=incident.changes.changes)

    return Background(
        history=history,
        changes=changes,
        cluster=cluster,
        symptoms=tuple(incident.symptoms.values()),
        onset=onset,
    )


def recorded(recording: Path, *, onset: datetime) -> Background:
    """What a recording alone knows, for a look from outside `stanch run`."""

    async def history() -> History | Missing:
        return await asyncio.to_thread(read_history, recording, onset)

    async def changes() -> Changes | Missing:
        return Missing(what="changes", reason="`stanch changes` shows them")

    return Background(history=history, changes=changes, onset=onset)


def read_history(recording: Path, onset: datetime) -> History | Missing:
    """The courses of a recording on disk, also while it is being written."""
    if not _ONE_READER.acquire(timeout=WAIT_S_MAX):
        return Missing(what="history", reason="recordings of other targets were being read")
    try:
        found = read_recording(recording)
    except StoreError as error:
        return Missing(what="history", reason=str(error))
    finally:
        _ONE_READER.release()
    frames = ((frame.at, frame.values) for frame in found.frames)
    return history_from(frames, onset=onset) or Missing(
        what="history", reason="the flight recorder holds nothing yet"
    )
