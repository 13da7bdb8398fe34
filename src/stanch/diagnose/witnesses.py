"""Everybody who can be asked about one target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from stanch.diagnose.background import Background
from stanch.diagnose.outside import Place
from stanch.facts.lock_file import LockFileWitness
from stanch.model.diagnosis import Missing
from stanch.model.host import OomKills, ProcessorUse
from stanch.model.machine import ServiceState
from stanch.model.patroni import PatroniSeen
from stanch.model.ports.host import HostReader
from stanch.model.ports.server import ServerReader
from stanch.model.ports.traces import TraceReader
from stanch.model.reach import Reach
from stanch.model.readings import Reading as Figure
from stanch.model.vitals import Vitals

OpenReader = Callable[[], AbstractAsyncContextManager[ServerReader]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """Everybody who can be asked about one target; `Missing` says why somebody cannot."""

    probe: Callable[[float], Awaitable[Reach]]
    """A fresh connection within so many seconds."""
    held: ServerReader | None = None
    """A session that is open already; it survives a full server."""
    open_reader: OpenReader | None = None
    """Opens the one extra session; asked only where none is held and the server lets us in."""
    open_home: OpenReader | None = None
    """Into the application's own database afterwards, for its tables; None: nobody goes there."""
    host: HostReader | Missing
    traces: TraceReader | Missing
    place: Place | Missing
    found: Callable[[], Place | Missing] | None = None
    """Where the server lives, for a host that first has to find it; asked once it was."""
    lock_witness: LockFileWitness | Missing
    """What was noted while the server was known to live."""
    oom_before: OomKills | None = None
    vitals_before: Vitals | None = None
    """The newest reading before things went wrong; tells who retained WAL."""
    patroni: Callable[[float], Awaitable[PatroniSeen | Missing]] | None = None
    """Asks Patroni within so many seconds; None: nobody said where."""
    beside: Callable[[float], Awaitable[tuple[Figure, ...] | Missing]] | None = None
    """Asks poolers and services; None: nobody said which."""
    service: Callable[[float], Awaitable[ServiceState | Missing]] | None = None
    """Asks whoever keeps the server; None: nobody is known to."""
    machine: Callable[[float], Awaitable[ProcessorUse | Missing]] | None = None
    """Looks at who uses the processors; None: it is another machine."""
    background: Background | None = None
    """What whoever watches the target knows of it; None: nobody does."""
    cluster_expected: str = ""
    """System identifier of the cluster that is watched; empty: nobody knows it."""
    cluster_answering: str = ""
    """Of the one in which the held session is."""

    def where(self) -> Place | Missing:
        """Where the server lives, as far as that is known by now."""
        return self.place if self.found is None else self.found()

    def folder(self) -> str:
        """Its data directory; empty where that is not known."""
        place = self.where()
        return "" if isinstance(place, Missing) else place.data_directory
